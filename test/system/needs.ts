/**
 * What the system tests need: each says it in the last line of its header comment, "Needs: swaks,
 * curl.", and those of test/interop all need what its setup.ts names. programs.json tells the
 * Debian package of each. A need is a program on the PATH, a file with its whole path, a shared
 * library (its name holds ".so."), or "root".
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Needs that no package brings: the rights of root. */
export const ROOT_RIGHTS = "root";
/** The header that speaks for every file of its folder. */
const SETUP = /\/setup\.ts$/;

/** The needs of each file or folder below `root`/test that has any. */
export function needsOf(root: string): Map<string, readonly string[]> {
  const names = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" });
  const found = new Map<string, readonly string[]>();
  for (const name of names.filter((one) => /\.system\.ts$|\/setup\.ts$/.test(one)).sort()) {
    const header = readFileSync(join(root, "test", name), "utf8").split("*/", 1)[0] ?? "";
    const [, list] = /^ \* Needs: ((?:.|\n \* )+)\.\n $/m.exec(header) ?? [];
    if (list === undefined) continue;
    const place = join("test", name).replace(SETUP, "/");
    found.set(place, list.split(/,(?:\n \*)? /));
  }
  return found;
}

/**
 * A line for each need that this machine does not meet: what, how to get it, and which tests want
 * it. With `filters`, as vitest takes them, only the files whose path holds one of them count.
 */
export function missing(
  needs: ReadonlyMap<string, readonly string[]>,
  packages: Readonly<Record<string, string>>,
  filters: readonly string[] = [],
  isMet: (need: string) => boolean = isHere,
): string[] {
  const wanted = new Map<string, string[]>();
  for (const [place, list] of needs) {
    const counts = filters.some((one) => place.includes(one) || one.includes(place));
    if (filters.length > 0 && !counts) continue;
    for (const need of list) wanted.set(need, [...(wanted.get(need) ?? []), place]);
  }
  return [...wanted]
    .filter(([need]) => !isMet(need))
    .map(([need, places]) => {
      const remedy =
        need === ROOT_RIGHTS ? "run as root" : `Debian package ${packages[need] ?? "unknown"}`;
      return `${need} is missing (${remedy}), needed by ${places.join(", ")}`;
    });
}

/** Whether this machine has a program, a file, a library or the rights. */
export function isHere(need: string): boolean {
  if (need === ROOT_RIGHTS) return process.getuid?.() === 0;
  if (need.startsWith("/")) return existsSync(need);
  if (need.includes(".so.")) return libraries().includes(`\t${need} `);
  const places = (process.env.PATH ?? "").split(delimiter);
  return places.some((place) => isExecutable(join(place, need)));
}

function libraries(): string {
  return execFileSync("/sbin/ldconfig", ["-p"], { encoding: "utf8" });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
