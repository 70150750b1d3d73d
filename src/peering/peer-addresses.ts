/**
 * Which peers connect from which address. Peers that are configured by name are looked up at the
 * start, every 10 minutes, and when an unknown address connects, which may be a peer that moved. A
 * name that cannot be looked up keeps its addresses. Only a connection from an unknown address
 * waits for a look-up, for some seconds, so a name server that does not answer delays nothing else.
 */
import { lookup } from "node:dns/promises";
import { plainIp } from "../ip-address.js";

/** The addresses of a name, as `dns.lookup` finds them. */
export type LookUp = (host: string) => Promise<readonly { readonly address: string }[]>;

const EVERY_MS = 10 * 60_000;
/** Unknown addresses cause at most one look-up in this time. */
const AT_MOST_EVERY_MS = 30_000;

export class PeerAddresses {
  readonly #names: readonly { readonly peer: string; readonly host: string }[];
  readonly #addresses = new Map<string, ReadonlySet<string>>();
  readonly #failed: (peer: string, problem: string) => void;
  readonly #look: LookUp;
  /** Peers whose names are being looked up, and callbacks for the next answer. */
  readonly #pending = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #lookedUpAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /** `hosts` are addresses or names by peer; `failed` is called for a failed look-up. */
  constructor(
    hosts: ReadonlyMap<string, string>,
    failed: (peer: string, problem: string) => void,
    look: LookUp = (host) => lookup(host, { all: true }),
  ) {
    this.#failed = failed;
    this.#look = look;
    const named: { peer: string; host: string }[] = [];
    for (const [peer, host] of hosts) {
      const address = plainIp(host);
      if (address === undefined) named.push({ peer, host });
      else this.#addresses.set(peer, new Set([address]));
    }
    this.#names = named;
  }

  /** Looks all names up, now and every 10 minutes, until `stop`. Does not wait for answers. */
  start(now: number): void {
    if (this.#names.length === 0 || this.#isStopped) return;
    this.#lookUp(now);
    this.#timer = setTimeout(() => this.start(now + EVERY_MS), EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#told();
  }

  /** Whether a look-up is under way. */
  get isLooking(): boolean {
    return this.#pending.size > 0 && !this.#isStopped;
  }

  /** Resolves when a look-up ends, or after `mostMs`. */
  async news(mostMs: number): Promise<void> {
    if (!this.isLooking) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, mostMs);
      this.#waiting.add(done);
    });
  }

  /** The peers at an address, in any notation. `now` is milliseconds of a monotonic clock. */
  at(address: string, now: number): Set<string> {
    const plain = plainIp(address) ?? address;
    const peers = [...this.#addresses].filter(([, addresses]) => addresses.has(plain));
    if (peers.length === 0 && now >= this.#lookedUpAt + AT_MOST_EVERY_MS) this.#lookUp(now);
    return new Set(peers.map(([peer]) => peer));
  }

  /** Looks up each name for which no look-up is under way. */
  #lookUp(now: number): void {
    this.#lookedUpAt = now;
    for (const { peer, host } of this.#names) {
      if (this.#pending.has(peer)) continue;
      this.#pending.add(peer);
      this.#look(host)
        .then((found) => {
          this.#addresses.set(
            peer,
            new Set(found.map(({ address }) => plainIp(address) ?? address)),
          );
        })
        .catch((error: unknown) => {
          if (this.#isStopped) return;
          this.#failed(peer, error instanceof Error ? error.message : "the look-up failed");
        })
        .finally(() => {
          this.#pending.delete(peer);
          this.#told();
        });
    }
  }

  #told(): void {
    for (const done of [...this.#waiting]) done();
  }
}
