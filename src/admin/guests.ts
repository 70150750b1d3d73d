/**
 * The connections of an HTTP door and who of them goes when there are too many: a share for each
 * address, a total, and room for live streams that is less than either, so that pages that stay
 * open, and connections on which nothing is asked, never keep a probe or a scrape out. What is
 * newest stays; the one that has waited longest without a request goes, and then the oldest stream.
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
  /** In the order in which they came to their state. */
  readonly #guests = new Map<Socket, Guest>();

  constructor(limits: GuestLimits) {
    this.#limits = limits;
  }

  /** Takes a connection in, for which another one may have to go, or itself. */
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

  /** Makes a connection a live stream; false when there is no room for one. */
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

  /** Ends a connection of `guests`, that of the newcomer when all others are being answered. */
  #makeRoom(guests: readonly [Socket, Guest][], newcomer: Socket): void {
    const others = guests.filter(([socket]) => socket !== newcomer);
    const of = (wanted: Guest["state"]) => others.find(([, { state }]) => state === wanted);
    const [socket] = of("waiting") ?? of("stream") ?? [newcomer];
    this.#guests.delete(socket);
    socket.destroy();
  }
}
