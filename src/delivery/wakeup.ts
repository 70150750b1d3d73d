/**
 * A wait that can be cut short: `wait` ends when the time is over or somebody rings, and a ring
 * that came while nobody waited ends the next wait at once, so that no wake-up is lost.
 */

/** setTimeout takes no more than 2^31-1 ms; whoever waits looks at the time again anyway. */
const LONGEST_MS = 2 ** 31 - 1;

export class Wakeup {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Waits `ms` milliseconds, or for a ring alone when Infinity. */
  async wait(ms: number): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        const timer = ms === Infinity ? undefined : setTimeout(resolve, Math.min(ms, LONGEST_MS));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    this.#rung = false;
  }
}
