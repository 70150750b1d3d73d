/**
 * Charts as inline SVG, which need no script: updates in above the line, updates out below it, the
 * ways in colours. Heights are pixels and widths are shares of the room, so that the text of the
 * axes has one size at every width of the screen. The exact numbers are in the title of each column
 * and in the table below the chart. Colours come from the stylesheet.
 */
import type { FlowHours } from "../status/flow-hours.js";
import { HOUR_MS } from "../status/hours.js";
import { grouped } from "../text.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

const DAY_MS = 24 * HOUR_MS;
const HEIGHT = 170;
/** Above the highest and below the lowest bar: half a line of text. */
const MARGIN = 8;
const LABELS = 18;
/** Width of the labels of the vertical axis, in pixels. */
const AXIS = 46;
/** Gridlines that each direction has about. */
const GRIDLINES = 3;

export type Unit = "hour" | "day";

/** The chart of the hours or days that end with that of `now`; all counts are of one length. */
export function flowChart(flow: FlowHours, unit: Unit, now: number): Html {
  const { inMail, inKx, inOther, outMail, outKx } = flow;
  const columns = inMail.length;
  const at = (counts: readonly number[], index: number) => counts[index] ?? 0;
  const most = (...all: readonly (readonly number[])[]) =>
    Math.max(0, ...inMail.map((_, index) => all.reduce((sum, one) => sum + at(one, index), 0)));
  const [mostIn, mostOut] = [most(inMail, inKx, inOther), most(outMail, outKx)];
  const step = gridStep(Math.max(mostIn, mostOut));
  const [up, down] = [mostIn, mostOut].map((count) => Math.max(1, Math.ceil(count / step)));
  const scale = (HEIGHT - 2 * MARGIN) / (((up ?? 1) + (down ?? 1)) * step);
  const line = MARGIN + (up ?? 1) * step * scale;
  const high = (count: number) => (count === 0 ? 0 : Math.max(1.5, count * scale));
  const wide = 100 / columns;

  const bars = inMail.map((_, index) => {
    const column = { x: (index + 0.1) * wide, width: 0.8 * wide };
    const [kx, mail, other] = [inKx, inMail, inOther].map((one) => high(at(one, index)));
    const [kxOut, mailOut] = [outKx, outMail].map((one) => high(at(one, index)));
    const title = `${columnName(index, columns, unit, now)}: in ${at(inMail, index)} by mail, ${at(
      inKx,
      index,
    )} by KX, ${at(inOther, index)} by other ways; out ${at(outMail, index)} by mail, ${at(
      outKx,
      index,
    )} by KX`;
    return html`<g><title>${title}</title>
<rect class="hit" x="${p(index * wide)}" y="0" width="${p(wide)}" height="${HEIGHT}"/>
${bar("kx", column, line - (kx ?? 0), kx)}${bar(
  "mail",
  column,
  line - (kx ?? 0) - (mail ?? 0),
  mail,
)}${bar("other", column, line - (kx ?? 0) - (mail ?? 0) - (other ?? 0), other)}${bar(
  "kx",
  column,
  line,
  kxOut,
)}${bar("mail", column, line + (kxOut ?? 0), mailOut)}</g>
`;
  });
  const ticks = Array.from({ length: (up ?? 1) + (down ?? 1) + 1 }, (_, n) => {
    const count = ((up ?? 1) - n) * step;
    return { count: Math.abs(count), y: line - count * scale };
  });
  const across = (mark: "axis" | "grid", y: number) =>
    html`<line class="${mark}" x1="0" x2="100%" y1="${n(y)}" y2="${n(y)}"/>`;
  const grid = ticks.map(({ count, y }) => count !== 0 && across("grid", y));
  const marks = ticks.map(
    ({ count, y }) => html`<text x="${AXIS - 8}" y="${n(y + 4)}">${short(count)}</text>`,
  );
  const labels = inMail.flatMap((_, index) => {
    const label = labelOf(index, columns, unit, now);
    if (label === undefined) return [];
    const x = p((index + 0.5) * wide);
    return html`<line class="tick" x1="${x}" x2="${x}" y1="${HEIGHT}" y2="${HEIGHT + 4}"/>
<text x="${x}" y="${HEIGHT + LABELS - 2}">${label}</text>`;
  });
  const range = `the last ${columns} ${unit}s in UTC`;
  return html`<figure><figcaption class="quiet"><span><b>↑ in</b>, updates per ${unit}</span>
<span class="legend">${mark("mail")}mail ${mark("kx")}KX ${mark("other")}other</span></figcaption>
<div class="chart" role="img" aria-label="Updates in (above the line) and out (below) per ${unit},
${range}; the table below has the figures">
<svg class="marks" width="${AXIS}" height="${HEIGHT + LABELS}" aria-hidden="true">${marks}</svg>
<svg class="flow" height="${HEIGHT + LABELS}" aria-hidden="true">${grid}
${bars}${across("axis", line)}${labels}</svg></div>
<p class="quiet below"><b>↓ out</b>, updates per ${unit}; ${range}</p></figure>`;
}

/** The two charts, each with its figures. */
export function flowSections(hours: FlowHours, days: FlowHours, now: number): Html {
  return html`<section id="flow"><h2>Updates in 24 hours</h2>
${flowChart(hours, "hour", now)}${flowTable(hours, "hour", now)}</section>
${daysSection(days, now)}`;
}

export function daysSection(days: FlowHours, now: number): Html {
  return html`<section id="days"><h2>Updates in 30 days</h2>
${flowChart(days, "day", now)}${flowTable(days, "day", now)}</section>`;
}

/** The figures of a chart as a table, which may be closed. */
export function flowTable(flow: FlowHours, unit: Unit, now: number): Html {
  const { inMail, inKx, inOther, outMail, outKx } = flow;
  const rows = inMail.map((_, index) => {
    const counts = [inMail, inKx, inOther, outMail, outKx];
    return html`<tr><th scope="row">${columnName(index, inMail.length, unit, now)}</th>
${counts.map((count) => html`<td class="n">${grouped(count[index] ?? 0)}</td>`)}</tr>
`;
  });
  return html`<details><summary>Table by ${unit}</summary>
<table class="hours">
<thead><tr><th scope="col">${unit === "hour" ? "Hour" : "Day"} (UTC)</th>
<th scope="col" class="n">In, mail</th><th scope="col" class="n">In, KX</th>
<th scope="col" class="n">In, other</th><th scope="col" class="n">Out, mail</th>
<th scope="col" class="n">Out, KX</th></tr></thead>
<tbody>${rows}</tbody></table></details>`;
}

/** A row of small bars, one per hour, scaled to the highest. */
export function sparkline(counts: readonly number[]): Html {
  const highest = Math.max(1, ...counts);
  const bars = counts.map((count, index) => {
    const height = count === 0 ? 1 : Math.max(2, (count / highest) * 18);
    return html`<rect x="${index * 4}" y="${n(18 - height)}" width="3" height="${n(height)}"/>`;
  });
  return html`<svg class="spark" viewBox="0 0 96 18" aria-hidden="true">${bars}</svg>`;
}

/** A bar that is filled to `share`, 0 to 1. */
export function shareBar(share: number): Html {
  return html`<svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
<rect class="rest" x="0" y="0" width="100" height="4"/>
<rect class="kx" x="0" y="0" width="${n(share * 100)}" height="4"/></svg>`;
}

/** The square of a way's colour. */
export function mark(way: "mail" | "kx" | "other"): Html {
  return html`<span class="key ${way}" aria-hidden="true"></span>`;
}

/** When the column of that index began, milliseconds since 1970. */
function columnAt(index: number, columns: number, unit: Unit, now: number): number {
  const size = unit === "hour" ? HOUR_MS : DAY_MS;
  return (Math.floor(now / size) - columns + 1 + index) * size;
}

/** As "11-23 14:00", or "2026-11-23" for a day. */
function columnName(index: number, columns: number, unit: Unit, now: number): string {
  const iso = new Date(columnAt(index, columns, unit, now)).toISOString();
  return unit === "hour" ? iso.slice(5, 16).replace("T", " ") : iso.slice(0, 10);
}

/** The label below a column: each sixth hour of the clock, each seventh day from the last. */
function labelOf(index: number, columns: number, unit: Unit, now: number): string | undefined {
  const iso = new Date(columnAt(index, columns, unit, now)).toISOString();
  if (unit === "hour") return Number(iso.slice(11, 13)) % 6 === 0 ? iso.slice(11, 16) : undefined;
  return (columns - 1 - index) % 7 === 0 ? iso.slice(5, 10) : undefined;
}

/** The distance of gridlines: 1, 2 or 5 times a power of ten. */
function gridStep(most: number): number {
  const least = Math.max(1, most / GRIDLINES);
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5, 10].find((one) => one * power >= least) ?? 10) * power;
}

/** A count for an axis: 12000 as "12k". */
function short(count: number): string {
  if (count >= 1_000_000) return `${n(count / 1_000_000)}M`;
  return count >= 10_000 ? `${n(count / 1000)}k` : grouped(count);
}

interface Column {
  readonly x: number;
  readonly width: number;
}

function bar(way: string, { x, width }: Column, y: number, height = 0): Html | "" {
  if (height === 0) return "";
  return html`<rect class="${way}" x="${p(x)}" y="${n(y)}" width="${p(width)}"
height="${n(height)}"/>`;
}

function n(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}

function p(share: number): string {
  return `${share.toFixed(2)}%`;
}
