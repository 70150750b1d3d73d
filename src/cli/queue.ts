/**
 * `kxgw queue ls|show|retry|skip`: the updates that each mail site and the local keyserver still
 * need, and those that they did not take. The log is the only queue, and `log.pending` selects the
 * entries. `ls` ends with the counts by reason; `ls --counts` prints only these. `retry SITE`
 * starts the next attempt now; `retry SITE NUMBER` and `retry SITE all` send again what a site did
 * not take. `skip` gives up an update for a site. Both also change the exceptions of a log that no
 * gateway has open, unless it is a copy of a shared one.
 */

import { OBSERVING } from "../admin/orders.js";
import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { LOCAL_LANE } from "../delivery/local-door.js";
import { EXIT } from "../errors.js";
import type { Exception, ExceptionState, ReasonCount } from "../log/exceptions.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { Policy } from "../policy.js";
import { grouped, several, span } from "../text.js";
import type { Seq } from "../update.js";
import { ask, openForOrder, order, printed, run, withLog } from "./daemon.js";
import type { Output } from "./output.js";
import { find } from "./peers.js";
import { plainText, table } from "./table.js";
import { traceCommand } from "./trace.js";

export type QueueVerb = "ls" | "show" | "retry" | "skip";

/** Entries of a site that are listed; the others are counted. */
const LISTED = 100;
const DAY_MS = 24 * 3_600_000;

interface Waiting {
  readonly site: string;
  readonly seq: number;
  readonly hash: string;
  readonly fingerprint: string;
  readonly size: number;
  readonly received: string;
  /** "pending" for what was not tried or is next, else that of the exception. */
  readonly state: "pending" | ExceptionState;
  readonly reason: string | null;
  /** What the site said. */
  readonly reply: string | null;
  readonly tries: number;
  /** When it is tried again, null for what has no time of its own. */
  readonly next: string | null;
}

export async function queueCommand(
  verb: QueueVerb,
  names: readonly string[],
  given: { readonly file: string; readonly json: boolean; readonly counts?: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  if (verb === "show") {
    const [seq] = names;
    return await traceCommand(seq ?? "", given, out, env);
  }
  return await run(out, async () => {
    const config = loadConfig(given.file, env);
    const [name, seq] = names;
    if (verb === "ls") {
      if (name !== undefined && siteOf(config, name, out) === undefined) return EXIT.usage;
      if (given.counts === true) return listCounts(config, name, given.json, out);
      return list(config, name, given.json, out);
    }
    const site = siteOf(config, name, out);
    if (site === undefined) return EXIT.usage;
    if (verb === "retry" && seq === undefined) {
      return await order(config, `/queue/${site}/retry`, given.json, out);
    }
    const isAll = verb === "retry" && seq === "all";
    if (!isAll && (seq === undefined || !/^\d+$/.test(seq))) {
      out.stderr("kxgw: write the number of the update, as kxgw queue ls prints it\n");
      return EXIT.usage;
    }
    const carryOut = (log: UpdateLog) => {
      if (verb === "skip") return giveUp(log, site, Number(seq));
      if (config.mode === "observe") return { done: false, words: OBSERVING };
      return reopen(log, site, isAll ? "all" : Number(seq));
    };
    const which = isAll ? seq : Number(seq);
    return await orderOrWrite(config, `/queue/${site}/${verb}/${which}`, carryOut, given.json, out);
  });
}

/** The result of an order, in the form in which the running gateway replies. */
interface Done {
  readonly done: boolean;
  readonly words: string;
}

/** The running gateway carries out the order at `path`; if none runs, `carryOut` in the log. */
async function orderOrWrite(
  config: Config,
  path: string,
  carryOut: (log: UpdateLog) => Done,
  json: boolean,
  out: Output,
): Promise<number> {
  const reply = await ask(config, path, "POST");
  if (reply !== undefined) return printed(reply, json, out);
  const log = openForOrder(config, out);
  try {
    const { done, words } = carryOut(log);
    if (json) out.stdout(`${JSON.stringify({ done, words })}\n`);
    else (done ? out.stdout : out.stderr)(`${words}\n`);
    return done ? EXIT.ok : EXIT.unavailable;
  } finally {
    log.close();
  }
}

function reopen(log: UpdateLog, site: string, which: number | "all"): Done {
  const count = log.exceptions.reopen(site, which as Seq | "all", systemClock.now());
  const words =
    count === 0
      ? `${site} has no such exception: there is nothing to send again.`
      : `${site} is sent ${several(count, "update")} again when the gateway starts.`;
  return { done: count > 0, words };
}

/** Gives up an update that was set aside. Only the running gateway skips the first of the queue. */
function giveUp(log: UpdateLog, site: string, seq: number): Done {
  const exception = log.exceptions.get(site, seq as Seq);
  if (exception?.state !== "waiting") {
    const words =
      `Update ${seq} of ${site} was not set aside. The first of the queue is skipped by the ` +
      "running gateway: start it.";
    return { done: false, words };
  }
  const text = "skipped by the operator";
  const given = { state: "withheld", reason: "skipped", code: 0, text, nextAt: 0 } as const;
  log.exceptions.set({ ...exception, ...given, at: systemClock.now() });
  return { done: true, words: `Update ${seq} is given up for ${site}.` };
}

/** The site with this name, or the local keyserver; prints the known names if there is none. */
function siteOf(config: Config, name: string | undefined, out: Output): string | undefined {
  if (name === LOCAL_LANE && config.local !== undefined) return name;
  return find(config, name, out)?.name;
}

interface SiteCounts {
  readonly site: string;
  /** Updates after its lane's cursor. */
  readonly pending: number;
  readonly exceptions: readonly ReasonCount[];
}

/** What each site still needs and did not take; `recent` counts the last 24 hours. */
function countsOf(config: Config, only: string | undefined): SiteCounts[] {
  return withLog(config, ({ log, lanes, clock }) =>
    lanes()
      .filter(({ name }) => only === undefined || only === name)
      .map(({ name, backlog, exceptions }) => {
        const reasons = log.exceptions.reasons(name, clock.now() - DAY_MS);
        return { site: name, pending: backlog - exceptions.waiting, exceptions: reasons };
      }),
  );
}

function listCounts(config: Config, name: string | undefined, json: boolean, out: Output): number {
  const all = countsOf(config, name);
  if (json) for (const one of all) out.stdout(`${JSON.stringify(one)}\n`);
  else {
    const columns = [
      { title: "site" },
      { title: "state" },
      { title: "reason" },
      { title: "updates", right: true },
      { title: "in 24 h", right: true },
    ];
    const rows = all.flatMap(({ site, pending, exceptions }) => [
      [site, "pending", "-", String(pending), "-"],
      ...exceptions.map(({ state, reason, count, recent }) => {
        return [site, state, reason, String(count), String(recent)];
      }),
    ]);
    out.stdout(rows.length === 0 ? "No site has a queue.\n" : table(columns, rows));
  }
  return EXIT.ok;
}

/** The counts of sites with exceptions, for the end of a list. */
function countLines(config: Config, name: string | undefined): string {
  return countsOf(config, name)
    .filter(({ exceptions }) => exceptions.length > 0)
    .map(({ site, pending, exceptions }) => {
      const parts = exceptions.map(({ state, reason, count }) => {
        return `${grouped(count)} ${state === reason ? state : `${state} (${reason})`}`;
      });
      return `${plainText(`${site}: ${grouped(pending)} pending, ${parts.join(", ")}`)}\n`;
    })
    .join("");
}

function list(config: Config, name: string | undefined, json: boolean, out: Output): number {
  const { all, more } = waiting(config, name);
  if (json) {
    for (const one of all) out.stdout(`${JSON.stringify(one)}\n`);
    return EXIT.ok;
  }
  if (all.length === 0) {
    out.stdout("No updates wait.\n");
    return EXIT.ok;
  }
  const now = Date.now();
  const columns = [
    { title: "site" },
    { title: "number", right: true },
    { title: "waits" },
    { title: "state" },
    { title: "bytes", right: true },
    { title: "fingerprint" },
    { title: "hash" },
  ];
  const rows = all.map((one) => {
    const { site, seq, hash, fingerprint, size, received, state, reason } = one;
    const what = reason === null || reason === state ? state : `${state}: ${reason}`;
    const waits = span(now - Date.parse(received));
    return [site, String(seq), waits, what, String(size), fingerprint, hash];
  });
  out.stdout(table(columns, rows));
  for (const [site, count] of more) out.stdout(`${site}: ${several(count, "update")} more\n`);
  out.stdout(countLines(config, name));
  return EXIT.ok;
}

/** The updates that each site needs and policy allows, next first, and how many are not listed. */
function waiting(config: Config, only: string | undefined) {
  return withLog(config, ({ log, lanes, clock }) => {
    const policy = new Policy(config.policy, log, clock);
    const all: Waiting[] = [];
    const more = new Map<string, number>();
    for (const site of lanes()) {
      const { name } = site;
      if (only !== undefined && only !== name) continue;
      let listed = 0;
      for (const seq of log.pending.seqs(site)) {
        const entry = log.entry(seq);
        if (entry === undefined || policy.withholds(entry) !== undefined) continue;
        listed += 1;
        if (listed > LISTED) more.set(name, listed - LISTED);
        else all.push(waitingOf(name, entry, log.exceptions.get(name, seq)));
      }
      for (const state of ["refused", "withheld"] as const) {
        const count = log.exceptions.counts(name)[state];
        if (count > LISTED) more.set(name, (more.get(name) ?? 0) + count - LISTED);
        for (const exception of log.exceptions.list(name, state, LISTED)) {
          const entry = log.entry(exception.seq);
          if (entry !== undefined) all.push(waitingOf(name, entry, exception));
        }
      }
    }
    return { all, more };
  });
}

function waitingOf(
  site: string,
  { seq, hash, fingerprint, size, receivedAt }: Entry,
  exception: Exception | undefined,
): Waiting {
  const {
    state = "pending",
    reason = null,
    code = 0,
    text = "",
    tries = 0,
    nextAt = 0,
  } = exception ?? {};
  const reply = `${code === 0 ? "" : `${code} `}${text}`;
  return {
    ...{ site, seq, hash, fingerprint, size, received: new Date(receivedAt).toISOString() },
    ...{ state, reason, reply: reply === "" ? null : reply, tries },
    next: state === "waiting" && nextAt > 0 ? new Date(nextAt).toISOString() : null,
  };
}
