/**
 * The answer to a search: the page of one update's journey with its origin, number and state at
 * each neighbour, a list when several were found, or what was searched when none was. The values
 * come from status/journey.ts and status/search.ts.
 */

import { bodyWords, bridgeWords, JOURNEYS, type Journey, type Stage } from "../status/journey.js";
import type { Found } from "../status/search.js";
import { cameBy, listed, octets, several, span } from "../text.js";
import { neighbourLink, shell, when } from "./frame.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

/** What was searched: the answer of status/search.ts, and how far back the log goes. */
export interface Searched {
  readonly question: string;
  readonly kind: Found["kind"];
  readonly isDone: boolean;
  /** Of the newest update that was found first; empty if none was. */
  readonly journeys: readonly Journey[];
  /** For how long the log keeps hashes, and bodies, in milliseconds. */
  readonly rememberMs: number;
  readonly retainMs: number;
}

export function journeyPage(searched: Searched, now: number): Html {
  const { journeys } = searched;
  const [only, ...others] = journeys;
  if (only === undefined) return shell("Not found", nothingFound(searched), now, true);
  if (others.length === 0) return shell(`Update ${only.seq}`, section(only, now), now);
  return shell("Updates", list(searched, now), now);
}

function list({ question, journeys }: Searched, now: number): Html {
  const found = journeys.length < JOURNEYS ? "" : "the newest ";
  const items = journeys.map(({ seq, fingerprint, received, size, stages }) => {
    const done = stages.filter(({ state }) => state === "done").length;
    const failed = stages.filter(({ state }) => state === "failed").length;
    const not = failed > 0 && html`, <span class="error">${failed} did not take it</span>`;
    return html`<li><a href="/update/${seq}">Update ${seq}</a> ${when(received, now)},
${octets(size)}; at ${done} of ${several(stages.length, "neighbour")}${not}
<br><code class="key-name">${fingerprint || "key deleted"}</code></li>
`;
  });
  return html`<section id="journey"><h1>${found}${several(journeys.length, "update")}</h1>
<p>Found by <code>${question}</code>, the newest first.</p>
<ol class="stages">${items}</ol></section>`;
}

const WHAT = {
  number: "an update with this number",
  hash: "an update with this hash",
  fingerprint: "updates of a key with this fingerprint",
  "hash or fingerprint":
    "an update with this hash and updates of a version 3 key with this fingerprint",
  "key id": "updates of keys whose id is this one",
  "Message-ID": "updates that came with a mail of this Message-ID",
} as const;

function nothingFound({ question, kind, isDone, rememberMs, retainMs }: Searched): Html {
  const asked = html`<code>${question}</code>`;
  const kinds = html`<p>The search takes the fingerprint of a key (40 or 64 digits), its 16-digit
key id, the hash of an update (32 digits, as <code>kxgw hash</code> prints it), its number, or the
Message-ID of the mail that it came with. Spaces and <code>0x</code> do no harm.</p>`;
  if (!isDone) {
    return html`<section id="journey"><h1>Not searched</h1>
<p>Other searches that read the whole log are under way: search for ${asked} again in a
moment.</p></section>`;
  }
  if (kind === "short id") {
    return html`<section id="journey"><h1>Eight digits are not enough</h1>
<p>${asked} is a short key id. Anybody can make a key with a given short id, so that it names no
key.</p>${kinds}</section>`;
  }
  if (kind === "nothing") {
    return html`<section id="journey"><h1>Nothing to search for</h1>
<p>${asked} is none of what can be searched.</p>${kinds}</section>`;
  }
  return html`<section id="journey"><h1>No such update</h1>
<p>Searched for ${asked}: ${WHAT[kind]}. The log has none.</p>
<p>The log remembers an update for ${span(rememberMs)} (<code>log.remember</code>), and its body for
${span(retainMs)} (<code>log.retain</code>). What came before is not found, and neither is what was
refused: the events of the <a href="/#events">status page</a> and the journal have it.</p>
${
  kind === "Message-ID" &&
  html`<p>A key that came again without news has no update of its own: its
first arrival is found by the fingerprint of the key.</p>`
}</section>`;
}

function section(journey: Journey, now: number): Html {
  const { seq, hash, fingerprint, size, received, from, transport, messageId, trail } = journey;
  const { removal, bridgeFrom } = journey;
  const came = `${cameBy(transport)}, from ${from ?? "unknown sender"}`;
  return html`<section id="journey-${seq}" class="journey">
<h1>Update ${seq}</h1>
<dl class="facts">
<div><dt>Key</dt><dd>${
    fingerprint === ""
      ? "deleted"
      : html`<a href="/update/${fingerprint}"><code>${fingerprint}</code></a>`
  }</dd></div>
<div><dt>Hash</dt><dd><a href="/update/${hash}"><code>${hash}</code></a></dd></div>
<div><dt>Size</dt><dd>${octets(size)}${bodyWords(journey)}</dd></div>
<div><dt>Received</dt><dd>${when(received, now)} ${came}
<span class="quiet">${received}</span></dd></div>
${messageId !== null && html`<div><dt>Mail</dt><dd><code>${messageId}</code></dd></div>`}
${removal !== null && html`<div><dt>Removed</dt><dd>${removed(removal)}</dd></div>`}
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

/** Without the reason on a public page. */
function removed({ what, reason }: NonNullable<Journey["removal"]>): string {
  return reason === "" ? what : `${what}: ${reason}`;
}
