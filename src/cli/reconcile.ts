/**
 * `kxgw reconcile PEER`: compares the key index with that of a KX peer, and has the keys that
 * differ fetched from the peer's keyserver; with --dry-run it only compares. The running gateway
 * does the work; this command gives the order, shows the progress and prints the result.
 */
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Status } from "../status/status.js";
import { grouped, several } from "../text.js";
import { printed, run, sent, statusOf } from "./daemon.js";
import type { Output } from "./output.js";
import { find } from "./peers.js";
import { plainText } from "./table.js";

/** How often the progress is read. */
const LOOK_MS = 250;

export interface ReconcileOptions {
  readonly file: string;
  readonly json: boolean;
  readonly dryRun: boolean;
  /** How long to watch the progress. */
  readonly waitMs: number;
  /** Whether progress is shown on stderr. */
  readonly progress: boolean;
}

type Peer = NonNullable<Status["neighbours"][number]["peer"]>;
type Report = NonNullable<Peer["reconcile"]>;

/** 0 when the comparison is done, 69 when it cannot be made or failed, 75 when it still runs. */
export async function reconcileCommand(
  name: string,
  options: ReconcileOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(options.file, env);
    const neighbour = find(config, name, out);
    if (neighbour === undefined) return EXIT.usage;
    const query = options.dryRun ? "?dry-run" : "";
    const reply = await sent(config, `/peers/${neighbour.name}/reconcile${query}`, out);
    if (reply === undefined) return EXIT.unavailable;
    if (reply.code !== 200) {
      printed(reply, options.json, out);
      return EXIT.unavailable;
    }
    const report = await watch(() => statusOf(config), neighbour.name, options, out);
    if (options.json) out.stdout(`${JSON.stringify(report)}\n`);
    else if (report.state === "failed") out.stderr(`Failed: ${plainText(report.problem ?? "")}.\n`);
    else out.stdout(reportText(neighbour.name, report));
    if (report.state === "failed") return EXIT.unavailable;
    return report.state === "running" ? EXIT.tempFail : EXIT.ok;
  });
}

async function watch(
  look: () => Promise<Status>,
  name: string,
  { waitMs, progress }: ReconcileOptions,
  out: Output,
): Promise<Report> {
  const deadline = performance.now() + waitMs;
  let shown = "";
  for (;;) {
    const report = reportOf(await look(), name);
    const words =
      `${several(report.questions, "question")}, ` +
      `${grouped(report.onlyThere + report.onlyHere + report.differing)} different keys so far`;
    if (progress && words !== shown) {
      out.stderr(`\r\x1b[K${name}: ${words}`);
      shown = words;
    }
    if (report.state !== "running" || performance.now() >= deadline) {
      if (shown !== "") out.stderr("\n");
      return report;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function reportOf(status: Status, name: string): Report {
  const report = status.neighbours.find((one) => one.name === name)?.peer?.reconcile;
  if (report === null || report === undefined) throw new Error(`no comparison with ${name}`);
  return report;
}

function reportText(name: string, report: Report): string {
  const { keysHere, keysThere, common, onlyHere, onlyThere, differing, questions } = report;
  const rows: [string, number][] = [
    ["keys here", keysHere],
    ["keys there", keysThere],
    ["the same", common],
    ["only here", onlyHere],
    ["only there", onlyThere],
    ["different", differing],
    ["questions", questions],
  ];
  const width = Math.max(...rows.map(([, count]) => grouped(count).length));
  const table = rows.map(
    ([title, count]) => `  ${title.padEnd(12)}${grouped(count).padStart(width)}\n`,
  );
  return `${name}\n${table.join("")}${conclusion(report)}\n`;
}

function conclusion(report: Report): string {
  const { state, dryRun, queued, fetching, staying, postponed, told } = report;
  const { onlyHere, onlyThere, differing } = report;
  if (state === "running") return 'Still running; "kxgw peers show" shows the progress.';
  if (onlyHere + onlyThere + differing === 0) return "Both have the same keys.";
  if (dryRun) return "Compared only: nothing is fetched.";
  const parts = [
    `${several(queued, "key")} to be fetched from its keyserver`,
    ...(fetching === 0 ? [] : [`${several(fetching, "key")} being fetched already`]),
    ...(told === 0 ? [] : [`it was told of ${several(told, "key")}`]),
    ...(staying === 0 ? [] : [`${several(staying, "difference")} known to stay`]),
    ...(postponed === 0 ? [] : [`${several(postponed, "key")} left for the next run`]),
  ];
  const more = state === "budget" ? " There are more: run it again when these are fetched." : "";
  return `${parts.join("; ")}.${more}`;
}
