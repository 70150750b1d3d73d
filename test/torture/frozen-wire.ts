/**
 * A wire between a gateway and a database: a TCP proxy on a port of loopback. Frozen, it takes
 * bytes and connections and forwards nothing, as a network does that is cut without a word.
 */
import { connect, type Socket } from "node:net";
import { Listener } from "../support/listener.js";

export class FrozenWire {
  #isFrozen = false;
  readonly #far = new Set<Socket>();
  readonly #listener: Listener;

  constructor(port: () => number) {
    this.#listener = new Listener((near) => {
      // What came while it was frozen is lost with its connection.
      if (this.#isFrozen) return;
      const far = connect({ host: "127.0.0.1", port: port() });
      this.#far.add(far);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        one.setNoDelay(true);
        one.on("data", (bytes) => {
          if (!this.#isFrozen) other.write(bytes);
        });
        one.on("error", () => one.destroy());
        one.on("close", () => {
          this.#far.delete(far);
          if (!this.#isFrozen) other.destroy();
        });
      }
    });
  }

  async start(): Promise<number> {
    return await this.#listener.start();
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  freeze(): void {
    this.#isFrozen = true;
  }

  /** Forwards again; the connections that were frozen have lost bytes and end. */
  thaw(): void {
    this.#isFrozen = false;
    for (const socket of [...this.#listener.sockets, ...this.#far]) socket.destroy();
  }

  async stop(): Promise<void> {
    for (const socket of this.#far) socket.destroy();
    await this.#listener.stop();
  }
}
