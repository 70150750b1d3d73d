/**
 * Room on the file system of the log: how much there is, and how little is too little to promise
 * that an update can be stored.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";

/** A log whose file system has less than this is not ready to take updates. */
export const LEAST_FREE_BYTES = 10 * 1024 * 1024;

/** Bytes that are free to us beside the log at `path`. Throws the system's error. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}
