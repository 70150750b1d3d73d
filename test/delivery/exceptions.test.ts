/**
 * What a site does not take: without time and network, each rule of the lane for failures of an
 * update, refusals, what is withheld, and how it is opened again.
 */
import { describe, expect, test } from "vitest";
import { admit } from "../../src/admit.js";
import type { Outcome } from "../../src/delivery/relay.js";
import { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import type { Policy } from "../../src/policy.js";
import { CARRY_ALL } from "../../src/policy.js";
import type { Schedule } from "../../src/schedule.js";
import type { Seq } from "../../src/update.js";
import { bytes } from "../mail/fixtures.js";
import { claim } from "../openpgp/material.js";
import { Signer } from "../openpgp/signer.js";
import type { Answer } from "./driven-lane.js";
import { DrivenLane, later, refused } from "./driven-lane.js";
import { ADDRESS, updates } from "./stage.js";

/** The default of `outbound.retry`. */
const DEFAULT: Schedule = [60_000, 300_000, 300_000, 3_600_000];
const HOUR = 3_600_000;
/** After so many failures an update goes alone. */
const PACK_TRIES = 3;

const hash = (n: number) => updates[n]?.hash;
const ofUpdate = (words = "451 4.3.0 Scan failed"): Outcome => {
  return { kind: "temporary", about: "update", code: Number(words.slice(0, 3)), words };
};
/** Says something to the mails that hold one of these updates, and takes the others. */
const onlyFor =
  (numbers: readonly number[], outcome: Outcome): Answer =>
  ({ raw }) => {
    const isPack = /^Message-ID: <\w+\.\d+\.p/m.test(raw);
    const held = isPack ? admit([bytes(raw)]).updates.map((one) => one.hash) : [];
    const holds = (n: number) => raw.includes(`<${hash(n)}.`) || held.some((h) => h === hash(n));
    return numbers.some(holds) ? outcome : undefined;
  };

function states(site: DrivenLane) {
  return site.log.exceptions.counts("old");
}

describe("an update that fails for itself", () => {
  test("is set aside after three tries, and those behind it go within seconds", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = onlyFor([0], ofUpdate());
    for (let n = 0; n < 5; n += 1) site.add(n);
    site.pass(10_000);
    expect(site.hashes).toEqual([1, 2, 3, 4].map(hash));
    // Three alone and one together with those behind it.
    expect(site.seen).toHaveLength(3 + 1 + 4);
    expect(site.lane.status()).toMatchObject({ backlog: 1, attempt: 0, refusesAll: false });
    expect(site.diagnostics.all("set-aside")).toMatchObject([{ seq: 1, code: 451, attempt: 3 }]);
    expect(site.log.exceptions.get("old", 1 as Seq)).toMatchObject({
      ...{ state: "waiting", reason: "failed", code: 451, tries: 3 },
    });
  });

  test("has a schedule of its own, delays nobody, and is never given up", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = onlyFor([0], ofUpdate());
    site.add(0);
    site.pass(24 * HOUR);
    const tries = site.seen.length;
    expect(tries).toBeGreaterThan(20);
    expect(tries).toBeLessThan(3 + 3 + 25);
    site.add(1);
    expect(site.hashes).toEqual([hash(1)]);
    expect(states(site)).toEqual({ waiting: 1, refused: 0, withheld: 0 });
    site.answer = () => undefined;
    site.pass(HOUR);
    expect(site.hashes).toEqual([hash(1), hash(0)]);
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
  });

  test("is not tried without end when the clock was set back since it was set aside", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = onlyFor([0], ofUpdate());
    site.add(0);
    site.pass(20_000);
    expect(states(site).waiting).toBe(1);
    site.setBackMs = 5 * HOUR;
    site.pass(3 * HOUR);
    expect(site.seen.length).toBeLessThan(3 + 3 + 4);
    expect(states(site).waiting).toBe(1);
  });

  test("is not what is wrong when the next one fails too: one at a time, by the schedule", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = () => ofUpdate("452 4.3.1 Disk full");
    for (let n = 0; n < 6; n += 1) site.add(n);
    site.pass(11_000);
    // All together, three of the first and one of the second.
    expect(site.seen).toHaveLength(5);
    expect(site.lane.status().attempt).toBeGreaterThan(0);
    site.pass(60_000);
    expect(site.seen).toHaveLength(6);
    site.answer = () => undefined;
    site.pass(301_000);
    expect(site.hashes.toSorted()).toEqual([0, 1, 2, 3, 4, 5].map((n) => hash(n)).toSorted());
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
    expect(site.diagnostics.all("undelivered")).toEqual([]);
  });

  test("several bad ones among good ones: the good ones go, the bad ones wait", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = onlyFor([1, 2, 4], ofUpdate());
    for (let n = 0; n < 8; n += 1) site.add(n);
    site.pass(2 * 60_000);
    expect(site.hashes).toEqual([0, 3, 5, 6, 7].map(hash));
    expect(states(site).waiting).toBe(3);
  });

  test("a failure of the neighbour tries nothing else, and sets nothing aside", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = () => later("421 4.3.2 Down");
    for (let n = 0; n < 3; n += 1) site.add(n);
    site.pass(24 * HOUR);
    const tried = site.seen.map(({ raw }) => /^Message-ID: <\w+\.(\d+)\./m.exec(raw)?.[1]);
    // Alone, together with the others while they wait, and alone again.
    expect(new Set(tried.slice(PACK_TRIES))).toEqual(new Set(["1"]));
    expect(states(site).waiting).toBe(0);
    site.answer = () => undefined;
    site.pass(HOUR);
    expect(site.hashes).toEqual([0, 1, 2].map(hash));
  });

  test("over a restart it is where it was", () => {
    const first = new DrivenLane({ retry: DEFAULT }).start();
    first.answer = onlyFor([0], ofUpdate());
    first.add(0);
    first.add(1);
    first.pass(10_000);
    expect(first.hashes).toEqual([hash(1)]);
    expect(first.stop()).toBe(true);
    const site = new DrivenLane({ retry: DEFAULT, after: first }).start();
    site.pass(61_000);
    expect(site.hashes).toEqual([hash(0)]);
  });
});

describe("refusals", () => {
  test("ten in a row, then a good one: seconds, with the default schedule", () => {
    const site = new DrivenLane({ retry: DEFAULT });
    const bad = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    site.answer = onlyFor(bad, refused());
    for (let n = 0; n <= 10; n += 1) site.add(n);
    site.start();
    site.pass(3000);
    expect(site.hashes).toEqual([hash(10)]);
    expect(states(site)).toEqual({ waiting: 0, refused: 10, withheld: 0 });
    expect(site.diagnostics.all("undelivered")).toHaveLength(10);
  });

  const manyRefused = () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    let isSick = true;
    site.answer = () => (isSick ? refused("554 5.3.0 Out of order") : undefined);
    const wanted = updates.length;
    for (let n = 0; n < wanted; n += 1) site.add(n);
    return { site, wanted, heal: () => (isSick = false) };
  };

  test("of everything: one at a time, told, and opened again when one is taken", () => {
    const { site, wanted, heal } = manyRefused();
    expect(wanted).toBeGreaterThan(20);
    expect(site.seen).toHaveLength(20);
    expect(site.diagnostics.all("refuses-all")).toMatchObject([{ neighbour: "old", updates: 20 }]);
    expect(site.lane.status()).toMatchObject({ refusesAll: true, attempt: 1 });
    heal();
    site.pass(60_000);
    expect(site.hashes.toSorted()).toEqual(updates.map((one) => one.hash).toSorted());
    expect(site.lane.status()).toMatchObject({ refusesAll: false, backlog: 0 });
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
    expect(site.diagnostics.all("reopened")).toMatchObject([{ updates: 20 }]);
  });

  test("that name the key, however many: the site is not down, and nothing waits", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    const last = updates.length - 1;
    const ignored: Outcome = { kind: "refused", code: 200, words: "ignored", isOfKey: true };
    site.answer = ({ raw }) => (raw.includes(`<${hash(last)}.`) ? undefined : ignored);
    for (let n = 0; n <= last; n += 1) site.add(n);
    site.pass(3000);
    expect(last).toBeGreaterThan(20);
    expect(site.hashes).toEqual([hash(last)]);
    expect(site.diagnostics.all("refuses-all")).toEqual([]);
    expect(states(site)).toEqual({ waiting: 0, refused: last, withheld: 0 });
  });

  test("that come again after that are not opened a second time", () => {
    const { site } = manyRefused();
    site.answer = onlyFor(
      Array.from({ length: 20 }, (_, n) => n),
      refused(),
    );
    site.pass(10 * HOUR);
    expect(states(site).refused).toBe(20);
    const tries = site.seen.length;
    site.pass(100 * HOUR);
    expect(site.seen).toHaveLength(tries);
  });
});

describe("what comes again", () => {
  test("the very update, an hour after it was refused and not before, however often", () => {
    const site = new DrivenLane().start();
    site.answer = () => refused();
    const seq = site.add(0);
    const again = () => {
      const { fingerprint } = updates[0] ?? {};
      if (fingerprint === undefined) throw new Error("no update");
      site.log.cameAgain([{ fingerprint, seq, body: undefined, from: "third" }], site.clock.now());
    };
    again();
    again();
    expect(site.seen).toHaveLength(1);
    site.pass(HOUR - 1);
    expect(site.seen).toHaveLength(1);
    site.pass(1);
    expect(site.seen).toHaveLength(2);
    expect(states(site).refused).toBe(1);
    // Nothing came since: nothing is sent.
    site.pass(5 * HOUR);
    expect(site.seen).toHaveLength(2);
    site.answer = () => undefined;
    again();
    expect(site.hashes).toEqual([hash(0)]);
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
  });

  /** The first update and something of its key, which is less than the update has. */
  function forms() {
    const [own] = updates;
    if (own === undefined) throw new Error("no update");
    const less = own.body.subarray(0, primaryLength(own.body));
    const comes = (site: DrivenLane, body = less) => {
      const came = { fingerprint: own.fingerprint, seq: undefined, from: "third", body };
      site.log.cameAgain([came], site.clock.now());
    };
    const isOwn = (raw: string) => raw.includes(`<${own.hash}.`);
    const sent = (site: DrivenLane) => {
      return site.seen.map(({ raw }) => (isOwn(raw) ? "own" : "other"));
    };
    return { own, comes, isOwn, sent };
  }

  test("in another form, at once; what it covers is settled, the rest goes with it, once", () => {
    const { own, comes, isOwn, sent } = forms();
    const site = new DrivenLane().start();
    site.answer = ({ raw }) => (isOwn(raw) ? refused() : undefined);
    site.add(0);
    // Less than the update has: it is taken and does not settle it.
    comes(site);
    expect(sent(site)).toEqual(["own", "other", "own"]);
    expect(states(site)).toEqual({ waiting: 0, refused: 1, withheld: 0 });
    site.pass(5 * HOUR);
    expect(site.seen).toHaveLength(3);
    site.answer = () => undefined;
    comes(site, own.body);
    expect(site.seen).toHaveLength(4);
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
  });

  test("in another form that is refused as well: the update keeps its turn", () => {
    const { own, comes, isOwn, sent } = forms();
    const site = new DrivenLane().start();
    site.answer = () => refused();
    site.add(0);
    // More of the key is known, so that the update is due; before that another form comes.
    site.log.exceptions.completed(own.fingerprint, site.clock.now());
    site.log.exceptions.completed(own.fingerprint, site.clock.now());
    expect(sent(site)).toEqual(["own", "own"]);
    expect(states(site).waiting).toBe(1);
    comes(site);
    site.answer = ({ raw }) => (isOwn(raw) ? undefined : refused());
    site.pass(HOUR);
    expect(sent(site)).toEqual(["own", "own", "other", "own"]);
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
  });

  test("in other forms without end does not keep the update from its turn", () => {
    const { comes, sent } = forms();
    const site = new DrivenLane().start();
    site.answer = () => refused();
    site.add(0);
    for (let hours = 0; hours < 5; hours += 1) {
      comes(site);
      site.pass(HOUR / 2);
      comes(site);
      site.pass(HOUR / 2);
    }
    const turns = sent(site).slice(1);
    expect(turns.filter((form) => form === "own")).toHaveLength(turns.length / 2);
    // An offer an hour and the update with it.
    expect(turns.length).toBeLessThanOrEqual(2 * 6);
  });

  test("in another form while the update is on its way: in an hour", () => {
    const { own, comes, sent } = forms();
    const site = new DrivenLane().start();
    site.answer = () => (site.seen.length === 2 ? "hold" : refused());
    site.add(0);
    site.log.exceptions.completed(own.fingerprint, site.clock.now());
    comes(site);
    site.finish(refused());
    expect(sent(site)).toEqual(["own", "own"]);
    site.pass(HOUR);
    expect(sent(site)).toEqual(["own", "own", "other", "own"]);
    site.pass(5 * HOUR);
    expect(site.seen).toHaveLength(4);
    expect(states(site)).toEqual({ waiting: 0, refused: 1, withheld: 0 });
  });

  test("of what was skipped: what came goes, the skipped update does not", () => {
    const { comes, sent } = forms();
    const site = new DrivenLane().start();
    site.answer = () => later();
    site.add(0);
    expect(site.lane.skip(1)).toBe(true);
    site.answer = () => refused();
    site.wake();
    comes(site);
    site.pass(5 * HOUR);
    expect(sent(site)).toEqual(["own", "other"]);
    expect(site.log.exceptions.get("old", 1 as Seq)).toMatchObject({
      ...{ state: "withheld", reason: "skipped" },
    });
  });

  test("a self-signature that comes while the update is refused: it goes again at once", () => {
    const site = new DrivenLane().start();
    const ann = new Signer(1);
    const name = ann.userId("Ann");
    const update = (octets: Uint8Array) => admit([bytes(encodeArmor(octets))]).updates[0];
    const own = update(ann.key(name, ann.over(name, { at: 1_700_000_000 })));
    site.answer = () => {
      if (own === undefined) throw new Error("no update");
      const { fingerprint, selfSigned } = own;
      site.log.skeletons.remember(fingerprint, selfSigned, site.clock.now());
      return site.seen.length === 1 ? refused() : undefined;
    };
    site.put(update(ann.key(name, claim(0x10, 1_700_000_001, "A1".repeat(8)))));
    site.pass(1000);
    expect(site.seen).toHaveLength(2);
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 0 });
  });

  test("from the site itself settles it, and nothing is sent", () => {
    const site = new DrivenLane().start();
    site.answer = () => refused();
    site.add(0);
    const { fingerprint, body } = updates[0] ?? {};
    if (fingerprint === undefined || body === undefined) throw new Error("no update");
    site.log.cameAgain([{ fingerprint, seq: undefined, body, from: "old" }], site.clock.now());
    expect(site.seen).toHaveLength(1);
    expect(states(site).refused).toBe(0);
  });
});

describe("what is withheld", () => {
  function blocking() {
    const blocked = new Set<string>();
    const reason = { reason: "asked", until: undefined, allowRevocation: false };
    const rules: Pick<Policy, "blockOn" | "withholds"> = {
      blockOn: (fingerprint) => (blocked.has(fingerprint) ? reason : undefined),
      withholds: ({ fingerprint }) => (blocked.has(fingerprint) ? "blocked" : undefined),
    };
    return { blocked, rules: { ...CARRY_ALL, ...rules } };
  }

  test("for a block is sent when the block is taken back", () => {
    const { blocked, rules } = blocking();
    const site = new DrivenLane({ rules }).start();
    const { fingerprint } = updates[0] ?? {};
    if (fingerprint === undefined) throw new Error("no update");
    blocked.add(fingerprint);
    site.add(0);
    site.add(1);
    expect(site.hashes).toEqual([hash(1)]);
    expect(site.log.exceptions.get("old", 1 as Seq)).toMatchObject({
      ...{ state: "withheld", reason: "blocked" },
    });
    blocked.delete(fingerprint);
    site.log.exceptions.unblocked(fingerprint, site.clock.now());
    expect(site.hashes).toEqual([hash(1), hash(0)]);
    expect(states(site).withheld).toBe(0);
  });

  test("a revocation leaves in spite of a block, what was offered of the key does not", () => {
    const { blocked, rules } = blocking();
    const site = new DrivenLane({ rules: { ...rules, withholds: () => undefined } }).start();
    const ann = new Signer(1);
    const name = ann.userId("Ann");
    const signed = ann.over(name, { at: 1_700_000_000 });
    const theirs = claim(0x10, 1_700_000_001, "A1".repeat(8));
    const update = (octets: Uint8Array) => admit([bytes(encodeArmor(octets))]).updates[0];
    site.answer = () => refused();
    site.put(update(ann.key(name, signed)));
    site.put(update(ann.key(name, theirs)));
    const whole = update(ann.key(name, signed, theirs));
    if (whole === undefined) throw new Error("no update");
    const { fingerprint, body } = whole;
    blocked.add(fingerprint);
    site.answer = () => undefined;
    site.log.cameAgain([{ fingerprint, seq: undefined, body, from: "third" }], site.clock.now());
    site.pass(2 * HOUR);
    expect(site.hashes).toEqual([site.log.entry(2 as Seq)?.hash]);
    // The site did not get the other update, which the offer held.
    expect(site.log.exceptions.get("old", 1 as Seq)?.state).toBe("refused");
  });

  test("for a block that ends by itself is sent within an hour", () => {
    const { blocked, rules } = blocking();
    const site = new DrivenLane({ rules }).start();
    const { fingerprint } = updates[0] ?? {};
    if (fingerprint === undefined) throw new Error("no update");
    blocked.add(fingerprint);
    site.add(0);
    site.pass(HOUR);
    expect(site.hashes).toEqual([]);
    blocked.delete(fingerprint);
    site.pass(HOUR);
    expect(site.hashes).toEqual([hash(0)]);
    expect(site.diagnostics.all("reopened")).toMatchObject([{ reason: "the block has ended" }]);
  });

  test("by the operator is sent when the operator asks for it, or when its key comes again", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = () => later();
    site.add(0);
    expect(site.lane.skip(1)).toBe(true);
    expect(site.lane.skip(1)).toBe(false);
    site.answer = () => undefined;
    site.wake();
    expect(site.hashes).toEqual([]);
    expect(site.lane.reopen(1)).toBe(1);
    site.wake();
    expect(site.hashes).toEqual([hash(0)]);
    expect(site.lane.reopen("all")).toBe(0);
  });

  test("one that waits apart can be skipped as well", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = onlyFor([0], ofUpdate());
    site.add(0);
    site.add(1);
    site.pass(10_000);
    expect(site.hashes).toEqual([hash(1)]);
    const tries = site.seen.length;
    expect(site.lane.skip(1)).toBe(true);
    site.pass(10 * HOUR);
    expect(site.seen).toHaveLength(tries);
    expect(states(site)).toEqual({ waiting: 0, refused: 0, withheld: 1 });
  });
});

describe("an update in several parts", () => {
  const isFirst = (raw: string) => /^Message-ID: <\w+\.\d+\.1@/m.test(raw);
  const [large = -1] = [...updates.keys()].filter((n) => (updates[n]?.body.length ?? 0) > 6000);

  test("of which one part is refused stays on record when another one fails at first", () => {
    const site = new DrivenLane({ maxMailBytes: 3000 }).start();
    site.answer = ({ raw }) => {
      if (isFirst(raw)) return refused();
      return site.seen.length === 2 ? later() : undefined;
    };
    site.add(large);
    site.pass(HOUR);
    expect(site.taken.length).toBeGreaterThan(0);
    expect(states(site)).toEqual({ waiting: 0, refused: 1, withheld: 0 });
  });

  test("sent again, with a restart after one that is refused: all others are sent", () => {
    const site = new DrivenLane({ maxMailBytes: 3000 }).start();
    site.answer = () => refused();
    site.add(large);
    const parts = site.seen.length;
    expect(parts).toBeGreaterThan(2);
    site.answer = ({ raw }) => (isFirst(raw) ? refused() : "hold");
    expect(site.lane.reopen("all")).toBe(1);
    site.wake();
    site.lane.stop();
    site.finish(later());
    expect(states(site)).toEqual({ waiting: 1, refused: 0, withheld: 0 });
    const next = new DrivenLane({ maxMailBytes: 3000, after: site });
    next.answer = ({ raw }) => (isFirst(raw) ? refused() : undefined);
    next.start();
    expect(next.taken).toHaveLength(parts - 1);
    expect(states(next)).toEqual({ waiting: 0, refused: 1, withheld: 0 });
  });
});

describe("claims of others", () => {
  test("of a site that is down for a day count for nothing, its own word does", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = () => later("421 Down");
    site.add(0);
    site.pass(60_000);
    for (let n = 1; n < 5; n += 1) site.add(n, { neighbour: "third", trail: [ADDRESS] });
    for (let n = 0; n < 5; n += 1) site.add(n, { neighbour: "third", trail: [ADDRESS] });
    site.add(3, { neighbour: "old", trail: [ADDRESS] });
    site.pass(24 * HOUR);
    expect(site.lane.status().backlog).toBe(4);
    site.answer = () => undefined;
    site.pass(HOUR);
    expect(site.hashes).toEqual([0, 1, 2, 4].map(hash));
  });

  test("before the first try, and from those who are known, spare a mail", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.add(0, { neighbour: "third", trail: [ADDRESS] });
    expect(site.seen).toEqual([]);
    expect(site.diagnostics.all("suppressed")).toHaveLength(1);
  });

  test("while the update is on its way do not end it", () => {
    const site = new DrivenLane({ retry: DEFAULT }).start();
    site.answer = () => "hold";
    site.add(0);
    site.add(0, { neighbour: "third", trail: [ADDRESS] });
    site.finish(later("421 Down"));
    site.answer = () => undefined;
    site.pass(60_000);
    expect(site.hashes).toEqual([hash(0)]);
  });
});

describe("a neighbour that gets another name", () => {
  test("keeps its lane and its exceptions when its address is the same", () => {
    const first = new DrivenLane({ retry: DEFAULT, names: ["old"] }).start();
    first.answer = onlyFor([0], refused());
    for (let n = 0; n < 3; n += 1) first.add(n);
    expect(first.hashes).toEqual([1, 2].map(hash));
    first.stop();
    first.log.lanes.save("old", { ...first.log.lanes.open("old"), cursor: 2 as Seq });
    const sending = { seq: 2 as Seq, way: "lane", at: 1, how: "relayed", reply: "250 Ok" } as const;
    first.log.sendings.note([{ ...sending, neighbour: "old" }]);
    const address = ADDRESS.toUpperCase();
    const names = ["new", "third"];
    const site = new DrivenLane({ after: first, name: "new", address, names }).start();
    expect(site.hashes).toEqual([hash(2)]);
    expect(site.log.exceptions.get("new", 1 as Seq)).toMatchObject({ state: "refused" });
    expect(site.log.sendings.of(2 as Seq)).toMatchObject([{ neighbour: "new" }]);
    expect(site.log.lanes.get("old")).toBeUndefined();
    expect(site.log.lanes.unowned(names)).toEqual([]);
    expect(site.diagnostics.all("lane-renamed")).toMatchObject([
      { neighbour: "new", former: "old" },
    ]);
  });

  test("gets what comes back under a name that it had", () => {
    const first = new DrivenLane({ names: ["old"] }).start();
    first.add(0);
    const sender = first.taken[0]?.from ?? "";
    first.stop();
    const second = new DrivenLane({ after: first, name: "new", names: ["new"] }).start();
    second.stop();
    const site = new DrivenLane({ after: second, name: "newest", names: ["newest"] }).start();
    const { log, clock, diagnostics } = site;
    const settings = { bounce: "pgp-bounces@kx.example.org", neighbours: [{ name: "newest" }] };
    const words = { status: "5.1.1", code: 550, words: "No such user" };
    new BounceIntake({ log, clock, diagnostics }, settings).note(sender, {
      kind: "site",
      ...words,
    });
    expect(diagnostics.all("bounce")).toMatchObject([{ neighbour: "newest", reason: "site" }]);
    site.pass(HOUR);
    expect(site.hashes).toEqual([hash(0)]);
  });

  test("not while the old name is in the config, nor with another address", () => {
    const first = new DrivenLane({ names: ["old"] }).start();
    first.add(0);
    first.stop();
    const one = { after: first, name: "new" } as const;
    new DrivenLane({ ...one, names: ["new", "old"] }).start();
    expect(first.log.lanes.get("old")).toBeDefined();
    const other = { ...one, name: "other", address: "pgp@else.example" };
    new DrivenLane({ ...other, names: ["other"] }).start();
    expect(first.log.lanes.unowned(["other"]).map(({ site }) => site)).toEqual(["old", "new"]);
  });
});

/** Octets of the primary key packet, of an old or a new header. */
function primaryLength(body: Uint8Array): number {
  const [first = 0, a = 0, b = 0] = body;
  if ((first & 0x40) === 0) return (first & 3) === 0 ? 2 + a : 3 + ((a << 8) | b);
  return a < 192 ? 2 + a : 3 + (((a - 192) << 8) | b) + 192;
}
