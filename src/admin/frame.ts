/**
 * What all pages share: the frame with the time of the page, times, lists of figures, remedies.
 * The frame says when the page was made. When that is too long ago, the script of assets.ts shows a
 * banner; without scripts the page reloads by itself.
 */
import type { Diagnosis } from "../status/remedies.js";
import { ago } from "../text.js";
import type { Html, Value } from "./html.js";
import { html } from "./html.js";

/** How often a page without scripts is loaded again, in seconds. */
const RELOAD_S = 60;

/** The frame; `now` in milliseconds since 1970. `still`: the page does not change by itself. */
export function shell(title: string, body: Html, now: number, still = false): Html {
  const iso = new Date(now).toISOString();
  const utc = `${iso.slice(0, 19).replace("T", " ")} UTC`;
  const reload = html`<noscript><meta http-equiv="refresh" content="${RELOAD_S}"></noscript>
`;
  return html`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="/style.css"><link rel="icon" href="/icon.svg" type="image/svg+xml">
${!still && reload}<script src="/live.js" defer></script></head>
<body${still && html` data-still="yes"`}><a class="skip" href="#main">Skip to the content</a>
<div id="stale" role="alert" hidden></div>
<header><a class="brand" href="/">KX gateway</a>
<span id="asof" class="quiet">As of <time datetime="${iso}">${utc}</time></span>
<span id="live" class="quiet"></span></header>
<main id="main">
${body}
</main>
<footer id="foot" class="quiet"><p>As of ${utc}. <a href="/">Status</a> ·
<a href="/status.json">JSON</a> · <a href="/metrics">Metrics</a>${
    !still && html`<noscript> · The page is loaded again every ${RELOAD_S} s.</noscript>`
  }</p></footer>
</body></html>
`;
}

/** A time as "6 min ago", with its ISO form as title. */
export function when(time: string | null, now: number): Html {
  if (time === null) return html`<span class="quiet">never</span>`;
  return html`<time datetime="${time}" title="${time}">${ago(Date.parse(time), now)}</time>`;
}

export function figureList(figures: readonly (readonly [string, Value, Value])[]): Html {
  return html`<dl class="figures">${figures.map(
    ([name, value, before]) => html`<div><dt>${before}${name}</dt><dd>${value}</dd></div>
`,
  )}</dl>`;
}

/** A list of facts; those that are null, false or empty are left out. */
export function factList(facts: readonly (readonly [string, Value])[]): Html {
  const known = facts.filter(([, value]) => value !== null && value !== false && value !== "");
  return html`<dl class="facts">${known.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>
`,
  )}</dl>`;
}

/** What is wrong, each with what to do. */
export function remedyList(all: readonly Diagnosis[]): Html {
  return html`<ul class="remedies">${all.map(
    ({ kind, problem, remedy }) => html`<li class="${kind === "broken" ? "down" : "behind"}">
<strong>${problem}</strong> <span class="do">${withCommands(remedy)}</span></li>
`,
  )}</ul>`;
}

/** Commands, which stand between quotation marks, as code. */
function withCommands(text: string): readonly Value[] {
  return text.split(/"(kxgw [^"]+)"/).map((part, index) => {
    return index % 2 === 1 ? html`<code>${part}</code>` : part;
  });
}

/** The page of a neighbour. */
export function neighbourLink(name: string): Html {
  return html`<a href="/neighbour/${encodeURIComponent(name)}">${name}</a>`;
}
