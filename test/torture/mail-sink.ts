/**
 * A legacy site that takes every mail at once and keeps the names of the updates in it, one or
 * several: so a repetition can be told from a new mail. A mail counts as taken when its 250 was
 * written. Spoken by hand, because smtp-server makes each client wait 100 ms,
 * and fewer mails would be under way when the gateway is killed.
 */
import type { Socket } from "node:net";
import { admit } from "../../src/admit.js";
import { Listener } from "../support/listener.js";

const FINAL_DOT = "\r\n.\r\n";

export class MailSink {
  /** How often each update came, by its hash. */
  readonly received = new Map<string, number>();
  /** Mails that were taken. */
  taken = 0;
  /** Called with the hash of each update that comes. */
  onUpdate: ((hash: string) => void) | undefined;
  /** Called with the update that a mail's Message-ID names; the mail may hold more of its key. */
  onMail: ((hash: string) => void) | undefined;
  /** Mails that held something that had come before. */
  repeats = 0;
  /** What is said to the next mails instead of 250, for as long as it is set. */
  refusal: string | undefined;
  /** Everybody that mail was for, and every head line that it had. */
  readonly recipients = new Set<string>();
  readonly headLines = new Set<string>();
  /** How many mails heard that. */
  refused = 0;
  readonly #listener = new Listener((socket) => this.#converse(socket));

  /** Listens on a free port of 127.0.0.1 and resolves with it. */
  async start(): Promise<number> {
    return await this.#listener.start();
  }

  async stop(): Promise<void> {
    await this.#listener.stop();
  }

  /** Hashes of the updates that came. */
  hashes(): Set<string> {
    return new Set(this.received.keys());
  }

  #converse(socket: Socket): void {
    let text = "";
    let inData = false;
    socket.write("220 far.example.net\r\n");
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (;;) {
        const end = text.indexOf(inData ? FINAL_DOT : "\r\n");
        if (end < 0) return;
        const piece = text.slice(0, end);
        text = text.slice(end + (inData ? FINAL_DOT.length : 2));
        if (inData) {
          socket.write(`${this.#take(piece)}\r\n`);
          inData = false;
        } else {
          const [, to] = /^RCPT TO:<(.*)>/i.exec(piece) ?? [];
          if (to !== undefined) this.recipients.add(to);
          inData = /^DATA$/i.test(piece);
          socket.write(inData ? "354 Go on.\r\n" : "250 Good.\r\n");
          if (/^QUIT$/i.test(piece)) socket.end();
        }
      }
    });
  }

  #take(raw: string): string {
    if (this.refusal !== undefined) {
      this.refused += 1;
      return this.refusal;
    }
    const hashes = admit([Buffer.from(raw, "latin1")]).updates.map(({ hash }) => hash);
    if (hashes.some((hash) => this.received.has(hash))) this.repeats += 1;
    this.taken += 1;
    const [head = ""] = raw.split("\r\n\r\n", 1);
    for (const line of head.split(/[\r\n]+/)) this.headLines.add(line);
    for (const hash of hashes) this.onUpdate?.(hash);
    const [, named] = /^Message-ID: <([0-9a-f]{32})\./im.exec(head) ?? [];
    if (named !== undefined) this.onMail?.(named);
    for (const hash of hashes) this.received.set(hash, (this.received.get(hash) ?? 0) + 1);
    return "250 2.0.0 Queued.";
  }
}
