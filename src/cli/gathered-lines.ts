/**
 * Gathers lines and writes those of one turn of the event loop at its end, in their order, with one
 * system call. At most `GATHERED_CHARS` wait. A process that is killed loses the lines of that
 * turn. The owner calls `flush` after a line that must not wait, and before the process exits.
 */

/** A pipe takes 64 KiB at once; a character may have several bytes. */
const GATHERED_CHARS = 32 * 1024;

export class GatheredLines {
  readonly #write: (text: string) => void;
  #text = "";

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  write(line: string): void {
    if (this.#text === "") setImmediate(() => this.flush());
    this.#text += line;
    if (this.#text.length >= GATHERED_CHARS) this.flush();
  }

  /** Writes what was gathered. */
  flush(): void {
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    this.#write(text);
  }
}
