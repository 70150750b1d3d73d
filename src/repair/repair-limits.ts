/**
 * How hard keyservers are asked for lost keys, as numbers with their reasons. The door takes them
 * as a parameter, so that a test need not wait for days.
 */

import type { Rate } from "../rate.js";
import type { Schedule } from "../schedule.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export interface RepairLimits {
  /** Delays before a keyserver that failed is asked for the same key again. */
  readonly schedule: Schedule;
  /** How long a keyserver is left alone after so many failures in a row. */
  readonly rest: Schedule;
  /** Questions over HKP to one keyserver: a public one shuts out who asks for more. */
  readonly hkpPace: Rate;
  /** Questions by mail to one site: pksd's queue takes one mail in three seconds. */
  readonly mailPace: Rate;
  /** For one question over HKP, from the connection to the last byte. */
  readonly requestMs: number;
  /** How long an answer by mail is waited for: mail systems try for hours. */
  readonly mailMs: number;
  /** How often a question by mail is asked. */
  readonly mailTries: number;
  /**
   * Keys that keyservers other than a peer's own are asked for because that peer alone announced
   * them: it may choose them freely.
   */
  readonly others: Rate;
  /** How long such a question may wait; one that would wait longer is given up. */
  readonly othersMs: number;
  /** Rows that are decided in one turn of the event loop; each is an fsync. */
  readonly atOnce: number;
}

/** Three days in all, as long as an update is held at least by whoever announced it. */
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
