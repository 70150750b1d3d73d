/**
 * `npm run compare`: whether two built checkouts behave alike where a restructuring must change
 * nothing.
 *   -- OLD NEW                 records both checkouts and prints the differences
 *   -- record CHECKOUT DIR     records one checkout into an empty directory
 *   -- diff OLDDIR NEWDIR      prints the differences of two records
 *   --seeds N (1000) --from S (1) --small --only KIND,KIND
 * A checkout needs `npm ci` and `npm run build`. Exits with 0 when nothing differs, 1 when
 * something does, 64 when it was called wrongly.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { readArguments, wrongUsage } from "../support/usage.js";
import { differences, KINDS, type Kind, report } from "./diff.js";
import { type RecordOptions, record } from "./record.js";

const USAGE = `npm run compare -- OLD NEW                 records both and prints the differences
npm run compare -- record CHECKOUT DIR     records one checkout into an empty directory
npm run compare -- diff OLDDIR NEWDIR      prints the differences of two records
  --seeds N        worlds of the simulation (1000)
  --from S         the first seed (1)
  --small          small worlds
  --only KIND,...  ${KINDS.join(", ")}
A checkout needs npm ci and npm run build. Exits with 0 when nothing differs, 1 when something does.
`;

const { values, positionals } = readArguments(USAGE, () =>
  parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: "string", default: "1000" },
      from: { type: "string", default: "1" },
      small: { type: "boolean", default: false },
      only: { type: "string" },
    },
  }),
);
const kinds = values.only?.split(",") ?? KINDS;
const unknown = kinds.filter((kind) => !(KINDS as readonly string[]).includes(kind));
if (unknown.length > 0) usage(`There is no ${unknown.join(", ")}. Kinds: ${KINDS.join(", ")}.`);
if (![values.seeds, values.from].every((text) => /^\d{1,9}$/.test(text))) {
  usage("--seeds and --from want a number.");
}
const options: RecordOptions = {
  seeds: Number(values.seeds),
  from: Number(values.from),
  isSmall: values.small,
  kinds: kinds as readonly Kind[],
  say: (text) => void process.stderr.write(`${text}\n`),
};

const [first = "", second = "", third = ""] = positionals;
if (first === "record" && positionals.length === 3) await recordOne(second, third);
else if (first === "diff" && positionals.length === 3) compare(second, third);
else if (positionals.length === 2 && first !== "record" && first !== "diff") {
  await recordBoth(first, second);
} else usage("Say two checkouts, or record CHECKOUT DIR, or diff OLDDIR NEWDIR.");

async function recordOne(checkout: string, directory: string): Promise<void> {
  if (!existsSync(join(checkout, "dist/main.js"))) {
    usage(`${checkout} has no dist/main.js: run npm ci && npm run build in it.`);
  }
  mkdirSync(directory, { recursive: true });
  if (readdirSync(directory).length > 0) usage(`${directory} is not empty: name another one.`);
  options.say(`recording ${resolve(checkout)} into ${resolve(directory)}`);
  await record(resolve(checkout), resolve(directory), options);
}

async function recordBoth(before: string, after: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "kxgw-compare-"));
  const [old, young] = [join(root, "old"), join(root, "new")];
  await recordOne(before, old);
  await recordOne(after, young);
  compare(old, young);
  // The records of checkouts that differ stay, to be looked at.
  if (process.exitCode === 0) rmSync(root, { recursive: true });
  else options.say(`The records are in ${root}.`);
}

function compare(before: string, after: string): void {
  for (const directory of [before, after]) {
    if (!existsSync(directory)) usage(`There is no ${directory}.`);
  }
  const found = differences(before, after, options.kinds);
  process.stdout.write(report(found));
  process.exitCode = found.every(({ lines }) => lines.length === 0) ? 0 : 1;
}

function usage(text: string): never {
  return wrongUsage(USAGE, text);
}
