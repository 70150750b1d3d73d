/**
 * `kxgw queue ls|show|retry|skip`: the updates that wait for each mail site. The log is the only
 * queue: this lists the entries after the cursor of each lane, without those that the site has.
 * `retry` starts the next attempt now; `skip` gives up the first update of a site permanently.
 */

import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { inTrail } from "../mail/sent-trail.js";
import { Policy } from "../policy.js";
import { several, span } from "../text.js";
import type { Seq } from "../update.js";
import { order, run, withLog } from "./daemon.js";
import type { Output } from "./output.js";
import { find } from "./peers.js";
import { table } from "./table.js";
import { traceCommand } from "./trace.js";

export type QueueVerb = "ls" | "show" | "retry" | "skip";

/** Entries of a site that are listed; the others are counted. */
const LISTED = 100;
/** Entries per read. */
const CHUNK = 1000;

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
      if (name !== undefined && find(config, name, out) === undefined) return EXIT.usage;
      return list(config, name, given.json, out);
    }
    const neighbour = find(config, name, out);
    if (neighbour === undefined) return EXIT.usage;
    if (verb === "retry") {
      return await order(config, `/queue/${neighbour.name}/retry`, given.json, out);
    }
    if (seq === undefined || !/^\d+$/.test(seq)) {
      out.stderr("kxgw: write the number of the update, as kxgw queue ls prints it\n");
      return EXIT.usage;
    }
    return await order(config, `/queue/${neighbour.name}/skip/${seq}`, given.json, out);
  });
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

/**
 * The entries after the cursor of each lane whose trail does not name the site, oldest first, and
 * for each site the number of those that are not listed.
 */
function waiting(config: Config, only: string | undefined) {
  return withLog(config, ({ log, lanes, clock }) => {
    const policy = new Policy(config.policy, log, clock);
    const all: Waiting[] = [];
    const more = new Map<string, number>();
    for (const { name, cursor } of lanes()) {
      const mail = config.neighbours.find((one) => one.name === name)?.mail;
      if (mail === undefined || (only !== undefined && only !== name)) continue;
      let listed = 0;
      for (const entry of entriesFrom(log, cursor + 1)) {
        const { seq, origin } = entry;
        if (origin.neighbour === name || inTrail(log.trails.get(seq), mail)) continue;
        if (policy.withholds(entry) !== undefined) continue;
        listed += 1;
        if (listed <= LISTED) all.push(waitingOf(name, entry));
        else more.set(name, listed - LISTED);
      }
    }
    return { all, more };
  });
}

function* entriesFrom(log: UpdateLog, first: number): Generator<Entry> {
  for (let low = first; ; ) {
    const entries = log.range(low as Seq, Number.MAX_SAFE_INTEGER as Seq, CHUNK);
    yield* entries;
    const last = entries.at(-1);
    if (last === undefined || entries.length < CHUNK) return;
    low = last.seq + 1;
  }
}

function waitingOf(site: string, { seq, hash, fingerprint, size, receivedAt }: Entry): Waiting {
  return { site, seq, hash, fingerprint, size, received: new Date(receivedAt).toISOString() };
}
