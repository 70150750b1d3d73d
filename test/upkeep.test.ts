/**
 * Expiry by the clock: in batches, and by no date for which there is no evidence. The machine here
 * has a true time, a clock that may be wrong by any amount, and processes that begin and end.
 */
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Clock } from "../src/clock.js";
import type { EventName } from "../src/diagnostics.js";
import { Trouble } from "../src/errors.js";
import type { RetentionLimits } from "../src/log/retention.js";
import { UpdateLog } from "../src/log/update-log.js";
import { LogGuard } from "../src/log-guard.js";
import { AnnouncedSince } from "../src/peering/announced-since.js";
import { UPKEEP_LIMITS, Upkeep } from "../src/upkeep.js";
import { arrival, fingerprint, HOUR_MS as HOUR, selfSigned, seq, update } from "./log/material.js";
import { checked } from "./support/reported.js";

const T0 = 1_800_000_000_000;
const YEAR = 8760 * HOUR;
const LIMITS: RetentionLimits = { retainMs: 96 * HOUR, rememberMs: 720 * HOUR };

class Machine {
  readonly log = UpdateLog.open(":memory:");
  readonly events: EventName[] = [];
  /** True time of arrival of each update, by number. */
  readonly cameAt: number[] = [];
  limits = LIMITS;
  /** By how much the clock is wrong. */
  wrong = 0;
  /** True time since the machine was made. */
  time = 0;
  #bootedAt = 0;
  #upkeep: Upkeep | undefined;

  readonly clock: Clock = {
    now: () => T0 + this.time + this.wrong,
    monotonic: () => this.time - this.#bootedAt,
    random: () => 0,
  };

  constructor() {
    onTestFinished(() => this.log.close());
  }

  get upkeep(): Upkeep {
    const { log, clock } = this;
    const diagnostics = checked((event) => this.events.push(event));
    this.#upkeep ??= new Upkeep({ log, clock, diagnostics }, () => this.limits);
    return this.#upkeep;
  }

  /** Another process from now on, and another boot of the machine. */
  restart(): this {
    this.#bootedAt = this.time;
    this.#upkeep = undefined;
    this.upkeep;
    return this;
  }

  /** So much time, in which an update comes each hour, or nothing. */
  pass(hours: number, mail: "mail" | "quiet" = "mail"): this {
    for (let hour = 0; hour < hours; hour += 1) {
      if (mail === "mail") this.take();
      while (this.upkeep.step());
      this.time += HOUR;
    }
    return this;
  }

  /** So much time without a process. */
  off(hours: number): this {
    this.time += hours * HOUR;
    return this.restart();
  }

  take(): this {
    const n = this.cameAt.length + 1;
    const packets = [Buffer.from(update(n).hash, "hex")];
    const named = { ...update(n), selfSigned: selfSigned(`id ${n}`), packets };
    this.log.append([arrival(n, { update: named, receivedAt: this.clock.now() })]);
    this.cameAt.push(this.time);
    return this;
  }

  /** Numbers of the updates that have a body. */
  bodies(): number[] {
    return this.cameAt.map((_, n) => n + 1).filter((n) => this.log.body(seq(n)) !== undefined);
  }

  /** True age of the oldest body, in hours. */
  oldestBody(): number {
    return this.age(this.bodies()[0] ?? 0);
  }

  age(n: number): number {
    return (this.time - (this.cameAt[n - 1] ?? this.time)) / HOUR;
  }

  jumps(): number {
    return this.events.filter((event) => event === "clock-jumped").length;
  }
}

describe("with a clock that is right", () => {
  it("all that is due goes, batch after batch, and the newest stays", () => {
    const machine = new Machine();
    for (let n = 0; n < 450; n += 1) machine.take();
    machine.pass(98, "quiet");
    expect(machine.bodies()).toEqual([450]);
    expect(machine.log.counts().entries).toBe(450);
    expect(machine.events).toEqual(Array(5).fill("expired"));
  });

  it("a body stays 96 hours and an entry 30 days, over restarts too", () => {
    const machine = new Machine().pass(300);
    expect(machine.oldestBody()).toBe(96);
    for (let n = 0; n < 8; n += 1) machine.restart().pass(20);
    expect(machine.oldestBody()).toBeLessThanOrEqual(97);
    machine.pass(400);
    expect(machine.log.entry(seq(1))).toBeUndefined();
    const oldest = machine.cameAt.findIndex((_, n) => machine.log.entry(seq(n + 1)));
    expect(machine.age(oldest + 1)).toBe(720);
    expect(machine.jumps()).toBe(0);
  });

  it("nothing goes in the first hour after a start", () => {
    const machine = new Machine().pass(90).restart();
    machine.time += 10 * HOUR;
    const { length } = machine.restart().bodies();
    machine.time += UPKEEP_LIMITS.settleMs - 1;
    machine.upkeep.step();
    expect(machine.bodies()).toHaveLength(length);
    machine.time += 1;
    machine.upkeep.step();
    expect(machine.bodies().length).toBeLessThan(length);
  });

  it("after a time in which nothing ran, what is old goes a few days later", () => {
    const machine = new Machine().pass(90).off(1000).pass(1, "quiet");
    expect(machine.bodies()).toHaveLength(90);
    machine.pass(97);
    expect(machine.bodies()[0]).toBe(92);
  });

  it("a little off, it goes on", () => {
    const machine = new Machine().pass(96);
    machine.wrong = 23 * HOUR;
    machine.pass(2);
    expect(machine.jumps()).toBe(0);
    expect(machine.bodies()[0]).toBeGreaterThan(20);
  });
});

describe("a date that is wrong", () => {
  it.each([200 * HOUR, -200 * HOUR, YEAR, -30 * YEAR])(
    "by %i ms while it runs, and a SIGHUP, costs nothing, and resumes by itself",
    (wrong) => {
      const machine = new Machine().pass(300);
      const before = machine.bodies();
      machine.wrong = wrong;
      machine.upkeep.step();
      expect(machine.upkeep.status().jumpedMs).toBe(wrong);
      machine.upkeep.start();
      machine.upkeep.stop();
      machine.pass(10);
      expect(machine.oldestBody()).toBeGreaterThan(70);
      expect(machine.bodies()).toEqual(expect.arrayContaining(before.slice(27 + 10)));
      machine.wrong = 0;
      machine.pass(60);
      expect(machine.jumps()).toBe(2);
      expect(machine.upkeep.status().jumpedMs).toBeUndefined();
      expect(machine.oldestBody()).toBeGreaterThan(47);
      machine.pass(60);
      expect(machine.oldestBody()).toBeLessThanOrEqual(97);
      machine.pass(700);
      expect(machine.log.entry(seq(300))).toBeUndefined();
      expect(machine.log.counts().entries).toBeLessThanOrEqual(770);
    },
  );

  it.each([200 * HOUR, -200 * HOUR, YEAR, -30 * YEAR])(
    "by %i ms from the start, over restarts with mail in between, costs at most a day",
    (wrong) => {
      const machine = new Machine().pass(300);
      machine.wrong = wrong;
      for (let n = 0; n < 6; n += 1) machine.restart().pass(3);
      expect(machine.oldestBody()).toBeGreaterThan(70);
      machine.wrong = 0;
      for (let n = 0; n < 6; n += 1) machine.restart().pass(3);
      expect(machine.oldestBody()).toBeGreaterThan(47);
      machine.pass(200);
      expect(machine.oldestBody()).toBeLessThanOrEqual(97);
    },
  );

  it("is told when the newest entry is dated later", () => {
    const machine = new Machine().pass(10);
    machine.wrong = -48 * HOUR;
    machine.restart().pass(1);
    expect(machine.jumps()).toBe(1);
    expect(machine.upkeep.status().jumpedMs).toBeLessThan(-37 * HOUR);
    machine.pass(1);
    expect(machine.upkeep.status().jumpedMs).toBeUndefined();
  });

  it("in any life: nobody loses much, and all goes in the end", () => {
    const wrongs = [0, 26 * HOUR, -26 * HOUR, 300 * HOUR, -300 * HOUR, YEAR, -YEAR];
    const event = fc.record({
      wrong: fc.constantFrom(...wrongs),
      restart: fc.boolean(),
      hours: fc.integer({ min: 1, max: 60 }),
      mail: fc.constantFrom("mail" as const, "quiet" as const),
    });
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 8 }), (life) => {
        const machine = new Machine().pass(100);
        let changes = 0;
        for (const { wrong, restart, hours, mail } of life) {
          if (wrong !== machine.wrong) changes += 1;
          machine.wrong = wrong;
          if (restart) machine.restart();
          const before = machine.bodies();
          machine.pass(hours, mail);
          const after = new Set(machine.bodies());
          const gone = before.filter((n) => !after.has(n));
          for (const n of gone) expect(machine.age(n)).toBeGreaterThan(95 - 25 * changes);
        }
        machine.wrong = 0;
        machine.restart().pass(760);
        expect(machine.oldestBody()).toBeLessThanOrEqual(97);
        expect(machine.log.counts().entries).toBeLessThanOrEqual(722);
        expect(machine.log.packets.lastSeen(Buffer.from(update(1).hash, "hex"))).toBeUndefined();
        expect(machine.log.skeletons.get(fingerprint(1))).toBeUndefined();
      }),
      { numRuns: 6 },
    );
  }, 60_000);
});

describe("what a lane still needs", () => {
  it("stays beside a date that is wrong, and goes at its own age", () => {
    const machine = new Machine();
    machine.limits = { ...LIMITS, hold: { sites: ["old"], bytes: 1e9 } };
    machine.log.lanes.open("old");
    machine.pass(300);
    expect(machine.bodies()).toHaveLength(300);
    machine.wrong = YEAR;
    for (let n = 0; n < 4; n += 1) machine.restart().pass(10);
    expect(machine.bodies()).toHaveLength(340);
    machine.wrong = 0;
    machine.restart().pass(10);
    expect(machine.bodies()).toHaveLength(350);
    expect(machine.events).not.toContain("hold-exceeded");
    machine.pass(500);
    expect(machine.events).toContain("hold-exceeded");
    expect(machine.oldestBody()).toBeLessThanOrEqual(770);
  });
});

describe("a moment in the future that a clock left behind", () => {
  /** A log into which a clock a year ahead wrote, corrected since, and the gateway begun anew. */
  function leftBy(write: (machine: Machine) => void): Machine {
    const machine = new Machine().pass(10);
    machine.wrong = YEAR;
    write(machine);
    machine.wrong = 0;
    return machine.restart();
  }

  it("on the oldest packets does not stop those behind them", () => {
    const name = (n: number) => Buffer.from(n.toString(16).padStart(32, "0"), "hex");
    const names = Array.from({ length: 250 }, (_, n) => name(n));
    const machine = new Machine();
    machine.wrong = YEAR;
    machine.log.packets.remember(names, machine.clock.now());
    machine.wrong = 0;
    const later = name(1000);
    machine.log.packets.remember([later], machine.clock.now());
    machine.restart().pass(760);
    expect(machine.log.packets.lastSeen(later)).toBeUndefined();
    machine.pass(30);
    for (const one of names) expect(machine.log.packets.lastSeen(one)).toBeUndefined();
  });

  it("on a refusal, a repair or a note ends within two hours", () => {
    const day = 24 * HOUR;
    const machine = leftBy(({ log, clock }) => {
      log.refusals.add(update(1000).hash, "policy-size", clock.now() + day);
      log.repairs.want({
        ...{ fingerprint: fingerprint(9), neighbours: ["old"], why: "lost", at: clock.now() },
      });
      log.exceptions.set({
        ...{ site: "s", seq: seq(1), fingerprint: fingerprint(1), reason: "refused" },
        ...{ state: "refused", code: 550, text: "", at: clock.now() },
      });
    });
    machine.pass(2);
    expect(machine.log.refusals.holds(update(1000).hash, machine.clock.now())).toBe(false);
    const repair = machine.log.repairs.get(fingerprint(9));
    expect(repair?.nextAt).toBeLessThanOrEqual(machine.clock.now());
    expect(machine.log.exceptions.get("s", seq(1))?.at).toBeLessThanOrEqual(machine.clock.now());
    machine.pass(730);
    expect(machine.log.exceptions.get("s", seq(1))).toBeUndefined();
  });

  it("on what waits at a KX peer has everything fetched at once", () => {
    const machine = leftBy(({ log, clock }) => log.fetchWaits.setSince("new", clock.now()));
    const guard = new LogGuard("peering", machine.clock, { report: () => {} });
    const { log, clock } = machine;
    const since = new AnnouncedSince({ log, guard, clock }, ["new"]);
    expect(since.of("new")).toBe(-Infinity);
  });
});

describe("upkeep that fails", () => {
  it("says so, and that it is over", () => {
    const machine = new Machine().pass(100);
    const { expire } = machine.log.retention;
    machine.log.retention.expire = () => {
      throw new Trouble("disk-full", "the update log is full", "Free space.");
    };
    machine.upkeep.step();
    machine.time += HOUR;
    machine.upkeep.step();
    expect(machine.upkeep.status()).toMatchObject({ failures: 2 });
    expect(machine.upkeep.status().trouble?.problem).toBe("the update log is full");
    machine.log.retention.expire = expire;
    machine.upkeep.step();
    expect(machine.upkeep.status()).toMatchObject({ failures: 0, trouble: undefined });
  });
});
