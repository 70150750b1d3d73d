/**
 * Whom to ask for which update: each rule by itself, then random commands against a naive model of
 * the same rules, with time that moves both ways.
 */
import { describe, expect, test } from "vitest";
import type { FetchPolicy } from "../../src/kx/fetch-policy.js";
import type { FetchOutput } from "../../src/kx/fetch-tracker.js";
import { FETCH_LIMITS, FetchTracker } from "../../src/kx/fetch-tracker.js";
import type { UpdateHash } from "../../src/update.js";
import { chance, SEED } from "./chance.js";
import { NaiveTracker } from "./naive-tracker.js";

const HOUR_MS = 3_600_000;

function hash(n: number): UpdateHash {
  return n.toString(16).padStart(32, "0") as UpdateHash;
}

function tracker(seed = 1): FetchTracker {
  return new FetchTracker(chance(seed));
}

function requests(outputs: readonly FetchOutput[]): string[] {
  return outputs
    .filter((one) => one.type === "request")
    .map(({ peer, number }) => `${peer} ${number}`);
}

describe("a hash", () => {
  test("is asked for once, whoever announces it", () => {
    const t = tracker();
    for (const peer of ["a", "b", "c"]) t.announced(peer, 7, hash(1));
    expect(requests(t.advance(0)).length).toBe(1);
    t.announced("d", 7, hash(1));
    expect(t.advance(0)).toEqual([]);
    expect(t.advance(FETCH_LIMITS.progressMs - 1)).toEqual([]);
  });

  test("is asked for at each announcer equally often: the first one has no advantage", () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 3000; seed++) {
      const t = tracker(seed);
      for (const peer of ["a", "b", "c"]) t.announced(peer, 7, hash(1));
      for (const one of t.advance(0)) {
        if (one.type === "request") counts.set(one.peer, (counts.get(one.peer) ?? 0) + 1);
      }
    }
    for (const peer of ["a", "b", "c"]) expect(counts.get(peer)).toBeGreaterThan(900);
  });

  test("10,000 repeated announcements move no deadline", () => {
    const t = tracker();
    t.announced("liar", 7, hash(1));
    t.advance(0);
    for (let n = 0; n < 10_000; n++) t.announced("liar", 7, hash(1));
    expect(t.nextAt()).toBe(FETCH_LIMITS.progressMs);
    t.announced("honest", 9, hash(1));
    const outputs = t.advance(FETCH_LIMITS.progressMs);
    expect(outputs[0]).toEqual({ type: "timed-out", peer: "liar", hash: hash(1) });
    expect(requests(outputs)).toEqual(["honest 9"]);
  });

  test("is asked for by its latest number", () => {
    const t = tracker();
    t.announced("a", 7, hash(1));
    t.announced("a", 8, hash(1));
    expect(requests(t.advance(0))).toEqual(["a 8"]);
    t.announced("a", 9, hash(1));
    t.failed("a", hash(1), 0);
    expect(requests(t.advance(60_000))).toEqual(["a 9"]);
  });

  test("goes to the next announcer at once after an ERROR or a wrong body", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.announced("b", 2, hash(1));
    const [first = ""] = requests(t.advance(0));
    const peer = first.slice(0, 1);
    expect(t.failed(peer, hash(1), 5)).toEqual([]);
    expect(requests(t.advance(5))).toEqual([peer === "a" ? "b 2" : "a 1"]);
  });

  test("rests 1, 5 and 30 minutes when all have failed, and is then lost", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    let now = 0;
    for (const wait of FETCH_LIMITS.retryMs) {
      expect(requests(t.advance(now))).toEqual(["a 1"]);
      expect(t.failed("a", hash(1), now)).toEqual([]);
      expect(t.advance(now + wait - 1)).toEqual([]);
      expect(t.nextAt()).toBe(now + wait);
      now += wait;
    }
    t.advance(now);
    expect(t.failed("a", hash(1), now)).toEqual([{ type: "lost", hash: hash(1), peers: ["a"] }]);
    expect([t.tracked, t.inFlight, t.nextAt()]).toEqual([0, 0, undefined]);
  });

  test("a new announcer is asked while it rests, and cannot use up the others' turns", () => {
    const t = tracker();
    t.announced("honest", 1, hash(1));
    t.advance(0);
    t.failed("honest", hash(1), 0);
    for (let n = 0; n < 100; n++) {
      t.announced("liar", 2, hash(1));
      expect(requests(t.advance(n))).toEqual(["liar 2"]);
      expect(t.failed("liar", hash(1), n)).toEqual([]);
      expect(t.disconnected("liar", n)).toEqual([]);
    }
    expect(requests(t.advance(60_000))).toEqual(["honest 1"]);
  });

  test("is lost at once when the only peer that had it does not have it any more", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.announced("b", 2, hash(1));
    t.advance(0);
    expect(t.gone("a", hash(1), 0)).toEqual([]);
    t.advance(0);
    expect(t.gone("b", hash(1), 0)).toEqual([{ type: "lost", hash: hash(1), peers: ["b"] }]);
  });

  test("that has come is asked for no more, and frees its place", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.announced("b", 1, hash(1));
    t.advance(0);
    t.settled(hash(1));
    expect([t.inFlight, t.tracked, t.trackedAt("a"), t.advance(HOUR_MS)]).toEqual([0, 0, 0, []]);
    expect(t.failed("a", hash(1), 0)).toEqual([]);
  });
});

describe("a peer", () => {
  test("that moves has time, but no more than 2 minutes a request", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.advance(0);
    for (let now = 5000; now <= 115_000; now += 5000) {
      t.progressed("a", now);
      expect(t.advance(now)).toEqual([]);
    }
    t.progressed("a", 119_000);
    expect(t.nextAt()).toBe(FETCH_LIMITS.requestMs);
    expect(t.advance(120_000)).toMatchObject([{ type: "timed-out" }]);
  });

  test("that is gone takes its announcements along and frees its requests", () => {
    const t = tracker();
    for (let n = 0; n < 20; n++) t.announced("a", n, hash(n));
    t.announced("b", 100, hash(3));
    t.advance(0);
    expect(t.disconnected("a", 0)).toEqual([]);
    expect([t.tracked, t.trackedAt("a"), t.inFlightAt("a")]).toEqual([1, 0, 0]);
    t.advance(0);
    expect(t.inFlightAt("b")).toBe(1);
  });

  test("has 8 requests in flight, one more for each success, half for a failure, 1 to 128", () => {
    const t = tracker();
    for (let n = 0; n < 500; n++) t.announced("a", n, hash(n));
    t.advance(0);
    expect(t.inFlightAt("a")).toBe(8);
    const deliver = () => {
      const done = requests(t.advance(0));
      for (const one of done) {
        t.delivered("a", 1000);
        t.settled(hash(Number(one.slice(2))));
      }
    };
    for (let n = 0; n < 8; n++) {
      t.delivered("a", 1000);
      t.settled(hash(n));
    }
    for (let n = 0; n < 4; n++) deliver();
    t.advance(0);
    expect(t.inFlightAt("a")).toBe(128);
    const [overdue] = [t.advance(10_000).filter(({ type }) => type === "timed-out")];
    expect(overdue.length).toBe(128);
    expect(t.inFlightAt("a")).toBe(1);
  });

  test("has at most 2 MiB in flight by the size of what it sent", () => {
    const t = tracker();
    for (let n = 0; n < 40; n++) t.delivered("a", 1024 * 1024);
    for (let n = 0; n < 40; n++) t.announced("a", n, hash(n));
    t.advance(0);
    expect(t.inFlightAt("a")).toBe(2);
    for (let n = 0; n < 60; n++) t.delivered("b", 8 * 1024 * 1024);
    for (let n = 50; n < 60; n++) t.announced("b", n, hash(n));
    t.advance(0);
    expect(t.inFlightAt("b")).toBe(1);
  });

  test("with all others has at most 256 in flight", () => {
    const t = tracker();
    for (let p = 0; p < 10; p++) {
      for (let n = 0; n < 60; n++) t.delivered(`p${p}`, 1000);
      for (let n = 0; n < 100; n++) t.announced(`p${p}`, n, hash(p * 100 + n));
    }
    t.advance(0);
    expect(t.inFlight).toBe(256);
  });

  test.each([4999, 5000, 5001])("announces %i hashes: 5000 are kept", (count) => {
    const t = tracker();
    for (let n = 0; n < 4990; n++) expect(t.announced("a", n, hash(n))).toBe(true);
    const batch = Array.from({ length: count - 4990 }, (_, n) =>
      t.announced("a", n, hash(4990 + n)),
    );
    expect(batch.filter((kept) => kept).length).toBe(Math.min(count, 5000) - 4990);
    // The overflow is what is refused, not what was there, and others are not concerned.
    expect(t.announced("a", 0, hash(0))).toBe(true);
    expect(t.announced("b", 0, hash(9999))).toBe(true);
    expect(t.trackedAt("a")).toBe(Math.min(count, 5000));
    t.settled(hash(17));
    expect(t.announced("a", 0, hash(6000))).toBe(true);
  });
});

describe("trouble of our own", () => {
  test("is no failure of the peer's: it is asked again, 5 s later, for ever", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    for (let now = 0; now < HOUR_MS; now += 5000) {
      expect(requests(t.advance(now))).toEqual(["a 1"]);
      t.deferred("a", hash(1), now);
      expect(t.advance(now)).toEqual([]);
      expect(t.nextAt()).toBe(now + 5000);
    }
    expect(t.tracked).toBe(1);
  });

  test("keeps all requests back for that time", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.advance(0);
    t.deferred("a", hash(1), 0);
    t.announced("b", 2, hash(2));
    expect(t.advance(4999)).toEqual([]);
    expect(requests(t.advance(5000)).length).toBe(2);
  });
});

describe("an update that is being stored", () => {
  test("is requested from nobody, and its request is not overdue", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.advance(0);
    expect(t.storing("a", hash(1))).toBe(true);
    t.announced("b", 2, hash(1));
    expect(t.advance(HOUR_MS)).toEqual([]);
    expect([t.inFlightAt("a"), t.nextAt()]).toEqual([1, undefined]);
    t.settled(hash(1));
    expect([t.inFlightAt("a"), t.tracked, t.advance(HOUR_MS)]).toEqual([0, 0, []]);
  });

  test("is not lost and not requested when its peer goes, or says that it is gone", () => {
    for (const leave of ["disconnected", "gone"] as const) {
      const t = tracker();
      t.announced("a", 1, hash(1));
      t.advance(0);
      t.storing("a", hash(1));
      const left = leave === "gone" ? t.gone("a", hash(1), 0) : t.disconnected("a", 0);
      expect([left, t.tracked]).toEqual([[], 1]);
      t.announced("b", 2, hash(1));
      expect(t.advance(1000)).toEqual([]);
      expect(t.deferred("a", hash(1), 1000)).toEqual([]);
      expect(requests(t.advance(6000))).toEqual(["b 2"]);
    }
  });

  test("stays so when all who announced it have failed before and their rest ends", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.advance(0);
    t.failed("a", hash(1), 0);
    expect(t.storing("a", hash(1))).toBe(true);
    expect(t.advance(2 * HOUR_MS)).toEqual([]);
    t.deferred("a", hash(1), 2 * HOUR_MS);
    expect(requests(t.advance(2 * HOUR_MS + 5000))).toEqual(["a 1"]);
  });

  test("comes from one peer: the same from another is not stored as well", () => {
    const t = tracker();
    t.announced("a", 1, hash(1));
    t.advance(0);
    t.announced("b", 2, hash(1));
    expect(requests(t.advance(10_000))).toEqual(["b 2"]);
    expect([t.storing("a", hash(1)), t.storing("b", hash(1))]).toEqual([true, false]);
    expect(t.advance(HOUR_MS)).toEqual([]);
    t.deferred("a", hash(1), HOUR_MS);
    expect(t.inFlight).toBe(0);
    expect(requests(t.advance(HOUR_MS + 5000))).toHaveLength(1);
  });
});

const NONE: ReadonlyMap<string, FetchPolicy> = new Map();
const hours = (from: number, to: number) => ({ fromMs: from * HOUR_MS, toMs: to * HOUR_MS });
const rate = { count: 20_000, periodMs: HOUR_MS };
/** Of four peers three have wishes. */
const SOME: ReadonlyMap<string, FetchPolicy> = new Map([
  ["p0", { rate: undefined, quietHours: hours(8, 18) }],
  ["p1", { rate, quietHours: undefined }],
  ["p2", { rate, quietHours: hours(22, 6) }],
]);

describe("a peer with manners", () => {
  const announced = (fetchPolicy: FetchPolicy, heardAt = 0) => {
    const t = new FetchTracker(chance(1), new Map([["a", fetchPolicy]]));
    t.announced("a", 1, hash(1), heardAt);
    return t;
  };

  test("is asked when its quiet hours are over, in UTC, also over midnight", () => {
    const t = announced({ rate: undefined, quietHours: hours(22, 6) });
    const date = Date.parse("2026-01-01T23:00Z");
    expect(t.advance(0, date)).toEqual([]);
    expect(t.heldAt("a")).toEqual({ why: "quiet-hours", until: 7 * HOUR_MS });
    expect(t.nextAt()).toBe(7 * HOUR_MS);
    expect(t.advance(7 * HOUR_MS - 1, date + 7 * HOUR_MS - 1)).toEqual([]);
    expect(requests(t.advance(7 * HOUR_MS, date + 7 * HOUR_MS))).toEqual(["a 1"]);
    expect(t.heldAt("a")).toBeUndefined();
  });

  test("is asked for what is 48 h old whatever the hour, and at that moment", () => {
    const t = announced({ rate: undefined, quietHours: hours(1, 23) }, -40 * HOUR_MS);
    expect(t.advance(0, HOUR_MS)).toEqual([]);
    expect(t.nextAt()).toBe(8 * HOUR_MS);
    t.announced("a", 2, hash(2), 0);
    expect(requests(t.advance(8 * HOUR_MS, 9 * HOUR_MS))).toEqual(["a 1"]);
  });

  test("is asked for as much as its budget has left, by the size of what it sent", () => {
    const t = announced({ rate: { count: 10_000, periodMs: HOUR_MS }, quietHours: undefined });
    for (let n = 2; n < 50; n++) t.announced("a", n, hash(n));
    // Five of 2048 bytes, the size that is expected when none has come.
    expect(t.advance(0).length).toBe(5);
    for (let n = 1; n <= 5; n++) {
      t.took("a", 3000, 0);
      t.settled(hash(n));
    }
    // What came is 5000 over it: half an hour and what one byte takes.
    expect(t.advance(0)).toEqual([]);
    expect(t.heldAt("a")).toEqual({ why: "fetch-rate", until: HOUR_MS / 2 + 360 });
    expect(t.advance(HOUR_MS / 2)).toEqual([]);
    expect(t.advance(HOUR_MS / 2 + 360).length).toBe(1);
  });

  test("owes no more than one period, however much came late", () => {
    const t = announced({ rate: { count: 10_000, periodMs: HOUR_MS }, quietHours: undefined });
    t.took("a", 1_000_000, 0);
    expect(t.advance(0)).toEqual([]);
    expect(t.heldAt("a")?.until).toBe(HOUR_MS + 360);
  });
});

/** Random commands to both; invariants after each. Returns how often what happened. */
function compare(
  seed: number,
  peers: number,
  hashes: number,
  commands: number,
  fetchPolicy = NONE,
) {
  const random = chance(seed);
  const pick = (n: number) => Math.floor(random() * n);
  const real = new FetchTracker(random, fetchPolicy);
  const model = new NaiveTracker(fetchPolicy);
  const seen = { request: 0, "timed-out": 0, lost: 0, deferred: 0, backwards: 0 };
  const sorted = (outputs: readonly FetchOutput[]) =>
    outputs
      .map((one) => JSON.stringify(one, (_, v) => (Array.isArray(v) ? [...v].sort() : v)))
      .sort();
  let now = 0;
  let latest = 0;
  for (let command = 0; command < commands; command++) {
    const peer = `p${pick(peers)}`;
    const h = hash(pick(hashes));
    const number = pick(1000);
    let got: FetchOutput[] = [];
    let expected: FetchOutput[] = [];
    const kind = random();
    if (kind < 0.35) {
      const taken = real.announced(peer, number, h, latest);
      if (taken !== model.announced(peer, number, h, latest))
        throw new Error("announced: other answer");
    } else if (kind < 0.45) {
      real.took(peer, number * 10, now);
      model.took(peer, number * 10, now);
      real.delivered(peer, number * 10);
      model.delivered(peer, number * 10);
      real.settled(h);
      model.settled(h);
    } else if (kind < 0.6) {
      got = real.failed(peer, h, now);
      expected = model.failed(peer, h, now);
    } else if (kind < 0.64) {
      got = real.gone(peer, h, now);
      expected = model.gone(peer, h, now);
    } else if (kind < 0.65) {
      real.deferred(peer, h, now);
      model.deferred(peer, h, now);
      seen.deferred += 1;
    } else if (kind < 0.69) {
      real.progressed(peer, now);
      model.progressed(peer, now);
    } else if (kind < 0.7) {
      got = real.disconnected(peer, now);
      expected = model.disconnected(peer, now);
    } else {
      const jump = random();
      if (jump < 0.01 && fetchPolicy.size > 0) now += pick(50 * HOUR_MS);
      else if (jump < 0.1) now += pick(40 * 60_000);
      else if (jump < 0.2) now = Math.max(0, now - pick(120_000));
      else now += pick(8000);
      if (jump >= 0.1 && jump < 0.2) seen.backwards += 1;
      latest = Math.max(latest, now);
      // The wall clock goes its own ways.
      const date = now + Math.floor(command / 1000) * 1_234_567;
      got = real.advance(now, date);
      expected = model.expire(now, date);
      for (const one of got) if (one.type === "request") model.requested(one, now);
      const [left] = model.askable();
      if (left !== undefined) throw new Error(`${left.peer} could be asked for ${left.hash}`);
      if ((real.nextAt() ?? Infinity) > model.nextAt()) throw new Error("sleeps too long");
    }
    for (const { type } of got) seen[type] += 1;
    const verdicts = got.filter(({ type }) => type !== "request");
    if (sorted(verdicts).join() !== sorted(expected).join()) {
      expect(sorted(verdicts), `command ${command}`).toEqual(sorted(expected));
    }
    if (real.inFlightAt(peer) !== model.inFlight(peer)) throw new Error("other requests in flight");
    if (real.trackedAt(peer) !== model.tracked(peer)) throw new Error("other hashes tracked");
    if (real.inFlight > FETCH_LIMITS.inFlight) throw new Error("too many in flight");
    if (command % 100 === 0) expect(real.tracked).toBe(model.hashes);
  }
  return { ...seen, late: model.late };
}

describe("against a naive model", () => {
  test(`100,000 random commands, 16 peers and 16 hashes, KXGW_SEED=${SEED}`, () => {
    const { late: _, ...seen } = compare(SEED, 16, 16, 100_000);
    for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(20);
  });

  test(`10,000 random commands, 6 peers and 600 hashes, KXGW_SEED=${SEED}`, () => {
    const seen = compare(SEED + 1, 6, 600, 10_000);
    expect(seen.request).toBeGreaterThan(1000);
  });

  test(`10,000 random commands to peers with quiet hours and budgets, KXGW_SEED=${SEED}`, () => {
    const seen = compare(SEED + 2, 4, 40, 10_000, SOME);
    expect(seen.request).toBeGreaterThan(1000);
    expect(seen.late).toBeGreaterThan(5);
  });
});
