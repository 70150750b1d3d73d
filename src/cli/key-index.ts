/**
 * `kxgw index build DUMP...` and `kxgw index status`: make the key index from dumps of the site's
 * keyserver, binary or armored, and show what it holds. A build needs no stopped gateway: it writes
 * another file, puts it in place when all dumps are read, and the gateway goes on with it.
 */
import { createReadStream, statSync } from "node:fs";
import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { EXIT, Refusal, Trouble } from "../errors.js";
import { type IndexChange, type IndexPosition, indexPath, KeyIndex } from "../log/key-index.js";
import { readKeys, type TransferableKey } from "../openpgp/key.js";
import { KeyStream } from "../openpgp/key-stream.js";
import { digestOfNames, packetNames } from "../openpgp/news.js";
import { isFramed } from "../openpgp/packet.js";
import { grouped, octets, several } from "../text.js";
import type { Seq } from "../update.js";
import { openToRead, run } from "./daemon.js";
import type { Output } from "./output.js";

/** Keys that are gathered before they are stored: some 50 MB. */
const BATCH = 100_000;
/** Faults of a dump that are printed; the rest are counted. */
const MOST_FAULTS = 20;
const DAY_MS = 24 * 60 * 60_000;
/** A new index with a smaller share of the keys of the former one is taken for incomplete. */
const LEAST_SHARE = 0.9;

export interface IndexBuildOptions {
  readonly file: string;
  readonly json: boolean;
  readonly progress: boolean;
}

interface Counts {
  keys: number;
  unreadable: number;
  bytes: number;
}

/**
 * 0 when the index is in place, 66 for a dump that cannot be read, 65 when one is cut off, when
 * none has a key, or when many keys of the former index are not in them.
 */
export async function indexBuildCommand(
  dumps: readonly string[],
  options: IndexBuildOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(options.file, env);
    const path = indexPath(config.log.path);
    const takenAt = takenOf(dumps, out);
    if (takenAt === undefined) return EXIT.noInput;
    const position = positionAt(config, takenAt - DAY_MS);
    const index = KeyIndex.create(`${path}-new`, systemClock.now(), position);
    let isPlaced = false;
    try {
      const counts: Counts = { keys: 0, unreadable: 0, bytes: 0 };
      for (const dump of dumps) {
        const code = await readDump(dump, index, counts, options, out);
        if (code !== EXIT.ok) return code;
      }
      const { keys } = index.status();
      if (keys === 0) {
        out.stderr("kxgw: the dumps contain no OpenPGP key; the index is left as it was\n");
        return EXIT.dataError;
      }
      const former = keysInPlace(path);
      if (keys < LEAST_SHARE * former) {
        out.stderr(
          `kxgw: the dumps have ${several(keys, "key")}, the index has ${grouped(former)}; it is ` +
            "left as it was. Give all files of the dump. " +
            `If so many keys were removed, delete ${path} and build again.\n`,
        );
        return EXIT.dataError;
      }
      index.replace(path);
      isPlaced = true;
      const { unreadable, bytes } = counts;
      if (options.json) out.stdout(`${JSON.stringify({ path, keys, unreadable, bytes })}\n`);
      else {
        const faults = unreadable === 0 ? "" : `, ${grouped(unreadable)} unreadable`;
        out.stdout(`${path}: ${several(keys, "key")}${faults}\n`);
      }
      return EXIT.ok;
    } finally {
      if (!isPlaced) index.discard();
    }
  });
}

/** When the oldest dump was written, ms since 1970; undefined if one cannot be read. */
function takenOf(dumps: readonly string[], out: Output): number | undefined {
  let takenAt = Infinity;
  for (const dump of dumps) {
    try {
      takenAt = Math.min(takenAt, statSync(dump).mtimeMs);
    } catch (error) {
      out.stderr(`${dump}: cannot be read: ${(error as Error).message}\n`);
      return undefined;
    }
  }
  return takenAt;
}

/**
 * The last update that was received before `at`: keys that changed later are looked up by the
 * gateway, since the dump may not have them.
 */
function positionAt(config: Config, at: number): IndexPosition {
  const log = openToRead(config);
  try {
    let [low, high] = [0, log.newest() as number];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const entry = log.entry(middle as Seq);
      // What has expired was received long ago.
      if (entry === undefined || entry.receivedAt < at) low = middle;
      else high = middle - 1;
    }
    return { seq: low as Seq, name: log.name };
  } finally {
    log.close();
  }
}

/** How many keys the index at `path` has; 0 if there is none, or none that can be read. */
function keysInPlace(path: string): number {
  try {
    const index = KeyIndex.open(path, true);
    const keys = index?.state("").count ?? 0;
    index?.close();
    return keys;
  } catch (error) {
    if (error instanceof Trouble) return 0;
    throw error;
  }
}

/** The exit code: 66 when the dump cannot be read, 65 when it is cut off. */
async function readDump(
  dump: string,
  index: KeyIndex,
  counts: Counts,
  { progress }: IndexBuildOptions,
  out: Output,
): Promise<number> {
  const stream = new KeyStream();
  const { size } = statSync(dump);
  let batch: IndexChange[] = [];
  let faults = 0;
  let read = 0;
  let shown = "";
  let last: { block: Uint8Array; key: TransferableKey | Refusal | undefined } | undefined;
  const store = () => {
    index.apply(batch);
    batch = [];
  };
  const take = (blocks: readonly Uint8Array[]) => {
    for (const block of blocks) {
      const keys = readKeys(block);
      last = { block, key: keys.at(-1) };
      for (const key of keys) {
        if (key instanceof Refusal) {
          faults += 1;
          if (faults <= MOST_FAULTS) out.stderr(`${dump}: ${key.message}\n`);
          continue;
        }
        const fingerprint = Buffer.from(key.fingerprint, "hex");
        batch.push({ fingerprint, digest: Buffer.from(digestOfNames(packetNames(key)), "hex") });
        counts.keys += 1;
      }
      if (batch.length >= BATCH) store();
    }
  };
  try {
    for await (const piece of createReadStream(dump, { highWaterMark: 1024 * 1024 })) {
      read += (piece as Buffer).length;
      take(stream.push(piece as Buffer));
      const text = `${dump}: ${octets(read)} of ${octets(size)}, ${several(counts.keys, "key")}`;
      if (progress && text !== shown) out.stderr(`\r\x1b[K${text}`);
      shown = text;
    }
  } catch (error) {
    if (error instanceof Trouble || (error as NodeJS.ErrnoException).code === undefined)
      throw error;
    out.stderr(`${dump}: cannot be read: ${(error as Error).message}\n`);
    return EXIT.noInput;
  } finally {
    if (progress && shown !== "") out.stderr("\n");
  }
  take(stream.end());
  // Reading continues at the next key after a fault, so a fault that comes last is at the end.
  const { key, block } = last ?? {};
  const isBroken = key instanceof Refusal && key.reason === "bad-packet";
  if (stream.isCutOff || (isBroken && block !== undefined && !isFramed(block))) {
    out.stderr(`${dump}: is cut off within a key; the index is left as it was. Dump it again.\n`);
    return EXIT.dataError;
  }
  store();
  if (faults > MOST_FAULTS) {
    out.stderr(`${dump}: ${several(faults - MOST_FAULTS, "more unreadable key")}\n`);
  }
  counts.unreadable += faults;
  counts.bytes += read;
  return EXIT.ok;
}

/** Prints what the index holds; 69 if there is none. */
export async function indexStatusCommand(
  options: { readonly file: string; readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, () => {
    const config = loadConfig(options.file, env);
    const path = indexPath(config.log.path);
    const index = KeyIndex.open(path, true);
    if (index === undefined) {
      out.stderr(`kxgw: ${path}: there is no key index; make it with "kxgw index build"\n`);
      return EXIT.unavailable;
    }
    try {
      const { keys, builtAt, fileBytes, seq, name } = index.status();
      const log = openToRead(config);
      const isOfLog = name === log.name;
      const behind = log.newest() - (isOfLog ? seq : 0);
      log.close();
      const built = new Date(builtAt).toISOString();
      const { hash } = index.state("");
      if (options.json) {
        out.stdout(`${JSON.stringify({ path, keys, hash, built, bytes: fileBytes, behind })}\n`);
        return EXIT.ok;
      }
      const refreshed =
        config.local?.url === undefined
          ? "not kept up to date: [local] has no url, so build it again from time to time"
          : `${several(behind, "update")} of the log not looked up yet`;
      out.stdout(
        `${path}\n  keys      ${grouped(keys)}\n  hash      ${hash}\n  built     ${built}\n` +
          `  size      ${octets(fileBytes)}\n  log       ${refreshed}\n`,
      );
      return EXIT.ok;
    } finally {
      index.close();
    }
  });
}
