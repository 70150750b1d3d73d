/**
 * The figures of the counted worlds as tables and plots: docs/simulation.md between two marks a
 * question, and an SVG beside it where a line says more than a row.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../torture/material.js";
import type { Result } from "./measure.js";
import { type Plot, svg } from "./plot.js";
import { PROTOCOLS, type Scenario, type WorldPlan } from "./scenarios.js";

const PAGE = "docs/simulation.md";
const FOLDER = "docs/simulation";

export interface Outcome {
  readonly plan: WorldPlan;
  readonly result: Result;
}

/** Columns of every table, by head. */
const COLUMNS: readonly (readonly [string, (outcome: Outcome) => string])[] = [
  ["copies", ({ result }) => result.copies.toFixed(2)],
  ["bytes", ({ result }) => whole(result.bytes)],
  ["50 %", ({ result }) => time(result.timeTo[50])],
  ["90 %", ({ result }) => time(result.timeTo[90])],
  ["99 %", ({ result }) => time(result.timeTo[99])],
  ["100 %", ({ result }) => time(result.timeTo[100])],
  ["never", ({ result }) => whole(result.undelivered)],
  ["peak queue", ({ result }) => whole(result.peakQueue)],
  ["busiest : median", ({ result }) => result.hubLoad.toFixed(1)],
  ["state", ({ result }) => whole(result.state)],
];

/** The table of one question. */
export function table({ name }: Scenario, outcomes: readonly Outcome[]): string {
  const columns = [...COLUMNS];
  if (name === "outage") {
    columns.push(["burst, bodies", ({ result }) => whole(result.burst.copies)]);
    columns.push(["burst, bytes", ({ result }) => whole(result.burst.bytes)]);
  }
  const head = ["world", ...columns.map(([title]) => title)];
  return [
    `| ${head.join(" | ")} |`,
    `|${head.map(() => "---").join("|")}|`,
    ...outcomes.map((outcome) => {
      const cells = columns.map(([, cell]) => cell(outcome));
      return `| ${[worldWords(name, outcome.plan), ...cells].join(" | ")} |`;
    }),
  ].join("\n");
}

/** Writes tables and plots; returns the names of the files. */
export function writeReport(
  scenario: Scenario,
  outcomes: readonly Outcome[],
  command: string,
): string[] {
  const root = projectRoot();
  const files = [PAGE];
  const pictures: string[] = [];
  mkdirSync(join(root, FOLDER), { recursive: true });
  for (const plot of plots(scenario, outcomes)) {
    const file = `${FOLDER}/${plot.name}.svg`;
    writeFileSync(join(root, file), svg(plot));
    files.push(file);
    pictures.push(`![${plot.title}](simulation/${plot.name}.svg)`);
  }
  const body = [`\`${command}\``, "", table(scenario, outcomes), "", ...pictures].join("\n");
  writeSection(scenario.name, body);
  return files;
}

/** Puts a text between the two marks of that name in the page. */
export function writeSection(name: string, body: string): void {
  const file = join(projectRoot(), PAGE);
  const [begin, end] = [`<!-- ${name} begin -->`, `<!-- ${name} end -->`];
  const page = existsSync(file) ? readFileSync(file, "utf8") : "";
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${PAGE} has no place for ${name}`);
  writeFileSync(file, `${page.slice(0, from)}${begin}\n${body.trimEnd()}\n${page.slice(to)}`);
}

function plots({ name }: Scenario, outcomes: readonly Outcome[]): Plot[] {
  const lines = (x: (plan: WorldPlan) => number, y: (result: Result) => number) =>
    PROTOCOLS.map((protocol) => ({
      name: protocol,
      points: outcomes
        .filter(({ plan }) => plan.protocol === protocol)
        .map(({ plan, result }): [number, number] => [x(plan), y(result)])
        .filter(([, value]) => Number.isFinite(value)),
    })).filter(({ points }) => points.length > 0);
  switch (name) {
    case "size":
      return [
        {
          name: "bytes-by-size",
          title: "Bytes a new update and server",
          x: "servers",
          y: "bytes",
          lines: lines(
            ({ servers }) => servers,
            ({ bytes }) => bytes,
          ),
        },
        {
          name: "time-by-size",
          title: "Seconds until every server has an update",
          x: "servers",
          y: "s",
          lines: lines(
            ({ servers }) => servers,
            ({ timeTo }) => timeTo[100] / 1000,
          ),
        },
      ];
    case "load":
      return [
        {
          name: "queue-by-load",
          title: "Seconds until 99 % of the servers have an update",
          x: "times the thesis's load",
          y: "s",
          lines: lines(
            ({ load }) => load,
            ({ timeTo }) => timeTo[99] / 1000,
          ),
        },
      ];
    case "outage":
      return [
        {
          name: "burst-by-outage",
          title: "Bytes in the hour after a server's return",
          x: "hours away",
          y: "bytes",
          lines: lines(
            ({ outageHours = 1 }) => outageHours,
            ({ burst }) => burst.bytes,
          ),
        },
      ];
    case "mixed":
      return [
        {
          name: "bytes-by-share",
          title: "Bytes a new update and server, by the share of KX",
          x: "% KX",
          y: "bytes",
          lines: [1, 2, 5].map((gateways) => ({
            name: `${gateways} gateways`,
            points: outcomes
              .filter(({ plan: { mixed } }) => [0, gateways].includes(mixed?.gateways ?? -1))
              .map(({ plan: { mixed }, result }): [number, number] => {
                return [Math.max(1, 100 * (mixed?.kxShare ?? 0)), result.bytes];
              }),
          })),
        },
      ];
    default:
      return [];
  }
}

function worldWords(name: string, plan: WorldPlan): string {
  const { protocol, servers, topology, load, outageHours, mixed } = plan;
  switch (name) {
    case "size":
      return `${protocol}, ${servers} servers`;
    case "load":
      return `${protocol}, x ${load}`;
    case "outage":
      return `${protocol}, away ${outageHours} h`;
    case "mixed":
      return `${(mixed?.kxShare ?? 0) * 100} % KX, ${mixed?.gateways} gateways`;
    case "calibration":
      return `${topology}, ${servers} servers`;
    default:
      return `${protocol}, ${topology}`;
  }
}

function time(ms: number): string {
  if (!Number.isFinite(ms)) return "never";
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 600_000) return `${Math.round(ms / 1000)} s`;
  return ms < 36_000_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
