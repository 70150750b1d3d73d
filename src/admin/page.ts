/**
 * The status page: the value of status.ts as HTML that works in a text browser, without
 * scripts and with them. Each section has an id, by which the script of assets.ts replaces those
 * that changed. It has no inline style or script (the Content-Security-Policy forbids them), and
 * nothing is loaded from other hosts.
 */

import type { FlowHours } from "../status/flow-hours.js";
import type { Status } from "../status/status.js";
import { grouped, listed, octets, percent, several, span } from "../text.js";
import { daysSection, flowChart, flowTable, mark, shareBar } from "./chart.js";
import { clusterSection } from "./cluster-section.js";
import type { ShownEvents } from "./events-section.js";
import { eventsSection } from "./events-section.js";
import { noNeighbours, noUpdates, observeSection } from "./first-steps.js";
import { figureList, shell } from "./frame.js";
import type { Html, Value } from "./html.js";
import { html } from "./html.js";
import { neighboursSection, ROADS, reconSection } from "./neighbours-section.js";

export function statusPage(status: Status, days: FlowHours, shown: ShownEvents): Html {
  const { site, version, mode, uptimeSeconds, time, verdict, neighbours, recon } = status;
  const now = Date.parse(time);
  const isEmpty = neighbours.length === 0;
  const names = [...neighbours.map(({ name }) => name), ...strangers(recon, neighbours)];
  const body = html`<section id="verdict" class="verdict ${verdict.state}" role="status">
<h1><span class="lamp" aria-hidden="true"></span>${verdict.words}</h1>
<p><strong>${site}</strong> · mode ${mode} · kxgw ${version} ·
up ${span(uptimeSeconds * 1000)} ·
${several(status.log.entries, "update")} in the log, ${octets(status.log.fileBytes)}</p>
${keys(status)}${certificates(status)}</section>
${isEmpty ? noNeighbours() : neighboursSection(status, now)}${noUpdates(status)}
${clusterSection(status, now)}${reconSection(status, now)}${observeSection(status, now)}
${flow(status, now)}
${daysSection(days, now)}
${!isEmpty && migration(status)}${!isEmpty && saved(status)}
${search()}${eventsSection(shown, names, now)}`;
  return shell(`${lamp(verdict.state)} ${site}`, body, now);
}

/** Servers of recon that count as no neighbour: their events have their address. */
function strangers(recon: Status["recon"], neighbours: Status["neighbours"]): string[] {
  const known = new Set(neighbours.map(({ name }) => name));
  return recon.map(({ neighbour }) => neighbour).filter((name) => !known.has(name));
}

/** Restrictions of the policy and lost keys; nothing if there are none. */
function keys({ keys: { carried, newKeys, blocked }, repairs }: Status): Html | false {
  const said = [
    ...(carried === null ? [] : [`carries only the ${several(carried, "key")} of its list`]),
    ...(carried === null && !newKeys ? ["accepts no new keys"] : []),
    ...(blocked === 0 ? [] : [`${several(blocked, "key")} blocked`]),
    ...(repairs === 0 ? [] : [`${several(repairs, "lost key")} to be fetched again`]),
  ];
  return said.length > 0 && html`<p>${said.join(" · ")}</p>\n`;
}

function certificates({ certificates: all }: Status): Html | false {
  const ends = all.map(
    ({ listener, words, expiresSoon }) =>
      html`certificate of ${listener} ${expiresSoon ? html`<strong>${words}</strong>` : words}<br>`,
  );
  return (
    ends.length > 0 &&
    html`<p>${ends}</p>
`
  );
}

function flow({ flow: { day, hours: by } }: Status, now: number): Html {
  const figures: [string, Value, Value][] = [
    ["In by mail", grouped(day.inMail), mark("mail")],
    ["In by KX", grouped(day.inKx), mark("kx")],
    ["Out by mail", grouped(day.outMail), mark("mail")],
    ["Out by KX", grouped(day.outKx), mark("kx")],
    ["Refused", grouped(day.refused), ""],
    ["Undelivered", grouped(day.undelivered), ""],
    ["Bounces", grouped(day.bounces), ""],
  ];
  if (day.tooFast > 0)
    figures.splice(5, 0, ["Deferred, over accept_rate", grouped(day.tooFast), ""]);
  if (day.inHkp > 0) figures.splice(2, 0, ["In by HKP", grouped(day.inHkp), ""]);
  if (day.inRecon > 0) figures.splice(2, 0, ["In by recon", grouped(day.inRecon), ""]);
  if (day.inRepair > 0) figures.splice(2, 0, ["In by repair", grouped(day.inRepair), ""]);
  const inOther = by.inHkp.map(
    (count, index) => count + (by.inRecon[index] ?? 0) + (by.inRepair[index] ?? 0),
  );
  const hours = { ...by, inOther };
  return html`<section id="flow"><h2>Updates in 24 hours</h2>
${figureList(figures)}
${flowChart(hours, "hour", now)}
${flowTable(hours, "hour", now)}</section>`;
}

function saved({ saved: is }: Status): Html {
  return html`<section id="saved"><h2>Mail traffic saved</h2>
${figureList([
  ["Mail saved", `about ${octets(is.savedBytes)}`, ""],
  ["Mails to sites that had the update", grouped(is.suppressedMails), ""],
  ["KX announcements of known updates", grouped(is.knownAnnouncements), ""],
  ["Duplicates received by mail", grouped(is.duplicateMails), ""],
  ["Known packets removed from keys", octets(is.trimmedBytes), ""],
  ["Bytes over KX", octets(is.kxBytes), ""],
])}</section>`;
}

function migration({ migration: { neighbours: all, mailOnly, byPath, kxShare24h } }: Status) {
  const share =
    kxShare24h === null
      ? "No updates in 24 hours."
      : `${percent(kxShare24h)} of the updates in 24 hours used KX.`;
  const left =
    all === 0
      ? ""
      : mailOnly.length === 0
        ? "No neighbour uses mail only."
        : `Mail only: ${some(mailOnly)} (${mailOnly.length} of ${all}).`;
  const roads = (["kx", "both", "mail"] as const).flatMap((path) =>
    byPath[path].length === 0 ? [] : [`${ROADS[path]}: ${some(byPath[path])}`],
  );
  const now = roads.length === 0 ? "" : `Paths in use: ${roads.join("; ")}.`;
  return html`<section id="migration"><h2>Migration from mail to KX</h2>
${shareBar(kxShare24h ?? 0)}<p>${share} ${left} ${now}</p></section>`;
}

/** Names, or their number when a list would be no help. */
function some(names: readonly string[]): string {
  return names.length > 6 ? several(names.length, "neighbour") : listed(names);
}

function search(): Html {
  return html`<section id="search"><h2>Find an update</h2>
<form action="/update" method="get"><label class="wide">By fingerprint, 16-digit key id, hash or
number of an update, or Message-ID
<input name="q" spellcheck="false" autocomplete="off" required></label>
<button>Find</button></form></section>`;
}

function lamp(state: Status["verdict"]["state"]): string {
  return { good: "●", pending: "○", behind: "◐", bad: "✖" }[state];
}
