/**
 * What happened in a world, line by line: as a hash, by which two runs of one seed are compared,
 * and as text for whoever asked to see it. And the counters that show that each kind of fault
 * really happened ("sometimes"), over one world and over many.
 */
import { createHash } from "node:crypto";
import type { Fields } from "../../src/diagnostics.js";

/** How often each thing happened, by its name. */
export type Counts = Readonly<Record<string, number>>;

export class Trace {
  readonly #hash = createHash("sha256");
  readonly #print: ((line: string) => void) | undefined;
  readonly #counts = new Map<string, number>();
  #lines = 0;

  /** `print` sees every line as it happens. */
  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  get lines(): number {
    return this.#lines;
  }

  line(now: number, text: string): void {
    this.#lines += 1;
    this.#hash.update(`${now} ${text}\n`);
    this.#print?.(`${stamp(now)} ${text}`);
  }

  /** Bytes that belong to the history and are not printed. */
  bytes(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** Something that a batch of worlds has to see at least once. */
  sometimes(name: string, times = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + times);
  }

  get counts(): Counts {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** The hash of everything; only once, at the end. */
  digest(): string {
    return this.#hash.digest("hex").slice(0, 32);
  }
}

/** Hours, minutes, seconds and milliseconds since the world began. */
export function stamp(ms: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  const clock = `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}`;
  return `${clock}.${String(Math.floor(ms % 1000)).padStart(3, "0")}`;
}

/** Adds the counts of one world to those of a batch. */
export function addCounts(total: Map<string, number>, counts: Counts): void {
  for (const [name, times] of Object.entries(counts)) {
    total.set(name, (total.get(name) ?? 0) + times);
  }
}

/** Fields of an event in a line. */
export function spoken(fields: Fields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ");
}
