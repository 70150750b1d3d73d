/**
 * The SMTP and LMTP client of all tests and runs. It says exactly what it is told, byte by byte
 * where it matters, hands every reply back as it was, and can break off at any moment. It connects
 * from any address of loopback, so that one machine plays many neighbours. It knows no rule of the
 * protocol beyond the form of a reply, and never retries.
 */
import { connect, type Socket } from "node:net";

export interface Reply {
  /** Of the last line; 0 when the connection ended before a reply. */
  readonly code: number;
  /** All lines as they came, joined by LF. */
  readonly text: string;
}

export interface Envelope {
  readonly from: string;
  readonly to: string;
  /** Parameters of MAIL, as `SIZE=1000`. */
  readonly parameters?: string;
}

const OLD = "pgp-public-keys@old.example.net";
const REPLY_MS = 30_000;
/** For a mail of 32 MiB behind several others. */
export const LONG_REPLY_MS = 180_000;
/** How much of what the server said is kept. */
const HEARD_CHARS = 65_536;

export class SmtpClient {
  readonly socket: Socket;
  /** What the server has said, or the end of it. */
  heard = "";
  /** Resolves when the connection is gone, whichever way. */
  readonly closed: Promise<void>;
  replyMs = REPLY_MS;
  readonly #replies: Reply[] = [];
  #lines: string[] = [];
  #rest = "";
  #isClosed = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => this.#read(bytes.toString("latin1")));
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#isClosed = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** Connects to 127.0.0.1, from there or from another loopback address; nothing is read yet. */
  static async open(port: number, from = "127.0.0.1"): Promise<SmtpClient> {
    const socket = connect({ port, host: "127.0.0.1", localAddress: from, noDelay: true });
    return await SmtpClient.#opened(socket);
  }

  /** Connects to a Unix socket; nothing is read yet. */
  static async openSocket(path: string): Promise<SmtpClient> {
    return await SmtpClient.#opened(connect(path));
  }

  /** Goes on over a connection that is there, such as one that was made secure. */
  static over(socket: Socket): SmtpClient {
    return new SmtpClient(socket);
  }

  /** Connects, reads the greeting and says EHLO. Rejects when the server does not greet. */
  static async connect(port: number, from?: string, replyMs = REPLY_MS): Promise<SmtpClient> {
    const client = await SmtpClient.open(port, from);
    client.replyMs = replyMs;
    const greeting = await client.reply();
    if (greeting.code !== 220) {
      client.close();
      throw new Error(`greeted with ${greeting.text}`);
    }
    await client.command("EHLO old.example.net");
    return client;
  }

  /** The same; a server that turns the client away is no error, and `heard` says so. */
  static async greeted(port: number, from?: string): Promise<SmtpClient> {
    const client = await SmtpClient.open(port, from);
    await client.answer();
    await client.say("EHLO site.example");
    return client;
  }

  static async #opened(socket: Socket): Promise<SmtpClient> {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new SmtpClient(socket);
  }

  /** The next reply. Rejects when the connection ends before it. */
  async reply(): Promise<Reply> {
    const reply = await this.#next();
    if (reply.code === 0) throw new Error("the connection ended without a reply");
    return reply;
  }

  /** The text of the next reply; "" when the connection ended before one. */
  async answer(): Promise<string> {
    return (await this.#next()).text;
  }

  /** Writes this and waits for nothing. */
  write(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** A command line and its reply. */
  async command(line: string): Promise<Reply> {
    this.write(`${line}\r\n`);
    return await this.reply();
  }

  /** A command line and the text of its reply; "" when the connection ended before one. */
  async say(line: string): Promise<string> {
    this.write(`${line}\r\n`);
    return await this.answer();
  }

  /** Sends one mail; resolves with the reply that settled it, be it the one to MAIL. */
  async deliver(mail: string, envelope: Envelope | string): Promise<Reply> {
    const { from, to, parameters } =
      typeof envelope === "string" ? { from: OLD, to: envelope, parameters: undefined } : envelope;
    const extra = parameters === undefined ? "" : ` ${parameters}`;
    for (const line of [`MAIL FROM:<${from}>${extra}`, `RCPT TO:<${to}>`, "DATA"]) {
      const reply = await this.command(line);
      if (reply.code < 400) continue;
      await this.say("RSET");
      return reply;
    }
    this.write(onTheWire(mail));
    return await this.reply();
  }

  /** One transaction; the replies to MAIL, each RCPT, and the message or DATA's refusal. */
  async transact(sender: string, recipients: readonly string[], raw: Uint8Array | string) {
    const replies = [await this.say(`MAIL FROM:<${sender}>`)];
    for (const recipient of recipients) replies.push(await this.say(`RCPT TO:<${recipient}>`));
    const go = await this.say("DATA");
    replies.push(go.startsWith("354") ? await this.message(raw) : go);
    return replies;
  }

  /** The message after 354, made ready for the wire, and its reply. */
  async message(raw: Uint8Array | string): Promise<string> {
    this.write(onTheWire(raw));
    return await this.answer();
  }

  async quit(): Promise<void> {
    if (!this.#isClosed) await this.say("QUIT");
    this.socket.destroy();
    await this.closed;
  }

  /** Breaks the connection off with an RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  async #next(): Promise<Reply> {
    const deadline = performance.now() + this.replyMs;
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      if (this.#isClosed) return { code: 0, text: "" };
      const left = deadline - performance.now();
      if (left <= 0) {
        this.close();
        throw new Error(`no reply within ${this.replyMs / 1000} s; heard ${this.heard}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #read(text: string): void {
    this.heard = (this.heard + text).slice(-HEARD_CHARS);
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines.map((one) => one.replace(/\r$/, ""))) {
      this.#lines.push(line);
      if (!/^\d{3}( |$)/.test(line)) continue;
      this.#replies.push({ code: Number(line.slice(0, 3)), text: this.#lines.join("\n") });
      this.#lines = [];
    }
    this.#wake();
  }
}

/** CRLF line ends, dots stuffed, the final dot. */
export function onTheWire(raw: Uint8Array | string): Buffer {
  const text = typeof raw === "string" ? raw : Buffer.from(raw).toString("latin1");
  const lines = text.replaceAll(/\r?\n/g, "\r\n").replaceAll(/^\./gm, "..");
  return Buffer.from(`${lines}${lines.endsWith("\r\n") ? "" : "\r\n"}.\r\n`, "latin1");
}
