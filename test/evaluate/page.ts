/**
 * The report: figures for a terminal, and in docs/evaluation.md between two marks, with charts
 * beside the page. What stands outside of the marks is written by hand and is left alone.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { median, short } from "../bench/bench.js";
import { projectRoot } from "../torture/material.js";
import { barChart, type Chart } from "./chart.js";
import { type Claim, claimsOf } from "./claims.js";
import type { Figures } from "./figures.js";
import { besides, type Cost, costsOf, ratio, shareOfStream } from "./results.js";

export interface Report {
  readonly figures: Figures;
  /** Where the updates come from. */
  readonly source: string;
  readonly machine: string;
  /** Of the machine while it was measured, averaged over some minutes. */
  readonly load: number;
}

const PAGE = "docs/evaluation.md";
const CHARTS = "docs/evaluation";
const [BEGIN, END] = ["<!-- evaluate: begin -->", "<!-- evaluate: end -->"];

export function asText({ figures }: Report): string {
  const costs = costsOf(figures);
  const rows = costs.map((cost) => {
    const { name, unit, mailNew, kxNew, mailKnown, kxKnown } = cost;
    const [a, b, c, d] = [mailNew, kxNew, mailKnown, kxKnown].map((one) => short(median(one)));
    return `  ${name.padEnd(22)} new ${a} : ${b} ${unit}, known ${c} : ${d} ${unit}`;
  });
  const claims = claimsOf(figures, costs).map(({ section, claim, found, holds }) => {
    return `  ${holds ? "holds " : "NOT SO"} ${section}: ${claim}: ${found}`;
  });
  return [...rows, ...claims].join("\n");
}

/** Writes page and charts; returns the name of the page. */
export function writePage(report: Report): string {
  const file = join(projectRoot(), PAGE);
  const page = readFileSync(file, "utf8");
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${PAGE} has no place for the figures`);
  const costs = costsOf(report.figures);
  mkdirSync(join(projectRoot(), CHARTS), { recursive: true });
  for (const [name, chart] of charts(costs)) {
    writeFileSync(join(projectRoot(), CHARTS, `${name}.svg`), barChart(chart));
  }
  const text = markdown(report, costs);
  writeFileSync(file, `${page.slice(0, from)}${BEGIN}\n${text}\n${page.slice(to)}`);
  return PAGE;
}

function markdown({ figures, source, machine, load }: Report, costs: readonly Cost[]): string {
  const { updates, repeats, rounds, forwarded, wire } = figures;
  const { idleUs, atOnceUs } = besides(figures);
  const off = Math.abs(wire.relays / wire.gateway - 1);
  const count = (value: number) => value.toLocaleString("en-US");
  return [
    `\`npm run evaluate\`, ${machine}, load ${short(load)}. ${source}; ${updates} new updates ` +
      `and ${count(repeats)} offers of known ones in ${rounds.length} rounds by each road. onak ` +
      `mailed ${short(forwarded)} of the ${updates} on.`,
    "",
    "| cost of one | new: mail | new: KX | known: mail | known: KX | mail : KX, new | known |",
    "|---|---|---|---|---|---|---|",
    ...costs.map(costRow),
    "",
    "The gateway that takes an update by mail and hands it on over KX comes on top of a new one:",
    "",
    "| cost of one | mail in, KX out | both gateways together | mail : both |",
    "|---|---|---|---|",
    ...costs.map(bothRow),
    "",
    `The least and the most of the ratios of CPU in ${rounds.length} rounds: ${ranges(costs)}. ` +
      "Announced 500 a message, as on catching up, a known one takes " +
      `${short(median(atOnceUs))} us. A gateway in which nothing happens takes ` +
      `${short(median(idleUs) / 10_000)} % of a processor, which is in the figures above.`,
    "",
    `Relays in between counted ${count(wire.relays)} bytes on the connections of the second ` +
      `gateway, the gateway itself ${count(wire.gateway)}: ` +
      `${off < 0.0001 ? "the same" : `${short(100 * off)} % apart`}.`,
    "",
    ...[...charts(costs).keys()].map((name) => `![${name}](evaluation/${name}.svg)`),
    "",
    "| thesis | claim | found | |",
    "|---|---|---|---|",
    ...claimsOf(figures, costs).map(claimRow),
  ].join("\n");
}

function costRow({ name, unit, mailNew, kxNew, mailKnown, kxKnown }: Cost): string {
  const cells = [mailNew, kxNew, mailKnown, kxKnown].map((one) => short(median(one)));
  const ratios = [ratio(mailNew, kxNew), ratio(mailKnown, kxKnown)].map(times);
  return `| ${label(name, unit)} | ${[...cells, ...ratios].join(" | ")} |`;
}

function bothRow({ name, unit, mailNew, kxNew, firstNew }: Cost): string {
  const both = kxNew.map((value, n) => value + (firstNew[n] ?? 0));
  const cells = [short(median(firstNew)), short(median(both)), times(ratio(mailNew, both))];
  return `| ${label(name, unit)} | ${cells.join(" | ")} |`;
}

function label(name: string, unit: string): string {
  return unit === "" || name.startsWith(unit) ? name : `${name}, ${unit}`;
}

function claimRow({ section, claim, found, holds }: Claim): string {
  return `| ${section} | ${claim} | ${found} | ${holds ? "confirmed" : "**not confirmed**"} |`;
}

function times(value: number): string {
  return value === Infinity ? "none over KX" : `${short(value)} : 1`;
}

function ranges(costs: readonly Cost[]): string {
  const cpu = costs.find(({ file }) => file === "cpu");
  if (cpu === undefined) return "";
  const range = (mail: readonly number[], kx: readonly number[]) => {
    const ratios = mail.map((value, n) => value / (kx[n] ?? value));
    return `${short(Math.min(...ratios))} to ${short(Math.max(...ratios))} : 1`;
  };
  const { mailNew, kxNew, mailKnown, kxKnown } = cpu;
  return `new ${range(mailNew, kxNew)}, known ${range(mailKnown, kxKnown)}`;
}

/** A chart for each cost that has bars to show, and one of the whole stream. */
function charts(costs: readonly Cost[]): Map<string, Chart> {
  const shown = costs.filter(({ file }) => ["cpu", "processes", "wire", "written"].includes(file));
  const all = new Map<string, Chart>();
  for (const { file, name, unit, mailNew, kxNew, mailKnown, kxKnown } of shown) {
    const bars = [
      { label: "a new update by mail", value: median(mailNew), road: "mail" as const },
      { label: "a new update over KX", value: median(kxNew), road: "kx" as const },
      { label: "a known one by mail", value: median(mailKnown), road: "mail" as const },
      { label: "a known one over KX", value: median(kxKnown), road: "kx" as const },
    ];
    // Of CPU only the proportion means anything: the least is 1.
    const least = Math.min(...bars.map(({ value }) => value));
    const scaled = bars.map((bar) => ({ ...bar, value: bar.value / least }));
    const scale = file === "processes" ? ("linear" as const) : ("logarithmic" as const);
    const isCpu = file === "cpu";
    const chart = {
      title: `Cost of one: ${name}`,
      unit: isCpu ? "the least is 1" : unit || "count",
    };
    all.set(file, { ...chart, bars: isCpu ? scaled : bars, scale });
  }
  const stream = shown.flatMap((cost) => [
    { label: `${cost.name} by mail`, value: 100, road: "mail" as const },
    { label: `${cost.name} over KX`, value: 100 * shareOfStream(cost), road: "kx" as const },
  ]);
  const title = "40,000 offers of 9,000 updates";
  all.set("stream", { title, unit: "mail is 100", bars: stream, scale: "linear" });
  return all;
}
