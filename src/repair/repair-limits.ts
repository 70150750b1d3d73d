/**
 * Limits of the questions to keyservers, each with its reason. The repair door takes them as a
 * setting, so that tests can use shorter times.
 */

import type { Rate } from "../rate.js";
import type { Schedule } from "../schedule.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export interface RepairLimits {
  /** Delays before a keyserver that failed is asked again for the same key. */
  readonly schedule: Schedule;
  /** Delays before any question to a keyserver, by its failures in a row. */
  readonly rest: Schedule;
  /** Questions over HKP to one keyserver. Public keyservers block clients that ask more. */
  readonly hkpPace: Rate;
  /** Questions by mail to one site: pksd's queue takes one mail in three seconds. */
  readonly mailPace: Rate;
  /** Time for one question over HKP, from the connection to the last byte. */
  readonly requestMs: number;
  /** Time for an answer by mail. Mail systems retry for hours. */
  readonly mailMs: number;
  /** How often a question is sent by mail. */
  readonly mailTries: number;
  /**
   * Questions to keyservers other than a peer's own, for keys that only this peer announced. The
   * peer can choose such keys freely.
   */
  readonly others: Rate;
  /** How long such a question may wait. A question that would wait longer is given up. */
  readonly othersMs: number;
  /** Rows handled in one turn of the event loop. Each row is an fsync. */
  readonly atOnce: number;
}

/** The schedule lasts three days: a peer keeps the body of an update for at least as long. */
export const REPAIR_LIMITS: RepairLimits = {
  schedule: [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS, 40 * HOUR_MS],
  rest: [5000, 30_000, 2 * MINUTE_MS, 10 * MINUTE_MS],
  hkpPace: { count: 10, periodMs: 10_000 },
  mailPace: { count: 10, periodMs: MINUTE_MS },
  requestMs: MINUTE_MS,
  mailMs: 24 * HOUR_MS,
  mailTries: 3,
  others: { count: 60, periodMs: HOUR_MS },
  othersMs: 72 * HOUR_MS,
  atOnce: 50,
};
