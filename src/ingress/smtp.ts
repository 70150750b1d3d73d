/**
 * The SMTP door: smtp-server as MX for incremental mail. Configured neighbours may write to the
 * site's address, anybody's null sender to the bounce address, and nothing else is taken, so that
 * it never relays and never bounces: everything is decided in the session.
 *
 * The one translation from outcomes to SMTP replies is `replyTo`. 250 comes after the commit, for
 * a new update and for a duplicate alike (RFC 5321 section 6.1). Enhanced codes stand in our own
 * texts, since smtp-server's table of them has other ideas; hence the extension is not announced.
 * Known limit: without a certificate there is no STARTTLS.
 */
import type { AddressInfo } from "node:net";
import type { SMTPServerDataStream, SMTPServerSession } from "smtp-server";
import { SMTPServer } from "smtp-server";
import type { Config, Endpoint } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, Trouble } from "../errors.js";
import { isBounceAddress, parseVerp } from "../mail/verp.js";
import type { Intake, MailIntake } from "./mail-intake.js";
import { KnownSenders } from "./neighbours.js";

export const SMTP_LIMITS = {
  /** RFC 5321 section 4.5.3.2.7. */
  idleMs: 5 * 60_000,
  /** A whole message: 10 minutes is the final-dot timeout of the RFC, and Postfix's rate floor. */
  dataMs: 10 * 60_000,
  /** How long a session may finish its message when we go down. */
  closeMs: 10_000,
  connections: 200,
  commandBytes: 2048,
  recipients: 100,
} as const;

interface Reply {
  readonly code: number;
  readonly text: string;
}

export class SmtpDoor {
  readonly #config: Config;
  readonly #smtp: NonNullable<Config["smtp"]>;
  readonly #intake: MailIntake;
  readonly #diagnostics: Diagnostics;
  readonly #senders: KnownSenders;
  readonly #servers: SMTPServer[] = [];
  #stopping = false;

  constructor(
    config: Config,
    smtp: NonNullable<Config["smtp"]>,
    intake: MailIntake,
    diagnostics: Diagnostics,
  ) {
    this.#config = config;
    this.#smtp = smtp;
    this.#intake = intake;
    this.#diagnostics = diagnostics;
    this.#senders = new KnownSenders(config.neighbours);
  }

  /** Listens; resolves with the addresses in the order of the config, free ports filled in. */
  async start(): Promise<Endpoint[]> {
    const bound: Endpoint[] = [];
    for (const { host, port } of this.#smtp.listen) {
      const server = this.#server();
      await new Promise<void>((resolve, reject) => {
        server.server.once("error", reject);
        server.listen(port, host, () => resolve());
      });
      this.#servers.push(server);
      bound.push({ host, port: (server.server.address() as AddressInfo).port });
    }
    return bound;
  }

  /** Takes no new connection, lets messages under way finish for a while, and closes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
  }

  #server(): SMTPServer {
    const server = new SMTPServer({
      name: this.#smtp.hostname,
      banner: "KX gateway",
      size: this.#smtp.maxSizeBytes,
      authOptional: true,
      // STARTTLS without a certificate of our own would use smtp-server's published key.
      disabledCommands: ["AUTH", "STARTTLS"],
      disableReverseLookup: true,
      hideENHANCEDSTATUSCODES: true,
      hideSMTPUTF8: true,
      maxClients: SMTP_LIMITS.connections,
      maxRecipients: SMTP_LIMITS.recipients,
      maxCommandLength: SMTP_LIMITS.commandBytes,
      maxAllowedUnauthenticatedCommands: false,
      socketTimeout: SMTP_LIMITS.idleMs,
      closeTimeout: SMTP_LIMITS.closeMs,
      logger: false,
      onMailFrom: (address, session, callback) => {
        callback(toError(this.#judgeSender(address.address, session)));
      },
      onRcptTo: (address, session, callback) => {
        callback(toError(this.#judgeRecipient(address.address, session)));
      },
      onData: (stream, session, callback) => {
        this.#data(server, stream, session).then(
          ({ code, text }) =>
            code < 300 ? callback(null, text) : callback(toError({ code, text })),
          // The client left: there is nobody to answer.
          () => callback(toError({ code: 451, text: "4.4.2 The connection broke." })),
        );
      },
    });
    server.on("error", (error) => {
      const problem = error instanceof Error ? error.message : "unknown";
      this.#diagnostics.report("smtp-error", { problem });
    });
    return server;
  }

  #judgeSender(sender: string, session: SMTPServerSession): Reply | undefined {
    if (this.#stopping) return { code: 421, text: "4.3.2 Going down, try again later." };
    // The null sender is a bounce, which may come from anywhere; its recipient decides.
    if (sender === "" || this.#senders.at(session.remoteAddress).length > 0) return undefined;
    this.#refused(session, "unknown-sender", "the address is in no neighbour's accept_from");
    return { code: 550, text: "5.7.1 This address is not a neighbour of this keyserver." };
  }

  #judgeRecipient(recipient: string, session: SMTPServerSession): Reply | undefined {
    const { site } = this.#config;
    const bounce = this.#config.outbound?.bounce;
    const isNullSender = session.envelope.mailFrom !== false && !session.envelope.mailFrom.address;
    if (bounce !== undefined && isBounceAddress(bounce, recipient)) return undefined;
    if (isNullSender) {
      this.#refused(session, "null-sender", "a bounce is taken at the bounce address only");
      return { code: 550, text: "5.7.1 The null sender may write to the bounce address only." };
    }
    if (recipient.toLowerCase() === site.address.toLowerCase()) return undefined;
    this.#refused(session, "unknown-recipient", "no such recipient");
    return { code: 550, text: "5.7.1 No such recipient here; this host does not relay." };
  }

  async #data(
    server: SMTPServer,
    stream: SMTPServerDataStream,
    session: SMTPServerSession,
  ): Promise<Reply> {
    const deadline = setTimeout(() => {
      for (const connection of server.connections) {
        if (connection.id === session.id) connection.send(421, "4.4.2 The message took too long.");
      }
    }, SMTP_LIMITS.dataMs);
    try {
      const message = await this.#collect(stream);
      return await this.#take(message, stream.sizeExceeded, session);
    } finally {
      clearTimeout(deadline);
    }
  }

  /** The message up to the size cap; the rest is read and dropped, so that a reply can follow. */
  async #collect(stream: SMTPServerDataStream): Promise<Uint8Array> {
    let chunks: Uint8Array[] = [];
    for await (const chunk of stream) {
      if (stream.sizeExceeded) chunks = [];
      else chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  async #take(message: Uint8Array, tooLarge: boolean, session: SMTPServerSession): Promise<Reply> {
    const { mailFrom, rcptTo } = session.envelope;
    const sender = mailFrom === false ? "" : mailFrom.address;
    try {
      const bounce = this.#config.outbound?.bounce;
      for (const { address } of rcptTo) {
        if (bounce === undefined || !isBounceAddress(bounce, address)) continue;
        const mark = parseVerp(bounce, address);
        this.#diagnostics.report("bounce", { neighbour: mark?.site, seq: mark?.seq });
        return { code: 250, text: "2.0.0 Noted." };
      }
      if (tooLarge) {
        const size = this.#smtp.maxSizeBytes;
        throw new Refusal("too-large", `The message exceeds the limit of ${size} bytes.`);
      }
      const candidates = this.#senders.at(session.remoteAddress);
      return replyTo(await this.#intake.take(message, candidates, sender));
    } catch (error) {
      return this.#failure(error, session);
    }
  }

  #failure(error: unknown, session: SMTPServerSession): Reply {
    if (error instanceof Refusal) {
      this.#refused(session, error.reason, error.message);
      const code = error.reason === "too-large" ? 552 : 550;
      return { code, text: `${error.reason === "too-large" ? "5.3.4" : "5.6.0"} ${error.message}` };
    }
    const trouble = error instanceof Trouble ? error : undefined;
    this.#diagnostics.report("mail-deferred", {
      client: shortened(session.remoteAddress),
      kind: trouble?.kind ?? "bug",
      problem: error instanceof Error ? error.message : "unknown",
      remedy: trouble?.remedy,
    });
    return trouble?.kind === "disk-full"
      ? { code: 452, text: "4.3.1 No space to store the update, try again later." }
      : { code: 451, text: "4.3.0 The update could not be stored, try again later." };
  }

  #refused(session: SMTPServerSession, reason: string, problem: string): void {
    const neighbour = this.#senders.at(session.remoteAddress)[0]?.name;
    const client = shortened(session.remoteAddress);
    this.#diagnostics.report("mail-refused", { neighbour, client, reason, problem });
  }
}

function replyTo(intake: Intake): Reply {
  if (intake.kind === "reply") return { code: 250, text: "2.0.0 Noted." };
  const { appended, duplicates } = intake;
  return { code: 250, text: `2.0.0 Stored ${appended} new, ${duplicates} known.` };
}

function toError(reply: Reply | undefined): Error | undefined {
  if (reply === undefined) return undefined;
  return Object.assign(new Error(reply.text), { responseCode: reply.code });
}

/** The network of an address, enough to find a misconfigured neighbour: /24 or /48. */
function shortened(address: string): string {
  const v4 = /(\d+\.\d+\.\d+)\.\d+$/.exec(address);
  if (v4 !== null) return `${v4[1]}.0/24`;
  return `${address.split(":").slice(0, 3).join(":")}::/48`;
}
