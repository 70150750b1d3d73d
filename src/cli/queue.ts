/**
 * `kxgw queue ls|show|retry|skip`: the updates that each mail site and the local keyserver still
 * need. The log is the only queue, and `log.pending` selects the entries. `retry` starts the
 * next attempt now; `skip` gives up the first update of a site permanently.
 */

import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { LOCAL_LANE } from "../delivery/local-door.js";
import { EXIT } from "../errors.js";
import type { Entry } from "../log/update-log.js";
import { Policy } from "../policy.js";
import { several, span } from "../text.js";
import { order, run, withLog } from "./daemon.js";
import type { Output } from "./output.js";
import { find } from "./peers.js";
import { table } from "./table.js";
import { traceCommand } from "./trace.js";

export type QueueVerb = "ls" | "show" | "retry" | "skip";

/** Entries of a site that are listed; the others are counted. */
const LISTED = 100;

interface Waiting {
  readonly site: string;
  readonly seq: number;
  readonly hash: string;
  readonly fingerprint: string;
  readonly size: number;
  readonly received: string;
}

export async function queueCommand(
  verb: QueueVerb,
  names: readonly string[],
  given: { readonly file: string; readonly json: boolean },
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
      return list(config, name, given.json, out);
    }
    const site = siteOf(config, name, out);
    if (site === undefined) return EXIT.usage;
    if (verb === "retry") return await order(config, `/queue/${site}/retry`, given.json, out);
    if (seq === undefined || !/^\d+$/.test(seq)) {
      out.stderr("kxgw: write the number of the update, as kxgw queue ls prints it\n");
      return EXIT.usage;
    }
    return await order(config, `/queue/${site}/skip/${seq}`, given.json, out);
  });
}

/** The site with this name, or the local keyserver; prints the known names if there is none. */
function siteOf(config: Config, name: string | undefined, out: Output): string | undefined {
  if (name === LOCAL_LANE && config.local !== undefined) return name;
  return find(config, name, out)?.name;
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
    { title: "bytes", right: true },
    { title: "fingerprint" },
    { title: "hash" },
  ];
  const rows = all.map(({ site, seq, hash, fingerprint, size, received }) => [
    ...[site, String(seq), span(now - Date.parse(received)), String(size), fingerprint, hash],
  ]);
  out.stdout(table(columns, rows));
  for (const [site, count] of more) out.stdout(`${site}: ${several(count, "update")} more\n`);
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
        if (listed <= LISTED) all.push(waitingOf(name, entry));
        else more.set(name, listed - LISTED);
      }
    }
    return { all, more };
  });
}

function waitingOf(site: string, { seq, hash, fingerprint, size, receivedAt }: Entry): Waiting {
  return { site, seq, hash, fingerprint, size, received: new Date(receivedAt).toISOString() };
}
