/**
 * A text file that the operator names, read at once and up to a size: what is larger was named by
 * mistake and must not fill the memory.
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";

/** The text of a file. Throws the system's error, or one that says that it is too large. */
export function readText(file: string, maxBytes: number): string {
  const descriptor = openSync(file, "r");
  try {
    const status = fstatSync(descriptor);
    if (!status.isDirectory() && status.size > maxBytes) {
      throw new Error(`it is larger than ${maxBytes / 1024 ** 2}MiB`);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}
