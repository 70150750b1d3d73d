/**
 * A gateway with one fault: a proxy before a real one that changes what it says, or what it gets to
 * hear, by one rule. The rest of the conversation is that of the gateway. Messages of the gateway
 * are changed one by one; what the tester sends is changed as it comes, since it need not be
 * messages.
 */
import { connect, type Socket } from "node:net";
import { Listener } from "../support/listener.js";

/** One connection through the proxy. */
export interface Talk {
  /** What a fault wants to remember. */
  readonly seen: string[];
  readonly tester: Socket;
  readonly gateway: Socket;
}

export interface Fault {
  /** What is wrong. */
  readonly bug: string;
  /** The rules that find it, of those that are played. */
  readonly rules: readonly string[];
  /** The groups or rules to play; those of `rules` if undefined. */
  readonly only?: readonly string[];
  /** A message of the gateway, with its closing dot; what is sent instead. */
  says?(text: string, talk: Talk): string;
  /** What the tester sent; what the gateway gets instead. */
  hears?(text: string, talk: Talk): string;
  /** When the tester connects. */
  begins?(talk: Talk): void;
  /** The connection stays open when the gateway ends it, or when the tester does. */
  readonly staysOpen?: boolean;
  /** Connections at once; more are closed. */
  readonly most?: number;
}

/** How long a connection that was closed may be known. */
const CLOSING_MS = 50;
/** How long a connection is kept open: longer than it is waited for its end. */
const KEPT_MS = 700;
const END = "\r\n.\r\n";
const DOT = ".\r\n";

export class FaultyProxy {
  readonly #listener: Listener;
  readonly #port: number;
  readonly #fault: Fault | undefined;

  /** `port` is that of the gateway, on 127.0.0.1. */
  constructor(port: number, fault: Fault | undefined) {
    this.#port = port;
    this.#fault = fault;
    this.#listener = new Listener((socket) => this.#converse(socket), true);
  }

  async start(): Promise<number> {
    return await this.#listener.start();
  }

  async stop(): Promise<void> {
    await this.#listener.stop();
  }

  #converse(tester: Socket): void {
    const fault = this.#fault;
    if (fault?.most === undefined) return this.#join(tester, fault);
    // The connection of the rule before may be on its way out.
    setTimeout(() => {
      if (this.#listener.sockets.size > (fault.most ?? 0)) tester.destroy();
      else this.#join(tester, fault);
    }, CLOSING_MS);
  }

  #join(tester: Socket, fault: Fault | undefined): void {
    const gateway = connect({ host: "127.0.0.1", port: this.#port, allowHalfOpen: true });
    const talk: Talk = { seen: [], tester, gateway };
    fault?.begins?.(talk);
    tester.setNoDelay(true);
    gateway.setNoDelay(true);
    let rest = "";
    gateway.on("data", (bytes) => {
      rest += bytes.toString("latin1");
      for (let end = endOf(rest); end > 0 && end <= rest.length; end = endOf(rest)) {
        const text = rest.slice(0, end);
        rest = rest.slice(end);
        write(tester, fault?.says?.(text, talk) ?? text);
      }
    });
    tester.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      write(gateway, fault?.hears?.(text, talk) ?? text);
    });
    gateway.on("error", () => gateway.destroy());
    gateway.on("end", () => {
      if (fault?.staysOpen !== true) tester.end();
    });
    gateway.on("close", () => {
      if (fault?.staysOpen !== true) tester.end();
    });
    tester.on("close", () => gateway.destroy());
    tester.on("end", () => {
      if (fault?.staysOpen !== true) gateway.end();
      else {
        setTimeout(() => {
          tester.destroy();
          gateway.destroy();
        }, KEPT_MS);
      }
    });
  }
}

/** Where the first message ends, with its closing dot; 0 if that is not known yet. */
function endOf(text: string): number {
  const counted = /^.{4}\r\n(?:IHAVE|UPDATE) (\d+)(?: \d+)?\r\n.*\r\n/.exec(text);
  if (counted !== null) return counted[0].length + Number(counted[1]) + DOT.length;
  const end = text.indexOf(END);
  return end < 0 ? 0 : end + END.length;
}

function write(socket: Socket, text: string): void {
  if (text !== "" && socket.writable) socket.write(Buffer.from(text, "latin1"));
}
