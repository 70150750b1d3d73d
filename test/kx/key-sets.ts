/** Sets of made-up keys for tests of reconciliation: arrays, with the sums made in a slow way. */
import { hash } from "node:crypto";
import { add, elementOf, type KeyState, type RangeState, stateOf } from "../../src/kx/range-sum.js";
import type { Items, KeyRange, KeySet } from "../../src/kx/reconcile.js";
import { answerRanges, type ReconcileLimits, Reconciler } from "../../src/kx/reconcile.js";
import type { Fingerprint } from "../../src/update.js";

/** Key number `n`, in its version `version`. */
export function madeUpKey(n: number, version = 0): KeyState {
  const name = hash("sha256", `key ${n}`).toUpperCase();
  const fingerprint = name.slice(0, 40) as Fingerprint;
  return { fingerprint, digest: hash("sha256", `packets ${n} ${version}`).slice(0, 32) };
}

export class ArraySet implements KeySet {
  readonly #keys: readonly KeyState[];
  readonly #elements = new Map<KeyState, Uint32Array>();

  constructor(keys: readonly KeyState[]) {
    this.#keys = keys.toSorted((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
    for (const key of keys) {
      const { fingerprint, digest } = key;
      const element = elementOf(Buffer.from(fingerprint, "hex"), Buffer.from(digest, "hex"));
      this.#elements.set(key, element);
    }
  }

  state(prefix: string): RangeState {
    const sum = new Uint32Array(8);
    const keys = this.keys(prefix);
    for (const key of keys) add(sum, 0, this.#elements.get(key) ?? sum);
    return stateOf(keys.length, sum);
  }

  keys(prefix: string): KeyState[] {
    return this.#keys.filter(({ fingerprint }) => fingerprint.startsWith(prefix));
  }

  digestOf(fingerprint: Fingerprint): string | undefined {
    return this.#keys.find((key) => key.fingerprint === fingerprint)?.digest;
  }
}

export interface RunResult {
  readonly run: Reconciler;
  readonly wanted: KeyState[];
  readonly told: KeyState[];
  readonly lines: number;
}

export interface RunOptions {
  readonly tells?: boolean;
  readonly limits?: ReconcileLimits;
  /** What answers instead of the other set. */
  readonly answer?: (asked: readonly KeyRange[]) => Items;
}

/** Lets `here` ask `there` until nothing is left or the budget is used. */
export function runBetween(here: KeySet, there: KeySet, options: RunOptions = {}): RunResult {
  const { tells = true, limits, answer = (asked) => answerRanges(there, asked, limits) } = options;
  const run = new Reconciler(here, tells, limits);
  const wanted: KeyState[] = [];
  const told: KeyState[] = [];
  let lines = 0;
  for (let asked = run.next(); asked !== undefined; asked = run.next()) {
    const items = answer(asked);
    lines += asked.length + items.ranges.length + items.keys.length;
    const found = run.answered(items);
    run.wants(found.wanted.length);
    wanted.push(...found.wanted);
    told.push(...found.told);
  }
  return { run, wanted, told, lines };
}
