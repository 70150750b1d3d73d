/**
 * What comes next, in words and commands: on the page of a gateway without neighbours, of one that
 * has neighbours and no updates yet, and of one in observe mode, with what it would have sent.
 */
import { observedWords } from "../status/neighbour-view.js";
import { observedSumWords } from "../status/observed.js";
import type { Status } from "../status/status.js";
import { grouped, listed, several } from "../text.js";
import { neighbourLink, when } from "./frame.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

const PEER = `[[peer]]
name = "old"
mail = "pgp-public-keys@pks.example.net"
accept_from = ["192.0.2.10"]

[[peer]]
name = "newks"
kx = "ks2.example.com:11373"`;

const APPLY = html`<li>Check it with <code>kxgw check --online</code>, and put it in force with
<code>systemctl reload kxgw</code>. This page changes by itself.</li>
`;

/** In place of the neighbours of a gateway that has none. */
export function noNeighbours(): Html {
  return html`<section id="neighbours"><h2>Next step: the first neighbour</h2>
<p>No neighbours are configured, so nothing is received or sent. A neighbour is a keyserver that
this gateway exchanges updates with.</p>
<ol class="steps">
<li>Write it into the config (<code>/etc/kxgw/kxgw.toml</code>): one that uses mail needs its
address and the hosts that its mail comes from, one that uses KX its host and port.
<pre>${PEER}</pre></li>
<li>For the keyserver beside this gateway add <code>[local]</code>, and for a Hockeypuck or SKS that
is to be followed <code>[[recon]]</code>. <code>kxgw init</code> asks for all of it and writes a new
file; <code>kxgw config migrate</code> makes one from the configuration of pksd, onak, SKS or
Hockeypuck. <code>man kxgw.toml</code> lists every key.</li>
${APPLY}</ol></section>`;
}

/** For a gateway with neighbours whose log is empty; nothing for any other. */
export function noUpdates({ log, neighbours, site, recon }: Status): Html | false {
  if (log.newest > 0 || neighbours.length === 0) return false;
  const byKx = neighbours.filter(({ kx }) => kx !== null).map(({ name }) => name);
  const byMail = neighbours.filter(({ mail }) => mail !== null).map(({ name }) => name);
  const [mail] = byMail;
  const [kx] = byKx;
  return html`<section id="next"><h2>Next step: the first update</h2>
<p>The log is empty: no update has come yet.</p>
<ul class="steps">
${
  mail !== undefined &&
  html`<li>A neighbour that uses mail has to list this gateway as a site that it syncs with:
<code>${site}</code>. <code>kxgw peers test ${mail}</code> checks the way to it. If it is a pksd
with <code>repair = "mail"</code>, <code>kxgw backfill ${mail} --days 14</code> asks it for the
changes of two weeks.</li>
`
}${
  kx !== undefined &&
  html`<li>A KX peer has to list this gateway as well. <code>kxgw peers test ${kx}</code> checks the
connection; updates follow by themselves.</li>
`
}${
  recon.length > 0 &&
  html`<li>A server that is followed by recon must accept this gateway as a partner; its own line
says how far it is.</li>
`
}<li>Keys of a file come in with <code>kxgw import FILE</code>, while the gateway is stopped.</li>
</ul></section>`;
}

/** What observe mode would have sent, and how sending begins; nothing in mode "bridge". */
export function observeSection(status: Status, now: number): Html | false {
  const { observed: all, observedSum, neighbours, log } = status;
  if (all === null) return false;
  const rows = all.map((one) => {
    const own = one.since === null ? 1 : (now - Date.parse(one.since)) / 3_600_000;
    const rate = one.updates / Math.max(1, own);
    return html`<li><strong>${neighbourLink(one.neighbour)}</strong> ${observedWords(one)}
${when(one.since, now)}, <span class="quiet">${often(rate)}, the last</span>
${when(one.lastAt, now)}</li>
`;
  });
  const silent = neighbours.filter(({ name }) => !all.some(({ neighbour }) => neighbour === name));
  const quiet = silent.map(({ name }) => name);
  return html`<section id="observe"><h2>Observe mode: what would have been sent</h2>
<p>The gateway receives and stores updates, and sends nothing.
${
  observedSum === null
    ? "So far there was nothing to send."
    : html`In mode "bridge" it would have sent <strong>${observedSumWords(observedSum)}</strong>.`
}</p>
<ul class="untaken">${rows}${
    quiet.length > 0 &&
    html`<li class="quiet">Nothing to
${quiet.length > 3 ? several(quiet.length, "other") : listed(quiet)}</li>
`
  }</ul>
<h3>To begin sending</h3>
<ol class="steps">
<li>Look at the pages of the neighbours, and test the way to each:
<code>kxgw peers test NAME</code>. <code>kxgw doctor --online</code> names what would fail.</li>
<li>End the synchronisation by mail that this gateway replaces, so that nobody gets updates
twice.</li>
<li>Set <code>mode = "bridge"</code> in the config, then <code>kxgw check</code> and
<code>systemctl reload kxgw</code>. Mail leaves from update ${log.newest + 1} on; KX peers are
offered what the log holds.</li>
</ol></section>`;
}

function often(perHour: number): string {
  if (perHour >= 1) return `about ${grouped(perHour)} an hour`;
  const perDay = perHour * 24;
  return perDay >= 1 ? `about ${grouped(perDay)} a day` : "less than one a day";
}
