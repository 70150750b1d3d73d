/**
 * An interruptible wait. `wait` ends when the time is over or `ring` is called. A ring without a
 * waiter ends the next wait at once, so that no wake-up is lost.
 */

/** The maximum delay of setTimeout is 2^31-1 ms. A caller checks the time again after any wait. */
const LONGEST_MS = 2 ** 31 - 1;

export class Wakeup {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Waits `ms` milliseconds or until `ring`. Infinity waits for `ring` only. */
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
