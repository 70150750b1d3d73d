/**
 * `kxgw db check` and `kxgw db backup FILE`: check the integrity of the update log, and copy it,
 * also while a gateway runs. The config names the log. Both exit with 74 if the log is damaged.
 */
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import { backUpLog } from "../log/backup.js";
import { type Inspection, inspectLog } from "../log/inspect.js";
import type { Output } from "./output.js";
import { explain } from "./output.js";

/** Inspects the log of the gateway that `file` configures; returns the exit code. */
export function dbCheckCommand(file: string, out: Output, env: NodeJS.ProcessEnv): number {
  try {
    const { path } = loadConfig(file, env).log;
    const found = inspectLog(path);
    if (found.problems.length === 0) {
      out.stdout(`${path}: ok\n${summary(found)}`);
      return EXIT.ok;
    }
    for (const problem of found.problems) out.stderr(`${path}: ${problem}\n`);
    out.stderr(
      `kxgw: ${path}: the update log is damaged\n` +
        `      Stop the gateway, copy ${path} and ${path}-wal elsewhere, and check the disk. ` +
        `Then restore a backup, or rebuild the log with "sqlite3 ${path} .recover".\n`,
    );
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
    const { path } = loadConfig(file, env).log;
    const found = await backUpLog(path, target, {
      replace: force,
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

function summary({ newest, entries, bodies, bodyBytes }: Inspection): string {
  const mib = (bodyBytes / 1024 / 1024).toFixed(1);
  return `  newest    ${newest}\n  entries   ${entries}\n  bodies    ${bodies} (${mib} MiB)\n`;
}
