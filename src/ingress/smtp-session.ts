/**
 * smtp-server with habits of our own, by overriding methods that it declares public; each method
 * says what the package does instead. Greetings come at once, enhanced codes are ours, commands
 * have a deadline, certificates are renewed, a recipient that is named twice counts twice.
 *
 * State that belongs to one mail ends with it: the envelope, and what XFORWARD said of the client.
 * A mail server keeps its session and sends the next mail without XFORWARD. State of the connection
 * is its address, TLS, and the name that the client gave itself in EHLO.
 *
 * Knows no policy: who may connect or write is the door's business.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { SMTPServerOptions } from "smtp-server";
import { SMTPServer } from "smtp-server";
import { SMTPConnection, type SMTPConnectionOptions } from "smtp-server/lib/smtp-connection";
import { addressParts } from "../mail-address.js";

/** MAIL or RCPT up to the path, the path, and the parameters. */
const PATH = /^([^:<]*:[ \t]*)<((?:"(?:[^"\\]|\\.)*"|[^"<>])*)>(.*)$/s;
/** "@relay.example:", which is to be ignored (RFC 5321 appendix C). */
const SOURCE_ROUTE = /^@[^\s,:@]+(?:,@[^\s,:@]+)*:/;
const ENHANCED_CODE = /^[245]\.\d{1,3}\.\d{1,3} /;

/** One client's connection. */
export class SmtpSession extends SMTPConnection {
  readonly #patience: NodeJS.Timeout;
  readonly #ended: () => void;
  #isGreeted = false;
  #isReceiving = false;
  /** Attributes of the connection while an XFORWARD command is carried out. */
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

  /** After the plain connection, and after the TLS connection that may have come over it. */
  override _onClose(): void {
    clearTimeout(this.#patience);
    super._onClose();
    this.#ended();
  }

  /** Whether a message is under way: from our 354 to our answer to it. */
  get isReceiving(): boolean {
    return this.#isReceiving;
  }

  /** The address that is connected, whoever it forwards a mail for; "" for a Unix socket. */
  get clientAddress(): string {
    return this._originalRemoteAddress;
  }

  /** The address that a mail comes from is told for that mail and no other one. */
  override handler_XFORWARD(command: Buffer, callback: () => void): void {
    const { clientHostname, hostNameAppearsAs, remotePort } = this;
    this.#own = { clientHostname, hostNameAppearsAs, remotePort };
    super.handler_XFORWARD(command, () => {
      this.#own = undefined;
      callback();
    });
  }

  /** Begins another mail: after a message, RSET and EHLO. An accepted XFORWARD comes here too. */
  override _resetSession(): void {
    if (this.#own === undefined) this._xForward.clear();
    else Object.assign(this, this.#own);
    const forwarded = this._xForward.get("ADDR");
    this.remoteAddress = typeof forwarded === "string" ? forwarded : this.clientAddress;
    super._resetSession();
  }

  /**
   * Reads an address as it was written. The package refuses some that are in use, as "_" in a
   * domain or a quoted "@", and shows an internationalised domain in another spelling.
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

  /** Keeps each accepted recipient, the same one twice too: LMTP has a reply for each RCPT. */
  override handler_RCPT(command: Buffer, callback: () => void): void {
    // The package looks a repeated recipient up here, to put it in place of the first one.
    this._rcptIndex.clear();
    super.handler_RCPT(command, callback);
  }

  override init(): void {
    super.init();
    this.connectionReady();
  }

  /**
   * Greets at once. The package waits for 100 ms, to catch spammers who talk early; whoever may
   * write to us is known by address, and each of its mails would wait.
   */
  override connectionReady(next?: () => void): void {
    // The package's own timer comes here too, 100 ms later.
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    super.connectionReady(next);
  }

  /**
   * Enhanced codes (RFC 2034) are ours where the text begins with one: the package has 5.1.1 for
   * any 550. A reply also begins the time for the next command; the package counts idle time only,
   * so that one byte a minute would hold a slot for ever.
   */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    this.#isReceiving = code === 354;
    this.#patience.refresh();
    const isOurs = typeof data === "string" && ENHANCED_CODE.test(data);
    super.send(code, data, isOurs ? false : context);
  }

  #overdue(): void {
    // A message has deadlines of its own.
    if (this.#isReceiving) this.#patience.refresh();
    else this.send(421, "4.4.2 No command in time.");
  }
}

/** The listener of one address. */
export class SmtpSessionServer extends SMTPServer {
  readonly #commandMs: number;
  readonly #renewed: () => SMTPServerOptions | undefined;
  #drained: (() => void) | undefined;

  /** `renewed` is asked for other TLS options; undefined when there are none. */
  constructor(
    options: SMTPServerOptions,
    commandMs: number,
    renewed: () => SMTPServerOptions | undefined = () => undefined,
  ) {
    super(options);
    this.#commandMs = commandMs;
    this.#renewed = renewed;
  }

  /** Serves a client, under the certificate that is in force now: the files may have changed. */
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

  /** Serves a client that connected to a socket of somebody else. */
  take(socket: Socket): void {
    this.server.emit("connection", socket);
  }

  /** Waits for the sessions on sockets that are not its own, too. */
  override close(callback: () => void): void {
    if (this.server.listening || this.connections.size === 0) {
      super.close(callback);
      return;
    }
    const patience = setTimeout(() => {
      for (const session of this.sessions()) {
        session.send(421, "4.3.2 Going down, try again later.");
        session.close();
      }
      callback();
    }, this.options.closeTimeout);
    this.#drained = () => {
      clearTimeout(patience);
      callback();
    };
  }

  /** The connections that are not closing. */
  sessions(): SmtpSession[] {
    return [...this.connections].filter((connection) => connection instanceof SmtpSession);
  }
}
