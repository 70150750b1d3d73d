/**
 * What is counted in a world: bodies and octets by server, when each update reached whom, queues.
 * `Infinity` stands for never. Knows no protocol.
 */

/** What one world came to; times in milliseconds, amounts per new update and server. */
export interface Result {
  readonly copies: number;
  readonly bytes: number;
  /** From an update's birth until this share of the servers has it; medians over the updates. */
  readonly timeTo: {
    readonly 50: number;
    readonly 90: number;
    readonly 99: number;
    readonly 100: number;
  };
  /** Pairs of update and server that never met. */
  readonly undelivered: number;
  /** Most mails that waited at one server at once. */
  readonly peakQueue: number;
  /** Octets in and out at the busiest server, over the median server. */
  readonly hubLoad: number;
  /** What came to the server that was away, in the hour after its return. */
  readonly burst: { readonly copies: number; readonly bytes: number };
  /** Octets that a server has to remember of others to take part. */
  readonly state: number;
  readonly events: number;
  /** KX messages of all servers. */
  readonly kx: KxCounts;
}

/** How many messages, and lines in notices. */
export interface KxCounts {
  notices: number;
  lines: number;
  gets: number;
  updates: number;
}

export class Measures {
  readonly servers: number;
  readonly updates: number;
  /** When server s had update u, at s * updates + u. */
  readonly heldAt: Float64Array;
  readonly octets: Float64Array;
  readonly bornAt: Float64Array;
  copies = 0;
  bytes = 0;
  peakQueue = 0;
  events = 0;
  readonly kx: KxCounts = { notices: 0, lines: 0, gets: 0, updates: 0 };
  burstCopies = 0;
  burstBytes = 0;
  readonly #queued: Int32Array;

  constructor(servers: number, updates: number) {
    this.servers = servers;
    this.updates = updates;
    this.heldAt = new Float64Array(servers * updates).fill(Number.POSITIVE_INFINITY);
    this.octets = new Float64Array(servers);
    this.bornAt = new Float64Array(updates);
    this.#queued = new Int32Array(servers);
  }

  holds(server: number, update: number): boolean {
    return this.heldAt[server * this.updates + update] !== Number.POSITIVE_INFINITY;
  }

  held(server: number, update: number, at: number): void {
    this.heldAt[server * this.updates + update] = at;
  }

  /** Octets went from one server to another. */
  sent(from: number, to: number, bytes: number): void {
    this.bytes += bytes;
    this.octets[from] = (this.octets[from] ?? 0) + bytes;
    this.octets[to] = (this.octets[to] ?? 0) + bytes;
  }

  queued(server: number, change: number): void {
    const now = (this.#queued[server] ?? 0) + change;
    this.#queued[server] = now;
    this.peakQueue = Math.max(this.peakQueue, now);
  }

  result(state: number, except: number | undefined): Result {
    const pairs = this.updates * this.servers;
    const times: Record<50 | 90 | 99 | 100, number[]> = { 50: [], 90: [], 99: [], 100: [] };
    let undelivered = 0;
    for (let update = 0; update < this.updates; update++) {
      const born = this.bornAt[update] ?? 0;
      const delays: number[] = [];
      for (let server = 0; server < this.servers; server++) {
        const at = this.heldAt[server * this.updates + update] ?? Number.POSITIVE_INFINITY;
        if (at === Number.POSITIVE_INFINITY) undelivered += 1;
        if (server !== except) delays.push(at - born);
      }
      delays.sort((a, b) => a - b);
      for (const share of [50, 90, 99, 100] as const) {
        const index = Math.ceil((share / 100) * delays.length) - 1;
        times[share].push(delays[Math.max(0, index)] ?? Number.POSITIVE_INFINITY);
      }
    }
    const sorted = [...this.octets].sort((a, b) => a - b);
    const [most, middle] = [sorted.at(-1) ?? 0, sorted[sorted.length >> 1] ?? 1];
    return {
      copies: this.copies / pairs,
      bytes: this.bytes / pairs,
      timeTo: {
        50: median(times[50]),
        90: median(times[90]),
        99: median(times[99]),
        100: median(times[100]),
      },
      undelivered,
      peakQueue: this.peakQueue,
      hubLoad: most / Math.max(1, middle),
      burst: { copies: this.burstCopies, bytes: this.burstBytes },
      state,
      events: this.events,
      kx: this.kx,
    };
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
