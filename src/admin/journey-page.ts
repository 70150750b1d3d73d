/**
 * The page of one update's journey, or of several for a fingerprint: origin, number, and
 * the state at each neighbour. The value comes from status/journey.ts.
 */

import { bridgeWords, type Journey, type Stage } from "../status/journey.js";
import { cameBy, listed, octets } from "../text.js";
import { neighbourLink, shell, when } from "./frame.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

/** `question` is the query; `journeys` has the newest first, and is empty if none was found. */
export function journeyPage(question: string, journeys: readonly Journey[], now: number): Html {
  const found = journeys.length;
  const body =
    found === 0
      ? html`<section id="journey"><h1>No such update</h1>
<p>The log has no update <code>${question}</code>. Use the fingerprint of a key (40 digits
without spaces) or the hash of an update (32 digits), as <code>kxgw hash</code> prints them.
<code>kxgw trace</code> also finds a Message-ID.</p></section>`
      : html`${journeys.map((journey) => section(journey, now))}`;
  return shell(found === 1 ? `Update ${journeys[0]?.seq}` : "Updates", body, now);
}

function section(journey: Journey, now: number): Html {
  const { seq, hash, fingerprint, size, received, from, transport, messageId, trail } = journey;
  const { removal, bridgeFrom } = journey;
  const came = `${cameBy(transport)}, from ${from ?? "unknown sender"}`;
  return html`<section id="journey-${seq}" class="journey">
<h1>Update ${seq}</h1>
<dl class="facts">
<div><dt>Key</dt><dd><a href="/update/${fingerprint}"><code>${fingerprint}</code></a></dd></div>
<div><dt>Hash</dt><dd><a href="/update/${hash}"><code>${hash}</code></a></dd></div>
<div><dt>Size</dt><dd>${octets(size)}${journey.body ? "" : ", body deleted"}</dd></div>
<div><dt>Received</dt><dd>${when(received, now)} ${came}
<span class="quiet">${received}</span></dd></div>
${messageId !== null && html`<div><dt>Mail</dt><dd><code>${messageId}</code></dd></div>`}
${removal !== null && html`<div><dt>Removed</dt><dd>${removal.what}: ${removal.reason}</dd></div>`}
<div><dt>Trail</dt><dd>${trail.length === 0 ? "empty" : listed(trail)}</dd></div>
${bridgeFrom !== null && html`<div><dt>Observe</dt><dd>${bridgeWords(bridgeFrom)}</dd></div>`}
</dl>
<h2>At the neighbours</h2>
<ol class="stages">${journey.stages.map((stage) => item(stage, now))}</ol></section>
`;
}

const TAGS = {
  done: "done",
  handed: "handed over",
  waiting: "waiting",
  failed: "failed",
  none: "–",
} as const;

function item({ neighbour, state, words, time }: Stage, now: number): Html {
  return html`<li class="${state}"><span class="tag">${TAGS[state]}</span>
<strong>${neighbourLink(neighbour)}</strong>
${words}${time !== null && html` ${when(time, now)}`}</li>
`;
}
