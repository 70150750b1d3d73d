/**
 * The way to the relay: one mail at a time, and what came of it in our terms. It speaks through
 * nodemailer's SMTPConnection, below its composer (which rewrites X-KeyServer-Sent and encodes
 * bodies) and its pool (which queues again on its own): bytes and envelope go out as they are.
 *
 * After a mail that was taken the connection stays open for a while, so that a site that catches up
 * costs one TCP connection and not one a mail; after anything else it is closed. When a kept
 * connection turns out to be dead, the mail is tried once more on a new one.
 * Knows no site, no schedule and no log.
 */
import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import SMTPConnection from "nodemailer/lib/smtp-connection";

export interface TransportLimits {
  readonly connectMs: number;
  readonly greetingMs: number;
  /** RFC 5321 allows 10 minutes after the final dot; a relay of our own answers sooner. */
  readonly silenceMs: number;
  /** A whole attempt: a relay that trickles its replies is never silent. */
  readonly attemptMs: number;
  /** How long a connection is kept without a mail; relays close theirs after minutes. */
  readonly idleMs: number;
}

export const TRANSPORT_LIMITS: TransportLimits = {
  connectMs: 30_000,
  greetingMs: 60_000,
  silenceMs: 5 * 60_000,
  attemptMs: 15 * 60_000,
  idleMs: 10_000,
};

/**
 * How a delivery is known: "relayed" means that a mail server took it on its way, "taken" that the
 * keyserver itself answered for it, "spooled" that a file lies where the keyserver looks for it,
 * "collected" that the keyserver has removed that file, "exited" that a program ended well.
 */
export type Proof = "relayed" | "taken" | "spooled" | "collected" | "exited";

/** What a delivery attempt came to. An unknown error is temporary: nothing is given up for it. */
export type Outcome =
  | { readonly kind: "delivered"; readonly how: Proof; readonly reply: string }
  /**
   * Later. `about` says what failed: the way to the neighbour or the neighbour itself, so that any
   * other update would fail as well, or this update.
   */
  | {
      readonly kind: "temporary";
      readonly about: "update" | "neighbour";
      readonly code: number | undefined;
      readonly words: string;
    }
  /**
   * Never: this update was read and refused. `isOfKey` says that the receiver named the key.
   */
  | {
      readonly kind: "refused";
      readonly code: number;
      readonly words: string;
      readonly isOfKey?: true;
    };

/** What the connection to the relay has to be. */
export interface Security {
  /** Encrypted and to the host that the URL names, or else no mail leaves. */
  readonly required: boolean;
  /** CAs in PEM that are trusted; undefined for those that Node comes with. */
  readonly ca: readonly string[] | undefined;
}

/** The system's CAs and those of a PEM file, undefined without one. */
export function certificatesIn(file: string | undefined): string[] | undefined {
  return file === undefined ? undefined : [...rootCertificates, readFileSync(file, "utf8")];
}

const OPPORTUNISTIC: Security = { required: false, ca: undefined };

export interface Relay {
  /** One mail to one recipient. Never rejects; one call at a time. */
  deliver(raw: Uint8Array, sender: string, recipient: string): Promise<Outcome>;
  /** Ends an attempt that has not come to its mail yet, such as one that waits for a look-up. */
  stopConnecting?(): void;
  /** Ends whatever is under way, as a temporary failure. */
  close(): void;
}

type Options = NonNullable<ConstructorParameters<typeof SMTPConnection>[0]>;
type Done<T> = (error?: Error | null, value?: T) => void;

/** nodemailer's codes for a connection that ended without a reply. */
const CLOSED = ["ECONNECTION", "ESOCKET"];

/** The transport to one relay. */
export class SmtpRelay implements Relay {
  readonly #options: Options;
  readonly #login: { readonly user: string; readonly pass: string } | undefined;
  readonly #limits: TransportLimits;
  #connection: Connection | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** `relay` is an smtp:// or smtps:// URL that may hold a user and a password. */
  constructor(
    relay: string,
    hostname: string,
    limits: TransportLimits = TRANSPORT_LIMITS,
    { required, ca }: Security = OPPORTUNISTIC,
  ) {
    const url = new URL(relay);
    const secure = url.protocol === "smtps:";
    const user = decodeURIComponent(url.username);
    this.#limits = limits;
    this.#login = user === "" ? undefined : { user, pass: decodeURIComponent(url.password) };
    this.#options = {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? (secure ? 465 : 25) : Number(url.port),
      secure,
      name: hostname,
      requireTLS: required,
      // Opportunistic TLS between mail servers verifies nothing (RFC 7435); what is asked for does.
      tls: {
        minVersion: "TLSv1.2",
        rejectUnauthorized: secure || required,
        ...(ca === undefined ? {} : { ca: [...ca] }),
      },
      connectionTimeout: limits.connectMs,
      greetingTimeout: limits.greetingMs,
      socketTimeout: limits.silenceMs,
    };
  }

  async deliver(raw: Uint8Array, sender: string, recipient: string): Promise<Outcome> {
    clearTimeout(this.#idle);
    const kept = this.#connection?.isOpen === true;
    try {
      return await this.#attempt(raw, sender, recipient);
    } catch (error) {
      if (!kept || !isClosed(error)) return outcomeOf(error);
    }
    try {
      return await this.#attempt(raw, sender, recipient);
    } catch (error) {
      return outcomeOf(error);
    }
  }

  stopConnecting(): void {
    if (this.#connection?.isOpen === false) this.close();
  }

  close(): void {
    clearTimeout(this.#idle);
    this.#connection?.close();
    this.#connection = undefined;
  }

  async #attempt(raw: Uint8Array, sender: string, recipient: string): Promise<Outcome> {
    let connection = this.#connection;
    if (connection?.isOpen !== true) {
      connection = new Connection(this.#options);
      this.#connection = connection;
    }
    const { attemptMs, idleMs } = this.#limits;
    const deadline = setTimeout(() => connection.close(), attemptMs);
    try {
      await connection.open(this.#login);
      const reply = await connection.send(raw, sender, recipient);
      this.#idle = setTimeout(() => this.close(), idleMs);
      return { kind: "delivered", how: "relayed", reply };
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(deadline);
    }
  }
}

/** One SMTP connection with promises: whatever ends it rejects what is under way. */
class Connection {
  readonly #smtp: SMTPConnection;
  #isOpen = false;
  #isEnded = false;
  #fail: ((error: Error) => void) | undefined;

  constructor(options: Options) {
    this.#smtp = new SMTPConnection(options);
    this.#smtp.on("error", (error: Error) => this.#fail?.(error));
    this.#smtp.on("end", () => {
      this.#isEnded = true;
      const closed = Object.assign(new Error("The connection was closed."), { code: CLOSED[0] });
      // Later, because the reason, where there is one, is reported after the end.
      setImmediate(() => this.#fail?.(closed));
    });
  }

  /** Whether a mail can be sent at once. */
  get isOpen(): boolean {
    return this.#isOpen && !this.#isEnded;
  }

  /** Connects, greets and logs in, unless that is done. */
  async open(login: { readonly user: string; readonly pass: string } | undefined): Promise<void> {
    if (this.#isOpen) return;
    await this.#run<void>((done) => this.#smtp.connect(done));
    if (login !== undefined && this.#smtp.allowsAuth) {
      await this.#run<unknown>((done) => this.#smtp.login({ credentials: login }, done));
    }
    this.#isOpen = true;
  }

  /** Resolves with the relay's words after the final dot. */
  async send(raw: Uint8Array, sender: string, recipient: string): Promise<string> {
    const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
    try {
      const info = await this.#run<{ readonly response: string }>((done) =>
        this.#smtp.send({ from: sender, to: recipient }, bytes, done),
      );
      return info?.response ?? "";
    } catch (error) {
      const said = String(Reflect.get(this.#smtp, "lastServerResponse"));
      throw said.startsWith("354") ? Object.assign(error as Error, { isInData: true }) : error;
    }
  }

  /** Says goodbye where nothing is under way, and breaks off what is. */
  close(): void {
    if (this.#fail !== undefined) this.#fail(new Error("The attempt was broken off."));
    else if (this.isOpen) this.#smtp.quit();
    this.#smtp.close();
  }

  #run<T>(start: (done: Done<T>) => void): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      this.#fail = reject;
      start((error, value) => (error ? reject(error) : resolve(value)));
    }).finally(() => {
      this.#fail = undefined;
    });
  }
}

/** Whether the other side had closed the connection, so that a new one may do better. */
function isClosed(error: unknown): boolean {
  const { code = "", responseCode } = error as { code?: string; responseCode?: number };
  return responseCode === undefined ? CLOSED.includes(code) : responseCode === 421;
}

/**
 * The one translation from nodemailer's errors. A reply after DATA is about the mail, as is a
 * refusal of its size in the reply to MAIL. A 5xx among these is final; 503 says that the session
 * was out of step. A connection that ends without a reply is the neighbour's failure, but not while
 * the mail is on its way: there may be mails that a filter breaks at. A 421 is the neighbour's at
 * any time (RFC 5321 section 3.8).
 */
export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof Error)) {
    return { kind: "temporary", about: "neighbour", code: undefined, words: "unknown" };
  }
  const { code, responseCode, command, isInData } = error as SmtpError;
  const words = plain(error.message);
  const isSize = command === "MAIL FROM" && isSizeRefusal(responseCode, words);
  if (responseCode === undefined && isInData === true) {
    return { kind: "temporary", about: "update", code: undefined, words };
  }
  const isOfMail = isSize || (code === "EMESSAGE" && responseCode !== undefined);
  if (responseCode === undefined || !isOfMail || [421, 503].includes(responseCode)) {
    return { kind: "temporary", about: "neighbour", code: responseCode, words };
  }
  if (responseCode >= 500) return { kind: "refused", code: responseCode, words };
  return { kind: "temporary", about: "update", code: responseCode, words };
}

interface SmtpError {
  readonly code?: string;
  readonly responseCode?: number;
  readonly command?: string;
  /** Set here: the relay had said 354 and nothing since. */
  readonly isInData?: boolean;
}

/** RFC 1870: 552, or another 5xx with the enhanced code 5.3.4. A full mailbox is 5.2.2. */
function isSizeRefusal(code: number | undefined, words: string): boolean {
  if (code === undefined || code < 500) return false;
  return /\b5\.3\.4\b/.test(words) || (code === 552 && !/\b5\.2\.\d+\b/.test(words));
}

function plain(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 300);
}
