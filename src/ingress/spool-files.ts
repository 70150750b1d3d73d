/**
 * The files of a directory as values, in batches, so that a hundred thousand of them neither stop
 * the event loop nor fill the memory: names come from the directory piece by piece, each piece is
 * looked at, and of all of them the first ones in an order are kept. Reads and changes nothing.
 */
import type { Stats } from "node:fs";
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";

/** Files that are looked at together: enough to keep the disk busy, some milliseconds of work. */
const BATCH = 256;

/** A file as it was seen. */
export interface Seen {
  readonly name: string;
  readonly size: number;
  /** Another one when the file has changed. */
  readonly stamp: string;
  readonly modifiedMs: number;
  /** When its name or its content was changed last. */
  readonly changedMs: number;
}

/** The regular files of a directory whose names are wanted, in the order of the directory. */
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

/** The first so many of all that are put in, in an order, whatever order they come in. */
export class Foremost<T> {
  readonly #most: number;
  readonly #compare: (a: T, b: T) => number;
  #items: T[] = [];
  /** The last one that is kept, once there are too many. */
  #last: T | undefined;

  constructor(most: number, compare: (a: T, b: T) => number) {
    this.#most = most;
    this.#compare = compare;
  }

  /** Puts one in; returns those that are out for good. */
  add(item: T): readonly T[] {
    if (this.#last !== undefined && this.#compare(item, this.#last) > 0) return [item];
    this.#items.push(item);
    return this.#items.length < 2 * this.#most ? [] : this.#cut();
  }

  /** Those that are kept, in order, and those that were put in and are out only now. */
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

/** Oldest first; of one time by name, so that the order is always the same. */
export function olderFirst(a: Seen, b: Seen): number {
  return a.modifiedMs - b.modifiedMs || byName(a, b);
}

/** What came here last first. */
export function latestFirst(a: Seen, b: Seen): number {
  return b.changedMs - a.changedMs || byName(b, a);
}

/** The time of change moves with the permissions, too: whoever mends those need do no more. */
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
