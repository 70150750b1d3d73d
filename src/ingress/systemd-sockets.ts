/**
 * Sockets that systemd opens and passes to the process (sd_listen_fds(3)). The gateway needs no
 * privilege for port 25, and no connection is refused during a restart, because systemd keeps the
 * sockets open.
 *
 * A descriptor that was closed cannot be opened again, so the sockets stay open for the life of the
 * process, and the SMTP door of each configuration borrows them. A connection that arrives between
 * two configurations waits here; time and number are limited. Limit: Node accepts connections from
 * the kernel's queue at once, so they cannot wait there.
 */
import { readFileSync, readlinkSync } from "node:fs";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { Endpoint } from "../config/config.js";

/** SD_LISTEN_FDS_START of sd_listen_fds(3). */
const FIRST_DESCRIPTOR = 3;
/** More than a service has. Bounds the work for a broken LISTEN_FDS. */
const MAX_DESCRIPTORS = 64;
/** A reload takes as long as the doors need to close, 10 s at most. */
const WAIT_MS = 30_000;
/** As many connections as the SMTP door takes at the same time. */
const MAX_WAITING = 200;

/** Takes the connections of a listener. */
type Taker = (socket: Socket) => void;

interface Listener {
  readonly name: string;
  readonly server: Server;
  /** Absolute path of a Unix socket. */
  readonly path: string | undefined;
  /** Connections that wait, each with a function that ends its waiting. */
  readonly waiting: Map<Socket, () => void>;
  taker: Taker | undefined;
}

/** Selects sockets: TCP sockets by name, a Unix socket by path. */
export type Wanted = { readonly name: string } | { readonly path: string };

/** Borrowed sockets. */
export interface Borrowed {
  /** Empty for a Unix socket. */
  readonly endpoints: readonly Endpoint[];
  giveBack(): void;
}

export class SystemdSockets {
  readonly #listeners: Listener[] = [];

  /**
   * Listens on the sockets that the environment passes to the process `pid`, on none if it names
   * another process. Rejects with the error of the system if a descriptor is no listening socket.
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

  /** Names of sockets that no door has borrowed. */
  get idle(): string[] {
    return this.#listeners.filter(({ taker }) => !taker).map(({ name }) => name);
  }

  /** Whether systemd passed such a socket. */
  has(wanted: Wanted): boolean {
    return this.#find(wanted).length > 0;
  }

  /** Passes all connections of these sockets to `taker`. Throws if there is no such socket. */
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

  /** Stops listening; systemd continues. Closes connections that wait. */
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
    // For example EMFILE. Connections in the kernel's queue are accepted later.
    server.on("error", () => {});
    this.#listeners.push(listener);
  }
}

/** The descriptors with their names. */
function handedOver(env: NodeJS.ProcessEnv, pid: number): [number, string][] {
  const count = Number(env.LISTEN_FDS);
  if (env.LISTEN_PID !== String(pid) || !(count > 0)) return [];
  const names = (env.LISTEN_FDNAMES ?? "").split(":");
  return Array.from({ length: Math.min(count, MAX_DESCRIPTORS) }, (_, index) => {
    // The name that sd_listen_fds_with_names(3) gives to a socket without a name.
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

/** Path of a Unix socket, read from /proc because Node does not report it. */
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

/** An error in the form of a system error, so that it is reported like one. */
function missing(name: string): Error {
  const message = `systemd passed no socket named "${name}"`;
  return Object.assign(new Error(message), { syscall: "listen", code: "ENOSOCKET" });
}
