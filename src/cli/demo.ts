/**
 * `kxgw demo`: runs `demo/local-demo.ts`, or `demo/remote-demo.ts` through gateways that run
 * already. Progress goes to stderr, the result to stdout. It works in a temporary
 * directory and removes all files and processes at the end, also when it is interrupted.
 * It fails with a reason if a key does not arrive complete.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseKeyserver, parseMailAddress } from "../config/addresses.js";
import type { Reading } from "../config/units.js";
import { parseEndpoint } from "../config/units.js";
import type { DemoJourney } from "../demo/local-demo.js";
import { localDemo } from "../demo/local-demo.js";
import type { RemoteDemo, Stations } from "../demo/remote-demo.js";
import { remoteDemo } from "../demo/remote-demo.js";
import { EXIT } from "../errors.js";
import type { Output } from "./output.js";

/** The exit code that a shell reports for a process ended by a signal. */
const SIGNALLED = { SIGINT: 130, SIGTERM: 143 } as const;

export interface DemoOptions {
  readonly json: boolean;
  /** Start and end of a demo through running gateways: all three, or none. */
  readonly smtp: string | undefined;
  readonly site: string | undefined;
  readonly keyserver: string | undefined;
}

/** Runs the demo. Resolves with the exit code: 0, 64, 70 when it fails, 130 or 143 when stopped. */
export async function demoCommand(options: DemoOptions, out: Output): Promise<number> {
  const stations = stationsOf(options);
  if (typeof stations === "string") {
    out.stderr(`kxgw demo: ${stations}\n`);
    return EXIT.usage;
  }
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
    const say = (text: string) => out.stderr(`${text}\n`);
    const travelled = stations
      ? await remoteDemo(stations, say, stop.signal)
      : await localDemo(directory, say, stop.signal);
    const text = "arrived" in travelled ? report(travelled) : visitReport(travelled);
    out.stdout(options.json ? `${JSON.stringify(travelled)}\n` : text);
    return EXIT.ok;
  } catch (error) {
    const why = stop.signal.aborted ? stop.signal.reason : error;
    out.stderr(`kxgw demo: ${why instanceof Error ? why.message : String(why)}\n`);
    return code;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The stations that the options name, undefined without options, or an error message. */
function stationsOf({ smtp, site, keyserver }: DemoOptions): Stations | undefined | string {
  if (smtp === undefined && site === undefined && keyserver === undefined) return undefined;
  if (smtp === undefined || site === undefined || keyserver === undefined) {
    return "--smtp, --site and --keyserver must be given together";
  }
  const [endpoint, address, url] = [
    parseEndpoint(smtp),
    parseMailAddress(site),
    parseKeyserver(keyserver),
  ];
  const fault = (option: string, reading: Reading<unknown>) =>
    "fault" in reading ? [`${option}: ${reading.fault}`] : [];
  if ("fault" in endpoint || "fault" in address || "fault" in url) {
    return [
      ...[...fault("--smtp", endpoint), ...fault("--site", address)],
      ...fault("--keyserver", url),
    ].join("; ");
  }
  return { smtp: endpoint.value, site: address.value, keyserver: url.value };
}

function visitReport({ keys, news, milliseconds: ms, ...visited }: RemoteDemo): string {
  const { duplicatesKnown, duplicatesOffered } = visited;
  return [
    "",
    `updates       ${keys} of ${keys} arrived complete, ${news} of them new to the first gateway`,
    `latency       ${ms.median} ms median (${ms.least} to ${ms.most} ms)`,
    `duplicates    ${duplicatesKnown} of ${duplicatesOffered} suppressed`,
    "",
  ].join("\n");
}

function report(journey: DemoJourney): string {
  const { milliseconds: ms, hashes, mailsOut } = journey;
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
  const mail = `${kib(journey.mailBytesIn)} in, ${kib(journey.mailBytesOut)} out`;
  const suppressed = `${journey.duplicatesSuppressed} of ${journey.duplicatesOffered} suppressed`;
  return [
    "",
    ...Object.entries(hashes).map(([fingerprint, hash]) => `  ${fingerprint}  ${hash}`),
    "",
    `updates       ${journey.arrived} of ${journey.keys} arrived complete`,
    `mail to mail  ${ms.median} ms median (${ms.least} to ${ms.most} ms)`,
    `by mail       ${mail} in ${mailsOut} mails`,
    `by KX         ${kib(journey.kxBytes)} both ways`,
    `duplicates    ${suppressed}, ${journey.mailsAfterDuplicates} mails caused by them`,
    "",
  ].join("\n");
}
