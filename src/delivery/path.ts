/**
 * Which path updates take to one neighbour: KX or mail. Pure: KX sessions come and go, time
 * (milliseconds of a clock that never goes back) is an argument or comes from the clock handed in,
 * and the answers are whether mail may leave and what the operator is told. Knows neither mail nor
 * KX.
 *
 *  1. "mail": mail is open, always. "kx": never; the lane only keeps its place, so that a later
 *     change to mail neither loses nor repeats anything. "both": mail is open, always.
 *  2. "auto": mail is shut from the first moment of a KX session to its last. The two paths never
 *     run side by side, or each update that comes in meanwhile would go twice. The mail under way
 *     when KX comes back is finished, and its update is the only one that may arrive twice.
 *  3. "auto": mail opens when KX has been down for `fallbackMs`. A start counts as the end of a
 *     session: a restart during an outage waits once more, and a restart without one mails nothing.
 *  4. A session that is shorter than `SETTLED_MS` does not begin the wait anew. A peer whose
 *     connections break all the time gets mail in between, instead of never.
 *  5. The operator is told with the same delay: KX again after `SETTLED_MS` of one session, mail
 *     when it opens ("auto") or when KX was down for `SETTLED_MS` ("both").
 *  6. With a `fallbackMs` shorter than `SETTLED_MS`, `fallbackMs` stands for both.
 */
import type { Clock } from "../clock.js";
import type { Via } from "../config/config.js";
import { formatDuration } from "../config/units.js";
import type { Diagnostics } from "../diagnostics.js";

/** Rules 4 and 5. */
export const SETTLED_MS = 60_000;

/** The paths in use. */
export type Road = "mail" | "kx" | "both";

/** What the config says of a neighbour's paths. */
export interface PathSettings {
  readonly via: Via;
  readonly fallbackMs: number;
}

/** The path as the operator sees it. */
export interface PathStatus {
  readonly road: Road;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Whether mail may leave. */
  readonly isOpen: boolean;
  /** When mail opens unless KX connects before, milliseconds since 1970; 0 when that is not so. */
  readonly opensAt: number;
}

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

  constructor({ via, fallbackMs }: PathSettings, now: number) {
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

/** Of a lane without a path. */
const OPEN: PathSettings = { via: "mail", fallbackMs: 0 };

export interface PathComponents {
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

/** The path of one lane by a clock. Reports each change of it when `report` is called. */
export class LanePath {
  readonly #name: string;
  readonly #settings: PathSettings;
  readonly #components: PathComponents;
  readonly #path: Path;
  #isUp = false;
  /** What was reported last, and since when it is so. */
  #road: Road;
  #since: number;

  constructor(components: PathComponents, name: string, settings: PathSettings = OPEN) {
    this.#name = name;
    this.#settings = settings;
    this.#components = components;
    const { clock } = components;
    const now = clock.monotonic();
    this.#path = new Path(settings, now);
    this.#road = this.#path.road(now);
    this.#since = clock.now();
  }

  /** A KX session with the neighbour began, or the last one ended. */
  session(isUp: boolean): void {
    const now = this.#components.clock.monotonic();
    this.report();
    this.#isUp = isUp;
    if (isUp) this.#path.connected(now);
    else this.#path.disconnected(now);
    this.report();
  }

  /** Whether mail may leave now. */
  get isOpen(): boolean {
    return this.#path.isOpen(this.#components.clock.monotonic());
  }

  /** Milliseconds until an answer changes by time alone; Infinity for never. */
  waitMs(): number {
    const now = this.#components.clock.monotonic();
    const at = this.#path.nextAt(now);
    return at === undefined ? Infinity : Math.ceil(at - now);
  }

  status(): PathStatus {
    const { clock } = this.#components;
    const road = this.#path.road(clock.monotonic());
    const since = road === this.#road ? this.#since : clock.now();
    const wait = this.#settings.via === "auto" && !this.#isUp ? this.waitMs() : Infinity;
    const opensAt = wait === Infinity ? 0 : clock.now() + wait;
    return { road, since, isOpen: this.isOpen, opensAt };
  }

  /** Reports the path when it is another one than was reported last. */
  report(): void {
    const { clock, diagnostics } = this.#components;
    const road = this.#path.road(clock.monotonic());
    if (road === this.#road) return;
    this.#road = road;
    this.#since = clock.now();
    const { via, fallbackMs } = this.#settings;
    const down =
      via === "auto" ? `KX has been down for ${formatDuration(fallbackMs)}` : "KX is down";
    const reason = road === "mail" ? down : "the KX session is stable";
    diagnostics.report("path-changed", { neighbour: this.#name, path: road, reason });
  }
}
