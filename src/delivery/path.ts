/**
 * Which road updates take to one neighbour. Pure: the KX session comes and goes, time (milliseconds
 * of a clock that never goes back) is an argument, and out comes whether mail may leave and what
 * the operator is told. Knows neither mail nor KX.
 *
 *  1. "mail": mail is open, always. "kx": never; the lane only keeps its place, so that a later
 *     change to mail neither loses nor repeats anything. "both": mail is open, always.
 *  2. "auto": mail is shut from the first moment of a KX session to its last. The roads never run
 *     side by side, or each update that comes in meanwhile would go twice. What is being mailed
 *     when KX comes back is finished, and is the one update that may arrive twice.
 *  3. "auto": mail opens when KX has been down for `fallbackMs`. A start counts as the end of a
 *     session: a restart under an outage waits once more, and a restart without one mails nothing.
 *  4. Only a session that lasted for `SETTLED_MS` was one: a shorter one does not begin the wait
 *     anew. So a peer whose connections break all the time gets mail in between, and not never.
 *  5. What is told changes with the same patience: KX again after `SETTLED_MS` of one session,
 *     mail alone when it opens ("auto") or when KX was down for `SETTLED_MS` ("both").
 *  6. Whoever wants mail sooner than `SETTLED_MS` has a network in which that is a long time:
 *     then `fallbackMs` stands for both.
 */
import type { Via } from "../config/config.js";

/** Rules 4 and 5. */
export const SETTLED_MS = 60_000;

/** The roads in use. */
export type Road = "mail" | "kx" | "both";

export class Path {
  readonly #via: Via;
  readonly #settledMs: number;
  /** How long KX has to be down until the road is mail. */
  readonly #patienceMs: number;
  /** When the session began; undefined while there is none. */
  #connectedAt: number | undefined;
  #downSince: number;
  /** What the road was when the session began. */
  #before: Road;

  constructor({ via, fallbackMs }: { via: Via; fallbackMs: number }, now: number) {
    this.#via = via;
    this.#settledMs = Math.min(SETTLED_MS, fallbackMs);
    this.#patienceMs = via === "auto" ? fallbackMs : this.#settledMs;
    this.#downSince = now;
    this.#before = this.#up;
  }

  /** A KX session is there. */
  connected(now: number): void {
    if (this.#connectedAt !== undefined) return;
    this.#before = this.road(now);
    this.#connectedAt = now;
  }

  /** The last KX session is gone. */
  disconnected(now: number): void {
    if (this.#isSettled(now)) this.#downSince = now;
    this.#connectedAt = undefined;
  }

  /** Whether mail may leave. */
  isOpen(now: number): boolean {
    if (this.#via !== "auto") return this.#via !== "kx";
    return this.#connectedAt === undefined && now >= this.#downSince + this.#patienceMs;
  }

  road(now: number): Road {
    const isFixed = this.#via === "mail" || this.#via === "kx";
    if (isFixed || this.#isSettled(now)) return this.#up;
    if (this.#connectedAt !== undefined) return this.#before;
    return now >= this.#downSince + this.#patienceMs ? "mail" : this.#up;
  }

  /** When one of the answers changes by time alone; undefined for never. */
  nextAt(now: number): number | undefined {
    if (this.#via === "mail" || this.#via === "kx") return undefined;
    const at =
      this.#connectedAt === undefined
        ? this.#downSince + this.#patienceMs
        : this.#connectedAt + this.#settledMs;
    return at > now ? at : undefined;
  }

  /** The road while all is well. */
  get #up(): Road {
    return this.#via === "auto" ? "kx" : this.#via;
  }

  #isSettled(now: number): boolean {
    return this.#connectedAt !== undefined && now >= this.#connectedAt + this.#settledMs;
  }
}
