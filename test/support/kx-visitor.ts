/**
 * A KX connection that says what it is told, from any address of loopback: for floods, stalls and
 * nonsense. It counts what it hears and keeps only the end of it; it can stop reading.
 */
import { connect, type Socket } from "node:net";

const KEPT = 65_536;

export class KxVisitor {
  readonly socket: Socket;
  /** Bytes that were heard, and how many lines begin like this, by what was looked for. */
  heardBytes = 0;
  /** The end of what was heard. */
  text = "";
  isClosed = false;
  readonly closed: Promise<void>;
  readonly #counted = new Map<string, number>();

  private constructor(socket: Socket, count: readonly string[]) {
    this.socket = socket;
    for (const what of count) this.#counted.set(what, 0);
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => this.#hear(bytes));
    this.closed = new Promise((resolve) =>
      socket.on("close", () => {
        this.isClosed = true;
        resolve();
      }),
    );
  }

  /** Connects; `count` are texts without overlap whose number is wanted. */
  static async open(port: number, from: string, count: readonly string[] = []): Promise<KxVisitor> {
    const socket = connect({ host: "127.0.0.1", port, localAddress: from, noDelay: true });
    const visitor = new KxVisitor(socket, count);
    await new Promise<void>((resolve) => {
      socket.once("connect", resolve);
      socket.once("close", resolve);
    });
    return visitor;
  }

  /** Connects and says the greeting of a peer with an empty log. */
  static async greeted(port: number, from: string, count?: readonly string[]): Promise<KxVisitor> {
    const visitor = await KxVisitor.open(port, from, count);
    await visitor.say("a000|HELO|1.0|.|a001|IHAVE|NOTIFY|.|");
    return visitor;
  }

  /** How often this was heard. */
  count(what: string): number {
    return this.#counted.get(what) ?? 0;
  }

  /** Writes a text in which `|` ends a line; resolves when the socket takes more. */
  async say(text: string): Promise<void> {
    await this.write(Buffer.from(text.replaceAll("|", "\r\n"), "latin1"));
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.isClosed || this.socket.write(bytes)) return;
    await Promise.race([
      new Promise<void>((resolve) => this.socket.once("drain", resolve)),
      this.closed,
    ]);
  }

  #hear(bytes: Buffer): void {
    this.heardBytes += bytes.length;
    const text = bytes.toString("latin1");
    for (const [what, count] of this.#counted) {
      // What was cut in two by the network counts when its second half comes.
      const seam = this.text.slice(Math.max(0, this.text.length - what.length + 1));
      this.#counted.set(what, count + (seam + text).split(what).length - 1);
    }
    this.text = (this.text + text).slice(-KEPT);
  }
}
