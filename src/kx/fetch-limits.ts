/**
 * The numbers of the fetch tracker, each with the rule that it belongs to (`fetch-tracker.ts`):
 * deadlines and rests in milliseconds, shares of a peer in hashes, requests and bytes.
 */
export const FETCH_LIMITS = {
  /** Rule 4. */
  progressMs: 10_000,
  requestMs: 120_000,
  /** Rule 5. */
  retryMs: [60_000, 5 * 60_000, 30 * 60_000] as readonly number[],
  /** Rule 8. */
  tracked: 5000,
  /** Rule 7. */
  inFlight: 256,
  window: { least: 1, start: 8, most: 128 },
  windowBytes: 2 * 1024 * 1024,
  /** Rule 9. */
  troubleMs: 5000,
  /**
   * Rule 10: what was announced so long ago is fetched whatever the hour. A body is kept for at
   * least 72 h after its announcement (thesis 3.1); a day is left for connections that fail.
   */
  patienceMs: 48 * 3_600_000,
} as const;
