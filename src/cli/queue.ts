/**
 * `kxgw queue ls|show|retry|skip`: what waits for each mail site. The log is the only queue, so
 * this lists the log behind each lane's cursor, without what the site has already. `retry` tries
 * now what was put off; `skip` gives up the first update of one site, for good.
 */

import { span } from "../admin/words.js";
import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import { inTrail } from "../mail/sent-trail.js";
import { Policy } from "../policy.js";
import type { Seq } from "../update.js";
import type { Entry } from "../updatelog/update-log.js";
import { order, run, withLog } from "./daemon.js";
import type { Output } from "./output.js";
import { find } from "./peers.js";
import { table } from "./table.js";
import { traceCommand } from "./trace.js";

export type QueueVerb = "ls" | "show" | "retry" | "skip";

/** Entries of a site that are listed; the rest is counted. */
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
      if (name !== undefined && find(config, name, out) === undefined) return EXIT.usage;
      return list(config, name, given.json, out);
    }
    const neighbour = find(config, name, out);
    if (neighbour === undefined) return EXIT.usage;
    if (verb === "retry") {
      return await order(config, `/queue/${neighbour.name}/retry`, given.json, out);
    }
    if (seq === undefined || !/^\d+$/.test(seq)) {
      out.stderr("kxgw: name the update by its number, as kxgw queue ls shows it\n");
      return EXIT.usage;
    }
    return await order(config, `/queue/${neighbour.name}/skip/${seq}`, given.json, out);
  });
}

function list(config: Config, name: string | undefined, json: boolean, out: Output): number {
  const all = waiting(config, name);
  if (json) {
    for (const one of all) out.stdout(`${JSON.stringify(one)}\n`);
    return EXIT.ok;
  }
  if (all.length === 0) {
    out.stdout("Nothing waits.\n");
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
  return EXIT.ok;
}

/** What is behind the cursor of each mail site and is not in the trail, oldest first. */
function waiting(config: Config, only: string | undefined): Waiting[] {
  return withLog(config, ({ log, lanes, clock }) => {
    const policy = new Policy(config.policy, log, clock);
    return lanes().flatMap(({ name, cursor }) => {
      const neighbour = config.neighbours.find((one) => one.name === name);
      if (neighbour?.mail === undefined || (only !== undefined && only !== name)) return [];
      const { mail } = neighbour;
      const entries = log.range((cursor + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, LISTED);
      return entries
        .filter(({ seq, origin }) => origin.neighbour !== name && !inTrail(log.trail(seq), mail))
        .filter((entry) => policy.withholds(entry) === undefined)
        .map((entry) => waitingOf(name, entry));
    });
  });
}

function waitingOf(site: string, { seq, hash, fingerprint, size, receivedAt }: Entry): Waiting {
  return { site, seq, hash, fingerprint, size, received: new Date(receivedAt).toISOString() };
}
