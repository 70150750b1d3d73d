/**
 * Sockets that systemd opened and handed over, after sd_listen_fds(3): port 25 without a privilege,
 * and nobody refused while we restart, because systemd goes on listening.
 *
 * They live as long as the process: a descriptor that was closed cannot be had again, so that the
 * doors of one configuration borrow them. Who connects between two of these waits here, for a while
 * and not in any number. Knows no protocol. Known limit: Node accepts what is in the kernel's queue
 * at any time, so that there is no way to leave it there meanwhile.
 */
import { readFileSync, readlinkSync } from "node:fs";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { Endpoint } from "../config/config.js";

/** sd_listen_fds(3): the first of them. */
const FIRST_DESCRIPTOR = 3;
/** More than a service has, so that a broken LISTEN_FDS does not keep us busy. */
const MAX_DESCRIPTORS = 64;
/** A change of the configuration takes as long as the doors need to close, 10 s at most. */
const WAIT_MS = 30_000;
/** As many as the SMTP door takes at once. */
const MAX_WAITING = 200;

/** Takes the connections of a listener. */
type Taker = (socket: Socket) => void;

interface Listener {
  readonly name: string;
  readonly server: Server;
  /** Absolute path of a Unix socket. */
  readonly path: string | undefined;
  /** Who waits, each with the way to let it go on. */
  readonly waiting: Map<Socket, () => void>;
  taker: Taker | undefined;
}

/** Which of them a door wants: TCP sockets by their name, a Unix socket by its path. */
export type Wanted = { readonly name: string } | { readonly path: string };

/** Where connections come from that were borrowed, and the way to give them back. */
export interface Borrowed {
  /** Empty for a Unix socket. */
  readonly endpoints: readonly Endpoint[];
  giveBack(): void;
}

export class SystemdSockets {
  readonly #listeners: Listener[] = [];

  /**
   * Listens on what the environment says was handed over to the process `pid`; nothing when that is
   * another one. Rejects with the system's error when a descriptor is no listening socket.
   */
  static async open(env: NodeJS.ProcessEnv, pid: number): Promise<SystemdSockets> {
    const sockets = new SystemdSockets();
    try {
      for (const [descriptor, name] of handedOver(env, pid)) await sockets.#open(descriptor, name);
    } catch (error) {
      sockets.close();
      throw error;
    }
    return sockets;
  }

  /** Names of sockets that no door takes. */
  get idle(): string[] {
    return this.#listeners.filter(({ taker }) => !taker).map(({ name }) => name);
  }

  /** Whether there is such a socket. */
  has(wanted: Wanted): boolean {
    return this.#find(wanted).length > 0;
  }

  /** Hands all connections of these sockets to `taker`. Throws when there is no such socket. */
  borrow(wanted: Wanted, taker: Taker): Borrowed {
    const found = this.#find(wanted);
    if (found.length === 0) throw missing("name" in wanted ? wanted.name : wanted.path);
    for (const listener of found) {
      listener.taker = taker;
      for (const [socket, release] of listener.waiting) {
        release();
        taker(socket);
      }
    }
    return {
      endpoints: found.flatMap(({ server, path }) =>
        path === undefined ? endpointOf(server) : [],
      ),
      giveBack: () => {
        for (const listener of found) if (listener.taker === taker) listener.taker = undefined;
      },
    };
  }

  /** Listens no more; systemd does. Who still waits is hung up on. */
  close(): void {
    for (const { server, waiting } of this.#listeners.splice(0)) {
      server.close();
      for (const socket of waiting.keys()) socket.destroy();
    }
  }

  #find(wanted: Wanted): Listener[] {
    return this.#listeners.filter(({ name, path }) =>
      "name" in wanted ? name === wanted.name && path === undefined : path === wanted.path,
    );
  }

  async #open(fd: number, name: string): Promise<void> {
    const server = createServer();
    const path = pathOf(fd);
    const listener: Listener = { name, server, path, waiting: new Map(), taker: undefined };
    server.on("connection", (socket) => {
      if (listener.taker) listener.taker(socket);
      else keep(socket, listener.waiting);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd }, resolve);
    });
    server.removeAllListeners("error");
    // Out of descriptors, say: who is in the kernel's queue is taken later.
    server.on("error", () => {});
    this.#listeners.push(listener);
  }
}

/** Each descriptor with its name. */
function handedOver(env: NodeJS.ProcessEnv, pid: number): [number, string][] {
  const count = Number(env.LISTEN_FDS);
  if (env.LISTEN_PID !== String(pid) || !(count > 0)) return [];
  const names = (env.LISTEN_FDNAMES ?? "").split(":");
  return Array.from({ length: Math.min(count, MAX_DESCRIPTORS) }, (_, index) => {
    // What sd_listen_fds_with_names(3) calls a socket without a name.
    return [FIRST_DESCRIPTOR + index, names[index] || "unknown"];
  });
}

function keep(socket: Socket, waiting: Listener["waiting"]): void {
  const hangUp = () => void socket.destroy();
  if (waiting.size >= MAX_WAITING) return hangUp();
  const release = () => {
    waiting.delete(socket);
    socket.setTimeout(0, hangUp);
    socket.off("error", hangUp).off("close", release);
  };
  waiting.set(socket, release);
  socket.setTimeout(WAIT_MS, hangUp);
  socket.on("error", hangUp).on("close", release);
}

/** Where the kernel says that a Unix socket is, which Node does not ask it. */
function pathOf(descriptor: number): string | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${descriptor}`))?.[1];
  const sockets = readFileSync("/proc/self/net/unix", "utf8").split("\n");
  // Num RefCount Protocol Flags Type St Inode Path
  const line = sockets.find((one) => one.split(/\s+/)[6] === inode);
  return line?.split(/\s+/).slice(7).join(" ");
}

function endpointOf(server: Server): Endpoint {
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

/** In the form of the system's errors, since it takes the place of one. */
function missing(name: string): Error {
  const message = `systemd handed over no TCP socket by the name "${name}"`;
  return Object.assign(new Error(message), { syscall: "listen", code: "ENOSOCKET" });
}
