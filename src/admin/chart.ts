/**
 * Charts as inline SVG, which need no script: updates in above the line,
 * updates out below it, mail and KX in two colours. The exact numbers are in the title of each hour
 * and in the table below the chart. Colours come from the stylesheet.
 */
import { HOUR_MS } from "../status/hours.js";
import type { Html } from "./html.js";
import { html } from "./html.js";

const WIDTH = 720;
const HEIGHT = 150;
const GAP = 3;
const MARGIN = 4;
const LABELS = 18;

/** Counts by the hour, oldest first; all of one length. */
export interface FlowHours {
  readonly inMail: readonly number[];
  readonly inKx: readonly number[];
  readonly outMail: readonly number[];
  readonly outKx: readonly number[];
}

/** The chart of 24 hours that end with the hour of `now`. */
export function flowChart(hours: FlowHours, now: number): Html {
  const { inMail, inKx, outMail, outKx } = hours;
  const [mostIn, mostOut] = [Math.max(...sums(inMail, inKx)), Math.max(...sums(outMail, outKx))];
  const scale = (HEIGHT - 2 * MARGIN) / Math.max(1, mostIn + mostOut);
  // With nothing to draw the line is in the middle, else where both directions have room.
  const line = mostIn + mostOut === 0 ? HEIGHT / 2 : MARGIN + mostIn * scale;
  const step = WIDTH / inMail.length;
  const scaled = (count: number) => (count === 0 ? 0 : Math.max(1.5, count * scale));
  const bars = inMail.map((_, index) => {
    const x = index * step + GAP / 2;
    const width = step - GAP;
    const [up, upKx] = [scaled(inMail[index] ?? 0), scaled(inKx[index] ?? 0)];
    const [down, downKx] = [scaled(outMail[index] ?? 0), scaled(outKx[index] ?? 0)];
    const title = hourTitle(hours, index, now);
    return html`<g><title>${title}</title>
<rect class="hit" x="${n(x)}" y="0" width="${n(width)}" height="${HEIGHT}"/>
${bar("kx", x, line - upKx, width, upKx)}${bar("mail", x, line - upKx - up, width, up)}
${bar("kx", x, line, width, downKx)}${bar("mail", x, line + downKx, width, down)}</g>`;
  });
  const labels = inMail.flatMap((_, index) => {
    const hour = new Date(hourAt(index, inMail.length, now)).getUTCHours();
    const x = n(index * step + step / 2);
    return hour % 6 === 0
      ? html`<text x="${x}" y="${HEIGHT + 13}">${two(hour)}:00</text>
`
      : [];
  });
  return html`<svg class="flow" viewBox="0 0 ${WIDTH} ${HEIGHT + LABELS}" role="img"
aria-labelledby="flow-title"><title id="flow-title">Updates in (above the line) and out (below)
by the hour, the last 24 hours in UTC; the table below has the figures</title>
${bars}<line class="axis" x1="0" x2="${WIDTH}" y1="${n(line)}" y2="${n(line)}"/>${labels}</svg>`;
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

/** When the hour of that index began, milliseconds since 1970. */
export function hourAt(index: number, count: number, now: number): number {
  return (Math.floor(now / HOUR_MS) - count + 1 + index) * HOUR_MS;
}

function hourTitle(hours: FlowHours, index: number, now: number): string {
  const { inMail, inKx, outMail, outKx } = hours;
  const hour = two(new Date(hourAt(index, inMail.length, now)).getUTCHours());
  const at = (counts: readonly number[]) => counts[index] ?? 0;
  return (
    `${hour}:00 UTC: in ${at(inMail)} by mail, ${at(inKx)} by KX; ` +
    `out ${at(outMail)} by mail, ${at(outKx)} by KX`
  );
}

function bar(road: "mail" | "kx", x: number, y: number, width: number, height: number) {
  if (height === 0) return "";
  const [left, top, wide, high] = [x, y, width, height].map(n);
  return html`<rect class="${road}" x="${left}" y="${top}" width="${wide}" height="${high}"/>`;
}

function sums(a: readonly number[], b: readonly number[]): number[] {
  return a.map((count, index) => count + (b[index] ?? 0));
}

function n(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
