/**
 * An SMTP client for the tests that says exactly what it is told, byte by byte where it matters,
 * and hears every reply. It knows no rule of the protocol beyond "a reply ends at NNN-blank".
 */
import { connect, type Socket } from "node:net";

const REPLY_MS = 15_000;

export class Client {
  readonly socket: Socket;
  /** Everything that the server has said. */
  heard = "";
  /** Resolves when the connection is gone, whichever way. */
  readonly closed: Promise<void>;
  #read = 0;
  #isClosed = false;
  #look: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      this.heard += bytes.toString("latin1");
      this.#look?.();
    });
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#isClosed = true;
        this.#look?.();
        resolve();
      });
    });
  }

  /** Connects to 127.0.0.1, from there or from another loopback address; nothing is read yet. */
  static async open(port: number, from = "127.0.0.1"): Promise<Client> {
    const socket = connect({ port, host: "127.0.0.1", localAddress: from, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Client(socket);
  }

  /** Connects to a Unix socket; nothing is read yet. */
  static async openSocket(path: string): Promise<Client> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Client(socket);
  }

  /** Goes on over a connection that is there, such as one that was made secure. */
  static over(socket: Socket): Client {
    return new Client(socket);
  }

  /** Connects, reads the greeting and says EHLO. */
  static async greeted(port: number, from?: string): Promise<Client> {
    const client = await Client.open(port, from);
    await client.reply();
    await client.say("EHLO site.example");
    return client;
  }

  /** The next reply, its lines joined by LF; "" when the connection ended before one. */
  reply(): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(new Error(`no reply; heard ${this.heard}`)), REPLY_MS);
      const done = (outcome: string | Error) => {
        clearTimeout(timer);
        this.#look = undefined;
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
      };
      this.#look = () => {
        const end = /^\d{3}(?: [^\r\n]*)?\r\n/m.exec(this.heard.slice(this.#read));
        if (end !== null) {
          const text = this.heard.slice(this.#read, this.#read + end.index + end[0].length);
          this.#read += end.index + end[0].length;
          done(text.trimEnd().replaceAll("\r\n", "\n"));
        } else if (this.#isClosed) done("");
      };
      this.#look();
    });
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** A command line and its reply. */
  say(line: string): Promise<string> {
    this.write(`${line}\r\n`);
    return this.reply();
  }

  /** One whole transaction; the replies to MAIL, each RCPT, and the message or DATA's refusal. */
  async transact(sender: string, recipients: readonly string[], raw: Uint8Array | string) {
    const replies = [await this.say(`MAIL FROM:<${sender}>`)];
    for (const recipient of recipients) replies.push(await this.say(`RCPT TO:<${recipient}>`));
    const go = await this.say("DATA");
    replies.push(go.startsWith("354") ? await this.message(raw) : go);
    return replies;
  }

  /** The message after 354, made ready for the wire, and its reply. */
  message(raw: Uint8Array | string): Promise<string> {
    this.write(onTheWire(raw));
    return this.reply();
  }

  async quit(): Promise<void> {
    if (!this.#isClosed) await this.say("QUIT");
    this.socket.destroy();
    await this.closed;
  }
}

/** CRLF line ends, dots stuffed, the final dot. */
export function onTheWire(raw: Uint8Array | string): Buffer {
  const text = typeof raw === "string" ? raw : Buffer.from(raw).toString("latin1");
  const lines = text.replaceAll(/\r?\n/g, "\r\n").replaceAll(/^\./gm, "..");
  return Buffer.from(`${lines}${lines.endsWith("\r\n") ? "" : "\r\n"}.\r\n`, "latin1");
}
