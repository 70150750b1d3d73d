/**
 * The status page: the value of status.ts as HTML that works in a text browser, without
 * scripts and with them. Each section has an id, by which the script of assets.ts replaces those
 * that changed. It has no inline style or script (the Content-Security-Policy forbids them), and
 * nothing is loaded from other hosts.
 */

import {
  exceptionWords,
  observedWords,
  reasonWords,
  stateName,
  waitWords,
} from "../status/neighbour-view.js";
import type { Status } from "../status/status.js";
import { ago, grouped, listed, octets, percent, several, span } from "../text.js";
import { flowChart, hourAt, shareBar, sparkline } from "./chart.js";
import type { Html, Value } from "./html.js";
import { html } from "./html.js";

type NeighbourJson = Status["neighbours"][number];
type ReportJson = Status["recent"][number];

/** Number of events on the page; /status.json has all that are kept. */
const SHOWN_EVENTS = 25;

const ROADS = { mail: "mail", kx: "KX", both: "both", local: "local", none: "none" } as const;

const RECON_STATES = { up: "followed", first: "being learnt", down: "down" } as const;

export function statusPage(status: Status): Html {
  const { site, version, mode, uptimeSeconds, time, verdict } = status;
  const now = Date.parse(time);
  const body = html`<section id="verdict" class="verdict ${verdict.state}" role="status">
<h1><span class="lamp" aria-hidden="true"></span>${verdict.words}</h1>
<p><strong>${site}</strong> · mode ${mode} · kxgw ${version} ·
up ${span(uptimeSeconds * 1000)} ·
${several(status.log.entries, "update")} in the log, ${octets(status.log.fileBytes)}</p>
${keys(status)}${certificates(status)}</section>
${neighbours(status, now)}${followed(status, now)}${flow(status, now)}
${migration(status)}${saved(status)}
${events(status, now)}`;
  return shell(`${lamp(verdict.state)} ${site}`, body, now);
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

/** The frame of all pages; `now` in milliseconds since 1970. */
export function shell(title: string, body: Html, now: number): Html {
  const utc = `${new Date(now).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return html`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="/style.css"><link rel="icon" href="/icon.svg" type="image/svg+xml">
<script src="/live.js" defer></script></head>
<body><header><a class="skip" href="#main">Skip to the content</a>
<a class="brand" href="/">KX gateway</a> <span id="live" class="quiet"></span>
</header>
<main id="main">
${body}
</main>
<footer id="foot" class="quiet"><p>As of ${utc}. <a href="/">Reload</a> ·
<a href="/status.json">JSON</a> · <a href="/metrics">Metrics</a></p></footer>
</body></html>
`;
}

function neighbours(status: Status, now: number): Html {
  const { neighbours: all } = status;
  const rows = all.map((one) => row(one, now));
  return html`<section id="neighbours"><h2>Neighbours</h2>
${
  all.length === 0
    ? html`<p>No neighbours. Add a [[peer]] to the config.</p>`
    : html`<div class="scroll" role="region" aria-label="Neighbours" tabindex="0"><table>
<thead><tr><th scope="col">Neighbour</th><th scope="col">State</th><th scope="col">Path</th>
<th scope="col">Last in</th><th scope="col">Last out</th><th scope="col" class="n">Backlog</th>
<th scope="col">Oldest</th><th scope="col" class="n">24 h success</th><th scope="col">24 h</th>
</tr></thead>
<tbody>${rows}</tbody></table></div>`
}
${untaken(status)}${observed(status, now)}</section>`;
}

/** What neighbours did not take, one line each, and the lanes without a neighbour. */
function untaken({ neighbours: all, unowned }: Status): Html | false {
  const lines = all.flatMap(({ name, ...one }) => {
    const site = "site" in one ? one.site : undefined;
    if (site === undefined || site.reasons.length === 0) return [];
    const recent = site.reasons.reduce((sum, each) => sum + each.recent, 0);
    const news = recent > 0 && html` <span class="quiet">(${grouped(recent)} in 24 hours)</span>`;
    return [
      html`<li><strong>${name}</strong> ${reasonWords(site.reasons)}${news}
${site.refusesAll && html` <span class="error">It refuses every update.</span>`}</li>
`,
    ];
  });
  const left = unowned.map(({ name, backlog, exceptions }) => {
    const words = [waitWords(backlog), exceptionWords(exceptions)];
    return html`<li><strong>${name}</strong> is not in the config any more:
${words.filter(Boolean).join(", ")}</li>
`;
  });
  return (
    lines.length + left.length > 0 &&
    html`<h3>Not taken</h3>
<ul class="untaken">${lines}${left}</ul>
<p class="quiet"><code>kxgw queue ls</code> lists each update with its answer,
<code>kxgw queue retry NAME all</code> sends them again.</p>
`
  );
}

/** What observe mode would have sent. */
function observed({ observed: all }: Status, now: number): Html | false {
  return (
    all !== null &&
    html`<h3>What would have been sent</h3>
${
  all.length === 0
    ? html`<p>Nothing so far.</p>
`
    : html`<ul class="untaken">${all.map(
        (one) => html`<li><strong>${one.neighbour}</strong> ${observedWords(one)}
${when(one.since, now)}</li>
`,
      )}</ul>
`
}`
  );
}

function row(one: NeighbourJson, now: number): Html {
  const { name, state, words, path, lastIn, lastOut, backlog, oldest, success24h, hours } = one;
  const { lastError, pathSince } = one;
  const since =
    pathSince !== null &&
    html` <span class="quiet">for ${span(now - Date.parse(pathSince))}</span>`;
  const error =
    lastError &&
    html`<div class="error">${lastError.words}
<span class="quiet">(${when(lastError.at, now)})</span></div>`;
  return html`<tr class="${state}"><th scope="row">${name}</th>
<td class="state"><span class="tag">${stateName(one)}:</span> ${words}${error}</td>
<td data-of="Path">${ROADS[path]}${since}</td>
<td data-of="Last in">${when(lastIn, now)}</td><td data-of="Last out">${when(lastOut, now)}</td>
<td class="n" data-of="Backlog">${grouped(backlog)}</td>
<td data-of="Oldest">${oldest === null ? "–" : span(now - Date.parse(oldest))}</td>
<td class="n" data-of="24 h success">${success24h === null ? "–" : percent(success24h)}</td>
<td data-of="24 h">${sparkline(hours)}</td></tr>
`;
}

/** The servers that are followed by recon; no section when there is none. */
function followed({ recon }: Status, now: number): Html {
  if (recon.length === 0) return html``;
  const rows = recon.map(({ server, state, words, keys, wanted, whole }) => {
    const mark = { up: "good", first: "behind", down: "down" }[state];
    return html`<tr class="${mark}"><th scope="row">${server}</th>
<td class="state"><span class="tag">${RECON_STATES[state]}:</span> ${words}</td>
<td class="n" data-of="Keys">${keys === null ? "–" : grouped(keys)}</td>
<td class="n" data-of="To fetch">${grouped(wanted)}</td>
<td data-of="Last complete">${when(whole, now)}</td></tr>
`;
  });
  return html`<section id="recon"><h2>Followed by recon</h2>
<div class="scroll" role="region" aria-label="Followed by recon" tabindex="0"><table>
<thead><tr><th scope="col">Server</th><th scope="col">State</th>
<th scope="col" class="n">Keys</th><th scope="col" class="n">To fetch</th>
<th scope="col">Last complete</th></tr></thead>
<tbody>${rows}</tbody></table></div></section>`;
}

function flow({ flow: { day, hours } }: Status, now: number): Html {
  const figures: [string, Value, Value][] = [
    ["In by mail", grouped(day.inMail), key("mail")],
    ["In by KX", grouped(day.inKx), key("kx")],
    ["Out by mail", grouped(day.outMail), key("mail")],
    ["Out by KX", grouped(day.outKx), key("kx")],
    ["Refused", grouped(day.refused), ""],
    ["Undelivered", grouped(day.undelivered), ""],
    ["Bounces", grouped(day.bounces), ""],
  ];
  if (day.tooFast > 0)
    figures.splice(5, 0, ["Deferred, over accept_rate", grouped(day.tooFast), ""]);
  if (day.inHkp > 0) figures.splice(2, 0, ["In by HKP", grouped(day.inHkp), ""]);
  if (day.inRecon > 0) figures.splice(2, 0, ["In by recon", grouped(day.inRecon), ""]);
  if (day.inRepair > 0) figures.splice(2, 0, ["In by repair", grouped(day.inRepair), ""]);
  const hoursRows = hours.inMail.map((_, index) => {
    const at = new Date(hourAt(index, hours.inMail.length, now)).toISOString();
    const counts = [hours.inMail, hours.inKx, hours.outMail, hours.outKx, hours.duplicates];
    return html`<tr><th scope="row">${at.slice(5, 16).replace("T", " ")}</th>
${counts.map((count) => html`<td class="n">${count[index] ?? 0}</td>`)}</tr>`;
  });
  return html`<section id="flow"><h2>Updates in 24 hours</h2>
${figureList(figures)}
<figure>${flowChart(hours, now)}
<figcaption class="quiet">Updates per hour (UTC): in above the line, out below it.
</figcaption></figure>
<details><summary>Table by hour</summary>
<div class="scroll" role="region" aria-label="Updates by hour" tabindex="0"><table class="hours">
<thead><tr>
<th scope="col">Hour (UTC)</th><th scope="col" class="n">In, mail</th>
<th scope="col" class="n">In, KX</th><th scope="col" class="n">Out, mail</th>
<th scope="col" class="n">Out, KX</th><th scope="col" class="n">Duplicates</th></tr></thead>
<tbody>${hoursRows}</tbody></table></div></details></section>`;
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
        : `Mail only: ${listed(mailOnly)} (${mailOnly.length} of ${all}).`;
  const roads = (["kx", "both", "mail"] as const).flatMap((path) =>
    byPath[path].length === 0 ? [] : [`${ROADS[path]}: ${listed(byPath[path])}`],
  );
  const now = roads.length === 0 ? "" : `Paths in use: ${roads.join("; ")}.`;
  return html`<section id="migration"><h2>Migration from mail to KX</h2>
${shareBar(kxShare24h ?? 0)}<p>${share} ${left} ${now}</p></section>`;
}

function events({ recent }: Status, now: number): Html {
  const items = runsOf(recent).map(([one, times]) => eventItem(one, times, now));
  return html`<section id="events"><h2>Recent events</h2>
<form action="/update" method="get"><label>Find an update by fingerprint or hash
<input name="q" size="44" spellcheck="false" autocomplete="off" required></label>
<button>Trace</button></form>
${items.length === 0 ? html`<p>No events yet.</p>` : html`<ol>${items}</ol>`}</section>`;
}

/** The latest reports; consecutive equal ones are one line with their count. */
function runsOf(recent: readonly ReportJson[]): [ReportJson, number][] {
  const runs: [ReportJson, number][] = [];
  const isSame = (a: ReportJson, b: ReportJson) =>
    a.event === b.event && a.neighbour === b.neighbour && a.words === b.words && a.hash === b.hash;
  for (const one of recent) {
    const last = runs.at(-1);
    if (last !== undefined && isSame(last[0], one)) last[1] += 1;
    else if (runs.push([one, 1]) > SHOWN_EVENTS) return runs.slice(0, SHOWN_EVENTS);
  }
  return runs;
}

function eventItem(
  { time, level, text, neighbour, hash, seq, words, event }: ReportJson,
  times: number,
  now: number,
) {
  const said = words !== null && html` <span class="quiet">${words}</span>`;
  const repeated = times > 1 && html` <strong>× ${times}</strong>`;
  const link =
    typeof hash === "string" &&
    html` <a href="/update/${hash}">${seq === null ? hash.slice(0, 8) : `#${String(seq)}`}</a>`;
  return html`<li class="${level}">${when(time, now)} ${
    neighbour !== null && html`<span class="who">${String(neighbour)}:</span> `
  }<span class="what" title="${event}">${
    level === "error" || level === "warn" ? html`<strong>${level}:</strong> ` : ""
  }${text}</span>${link}${repeated}${said}</li>
`;
}

function figureList(figures: readonly (readonly [string, Value, Value])[]): Html {
  return html`<dl class="figures">${figures.map(
    ([name, value, mark]) => html`<div><dt>${mark}${name}</dt><dd>${value}</dd></div>
`,
  )}</dl>`;
}

function key(road: "mail" | "kx"): Html {
  return html`<span class="key ${road}" aria-hidden="true"></span>`;
}

/** A time as "6 min ago", with its ISO form as title. */
export function when(time: string | null, now: number): Html {
  if (time === null) return html`<span class="quiet">never</span>`;
  return html`<time datetime="${time}" title="${time}">${ago(Date.parse(time), now)}</time>`;
}

function lamp(state: Status["verdict"]["state"]): string {
  return { good: "●", pending: "○", behind: "◐", bad: "✖" }[state];
}
