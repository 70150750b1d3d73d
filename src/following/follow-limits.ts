/**
 * How hard servers are followed, as numbers with their reasons. The door takes them as a parameter,
 * so that a test need not wait for hours.
 */

import type { QuestionLimits } from "../intake/hashquery-client.js";
import { SESSION_LIMITS, type SessionLimits } from "../recon/session.js";
import type { Schedule } from "../schedule.js";

const MINUTE_MS = 60_000;

export interface FollowLimits {
  readonly session: SessionLimits;
  readonly question: QuestionLimits;
  /** Delays after a session or a question that failed; the first session is tried at once. */
  readonly retry: Schedule;
  /** Delays before a key that did not come is asked for again. */
  readonly missing: Schedule;
  /** How long a key waits at which a question for it alone failed. */
  readonly singleMs: number;
  /** How often such a key is asked for. */
  readonly tries: number;
  /** In a question for so few, the size of the answer is not why a key is missing. */
  readonly fewKeys: number;
  /** Changes of the tree in one commit: 20 ms. */
  readonly changes: number;
  /** MD5s in one commit. */
  readonly elements: number;
  /** Keys that wait to be fetched and beyond which no more are looked for. */
  readonly wanted: number;
  /** Sessions in a row that are done and not whole, after which that is reported. */
  readonly unevenSessions: number;
  /** How long it rests when the log is in trouble. */
  readonly troubleMs: number;
}

export const FOLLOW_LIMITS: FollowLimits = {
  session: SESSION_LIMITS,
  // The largest keys of the network have more; the gateway takes none of them.
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
