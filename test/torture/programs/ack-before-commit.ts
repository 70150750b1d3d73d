/**
 * A gateway that is wrong on purpose: it says "stored" at once and stores a moment later. Killed in
 * between it loses what it acknowledged, and a check of durability must notice. Never shipped.
 */

import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq } from "../../../src/update.js";

const LATE_MS = 60;

const commit = UpdateLog.prototype.append;
UpdateLog.prototype.append = function append(arrivals, ...moves) {
  setTimeout(() => commit.call(this, arrivals, ...moves), LATE_MS);
  const newest = this.newest();
  return arrivals.map((_, index) => ({
    outcome: "appended",
    seq: (newest + 1 + index) as Seq,
    collision: false,
  }));
};

await import("../../../src/main.js");
