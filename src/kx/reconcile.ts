/**
 * Reconciliation of two sets of keys by ranges (A. Meyer, Range-Based Set Reconciliation, 2022;
 * docs/protocol.md). A range is all keys whose fingerprints begin with some hex digits. The side
 * that asks sends ranges with its own count and hash (RANGE). The other side leaves out those that
 * are equal at it; of each other one it sends its count and hash, and then the keys if they are
 * few, or else the count and hash of the up to 16 ranges one digit longer (ITEMS). The side that
 * asks goes on with those that differ. The cost grows with the differences and the logarithm of the
 * size. Pure: `KeySet` is read, and the owner sends, fetches and remembers.
 *
 *  1. Only the side that asks has a state: a stack of ranges that differ, and one open question.
 *     The answer depends on nothing but the question and the set, so a run continues on another
 *     connection where it was (`failed`), and a set that changes meanwhile does no harm.
 *  2. An answer must fit the question: ranges that were asked for, counts that add up, keys in
 *     their range, in order. Anything else is a fault, and the run ends.
 *  3. What differs is found at the side that asks. The keys that the other side lacks or has
 *     otherwise are told to it, in ITEMS NOTIFY.
 *  4. Each run has a budget of questions and of keys. A peer that never stops showing
 *     differences uses up the budget. The next order continues with the ranges that are left.
 */
import type { Fingerprint } from "../update.js";
import type { KeyState, RangeState } from "./range-sum.js";

/** A range with its state: `prefix` has 0 to 16 upper-case hex digits. */
export interface KeyRange extends RangeState {
  readonly prefix: string;
}

/** A set of keys. Its owner guards it: all may throw `Trouble`. */
export interface KeySet {
  state(prefix: string): RangeState;
  /** The keys of a range, ascending. */
  keys(prefix: string): Iterable<KeyState>;
  /** The digest of a key; undefined if the set does not have it. */
  digestOf(fingerprint: Fingerprint): string | undefined;
}

/** The content of an ITEMS. */
export interface Items {
  readonly ranges: readonly KeyRange[];
  readonly keys: readonly KeyState[];
}

export const RECONCILE_LIMITS = {
  /** Ranges in a RANGE. The answer has at most 17 lines for each: 160 kB. */
  ranges: 128,
  /**
   * A range of at most so many keys is listed. Half of a leaf of 16 ranges is empty below it, and
   * a line of a key is as long as one of a range.
   */
  few: 16,
  /** Digits of the longest range. 17 keys that agree in 64 bits are out of reach. */
  digits: 16,
  /** Keys in an ITEMS NOTIFY: 75 kB. */
  told: 1000,
  /**
   * Questions of one run. Two sets of six million keys that differ in every key need some 8,750:
   * 1 + 16 + ... + 16^5 ranges, 128 in each.
   */
  questions: 10_000,
  /** Keys of a run that are fetched, and that are told: at a key a second an hour and a half. */
  keys: 5000,
  /** Most lines of keys that an answer may have beside the few of each range (see `digits`). */
  spare: 1000,
} as const;

export type ReconcileLimits = {
  readonly [K in keyof typeof RECONCILE_LIMITS]: number;
};

/** Thrown for an answer that breaks rule 2; the message says how. */
export class BadAnswer extends Error {}

/** The answer to a RANGE: a function of the question and the set. */
export function answerRanges(
  set: KeySet,
  asked: readonly KeyRange[],
  limits: ReconcileLimits = RECONCILE_LIMITS,
): Items {
  const ranges: KeyRange[] = [];
  const keys: KeyState[] = [];
  for (const { prefix, count, hash } of asked) {
    const own = set.state(prefix);
    if (own.count === count && own.hash === hash) continue;
    ranges.push({ prefix, ...own });
    if (isListed(prefix, own.count, limits)) {
      let left = Math.max(limits.few, prefix.length < limits.digits ? 0 : limits.spare);
      for (const key of set.keys(prefix)) {
        if (left === 0) break;
        left -= 1;
        keys.push(key);
      }
    } else {
      for (const part of partsOf(prefix)) {
        const state = set.state(part);
        if (state.count > 0) ranges.push({ prefix: part, ...state });
      }
    }
  }
  return { ranges, keys };
}

function isListed(prefix: string, count: number, limits: ReconcileLimits): boolean {
  return count <= limits.few || prefix.length >= limits.digits;
}

function partsOf(prefix: string): string[] {
  return [..."0123456789ABCDEF"].map((digit) => prefix + digit);
}

/** The result of a run, as far as it is known. */
export interface ReconcileCounts {
  /** Keys of both sides at the begin of the run; `there` is 0 until the first answer. */
  readonly here: number;
  readonly there: number;
  /** Keys that only the peer has, that only we have, and that both have with other packets. */
  readonly onlyThere: number;
  readonly onlyHere: number;
  readonly differing: number;
  readonly questions: number;
}

/** What an answer showed. */
export interface Found {
  /** Keys that the peer has and we lack, or have otherwise, with the peer's digest. */
  readonly wanted: readonly KeyState[];
  /** Keys that we have and the peer lacks, or has otherwise, with our digest. */
  readonly told: readonly KeyState[];
}

export class Reconciler {
  readonly #set: KeySet;
  readonly #limits: ReconcileLimits;
  /** Ranges that differ and are not asked for yet, the next one last. */
  readonly #ranges: string[] = [""];
  /** The open question. */
  #asked: readonly KeyRange[] = [];
  readonly #here: number;
  #there = 0;
  #onlyThere = 0;
  #onlyHere = 0;
  #differing = 0;
  #questions = 0;
  /** What is used of the budget. */
  readonly #used = { questions: 0, wanted: 0, told: 0 };
  readonly #tells: boolean;

  /** Without `tells` the sets are compared only, and the budget is that of questions. */
  constructor(set: KeySet, tells: boolean, limits: ReconcileLimits = RECONCILE_LIMITS) {
    this.#set = set;
    this.#tells = tells;
    this.#limits = limits;
    this.#here = set.state("").count;
  }

  get counts(): ReconcileCounts {
    return {
      here: this.#here,
      there: this.#there,
      onlyThere: this.#onlyThere,
      onlyHere: this.#onlyHere,
      differing: this.#differing,
      questions: this.#questions,
    };
  }

  /** Nothing is left to be compared. */
  get isDone(): boolean {
    return this.#ranges.length === 0 && this.#asked.length === 0;
  }

  /** Rule 4: the budget is used up. */
  get isOverBudget(): boolean {
    const { questions, wanted, told } = this.#used;
    const { questions: most, keys } = this.#limits;
    return questions >= most || wanted >= keys || told >= keys;
  }

  /** A question is open. */
  get isAsking(): boolean {
    return this.#asked.length > 0;
  }

  /** Gives it a new budget. */
  renew(): void {
    Object.assign(this.#used, { questions: 0, wanted: 0, told: 0 });
  }

  /** The next question; undefined while one is open, when nothing is left, or over budget. */
  next(): readonly KeyRange[] | undefined {
    if (this.#asked.length > 0 || this.#ranges.length === 0 || this.isOverBudget) return undefined;
    const prefixes = this.#ranges.splice(-this.#limits.ranges).reverse();
    this.#asked = prefixes.map((prefix) => ({ prefix, ...this.#set.state(prefix) }));
    this.#questions += 1;
    this.#used.questions += 1;
    return this.#asked;
  }

  /** The question will not be answered: it is asked again by `next`. */
  failed(): void {
    this.#ranges.push(...this.#asked.map(({ prefix }) => prefix).reverse());
    this.#asked = [];
  }

  /** `keys` of those that an answer showed are fetched; the others are known to stay. */
  wants(keys: number): void {
    this.#used.wanted += keys;
  }

  /** Takes the answer to the open question. Throws `BadAnswer`; then the run is over. */
  answered(answer: Items): Found {
    const asked = this.#asked;
    this.#asked = [];
    const reader = new AnswerReader(answer);
    const wanted: KeyState[] = [];
    const told: KeyState[] = [];
    const more: string[] = [];
    for (const { prefix, count } of asked) {
      const theirs = reader.range(prefix);
      if (prefix === "") this.#there = theirs?.count ?? count;
      // It is equal.
      if (theirs === undefined) continue;
      if (isListed(prefix, theirs.count, this.#limits)) {
        const keys = reader.keys(prefix);
        if (keys.length !== theirs.count) throw new BadAnswer("the count of a range is wrong");
        this.#compare(prefix, keys, wanted, told);
      } else more.push(...this.#parts(prefix, theirs.count, reader, told));
    }
    reader.end();
    this.#ranges.push(...more.reverse());
    return { wanted, told };
  }

  /** Compares the parts of a range; returns those that have to be asked for. */
  #parts(prefix: string, count: number, reader: AnswerReader, told: KeyState[]): string[] {
    const more: string[] = [];
    let sum = 0;
    for (const part of partsOf(prefix)) {
      const theirs = reader.range(part);
      sum += theirs?.count ?? 0;
      const own = this.#set.state(part);
      if (theirs === undefined) this.#lacks(part, own.count, told);
      else if (theirs.count !== own.count || theirs.hash !== own.hash) more.push(part);
    }
    if (sum !== count) throw new BadAnswer("the counts of a range do not add up");
    return more;
  }

  /** The peer has listed all of a range. */
  #compare(prefix: string, keys: readonly KeyState[], wanted: KeyState[], told: KeyState[]): void {
    let both = 0;
    for (const key of keys) {
      const own = this.#set.digestOf(key.fingerprint);
      if (own !== undefined) both += 1;
      if (own === key.digest) continue;
      wanted.push(key);
      if (own === undefined) this.#onlyThere += 1;
      else {
        this.#differing += 1;
        this.#tell({ fingerprint: key.fingerprint, digest: own }, told);
      }
    }
    const theirs = new Set(keys.map(({ fingerprint }) => fingerprint));
    this.#lacks(prefix, this.#set.state(prefix).count - both, told, theirs);
  }

  /** The peer lacks `count` keys of a range: those that are not in `theirs`. */
  #lacks(
    prefix: string,
    count: number,
    told: KeyState[],
    theirs: ReadonlySet<Fingerprint> = new Set(),
  ): void {
    this.#onlyHere += count;
    if (count === 0 || !this.#tells) return;
    for (const key of this.#set.keys(prefix)) {
      if (!theirs.has(key.fingerprint) && !this.#tell(key, told)) return;
    }
  }

  #tell(key: KeyState, told: KeyState[]): boolean {
    if (!this.#tells || this.#used.told >= this.#limits.keys) return false;
    this.#used.told += 1;
    told.push(key);
    return true;
  }
}

/** Reads an answer in the order of the question; what is left over is a fault. */
class AnswerReader {
  readonly #answer: Items;
  #range = 0;
  #key = 0;

  constructor(answer: Items) {
    this.#answer = answer;
  }

  /** The state of a range; undefined if the answer leaves it out. */
  range(prefix: string): KeyRange | undefined {
    const range = this.#answer.ranges[this.#range];
    if (range?.prefix !== prefix) return undefined;
    this.#range += 1;
    return range;
  }

  /** The keys of a range. */
  keys(prefix: string): readonly KeyState[] {
    const start = this.#key;
    const { keys } = this.#answer;
    while (keys[this.#key]?.fingerprint.startsWith(prefix) === true) {
      const [before, key] = [keys[this.#key - 1], keys[this.#key]];
      const isFirst = this.#key === start;
      if (!isFirst && before !== undefined && key !== undefined) {
        if (before.fingerprint >= key.fingerprint) throw new BadAnswer("keys are not in order");
      }
      this.#key += 1;
    }
    return keys.slice(start, this.#key);
  }

  end(): void {
    const { ranges, keys } = this.#answer;
    if (this.#range < ranges.length) throw new BadAnswer("a range that was not asked for");
    if (this.#key < keys.length) throw new BadAnswer("a key that was not asked for");
  }
}
