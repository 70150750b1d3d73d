/**
 * Selects the path of updates to one neighbour: KX or mail. Pure: the inputs are the start and end
 * of KX sessions, and the time (milliseconds of a monotonic clock), which is an argument or is read
 * from the clock passed in. The outputs are whether mail may be sent and what the operator is told.
 * This file depends on neither mail nor KX.
 *
 * 1. "mail": mail is always open. "kx": mail is never open. The lane only keeps its position, so
 *    that a later change to mail neither loses nor repeats anything. "both": mail is always open.
 * 2. "auto": mail is closed while a KX session exists. The two paths never run in parallel;
 *    otherwise each update received meanwhile would be sent twice. The mail in progress when KX
 *    returns is finished. Its update is the only one that may arrive twice.
 * 3. "auto": mail opens after KX has been down for `fallbackMs`. A start counts as the end of a
 *    session: a restart during an outage waits once more, and a restart without an outage sends no
 *    mail.
 * 4. A session shorter than `SETTLED_MS` does not restart the wait. If the connections of a peer
 *    break all the time, mail is used in between, instead of never.
 * 5. The operator is told with the same delay: KX is reported after `SETTLED_MS` of one session;
 *    mail is reported when it opens ("auto") or after KX has been down for `SETTLED_MS` ("both").
 * 6. If `fallbackMs` is shorter than `SETTLED_MS`, `fallbackMs` applies to both.
 */
import type { Clock } from "../clock.js";
import type { Via } from "../config/config.js";
import { formatDuration } from "../config/units.js";
import type { Diagnostics } from "../diagnostics.js";

/** Rules 4 and 5. */
export const SETTLED_MS = 60_000;

/** The paths in use. */
export type Road = "mail" | "kx" | "both";

/** The path settings of a neighbour in the configuration. */
export interface PathSettings {
  readonly via: Via;
  readonly fallbackMs: number;
}

/** The status of the path for the operator. */
export interface PathStatus {
  readonly road: Road;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Whether mail may be sent. */
  readonly isOpen: boolean;
  /** When mail opens unless KX connects first, milliseconds since 1970; 0 if not applicable. */
  readonly opensAt: number;
}

export class Path {
  readonly #via: Via;
  readonly #settledMs: number;
  /** How long KX must be down before the road is mail. */
  readonly #patienceMs: number;
  /** When the session began. Undefined without a session. */
  #connectedAt: number | undefined;
  #downSince: number;
  /** The road before the session began. */
  #before: Road;

  constructor({ via, fallbackMs }: PathSettings, now: number) {
    this.#via = via;
    this.#settledMs = Math.min(SETTLED_MS, fallbackMs);
    this.#patienceMs = via === "auto" ? fallbackMs : this.#settledMs;
    this.#downSince = now;
    this.#before = this.#up;
  }

  /** Call this when a KX session begins. */
  connected(now: number): void {
    if (this.#connectedAt !== undefined) return;
    this.#before = this.road(now);
    this.#connectedAt = now;
  }

  /** Call this when the last KX session has ended. */
  disconnected(now: number): void {
    if (this.#isSettled(now)) this.#downSince = now;
    this.#connectedAt = undefined;
  }

  /** Whether mail may be sent. */
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

  /** When an answer next changes by the passage of time alone. Undefined if never. */
  nextAt(now: number): number | undefined {
    if (this.#via === "mail" || this.#via === "kx") return undefined;
    const at =
      this.#connectedAt === undefined
        ? this.#downSince + this.#patienceMs
        : this.#connectedAt + this.#settledMs;
    return at > now ? at : undefined;
  }

  /** The road in normal operation. */
  get #up(): Road {
    return this.#via === "auto" ? "kx" : this.#via;
  }

  #isSettled(now: number): boolean {
    return this.#connectedAt !== undefined && now >= this.#connectedAt + this.#settledMs;
  }
}

/** Settings for a lane without a path. */
const OPEN: PathSettings = { via: "mail", fallbackMs: 0 };

export interface PathComponents {
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

/** The path of one lane, with a clock. `report` reports each change of it. */
export class LanePath {
  readonly #name: string;
  readonly #settings: PathSettings;
  readonly #components: PathComponents;
  readonly #path: Path;
  #isUp = false;
  /** The road that was reported last, and its start. */
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

  /** Reports that the first KX session with the neighbour began, or that the last one ended. */
  session(isUp: boolean): void {
    const now = this.#components.clock.monotonic();
    this.report();
    this.#isUp = isUp;
    if (isUp) this.#path.connected(now);
    else this.#path.disconnected(now);
    this.report();
  }

  /** Whether mail may be sent now. */
  get isOpen(): boolean {
    return this.#path.isOpen(this.#components.clock.monotonic());
  }

  /** Milliseconds until an answer changes by the passage of time alone. Infinity if never. */
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

  /** Reports the path if it differs from the last report. */
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
