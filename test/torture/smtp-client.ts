/**
 * An SMTP client that hides nothing: each reply is waited for and handed back, and the connection
 * can be broken at any moment. It neither retries nor stuffs dots; the mails of the torture run
 * have no line that begins with one.
 */
import { connect, type Socket } from "node:net";

export interface Reply {
  readonly code: number;
  readonly text: string;
}

const REPLY_MS = 30_000;
/** For a mail of 32 MiB behind several others. */
export const LONG_REPLY_MS = 180_000;

export class SmtpClient {
  readonly #socket: Socket;
  #replyMs = REPLY_MS;
  #text = "";
  #lines: string[] = [];
  #ended: Error | undefined;
  #waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.#read(bytes.toString("latin1")));
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => this.#end(new Error("the connection ended")));
  }

  /** Connects and says EHLO. Rejects when the connection fails or ends. */
  static async connect(port: number, replyMs = REPLY_MS): Promise<SmtpClient> {
    const socket = connect({ host: "127.0.0.1", port });
    const client = new SmtpClient(socket);
    client.#replyMs = replyMs;
    await client.reply();
    await client.command("EHLO old.example.net");
    return client;
  }

  async command(line: string): Promise<Reply> {
    this.write(`${line}\r\n`);
    return await this.reply();
  }

  /** Writes this and waits for nothing. */
  write(text: string): void {
    this.#socket.write(text, "latin1");
  }

  /** Sends one mail; resolves with the reply that settled it, be it the one to MAIL. */
  async deliver(mail: string, to: string): Promise<Reply> {
    for (const line of ["MAIL FROM:<pgp-public-keys@old.example.net>", `RCPT TO:<${to}>`, "DATA"]) {
      const reply = await this.command(line);
      if (reply.code >= 400) return reply;
    }
    this.content(mail);
    return await this.reply();
  }

  /** The mail and the final dot, without waiting for the reply. */
  content(mail: string): void {
    this.write(`${mail}.\r\n`);
  }

  /** Breaks the connection off with an RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The next reply. */
  reply(): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#end(new Error("no reply in time")), this.#replyMs);
      this.#waiting = {
        resolve: (reply) => {
          clearTimeout(timer);
          resolve(reply);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      if (this.#ended !== undefined) this.#end(this.#ended);
    });
  }

  #read(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf("\n"); end >= 0; end = this.#text.indexOf("\n")) {
      const line = this.#text.slice(0, end).replace(/\r$/, "");
      this.#text = this.#text.slice(end + 1);
      this.#lines.push(line);
      if (!/^\d{3}( |$)/.test(line)) continue;
      const reply = { code: Number(line.slice(0, 3)), text: this.#lines.join("\n") };
      this.#lines = [];
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(reply);
    }
  }

  #end(error: Error): void {
    this.#ended = error;
    // A server that does not answer may not be ours any more: ports are given again.
    this.#socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }
}
