/**
 * `kxgw demo`: the tour of `demo/tour.ts`, with its progress on stderr and what travelled on
 * stdout. Works in a temporary directory and leaves nothing behind, neither files nor processes,
 * also when it is interrupted. Fails with the reason when a key does not arrive whole.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Journey } from "../demo/tour.js";
import { tour } from "../demo/tour.js";
import { EXIT } from "../errors.js";
import type { Output } from "./output.js";

/** What a shell reports for a process that a signal ended. */
const SIGNALLED = { SIGINT: 130, SIGTERM: 143 } as const;

/** Runs the demo. Resolves with the exit code: 0, 70 when it failed, 130 or 143 when stopped. */
export async function demoCommand(
  options: { readonly json: boolean },
  out: Output,
): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-demo-"));
  const stop = new AbortController();
  let code: number = EXIT.software;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      code = SIGNALLED[signal];
      stop.abort(new Error(`stopped by ${signal}`));
    });
  }
  try {
    const journey = await tour(directory, (text) => out.stderr(`${text}\n`), stop.signal);
    out.stdout(options.json ? `${JSON.stringify(journey)}\n` : report(journey));
    return EXIT.ok;
  } catch (error) {
    const why = stop.signal.aborted ? stop.signal.reason : error;
    out.stderr(`kxgw demo: ${why instanceof Error ? why.message : String(why)}\n`);
    return code;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(journey: Journey): string {
  const { milliseconds: ms, hashes, mailsOut } = journey;
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
  const mail = `${kib(journey.mailBytesIn)} in, ${kib(journey.mailBytesOut)} out`;
  const suppressed = `${journey.duplicatesSuppressed} of ${journey.duplicatesOffered} suppressed`;
  return [
    "",
    ...Object.entries(hashes).map(([fingerprint, hash]) => `  ${fingerprint}  ${hash}`),
    "",
    `updates       ${journey.arrived} of ${journey.keys} arrived whole`,
    `mail to mail  ${ms.median} ms median (${ms.least} to ${ms.most} ms)`,
    `by mail       ${mail} in ${mailsOut} mails`,
    `by KX         ${kib(journey.kxBytes)} both ways`,
    `duplicates    ${suppressed}, ${journey.mailsAfterDuplicates} mails caused by them`,
    "",
  ].join("\n");
}
