/**
 * A gateway that is wrong on purpose: it does not recognise an update that it has. Whoever sends
 * one again gets it stored, announced and mailed again, and a check of that must notice.
 */
import { randomBytes } from "node:crypto";
import { FetchTracker } from "../../../src/kx/fetch-tracker.js";
import { UpdateLog } from "../../../src/log/update-log.js";

const append = UpdateLog.prototype.append;
UpdateLog.prototype.append = function forgetful(arrivals, ...moves) {
  const strangers = arrivals.map((arrival) => {
    const digest = randomBytes(32).toString("hex");
    const packets = arrival.update.packets.map(({ length }) => randomBytes(length));
    return { ...arrival, update: { ...arrival.update, digest, packets } };
  });
  return append.call(this, strangers, ...moves);
};

// An update that two peers deliver at once is stored for each of them.
const storing = FetchTracker.prototype.storing;
FetchTracker.prototype.storing = function forgetful(peer, hash) {
  storing.call(this, peer, hash);
  return true;
};

await import("../../../src/main.js");
