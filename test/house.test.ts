/**
 * Holds the code to docs/architecture.md: who imports whom, what is pure, how wide a file is,
 * that it says what it is. Each rule is also held against a sample that breaks it, so that
 * a rule that has gone blind is noticed.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { Tree } from "./house/rules.js";
import {
  codeOf,
  cycleFaults,
  FLOORS,
  floorPicture,
  formFaults,
  importFaults,
  purityFaults,
  roomOf,
} from "./house/rules.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

function treeOf(folder: string): Map<string, string> {
  const files = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" });
  return new Map(
    files
      .filter((file) => file.endsWith(".ts"))
      .map((file) => [`${folder}/${file}`, readFileSync(join(ROOT, folder, file), "utf8")]),
  );
}

const source = treeOf("src");
const tests = treeOf("test");

describe("the house", () => {
  it("has all its rooms, and no room that the plan does not show", () => {
    const built = new Set([...source.keys()].map(roomOf));
    expect([...built].sort()).toEqual(FLOORS.flatMap((rooms) => Object.keys(rooms)).sort());
  });

  it("is shown in docs/architecture.md as it is (vitest -u writes it)", async () => {
    const page = readFileSync(join(ROOT, "docs/architecture.md"), "utf8");
    const begin = page.indexOf("\n```\n", page.indexOf("\n## Who may import whom\n")) + 5;
    const end = page.indexOf("\n```\n", begin);
    const shown = page.slice(0, begin) + floorPicture() + page.slice(end);
    await expect(shown).toMatchFileSnapshot("../docs/architecture.md");
  });

  it("imports downward only, and from outside what each room may", () => {
    expect(importFaults(source)).toEqual([]);
  });

  it("has no circle of imports", () => {
    expect(cycleFaults(source)).toEqual([]);
  });

  it("keeps clocks, chance and waiting out of the pure rooms", () => {
    expect(purityFaults(source)).toEqual([]);
  });

  it("has files that fit the eye and say what they are", () => {
    expect(formFaults(source)).toEqual([]);
    expect(formFaults(tests)).toEqual([]);
  });
});

const HEADER = "/**\n * What it is.\n * What it does not know.\n */\n";

/** A file that breaks one rule, and the fault that must be found in it. */
type Sample = readonly [path: string, code: string, fault: string];

function faultsOf(check: (tree: Tree) => string[], path: string, code: string): string[] {
  return check(new Map([...source, [path, HEADER + code]])).filter((one) => one.includes(path));
}

describe("a sample that breaks the house is found", () => {
  it.each<Sample>([
    ["src/openpgp/x.ts", 'import { recognise } from "../mail/incremental.js";', "one floor"],
    ["src/kx/x.ts", 'import type { Exchange } from "../peering/exchange.js";', "goes down only"],
    ["src/update.ts", 'import { main } from "./main.js";', "goes down only"],
    ["src/delivery/x.ts", 'import { SmtpDoor } from "../ingress/smtp.js";', "one floor"],
    ["src/status/x.ts", 'import { Lane } from "../delivery/lane.js";', "one floor"],
    ["src/admit.ts", 'import { loadConfig } from "./config/load.js";', "pure rooms only"],
    ["src/kx/x.ts", 'import type { Config } from "../config/config.js";', "one floor"],
    ["src/mail/x.ts", 'import {\n  a,\n  b,\n} from "../ingress/smtp.js";', "goes down only"],
    ["src/cellar/x.ts", "", "no room of the house"],
    ["src/admit.ts", 'import { x } from "./cellar/x.js";', "is no room of the house"],
    ["src/kx/x.ts", 'import { connect } from "node:net";', "no business"],
    ["src/log/x.ts", 'import { connect } from "node:net";', "no business"],
    ["src/openpgp/x.ts", 'import { createHash, randomBytes } from "node:crypto";', "createHash"],
    ["src/openpgp/x.ts", 'import { readKey } from "openpgp";', "no business"],
    ["src/ingress/x.ts", 'import Database from "better-sqlite3";', "no business"],
    ["src/peering/x.ts", 'import "nodemailer/lib/mailer";', "no business"],
    ["src/gateway.ts", 'const late = await import("@scope/thing/deep");', "@scope/thing/deep"],
  ])("import: %s: %s", (path, code, fault) => {
    expect(faultsOf(importFaults, path, code)).toEqual([expect.stringContaining(fault)]);
  });

  it("circle", () => {
    const circle = new Map([
      ["src/kx/a.ts", 'import { b } from "./b.js";'],
      ["src/kx/b.ts", 'import type { c } from "./c.js";'],
      ["src/kx/c.ts", 'export { a } from "./a.js";'],
    ]);
    expect(cycleFaults(circle)).toEqual([
      "a circle: src/kx/a.ts -> src/kx/b.ts -> src/kx/c.ts -> src/kx/a.ts",
    ]);
  });

  it.each<Sample>([
    ["src/kx/x.ts", "const now = Date.now();", "clock"],
    ["src/mail/x.ts", "const date = new Date();", "clock"],
    ["src/openpgp/x.ts", "const id = Math.random();", "random"],
    ["src/admit.ts", "setTimeout(go, 1);", "timer"],
    ["src/outmail.ts", "export async function mails() {}", "asynchronous"],
    ["src/kx/x.ts", "const debug = process.env.DEBUG;", "process"],
    ["src/log/x.ts", "setImmediate(sweep);", "timer"],
    ["src/log/x.ts", "const at = Date.now();", "clock"],
    ["src/peering/x.ts", "const pick = Math.random();", "clock"],
  ])("purity: %s: %s", (path, code, fault) => {
    expect(faultsOf(purityFaults, path, code)).toEqual([expect.stringContaining(fault)]);
  });

  it("and out of machines that others drive, whatever their room", () => {
    const path = "src/delivery/lane.ts";
    const broken = `${source.get(path)}const timer = setTimeout(run, 1);\n`;
    const [fault, ...others] = purityFaults(new Map([[path, broken]]));
    expect(fault).toContain("sets a timer");
    expect(others).toEqual([]);
  });

  it("but not words in comments, nor a date that is given", () => {
    const code = "// Date.now() is not called: async, setTimeout\nconst at = new Date(ms);\n";
    expect(faultsOf(purityFaults, "src/kx/x.ts", code)).toEqual([]);
    expect(codeOf('const url = "http://x"; // gone\n')).toBe('const url = "http://x"; \n');
  });

  it.each<Sample>([
    ["src/kx/x.ts", `"${"x".repeat(100)}";`, "line 5 has 103 columns"],
    ["src/kx/utils.ts", "", "says nothing"],
    ["src/types/x.ts", "", "says nothing"],
    ["src/kx/x.ts", 'export * from "./session.js";', "hands on"],
    ["src/kx/x.ts", 'export { Session } from "./session.js";', "hands on"],
  ])("form: %s", (path, code, fault) => {
    expect(faultsOf(formFaults, path, code)).toEqual([expect.stringContaining(fault)]);
  });

  it("no header, and one that is too short or too long", () => {
    const headers = ["", "/** Short. */\n", `/**\n${" * x\n".repeat(11)} */\n`];
    for (const header of headers) {
      expect(formFaults(new Map([["src/kx/x.ts", `${header}x;\n`]]))).toEqual([
        expect.stringMatching(/comment/),
      ]);
    }
    const long = `/**\n${" * x\n".repeat(40)} */\n`;
    expect(formFaults(new Map([["src/kx/session.ts", long]]))).toEqual([]);
    expect(formFaults(new Map([["src/kx/x.ts", long]]))).toHaveLength(1);
  });
});
