/**
 * The assets of the pages: one stylesheet, one script, one icon. No build step and no other host.
 * The script only refreshes the page and says when it is stale; the page is complete without it.
 */

/** Colours are checked for contrast by a test: text 4.5 to 1, marks 3 to 1, in both schemes. */
export const STYLE = `:root {
  color-scheme: light dark;
  --bg: #fbfaf8; --card: #ffffff; --text: #1d2128; --quiet: #59616d; --line: #dedbd4;
  --good: #17703f; --behind: #855600; --bad: #b3261e; --link: #0b5c6e;
  --mail: #b7791f; --kx: #0f7f93; --other: #7a6f9b; --rest: #e9e6df; --alarm: #b3261e;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #14171c; --card: #1b1f26; --text: #e8e6e1; --quiet: #a0a9b5; --line: #2f353f;
    --good: #63d297; --behind: #ebb450; --bad: #ff8f85; --link: #74cbdc;
    --mail: #d39a3c; --kx: #45aec3; --other: #a99fce; --rest: #2b313a; --alarm: #a32219;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 0 24px 32px; background: var(--bg);
  color: var(--text); }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 16px;
  padding: 18px 0 6px; }
#asof { margin-left: auto; }
#stale { position: sticky; top: 0; z-index: 1; margin: 0 -24px; padding: 10px 24px;
  background: var(--alarm); color: #ffffff; font-weight: 620; overflow-wrap: anywhere; }
#stale[hidden] { display: none; }
body.stale main { filter: grayscale(1); } body.stale #asof time { text-decoration: line-through; }
.brand { font-weight: 650; letter-spacing: .01em; text-decoration: none; }
.skip { position: absolute; left: -999em; }
.skip:focus { left: 24px; top: 4px; background: var(--card); padding: 4px 10px; }
a { color: var(--link); text-underline-offset: 2px; }
a:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible,
summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
h1 { font-size: 1.3rem; line-height: 1.35; font-weight: 620; margin: 0 0 4px;
  overflow-wrap: anywhere; }
h2 { font-size: 1rem; font-weight: 640; margin: 0 0 10px; }
p, li, dd { overflow-wrap: anywhere; }
p { margin: 0 0 6px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin: 0 0 16px; }
.verdict { border-left: 6px solid var(--state); }
.verdict p { color: var(--quiet); margin: 0; }
.verdict p strong { color: var(--text); font-weight: 600; }
.verdict p.error { color: var(--bad); }
.lamp { display: inline-block; width: .62em; height: .62em; margin-right: .5em;
  border-radius: 50%; background: var(--state); }
.good { --state: var(--good); } .behind { --state: var(--behind); }
.bad, .down, .failed, .error, .warn { --state: var(--bad); }
.pending, .handed, .paused, .idle, .none { --state: var(--quiet); }
.done { --state: var(--good); } .waiting { --state: var(--behind); }
.quiet { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 8px 14px 8px 0; font-weight: 400; }
thead th { color: var(--quiet); font-size: .86rem; padding-top: 0; }
.cards thead th { white-space: nowrap; }
tbody th { font-weight: 620; overflow-wrap: anywhere; min-width: 9em; }
tbody tr { border-top: 1px solid var(--line); }
td { white-space: nowrap; }
td.state { white-space: normal; min-width: 17em; overflow-wrap: anywhere; }
td:last-child, th:last-child { padding-right: 0; }
th.n, td.n { text-align: right; }
.tag { color: var(--state); font-weight: 620; }
h3 { font-size: .95rem; font-weight: 620; margin: 16px 0 6px; }
ul.untaken, ul.steps, ol.steps { margin: 0 0 6px; padding-left: 1.4em; }
ol.steps { list-style: decimal; } .steps li { padding: 2px 0; }
.untaken .error { color: var(--bad); } .untaken li { padding: 2px 0; }
.untaken .key-name { display: block; font-size: .82rem; color: var(--quiet); }
pre { background: var(--bg); border: 1px solid var(--line); border-radius: 6px; margin: 6px 0;
  padding: 10px 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
ul.remedies { list-style: none; margin: 0 0 10px; padding: 0; }
.remedies li { border-left: 4px solid var(--state); padding: 2px 0 2px 12px; margin: 0 0 8px; }
.remedies strong { font-weight: 620; } .remedies .do { display: block; }
div.error { color: var(--bad); font-size: .9rem; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 8px 34px; margin: 0; }
.figures dt { color: var(--quiet); font-size: .86rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .45em; }
.key.mail { background: var(--mail); } .key.kx { background: var(--kx); }
.key.other { background: var(--other); }
figure { margin: 16px 0 8px; } figcaption, .below { font-size: .86rem; margin: 0; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px; }
figcaption b, .below b { color: var(--text); font-weight: 620; }
.legend .key { margin-left: 1em; }
.chart { display: flex; } .chart svg { flex: none; overflow: visible; }
.chart svg.flow { flex: 1 1 0; min-width: 0; }
svg { display: block; }
svg text { fill: var(--quiet); font-size: 11px; text-anchor: middle; }
svg.marks text { text-anchor: end; }
svg .axis { stroke: var(--quiet); stroke-width: 1; }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .tick { stroke: var(--quiet); }
svg .mail { fill: var(--mail); } svg .kx { fill: var(--kx); } svg .rest { fill: var(--rest); }
svg .other { fill: var(--other); }
svg .hit { fill: transparent; } svg g:hover .hit { fill: var(--rest); fill-opacity: .6; }
svg.spark { width: 96px; height: 18px; margin-top: 2px; } svg.spark rect { fill: var(--kx); }
svg.share { width: 100%; height: 10px; margin: 2px 0 10px; border-radius: 5px; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--link); }
.hours { width: auto; margin-top: 8px; font-size: .9rem; }
.hours td, .hours th { padding-block: 2px; }
ol { list-style: none; margin: 0; padding: 0; }
.events li, .stages li { padding: 5px 0; border-top: 1px solid var(--line); }
.events li { display: flex; gap: 10px; } .events .said { min-width: 0; overflow-wrap: anywhere; }
.events li:first-child, .stages li:first-child { border-top: 0; }
.events .at { flex: 0 0 6em; color: var(--quiet); }
.events .what strong { color: var(--state); } .who { font-weight: 620; }
.events .times { font-weight: 620; color: var(--text); }
.facts { margin: 0; } .facts div { display: flex; gap: 16px; padding: 3px 0; }
.facts dt { color: var(--quiet); flex: 0 0 8em; }
.facts dd { margin: 0; min-width: 0; }
.journey h2 { margin-top: 18px; } .stages .tag { display: inline-block; min-width: 4.4em; }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; align-items: stretch; }
main > section { grid-column: 1 / -1; min-width: 0; } #migration { grid-column: 1; }
#saved { grid-column: 2; }
#live, #asof { font-size: .9rem; } #live:not(:empty)::before { content: ""; display: inline-block;
  width: .5em; height: .5em; border-radius: 50%; background: var(--kx); margin-right: .45em; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
form { display: flex; flex-wrap: wrap; gap: 10px; align-items: end; margin: 0 0 14px; }
section > form:last-child { margin: 0; }
label { color: var(--quiet); font-size: .86rem; flex: 0 1 14em; min-width: 0; }
label.wide { flex: 1 1 20em; } .clear { padding: 7px 0; }
input, select, button { display: block; font: inherit; color: inherit; background: var(--bg);
  width: 100%; height: 2.4em;
  border: 1px solid var(--quiet); border-radius: 6px; padding: 6px 10px; margin-top: 4px; }
button { width: auto; cursor: pointer; } button:hover { background: var(--rest); }
footer { padding: 4px 2px; font-size: .9rem; }
@media (max-width: 1040px) {
  .cards thead { position: absolute; left: -999em; }
  .cards, .cards tbody { display: block; }
  .cards tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr));
    gap: 4px 12px; padding: 10px 0; }
  .cards tr > * { padding: 0; text-align: left; min-width: 0; white-space: normal; }
  .cards th, .cards td.state { grid-column: 1 / -1; }
  .cards td[data-of]::before { content: attr(data-of); display: block;
    color: var(--quiet); font-size: .86rem; } }
@media (max-width: 720px) { #migration, #saved { grid-column: 1 / -1; } }
@media (max-width: 620px) { body { padding: 0 12px 24px; } section { padding: 14px; }
  #stale { margin: 0 -12px; padding: 10px 12px; } #asof { margin-left: 0; }
  .facts div { display: block; } .facts dd { margin-bottom: 4px; }
  .hours { width: 100%; } .hours th, .hours td { padding-right: 6px; white-space: normal; }
  .hours tbody th { min-width: 0; } .hours thead th { vertical-align: bottom; }
  .events li { display: block; } .events .at::after { content: " · "; } }
@media print { body { max-width: none; }
  section { break-inside: avoid; } form, .skip { display: none; } }
`;

/**
 * Fetches the page again when the gateway says that something changed, and at least each 30 s. When
 * it does not get the page, or was suspended, a banner and the title say how old the shown page is,
 * until a new one has come. `Date.now()` also counts the time that a computer sleeps.
 */
export const SCRIPT = `"use strict";
(() => {
  if (document.body.dataset.still === "yes") return;
  const EVERY = 30000, LATE = 45000, RETRY = 3000, PATIENCE = 10000;
  const live = document.getElementById("live"), banner = document.getElementById("stale");
  const say = (text) => { if (live.textContent !== text) live.textContent = text; };
  let shownAt = Date.now(), triedAt = shownAt, fault = "", failures = 0;
  let busy = false, again = false, title = document.title, source;

  const span = (ms) => {
    for (const [unit, size] of [["d", 86400000], ["h", 3600000], ["min", 60000], ["s", 1000]]) {
      if (ms >= size) return Math.floor(ms / size) + " " + unit;
    }
    return "0 s";
  };

  const judge = () => {
    const age = Date.now() - shownAt;
    const stale = failures > 1 || age > LATE;
    document.body.classList.toggle("stale", stale);
    if (!stale) {
      banner.hidden = true;
      banner.textContent = "";
      if (document.title !== title) document.title = title;
      return;
    }
    document.title = "STALE " + span(age) + " \u00b7 " + title;
    if (banner.hidden) {
      banner.append(document.createElement("span"), " ", document.createElement("span"));
      banner.lastChild.setAttribute("aria-live", "off");
      banner.hidden = false;
    }
    const why = fault || "This page was not refreshed.";
    if (banner.firstChild.textContent !== why) banner.firstChild.textContent = why;
    const since = new Date(shownAt).toISOString().slice(0, 19).replace("T", " ");
    banner.lastChild.textContent =
      "What is shown is " + span(age) + " old (" + since + " UTC). Trying again.";
    say("Not live");
  };

  const tell = () => say(
    ["Reconnecting", "Live", "Refreshed every 30 s"][source.readyState] ?? "");

  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    triedAt = Date.now();
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal });
      const text = await answer.text();
      const next = new DOMParser().parseFromString(text, "text/html");
      if (!next.getElementById("asof")) {
        fault = "The gateway answers with an error (" + answer.status + ").";
        failures += 1;
      } else {
        for (const part of next.querySelectorAll("main > section, #foot, #asof")) exchange(part);
        layOut(next);
        title = next.title;
        document.title = title;
        shownAt = Date.now();
        fault = "";
        failures = 0;
        listen();
        tell();
      }
    } catch {
      fault = "The gateway does not answer.";
      failures += 1;
    }
    busy = false;
    judge();
    if (again) { again = false; if (failures === 0) refresh(); }
  };

  /** Sections that are gone are taken away, and new ones put behind the one before them. */
  const layOut = (next) => {
    const parts = [...next.querySelectorAll("main > section")];
    const wanted = new Set(parts.map(({ id }) => id));
    for (const old of document.querySelectorAll("main > section")) {
      if (!wanted.has(old.id)) old.remove();
    }
    let before = null;
    for (const part of parts) {
      let here = document.getElementById(part.id);
      if (here === null) {
        here = document.importNode(part, true);
        if (before) before.after(here);
        else document.getElementById("main").prepend(here);
      }
      before = here;
    }
  };

  const FOCUSABLE = "a, summary, button, input, select";
  const exchange = (part) => {
    const old = document.getElementById(part.id);
    if (!old || old.outerHTML === part.outerHTML) return;
    const active = document.activeElement;
    if (old.contains(active) && active.matches("input, select")) return;
    const open = [...old.querySelectorAll("details")].map((one) => one.open);
    const typed = [...old.querySelectorAll("input, select")].map((one) => one.value);
    const all = [...old.querySelectorAll(FOCUSABLE)];
    const focused = old.contains(active) ? all.indexOf(active) : -1;
    const imported = document.importNode(part, true);
    old.replaceWith(imported);
    imported.querySelectorAll("details").forEach((one, n) => { one.open = open[n] ?? false; });
    imported.querySelectorAll("input, select").forEach((one, n) => {
      if (typed[n] !== undefined) one.value = typed[n];
    });
    imported.querySelectorAll(FOCUSABLE)[focused]?.focus();
  };

  const listen = () => {
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource("/events");
    source.addEventListener("open", () => { tell(); if (failures > 0) refresh(); });
    source.addEventListener("change", refresh);
    source.addEventListener("error", () => { tell(); refresh(); });
  };

  const wake = () => { if (document.visibilityState === "visible") { judge(); refresh(); } };
  document.addEventListener("visibilitychange", wake);
  for (const name of ["pageshow", "online", "focus"]) {
    addEventListener(name, () => { if (Date.now() - triedAt > RETRY) wake(); });
  }
  setInterval(() => {
    judge();
    if (Date.now() - triedAt > (failures > 0 ? RETRY : EVERY)) refresh();
  }, 1000);
  listen();
})();
`;

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="3" fill="#0f7f93"/>
<path d="M4 3v10M4 8l4-5M4 8l4 5M9 8h4M11 6l2 2-2 2" stroke="#fff" stroke-width="1.6" fill="none"/>
</svg>
`;
