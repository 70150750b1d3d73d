/**
 * Counts what goes over a TCP connection, by standing in between: payload in both directions, and
 * how many connections were made. Headers of TCP and IP, acknowledgements and handshakes are not
 * in it, so that a protocol of many short connections looks better here than it is.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Wire {
  bytes = 0;
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(to: () => number) {
    this.#server = createServer({ noDelay: true }, (near) => {
      this.connections += 1;
      const far = connect({ port: to(), host: "127.0.0.1", noDelay: true });
      this.#join(near, far);
      this.#join(far, near);
    });
  }

  /** Listens on a port of 127.0.0.1 of its own and hands on to the port that `to` says then. */
  static async start(to: () => number): Promise<Wire> {
    const wire = new Wire(to);
    await new Promise<void>((resolve) => wire.#server.listen(0, "127.0.0.1", resolve));
    return wire;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("data", (bytes) => {
      this.bytes += bytes.length;
      to.write(bytes);
    });
    from.on("end", () => to.end());
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroySoon();
    });
  }
}
