/**
 * `kxgw db check` and `kxgw db backup FILE`: check the integrity of the update log, and copy it,
 * also while a gateway runs. The config names the log. Both exit with 74 if the log is damaged.
 *
 * `kxgw db move --to-shared` and `--to-local`: move the log into the database that several gateways
 * share, and back, while no gateway runs.
 */
import { systemClock } from "../clock.js";
import { nodeName, ownsName } from "../cluster/cluster.js";
import { PostgresStore } from "../cluster/postgres-store.js";
import { loadConfig } from "../config/load.js";
import { EXIT, Trouble } from "../errors.js";
import { backUpLog } from "../log/backup.js";
import { type Inspection, inspectLog } from "../log/inspect.js";
import { moveToLocal, moveToShared } from "../log/move.js";
import { logKind } from "../log/trouble.js";
import { VERSION } from "../version.js";
import type { Output } from "./output.js";
import { explain } from "./output.js";

/** A gateway that was heard from in this time runs: it is heard from each second. */
const RUNS_MS = 10_000;

/** Inspects the log of the gateway that `file` configures; returns the exit code. */
export function dbCheckCommand(file: string, out: Output, env: NodeJS.ProcessEnv): number {
  try {
    const { path, shared } = loadConfig(file, env).log;
    const isCopy = shared !== undefined;
    const found = inspectLog(path, isCopy);
    if (found.problems.length === 0) {
      out.stdout(`${path}: ok\n${summary(found)}`);
      return EXIT.ok;
    }
    for (const problem of found.problems) out.stderr(`${path}: ${problem}\n`);
    const remedy = isCopy
      ? logKind(isCopy).repair(path)
      : `Stop the gateway, copy ${path} and ${path}-wal elsewhere, and check the disk. ` +
        `Then restore a backup, or rebuild the log with "sqlite3 ${path} .recover".`;
    out.stderr(`kxgw: ${path}: the update log is damaged\n      ${remedy}\n`);
    return EXIT.ioError;
  } catch (error) {
    return explain(error, out);
  }
}

/** Copies the log to `target`; resolves with the exit code. A terminal shows the progress. */
export async function dbBackupCommand(
  file: string,
  target: string,
  options: { readonly force: boolean; readonly progress: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const { force, progress } = options;
  const show = (text: string) => {
    if (progress) out.stderr(`\r${text}`);
  };
  try {
    const { path, shared } = loadConfig(file, env).log;
    const found = await backUpLog(path, target, {
      replace: force,
      isCopy: shared !== undefined,
      onProgress: (share) => show(`${Math.round(share * 100)} % of ${path}`),
    });
    show(`${" ".repeat(path.length + 9)}\r`);
    out.stdout(`${target}: ok\n${summary(found)}`);
    return EXIT.ok;
  } catch (error) {
    show("\n");
    return explain(error, out);
  }
}

/**
 * Moves the log of the gateway that `file` configures into the database of `log.shared`, or out of
 * it; resolves with the exit code. A move that was interrupted goes on. A terminal shows progress.
 */
export async function dbMoveCommand(
  file: string,
  to: "shared" | "local",
  options: { readonly progress: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const show = (text: string) => {
    if (options.progress) out.stderr(`\r${text}`);
  };
  let store: PostgresStore | undefined;
  try {
    const { log, site } = loadConfig(file, env);
    if (log.shared === undefined) {
      const remedy = 'Write shared = "postgres://user@host/database" in [log], and run it again.';
      throw new Trouble("not-ours", `${file}: log.shared is not set`, remedy);
    }
    const settings = { database: log.shared, site: site.address, node: nodeName(log) };
    const given = { ...settings, version: VERSION, mayCreate: to === "shared" };
    store = await PostgresStore.open(given, systemClock);
    await assertAlone(store, nodeName(log));
    const move = to === "shared" ? moveToShared : moveToLocal;
    const moved = move(log.path, store, {
      onProgress: (share) => show(`${Math.round(share * 100)} % of ${log.path}`),
    });
    show(`${" ".repeat(log.path.length + 9)}\r`);
    const { newest, entries } = moved;
    const next =
      to === "shared"
        ? "The log is in the database, and this file is a copy of it. Start the gateway.\n"
        : "The file is the log again. Remove log.shared from the configuration, and start the " +
          "gateway. No other gateway can use the database any more.\n";
    out.stdout(`${log.path}: moved\n  newest    ${newest}\n  entries   ${entries}\n${next}`);
    return EXIT.ok;
  } catch (error) {
    show("\n");
    return explain(error, out);
  } finally {
    await store?.close();
  }
}

/** Throws `Trouble` 'busy' if another gateway of the site runs. */
async function assertAlone(store: PostgresStore, own: string): Promise<void> {
  const isOwn = await ownsName(store, systemClock);
  const others = store
    .state()
    .nodes.filter(({ name, silentMs }) => name !== own && silentMs < RUNS_MS)
    .map(({ name }) => name);
  // A session that has the name of this gateway is of a gateway, here or on another host.
  const users = isOwn ? others : [own, ...others];
  if (users.length === 0) return;
  const message = `the database is in use by ${users.join(", ")}`;
  throw new Trouble("busy", message, "Stop all gateways of the site, and run it again.");
}

function summary({ newest, entries, bodies, bodyBytes }: Inspection): string {
  const mib = (bodyBytes / 1024 / 1024).toFixed(1);
  return `  newest    ${newest}\n  entries   ${entries}\n  bodies    ${bodies} (${mib} MiB)\n`;
}
