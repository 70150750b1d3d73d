/**
 * smtp-server with six habits of our own, by overriding methods that it declares public.
 *
 *  1. The greeting comes at once. smtp-server holds it back for 100 ms to catch spammers who talk
 *     early; whoever may write to us is known by address, and each of its mails would wait.
 *  2. Enhanced codes (RFC 2034) are ours where the text begins with one, not its 5.1.1 for any 550.
 *  3. A command must be complete within `commandMs` of the last reply. The package counts idle time
 *     only, so that one byte a minute would hold a slot for ever.
 *  4. It knows whether a message is under way, so that going down need not wait for idle sessions.
 *  5. It asks for another certificate at each connection, for the files may have changed.
 *  6. Sessions on a socket that is not its own are waited for as well when it closes.
 *
 * Knows no policy: who may connect or write is the door's business.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { SMTPServerOptions } from "smtp-server";
import { SMTPServer } from "smtp-server";
import { SMTPConnection, type SMTPConnectionOptions } from "smtp-server/lib/smtp-connection";

const ENHANCED_CODE = /^[245]\.\d{1,3}\.\d{1,3} /;

/** One client's connection. */
export class Session extends SMTPConnection {
  readonly #patience: NodeJS.Timeout;
  readonly #ended: () => void;
  #isGreeted = false;
  #isReceiving = false;

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

  override init(): void {
    super.init();
    this.connectionReady();
  }

  override connectionReady(next?: () => void): void {
    // The package's own timer comes here too, 100 ms later.
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    super.connectionReady(next);
  }

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
export class SessionServer extends SMTPServer {
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

  override connect(socket: Socket | TLSSocket, options?: SMTPConnectionOptions | null): void {
    const other = this.#renewed();
    if (other !== undefined) this.updateSecureContext(other);
    const session = new Session(this, socket, options, this.#commandMs, () => {
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

  override close(callback: () => void): void {
    if (this.server.listening || this.connections.size === 0) {
      super.close(callback);
      return;
    }
    // The package waits for clients of its own socket only.
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
  sessions(): Session[] {
    return [...this.connections].filter((connection) => connection instanceof Session);
  }
}
