/**
 * The assets of the pages: one stylesheet, one script, one icon. No
 * build step and no other host. The script only refreshes the page, which is complete without it.
 */

/** Colours are checked for contrast by a test: text 4.5 to 1, marks 3 to 1, in both schemes. */
export const STYLE = `:root {
  color-scheme: light dark;
  --bg: #fbfaf8; --card: #ffffff; --text: #1d2128; --quiet: #59616d; --line: #dedbd4;
  --good: #17703f; --behind: #855600; --bad: #b3261e; --link: #0b5c6e;
  --mail: #b7791f; --kx: #0f7f93; --rest: #e9e6df;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #14171c; --card: #1b1f26; --text: #e8e6e1; --quiet: #a0a9b5; --line: #2f353f;
    --good: #63d297; --behind: #ebb450; --bad: #ff8f85; --link: #74cbdc;
    --mail: #d39a3c; --kx: #45aec3; --rest: #2b313a;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 0 24px 32px; background: var(--bg);
  color: var(--text); }
header { display: flex; align-items: baseline; gap: 16px; padding: 18px 0 6px; }
.brand { font-weight: 650; letter-spacing: .01em; text-decoration: none; }
.skip { position: absolute; left: -999em; }
.skip:focus { left: 24px; top: 4px; background: var(--card); padding: 4px 10px; }
a { color: var(--link); text-underline-offset: 2px; }
a:focus-visible, button:focus-visible, input:focus-visible, summary:focus-visible,
.scroll:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
h1 { font-size: 1.3rem; line-height: 1.35; font-weight: 620; margin: 0 0 4px; }
h2 { font-size: 1rem; font-weight: 640; margin: 0 0 10px; }
p { margin: 0 0 6px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin: 0 0 16px; }
.verdict { border-left: 6px solid var(--state); }
.verdict p { color: var(--quiet); margin: 0; }
.verdict p strong { color: var(--text); font-weight: 600; }
.lamp { display: inline-block; width: .62em; height: .62em; margin-right: .5em;
  border-radius: 50%; background: var(--state); }
.good { --state: var(--good); } .behind { --state: var(--behind); }
.bad, .down, .failed, .error, .warn { --state: var(--bad); }
.pending, .handed, .paused, .idle, .none { --state: var(--quiet); }
.done { --state: var(--good); } .waiting { --state: var(--behind); }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; margin: 0 -20px; padding: 0 20px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 8px 14px 8px 0; font-weight: 400; }
thead th { color: var(--quiet); font-size: .86rem; white-space: nowrap; padding-top: 0; }
tbody th { font-weight: 620; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
td { white-space: nowrap; } td.state { white-space: normal; min-width: 17em; }
td:last-child, th:last-child { padding-right: 0; }
th.n, td.n { text-align: right; }
.tag { color: var(--state); font-weight: 620; }
h3 { font-size: .95rem; font-weight: 620; margin: 16px 0 6px; }
ul.untaken { margin: 0; padding-left: 1.2em; overflow-wrap: anywhere; }
.untaken .error { color: var(--bad); }
div.error { color: var(--bad); font-size: .9rem; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 8px 34px; margin: 0; }
.figures dt { color: var(--quiet); font-size: .86rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .45em; }
.key.mail { background: var(--mail); } .key.kx { background: var(--kx); }
figure { margin: 16px 0 8px; } figcaption { font-size: .86rem; }
svg { display: block; } svg.flow { width: 100%; height: auto; }
svg text { fill: var(--quiet); font-size: 9px; text-anchor: middle; }
svg .axis { stroke: var(--quiet); stroke-width: 1; }
svg.flow rect:not(.hit) { stroke: var(--card); stroke-width: .6; }
svg .mail { fill: var(--mail); } svg .kx { fill: var(--kx); } svg .rest { fill: var(--rest); }
svg .hit { fill: transparent; } svg g:hover .hit { fill: var(--rest); }
svg.spark { width: 96px; height: 18px; margin-top: 2px; } svg.spark rect { fill: var(--kx); }
svg.share { width: 100%; height: 10px; margin: 2px 0 10px; border-radius: 5px; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--link); }
.hours { width: auto; margin-top: 8px; font-size: .9rem; }
.hours td, .hours th { padding-block: 2px; }
ol { list-style: none; margin: 0; padding: 0; }
#events li, .stages li { padding: 5px 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
#events li:first-child, .stages li:first-child { border-top: 0; }
#events time { display: inline-block; min-width: 6.2em; color: var(--quiet); }
#events li strong { color: var(--state); } .who { font-weight: 620; }
.facts { margin: 0; } .facts div { display: flex; gap: 16px; padding: 3px 0; }
.facts dt { color: var(--quiet); flex: 0 0 5.5em; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.journey h2 { margin-top: 18px; } .stages .tag { display: inline-block; min-width: 4.4em; }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; align-items: stretch; }
main > section { grid-column: 1 / -1; min-width: 0; } #migration { grid-column: 1; }
#saved { grid-column: 2; }
#live { font-size: .9rem; } #live:not(:empty)::before { content: ""; display: inline-block;
  width: .5em; height: .5em; border-radius: 50%; background: var(--kx); margin-right: .45em; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
form { display: flex; flex-wrap: wrap; gap: 10px; align-items: end; margin: 0 0 14px; }
label { color: var(--quiet); font-size: .86rem; flex: 1 1 20em; }
input, button { display: block; font: inherit; color: inherit; background: var(--bg); width: 100%;
  border: 1px solid var(--quiet); border-radius: 6px; padding: 6px 10px; margin-top: 4px; }
button { width: auto; cursor: pointer; } button:hover { background: var(--rest); }
footer { padding: 4px 2px; font-size: .9rem; }
@media (max-width: 720px) { #migration, #saved { grid-column: 1 / -1; }
  svg text { font-size: 20px; } svg text:nth-of-type(even) { display: none; } }
@media (max-width: 620px) { body { padding: 0 12px 24px; } section { padding: 14px; }
  .scroll { margin: 0 -14px; padding: 0 14px; } .facts div { display: block; }
  #neighbours thead { position: absolute; left: -999em; }
  #neighbours table, #neighbours tbody { display: block; }
  #neighbours tr { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 4px 12px;
    padding: 8px 0; }
  #neighbours tr > * { padding: 0; text-align: left; min-width: 0; white-space: normal; }
  #neighbours th, #neighbours td.state { grid-column: 1 / -1; }
  #neighbours td[data-of]::before { content: attr(data-of); display: block;
    color: var(--quiet); font-size: .86rem; } }
@media print { body { max-width: none; }
  section { break-inside: avoid; } form, .skip { display: none; } }
`;

/** Fetches the page again when the gateway says that something changed, and at least each 30 s. */
export const SCRIPT = `"use strict";
(() => {
  const live = document.getElementById("live");
  const say = (text) => { if (live) live.textContent = text; };
  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.statusText);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of next.querySelectorAll("main > section, #foot")) exchange(part);
      document.title = next.title;
    } catch { say("The gateway does not answer"); }
    busy = false;
    if (again) { again = false; refresh(); }
  };
  const exchange = (part) => {
    const old = document.getElementById(part.id);
    if (!old || old.outerHTML === part.outerHTML) return;
    if (old.contains(document.activeElement) && document.activeElement.matches("input")) return;
    const open = old.querySelector("details")?.open ?? false;
    const focused = old.contains(document.activeElement)
      ? [...old.querySelectorAll("a, summary, button, [tabindex]")].indexOf(document.activeElement)
      : -1;
    old.replaceWith(part);
    const details = part.querySelector("details");
    if (details) details.open = open;
    part.querySelectorAll("a, summary, button, [tabindex]")[focused]?.focus();
  };
  const source = new EventSource("/events");
  source.addEventListener("open", () => say("Live"));
  source.addEventListener("change", refresh);
  source.addEventListener("error", () => {
    say(source.readyState === 2 ? "Refreshed every 30 s" : "Reconnecting");
  });
  setInterval(refresh, 30000);
})();
`;

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="3" fill="#0f7f93"/>
<path d="M4 3v10M4 8l4-5M4 8l4 5M9 8h4M11 6l2 2-2 2" stroke="#fff" stroke-width="1.6" fill="none"/>
</svg>
`;
