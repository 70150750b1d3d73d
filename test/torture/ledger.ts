/**
 * What a gateway has promised so far, and whether its log keeps it. A promise is a 250, an
 * `accepted` event, or an announcement to a KX peer with a number; each says that the update is
 * there from now on. The log is read beside or after the gateway, by the gateway's own code.
 */
import { existsSync } from "node:fs";
import type { Announcement } from "../../src/kx/messages.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Seq } from "../../src/update.js";

const PAGE = 10_000;

export class Ledger {
  /** Hashes that were promised; by the 250 alone for `acknowledged`. */
  readonly #promised = new Set<string>();
  #acknowledged = 0;
  readonly #numbers = new Map<string, number>();
  #read = 0;
  readonly faults: string[] = [];
  /** Promised and not there. */
  lost = 0;

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Rows that the log held when it was last read. */
  get kept(): number {
    return this.#numbers.size;
  }

  get promised(): number {
    return this.#promised.size;
  }

  answered250(hash: string): void {
    this.#acknowledged += 1;
    this.#promised.add(hash);
  }

  reported(hash: string): void {
    this.#promised.add(hash);
  }

  holds(hash: string): boolean {
    return this.#numbers.has(hash);
  }

  /** Reads on in the log and compares. With `whole` it is read from its first row. */
  audit(path: string, announced: readonly Announcement[], whole = false): void {
    if (!existsSync(path)) return this.#compare(announced);
    const log = UpdateLog.open(path, { readonly: true });
    try {
      if (whole) {
        this.#numbers.clear();
        this.#read = 0;
      }
      for (;;) {
        const page = log.range((this.#read + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
        if (page.length === 0) break;
        for (const { seq, hash } of page) {
          if (seq !== this.#read + 1) this.faults.push(`number ${this.#read + 1} is missing`);
          if (this.#numbers.has(hash)) this.faults.push(`number ${seq} repeats an update`);
          this.#numbers.set(hash, seq);
          this.#read = seq;
          if (log.body(seq) === undefined) this.faults.push(`number ${seq} has no body`);
        }
      }
      const { entries, bodies } = log.counts();
      if (entries !== this.#read || bodies !== this.#read) {
        this.faults.push(`totals say ${entries} and ${bodies} of ${this.#read}`);
      }
    } finally {
      log.close();
    }
    this.#compare(announced);
  }

  #compare(announced: readonly Announcement[]): void {
    this.lost = 0;
    for (const hash of this.#promised) if (!this.#numbers.has(hash)) this.lost += 1;
    for (const { number, hash } of announced) {
      const there = this.#numbers.get(hash);
      if (there === number) continue;
      const what = there === undefined ? "is not there" : `is number ${there}`;
      this.faults.push(`announced as number ${number}: ${what}`);
    }
  }
}
