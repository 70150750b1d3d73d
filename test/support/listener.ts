/** A server on a free port of 127.0.0.1 that knows its connections and can end them all. */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

export class Listener {
  readonly sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(converse: (socket: Socket) => void, allowHalfOpen = false) {
    this.#server = createServer({ allowHalfOpen }, (socket) => {
      this.sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.sockets.delete(socket));
      converse(socket);
    });
  }

  /** Listens on a free port of 127.0.0.1 and resolves with it. */
  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
