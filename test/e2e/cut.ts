/** A wire that can be cut: a TCP proxy on a port of loopback, there or not as the test says. */
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { onTestFinished } from "vitest";

export class Wire {
  readonly #sockets = new Set<Socket>();
  readonly #to: () => number;
  #server: Server | undefined;
  #port = 0;

  private constructor(to: () => number) {
    this.#to = to;
  }

  /** A wire to the port that `to` says, whole from the start. */
  static async lay(to: () => number): Promise<Wire> {
    const wire = new Wire(to);
    await wire.mend();
    onTestFinished(() => wire.cut());
    return wire;
  }

  get port(): number {
    return this.#port;
  }

  async mend(): Promise<void> {
    const server = createServer((near) => {
      const far = connect({ host: "127.0.0.1", port: this.#to() });
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.pipe(other);
        socket.on("error", () => socket.destroy());
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Ends every connection and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  }
}
