/**
 * The differences of two records, by kind. A record is a directory with one text file or one folder
 * for each kind; files are compared line by line. Lines that moved without a change count as one
 * difference, since the order of events.md and of a schema is a part of it.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** What is recorded, each under this name in the directory. */
export const KINDS = [
  "simulation",
  "metrics",
  "status",
  "events",
  "schema",
  "mails",
  "answers",
  "exits",
] as const;
export type Kind = (typeof KINDS)[number];

export interface KindDifference {
  readonly kind: Kind;
  /** How many lines were compared; 0 when neither record has this kind. */
  readonly compared: number;
  /** The differences in words, one a line; empty when there are none. */
  readonly lines: readonly string[];
}

/** Lines that are printed of each kind. */
const SHOWN = 20;

export function differences(
  before: string,
  after: string,
  kinds: readonly Kind[] = KINDS,
): KindDifference[] {
  return kinds.map((kind) => {
    const [old, young] = [filesOf(join(before, kind)), filesOf(join(after, kind))];
    let compared = 0;
    const found = new Map<string, string[]>();
    for (const name of [...new Set([...old.keys(), ...young.keys()])].sort()) {
      const [was, is] = [old.get(name), young.get(name)];
      compared += Math.max(was?.length ?? 0, is?.length ?? 0);
      for (const line of fileDifferences(was, is)) {
        found.set(line, [...(found.get(line) ?? []), name]);
      }
    }
    return { kind, compared, lines: [...found].map(([line, names]) => placed(line, names)) };
  });
}

/** A difference with the file that has it; one that many files have is said once. */
function placed(line: string, [name = "", ...more]: readonly string[]): string {
  if (name === "") return line;
  return more.length === 0 ? `${name}: ${line}` : `${name} and ${more.length} more: ${line}`;
}

/** The text that main.ts prints. */
export function report(all: readonly KindDifference[]): string {
  const text = all.flatMap(({ kind, compared, lines }) => {
    if (compared === 0) return [`${kind}: not recorded`];
    if (lines.length === 0) return [`${kind}: no difference in ${compared} lines`];
    const more = lines.length > SHOWN ? [`  ... and ${lines.length - SHOWN} more`] : [];
    const count = `${lines.length} difference${lines.length === 1 ? "" : "s"}`;
    return [`${kind}: ${count}`, ...lines.slice(0, SHOWN).map((line) => `  ${line}`), ...more];
  });
  return `${text.join("\n")}\n`;
}

/** The lines of a file, under the empty name, or of each file of a folder. */
function filesOf(path: string): Map<string, readonly string[]> {
  if (!existsSync(path)) return new Map();
  const names = statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) =>
        statSync(join(path, name)).isFile(),
      )
    : [""];
  return new Map(
    names.map((name) => [name, readFileSync(join(path, name), "latin1").trimEnd().split("\n")]),
  );
}

function fileDifferences(
  old: readonly string[] | undefined,
  young: readonly string[] | undefined,
): string[] {
  if (old === undefined) return ["only in the new record"];
  if (young === undefined) return ["only in the old record"];
  const gone = without(old, young).map((line) => `- ${line}`);
  const added = without(young, old).map((line) => `+ ${line}`);
  if (gone.length + added.length > 0) return [...gone, ...added];
  const moved = old.findIndex((line, index) => line !== young[index]);
  return moved < 0 ? [] : [`the same lines in another order from line ${moved + 1} on`];
}

/** The lines of `from` without those of `taken`, each as often as it is there. */
function without(from: readonly string[], taken: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of taken) left.set(line, (left.get(line) ?? 0) + 1);
  return from.filter((line) => {
    const count = left.get(line) ?? 0;
    if (count > 0) left.set(line, count - 1);
    return count === 0;
  });
}
