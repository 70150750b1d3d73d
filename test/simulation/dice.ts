/**
 * Chance from a seed, with the questions that a simulation asks of it. Each part of a world throws
 * dice of its own (`fork`), so that a new question in one place does not change all the others.
 */
import { dice, seedFor } from "../torture/check.js";

export class Dice {
  readonly #seed: number;
  readonly #next: () => number;

  constructor(seed: number) {
    this.#seed = seed;
    this.#next = dice(seed);
  }

  /** Other dice that follow from this seed and a name. */
  fork(name: string): Dice {
    return new Dice(seedFor(this.#seed, name));
  }

  /** A number in [0, 1). */
  next(): number {
    return this.#next();
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** A whole number from `least` to `most`, both included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.#next() * (most - least + 1));
  }

  /** Whole milliseconds, small ones as likely as large ones on a logarithmic scale. */
  span(least: number, most: number): number {
    return Math.round(least * (most / least) ** this.#next());
  }

  /** How long until something that happens every `meanMs` on average happens next. */
  wait(meanMs: number): number {
    return Math.max(1, Math.round(-meanMs * Math.log(1 - this.#next())));
  }

  pick<T>(choices: readonly T[]): T {
    const chosen = choices[Math.floor(this.#next() * choices.length)];
    if (chosen === undefined) throw new Error("nothing to choose from");
    return chosen;
  }

  shuffled<T>(all: readonly T[]): T[] {
    const left = [...all];
    const drawn: T[] = [];
    while (left.length > 0) drawn.push(...left.splice(this.int(0, left.length - 1), 1));
    return drawn;
  }
}
