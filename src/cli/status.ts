/**
 * `kxgw status`: the status page on one screen of text. It asks the running gateway. If none runs
 * it reads the log, says so, and exits with 69, so that scripts need not parse the text.
 */

import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import { databaseWords, nodeWords, unheld } from "../status/cluster-view.js";
import {
  exceptionWords,
  observedWords,
  reasonWords,
  reconcileWords,
  waitWords,
} from "../status/neighbour-view.js";
import { observedSumWords } from "../status/observed.js";
import type { Status } from "../status/status.js";
import { ago, grouped, listed, octets, percent, several, span } from "../text.js";
import { run, statusOf } from "./daemon.js";
import type { Output } from "./output.js";
import { plainText, table } from "./table.js";

/** Prints the status of the gateway that `file` configures; resolves with the exit code. */
export async function statusCommand(
  file: string,
  options: { readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const status = await statusOf(loadConfig(file, env));
    out.stdout(options.json ? `${JSON.stringify(status)}\n` : statusText(status));
    return status.running ? EXIT.ok : EXIT.unavailable;
  });
}

/** One screen; ends with a line break. */
export function statusText(status: Status): string {
  const { site, mode, version, uptimeSeconds, verdict, running, log, flow, saved } = status;
  const { neighbours, mailOnly, kxShare24h } = status.migration;
  const { day } = flow;
  const up = running ? `up ${span(uptimeSeconds * 1000)}` : "down";
  const lines = [
    `${verdict.words}`,
    `${site}, mode ${mode}, kxgw ${version}, ${up}, ` +
      `${several(log.entries, "update")} in the log (${octets(log.fileBytes)})`,
    "",
    neighbourTable(status).trimEnd(),
  ];
  if (running) {
    const share = kxShare24h === null ? "" : `, ${percent(kxShare24h)} over KX`;
    const more = [
      day.inHkp > 0 ? `, ${grouped(day.inHkp)} by HKP` : "",
      day.inRecon > 0 ? `, ${grouped(day.inRecon)} by recon` : "",
      day.inRepair > 0 ? `, ${grouped(day.inRepair)} repaired` : "",
    ].join("");
    lines.push(
      "",
      `24 h      in ${grouped(day.inMail)} by mail, ${grouped(day.inKx)} by KX${more}; ` +
        `out ${grouped(day.outMail)} by mail, ${grouped(day.outKx)} by KX${share}`,
      `          refused ${grouped(day.refused)}, undelivered ${grouped(day.undelivered)}, ` +
        `bounced ${grouped(day.bounces)}`,
      `saved     about ${octets(saved.savedBytes)} of mail; ` +
        `${several(saved.suppressedMails + saved.knownAnnouncements, "duplicate")} not sent`,
    );
  }
  lines.push(...untakenLines(status), ...observedLines(status));
  lines.push(...clusterLines(status));
  for (const { server, words } of status.recon) {
    lines.push(plainText(`recon     ${server}: ${words}`));
  }
  for (const { name, peer } of status.neighbours) {
    const { reconcile } = peer ?? {};
    if (reconcile == null) continue;
    const when = ago(Date.parse(reconcile.started ?? status.time), Date.parse(status.time));
    lines.push(plainText(`compared  ${name}: ${reconcileWords(reconcile)}, ${when}`));
  }
  for (const { listener, words } of status.certificates)
    lines.push(`cert      ${listener} ${words}`);
  lines.push(...keysLines(status.keys));
  if (neighbours > 0 && mailOnly.length > 0) {
    lines.push(`mail only ${listed(mailOnly)} (${mailOnly.length} of ${neighbours})`);
  }
  return `${lines.join("\n")}\n`;
}

/** What neighbours did not take by reason, and lanes without a neighbour. */
function untakenLines({ neighbours, unowned }: Status): string[] {
  const lines = neighbours.flatMap((one) => {
    const words = one.site === undefined ? "" : reasonWords(one.site.reasons);
    return words === "" ? [] : [`not taken ${one.name}: ${words}`];
  });
  const left = unowned.map(({ name, backlog, exceptions }) => {
    const words = [waitWords(backlog), exceptionWords(exceptions)];
    return `no owner  ${name} is not in the config: ${words.filter(Boolean).join(", ")}`;
  });
  return [...lines, ...left].map(plainText);
}

/** The shared database, the gateways with their leases, and leases that nobody holds. */
function clusterLines({ cluster, time }: Status): string[] {
  if (cluster === null) return [];
  const now = Date.parse(time);
  const nodes = cluster.nodes.map((one) => {
    const name = one.here ? `${one.node} (this one)` : one.node;
    const leases = one.leases.length === 0 ? "" : `; holds ${one.leases.join(", ")}`;
    return `gateway   ${name}: ${nodeWords(one, now)}${leases}`;
  });
  const free = unheld(cluster).map((lease) => `no holder ${lease}`);
  return [`database  ${databaseWords(cluster, now)}`, ...nodes, ...free].map(plainText);
}

/** What observe mode would have sent. */
function observedLines({ observed, observedSum, time }: Status): string[] {
  const now = Date.parse(time);
  const when = (at: string | null) => ago(Date.parse(at ?? time), now);
  if (observed === null) return [];
  if (observedSum === null) return ["observed  nothing would have been sent so far"];
  const each = observed.map((one) => {
    const times = `${when(one.since)}, the last ${when(one.lastAt)}`;
    return plainText(`observed  ${one.neighbour}: ${observedWords(one)} ${times}`);
  });
  return [`observed  in all ${observedSumWords(observedSum)}`, ...each];
}

/** Which keys are not carried; no line if all are. */
function keysLines({ carried, newKeys, blocked, forgotten }: Status["keys"]): string[] {
  const words = [
    ...(carried === null ? [] : [`only ${several(carried, "key")} carried`]),
    ...(newKeys || carried !== null ? [] : ["no new keys accepted"]),
    ...(blocked === 0 ? [] : [`${several(blocked, "key")} blocked`]),
    ...(forgotten === 0 ? [] : [`${several(forgotten, "update")} forgotten`]),
  ];
  return words.length === 0 ? [] : [`keys      ${words.join(", ")}`];
}

/**
 * The neighbours as a table, then a line with the reason for each one that is not in sync.
 * "proven" is when the neighbour itself last showed that it has an update.
 */
export function neighbourTable({ neighbours, time }: Status): string {
  if (neighbours.length === 0) return "No neighbours: add a [[peer]] to the config.\n";
  const now = Date.parse(time);
  const at = (text: string | null) => (text === null ? "never" : ago(Date.parse(text), now));
  const rows = neighbours.map((one) => [
    one.name,
    one.path === "kx" ? "KX" : one.path,
    one.label,
    one.proof === null ? "never" : at(one.proof.at),
    grouped(one.backlog),
    one.oldest === null ? "-" : span(now - Date.parse(one.oldest)),
    at(one.lastIn),
    at(one.lastOut),
    one.success24h === null ? "-" : percent(one.success24h),
  ]);
  const columns = [
    { title: "neighbour" },
    { title: "path" },
    { title: "state" },
    { title: "proven" },
    { title: "backlog", right: true },
    { title: "oldest" },
    { title: "last in" },
    { title: "last out" },
    { title: "24 h", right: true },
  ];
  const errors = neighbours.flatMap(({ name, state, backlog, words, lastError }) => {
    if ((state === "good" && backlog === 0) || state === "idle") return [];
    const isOver = state === "good" || state === "pending" || lastError === null;
    const last = isOver ? "" : `; last error: ${lastError.words} (${at(lastError.at)})`;
    return [plainText(`  ${name}: ${words}${last}`)];
  });
  return `${table(columns, rows)}${errors.map((line) => `${line}\n`).join("")}`;
}
