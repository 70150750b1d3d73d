/**
 * A KX peer that does what the test says and nothing else: no session, no cursor, no check. Only
 * LIST it answers by itself. It reads and writes the text of the protocol, and can connect from any
 * address of loopback, so that one machine plays peers that lie, stay silent or are strangers.
 */
import type { Socket } from "node:net";
import { connect } from "node:net";
import { onTestFinished } from "vitest";
import { until } from "./until.js";

/** One message as it stood on the wire. */
export interface Message {
  readonly tag: string;
  readonly command: string;
  readonly lines: readonly string[];
}

export class KxScript {
  readonly #socket: Socket;
  #lines: string[] = [];
  #rest = "";
  #tags = 0;
  #isEnded = false;
  /** Messages that came and were not taken yet. */
  readonly inbox: Message[] = [];
  bytesIn = 0;
  /** IHAVE lines that LIST is answered from, as an honest peer would. */
  listed: readonly string[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => {
      this.bytesIn += bytes.length;
      this.#read(bytes.toString("latin1"));
    });
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      this.#isEnded = true;
    });
  }

  /** Connects from `localAddress` without a word. Closed with the test. */
  static connect(port: number, localAddress: string): KxScript {
    const script = new KxScript(connect({ host: "127.0.0.1", port, localAddress }));
    onTestFinished(() => script.close());
    return script;
  }

  /** Connects, says HELO and that its log is empty, and takes the other side's greeting. */
  static async greeted(port: number, localAddress: string): Promise<KxScript> {
    const script = KxScript.connect(port, localAddress);
    script.send("HELO", "1.0");
    await script.message("HELO");
    script.send("IHAVE", "NOTIFY");
    await script.message("IHAVE");
    return script;
  }

  /** Whether the connection is over. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Announces one more update, which LIST shows from now on. */
  announce(number: number, update: { readonly fingerprint: string; readonly hash: string }): void {
    const line = `${number} ${update.fingerprint} ${update.hash}`;
    this.listed = [...this.listed, line];
    this.send("IHAVE", "NOTIFY", line);
  }

  /** Waits for a GETUPDATE of one number and answers it. */
  async give(
    number: number,
    of: {
      readonly update: { readonly fingerprint: string; readonly hash: string };
      readonly armor: string;
    },
  ): Promise<void> {
    const { tag, lines } = await this.message("GETUPDATE");
    if (lines.join() !== String(number)) throw new Error(`asked for ${lines.join()}`);
    const { fingerprint, hash } = of.update;
    this.send("UPDATE", tag, `${number} ${fingerprint} ${hash}`, ...of.armor.trim().split(/\r?\n/));
  }

  /** Sends one message and returns its tag. */
  send(command: string, ...lines: readonly string[]): string {
    this.#tags += 1;
    const tag = this.#tags.toString(36).padStart(4, "0");
    this.raw([tag, command, ...lines, ".", ""].join("\r\n"));
    return tag;
  }

  raw(text: string): void {
    this.#socket.write(Buffer.from(text, "latin1"));
  }

  /** Takes the first message of that command, waiting for it if need be. */
  async message(command: string): Promise<Message> {
    const index = () => this.inbox.findIndex((one) => one.command === command);
    const missing = () => `${command} among ${this.inbox.map((one) => one.command).join(" ")}`;
    await until(() => index() >= 0 || this.#isEnded, missing);
    const [found] = index() < 0 ? [] : this.inbox.splice(index(), 1);
    if (found === undefined) throw new Error(`the connection ended without ${missing()}`);
    return found;
  }

  /** Waits until the other side has closed. */
  async end(): Promise<void> {
    await until(() => this.#isEnded, "the end of the connection");
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split("\r\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== ".") {
        this.#lines.push(line);
        continue;
      }
      const [tag = "", command = "", ...data] = this.#lines;
      this.#lines = [];
      if (command === "LIST") this.send("IHAVE", tag, ...data.flatMap((range) => this.#in(range)));
      else this.inbox.push({ tag, command, lines: data });
    }
  }

  /** The listed lines of a range, `n-m` or `n-`. */
  #in(range: string): string[] {
    const [low = 0, high = 0] = range.split("-").map(Number);
    return this.listed.filter((line) => {
      const number = Number.parseInt(line, 10);
      return number >= low && (high === 0 || number <= high);
    });
  }
}
