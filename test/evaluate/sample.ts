/**
 * What a path has cost so far, and the difference of two such samples by the number of updates that
 * came between them. Counters only; who reads them is in `mail-path.ts` and `kx-path.ts`.
 */
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

const KEYS = ["cpuUs", "writtenBytes", "wireBytes", "connections"] as const;

/** Cost of one of `count` things between two samples. */
export function perOne(before: Sample, after: Sample, count: number): Sample {
  const entries = KEYS.map((key) => [key, (after[key] - before[key]) / count]);
  return Object.fromEntries(entries) as unknown as Sample;
}

export function sum(a: Sample, b: Sample): Sample {
  return Object.fromEntries(KEYS.map((key) => [key, a[key] + b[key]])) as unknown as Sample;
}
