/**
 * A legacy site that takes every mail at once and keeps its Message-ID, which the gateway makes the
 * same when it sends an update again: so a repetition can be told from a new mail. A mail counts as
 * taken when its 250 was written. Spoken by hand, because smtp-server makes each client wait 100 ms,
 * and fewer mails would be under way when the gateway is killed.
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

const FINAL_DOT = "\r\n.\r\n";

export class MailSink {
  /** How often each Message-ID came. */
  readonly received = new Map<string, number>();
  /** Mails that had come before. */
  repeats = 0;
  /** What is said to the next mails instead of 250, for as long as it is set. */
  refusal: string | undefined;
  /** How many mails heard that. */
  refused = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.#server = createServer((socket) => this.#converse(socket));
  }

  /** Listens on a free port of 127.0.0.1 and resolves with it. */
  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Hashes of the updates that came; the gateway begins a Message-ID with one. */
  hashes(): Set<string> {
    return new Set([...this.received.keys()].map((id) => id.split(".")[0] ?? ""));
  }

  #converse(socket: Socket): void {
    let text = "";
    let inData = false;
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.write("220 far.example.net\r\n");
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (;;) {
        const end = text.indexOf(inData ? FINAL_DOT : "\r\n");
        if (end < 0) return;
        const piece = text.slice(0, end);
        text = text.slice(end + (inData ? FINAL_DOT.length : 2));
        if (inData) {
          socket.write(`${this.#take(piece)}\r\n`);
          inData = false;
        } else {
          inData = /^DATA$/i.test(piece);
          socket.write(inData ? "354 Go on.\r\n" : "250 Good.\r\n");
          if (/^QUIT$/i.test(piece)) socket.end();
        }
      }
    });
  }

  #take(raw: string): string {
    if (this.refusal !== undefined) {
      this.refused += 1;
      return this.refusal;
    }
    const id = /^Message-ID: <([^>]+)>/im.exec(raw)?.[1] ?? "";
    const times = this.received.get(id) ?? 0;
    if (times > 0) this.repeats += 1;
    this.received.set(id, times + 1);
    return "250 2.0.0 Queued.";
  }
}
