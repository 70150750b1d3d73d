/**
 * The SMTP door: an MX for incremental mail over TCP, and LMTP over Unix sockets for a mail server
 * in front (`lmtp.ts`). Neighbours may send to the address of the site, with the null sender too.
 * Anybody may send to the bounce address with the null sender. All other mail is refused in the
 * session, so the gateway never relays and never bounces.
 *
 * This file turns outcomes into SMTP replies. 250 is sent after the commit, both for a new update
 * and for a duplicate (RFC 5321 section 6.1). `smtp-session.ts` has the protocol, `collect.ts` the
 * time limits. STARTTLS is offered over TCP if a certificate is configured. Limit: mail to
 * postmaster is refused; the contact address is [site] contact.
 */
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import type {
  SMTPServerDataResult,
  SMTPServerDataStream,
  SMTPServerOptions,
  SMTPServerSession,
} from "smtp-server";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, type RefusalReason, refusalKind, TooFast, Trouble } from "../errors.js";
import { KnownSenders } from "../intake/senders.js";
import { clientHost, clientNetwork, isLoopback, plainIp } from "../ip-address.js";
import { isBounceAddress } from "../mail/verp.js";
import { domainOf, isSameAddress } from "../mail-address.js";
import type { BounceIntake } from "./bounce-intake.js";
import { OwnCertificate } from "./certificate.js";
import { collect, type GiveUp } from "./collect.js";
import { type HeldMail, HeldMails } from "./held-mails.js";
import { SMTP_LIMITS, type SmtpLimits } from "./limits.js";
import { listenOnSocket } from "./lmtp.js";
import type { Intake, MailIntake } from "./mail-intake.js";
import { isOverShare } from "./shares.js";
import { type SmtpSession, SmtpSessionServer } from "./smtp-session.js";
import type { Borrowed, SystemdSockets, Wanted } from "./systemd-sockets.js";

/** The kind of a connection: SMTP over TCP, or LMTP over a Unix socket. */
type Line = "tcp" | "socket";

/** The neighbours that may be sending. `mustBeNamed`: the mail must name one of them. */
interface Access {
  readonly candidates: readonly Neighbour[];
  readonly mustBeNamed: boolean;
}

interface Reply {
  readonly code: number;
  readonly text: string;
}

/** What an `SmtpDoor` works with. */
export interface SmtpComponents {
  readonly intake: Pick<MailIntake, "rates" | "take">;
  readonly bounces: Pick<BounceIntake, "take">;
  readonly diagnostics: Diagnostics;
  /** Sockets that systemd opened. */
  readonly inherited?: Pick<SystemdSockets, "has" | "borrow"> | undefined;
}

export interface SmtpSettings extends Pick<Config, "site" | "neighbours" | "outbound" | "log"> {
  readonly smtp: NonNullable<Config["smtp"]>;
  readonly limits?: SmtpLimits;
}

const NOTED: Reply = { code: 250, text: "2.0.0 Noted." };

const GOING_DOWN: Reply = {
  code: 421,
  text: "4.3.2 The gateway is shutting down, try again later.",
};

/** Replies to a message that is not read to its end. */
const GIVE_UP: Readonly<Record<GiveUp, Reply>> = {
  "too-slow": { code: 421, text: "4.4.2 The message took too long." },
  "too-large": replyFor("too-large", "The message is much too large."),
};

export class SmtpDoor {
  readonly #settings: SmtpSettings;
  readonly #smtp: NonNullable<Config["smtp"]>;
  readonly #intake: SmtpComponents["intake"];
  readonly #bounces: SmtpComponents["bounces"];
  readonly #diagnostics: Diagnostics;
  readonly #limits: SmtpLimits;
  readonly #senders: KnownSenders;
  readonly #held: HeldMails;
  readonly #inherited: SmtpComponents["inherited"];
  readonly #servers: SmtpSessionServer[] = [];
  readonly #borrowed: Borrowed[] = [];
  #stopping = false;

  constructor(components: SmtpComponents, settings: SmtpSettings) {
    this.#settings = settings;
    this.#smtp = settings.smtp;
    this.#intake = components.intake;
    this.#bounces = components.bounces;
    this.#diagnostics = components.diagnostics;
    this.#limits = settings.limits ?? SMTP_LIMITS;
    this.#inherited = components.inherited;
    this.#senders = new KnownSenders(settings.neighbours);
    this.#held = new HeldMails(dirname(settings.log.path));
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

  /** Stops listening, waits a limited time for messages in progress, and closes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { giveBack } of this.#borrowed) giveBack();
    for (const session of this.#sessions()) this.#dismiss(session);
    await Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
  }

  /** Serves the connections of sockets that systemd opened. */
  #borrow(wanted: Wanted, line: Line): readonly Endpoint[] {
    if (this.#inherited === undefined) throw new Error("no sockets of systemd");
    const server = this.#server(line);
    const borrowed = this.#inherited.borrow(wanted, (socket) => server.take(socket));
    this.#servers.push(server);
    this.#borrowed.push(borrowed);
    return borrowed.endpoints;
  }

  /** Ends a session, unless it is receiving a message; that one is answered first. */
  #dismiss(session: SmtpSession | undefined): void {
    if (session?.isReceiving === false) session.send(GOING_DOWN.code, GOING_DOWN.text);
  }

  #sessions(): SmtpSession[] {
    return this.#servers.flatMap((server) => server.sessions());
  }

  #server(line: Line): SmtpSessionServer {
    const limits = this.#limits;
    const { tls } = this.#smtp;
    const certificate =
      line === "tcp" && tls !== undefined
        ? new OwnCertificate({ diagnostics: this.#diagnostics }, tls)
        : undefined;
    const options: SMTPServerOptions = {
      lmtp: line === "socket",
      useXForward: line === "socket",
      name: this.#smtp.hostname,
      banner: "KX gateway",
      size: this.#smtp.maxSizeBytes,
      authOptional: true,
      // STARTTLS without a certificate would use smtp-server's published key. The package
      // implements WIZ, SHELL and KILL as jokes.
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
      // Sessions and messages have other deadlines, which single bytes do not extend.
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
        const isStranger = this.#access(session, line).candidates.length === 0;
        const held = this.#held.open(session.remoteAddress, isStranger);
        // LMTP has one reply for each recipient, also when the message fails.
        const replies = line === "socket" ? session.envelope.rcptTo.length : 1;
        const broken: Reply = { code: 451, text: "4.4.2 The connection was lost." };
        this.#data(stream, session, line, { connection, held })
          .catch((error) => {
            const reply = error instanceof Trouble ? this.#failure(error, session) : broken;
            return new Array<Reply>(replies).fill(reply);
          })
          .finally(() => held.release())
          .then((given) => {
            callback(null, given.map(toAnswer));
            if (this.#stopping) this.#dismiss(connection);
          });
      },
    };
    const renewed = () => certificate?.renewed();
    const server = new SmtpSessionServer(options, limits.commandMs, renewed);
    server.on("error", (error) => {
      const problem = error instanceof Error ? error.message : "unknown";
      this.#diagnostics.report("smtp-error", { problem });
    });
    return server;
  }

  /** Which neighbours may be sending, and whether the mail must name one of them. */
  #access({ remoteAddress }: SMTPServerSession, line: Line): Access {
    const candidates = this.#senders.at(remoteAddress);
    // An address of this host identifies no neighbour, just like a missing address.
    const isUntold = remoteAddress === "" || isLoopback(remoteAddress);
    if (line === "tcp" || !isUntold || candidates.length > 0) {
      return { candidates, mustBeNamed: false };
    }
    return { candidates: this.#senders.all, mustBeNamed: true };
  }

  #judgeClient({ remoteAddress }: SMTPServerSession, line: Line): Reply | undefined {
    if (this.#stopping) return GOING_DOWN;
    // TCP and Unix sockets are counted separately. Clients of a Unix socket have no address.
    const isLocal = line === "socket";
    const visitor = (address: string) => {
      return { client: clientHost(address), isStranger: this.#senders.at(address).length === 0 };
    };
    const open = this.#sessions()
      .filter(({ clientAddress }) => (clientAddress === "") === isLocal)
      .map(({ clientAddress }) => visitor(clientAddress));
    const isOver = isLocal
      ? open.length > this.#limits.sessions
      : isOverShare(open, visitor(remoteAddress), this.#limits);
    if (!isOver) return undefined;
    this.#limited(remoteAddress, "too many connections");
    return { code: 421, text: "4.7.0 Too many connections, try again later." };
  }

  #judgeSender(sender: string, session: SMTPServerSession, line: Line): Reply | undefined {
    if (this.#stopping) return GOING_DOWN;
    // Anybody may send a bounce, which has the null sender. RCPT decides.
    return sender === "" ? undefined : this.#judgeAccess(session, line, sender);
  }

  /** Whether the client is a neighbour. */
  #judgeAccess(session: SMTPServerSession, line: Line, sender: string): Reply | undefined {
    if (this.#access(session, line).candidates.length > 0) return undefined;
    const resembles = this.#resembled(sender, session.hostNameAppearsAs);
    // The operator needs the whole address of a server that may be a neighbour's.
    const address = resembles === undefined ? undefined : plainIp(session.remoteAddress);
    const problem = "the address is in no neighbour's accept_from";
    this.#refused(session, "unknown-sender", problem, { resembles, address });
    return replyFor("unknown-sender", "This address is not a neighbour of this keyserver.");
  }

  /** The neighbour whose mail domain the sender's address or the name in its EHLO has. */
  #resembled(sender: string, hello: string | false | undefined): string | undefined {
    const from = domainOf(sender).toLowerCase();
    const host = typeof hello === "string" ? hello.toLowerCase() : "";
    return this.#settings.neighbours.find(({ mail }) => {
      const domain = mail === undefined ? "" : domainOf(mail).toLowerCase();
      return (
        domain !== "" && [from, host].some((one) => one === domain || one.endsWith(`.${domain}`))
      );
    })?.name;
  }

  #judgeRecipient(recipient: string, session: SMTPServerSession, line: Line): Reply | undefined {
    if (this.#isBounce(recipient)) return undefined;
    if (!this.#isSite(recipient)) {
      this.#refused(session, "unknown-recipient", "no such recipient");
      return replyFor("unknown-recipient", "No such recipient here; this host does not relay.");
    }
    const { mailFrom } = session.envelope;
    const sender = mailFrom === false ? "" : mailFrom.address;
    const stranger = this.#judgeAccess(session, line, sender);
    if (stranger !== undefined) return stranger;
    const tooFast = this.#intake.rates.refusal(this.#access(session, line).candidates);
    return tooFast && this.#failure(tooFast, session);
  }

  /** The reply to a message. Over LMTP one reply for each recipient (RFC 2033 section 4.2). */
  async #data(
    stream: SMTPServerDataStream,
    session: SMTPServerSession,
    line: Line,
    { connection, held }: { readonly connection: SmtpSession | undefined; readonly held: HeldMail },
  ): Promise<Reply[]> {
    // The envelope is reset when the client disconnects, possibly before the message is stored.
    const { envelope } = session;
    const recipients = envelope.rcptTo.map(({ address }) => address);
    const { maxSizeBytes } = this.#smtp;
    const message = await collect(stream, maxSizeBytes, this.#limits, held, (reason) => {
      this.#limited(session.remoteAddress, reason);
      const { code, text } = GIVE_UP[reason];
      for (const _ of line === "socket" ? recipients : [""]) connection?.send(code, text);
      if (code !== 421) connection?.close();
    });
    const update = recipients.some((address) => this.#isSite(address))
      ? await this.#update(message, session, line, envelope)
      : undefined;
    // A message that was stored as an update is not also a bounce.
    const bounces = update?.isStored ? [] : recipients.filter((one) => this.#isBounce(one));
    const bounced = await this.#bounce(message, session, bounces);
    const taken = update?.reply ?? bounced;
    if (line === "socket") return recipients.map((one) => (this.#isBounce(one) ? bounced : taken));
    return [taken.code < 300 && bounced.code >= 300 ? bounced : taken];
  }

  /** Takes a message to the address of the site. */
  async #update(
    message: Uint8Array | undefined,
    session: SMTPServerSession,
    line: Line,
    { mailFrom }: SMTPServerSession["envelope"],
  ): Promise<{ readonly reply: Reply; readonly isStored: boolean }> {
    try {
      if (message === undefined) {
        const limit = this.#smtp.maxSizeBytes;
        throw new Refusal("too-large", `The message exceeds the limit of ${limit} bytes.`);
      }
      const sender = mailFrom === false ? "" : mailFrom.address;
      const { candidates, mustBeNamed } = this.#access(session, line);
      const intake = await this.#intake.take(message, candidates, sender, mustBeNamed);
      return { reply: replyTo(intake), isStored: intake.kind === "stored" };
    } catch (error) {
      return { reply: this.#failure(error, session), isStored: false };
    }
  }

  /** Takes a message to `recipients`, which are bounce addresses. */
  async #bounce(
    message: Uint8Array | undefined,
    session: SMTPServerSession,
    recipients: readonly string[],
  ): Promise<Reply> {
    try {
      if (recipients.length > 0) await this.#bounces.take(message, recipients);
      return NOTED;
    } catch (error) {
      return this.#failure(error, session);
    }
  }

  #isBounce(address: string): boolean {
    const bounce = this.#settings.outbound?.bounce;
    return bounce !== undefined && !this.#isSite(address) && isBounceAddress(bounce, address);
  }

  #isSite(address: string): boolean {
    return isSameAddress(address, this.#settings.site.address);
  }

  #failure(error: unknown, session: SMTPServerSession): Reply {
    if (error instanceof TooFast) {
      const { neighbour, reason, waitMs, message } = error;
      const client = clientNetwork(session.remoteAddress);
      this.#diagnostics.report("too-fast", { neighbour, client, reason, waitMs });
      return replyFor(reason, message);
    }
    if (error instanceof Refusal) {
      this.#refused(session, error.reason, error.message);
      return replyFor(error.reason, error.message);
    }
    const trouble = error instanceof Trouble ? error : undefined;
    this.#diagnostics.report("mail-deferred", {
      client: clientNetwork(session.remoteAddress),
      kind: trouble?.kind ?? "bug",
      problem: error instanceof Error ? error.message : "unknown",
      remedy: trouble?.remedy,
    });
    return trouble?.kind === "disk-full"
      ? { code: 452, text: "4.3.1 No disk space for the update, try again later." }
      : { code: 451, text: "4.3.0 The update could not be stored, try again later." };
  }

  #limited(address: string, reason: string): void {
    const neighbour = this.#senders.at(address)[0]?.name;
    this.#diagnostics.report("smtp-limited", { neighbour, client: clientNetwork(address), reason });
  }

  #refused(
    session: SMTPServerSession,
    reason: RefusalReason,
    problem: string,
    server: { readonly resembles?: string | undefined; readonly address?: string | undefined } = {},
  ): void {
    const neighbour = this.#senders.at(session.remoteAddress)[0]?.name;
    const client = clientNetwork(session.remoteAddress);
    this.#diagnostics.report("mail-refused", { neighbour, client, reason, problem, ...server });
  }
}

/**
 * The reply to a refusal. Without a word about the content, a sender takes 5.7.1 for a refusal of
 * all its mail (`mail/delivery-report.ts`), as mail servers use it for both.
 */
function replyFor(reason: RefusalReason, text: string): Reply {
  const { smtp, isDeclined } = refusalKind(reason);
  const [code, status] = smtp;
  const about = isDeclined && status === "5.7.1" ? "Content declined by policy. " : "";
  return { code, text: `${status} ${about}${text}` };
}

function replyTo(intake: Intake): Reply {
  if (intake.kind === "reply") return NOTED;
  const { appended, duplicates } = intake;
  return { code: 250, text: `2.0.0 Stored ${appended} new, ${duplicates} known.` };
}

/** A reply in the form that smtp-server takes after DATA. */
function toAnswer(reply: Reply): SMTPServerDataResult {
  return reply.code < 300 ? reply.text : failed(reply);
}

function toError(reply: Reply | undefined): Error | undefined {
  return reply && failed(reply);
}

function failed({ code, text }: Reply): Error {
  return Object.assign(new Error(text), { responseCode: code });
}
