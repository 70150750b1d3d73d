/**
 * Which peers connect from an address. Peers that are configured by name are looked up at the
 * start, every 10 minutes, and when a stranger comes, who may be a peer that has moved. A name that
 * cannot be looked up keeps the addresses that it had.
 */
import { lookup } from "node:dns/promises";
import { plainIp } from "../ip-address.js";

const EVERY_MS = 10 * 60_000;
/** Strangers cause no more than one look-up in this time. */
const AT_MOST_EVERY_MS = 30_000;

export class PeerAddresses {
  readonly #names: readonly { readonly peer: string; readonly host: string }[];
  readonly #addresses = new Map<string, ReadonlySet<string>>();
  readonly #failed: (peer: string, problem: string) => void;
  #lookedUpAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /** `hosts` are addresses or names by peer; `failed` hears of a name that has no address. */
  constructor(hosts: ReadonlyMap<string, string>, failed: (peer: string, problem: string) => void) {
    this.#failed = failed;
    const named: { peer: string; host: string }[] = [];
    for (const [peer, host] of hosts) {
      const address = plainIp(host);
      if (address === undefined) named.push({ peer, host });
      else this.#addresses.set(peer, new Set([address]));
    }
    this.#names = named;
  }

  /** Looks all names up, now and from time to time, until `stop`. */
  async start(now: number): Promise<void> {
    await this.#lookUp(now);
    if (this.#names.length === 0 || this.#isStopped) return;
    this.#timer = setTimeout(() => void this.start(now + EVERY_MS), EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** The peers at an address, in any spelling. `now` is monotonic milliseconds. */
  at(address: string, now: number): Set<string> {
    const plain = plainIp(address) ?? address;
    const peers = [...this.#addresses].filter(([, addresses]) => addresses.has(plain));
    if (peers.length === 0 && now >= this.#lookedUpAt + AT_MOST_EVERY_MS) void this.#lookUp(now);
    return new Set(peers.map(([peer]) => peer));
  }

  async #lookUp(now: number): Promise<void> {
    this.#lookedUpAt = now;
    await Promise.all(
      this.#names.map(async ({ peer, host }) => {
        try {
          const found = await lookup(host, { all: true });
          const addresses = found.map(({ address }) => plainIp(address) ?? address);
          this.#addresses.set(peer, new Set(addresses));
        } catch (error) {
          this.#failed(peer, error instanceof Error ? error.message : "the look-up failed");
        }
      }),
    );
  }
}
