/**
 * `kxgw log`: the update log, oldest first, for people and with --json for programs. Reads beside
 * a running gateway, in pages, so that a log of any length costs no memory. It shows what was
 * announced of each update; bodies are not shown.
 */
import { existsSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Entry } from "../log/update-log.js";
import { UpdateLog } from "../log/update-log.js";
import type { Seq } from "../update.js";
import type { Output } from "./output.js";
import { explain } from "./output.js";

const PAGE = 1000;

/**
 * Prints the log of the gateway that `file` configures. Resolves with the exit code: 0, also for
 * an empty log; 66 when there is none; 74 or 78 when it cannot be read.
 */
export async function logCommand(
  file: string,
  options: { readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  try {
    const { path } = loadConfig(file, env).log;
    if (!existsSync(path)) {
      out.stderr(`kxgw: ${path}: there is no log\n      The gateway makes it when it starts.\n`);
      return EXIT.noInput;
    }
    const log = UpdateLog.open(path, { readonly: true });
    try {
      await print(log, options.json ? jsonLine : textLine, out);
      return EXIT.ok;
    } finally {
      log.close();
    }
  } catch (error) {
    return explain(error, out);
  }
}

async function print(log: UpdateLog, line: (entry: Entry) => string, out: Output): Promise<void> {
  for (let from = 0; ; ) {
    const page = log.range(from as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
    const last = page.at(-1);
    if (last === undefined) return;
    out.stdout(page.map(line).join(""));
    from = last.seq + 1;
    // A reader that has closed the pipe is noticed between two pages, not after a million lines.
    await setImmediate();
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
  const number = String(seq).padStart(7);
  const bytes = String(size).padStart(8);
  const from = `${origin.neighbour ?? "?"}/${origin.transport}`;
  const received = new Date(receivedAt).toISOString();
  return `${number} ${fingerprint} ${hash} ${bytes} ${from} ${received}\n`;
}
