/**
 * `kxgw peers ls|show|pause|resume|test`: lists the neighbours, shows one in detail, and sends
 * orders about one. `[local]` is the keyserver beside the gateway. `test` connects to the neighbour
 * itself and needs no running gateway.
 */

import type { Config, Neighbour } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { LOCAL_LANE } from "../delivery/local-door.js";
import { EXIT } from "../errors.js";
import { reconcileWords } from "../status/neighbour-view.js";
import type { Status } from "../status/status.js";
import { ago, several } from "../text.js";
import { order, run, statusOf } from "./daemon.js";
import { findingText } from "./finding.js";
import { probeNeighbour } from "./online.js";
import type { Output } from "./output.js";
import { probeLocal } from "./probe-local.js";
import { neighbourTable } from "./status.js";
import { plainText } from "./table.js";

export type PeersVerb = "ls" | "show" | "pause" | "resume" | "test";

export async function peersCommand(
  verb: PeersVerb,
  name: string | undefined,
  given: { readonly file: string; readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(given.file, env);
    if (verb === "ls") {
      const status = await statusOf(config);
      const { neighbours } = status;
      out.stdout(given.json ? `${JSON.stringify(neighbours)}\n` : neighbourTable(status));
      return EXIT.ok;
    }
    // The local keyserver has a lane like a neighbour.
    const isLocal = name === LOCAL_LANE && config.local !== undefined;
    const neighbour = isLocal ? { name } : find(config, name, out);
    if (neighbour === undefined) return EXIT.usage;
    switch (verb) {
      case "show":
        return await show(config, neighbour, given.json, out);
      case "pause":
      case "resume":
        return await order(config, `/peers/${neighbour.name}/${verb}`, given.json, out);
      case "test": {
        const findings = await findingsOf(neighbour, config);
        const failed = findings.some(({ ok }) => !ok);
        if (given.json) out.stdout(`${JSON.stringify(findings)}\n`);
        else out.stdout(findings.map(findingText).join(""));
        return failed ? EXIT.unavailable : EXIT.ok;
      }
      default:
        return verb satisfies never;
    }
  });
}

async function findingsOf(one: Neighbour | { readonly name: string }, config: Config) {
  if ("via" in one) return await probeNeighbour(one, config);
  return config.local === undefined ? [] : [await probeLocal(config.local)];
}

/** The neighbour with this name; prints the known names if there is none. */
export function find(config: Config, name: string | undefined, out: Output): Neighbour | undefined {
  const found = config.neighbours.find((one) => one.name === name);
  if (found === undefined) {
    const local = config.local === undefined ? [] : [LOCAL_LANE];
    const names = [...config.neighbours.map((one) => one.name), ...local].join(", ");
    const there = names === "" ? "the config has no neighbours" : `the config has ${names}`;
    out.stderr(
      `kxgw: ${name === undefined ? "name a neighbour" : `no neighbour ${name}`}; ${there}\n`,
    );
  }
  return found;
}

async function show(
  config: Config,
  neighbour: Pick<Neighbour, "name">,
  json: boolean,
  out: Output,
): Promise<number> {
  const status = await statusOf(config);
  const view = status.neighbours.find(({ name }) => name === neighbour.name);
  if (view === undefined) {
    out.stderr(`kxgw: the running gateway does not have ${neighbour.name} yet: reload it\n`);
    return EXIT.config;
  }
  const recent = status.recent.filter((report) => report.neighbour === neighbour.name);
  if (json) out.stdout(`${JSON.stringify({ ...view, recent })}\n`);
  else out.stdout(showText(status, view, recent));
  return EXIT.ok;
}

/** Lost updates that are being fetched from the neighbour. */
function repairText({ repairs }: Status["neighbours"][number]): string | undefined {
  const { waiting, changes } = repairs;
  if (changes !== null) {
    const when = changes.asked === null ? "being asked" : `asked at ${changes.asked}`;
    return `${when} for changes of ${several(changes.days, "day")}`;
  }
  return waiting === 0 ? undefined : `${several(waiting, "lost key")} to be fetched`;
}

function showText(
  status: Status,
  view: Status["neighbours"][number],
  recent: Status["recent"],
): string {
  const now = Date.parse(status.time);
  const at = (time: string | null) =>
    time === null ? "never" : `${time} (${ago(Date.parse(time), now)})`;
  const facts: [string, string | null | undefined][] = [
    ["state", `${view.label}: ${view.words}`],
    ["via", view.via],
    ["path", view.pathSince === null ? view.path : `${view.path}, since ${at(view.pathSince)}`],
    ["mail starts", view.site?.mailOpensAt],
    ["mail", view.mail],
    ["kx", view.kx],
    ["last in", at(view.lastIn)],
    ["last out", at(view.lastOut)],
    ["backlog", String(view.backlog)],
    ["last error", view.lastError && `${view.lastError.words}, ${at(view.lastError.at)}`],
    ["next try", view.nextTry],
    ["repairs", repairText(view)],
    ["cursor", view.site && `${view.site.cursor} of ${status.log.newest}`],
    [
      "keys",
      view.peer?.reconcile &&
        `${reconcileWords(view.peer.reconcile)}, ${at(view.peer.reconcile.started)}`,
    ],
    ["kx cursor", view.peer && `${view.peer.cursor ?? "none"} of ${view.peer.newest ?? "none"}`],
  ];
  const lines = facts.flatMap(([name, text]) =>
    text === null || text === undefined ? [] : [`  ${name.padEnd(11)} ${plainText(text)}`],
  );
  const events = recent.slice(0, 20).map(({ time, text, words, seq }) => {
    const tail = [seq === null ? "" : `#${seq}`, words ?? ""].filter((part) => part !== "");
    return `  ${time} ${plainText([text, ...tail].join(" "))}`;
  });
  const latest = events.length === 0 ? [] : ["", "latest events", ...events];
  return `${[view.name, ...lines, ...latest].join("\n")}\n`;
}
