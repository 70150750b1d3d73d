/**
 * The connections of an HTTP server and which one is closed when there are too many: a limit per
 * address, a total, and a lower limit for live streams, so that open pages
 * and idle connections never block a probe or a scrape. The
 * connection that is idle for the longest time is closed first, then the oldest stream.
 */
import type { Socket } from "node:net";

export interface GuestLimits {
  readonly connections: number;
  readonly perAddress: number;
  readonly streams: number;
  readonly streamsPerAddress: number;
}

interface Guest {
  readonly address: string;
  state: "waiting" | "asking" | "stream";
}

export class Guests {
  readonly #limits: GuestLimits;
  /** In the order in which they entered their state. */
  readonly #guests = new Map<Socket, Guest>();

  constructor(limits: GuestLimits) {
    this.#limits = limits;
  }

  /** Adds a connection; this may close another one, or this one. */
  enter(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    this.#guests.set(socket, { address, state: "waiting" });
    socket.once("close", () => this.#guests.delete(socket));
    const fromHere = [...this.#guests].filter(([, guest]) => guest.address === address);
    if (fromHere.length > this.#limits.perAddress) this.#makeRoom(fromHere, socket);
    if (this.#guests.size > this.#limits.connections) this.#makeRoom([...this.#guests], socket);
  }

  /** A request begins on a connection, or is answered. */
  turn(socket: Socket, state: "asking" | "waiting"): void {
    const guest = this.#guests.get(socket);
    if (guest === undefined) return;
    this.#guests.delete(socket);
    this.#guests.set(socket, { ...guest, state });
  }

  /** Makes a connection a live stream; false if the limit is reached. */
  stream(socket: Socket): boolean {
    const guest = this.#guests.get(socket);
    if (guest === undefined) return false;
    const streams = [...this.#guests.values()].filter(({ state }) => state === "stream");
    const fromHere = streams.filter(({ address }) => address === guest.address);
    const { streams: most, streamsPerAddress } = this.#limits;
    if (streams.length >= most || fromHere.length >= streamsPerAddress) return false;
    guest.state = "stream";
    return true;
  }

  /** Closes a connection of `guests`, the new one if all others have a request. */
  #makeRoom(guests: readonly [Socket, Guest][], newcomer: Socket): void {
    const others = guests.filter(([socket]) => socket !== newcomer);
    const of = (wanted: Guest["state"]) => others.find(([, { state }]) => state === wanted);
    const [socket] = of("waiting") ?? of("stream") ?? [newcomer];
    this.#guests.delete(socket);
    socket.destroy();
  }
}
