/**
 * Which peers connect from an address. Peers that are configured by name are looked up at the
 * start, every 10 minutes, and when a stranger comes, who may be a peer that has moved. A name that
 * cannot be looked up keeps the addresses that it had. Nobody waits for a look-up but a connection
 * from an unknown address, and that for seconds: a name server that is gone holds up no door.
 */
import { lookup } from "node:dns/promises";
import { plainIp } from "../ip-address.js";

/** The addresses of a name, as `dns.lookup` finds them. */
export type LookUp = (host: string) => Promise<readonly { readonly address: string }[]>;

const EVERY_MS = 10 * 60_000;
/** Strangers cause no more than one look-up in this time. */
const AT_MOST_EVERY_MS = 30_000;

export class PeerAddresses {
  readonly #names: readonly { readonly peer: string; readonly host: string }[];
  readonly #addresses = new Map<string, ReadonlySet<string>>();
  readonly #failed: (peer: string, problem: string) => void;
  readonly #look: LookUp;
  /** Names that are being looked up, and what is called when one has an answer. */
  readonly #pending = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #lookedUpAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /** `hosts` are addresses or names by peer; `failed` hears of a name that has no address. */
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

  /** Looks all names up, now and from time to time, until `stop`. Waits for no answer. */
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

  /** Whether a name has been asked for and nothing has been heard of it yet. */
  get isLooking(): boolean {
    return this.#pending.size > 0 && !this.#isStopped;
  }

  /** Resolves when one of the names that are looked up has an answer, or after so long. */
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

  /** The peers at an address, in any spelling. `now` is monotonic milliseconds. */
  at(address: string, now: number): Set<string> {
    const plain = plainIp(address) ?? address;
    const peers = [...this.#addresses].filter(([, addresses]) => addresses.has(plain));
    if (peers.length === 0 && now >= this.#lookedUpAt + AT_MOST_EVERY_MS) this.#lookUp(now);
    return new Set(peers.map(([peer]) => peer));
  }

  /** Asks for every name that is not being asked for: one that hangs is asked for once. */
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
