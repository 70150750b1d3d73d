/**
 * Reads a text file that the operator names, up to a maximum size: a larger one was configured by
 * mistake and must not fill the memory.
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";

/** The text of a file. Throws the system's error, or one for a file that is too large. */
export function readText(file: string, maxBytes: number): string {
  const descriptor = openSync(file, "r");
  try {
    const status = fstatSync(descriptor);
    if (!status.isDirectory() && status.size > maxBytes) {
      throw new Error(`is larger than ${maxBytes / 1024 ** 2} MiB`);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}
