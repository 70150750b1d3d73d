/**
 * The path of a lane in real time: records when a KX session begins and ends, wakes the lane, and
 * reports when the path has changed. The rules are in `path.ts`.
 */
import type { Clock } from "../clock.js";
import type { Via } from "../config/config.js";
import { formatDuration } from "../config/units.js";
import type { Diagnostics } from "../diagnostics.js";
import { Path, type Road } from "./path.js";
import type { Wakeup } from "./wakeup.js";

/** The settings for the paths to a neighbour. */
export interface PathSettings {
  readonly via: Via;
  readonly fallbackMs: number;
}

/** The path in use, as the status shows it. */
export interface PathStatus {
  readonly road: Road;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Whether mail may leave. */
  readonly isOpen: boolean;
  /** When mail starts unless KX connects before, milliseconds since 1970; 0 if it does not. */
  readonly opensAt: number;
}

/** Settings of a lane that uses mail only. */
const OPEN: PathSettings = { via: "mail", fallbackMs: 0 };

export class PathWatch {
  readonly #name: string;
  readonly #settings: PathSettings;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #wakeup: Wakeup;
  readonly #path: Path;
  #isUp = false;
  #road: Road;
  #since: number;

  constructor(
    name: string,
    settings: PathSettings | undefined,
    clock: Clock,
    diagnostics: Diagnostics,
    wakeup: Wakeup,
  ) {
    this.#name = name;
    this.#settings = settings ?? OPEN;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#wakeup = wakeup;
    const now = clock.monotonic();
    this.#path = new Path(this.#settings, now);
    this.#road = this.#path.road(now);
    this.#since = clock.now();
  }

  /** A KX session with the neighbour began, or the last one ended. */
  session(isUp: boolean): void {
    const now = this.#clock.monotonic();
    this.#look(now);
    this.#isUp = isUp;
    if (isUp) this.#path.connected(now);
    else this.#path.disconnected(now);
    this.#look(now);
    this.#wakeup.ring();
  }

  /** Whether mail may leave now. */
  get isOpen(): boolean {
    const now = this.#clock.monotonic();
    this.#look(now);
    return this.#path.isOpen(now);
  }

  /** Milliseconds until the path changes by time alone; undefined for never. */
  waitMs(): number | undefined {
    const now = this.#clock.monotonic();
    const at = this.#path.nextAt(now);
    return at === undefined ? undefined : Math.ceil(at - now);
  }

  status(): PathStatus {
    const { isOpen } = this;
    const wait = this.#settings.via === "auto" && !this.#isUp ? this.waitMs() : undefined;
    const opensAt = wait === undefined ? 0 : this.#clock.now() + wait;
    return { road: this.#road, since: this.#since, isOpen, opensAt };
  }

  #look(now: number): void {
    const road = this.#path.road(now);
    if (road === this.#road) return;
    this.#road = road;
    this.#since = this.#clock.now();
    const { via, fallbackMs } = this.#settings;
    const down =
      via === "auto" ? `KX has been down for ${formatDuration(fallbackMs)}` : "KX is down";
    const reason = road === "mail" ? down : "the KX session is stable";
    this.#diagnostics.report("path-changed", { neighbour: this.#name, path: road, reason });
  }
}
