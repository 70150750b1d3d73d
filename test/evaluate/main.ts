/**
 * `npm run evaluate [-- --quick] [--json FILE] [--no-report]`: section 5 of the thesis as an
 * experiment. The same real updates by mail into Postfix and onak, and over KX into a gateway; what
 * a new one and a known one costs. Writes docs/evaluation.md and its charts, unless it is quick.
 * Needs root, Postfix, onak, debian-keyring and strace; says which is missing and exits with 69.
 */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { realMaterial } from "../bench/material.js";
import { machine } from "../bench/report.js";
import { readArguments } from "../support/usage.js";
import { measure, type Sizes } from "./figures.js";
import { ProcessGroup } from "./group.js";
import { asText, type Report, writePage } from "./page.js";

const FULL: Sizes = {
  rounds: 5,
  updates: 60,
  warmUp: { mail: 10, kx: 400 },
  traced: 21,
  cursorMs: 61_000,
  idleMs: 5000,
};
const QUICK: Sizes = {
  rounds: 1,
  updates: 8,
  warmUp: { mail: 2, kx: 20 },
  traced: 4,
  cursorMs: 1000,
  idleMs: 1000,
};
const UNAVAILABLE = 69;
const NEEDED = [
  ["/usr/lib/postfix/sbin/master", "postfix"],
  ["/usr/bin/onak", "onak"],
  ["/usr/share/keyrings/debian-keyring.gpg", "debian-keyring"],
  ["/usr/bin/strace", "strace"],
] as const;

const USAGE = `npm run evaluate [-- OPTION...]

Section 5 of the thesis as an experiment: mail into Postfix and onak beside KX into a gateway. Needs
root, Postfix, onak, debian-keyring and strace; exits with 69 when one is missing.

  --quick        small and once; nothing is written into docs/
  --json FILE    the figures as JSON
  --no-report    do not write docs/evaluation.md
  -h, --help     this text
`;

const { values } = readArguments(USAGE, () =>
  parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      "no-report": { type: "boolean", default: false },
    },
  }),
);
const lacking = await missing();
if (lacking !== undefined) {
  say(lacking);
  process.exit(UNAVAILABLE);
}
// What was started is stopped when this process exits, which a signal alone would not do.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const directory = mkdtempSync(join(tmpdir(), "kxgw-evaluate-"));
// Postfix's and onak's processes have to get in.
chmodSync(directory, 0o755);
const sizes = values.quick ? QUICK : FULL;
const program = resolve(import.meta.dirname, "../../src/main.js");
try {
  const material = realMaterial();
  // Before it begins, because the commit may change meanwhile.
  const where = machine();
  const figures = await measure({
    directory,
    program,
    material,
    sizes,
    say: (text) => say(`  ${text}`),
  });
  const [, , load = 0] = loadavg();
  const report: Report = { figures, source: material.source, machine: where, load };
  say(asText(report));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  if (!values.quick && !values["no-report"]) say(`written to ${writePage(report)}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

/** What the machine lacks, in words; undefined when nothing does. */
async function missing(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "The evaluation needs root, for Postfix and its accounting.";
  const packages = NEEDED.filter(([file]) => !existsSync(file)).map(([, name]) => name);
  if (packages.length > 0) return `Install them first: apt-get install ${packages.join(" ")}`;
  try {
    await ProcessGroup.create("try").remove();
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `CPU is counted in control groups (cgroup v2), which cannot be had: ${why}`;
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
