/**
 * The neighbours on the status page: a table, those with trouble first, and what they did not take;
 * the servers that are followed by recon. On a narrow screen each row is a card (assets.ts).
 */
import { exceptionWords, reasonWords, waitWords } from "../status/neighbour-view.js";
import type { Status } from "../status/status.js";
import { grouped, percent, span } from "../text.js";
import { sparkline } from "./chart.js";
import { neighbourLink, when } from "./frame.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

type NeighbourJson = Status["neighbours"][number];
type ReconJson = Status["recon"][number];

export const ROADS = {
  mail: "mail",
  kx: "KX",
  both: "both",
  local: "local",
  none: "none",
} as const;

const RECON_STATES = { up: "followed", first: "being learnt", down: "down" } as const;

const NAMES = new Intl.Collator("en", { numeric: true });

/** Those with trouble first, then by name, "ks-2" before "ks-10". */
export function byTrouble<One extends NeighbourJson>(all: readonly One[]): One[] {
  return all.toSorted((a, b) => rank(a) - rank(b) || NAMES.compare(a.name, b.name));
}

const ORDER = ["down", "refuses all", "behind", "paused", "pending", "good", "idle"] as const;

function rank({ state, site }: NeighbourJson): number {
  return ORDER.indexOf(site?.refusesAll ? "refuses all" : state);
}

export function neighboursSection(status: Status, now: number): Html {
  const rows = byTrouble(status.neighbours).map((one) => row(one, now));
  return html`<section id="neighbours"><h2>Neighbours</h2>
<table class="cards">
<thead><tr><th scope="col">Neighbour</th><th scope="col">State</th><th scope="col">Path</th>
<th scope="col">Last in</th><th scope="col">Last out</th><th scope="col" class="n">Backlog</th>
<th scope="col">Oldest</th><th scope="col" class="n">24 h success</th><th scope="col">24 h</th>
</tr></thead>
<tbody>${rows}</tbody></table>
${untaken(status)}</section>`;
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
  return html`<tr class="${state}"><th scope="row">${neighbourLink(name)}</th>
<td class="state"><span class="tag">${one.label}:</span> ${words}${error}</td>
<td data-of="Path">${ROADS[path]}${since}</td>
<td data-of="Last in">${when(lastIn, now)}</td><td data-of="Last out">${when(lastOut, now)}</td>
<td class="n" data-of="Backlog">${grouped(backlog)}</td>
<td data-of="Oldest">${oldest === null ? "–" : span(now - Date.parse(oldest))}</td>
<td class="n" data-of="24 h success">${success24h === null ? "–" : percent(success24h)}</td>
<td data-of="24 h">${sparkline(hours)}</td></tr>
`;
}

/** What neighbours did not take, one line each, and the lanes without a neighbour. */
function untaken({ neighbours: all, unowned }: Status): Html | false {
  const lines = byTrouble(all).flatMap(({ name, site }) => {
    if (site === undefined || site.reasons.length === 0) return [];
    const recent = site.reasons.reduce((sum, each) => sum + each.recent, 0);
    const news = recent > 0 && html` <span class="quiet">(${grouped(recent)} in 24 hours)</span>`;
    return [
      html`<li><strong>${neighbourLink(name)}</strong> ${reasonWords(site.reasons)}${news}
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
<p class="quiet">The page of a neighbour lists each update with its answer, as
<code>kxgw queue ls</code> does; <code>kxgw queue retry NAME all</code> sends them again.</p>
`
  );
}

/** The servers that are followed by recon; no section when there is none. */
export function reconSection({ recon }: Status, now: number): Html {
  if (recon.length === 0) return html``;
  const placed = recon.map((one, index) => ({ one, place: index + 1 }));
  const order = ["down", "first", "up"];
  placed.sort((a, b) => order.indexOf(a.one.state) - order.indexOf(b.one.state));
  const rows = placed.map(({ one, place }) => {
    const { server, words, keys, wanted, whole } = one;
    return html`<tr class="${reconMark(one)}">
<th scope="row"><a href="/recon/${place}">${server}</a></th>
<td class="state"><span class="tag">${reconState(one)}:</span> ${words}</td>
<td class="n" data-of="Keys">${keys === null ? "–" : grouped(keys)}</td>
<td class="n" data-of="To fetch">${grouped(wanted)}</td>
<td data-of="Last complete">${when(whole, now)}</td></tr>
`;
  });
  return html`<section id="recon"><h2>Followed by recon</h2>
<table class="cards">
<thead><tr><th scope="col">Server</th><th scope="col">State</th>
<th scope="col" class="n">Keys</th><th scope="col" class="n">To fetch</th>
<th scope="col">Last complete</th></tr></thead>
<tbody>${rows}</tbody></table></section>`;
}

export function reconState({ state }: ReconJson): string {
  return RECON_STATES[state];
}

/** The class of its colour. */
export function reconMark({ state }: ReconJson): string {
  return { up: "good", first: "behind", down: "down" }[state];
}
