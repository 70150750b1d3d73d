/**
 * The gateways of the site on the status page, with the state of the shared database and who holds
 * which lease. A gateway that is alone has no such section.
 */
import { behindWords, databaseWords, unheld } from "../status/cluster-view.js";
import type { Status } from "../status/status.js";
import { grouped, listed, span } from "../text.js";
import { when } from "./frame.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

/** Under load a copy always lacks the commits of the last moment. */
const LATE_S = 60;

type NodeJson = NonNullable<Status["cluster"]>["nodes"][number];

export function clusterSection({ cluster }: Status, now: number): Html | false {
  if (cluster === null) return false;
  const free = unheld(cluster);
  const isLate = cluster.copy.behindSeconds >= LATE_S;
  const mark = ({ up, here }: NodeJson) => (!up ? "down" : here && isLate ? "behind" : "good");
  return html`<section id="cluster"><h2>Gateways of this site</h2>
<p><span class="tag">${cluster.database.up ? "Database:" : "Database away:"}</span>
${databaseWords(cluster, now)}</p>
<table class="cards">
<thead><tr><th scope="col">Gateway</th><th scope="col">State</th><th scope="col">Version</th>
<th scope="col" class="n">Position</th><th scope="col">Seen</th><th scope="col">Leases</th>
</tr></thead>
<tbody>${cluster.nodes.map((one) => row(one, mark(one), now))}</tbody></table>
${free.length > 0 && html`<p class="error">No gateway holds ${listed(free)}.</p>\n`}</section>`;
}

function row(one: NodeJson, mark: string, now: number): Html {
  const { node, here, up, version, address, position, behind, seen, leases, skewMs } = one;
  const skew =
    Math.abs(skewMs) >= 1000 &&
    html`<div class="error">its clock differs by ${span(Math.abs(skewMs))}</div>`;
  return html`<tr class="${mark}">
<th scope="row">${node}${here && html` <span class="quiet">(this one)</span>`}</th>
<td class="state"><span class="tag">${up ? "up" : "not seen"}:</span> ${behindWords(behind)}
${address !== null && html` <span class="quiet">from ${address}</span>`}${skew}</td>
<td data-of="Version">${version}</td>
<td class="n" data-of="Position">${grouped(position)}</td>
<td data-of="Seen">${when(seen, now)}</td>
<td data-of="Leases">${leases.length === 0 ? "–" : leases.join(", ")}</td></tr>
`;
}
