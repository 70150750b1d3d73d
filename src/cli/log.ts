/**
 * `kxgw log`: the update log, oldest first, for people and with --json for programs. Reads beside
 * a running gateway, in pages, so that a log of any length costs no memory.
 */
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Seq } from "../update.js";
import type { Entry } from "../updatelog/update-log.js";
import { UpdateLog } from "../updatelog/update-log.js";
import type { Output } from "./output.js";
import { explain } from "./output.js";

const PAGE = 1000;

/** Prints the log of the gateway that `file` configures; returns the exit code. */
export function logCommand(
  file: string,
  options: { readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): number {
  try {
    const log = UpdateLog.open(loadConfig(file, env).log.path, { readonly: true });
    try {
      let from = 0;
      for (;;) {
        const page = log.range(from as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
        if (page.length === 0) return EXIT.ok;
        out.stdout(page.map(options.json ? jsonLine : textLine).join(""));
        from = (page.at(-1)?.seq ?? 0) + 1;
      }
    } finally {
      log.close();
    }
  } catch (error) {
    return explain(error, out);
  }
}

function jsonLine(entry: Entry): string {
  const { seq, fingerprint, hash, size, origin, receivedAt } = entry;
  const received = new Date(receivedAt).toISOString();
  const from = { origin: origin.neighbour ?? null, transport: origin.transport };
  return `${JSON.stringify({ seq, fingerprint, hash, size, ...from, received })}\n`;
}

function textLine(entry: Entry): string {
  const { seq, fingerprint, hash, size, origin, receivedAt } = entry;
  const from = `${origin.neighbour ?? "?"}/${origin.transport}`;
  const received = new Date(receivedAt).toISOString();
  return `${String(seq).padStart(7)} ${fingerprint} ${hash} ${String(size).padStart(8)} ${from} ${received}\n`;
}
