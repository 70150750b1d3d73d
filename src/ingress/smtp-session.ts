/**
 * Changes the behaviour of smtp-server by overriding methods that it declares public. Each method
 * says what the package does instead. The greeting is sent at once, enhanced status codes are those
 * of the gateway, commands have a deadline, certificates are renewed, and a recipient that is named
 * twice counts twice.
 *
 * The envelope and the attributes of XFORWARD belong to one mail: a mail server keeps its session
 * and sends the next mail without XFORWARD. The client address, TLS and the EHLO name belong to the
 * connection. The SMTP door decides who may connect and send.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { SMTPServerOptions } from "smtp-server";
import { SMTPServer } from "smtp-server";
import { SMTPConnection, type SMTPConnectionOptions } from "smtp-server/lib/smtp-connection";
import { addressParts } from "../mail-address.js";

/** MAIL or RCPT up to the path, the path, and the parameters. */
const PATH = /^([^:<]*:[ \t]*)<((?:"(?:[^"\\]|\\.)*"|[^"<>])*)>(.*)$/s;
/** "@relay.example:", which a server ignores (RFC 5321 appendix C). */
const SOURCE_ROUTE = /^@[^\s,:@]+(?:,@[^\s,:@]+)*:/;
const ENHANCED_CODE = /^[245]\.\d{1,3}\.\d{1,3} /;

/** The connection of one client. */
export class SmtpSession extends SMTPConnection {
  readonly #patience: NodeJS.Timeout;
  readonly #ended: () => void;
  #isGreeted = false;
  #isReceiving = false;
  /** Attributes of the connection during an XFORWARD command. */
  #own: Pick<SmtpSession, "clientHostname" | "hostNameAppearsAs" | "remotePort"> | undefined;

  constructor(
    server: SMTPServer,
    socket: Socket | TLSSocket,
    options: SMTPConnectionOptions | null | undefined,
    commandMs: number,
    ended: () => void,
  ) {
    super(server, socket, options);
    this.#ended = ended;
    this.#patience = setTimeout(() => this.#overdue(), commandMs);
  }

  /** Called for the plain connection and, after STARTTLS, for the TLS connection. */
  override _onClose(): void {
    clearTimeout(this.#patience);
    super._onClose();
    this.#ended();
  }

  /** Whether a message is being received: from the reply 354 to the reply to the message. */
  get isReceiving(): boolean {
    return this.#isReceiving;
  }

  /** The address of the connection, unchanged by XFORWARD; "" for a Unix socket. */
  get clientAddress(): string {
    return this._originalRemoteAddress;
  }

  /** Attributes of XFORWARD hold for one mail. The package keeps them for the connection. */
  override handler_XFORWARD(command: Buffer, callback: () => void): void {
    const { clientHostname, hostNameAppearsAs, remotePort } = this;
    this.#own = { clientHostname, hostNameAppearsAs, remotePort };
    super.handler_XFORWARD(command, () => {
      this.#own = undefined;
      callback();
    });
  }

  /** Called before each mail: after a message, RSET, EHLO, and after an accepted XFORWARD. */
  override _resetSession(): void {
    if (this.#own === undefined) this._xForward.clear();
    else Object.assign(this, this.#own);
    const forwarded = this._xForward.get("ADDR");
    this.remoteAddress = typeof forwarded === "string" ? forwarded : this.clientAddress;
    super._resetSession();
  }

  /**
   * Keeps an address as it was written. The package refuses some addresses that are in use ("_" in
   * a domain, a quoted "@") and converts internationalised domains.
   */
  override _parseAddressCommand(
    name: string,
    command: Buffer | string,
  ): ReturnType<SMTPConnection["_parseAddressCommand"]> {
    const match = PATH.exec(command.toString());
    if (match === null) return false;
    const [, verb, path = "", parameters] = match;
    const address = path.replace(SOURCE_ROUTE, "");
    if (!address.includes("@")) return super._parseAddressCommand(name, command);
    if (addressParts(address) === undefined) return false;
    const parsed = super._parseAddressCommand(name, `${verb}<a@b>${parameters}`);
    return parsed && { ...parsed, address };
  }

  /** Keeps each accepted recipient, also repeated ones: LMTP has a reply for each RCPT. */
  override handler_RCPT(command: Buffer, callback: () => void): void {
    // The package uses this index to replace the first of two equal recipients.
    this._rcptIndex.clear();
    super.handler_RCPT(command, callback);
  }

  override init(): void {
    super.init();
    this.connectionReady();
  }

  /**
   * Sends the greeting at once. The package waits 100 ms to detect spammers that send early. Here
   * senders are known by address, and each of their mails would wait.
   */
  override connectionReady(next?: () => void): void {
    // The timer of the package calls this again after 100 ms.
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    super.connectionReady(next);
  }

  /**
   * Sends a reply. If the text begins with an enhanced status code (RFC 2034), that one is used;
   * the package sends 5.1.1 for every 550. A reply also starts the deadline of the next command.
   * The package limits only idle time, so one byte a minute would keep a session for ever.
   */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    this.#isReceiving = code === 354;
    this.#patience.refresh();
    const isOurs = typeof data === "string" && ENHANCED_CODE.test(data);
    super.send(code, data, isOurs ? false : context);
  }

  #overdue(): void {
    // A message has other deadlines.
    if (this.#isReceiving) this.#patience.refresh();
    else this.send(421, "4.4.2 No command was received in time.");
  }
}

/** The listener of one address. */
export class SmtpSessionServer extends SMTPServer {
  readonly #commandMs: number;
  readonly #renewed: () => SMTPServerOptions | undefined;
  #drained: (() => void) | undefined;

  /** `renewed` returns new TLS options, or undefined if they have not changed. */
  constructor(
    options: SMTPServerOptions,
    commandMs: number,
    renewed: () => SMTPServerOptions | undefined = () => undefined,
  ) {
    super(options);
    this.#commandMs = commandMs;
    this.#renewed = renewed;
  }

  /** Serves a client with the current certificate, whose files may have changed. */
  override connect(socket: Socket | TLSSocket, options?: SMTPConnectionOptions | null): void {
    const other = this.#renewed();
    if (other !== undefined) this.updateSecureContext(other);
    const session = new SmtpSession(this, socket, options, this.#commandMs, () => {
      if (this.connections.size === 0) this.#drained?.();
    });
    this.connections.add(session);
    session.on("error", (error) => this.emit("error", error));
    session.init();
  }

  /** Serves a connection that another listener accepted. */
  take(socket: Socket): void {
    this.server.emit("connection", socket);
  }

  /** Waits for sessions of `take` as well. The package waits only for its own listener. */
  override close(callback: () => void): void {
    if (this.server.listening || this.connections.size === 0) {
      super.close(callback);
      return;
    }
    const patience = setTimeout(() => {
      for (const session of this.sessions()) {
        session.send(421, "4.3.2 The gateway is shutting down, try again later.");
        session.close();
      }
      callback();
    }, this.options.closeTimeout);
    this.#drained = () => {
      clearTimeout(patience);
      callback();
    };
  }

  /** Open connections, without those that are closing. */
  sessions(): SmtpSession[] {
    return [...this.connections].filter((connection) => connection instanceof SmtpSession);
  }
}
