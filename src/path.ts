/**
 * Which road updates take to a neighbour with `via = "auto"`: KX while its session is up, mail when
 * it has been down for longer than `fallback_after`, and back when it has been up for a minute, so
 * that a session that flaps does not move the traffic with it. Pure; time is milliseconds of a
 * monotonic clock. What went one way is not repeated on the other, because the cursor is the
 * neighbour's and not the road's; that is the lane's business.
 */

/** How long a session has to last before it is trusted again. */
export const SETTLE_MS = 60_000;

export type Road = "kx" | "mail";

export class Path {
  readonly #fallbackMs: number;
  #road: Road = "kx";
  #connected = false;
  /** When the session last came or went. */
  #since: number;

  /** Starts on KX, not connected: mail is not sent before the session had its chance. */
  constructor(fallbackMs: number, now: number) {
    this.#fallbackMs = fallbackMs;
    this.#since = now;
  }

  get road(): Road {
    return this.#road;
  }

  /** Takes the state of the session; true when the road changed by it or by the time passed. */
  observe(connected: boolean, now: number): boolean {
    if (connected !== this.#connected) {
      this.#connected = connected;
      this.#since = now;
    }
    const due = this.nextAt();
    if (due === undefined || now < due) return false;
    this.#road = connected ? "kx" : "mail";
    return true;
  }

  /** When the road changes if the session stays as it is; undefined when it does not. */
  nextAt(): number | undefined {
    if (this.#connected === (this.#road === "kx")) return undefined;
    return this.#since + (this.#connected ? SETTLE_MS : this.#fallbackMs);
  }
}
