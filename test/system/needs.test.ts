/**
 * The two suites stay apart: a test of `npm test` starts no program of programs.json, and each
 * system test says what it needs. A need that is not met is told in one line.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../e2e/stage.js";
import { isHere, missing, needsOf, ROOT_RIGHTS } from "./needs.js";

const PACKAGES: Record<string, string> = JSON.parse(
  readFileSync(join(ROOT, "test/system/programs.json"), "utf8"),
);
const FILES = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" });
const NEEDS = needsOf(ROOT);

it("each system test names needs that the table has, and each of the table is needed", () => {
  const system = FILES.filter((name) => name.endsWith(".system.ts")).map((name) => `test/${name}`);
  expect([...NEEDS.keys()].sort()).toEqual([...system, "test/interop/"].sort());
  const named = new Set([...NEEDS.values()].flat());
  named.delete(ROOT_RIGHTS);
  expect([...named].sort()).toEqual(Object.keys(PACKAGES).sort());
});

it("no test of npm test starts one of these programs, or asks whether one is there", () => {
  const programs = Object.keys(PACKAGES).filter((name) => !name.includes(".so."));
  const places = programs.map((name) => (name.startsWith("/") ? name : `/usr/bin/${name}`));
  const faults = FILES.filter((name) => name.endsWith(".test.ts")).flatMap((name) => {
    const text = readFileSync(join(ROOT, "test", name), "utf8");
    // The name of a program as the first argument of what starts one, or its path anywhere.
    const started = [...text.matchAll(/\b(?:spawn|exec|run)\w*\(\s*"([^"]+)"/g)]
      .map(([, program = ""]) => program)
      .filter((program) => programs.includes(program));
    const named = places.filter((place) => text.includes(`"${place}"`));
    return [...started, ...named].map((program) => `${name} starts ${program}`);
  });
  expect(faults).toEqual([]);
});

it("tells what is missing, where it comes from and who needs it", () => {
  const needs = new Map([
    ["test/a.system.ts", ["swaks", "sh"]],
    ["test/b.system.ts", ["swaks", "root"]],
  ]);
  const none = (need: string) => need === "sh";
  expect(missing(needs, PACKAGES, [], none)).toEqual([
    "swaks is missing (Debian package swaks), needed by test/a.system.ts, test/b.system.ts",
    "root is missing (run as root), needed by test/b.system.ts",
  ]);
  expect(missing(needs, PACKAGES, ["a.system"], none)).toEqual([
    "swaks is missing (Debian package swaks), needed by test/a.system.ts",
  ]);
  expect(missing(needs, PACKAGES, ["other"], none)).toEqual([]);
});

it("knows programs, files and libraries", () => {
  expect(["sh", "/bin/sh", "libc.so.6"].map(isHere)).toEqual([true, true, true]);
  expect(["no-such-program", "/no/file", "libnone.so.1"].map(isHere)).toEqual([
    ...[false, false, false],
  ]);
});

it("the quick suite names rooms and files that are there", () => {
  const config = readFileSync(join(ROOT, "vitest.unit.config.ts"), "utf8");
  const [, rooms = ""] = /QUICK = \[(.*)\]/.exec(config) ?? [];
  const places = [...rooms.matchAll(/"(\w+)"/g)].map(([, room]) => `${room}/`);
  const [, excluded = ""] = /exclude: \[(.*?)\]/s.exec(config) ?? [];
  const files = [...excluded.matchAll(/"test\/([^"]+)"/g)].map(([, file = ""]) => file);
  expect(places.length + files.length).toBeGreaterThan(8);
  const gone = [...places, ...files].filter((one) => !FILES.some((name) => name.startsWith(one)));
  expect(gone).toEqual([]);
});
