/**
 * The transport to the relay: sends one mail at a time and maps the result to an `Outcome`. It uses
 * nodemailer's SMTPConnection directly, without nodemailer's composer (which rewrites
 * X-KeyServer-Sent and encodes bodies) and its pool (which requeues on its own): message and
 * envelope are sent unchanged.
 *
 * After an accepted mail the connection stays open for a while, so that a site that catches up
 * needs one TCP connection and not one for each mail. After any other result it is closed. If a
 * kept connection turns out to be dead, the mail is tried once more on a new one. This file knows
 * no site, no schedule and no log.
 */
import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import SMTPConnection from "nodemailer/lib/smtp-connection";

export interface TransportLimits {
  readonly connectMs: number;
  readonly greetingMs: number;
  /** RFC 5321 allows 10 minutes after the final dot. An own relay replies sooner. */
  readonly silenceMs: number;
  /** Limit of a whole attempt. A relay that trickles its replies never exceeds `silenceMs`. */
  readonly attemptMs: number;
  /** How long an idle connection is kept. Relays close theirs after minutes. */
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
 * How a delivery is proven. "relayed": a mail server accepted the mail for relaying. "taken": the
 * keyserver itself confirmed it. "spooled": a file is in the keyserver's spool. "collected": the
 * keyserver has removed that file. "exited": a program exited successfully.
 */
export type Proof = "relayed" | "taken" | "spooled" | "collected" | "exited";

/**
 * The result of a delivery attempt. An unknown error is temporary, so that no update is given up
 * for it.
 */
export type Outcome =
  | { readonly kind: "delivered"; readonly how: Proof; readonly reply: string }
  /**
   * Try again later. `about` says what failed. "neighbour": the path to the neighbour or the
   * neighbour itself, so that any other update would fail as well. "update": this update.
   */
  | {
      readonly kind: "temporary";
      readonly about: "update" | "neighbour";
      readonly code: number | undefined;
      readonly words: string;
    }
  /**
   * Permanent: this update was read and refused. `isOfKey` means that the receiver named the key.
   */
  | {
      readonly kind: "refused";
      readonly code: number;
      readonly words: string;
      readonly isOfKey?: true;
    };

/** Requirements on the connection to the relay. */
export interface Security {
  /** If true, mail is sent only over TLS to the host that the URL names. */
  readonly required: boolean;
  /** Trusted CAs in PEM. Undefined for the CAs that are built into Node. */
  readonly ca: readonly string[] | undefined;
}

/** The built-in CAs and those of a PEM file. Undefined without a file. */
export function certificatesIn(file: string | undefined): string[] | undefined {
  return file === undefined ? undefined : [...rootCertificates, readFileSync(file, "utf8")];
}

const OPPORTUNISTIC: Security = { required: false, ca: undefined };

export interface Relay {
  /** Sends one mail to one recipient. Never rejects. Only one call at a time is allowed. */
  deliver(raw: Uint8Array, sender: string, recipient: string): Promise<Outcome>;
  /** Aborts an attempt that has not started its mail yet, for example one that waits for DNS. */
  stopConnecting?(): void;
  /** Aborts the delivery in progress, as a temporary failure. */
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

  /** `relay` is an smtp:// or smtps:// URL that may contain a user and a password. */
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
      // Opportunistic TLS between mail servers verifies nothing (RFC 7435). Required TLS does.
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

/** One SMTP connection with promises. Any end of the connection rejects the pending operation. */
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
      // Deferred, because the reason, if there is one, is reported after the end.
      setImmediate(() => this.#fail?.(closed));
    });
  }

  /** Whether a mail can be sent at once. */
  get isOpen(): boolean {
    return this.#isOpen && !this.#isEnded;
  }

  /** Connects, sends EHLO and logs in, unless already done. */
  async open(login: { readonly user: string; readonly pass: string } | undefined): Promise<void> {
    if (this.#isOpen) return;
    await this.#run<void>((done) => this.#smtp.connect(done));
    if (login !== undefined && this.#smtp.allowsAuth) {
      await this.#run<unknown>((done) => this.#smtp.login({ credentials: login }, done));
    }
    this.#isOpen = true;
  }

  /** Resolves with the relay's reply to the final dot. */
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

  /** Sends QUIT if the connection is idle. Otherwise aborts the pending operation. */
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

/** Whether the peer had closed the connection, so that a new connection may succeed. */
function isClosed(error: unknown): boolean {
  const { code = "", responseCode } = error as { code?: string; responseCode?: number };
  return responseCode === undefined ? CLOSED.includes(code) : responseCode === 421;
}

/**
 * The only mapping from nodemailer's errors. A reply after DATA is about the mail, as is a refusal
 * of its size in the reply to MAIL. A 5xx among these is permanent; 503 means that the session was
 * out of sequence. A connection that ends without a reply is a failure of the neighbour, except
 * during the transfer of the mail: a filter may break the connection because of the content. A 421
 * is always a failure of the neighbour (RFC 5321 section 3.8).
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
  /** Set by this file: the relay has replied 354 and nothing since. */
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
