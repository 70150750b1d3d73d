/**
 * The events of the page, with the form that filters them by neighbour, level and words: GET
 * parameters, so that it works without scripts and a filtered page has an address of its own.
 */
import type { EventFilter, EventLine } from "../status/event-lines.js";
import type { Status } from "../status/status.js";
import { grouped, listed, several, span } from "../text.js";
import { when } from "./frame.js";
import type { Html, Value } from "./html.js";
import { html } from "./html.js";

export interface ShownEvents {
  readonly filter: EventFilter;
  readonly lines: readonly EventLine[];
  /** Lines that were found and are not shown. */
  readonly left: number;
}

/** Most names in one line; of more neighbours only the number is shown. */
const NAMES = 3;

const LEVELS = { all: "all", warn: "warnings and errors", error: "errors" } as const;

export function eventsSection(
  { filter, lines, left }: ShownEvents,
  names: readonly string[],
  now: number,
): Html {
  const { neighbour, level, words } = filter;
  const isFiltered = neighbour !== "" || level !== "all" || words !== "";
  const option = (value: string, text: string, chosen: string) =>
    html`<option value="${value}"${value === chosen && html` selected`}>${text}</option>
`;
  // The URL may name a neighbour that is gone: it stays selected, since the filter is in force.
  const known = neighbour === "" || names.includes(neighbour) ? names : [...names, neighbour];
  const nothing = isFiltered ? "No event of the latest ones fits the filter." : "No events yet.";
  return html`<section id="events"><h2>Recent events</h2>
<form action="/#events" method="get" class="filter">
<label>Neighbour <select name="neighbour">${option("", "all", neighbour)}${known.map((name) =>
    option(name, name, neighbour),
  )}</select></label>
<label>Level <select name="level">${(["all", "warn", "error"] as const).map((one) =>
    option(one, LEVELS[one], level),
  )}</select></label>
<label class="wide">Words <input name="words" value="${words}" spellcheck="false"
autocomplete="off"></label>
<button>Filter</button>${isFiltered && html` <a class="clear" href="/#events">Clear</a>`}</form>
${
  lines.length === 0
    ? html`<p>${nothing}</p>`
    : html`<ol class="events">${lines.map((line) => eventItem(line, now))}</ol>`
}
${
  left > 0 &&
  html`<p class="quiet">${several(left, "older line")} not shown; the journal has every event.</p>`
}</section>`;
}

function eventItem(line: EventLine, now: number): Html {
  const { event, level, text, neighbours, count, firstAt, lastAt, seq, hash, words } = line;
  const iso = new Date(lastAt).toISOString();
  const many = neighbours.length > NAMES;
  const who = many ? several(neighbours.length, "neighbour") : listed(neighbours);
  const during = lastAt - firstAt >= 1000 ? `in ${span(lastAt - firstAt)}` : "";
  const repeated =
    count > 1 &&
    html` <strong class="times">× ${grouped(count)}</strong> <span class="quiet">${during}</span>`;
  return eventLine({
    ...{ level, time: when(iso, now), who, what: text, event, repeated, words },
    hash,
    seq,
    title: many ? listed(neighbours) : "",
  });
}

type ReportJson = Status["recent"][number];

/** The latest reports of one neighbour, each with its update. */
export function reportList(recent: readonly ReportJson[], now: number): Html {
  if (recent.length === 0) return html`<p>No events yet.</p>`;
  const items = recent.map(({ time, level, text, event, hash, seq, words }) =>
    eventLine({
      ...{ level, time: when(time, now), who: "", what: text, event, words },
      ...{ repeated: false, title: "" },
      hash: typeof hash === "string" ? hash : null,
      seq: typeof seq === "number" ? seq : null,
    }),
  );
  return html`<ol class="events">${items}</ol>`;
}

function eventLine(given: {
  readonly level: string;
  readonly time: Html;
  readonly who: string;
  readonly title: string;
  readonly what: string;
  readonly event: string;
  readonly hash: string | null;
  readonly seq: number | null;
  readonly repeated: Value;
  readonly words: string | null;
}): Html {
  const { level, time, who, title, what, event, hash, seq, repeated, words } = given;
  const isTrouble = level === "error" || level === "warn";
  const link =
    hash !== null &&
    html` <a href="/update/${seq ?? hash}">${seq === null ? hash.slice(0, 8) : `#${seq}`}</a>`;
  return html`<li class="${level}"><span class="at">${time}</span>
<span class="said">${
    who !== "" && html`<span class="who" title="${title}">${who}:</span> `
  }<span class="what" title="${event}">${
    isTrouble && html`<strong>${level}:</strong> `
  }${what}</span>${repeated}${link}${
    words !== null && html` <span class="quiet">${words}</span>`
  }</span></li>
`;
}
