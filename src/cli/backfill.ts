/**
 * `kxgw backfill PEER`: asks a neighbour for updates again. A KX peer is listed from its first
 * announcement on, whatever the days, because announcements have no date. A neighbour with
 * `repair = "mail"` is asked for LAST by mail, which may take hours. HKP has no list of
 * changes. The running gateway does the work; this command shows its progress.
 */

import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Status } from "../status/status.js";
import { several } from "../text.js";
import { run, sent, statusOf } from "./daemon.js";
import type { Output } from "./output.js";
import { find } from "./peers.js";

const DAY_MS = 24 * 60 * 60_000;
/** How often the progress is read. */
const LOOK_MS = 250;
/** Upper bound of the question to a pksd, whose `max_last` is far below. */
const MOST_DAYS = 10_000;

export interface BackfillOptions {
  readonly file: string;
  readonly json: boolean;
  /** How far back, in milliseconds; undefined means log.remember. */
  readonly sinceMs: number | undefined;
  /** How long to watch the progress. */
  readonly waitMs: number;
  /** Whether progress is shown on stderr. */
  readonly progress: boolean;
}

interface Order {
  readonly done: boolean;
  readonly words: string;
  readonly via?: "kx" | "mail";
}

/** 0 when the order was accepted, 69 when it was not or the gateway does not run. */
export async function backfillCommand(
  name: string,
  options: BackfillOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(options.file, env);
    const neighbour = find(config, name, out);
    if (neighbour === undefined) return EXIT.usage;
    const wanted = Math.ceil((options.sinceMs ?? config.log.rememberMs) / DAY_MS);
    const days = Math.min(MOST_DAYS, Math.max(1, wanted));
    const before = await statusOf(config);
    const reply = await sent(config, `/peers/${neighbour.name}/backfill/${days}`, out);
    if (reply === undefined) return EXIT.unavailable;
    const order = JSON.parse(reply.body) as Order;
    if (reply.code !== 200 || order.via === undefined) {
      (options.json ? out.stdout : out.stderr)(options.json ? reply.body : `${order.words}\n`);
      return EXIT.unavailable;
    }
    if (!options.json) out.stdout(`${order.words}\n`);
    const watched = { name: neighbour.name, via: order.via };
    const end = await watch(() => statusOf(config), watched, before, options, out);
    if (options.json) out.stdout(`${JSON.stringify({ ...order, days, ...end })}\n`);
    else out.stdout(endText(neighbour.name, end));
    return EXIT.ok;
  });
}

/** The result: whether it is finished, and what was received since the order. */
interface End {
  readonly finished: boolean;
  readonly appended: number;
  /** Lost keys that are being fetched one by one. */
  readonly repairs: number;
  /** Why it failed, or null. */
  readonly problem: string | null;
}

async function watch(
  look: () => Promise<Status>,
  watched: { readonly name: string; readonly via: "kx" | "mail" },
  before: Status,
  { waitMs, progress }: BackfillOptions,
  out: Output,
): Promise<End> {
  const deadline = performance.now() + waitMs;
  let shown = "";
  for (;;) {
    const now = await look();
    const state = stateOf(now, watched);
    if (progress && state.words !== shown) {
      out.stderr(`\r\x1b[K${watched.name}: ${state.words}`);
      shown = state.words;
    }
    if (state.isDone || performance.now() >= deadline) {
      if (shown !== "") out.stderr("\n");
      const appended = accepted(now, watched.name) - accepted(before, watched.name);
      const problem = state.isDone ? problemSince(now, before, watched.name) : null;
      // The question by mail counts as a repair itself.
      const repairs = now.repairs - (watched.via === "mail" && !state.isDone ? 1 : 0);
      return { finished: state.isDone, appended, repairs, problem };
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function stateOf({ neighbours }: Status, { name, via }: { name: string; via: "kx" | "mail" }) {
  const view = neighbours.find((one) => one.name === name);
  if (via === "mail") {
    const changes = view?.repairs.changes ?? null;
    if (changes === null) return { isDone: true, words: "answer received" };
    const asked = changes.asked === null ? "asking" : "asked";
    return { isDone: false, words: `${asked} for ${several(changes.days, "day")}, no answer yet` };
  }
  const peer = view?.peer;
  if (peer?.connected !== true) return { isDone: false, words: "not connected" };
  const { cursor, newest, missing } = peer;
  const words = `at ${cursor ?? 0} of ${newest ?? 0}, ${several(missing, "update")} to fetch`;
  return { isDone: cursor === newest && missing === 0, words };
}

/** Updates received from the neighbour since the start of the gateway. */
function accepted({ counts }: Status, name: string): number {
  return counts
    .filter(({ event, neighbour }) => event === "accepted" && neighbour === name)
    .reduce((sum, { count }) => sum + count, 0);
}

/** Why the backfill failed. */
function problemSince(now: Status, before: Status, name: string): string | null {
  const last = before.recent[0]?.id ?? 0;
  const failed = now.recent.find(
    ({ id, event, fingerprint, words }) =>
      id > last && event === "repair-failed" && fingerprint === null && words?.includes(name),
  );
  return failed?.words ?? null;
}

function endText(name: string, { finished, appended, repairs, problem }: End): string {
  const came = `${several(appended, "new update")} received`;
  if (problem !== null) return `Failed: ${problem}.\n`;
  const more = repairs === 0 ? "" : ` ${several(repairs, "lost key")} to be fetched one by one.`;
  if (finished) return `Done: ${came}.${more}\n`;
  return `Still running: ${came} so far.${more} "kxgw peers show ${name}" shows the progress.\n`;
}
