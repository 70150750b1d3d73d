/**
 * Free space on the file system of the log, and the minimum for accepting
 * updates.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";

/** With less free space the gateway is not ready to accept updates. */
export const LEAST_FREE_BYTES = 10 * 1024 * 1024;

/** Free bytes on the file system of the log at `path`. Throws the system's error. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}
