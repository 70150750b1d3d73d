/**
 * Lists the files of a directory in batches, so that 100,000 files neither block the event loop nor
 * fill the memory. Names are read in pieces, each piece is examined, and only the first files of an
 * order are kept. Changes no file.
 */
import type { Stats } from "node:fs";
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";

/** Files examined at the same time: enough to keep the disk busy, a few milliseconds of work. */
const BATCH = 256;

/** A file as it was when it was examined. */
export interface Seen {
  readonly name: string;
  readonly size: number;
  /** Differs if the file has changed. */
  readonly stamp: string;
  readonly modifiedMs: number;
  /** When content, name or permissions last changed (ctime). */
  readonly changedMs: number;
}

/** The regular files of a directory with wanted names, in the order of the directory. */
export async function* filesIn(
  path: string,
  isWanted: (name: string) => boolean,
): AsyncGenerator<readonly Seen[]> {
  let names: string[] = [];
  const look = async () => {
    const files = await Promise.all(names.map((name) => see(path, name)));
    names = [];
    return files.filter((file) => file !== undefined);
  };
  for await (const entry of await opendir(path, { bufferSize: BATCH })) {
    if (!entry.isFile() || !isWanted(entry.name)) continue;
    names.push(entry.name);
    if (names.length === BATCH) yield await look();
  }
  if (names.length > 0) yield await look();
}

/** Keeps the first `most` of all items that are added, by an order. */
export class Foremost<T> {
  readonly #most: number;
  readonly #compare: (a: T, b: T) => number;
  #items: T[] = [];
  /** The last item kept, once items were dropped. */
  #last: T | undefined;

  constructor(most: number, compare: (a: T, b: T) => number) {
    this.#most = most;
    this.#compare = compare;
  }

  /** Adds an item. Returns the items that are dropped. */
  add(item: T): readonly T[] {
    if (this.#last !== undefined && this.#compare(item, this.#last) > 0) return [item];
    this.#items.push(item);
    return this.#items.length < 2 * this.#most ? [] : this.#cut();
  }

  /** Returns the items that are kept, in order, and those that are dropped now. */
  finish(): { readonly kept: readonly T[]; readonly out: readonly T[] } {
    const out = this.#cut();
    return { kept: this.#items, out };
  }

  #cut(): readonly T[] {
    this.#items.sort(this.#compare);
    const out = this.#items.splice(this.#most);
    if (out.length > 0) this.#last = this.#items.at(-1);
    return out;
  }
}

/** Oldest first. Files of the same time are ordered by name, so that the order is fixed. */
export function olderFirst(a: Seen, b: Seen): number {
  return a.modifiedMs - b.modifiedMs || byName(a, b);
}

/** Latest change first. */
export function latestFirst(a: Seen, b: Seen): number {
  return b.changedMs - a.changedMs || byName(b, a);
}

/** The stamp has the ctime, which a change of permissions moves: the file is then read again. */
export function seen(name: string, { ino, size, mtimeMs, ctimeMs }: Stats): Seen {
  const stamp = `${ino} ${size} ${ctimeMs}`;
  return { name, size, stamp, modifiedMs: mtimeMs, changedMs: ctimeMs };
}

async function see(path: string, name: string): Promise<Seen | undefined> {
  try {
    return seen(name, await lstat(join(path, name)));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function byName(a: Seen, b: Seen): number {
  if (a.name === b.name) return 0;
  return a.name < b.name ? -1 : 1;
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
