/**
 * An SMTP client that shows everything: each reply comes back as it was, the envelope is what the
 * test says, and it can connect from any address of loopback, which is how one machine plays many
 * neighbours. It waits for each reply and does not pipeline.
 */
import type { Socket } from "node:net";
import { connect } from "node:net";
import { onTestFinished } from "vitest";

export interface Reply {
  readonly code: number;
  /** All lines, without the code of the last one. */
  readonly text: string;
}

export interface Envelope {
  readonly from: string;
  readonly to: string;
  /** Parameters of MAIL, as `SIZE=1000`. */
  readonly parameters?: string;
}

const REPLY_MS = 15_000;

export class SmtpClient {
  readonly #socket: Socket;
  readonly #replies: Reply[] = [];
  #lines: string[] = [];
  #rest = "";
  #wake: () => void = () => {};
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.#read(bytes.toString("latin1")));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Connects from `localAddress`, reads the greeting and says EHLO. Closed with the test. */
  static async connect(port: number, localAddress = "127.0.0.1"): Promise<SmtpClient> {
    const socket = connect({ host: "127.0.0.1", port, localAddress });
    const client = new SmtpClient(socket);
    onTestFinished(() => client.close());
    const greeting = await client.reply();
    if (greeting.code !== 220) throw new Error(`greeted with ${greeting.code} ${greeting.text}`);
    await client.command("EHLO old.example.net");
    return client;
  }

  async command(line: string): Promise<Reply> {
    this.#socket.write(`${line}\r\n`);
    return await this.reply();
  }

  /** Sends a message with LF or CRLF ends; resolves with the reply that decided about it. */
  async deliver(message: string, envelope: Envelope): Promise<Reply> {
    const { from, to, parameters } = envelope;
    const mail = ["MAIL FROM:", `<${from}>`, parameters === undefined ? "" : ` ${parameters}`];
    for (const line of [mail.join(""), `RCPT TO:<${to}>`, "DATA"]) {
      const reply = await this.command(line);
      if (reply.code < 400) continue;
      await this.command("RSET");
      return reply;
    }
    const lines = message.replace(/\r?\n$/, "").split(/\r?\n/);
    const stuffed = lines.map((line) => (line.startsWith(".") ? `.${line}` : line));
    this.#socket.write(Buffer.from(`${stuffed.join("\r\n")}\r\n.\r\n`, "latin1"));
    return await this.reply();
  }

  /** The next reply. Rejects when the connection ends before it. */
  async reply(): Promise<Reply> {
    const deadline = performance.now() + REPLY_MS;
    for (;;) {
      const [next] = this.#replies.splice(0, 1);
      if (next !== undefined) return next;
      if (this.#ended) throw new Error("the connection ended without a reply");
      const left = deadline - performance.now();
      if (left <= 0) throw new Error("no reply in time");
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split("\r\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      this.#lines.push(line.slice(4));
      if (line.charAt(3) === "-") continue;
      this.#replies.push({ code: Number(line.slice(0, 3)), text: this.#lines.join("\n") });
      this.#lines = [];
    }
    this.#wake();
  }
}
