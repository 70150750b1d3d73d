/**
 * Where the compared gateways deliver to: a mail relay that keeps every mail with its envelope, and
 * a keyserver that takes keys over HKP. What differs from run to run is replaced by a word: the
 * date, and the seal of a bounce address, which depends on a secret of the log.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";

export class MailSink {
  readonly #mails: { readonly receiver: string; readonly text: string }[] = [];
  readonly #server: SMTPServer;
  readonly #refusals = new Map<string, number>();

  constructor() {
    this.#server = new SMTPServer({
      authOptional: true,
      disabledCommands: ["AUTH", "STARTTLS"],
      disableReverseLookup: true,
      logger: false,
      closeTimeout: 1000,
      onRcptTo: ({ address }, _session, callback) => {
        const refused = this.#refusals.get(address);
        if (refused === undefined) return callback();
        this.#refusals.set(address, refused + 1);
        callback(Object.assign(new Error("4.2.1 Not now."), { responseCode: 450 }));
      },
      onData: (stream, session, callback) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          const { mailFrom, rcptTo } = session.envelope;
          const from = mailFrom === false ? "" : mailFrom.address;
          const to = rcptTo.map(({ address }) => address).join(", ");
          const raw = Buffer.concat(chunks).toString("latin1");
          const sealless = from.replace(/=[0-9a-f]{10}@/, "=SEAL@");
          const envelope = `MAIL FROM:<${sealless}>\nRCPT TO:<${to}>\n`;
          this.#mails.push({ receiver: to, text: envelope + dateless(raw) });
          callback();
        });
      },
    });
    this.#server.on("error", () => {
      // A client that breaks off: the mail that is missing is seen in the record.
    });
  }

  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.server.address() as AddressInfo).port;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#server.close(resolve));
  }

  /** Refuses mail for this receiver for now, until `accept` is called. */
  refuse(receiver: string): void {
    this.#refusals.set(receiver, 0);
  }

  accept(receiver: string): void {
    this.#refusals.delete(receiver);
  }

  /** How many mails for this receiver were refused. */
  refusals(receiver: string): number {
    return this.#refusals.get(receiver) ?? 0;
  }

  byReceiver(): Map<string, string[]> {
    const all = new Map<string, string[]>();
    for (const { receiver, text } of this.#mails) {
      all.set(receiver, [...(all.get(receiver) ?? []), text]);
    }
    return all;
  }
}

export class KeySink {
  /** The body of each request, in order. */
  readonly taken: string[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method, url } = request;
        const { "content-type": type = "" } = request.headers;
        const body = Buffer.concat(chunks).toString("latin1");
        this.taken.push(`${method} ${url}\n${type}\n${new URLSearchParams(body).get("keytext")}`);
        response.end("Key block added to key server database.\n");
      });
    });
  }

  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/**
 * A mail without its date: a Date field as RFC 5322 wants it, and the date in the first line of an
 * mbox. A date in another form stays, and is a difference.
 */
export function dateless(raw: string): string {
  return raw
    .replace(/^Date: \w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}(?=\r?$)/m, "Date: DATE")
    .replace(/^(From \S+) \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}(?=\r?$)/m, "$1 DATE");
}
