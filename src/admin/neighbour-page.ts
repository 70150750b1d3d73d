/**
 * The page of one neighbour: what to do, the path and the session, the queue with each update that
 * it did not take and its answer, its updates by the hour, its latest events. The value comes from
 * status/neighbour-page.ts.
 */
import type { NeighbourDetail, ReconDetail, Untaken } from "../status/neighbour-page.js";
import {
  isLocal,
  PROOF_WORDS,
  reasonWords,
  reconcileWords,
  waitWords,
} from "../status/neighbour-view.js";
import type { Status } from "../status/status.js";
import { ago, ahead, grouped, octets, percent, several, span } from "../text.js";
import { flowSections } from "./chart.js";
import { reportList } from "./events-section.js";
import { factList, neighbourLink, remedyList, shell, when } from "./frame.js";
import type { Html, Value } from "./html.js";
import { html } from "./html.js";
import { byTrouble, ROADS, reconMark, reconState } from "./neighbours-section.js";

type NeighbourJson = Status["neighbours"][number];

export function neighbourPage(detail: NeighbourDetail): Html {
  const { status, one, remedies, events, hours, days } = detail;
  const now = Date.parse(status.time);
  const { name, state, label, words } = one;
  const body = html`<section id="verdict" class="verdict ${state}" role="status">
<h1><span class="lamp" aria-hidden="true"></span>${name} – ${label}</h1>
<p>${words}</p>
${
  one.lastError &&
  html`<p class="error">Last error ${when(one.lastError.at, now)}: ${one.lastError.words}</p>`
}</section>
${todo(one, remedies)}
<section id="way"><h2>Path and session</h2>${factList(facts(detail, now))}</section>
${one.site !== undefined && queue(detail, now)}
${flowSections(hours, days, now)}
<section id="events"><h2>Latest events</h2>
${reportList(events, now)}
<p class="quiet"><a href="/?neighbour=${encodeURIComponent(name)}#events">Grouped, with a
filter</a></p></section>`;
  return shell(`${lamp(state)} ${name} · ${status.site}`, body, now);
}

function lamp(state: string): string {
  return { good: "●", behind: "◐", down: "✖", paused: "‖" }[state] ?? "○";
}

function todo({ name, peer, site }: NeighbourJson, remedies: NeighbourDetail["remedies"]): Html {
  const commands = [
    `kxgw peers test ${name}`,
    ...(site === undefined ? [] : [`kxgw queue ls ${name}`]),
    ...(peer === undefined && site === undefined ? [] : [`kxgw peers pause ${name}`]),
  ];
  return html`<section id="todo"><h2>What to do</h2>
${remedies.length === 0 ? html`<p>Nothing.</p>` : remedyList(remedies)}
<p class="quiet">Commands:
${commands.map((one, index) => html`${index > 0 && ", "}<code>${one}</code>`)}</p>
</section>`;
}

function facts({ one, kind, recon }: NeighbourDetail, now: number): [string, Value][] {
  const { name, via, mail, kx, path, pathSince, lastIn, lastOut, success24h, nextTry } = one;
  const { site, peer, repairs, kxShare24h, proof, handed } = one;
  const since = pathSince !== null && html` for ${span(now - Date.parse(pathSince))}`;
  const changes = repairs.changes;
  return [
    ["Path in use", html`${ROADS[path]}${since}`],
    ["Configured", isLocal(name) ? "[local]" : `via = "${via}"`],
    ["Software", kind],
    ["Mail", mail && html`<code>${mail}</code>`],
    ["KX", kx && html`<code>${kx}</code>`],
    ["Last in", when(lastIn, now)],
    ["Last out", when(lastOut, now)],
    ["Last proof", proof && html`${PROOF_WORDS[proof.what]} ${when(proof.at, now)}`],
    [
      "Not confirmed",
      handed &&
        html`${several(handed.updates, "update")}, the oldest left ${when(handed.since, now)}`,
    ],
    ["24 h success", success24h !== null && percent(success24h)],
    ["Share of KX", kxShare24h !== null && `${percent(kxShare24h)} of its updates in 24 hours`],
    ["Failed tries", site !== undefined && site.attempt > 0 && grouped(site.attempt)],
    ["Next try", nextTry !== null && ahead(Date.parse(nextTry), now)],
    ["Mail begins", mailOpens(one, now)],
    ...sessionFacts(peer, now),
    [
      "Keys compared",
      peer?.reconcile &&
        html`${reconcileWords(peer.reconcile)} ${when(peer.reconcile.started, now)}`,
    ],
    ["Lost keys", repairs.waiting > 0 && `${grouped(repairs.waiting)} to be fetched`],
    [
      "Backfill",
      changes &&
        html`the changes of ${several(changes.days, "day")},
${changes.asked === null ? "being asked" : html`asked ${when(changes.asked, now)}`}`,
    ],
    ...recon.map((each): [string, Value] => [
      "Recon",
      html`<span class="tag ${reconMark(each)}">${reconState(each)}:</span> ${each.words}`,
    ]),
  ];
}

function mailOpens({ site, peer }: NeighbourJson, now: number): Value {
  const opens = site?.mailOpensAt ?? null;
  if (opens === null || peer?.connected === true) return null;
  return Date.parse(opens) > now && ahead(Date.parse(opens), now);
}

function sessionFacts(peer: NeighbourJson["peer"], now: number): [string, Value][] {
  if (peer === undefined) return [];
  const { connected, connectedSince, cursor, newest, missing, inFlight, held } = peer;
  const since = connectedSince !== null && ` for ${span(now - Date.parse(connectedSince))}`;
  return [
    ["KX session", connected ? html`connected${since}` : "none"],
    [
      "Its numbers",
      cursor !== null && `read to ${grouped(cursor)} of ${grouped(newest ?? cursor)}`,
    ],
    ["To fetch", `${several(missing, "update")}, ${grouped(inFlight)} requested`],
    [
      "Held back",
      held && `${held.why} until ${held.until ?? "?"}, ${ahead(Date.parse(held.until ?? ""), now)}`,
    ],
    ["Bytes over KX", `${octets(peer.bytesIn)} in, ${octets(peer.bytesOut)} out`],
  ];
}

function queue({ one, untaken, first }: NeighbourDetail, now: number): Html {
  const { name, site } = one;
  if (site === undefined) return html``;
  const { backlog, cursor, exceptions, reasons } = site;
  const oldest =
    one.oldest === null ? "" : `, the oldest for ${span(now - Date.parse(one.oldest))}`;
  const next =
    first &&
    html`; next is <a href="/update/${first.seq}">#${first.seq}</a>
<code class="key-name">${first.fingerprint}</code>`;
  const rows = exceptions.waiting + exceptions.refused + exceptions.withheld;
  const left = rows - untaken.length;
  return html`<section id="queue"><h2>Queue</h2>
<p>${
    backlog === 0 ? "No update waits." : html`${waitWords(backlog)}${oldest}${next}.`
  } Served up to number ${grouped(cursor)} of the log.</p>
${
  rows > 0 &&
  html`<h3>Not taken: ${reasonWords(reasons)}</h3>
<ul class="untaken">${untaken.map((each) => untakenItem(each, now))}</ul>
${left > 0 && html`<p class="quiet">${grouped(left)} more: <code>kxgw queue ls ${name}</code></p>`}
<p class="quiet"><code>kxgw queue retry ${name} NUMBER</code> sends one again, and
<code>kxgw queue retry ${name} all</code> every one of them.</p>`
}</section>`;
}

const STATES = { waiting: "set aside", refused: "refused", withheld: "withheld" } as const;
const COLOURS = { waiting: "behind", refused: "down", withheld: "idle" } as const;

function untakenItem(one: Untaken, now: number): Html {
  const { seq, fingerprint, state, reason, code, reply, tries, since, next } = one;
  const said = code === 0 || reply.includes(String(code)) ? reply : `${code} ${reply}`;
  const why = reason === state || reason === "failed" ? "" : ` (${reason})`;
  const tried = tries > 0 && `, ${several(tries, "failed try").replace("trys", "tries")}`;
  return html`<li class="${COLOURS[state]}"><a href="/update/${seq}">#${seq}</a>
<span class="tag">${STATES[state]}${why}</span>${said !== "" && `: ${said}`}
<span class="quiet">${ago(Date.parse(since), now)}${tried}${
    next !== null && `, next ${ahead(Date.parse(next), now)}`
  }</span> <code class="key-name">${fingerprint}</code></li>
`;
}

export function reconPage({ status, one, events, hours, days }: ReconDetail): Html {
  const now = Date.parse(status.time);
  const { server, words, problem, remedy, keys, wanted, neighbour } = one;
  const known = status.neighbours.find(({ name }) => name === neighbour);
  const body = html`<section id="verdict" class="verdict ${reconMark(one)}" role="status">
<h1><span class="lamp" aria-hidden="true"></span>${server} – ${reconState(one)}</h1>
<p>Followed by recon: ${words}</p></section>
<section id="todo"><h2>What to do</h2>
${
  problem === null
    ? html`<p>Nothing.</p>`
    : remedyList([{ kind: "broken", problem, remedy: remedy ?? "" }])
}</section>
<section id="way"><h2>Session</h2>${factList([
    ["Counts as", known === undefined ? "no neighbour" : neighbourLink(known.name)],
    ["Keys from", html`<code>${one.hkp}</code>`],
    ["Keys", keys !== null && grouped(keys)],
    ["To fetch", grouped(wanted)],
    ["Fetched", several(one.fetched, "key")],
    ["Sessions", grouped(one.sessions)],
    ["Last complete", when(one.whole, now)],
    ["Bytes", `${octets(one.bytesIn)} in, ${octets(one.bytesOut)} out`],
    ["Filters", one.filters && html`<code>${one.filters}</code>`],
  ])}</section>
${flowSections(hours, days, now)}
<section id="events"><h2>Latest events</h2>
${reportList(events, now)}</section>`;
  return shell(`${lamp(reconMark(one))} ${server} · ${status.site}`, body, now);
}

/** Which neighbours there are instead. */
export function unknownNeighbour(name: string, status: Status): Html {
  const names = byTrouble(status.neighbours).map(
    (one) => html`<li>${neighbourLink(one.name)}</li>
`,
  );
  const body = html`<section id="journey"><h1>No neighbour ${name}</h1>
<p>The config has no neighbour with this name. ${
    names.length === 0 ? "It has none at all." : "It has these:"
  }</p>
<ul>${names}</ul></section>`;
  return shell("No such neighbour", body, Date.parse(status.time), true);
}
