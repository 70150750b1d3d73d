/**
 * The SMTP door: smtp-server as MX for incremental mail, and over Unix sockets as LMTP for a mail
 * server in front (`lmtp.ts`). Configured neighbours may write to the site's address, anybody's
 * null sender to the bounce address, and nothing else is taken, so that it never relays and never
 * bounces: everything is decided in the session.
 *
 * The one translation from outcomes to SMTP replies is here. 250 comes after the commit, for a new
 * update and for a duplicate alike (RFC 5321 section 6.1). How the protocol is kept, and how long a
 * client may take, is in `session.ts` and `collect.ts`. STARTTLS is offered over TCP when there is
 * a certificate, and asked of nobody. Known limit: mail to postmaster is refused like any other,
 * its address is in [site] contact.
 */
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import type { SMTPServerDataStream, SMTPServerOptions, SMTPServerSession } from "smtp-server";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, type RefusalReason, TooFast, Trouble } from "../errors.js";
import { isBounceAddress } from "../mail/verp.js";
import type { BounceIntake } from "./bounce-intake.js";
import { OwnCertificate } from "./certificate.js";
import { collect, type GiveUp } from "./collect.js";
import { type HeldMail, HeldMails } from "./held-mails.js";
import type { Borrowed, InheritedSockets, Wanted } from "./inherited.js";
import { SMTP_LIMITS, type SmtpLimits } from "./limits.js";
import { listenOnSocket } from "./lmtp.js";
import type { Intake, MailIntake } from "./mail-intake.js";
import { KnownSenders } from "./neighbours.js";
import { type Session, SessionServer } from "./session.js";

/** What a client is connected by. */
type Line = "tcp" | "socket";

interface Access {
  readonly candidates: readonly Neighbour[];
  readonly mustBeNamed: boolean;
}

interface Reply {
  readonly code: number;
  readonly text: string;
}

/** Refusals that have a code of their own. */
const REFUSED: Partial<Record<RefusalReason, readonly [number, string]>> = {
  "too-large": [552, "5.3.4"],
  "unknown-sender": [550, "5.7.1"],
  "policy-size": [552, "5.3.4"],
  "policy-packets": [552, "5.3.4"],
  "policy-attribute": [550, "5.7.1"],
  "policy-carry": [550, "5.7.1"],
  "policy-new-key": [550, "5.7.1"],
  blocked: [550, "5.7.1"],
};

const GOING_DOWN: Reply = { code: 421, text: "4.3.2 Going down, try again later." };

/** What a client hears whose message is not read to its end. */
const GIVE_UP: Readonly<Record<GiveUp, Reply>> = {
  "too-slow": { code: 421, text: "4.4.2 The message took too long." },
  "too-large": { code: 552, text: "5.3.4 The message is far too large." },
};

export class SmtpDoor {
  readonly #config: Config;
  readonly #smtp: NonNullable<Config["smtp"]>;
  readonly #intake: MailIntake;
  readonly #bounces: BounceIntake;
  readonly #diagnostics: Diagnostics;
  readonly #limits: SmtpLimits;
  readonly #senders: KnownSenders;
  readonly #held: HeldMails;
  readonly #inherited: InheritedSockets | undefined;
  readonly #servers: SessionServer[] = [];
  readonly #borrowed: Borrowed[] = [];
  #stopping = false;

  constructor(
    config: Config,
    smtp: NonNullable<Config["smtp"]>,
    intake: MailIntake,
    bounces: BounceIntake,
    diagnostics: Diagnostics,
    limits: SmtpLimits = SMTP_LIMITS,
    inherited?: InheritedSockets,
  ) {
    this.#config = config;
    this.#smtp = smtp;
    this.#intake = intake;
    this.#bounces = bounces;
    this.#diagnostics = diagnostics;
    this.#limits = limits;
    this.#inherited = inherited;
    this.#senders = new KnownSenders(config.neighbours);
    this.#held = new HeldMails(dirname(config.log.path));
  }

  /** Listens; resolves with the addresses in the order of the config, free ports filled in. */
  async start(): Promise<Endpoint[]> {
    const bound: Endpoint[] = [];
    for (const { host, port } of this.#smtp.listen) {
      const server = this.#server("tcp");
      await new Promise<void>((resolve, reject) => {
        server.server.once("error", reject);
        server.listen(port, host, () => resolve());
      });
      this.#servers.push(server);
      bound.push({ host, port: (server.server.address() as AddressInfo).port });
    }
    for (const name of this.#smtp.inherited) bound.push(...this.#borrow({ name }, "tcp"));
    for (const path of this.#smtp.sockets) {
      if (this.#inherited?.has({ path })) {
        this.#borrow({ path }, "socket");
        continue;
      }
      const server = this.#server("socket");
      await listenOnSocket(server, path, this.#smtp.socketMode);
      this.#servers.push(server);
    }
    return bound;
  }

  /** Takes no new connection, lets messages under way finish for a while, and closes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { giveBack } of this.#borrowed) giveBack();
    for (const session of this.#sessions()) this.#dismiss(session);
    await Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
  }

  /** Takes the connections of sockets that systemd opened. */
  #borrow(wanted: Wanted, line: Line): readonly Endpoint[] {
    if (this.#inherited === undefined) throw new Error("there is nobody to borrow sockets from");
    const server = this.#server(line);
    const borrowed = this.#inherited.borrow(wanted, (socket) => server.take(socket));
    this.#servers.push(server);
    this.#borrowed.push(borrowed);
    return borrowed.endpoints;
  }

  /** Ends a session, unless a message is under way: that is answered first. */
  #dismiss(session: Session | undefined): void {
    if (session?.isReceiving === false) session.send(GOING_DOWN.code, GOING_DOWN.text);
  }

  #sessions(): Session[] {
    return this.#servers.flatMap((server) => server.sessions());
  }

  #server(line: Line): SessionServer {
    const limits = this.#limits;
    const { tls } = this.#smtp;
    const certificate =
      line === "tcp" && tls !== undefined ? new OwnCertificate(tls, this.#diagnostics) : undefined;
    const options: SMTPServerOptions = {
      lmtp: line === "socket",
      useXForward: line === "socket",
      name: this.#smtp.hostname,
      banner: "KX gateway",
      size: this.#smtp.maxSizeBytes,
      authOptional: true,
      // STARTTLS without a certificate of our own would use smtp-server's published key; the last
      // three of the others are jokes of the package.
      disabledCommands: [
        ...["AUTH", "WIZ", "SHELL", "KILL"],
        ...(certificate === undefined ? ["STARTTLS"] : []),
      ],
      ...certificate?.material,
      disableReverseLookup: true,
      hideENHANCEDSTATUSCODES: false,
      hideSMTPUTF8: true,
      maxRecipients: limits.recipients,
      maxCommandLength: limits.commandBytes,
      maxAllowedUnauthenticatedCommands: false,
      // A backstop: sessions and messages have deadlines of their own, which a trickle cannot move.
      socketTimeout: limits.commandMs,
      closeTimeout: limits.closeMs,
      logger: false,
      onConnect: (session, callback) => {
        callback(toError(this.#judgeClient(session, line)));
      },
      onMailFrom: (address, session, callback) => {
        callback(toError(this.#judgeSender(address.address, session, line)));
      },
      onRcptTo: (address, session, callback) => {
        callback(toError(this.#judgeRecipient(address.address, session, line)));
      },
      onData: (stream, session, callback) => {
        const connection = server.sessions().find(({ id }) => id === session.id);
        const { remoteAddress } = session;
        const isStranger = this.#access(session, line).candidates.length === 0;
        const held = this.#held.open(remoteAddress, isStranger);
        this.#data(stream, session, line, { connection, held })
          .catch((error): Reply => {
            if (error instanceof Trouble) return this.#failure(error, session);
            return { code: 451, text: "4.4.2 The connection broke." };
          })
          .finally(() => held.release())
          .then(({ code, text }) => {
            if (code < 300) callback(null, text);
            else callback(toError({ code, text }));
            if (this.#stopping) this.#dismiss(connection);
          });
      },
    };
    const renewed = () => certificate?.renewed();
    const server = new SessionServer(options, limits.commandMs, renewed);
    server.on("error", (error) => {
      const problem = error instanceof Error ? error.message : "unknown";
      this.#diagnostics.report("smtp-error", { problem });
    });
    return server;
  }

  /** Who may be writing, and whether the mail itself has to say so. */
  #access({ remoteAddress }: SMTPServerSession, line: Line): Access {
    const candidates = this.#senders.at(remoteAddress);
    // A mail server that says "127.0.0.1" or nothing says as much as none.
    const isUntold = /^(|127\..*|::1)$/.test(remoteAddress);
    if (line === "tcp" || !isUntold || candidates.length > 0) {
      return { candidates, mustBeNamed: false };
    }
    return { candidates: this.#senders.all, mustBeNamed: true };
  }

  #judgeClient({ remoteAddress }: SMTPServerSession, line: Line): Reply | undefined {
    if (this.#stopping) return GOING_DOWN;
    if (line === "socket") return undefined;
    const { sessions, strangers, perNeighbour, perStranger } = this.#limits;
    const open = this.#sessions();
    const isStranger = (address: string) => this.#senders.at(address).length === 0;
    const fromHere = open.filter((session) => session.remoteAddress === remoteAddress).length;
    const fromStrangers = open.filter((session) => isStranger(session.remoteAddress)).length;
    const isOver = isStranger(remoteAddress)
      ? fromHere > perStranger || fromStrangers > strangers
      : fromHere > perNeighbour;
    if (!isOver && open.length <= sessions) return undefined;
    this.#limited(remoteAddress, "too many connections");
    return { code: 421, text: "4.7.0 Too many connections, try again later." };
  }

  #judgeSender(sender: string, session: SMTPServerSession, line: Line): Reply | undefined {
    if (this.#stopping) return GOING_DOWN;
    // The null sender is a bounce, which may come from anywhere; its recipient decides.
    if (sender === "" || this.#access(session, line).candidates.length > 0) return undefined;
    this.#refused(session, "unknown-sender", "the address is in no neighbour's accept_from");
    return { code: 550, text: "5.7.1 This address is not a neighbour of this keyserver." };
  }

  #judgeRecipient(recipient: string, session: SMTPServerSession, line: Line): Reply | undefined {
    const bounce = this.#config.outbound?.bounce;
    const isNullSender = session.envelope.mailFrom !== false && !session.envelope.mailFrom.address;
    if (bounce !== undefined && isBounceAddress(bounce, recipient)) return undefined;
    if (isNullSender) {
      this.#refused(session, "null-sender", "a bounce is taken at the bounce address only");
      return { code: 550, text: "5.7.1 The null sender may write to the bounce address only." };
    }
    if (this.#isSite(recipient)) {
      const tooFast = this.#intake.rates.refusal(this.#access(session, line).candidates);
      return tooFast && this.#failure(tooFast, session);
    }
    this.#refused(session, "unknown-recipient", "no such recipient");
    return { code: 550, text: "5.7.1 No such recipient here; this host does not relay." };
  }

  async #data(
    stream: SMTPServerDataStream,
    session: SMTPServerSession,
    line: Line,
    { connection, held }: { readonly connection: Session | undefined; readonly held: HeldMail },
  ): Promise<Reply> {
    // The envelope is reset when the client leaves, and a message may still be on its way to disk.
    const { envelope } = session;
    const { maxSizeBytes } = this.#smtp;
    const message = await collect(stream, maxSizeBytes, this.#limits, held, (reason) => {
      this.#limited(session.remoteAddress, reason);
      const { code, text } = GIVE_UP[reason];
      connection?.send(code, text);
      if (code !== 421) connection?.close();
    });
    try {
      if (!envelope.rcptTo.some(({ address }) => this.#isSite(address))) {
        const recipients = envelope.rcptTo.map(({ address }) => address);
        await this.#bounces.take(message, recipients);
        return { code: 250, text: "2.0.0 Noted." };
      }
      if (message === undefined) {
        throw new Refusal("too-large", `The message exceeds the limit of ${maxSizeBytes} bytes.`);
      }
      const sender = envelope.mailFrom === false ? "" : envelope.mailFrom.address;
      const { candidates, mustBeNamed } = this.#access(session, line);
      return replyTo(await this.#intake.take(message, candidates, sender, mustBeNamed));
    } catch (error) {
      return this.#failure(error, session);
    }
  }

  #isSite(address: string): boolean {
    return address.toLowerCase() === this.#config.site.address.toLowerCase();
  }

  #failure(error: unknown, session: SMTPServerSession): Reply {
    if (error instanceof TooFast) {
      const { neighbour, reason, waitMs, message } = error;
      const client = shortened(session.remoteAddress);
      this.#diagnostics.report("too-fast", { neighbour, client, reason, waitMs });
      return { code: 450, text: `4.7.1 ${message}` };
    }
    if (error instanceof Refusal) {
      this.#refused(session, error.reason, error.message);
      const [code, status] = REFUSED[error.reason] ?? [550, "5.6.0"];
      return { code, text: `${status} ${error.message}` };
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

  #limited(address: string, reason: string): void {
    const neighbour = this.#senders.at(address)[0]?.name;
    this.#diagnostics.report("smtp-limited", { neighbour, client: shortened(address), reason });
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
  if (address === "") return "local";
  const v4 = /(\d+\.\d+\.\d+)\.\d+$/.exec(address);
  if (v4 !== null) return `${v4[1]}.0/24`;
  return `${address.split(":").slice(0, 3).join(":")}::/48`;
}
