/**
 * `npm run bench [-- NAME... OPTION...]`: how much the gateway costs, in ratios of one run. Each
 * bench prints its figures as it ends; a run in full size writes them into docs/performance.md,
 * where a bench that did not run keeps its old ones. A goal that is missed is said and is no
 * failure: on a shared machine no figure may break a build. Exits with 1 when a bench could not be
 * run at all; floors and counts are checked, so a floor that skips its work is such a case.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { readArguments, wrongUsage } from "../support/usage.js";
import { type Bench, type Context, short } from "./bench.js";
import { catchUp } from "./benches/catch-up.js";
import { cluster } from "./benches/cluster.js";
import { duplicate } from "./benches/duplicate.js";
import { fanOut } from "./benches/fan-out.js";
import { ingest } from "./benches/ingest.js";
import { kx11 } from "./benches/kx11.js";
import { latency } from "./benches/latency.js";
import { news } from "./benches/news.js";
import { recon } from "./benches/recon.js";
import { reconcile } from "./benches/reconcile.js";
import { size } from "./benches/size.js";
import { realMaterial } from "./material.js";
import { asText, machine, type Result, writeResults } from "./report.js";
import { sidesOf } from "./sides.js";

const BENCHES: readonly Bench[] = [
  ...[duplicate, catchUp, kx11, ingest, latency, fanOut, size, news, recon, reconcile, cluster],
];
const RUNS = 5;

const USAGE = `npm run bench [-- NAME... OPTION...]

What the gateway costs, in ratios of one run: beside floors, which are the least that Node can do
for the same work (test/bench/floors/), and with --against beside another checkout. Everything takes
turns in one run; CPU is that of the process under test alone, as the kernel counts it in /proc.
Without a name all benches run, about half an hour. Exits with 1 when one could not be run, and with
0 when a goal is missed.

${BENCHES.map(({ name, question }) => `  ${name.padEnd(12)} ${question}`).join("\n")}

  --quick        small and once, to see that it runs; the figures mean nothing
  --runs N       turns of each, ${RUNS} unless said
  --against DIR  another checkout, with npm ci and npm run build done, takes each turn too;
                 its figures are named "before"
  --json FILE    the results as JSON
  --no-report    do not write the figures into docs/performance.md
  -h, --help     this text

The updates are cut from the Debian package debian-keyring and shuffled, always in the same way.
Fsyncs are counted with strace, Postfix is measured where it is installed and the user is root.
`;

const { values, positionals } = readArguments(USAGE, () =>
  parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      runs: { type: "string" },
      against: { type: "string" },
      json: { type: "string" },
      "no-report": { type: "boolean", default: false },
    },
  }),
);
const unknown = positionals.filter((name) => !BENCHES.some((bench) => bench.name === name));
if (unknown.length > 0) {
  const names = BENCHES.map(({ name }) => name).join(", ");
  say(`There is no bench ${unknown.join(", ")}: there are ${names}.`);
  process.exit(64);
}

const { quick } = values;
const build = resolve(import.meta.dirname, "../..");
const sides = sidesOf(build, values.against, (message) => wrongUsage(USAGE, message));
const root = mkdtempSync(join(tmpdir(), "kxgw-bench-"));
// Postfix's processes have to get in.
chmodSync(root, 0o755);
const material = realMaterial();
say(`${material.source}${quick ? "; quick, so the figures mean nothing" : ""}`);
const results: Result[] = [];
let failed = 0;
try {
  for (const bench of BENCHES) {
    if (positionals.length > 0 && !positionals.includes(bench.name)) continue;
    await runOne(bench);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
if (!quick && !values["no-report"]) say(`written to ${writeResults(results)}`);
process.exitCode = failed > 0 ? 1 : 0;

async function runOne(bench: Bench): Promise<void> {
  const { name, question } = bench;
  const directory = join(root, name);
  mkdirSync(directory);
  say(`\n${name}: ${question}`);
  const context: Context = {
    quick,
    runs: Number(values.runs ?? (quick ? 1 : RUNS)),
    material,
    directory,
    build,
    say: (text) => say(`  ${text}`),
    sides,
  };
  try {
    const options = [
      ...(quick ? ["--quick"] : []),
      ...(values.runs === undefined ? [] : [`--runs ${values.runs}`]),
      ...(values.against === undefined ? [] : ["--against DIR"]),
    ];
    const command = `npm run bench -- ${[name, ...options].join(" ")}`;
    const outcome = await bench.run(context);
    // The mean of the last fifteen minutes, with the processes of the bench in it.
    const ranOn = `${machine()}, load ${short(loadavg()[2] ?? 0)}`;
    // Nothing is warm in a quick run, so no goal is judged.
    const goals = quick ? [] : outcome.goals;
    const result: Result = { name, question, command, machine: ranOn, ...outcome, goals };
    results.push(result);
    say(asText(result));
  } catch (error) {
    failed += 1;
    say(`  ${name} could not be run: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
