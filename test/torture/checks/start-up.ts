/**
 * What a gateway must refuse to start on (row 41), each with one clear line that says what to do
 * and an exit code of sysexits. The SQLite that is too old or does not do as it is told is made by
 * programs/lying-sqlite; the rest are real files.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { UpdateLog } from "../../../src/updatelog/update-log.js";
import type { Check, Context } from "../check.js";
import { made } from "../material.js";
import { World } from "../world.js";

interface Case {
  readonly name: string;
  readonly code: number;
  readonly says: RegExp;
  readonly lie?: string;
  /** Spoils the log before the start; returns the way to undo it. */
  readonly spoil?: (path: string) => (() => void) | undefined;
}

const CASES: readonly Case[] = [
  { name: "SQLite 3.51.2", code: 74, says: /can lose committed updates/, lie: "old" },
  { name: "synchronous", code: 74, says: /synchronous is 1/, lie: "half-synchronous" },
  { name: "journal", code: 74, says: /does not support SQLite's write-ahead log/, lie: "no-wal" },
  { name: "read-only", code: 74, says: /cannot be written/, spoil: readOnly },
  {
    name: "second instance",
    code: 69,
    says: /another kxgw serves this log/,
    spoil: secondInstance,
  },
  { name: "truncated", code: 74, says: /is damaged.*\n.*backup/, spoil: truncated },
  { name: "newer log", code: 78, says: /log version 99.*\n.*release that wrote it/, spoil: newer },
];

export const startUp: Check = {
  name: "start",
  rows: [41],
  promise: "a log that cannot be trusted is refused at the start, with the remedy",
  runs: 1,
  share: 1,
  async run(context) {
    const faults: string[] = [];
    for (const one of CASES) {
      const fault = await refusal(context, one);
      if (fault !== undefined) faults.push(`${one.name}: ${fault}`);
    }
    const control = await refusal(context, { name: "nothing wrong", code: 74, says: /./ });
    return {
      faults,
      figures: `${CASES.length - faults.length} of ${CASES.length} refused`,
      control: { caught: control === "it started", figures: `a good log: ${control ?? "refused"}` },
    };
  },
};

/** What is wrong with how the start was refused. */
async function refusal(context: Context, one: Case): Promise<string | undefined> {
  const directory = join(context.directory, one.name.replaceAll(" ", "-"));
  mkdirSync(join(directory, "log"), { recursive: true });
  const { build } = context;
  const options = { directory, build, logDirectory: join(directory, "log") };
  const world = await World.make(one.lie ? { ...options, program: "lying-sqlite" } : options);
  const undo = one.spoil?.(world.log);
  const gateway = world.spawn(one.lie ? ["env", `KXTORTURE_LIE=${one.lie}`] : []);
  const started = await Promise.race([
    gateway.event("ready").then(
      () => true,
      () => false,
    ),
    gateway.exited.then(() => false),
  ]);
  const code = await gateway.end();
  undo?.();
  await world.end();
  if (started) return "it started";
  const said = gateway.errors.trimEnd();
  if (code !== one.code) return `exit code ${code} and not ${one.code}: ${said}`;
  if (!one.says.test(said)) return `it said: ${said}`;
  return said.split("\n").length > 2 || !said.startsWith("kxgw: ") ? `it said: ${said}` : undefined;
}

function fill(path: string): void {
  const log = UpdateLog.open(path);
  const origin = { neighbour: undefined, transport: "mail" } as const;
  for (let n = 0; n < 50; n += 1) {
    const { update } = made(1, n, 400);
    log.append([{ update, origin, trail: [], receivedAt: n }]);
  }
  log.close();
}

/** A read-only mount where root may mount; for others the permissions of the directory. */
function readOnly(path: string): () => void {
  const directory = join(path, "..");
  const mount = ["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", directory];
  if (process.getuid?.() === 0 && spawnSync("mount", mount).status === 0) {
    return () => void spawnSync("umount", [directory]);
  }
  chmodSync(directory, 0o500);
  return () => chmodSync(directory, 0o700);
}

function secondInstance(path: string): () => void {
  const first = UpdateLog.open(path);
  return () => first.close();
}

function truncated(path: string): undefined {
  fill(path);
  truncateSync(path, Math.floor(readFileSync(path).length / 8192) * 4096);
}

function newer(path: string): undefined {
  fill(path);
  const db = new Database(path);
  db.pragma("user_version = 99");
  db.close();
}
