/**
 * The mail servers between gateways, as one: it takes each mail, hands it to the gateway that it is
 * for, and answers what that one answered. It keeps count of what it carried, on its own, so that
 * nobody has to believe a gateway's word about what it has sent.
 */
import type { AddressInfo } from "node:net";
import { createTransport } from "nodemailer";
import { onTestFinished } from "vitest";
import { admit } from "../../src/admit.js";
import { SmtpSessionServer } from "../../src/ingress/smtp-session.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";

/** A mail that a gateway took from another one. */
export interface Carried {
  /** Site addresses. */
  readonly from: string;
  readonly to: string;
  readonly hashes: readonly string[];
  /** Monotonic milliseconds. */
  readonly at: number;
}

export class Hub {
  readonly carried: Carried[] = [];
  /** Where the gateway of each site address takes mail. */
  readonly addresses = new Map<string, { readonly host: string; readonly port: number }>();
  readonly #server: SmtpSessionServer;

  private constructor() {
    this.#server = new SmtpSessionServer(
      {
        authOptional: true,
        disabledCommands: ["AUTH", "STARTTLS"],
        disableReverseLookup: true,
        logger: false,
        closeTimeout: 100,
        onData: (stream, session, callback) => {
          const chunks: Buffer[] = [];
          stream.on("data", (chunk: Buffer) => chunks.push(chunk));
          stream.on("end", () => {
            const { mailFrom, rcptTo } = session.envelope;
            const from = mailFrom === false ? "" : mailFrom.address;
            this.#carry(Buffer.concat(chunks), from, rcptTo[0]?.address ?? "").then(
              () => callback(null, "2.0.0 Taken."),
              (error: Error) => callback(Object.assign(error, { responseCode: 451 })),
            );
          });
        },
      },
      60_000,
    );
    this.#server.on("error", () => {
      // A gateway that was killed breaks off; what is missing shows in the counts.
    });
  }

  /** A hub on a free port of 127.0.0.1 that is gone when the running test is finished. */
  static async start(): Promise<Hub> {
    const hub = new Hub();
    await new Promise<void>((resolve) => hub.#server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => new Promise<void>((resolve) => hub.#server.close(() => resolve())));
    return hub;
  }

  get url(): string {
    return `smtp://127.0.0.1:${(this.#server.server.address() as AddressInfo).port}`;
  }

  async #carry(raw: Buffer, sender: string, to: string): Promise<void> {
    const place = this.addresses.get(to);
    if (place === undefined) throw new Error(`nobody is ${to}`);
    const transport = createTransport({ ...place, ignoreTLS: true });
    await transport.sendMail({ raw, envelope: { from: sender, to } });
    transport.close();
    const { fields, bodyStart } = readHead(raw);
    const mail = recognise(fields, [raw.subarray(bodyStart)]);
    if (mail.command === "reply") return;
    const hashes = admit(mail.armor).updates.map(({ hash }) => hash);
    this.carried.push({ from: mail.trail.at(-1) ?? "", to, hashes, at: performance.now() });
  }
}
