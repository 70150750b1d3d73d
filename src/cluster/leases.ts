/**
 * Leases: what only one gateway of a site may do at a time. A gateway without a shared log is alone
 * and has every lease that it asks for.
 *
 * A lease belongs to the session through which this gateway commits. When the session ends, all
 * leases are lost, and their holders are told before another session is used. So a holder commits
 * either under its lease or not at all. A holder begins when the copy has everything that the last
 * holder committed.
 */
import type { Diagnostics } from "../diagnostics.js";
import { Trouble } from "../errors.js";
import type { PostgresStore } from "./postgres-store.js";

export interface LeaseHolder {
  /** This gateway has the lease. May throw `Trouble`; then it is called again later. */
  take(): void;
  /** The lease was lost: ends at once and stores nothing any more. Must not throw. */
  lose(): void;
}

export interface Leases {
  /**
   * Asks for `lease` until the function that is returned is called. The caller has stopped by then;
   * `lose` is not called.
   */
  ask(lease: string, holder: LeaseHolder): () => void;
}

/** The leases of a gateway that is alone. Passes on what `take` throws. */
export const ALONE: Leases = {
  ask: (_lease, holder) => {
    holder.take();
    return () => {};
  },
};

/** What `SharedLeases` uses of the store. */
export type LeaseStore = Pick<PostgresStore, "listen" | "want">;

export class SharedLeases implements Leases {
  readonly #store: LeaseStore;
  readonly #catchUp: () => boolean;
  readonly #tell: (trouble: Trouble) => void;
  readonly #diagnostics: Diagnostics;
  readonly #wanted = new Map<string, LeaseHolder>();
  /** Leases of this session whose holders do not work yet. */
  readonly #granted = new Set<string>();
  readonly #taken = new Set<string>();

  /**
   * `catchUp` brings the copy to the newest position and returns whether it is there; it and
   * `take` may throw `Trouble`, which `tell` is told of.
   */
  constructor(
    store: LeaseStore,
    catchUp: () => boolean,
    tell: (trouble: Trouble) => void,
    diagnostics: Diagnostics,
  ) {
    this.#store = store;
    this.#diagnostics = diagnostics;
    this.#catchUp = catchUp;
    this.#tell = tell;
    store.listen({ granted: (lease) => this.#grant(lease), lost: () => this.#lose() });
  }

  ask(lease: string, holder: LeaseHolder): () => void {
    if (this.#wanted.has(lease)) throw new Error(`the lease ${lease} is asked for twice`);
    this.#wanted.set(lease, holder);
    this.#store.want([...this.#wanted.keys()]);
    return () => {
      if (this.#wanted.get(lease) !== holder) return;
      this.#wanted.delete(lease);
      this.#granted.delete(lease);
      this.#taken.delete(lease);
      this.#store.want([...this.#wanted.keys()]);
    };
  }

  /** The leases that this gateway asks for. */
  get wanted(): readonly string[] {
    return [...this.#wanted.keys()];
  }

  /** The leases that this gateway works under. */
  get taken(): readonly string[] {
    return [...this.#taken];
  }

  /** Lets the holders of granted leases begin, once the copy is at the newest position. */
  begin(): void {
    if (this.#granted.size === 0) return;
    try {
      // What the last holder committed was in the database before the lease was free.
      if (!this.#catchUp()) return;
      for (const lease of this.#granted) {
        this.#wanted.get(lease)?.take();
        this.#granted.delete(lease);
        this.#taken.add(lease);
        this.#diagnostics.report("lease-taken", { lease });
      }
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.#tell(error);
    }
  }

  #grant(lease: string): void {
    if (!this.#wanted.has(lease)) return;
    this.#granted.add(lease);
    this.begin();
  }

  #lose(): void {
    this.#granted.clear();
    const lost = [...this.#taken];
    this.#taken.clear();
    for (const lease of lost) {
      this.#wanted.get(lease)?.lose();
      this.#diagnostics.report("lease-lost", { lease });
    }
  }
}
