/**
 * Limits and delays for following servers, with their reasons. The door takes them as a parameter,
 * so that tests need not wait for hours.
 */

import type { QuestionLimits } from "../intake/hashquery-client.js";
import { SESSION_LIMITS, type SessionLimits } from "../recon/session.js";
import type { Schedule } from "../schedule.js";

const MINUTE_MS = 60_000;

export interface FollowLimits {
  readonly session: SessionLimits;
  readonly question: QuestionLimits;
  /** Delays after a failed session or query. The first session is tried at once. */
  readonly retry: Schedule;
  /** Delays before a missing key is requested again. */
  readonly missing: Schedule;
  /** Delay before a key is requested again after a query for it alone failed. */
  readonly singleMs: number;
  /** Maximum number of requests for such a key. */
  readonly tries: number;
  /** If a query is for this few keys, the size of the response does not explain a missing key. */
  readonly fewKeys: number;
  /** Number of tree changes in one commit. A commit takes 20 ms. */
  readonly changes: number;
  /** Number of MD5s in one commit. */
  readonly elements: number;
  /** Number of keys waiting to be fetched above which no more are searched for. */
  readonly wanted: number;
  /**
   * Number of consecutive sessions that end as done but not whole, after which this is reported.
   */
  readonly unevenSessions: number;
  /** Delay after a failure of the log. */
  readonly troubleMs: number;
}

export const FOLLOW_LIMITS: FollowLimits = {
  session: SESSION_LIMITS,
  // The largest keys of the network exceed this. The gateway does not accept them.
  question: { requestMs: 2 * MINUTE_MS, octets: 16 * 1024 * 1024 },
  retry: [2000, 5000, 10_000, 30_000, MINUTE_MS],
  missing: [2000, 5000, 30_000, 5 * MINUTE_MS],
  singleMs: 30_000,
  tries: 6,
  fewKeys: 10,
  changes: 500,
  elements: 20_000,
  wanted: 100_000,
  unevenSessions: 20,
  troubleMs: 5000,
};
