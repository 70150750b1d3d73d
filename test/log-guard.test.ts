/** Trouble of the log is told once in ten seconds a kind and door, and bugs are let through. */
import { describe, expect, it } from "vitest";
import type { Fields } from "../src/diagnostics.js";
import { Trouble } from "../src/errors.js";
import { LogGuard } from "../src/log-guard.js";
import { checked } from "./support/reported.js";

const full = () => {
  throw new Trouble("disk-full", "the disk is full", "make room");
};

function guarded() {
  const told: Fields[] = [];
  const time = { now: 0 };
  const clock = { now: () => 0, monotonic: () => time.now, random: () => 0 };
  const diagnostics = checked((_, fields) => told.push(fields));
  return { told, time, guard: new LogGuard("egress", clock, diagnostics) };
}

describe("a log guard", () => {
  it("hands on what there is, and undefined for trouble", () => {
    const { guard, told } = guarded();
    expect([guard.run(() => 5), guard.run(full)]).toEqual([5, undefined]);
    expect(told).toEqual([
      { kind: "disk-full", problem: "the disk is full", remedy: "make room", door: "egress" },
    ]);
  });

  it("tells of each kind at most every ten seconds", () => {
    const { guard, told, time } = guarded();
    for (time.now = 0; time.now < 60_000; time.now += 100) guard.run(full);
    expect(told.length).toBe(6);
    guard.tell(new Trouble("corrupt", "it is damaged", "restore it"));
    expect(told.length).toBe(7);
  });

  it("lets a bug through", () => {
    const { guard } = guarded();
    const bug = new Error("a bug");
    const work = () => {
      throw bug;
    };
    expect(() => guard.run(work)).toThrow(bug);
    expect(() => guard.tell(bug)).toThrow(bug);
  });
});
