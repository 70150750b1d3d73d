/**
 * The sides of a run: this checkout, and with `--against DIR` another one, built, in front of it.
 * Both take each turn, so that what else the machine does hits both. A log is always filled by the
 * side that will read it, because their schemas may differ.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Migration } from "../../src/log/connection.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import type { Update } from "../../src/update.js";

export interface Side {
  /** "" for this checkout, ", before" for the other, behind the name of a figure. */
  readonly label: string;
  /** The directory of its compiled sources. */
  readonly modules: string;
}

type Admit = typeof import("../../src/admit.js");
type Connections = typeof import("../../src/log/connection.js");
type Keys = typeof import("../../src/openpgp/key.js");
type Log = typeof import("../../src/log/update-log.js");

/** `build` is the directory that holds the compiled src; `refuse` is told what `against` lacks. */
export function sidesOf(
  build: string,
  against: string | undefined,
  refuse: (message: string) => never,
): Side[] {
  const ours = { label: "", modules: join(build, "src") };
  if (against === undefined) return [ours];
  const modules = resolve(against, "dist");
  if (!existsSync(join(modules, "main.js"))) {
    refuse(`--against: ${modules} has no main.js: run npm ci and npm run build there`);
  }
  return [{ label: ", before", modules }, ours];
}

/** Opens a log with the code of a side. `onMigration` is told of a migration to its version. */
export async function openLog(
  { modules }: Side,
  file: string,
  onMigration?: (migration: Migration) => void,
): Promise<UpdateLog> {
  const { UpdateLog } = (await import(join(modules, "log/update-log.js"))) as Log;
  return UpdateLog.open(file, { onMigration });
}

/** The same for filling a large one: nothing is synced, and a crash would lose the file. */
export async function openUnsafe({ modules }: Side, file: string): Promise<UpdateLog> {
  const { UpdateLog } = (await import(join(modules, "log/update-log.js"))) as Log;
  const { Connection } = (await import(join(modules, "log/connection.js"))) as Connections;
  let log: UpdateLog | undefined;
  const { db } = Connection.open(file, {
    prepare: (connection) => {
      log = new UpdateLog(connection);
    },
  });
  for (const pragma of ["journal_mode = OFF", "synchronous = OFF", "cache_size = -1500000"]) {
    db.pragma(pragma);
  }
  if (log === undefined) throw new Error("a log was opened without its statements");
  return log;
}

/** A log with these updates, as if they had come by mail just now. */
export async function fill(side: Side, file: string, updates: readonly Update[]): Promise<void> {
  const log = await openLog(side, file);
  const own = side.label === "" ? updates : await asOf(side, updates);
  const origin = { neighbour: undefined, transport: "mail" } as const;
  const receivedAt = Date.now();
  for (let from = 0; from < own.length; from += 1000) {
    const batch = own.slice(from, from + 1000);
    log.append(batch.map((update) => ({ update, origin, trail: [], receivedAt })));
  }
  log.close();
}

/** The updates as the code of that side makes them. */
async function asOf({ modules }: Side, updates: readonly Update[]): Promise<Update[]> {
  const { updateOf } = (await import(join(modules, "admit.js"))) as Admit;
  const { readKeys } = (await import(join(modules, "openpgp/key.js"))) as Keys;
  return updates.map(({ body }) => {
    const [key] = readKeys(body);
    if (key === undefined || key instanceof Error) throw new Error("an update is no key");
    return updateOf(key);
  });
}
