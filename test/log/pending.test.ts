/** What a site still needs, by the rules and against a count by hand; and what it costs. */
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Site } from "../../src/log/pending.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { inTrail } from "../../src/mail/sent-trail.js";
import { arrival, seq } from "./material.js";

const OLD: Site = { name: "old", address: "pgp@old.example" };
const LOCAL: Site = { name: "[local]", address: undefined };
const NOBODY = { neighbour: undefined, transport: "kx" } as const;

function opened(): UpdateLog {
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  return log;
}

/** A log with a lane for `site` at its beginning. */
function withLane(site: Site = OLD): UpdateLog {
  const log = opened();
  log.lanes.open(site.name, site);
  return log;
}

function add(log: UpdateLog, n: number, trail: readonly string[] = [], neighbour?: string): void {
  log.append([arrival(n, { origin: { neighbour, transport: "mail" }, trail })]);
}

function moveTo(log: UpdateLog, site: Site, cursor: number, part = 0): void {
  log.lanes.save(site.name, { ...log.lanes.open(site.name), cursor: seq(cursor), part });
}

function comesBack(log: UpdateLog, site: Site, n: number): void {
  const said = { code: 550, text: "No", at: 1 };
  log.exceptions.cameBack(site.name, seq(n), said, n);
}

/** The answer by the definition, entry for entry. */
function byHand(log: UpdateLog, { name, address }: Site): number[] {
  const { cursor, part } = log.lanes.get(name) ?? { cursor: log.newest(), part: 0 };
  const entries = log.range(seq(1), seq(1e9), 1e6);
  const has = (entry: (typeof entries)[number]) =>
    entry.origin.neighbour === name ||
    (address !== undefined && inTrail(log.trails.get(entry.seq), address));
  const again = entries.filter((one) => log.exceptions.get(name, one.seq)?.state === "waiting");
  const after = entries.filter((one) => one.seq > cursor);
  const left = after.filter((one, index) => (index === 0 && part > 0) || !has(one));
  return [...again, ...left].map((one) => one.seq);
}

describe("what a site needs", () => {
  test("nothing that it has, in any spelling of its address, and nothing that it sent", () => {
    const log = withLane();
    add(log, 1);
    add(log, 2, ["PGP@OLD.example."]);
    add(log, 3, [], "old");
    add(log, 4, ["pgp@other.old.example", "other@old.example"], "third");
    expect([...log.pending.seqs(OLD)]).toEqual([1, 4]);
    expect(log.pending.of(OLD)).toEqual({ count: 2, first: 1, oldest: 1_000_001 });
    expect(log.pending.before(OLD, seq(4))).toBe(1);
  });

  test("what came back, first, and not when it is there by another way", () => {
    const log = withLane();
    for (const n of [1, 2, 3]) add(log, n);
    moveTo(log, OLD, 2);
    comesBack(log, OLD, 1);
    comesBack(log, OLD, 2);
    expect([...log.pending.seqs(OLD)]).toEqual([1, 2, 3]);
    log.trails.note([{ seq: seq(1), address: "pgp@old.example" }]);
    expect(log.pending.of(OLD)).toEqual({ count: 2, first: 2, oldest: 1_000_002 });
    expect(log.pending.before(OLD, seq(2))).toBe(0);
    expect(log.pending.before(OLD, seq(3))).toBe(1);
  });

  test("the rest of what is half sent, whoever has told of it since", () => {
    const log = withLane();
    add(log, 1);
    add(log, 2);
    moveTo(log, OLD, 0, 1);
    log.trails.note([1, 2].map((n) => ({ seq: seq(n), address: "pgp@old.example" })));
    expect([...log.pending.seqs(OLD)]).toEqual([1]);
    expect(log.pending.of(OLD)).toMatchObject({ count: 1, first: 1 });
  });

  test("everything, for a lane that stands in no trail; nothing, before there is a lane", () => {
    const log = withLane(LOCAL);
    add(log, 1, ["pgp@old.example"]);
    expect(log.pending.of(LOCAL)).toMatchObject({ count: 1, first: 1 });
    expect(log.pending.of(OLD)).toEqual({ count: 0, first: undefined, oldest: 0 });
  });

  test("an address with an international domain, as trails spell it", () => {
    const site = { name: "old", address: "pgp@xn--mnchen-3ya.example" };
    const log = withLane(site);
    add(log, 1, ["pgp@m\u00fcnchen.example"]);
    add(log, 2, ["pgp@XN--MNCHEN-3YA.example"]);
    add(log, 3);
    expect([...log.pending.seqs(site)]).toEqual([3]);
    expect(log.pending.of(site).count).toBe(1);
  });
});

test("a count that is kept follows trails, expiry and the cursor of the lane", () => {
  const log = withLane();
  for (const n of [1, 2, 3, 4, 5]) add(log, n);
  expect(log.pending.of(OLD)).toMatchObject({ count: 5, first: 1 });
  log.trails.note([{ seq: seq(3), address: "PGP@OLD.example" }]);
  expect(log.pending.of(OLD)).toMatchObject({ count: 4, first: 1 });
  log.trails.note([{ seq: seq(4), address: "other@old.example" }]);
  expect(log.pending.of(OLD)).toMatchObject({ count: 4 });
  moveTo(log, OLD, 1);
  expect(log.pending.of(OLD)).toMatchObject({ count: 3, first: 2 });
  log.retention.expire(1_000_002, { retainMs: 0, rememberMs: 0 }, 100);
  expect(log.pending.of(OLD)).toMatchObject({ count: 2, first: 4 });
});

test("a count that is kept is the count by hand, whatever happens in between", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("add"), trail: fc.boolean(), own: fc.boolean() }),
    fc.record({ kind: fc.constant("note"), at: fc.nat(9) }),
    fc.record({ kind: fc.constant("move"), at: fc.nat(6), part: fc.nat(1) }),
    fc.record({ kind: fc.constant("back"), at: fc.nat(40) }),
    fc.record({ kind: fc.constant("expire"), at: fc.nat(40) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const log = UpdateLog.open(":memory:");
      try {
        log.lanes.open("old", OLD);
        let n = 0;
        for (const one of steps) {
          if ("trail" in one) {
            n += 1;
            const trail = one.trail ? ["pgp@old.example"] : ["x@old.example"];
            add(log, n, trail, one.own ? "old" : undefined);
          } else if ("part" in one) {
            const { cursor } = log.lanes.open("old");
            moveTo(log, OLD, Math.min(log.newest(), cursor + one.at), one.part);
          } else if (one.kind === "note") {
            // One of those that it needs, of which the count is kept.
            const needed = byHand(log, OLD);
            const got = needed[one.at % Math.max(1, needed.length)] ?? 1;
            log.trails.note([{ seq: seq(got), address: "PGP@old.example" }]);
          } else if (one.kind === "back" && one.at <= log.lanes.open("old").cursor && one.at > 0) {
            comesBack(log, OLD, one.at);
          } else if (one.kind === "expire") {
            log.retention.expire(1_000_000 + one.at, { retainMs: 0, rememberMs: 0 }, 100);
          }
          const wanted = byHand(log, OLD);
          expect([...log.pending.seqs(OLD)]).toEqual(wanted);
          const { count, first } = log.pending.of(OLD);
          expect({ count, first }).toEqual({ count: wanted.length, first: wanted[0] });
          for (const [index, seq] of wanted.entries()) {
            expect(log.pending.before(OLD, seq as never)).toBe(index);
          }
        }
      } finally {
        log.close();
      }
    }),
    { numRuns: 200 },
  );
});

test("100,000 that wait are counted once, and then only what is new", () => {
  const log = withLane();
  const many = 100_000;
  for (let n = 0; n < many; n += 10_000) {
    const arrivals = Array.from({ length: 10_000 }, (_, index) =>
      arrival(n + index, { origin: NOBODY, trail: index % 2 === 0 ? ["pgp@old.example"] : [] }),
    );
    log.append(arrivals);
  }
  const timed = () => {
    const begin = performance.now();
    const { count } = log.pending.of(OLD);
    return { count, ms: performance.now() - begin };
  };
  const first = timed();
  expect(first.count).toBe(many / 2);
  const again = Array.from({ length: 100 }, timed);
  expect(again.every(({ count }) => count === many / 2)).toBe(true);
  add(log, many + 1);
  expect(log.pending.of(OLD).count).toBe(many / 2 + 1);
  const each = again.reduce((sum, { ms }) => sum + ms, 0) / again.length;
  expect(each, `${first.ms.toFixed(1)} ms, then ${each.toFixed(3)} ms`).toBeLessThan(first.ms / 20);
});
