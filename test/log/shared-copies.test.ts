/**
 * Several copies of one log, with a database that is away and answers that are lost, in random
 * order: at the end all copies are equal, the numbers are without gaps, each was given once, and
 * every update that was acknowledged is there.
 */

import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Trouble } from "../../src/errors.js";
import { inspectLog } from "../../src/log/inspect.js";
import { type Copy, expectEqual, load, loadedCopy } from "../support/copies.js";
import { MemoryShared } from "../support/memory-shared.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, HOUR_MS, seq, update } from "./material.js";

const COPIES = 3;
const T0 = 1_700_000_000_000;
const SITE = { name: "far", address: "pgp@far.example" };
const LIMITS = { retainMs: 10 * HOUR_MS, rememberMs: 30 * HOUR_MS };

const at = fc.nat(COPIES - 1);
const number = fc.integer({ min: 1, max: 25 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant("append" as const), at, number }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("trail" as const), at, number }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("lane" as const), at, number }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("exception" as const), at, number }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("forget" as const), at, number }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("repair" as const), at, number }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("expire" as const), at, number }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("follow" as const), at, number }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("away" as const), at, number }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("lose" as const), at, number }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("settle" as const), at, number }) },
);

class Site {
  readonly database = new MemoryShared();
  readonly sessions = Array.from({ length: COPIES }, () => this.database.session());
  readonly copies: readonly Copy[];
  /** Numbers by the update that they were given to. */
  readonly given = new Map<number, number>();
  #now = T0;

  constructor(directory: string) {
    this.copies = this.sessions.map((session, index) => {
      // All of them expire what is due, and the database with them.
      session.expires = true;
      return loadedCopy(session, join(directory, `copy-${index}`));
    });
  }

  /** Carries out one step; a database that is away changes nothing. */
  step({ what, at, number: n }: { what: string; at: number; number: number }): void {
    const { log } = this.copies[at] as Copy;
    const session = this.sessions[at];
    if (session === undefined) throw new Error("no session");
    this.#now += HOUR_MS / 4;
    try {
      if (what === "away") session.isAway = !session.isAway;
      else if (what === "lose") session.lostAnswers = 1;
      else if (what === "append") this.#append(log, n);
      else if (what === "trail") log.append([this.#arrival(n, `pgp@trail${n % 5}.example`)]);
      else if (what === "settle") log.settle();
      else if (what === "follow") log.catchUp(n * 100);
      else if (what === "lane") {
        const row = log.lanes.open("far", SITE);
        log.lanes.save("far", { ...row, attempt: n });
      } else if (what === "exception") {
        const about = { site: "far", seq: seq(n), fingerprint: fingerprint(n), at: this.#now };
        log.exceptions.set({ ...about, state: "refused", reason: "refused", code: 550, text: "" });
      } else if (what === "forget") log.removals.forget(fingerprint(n), "asked", this.#now, 0);
      else if (what === "repair") {
        const entry = log.entry(seq(n));
        const isLost = entry !== undefined && log.body(seq(n)) === undefined;
        if (isLost && !log.removals.isForgotten(seq(n))) {
          log.repairs.again(seq(n), new Uint8Array(entry.size), ["far"], this.#now);
        }
      } else if (what === "expire") {
        // What expires at one has expired at all; otherwise they differ until it does.
        for (const one of this.copies) {
          load(one.log);
          one.log.retention.expire(this.#now, LIMITS, 1000);
        }
      }
    } catch (error) {
      if (!(error instanceof Trouble) || error.kind !== "away") throw error;
    }
  }

  #arrival(n: number, site: string) {
    return arrival(n, { trail: [site], receivedAt: this.#now, update: update(n, 50 + n) });
  }

  #append(log: Copy["log"], n: number): void {
    const [outcome] = log.append([this.#arrival(n, "pgp@one.example")]);
    if (outcome?.seq === undefined) throw new Error("an update without a number");
    const known = this.given.get(n);
    if (known !== undefined && outcome.outcome === "duplicate") expect(outcome.seq).toBe(known);
    this.given.set(n, outcome.seq);
  }

  end(): void {
    for (const session of this.sessions) {
      session.isAway = false;
      session.lostAnswers = 0;
    }
    const [first, ...others] = this.copies as [Copy, ...Copy[]];
    for (const other of others) expectEqual(first, other);
    const seqs = first.log.range(seq(1), seq(1e9), 1e9).map((entry) => Number(entry.seq));
    const oldest = seqs[0] ?? 1;
    const live = new Set(seqs);
    for (const [n, number] of this.given) {
      if (number >= oldest && live.has(number)) {
        expect(first.log.entryByHash(update(n).hash)?.seq).toBe(number);
      }
    }
    // Entries expire in order, but what was forgotten stays as long as its tombstone.
    const whole = seqs.filter((one) => !first.log.removals.isForgotten(seq(one)));
    expect(whole).toEqual(whole.map((_, index) => (whole.at(-1) ?? 0) - whole.length + 1 + index));
    expect(this.database.newestSeq).toBe(first.log.newest());
    for (const { log } of this.copies) log.close();
  }
}

test("copies of one log come to the same, whatever happens between them", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      const directory = scratch();
      const site = new Site(directory);
      for (const one of steps) site.step(one);
      site.end();
      for (let index = 0; index < COPIES; index += 1) {
        expect(inspectLog(join(directory, `copy-${index}`)).problems).toEqual([]);
      }
    }),
    { numRuns: 20 },
  );
});
