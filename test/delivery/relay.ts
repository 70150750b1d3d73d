/**
 * A relay for the tests: a small SMTP server over real sockets that answers each phase of a
 * transaction as it is told: as a server should, with any reply, not at all, or by hanging up.
 * It announces PIPELINING like Postfix and undoes dots. One test, one relay.
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import { onTestFinished } from "vitest";

export type Phase = "greeting" | "ehlo" | "mail" | "rcpt" | "data" | "dot";
/** A reply line, or what happens instead of one; undefined is the good reply. */
export type Answer = string | "silence" | "hang up" | "reset" | undefined;

export interface Taken {
  readonly from: string;
  readonly to: readonly string[];
  readonly raw: string;
  /** Monotonic milliseconds. */
  readonly at: number;
  /** Which connection it came over, from 1. */
  readonly connection: number;
}

const GOOD: Readonly<Record<Phase, string>> = {
  greeting: "220 relay.example ESMTP",
  ehlo: "250-relay.example\r\n250-PIPELINING\r\n250 SIZE 10240000",
  mail: "250 2.1.0 Ok",
  rcpt: "250 2.1.5 Ok",
  data: "354 Go on",
  dot: "250 2.0.0 Queued",
};

export class Relay {
  /** What was answered with 250 after the dot, in order. */
  readonly taken: Taken[] = [];
  /** Everything whose final dot came in, whatever was answered. */
  readonly seen: Taken[] = [];
  connections = 0;
  commands: string[] = [];
  /** Decides the answer to a phase for a recipient, which is not known before RCPT. */
  answer: (phase: Phase, recipient: string) => Answer = () => undefined;
  /** How long the good reply to a phase takes. */
  delayMs: (phase: Phase) => number = () => 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #watchers: (() => void)[] = [];

  private constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  }

  /** A relay on a free port of 127.0.0.1 that is gone when the running test is finished. */
  static async start(): Promise<Relay> {
    const relay = new Relay();
    await new Promise<void>((resolve) => relay.#server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => relay.stop());
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `smtp://127.0.0.1:${this.port}`;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size;
  }

  /** Ends every connection without a word, as a relay does that restarts. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Resolves when `isTrue` after some mail or connection, or at once. */
  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the relay waited in vain")), 15_000);
      const look = () => {
        if (!isTrue()) return;
        clearTimeout(timer);
        resolve();
      };
      this.#watchers.push(look);
      look();
    });
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #changed(): void {
    for (const look of this.#watchers) look();
  }

  #serve(socket: Socket): void {
    this.connections += 1;
    const connection = this.connections;
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    let from = "";
    let to: string[] = [];
    let input = "";
    let isData = false;
    const say = (phase: Phase): boolean => {
      const answer = this.answer(phase, to.at(-1) ?? "");
      if (answer === "hang up") socket.end();
      else if (answer === "reset") socket.resetAndDestroy();
      else if (answer !== "silence") {
        const reply = `${answer ?? GOOD[phase]}\r\n`;
        const delayMs = this.delayMs(phase);
        if (delayMs === 0) socket.write(reply);
        else setTimeout(() => socket.destroyed || socket.write(reply), delayMs);
      }
      if (answer?.startsWith("421")) socket.end();
      return answer === undefined || /^[23]/.test(answer);
    };
    const command = (line: string) => {
      this.commands.push(line);
      const verb = line.slice(0, 4).toUpperCase();
      if (verb === "EHLO" || verb === "HELO") say("ehlo");
      else if (verb === "MAIL") {
        from = "";
        to = [];
        if (say("mail")) from = /<(.*)>/.exec(line)?.[1] ?? "";
      } else if (verb === "RCPT") {
        to.push(/<(.*)>/.exec(line)?.[1] ?? "");
        if (!say("rcpt")) to.pop();
      } else if (verb === "DATA") {
        if (from === "" || to.length === 0) socket.write("503 5.5.1 No recipients\r\n");
        else isData = say("data");
      } else if (verb === "STAR") socket.write("502 5.5.1 Not here\r\n");
      else if (verb === "QUIT") socket.end("221 Bye\r\n");
      else socket.write("250 Ok\r\n");
    };
    const message = (wire: string) => {
      const raw = wire.replaceAll(/^\.\./gm, ".");
      const mail = { from, to, raw, at: performance.now(), connection };
      this.seen.push(mail);
      if (say("dot")) this.taken.push(mail);
      this.#changed();
    };
    socket.on("data", (chunk) => {
      input += chunk.toString("latin1");
      for (;;) {
        if (socket.destroyed) return;
        const mark = isData ? "\r\n.\r\n" : "\r\n";
        const end = input.indexOf(mark);
        if (end === -1) return;
        const piece = input.slice(0, end);
        input = input.slice(end + mark.length);
        if (isData) {
          isData = false;
          message(`${piece}\r\n`);
        } else command(piece);
      }
    });
    say("greeting");
    this.#changed();
  }
}
