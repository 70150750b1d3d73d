/**
 * A keyserver that takes mails out of its spool directory, as pks-queue-run.sh and SKS do: the file
 * is removed once it was read, which is the proof of delivery that the gateway waits for.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const LOOK_MS = 20;

/** A file that was taken. */
export interface Taken {
  readonly name: string;
  readonly mail: Buffer;
}

export class SpoolCollector {
  /** In the order in which they were taken. */
  readonly taken: Taken[] = [];
  readonly #directory: string;
  readonly #prefix: string;
  #timer: NodeJS.Timeout | undefined;

  /** Takes files whose names begin with `prefix`, in the order of a glob, from `start` on. */
  constructor(directory: string, prefix: string) {
    this.#directory = directory;
    this.#prefix = prefix;
  }

  start(): this {
    this.#timer ??= setInterval(() => this.#collect(), LOOK_MS);
    return this;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #collect(): void {
    if (!existsSync(this.#directory)) return;
    for (const name of readdirSync(this.#directory).sort()) {
      if (!name.startsWith(this.#prefix)) continue;
      const path = join(this.#directory, name);
      this.taken.push({ name, mail: readFileSync(path) });
      rmSync(path);
    }
  }
}
