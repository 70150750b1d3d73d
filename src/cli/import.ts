/**
 * `kxgw import FILE...`: imports keyrings, binary or armored, into the log of a stopped gateway.
 * Each key becomes one update and passes the same checks and policy as any other.
 *
 * No site is flooded: every mail neighbour is written into the trail, so no imported update is
 * mailed. KX peers are offered the updates, fetch what they do not have, and mail it to their own
 * sites; the command says so before it begins.
 */
import { readFileSync } from "node:fs";
import { isBare, updateOf } from "../admit.js";
import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { goesByKx, goesByMail } from "../config/paths.js";
import { EXIT, Refusal, Trouble } from "../errors.js";
import { UpdateLog } from "../log/update-log.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys, type TransferableKey } from "../openpgp/key.js";
import { Policy } from "../policy.js";
import type { Update } from "../update.js";
import { run } from "./daemon.js";
import { type Output, tellMigration } from "./output.js";

/** Updates per transaction, which needs one fsync. */
const BATCH = 200;

export interface ImportOptions {
  readonly json: boolean;
  /** Whether progress is shown on stderr. */
  readonly progress: boolean;
}

interface Result {
  appended: number;
  duplicates: number;
  refused: number;
  unreadable: number;
}

/** Imports every key of `files`; 66 if a file cannot be read, 65 if one contains no key. */
export async function importCommand(
  configFile: string,
  files: readonly string[],
  options: ImportOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(configFile, env);
    const log = openLog(config, out);
    const result: Result = { appended: 0, duplicates: 0, refused: 0, unreadable: 0 };
    try {
      if (!options.json) out.stderr(whoGetsIt(config));
      let code: number = EXIT.ok;
      for (const file of files) {
        const worse = await importFile(file, { config, log, options, out, result });
        if (code === EXIT.ok || worse === EXIT.noInput) code = worse;
      }
      const { appended, duplicates, refused, unreadable } = result;
      if (options.json) out.stdout(`${JSON.stringify(result)}\n`);
      else {
        out.stdout(
          `${appended} new, ${duplicates} known, ${refused} refused, ${unreadable} unreadable\n`,
        );
      }
      return code;
    } finally {
      log.close();
    }
  });
}

interface Job {
  readonly config: Config;
  readonly log: Pick<UpdateLog, "append" | "body" | "removals">;
  readonly options: ImportOptions;
  readonly out: Output;
  readonly result: Result;
}

async function importFile(file: string, job: Job): Promise<number> {
  const { config, log, options, out, result } = job;
  let data: Buffer;
  try {
    data = readFileSync(file);
  } catch (error) {
    out.stderr(`${file}: cannot be read: ${(error as Error).message}\n`);
    return EXIT.noInput;
  }
  const show = progress(file, options.progress, out);
  const keys = keysOf(data, (fault) => {
    result.unreadable += 1;
    out.stderr(`${file}: ${fault}\n`);
  });
  const now = systemClock.now();
  // With new_keys = false the imported keys are the known ones.
  const policy = new Policy({ ...config.policy, newKeys: true }, log, systemClock);
  let batch: Update[] = [];
  const flush = () => {
    const stored = log.append(batch.map((update) => arrivalOf(update, config, now)));
    result.appended += stored.filter(({ outcome }) => outcome === "appended").length;
    result.duplicates += stored.filter(({ outcome }) => outcome === "duplicate").length;
    batch = [];
  };
  for (const [index, key] of keys.entries()) {
    const { carried, dropped } = carriedOf(key, policy);
    for (const { message } of dropped) out.stderr(`${file}: ${key.fingerprint}: ${message}\n`);
    if (carried === undefined) result.refused += 1;
    else batch.push(updateOf(carried));
    if (batch.length < BATCH) continue;
    flush();
    show(index + 1, keys.length);
    // Lets Control-C take effect between two batches.
    await new Promise((resolve) => setImmediate(resolve));
  }
  flush();
  show(keys.length, keys.length);
  if (keys.length > 0) return EXIT.ok;
  out.stderr(`${file}: contains no OpenPGP key\n`);
  return EXIT.dataError;
}

/** The part of a key that is carried, undefined if there is none, and why the rest is not. */
function carriedOf(key: TransferableKey, policy: Policy) {
  const { pruning } = policy;
  const packets = pruning.packets(key);
  const total = pruning.total(packets.key);
  const dropped = [...packets.dropped, ...total.dropped];
  if (dropped.length > 0 && isBare(total.key)) return { carried: undefined, dropped };
  const refusal = policy.judge(total.key);
  if (refusal === undefined) return { carried: total.key, dropped };
  return { carried: undefined, dropped: [refusal] };
}

function keysOf(data: Uint8Array, tell: (fault: string) => void) {
  // Bit 7 is set in every packet header and in no ASCII.
  const isBinary = ((data[0] ?? 0) & 0x80) !== 0;
  const blocks = isBinary ? [{ data, line: 0 }] : readArmor(data);
  return [...blocks].flatMap((block) => {
    if (block instanceof Refusal) {
      tell(block.message);
      return [];
    }
    return readKeys(block.data).flatMap((key) => {
      if (!(key instanceof Refusal)) return [key];
      tell(key.message);
      return [];
    });
  });
}

function arrivalOf(update: Update, config: Config, receivedAt: number) {
  const trail = config.neighbours.flatMap(({ mail }) => (mail === undefined ? [] : [mail]));
  const origin = { neighbour: undefined, transport: "import" } as const;
  return { update, origin, trail, receivedAt };
}

function openLog(config: Config, out: Output): UpdateLog {
  if (config.log.shared !== undefined) {
    const message = `${config.log.path}: is a copy and takes no import: log.shared is set`;
    const remedy =
      "Import before the log is moved into the database. Or give the keys to a running gateway " +
      "of the site, by HKP or mail; it then mails them to the neighbours.";
    throw new Trouble("not-ours", message, remedy);
  }
  try {
    return UpdateLog.open(config.log.path, { onMigration: tellMigration(out) });
  } catch (error) {
    if (!(error instanceof Trouble) || error.kind !== "busy") throw error;
    const remedy =
      "Stop the gateway for the import (systemctl stop kxgw). Senders retry their mail later.";
    throw new Trouble("busy", error.message, remedy, { cause: error });
  }
}

/** Which neighbours receive the imported updates. */
function whoGetsIt({ neighbours }: Config): string {
  const sites = neighbours.filter(goesByMail);
  const peers = neighbours.filter(goesByKx);
  const quiet = sites.length === 0 ? "" : `Imported keys are not mailed to ${names(sites)}.\n`;
  if (peers.length === 0) return quiet;
  return (
    `${quiet}They are offered by KX to ${names(peers)}, which may fetch them and mail them to ` +
    "their own sites.\n"
  );
}

function names(neighbours: readonly { readonly name: string }[]): string {
  return neighbours.map(({ name }) => name).join(", ");
}

/** Shows the progress on one line of a terminal. */
function progress(file: string, shown: boolean, out: Output) {
  let before = "";
  return (done: number, total: number) => {
    if (!shown) return;
    const share = total === 0 ? 100 : Math.floor((done / total) * 100);
    const text = `${file}: ${done} of ${total} keys, ${share} %`;
    if (text === before) return;
    before = text;
    out.stderr(`\r${text}${done === total ? "\n" : ""}`);
  };
}
