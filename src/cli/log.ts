/**
 * `kxgw log`: prints the update log, oldest first, as text or with --json as JSON. It works beside
 * a running gateway and reads in pages, so that its memory does not depend on the length of the
 * log. It prints what is announced of each update, not its body.
 */
import { existsSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { Seq } from "../update.js";
import { openToRead } from "./daemon.js";
import type { Output } from "./output.js";
import { explain } from "./output.js";

const PAGE = 1000;

/**
 * Prints the log of the gateway that `file` configures. Resolves with the exit code: 0, also for
 * an empty log; 66 if there is no log; 74 or 78 if it cannot be read.
 */
export async function logCommand(
  file: string,
  options: { readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  try {
    const config = loadConfig(file, env);
    const { path } = config.log;
    if (!existsSync(path)) {
      out.stderr(`kxgw: ${path}: no such file\n      The gateway creates it when it starts.\n`);
      return EXIT.noInput;
    }
    const log = openToRead(config);
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

async function print(
  log: Pick<UpdateLog, "range">,
  line: (entry: Entry) => string,
  out: Output,
): Promise<void> {
  for (let from = 0; ; ) {
    const page = log.range(from as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
    const last = page.at(-1);
    if (last === undefined) return;
    out.stdout(page.map(line).join(""));
    from = last.seq + 1;
    // Lets the process notice a closed pipe between two pages.
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
