/**
 * What a path has cost so far, and the difference of two such counts by the number of updates that
 * came between them. Counters only; who reads them is in `mail-path.ts` and `kx-path.ts`.
 */
import type { ProcessGroup } from "./group.js";
import type { Wire } from "./wire.js";

export interface Sample {
  /** User and system time of all its processes, microseconds. */
  readonly cpuUs: number;
  /** What its processes handed to the disk. */
  readonly writtenBytes: number;
  /** Payload on its TCP connections, both directions. */
  readonly wireBytes: number;
  /** TCP connections that were made. */
  readonly connections: number;
}

export function sampleOf(group: ProcessGroup, wires: readonly Wire[]): Sample {
  const { cpuUs, writtenBytes } = group.usage();
  return {
    cpuUs,
    writtenBytes,
    wireBytes: wires.reduce((sum, { bytes }) => sum + bytes, 0),
    connections: wires.reduce((sum, { connections }) => sum + connections, 0),
  };
}

/** Each counter's share of one of `count` things between two looks. */
export function perOne<T extends { readonly [K in keyof T]: number }>(
  before: T,
  after: T,
  count: number,
): T {
  const keys = Object.keys(after) as (keyof T & string)[];
  const entries = keys.map((key) => [key, (after[key] - before[key]) / count]);
  return Object.fromEntries(entries) as T;
}
