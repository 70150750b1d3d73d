/**
 * The events of the page: runs of equal reports, filtered, and as many of them as the page has
 * lines. Warnings and errors get up to half of the lines, however much routine came after them.
 * Deliveries to many neighbours are one line. On a public page words are masked before they are
 * compared, or a filter would tell what the mask hides.
 */
import { EVENTS, type EventName, type Level } from "../diagnostics.js";
import type { Run } from "./event-runs.js";
import { RUN_LIMITS } from "./event-runs.js";
import { masked, maskedWords } from "./mask.js";
import { wordsOf } from "./neighbour-view.js";

/** Lines of the page; a filter shows more of what it asks for. */
export const SHOWN = { lines: 25, filtered: 100 } as const;

/** More neighbours than these share a line for the same routine event. */
const FOLDED = 3;

export interface EventFilter {
  /** Empty for all. */
  readonly neighbour: string;
  /** "warn": warnings and errors. */
  readonly level: "all" | "warn" | "error";
  /** Every word has to be in the line; empty for all. */
  readonly words: string;
}

/** A line of the page; times in milliseconds since 1970. */
export interface EventLine {
  /** Of the last report. */
  readonly id: number;
  readonly event: EventName;
  readonly level: Level;
  readonly text: string;
  readonly neighbours: readonly string[];
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** The update of the last report; null if it is about none, or about those of several. */
  readonly seq: number | null;
  readonly hash: string | null;
  readonly words: string | null;
}

/** The filter in the parameters of a URL. */
export function filterOf(parameters: URLSearchParams): EventFilter {
  const level = parameters.get("level");
  return {
    neighbour: (parameters.get("neighbour") ?? "").slice(0, 100),
    level: level === "warn" || level === "error" ? level : "all",
    words: (parameters.get("words") ?? "").trim().slice(0, 100),
  };
}

/** `left` counts the lines that were found and are not shown. */
export function eventLines(
  runs: readonly Run[],
  filter: EventFilter,
  mask: boolean,
): { readonly lines: readonly EventLine[]; readonly left: number } {
  const isFiltered = filter.neighbour !== "" || filter.words !== "";
  const all = runs.map((run) => lineOf(run, mask)).filter((line) => passes(line, filter));
  const found = isFiltered ? all : folded(all);
  const most = isFiltered || filter.level !== "all" ? SHOWN.filtered : SHOWN.lines;
  const trouble = found.filter(isTrouble);
  const routine = found.filter((line) => !isTrouble(line));
  const half = Math.max(Math.ceil(most / 2), most - routine.length);
  const shown = trouble.slice(0, half);
  const lines = [...shown, ...routine.slice(0, most - shown.length)];
  lines.sort((a, b) => b.id - a.id);
  return { lines, left: found.length - lines.length };
}

function isTrouble({ level }: EventLine): boolean {
  return level === "warn" || level === "error";
}

function lineOf({ event, level, neighbour, count, firstAt, last }: Run, mask: boolean): EventLine {
  const shown = (text: string) => (mask ? masked(text) : text);
  const { seq, hash } = last.fields;
  const words = wordsOf(last.fields) ?? null;
  return {
    ...{ id: last.id, event, level, text: EVENTS[event].text, count, firstAt, lastAt: last.at },
    neighbours: neighbour === undefined ? [] : [shown(neighbour)],
    seq: typeof seq === "number" ? seq : null,
    hash: typeof hash === "string" ? hash : null,
    words: mask ? maskedWords(event, words) : words,
  };
}

function passes(line: EventLine, { neighbour, level, words }: EventFilter): boolean {
  if (neighbour !== "" && !line.neighbours.includes(neighbour)) return false;
  if (level === "warn" && !isTrouble(line)) return false;
  if (level === "error" && line.level !== "error") return false;
  const { event, text, hash, words: said } = line;
  const texts = [event, line.level, text, hash ?? "", said ?? "", ...line.neighbours];
  const where = texts.join(" ").toLowerCase();
  const wanted = words.toLowerCase().split(/\s+/);
  return wanted.every((word) => where.includes(word));
}

/** Routine of many neighbours within an hour becomes one line; `lines` are newest first. */
function folded(lines: readonly EventLine[]): EventLine[] {
  const groups: EventLine[][] = [];
  const open = new Map<EventName, EventLine[]>();
  for (const line of lines) {
    const { event, level, neighbours, lastAt } = line;
    const known = open.get(event);
    const newest = known?.[0]?.lastAt ?? 0;
    if (level !== "info" || neighbours.length === 0) groups.push([line]);
    else if (known !== undefined && newest - lastAt < RUN_LIMITS.longestMs) known.push(line);
    else {
      const group = [line];
      groups.push(group);
      open.set(event, group);
    }
  }
  return groups.flatMap((group) => {
    const names = new Set(group.flatMap(({ neighbours }) => neighbours));
    return names.size > FOLDED ? [foldedLine(group, [...names])] : group;
  });
}

function foldedLine(group: readonly EventLine[], neighbours: readonly string[]): EventLine {
  const [first, ...rest] = group as readonly [EventLine, ...EventLine[]];
  return {
    ...first,
    ...{ neighbours, seq: null, hash: null, words: null },
    count: rest.reduce((sum, { count }) => sum + count, first.count),
    firstAt: Math.min(...group.map(({ firstAt }) => firstAt)),
    lastAt: Math.max(...group.map(({ lastAt }) => lastAt)),
  };
}
