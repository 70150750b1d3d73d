/**
 * Reports what would be sent by KX in observe mode, where peers see an empty log and can fetch
 * nothing: each new update, for each connected peer that is not known to have it. Whether the peer
 * would have fetched it is not known.
 */
import type { Diagnostics } from "../diagnostics.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import { inTrail } from "../mail/sent-trail.js";

export interface ObserveComponents {
  readonly log: ObserveLog;
  readonly guard: LogGuard;
  readonly diagnostics: Diagnostics;
}

/** What observe mode uses of the log. */
export interface ObserveLog {
  readonly trails: Pick<UpdateLog["trails"], "get">;
}

export class ObserveMode {
  readonly #addresses: ReadonlyMap<string, string>;
  readonly #log: ObserveLog;
  readonly #guard: LogGuard;
  readonly #diagnostics: Diagnostics;

  /** `addresses` stand for peers in trails; a peer without mail has none. */
  constructor(components: ObserveComponents, addresses: ReadonlyMap<string, string>) {
    const { log, guard, diagnostics } = components;
    this.#addresses = addresses;
    this.#log = log;
    this.#guard = guard;
    this.#diagnostics = diagnostics;
  }

  /** Reports what was added to the log while these peers were connected. */
  added(entries: readonly Entry[], peers: readonly string[]): void {
    for (const { seq, hash, fingerprint, size: bytes, origin } of entries) {
      const trail = this.#guard.run(() => this.#log.trails.get(seq)) ?? [];
      for (const neighbour of peers) {
        const address = this.#addresses.get(neighbour);
        if (origin.neighbour === neighbour || (address && inTrail(trail, address))) continue;
        const subject = { seq, hash, fingerprint, neighbour };
        this.#diagnostics.report("would-send", { ...subject, bytes, via: "kx" });
      }
    }
  }
}
