/**
 * How updates are handed to the log: in batches, with outcomes that come later. The parts that
 * receive updates use this port and not `UpdateLog.append`, so that none of them relies on an
 * outcome in the same turn of the event loop. `intake/group-commit.ts` implements it over SQLite.
 *
 * The port decides how many batches form one transaction. It must settle every promise, and so
 * limits the wait for the storage. Batches that are submitted without waiting for each other may be
 * stored in any order.
 */
import type { CursorMove } from "./cursors.js";
import type { Appended, Arrival } from "./update-log.js";

export interface Batch {
  readonly arrivals: readonly Arrival[];
  /** Stored in the transaction of the last arrival, and not before any of them. */
  readonly cursor?: CursorMove | undefined;
}

export interface AppendPort {
  /**
   * Stores the arrivals in their order; resolves with one outcome for each, when all are on disk.
   * Rejects with `Trouble`: then the cursor is not stored, and some of the arrivals may be.
   */
  submit(batch: Batch): Promise<Appended[]>;
}
