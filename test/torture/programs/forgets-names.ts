/**
 * A gateway that is wrong on purpose: it does not recognise an update that it has. Whoever sends
 * one again gets it stored, announced and mailed again, and a check of that must notice.
 */
import { randomBytes } from "node:crypto";
import { UpdateLog } from "../../../src/log/update-log.js";

const append = UpdateLog.prototype.append;
UpdateLog.prototype.append = function forgetful(arrivals, cursor) {
  const strangers = arrivals.map((arrival) => {
    const digest = randomBytes(32).toString("hex");
    return { ...arrival, update: { ...arrival.update, digest } };
  });
  return append.call(this, strangers, cursor);
};

await import("../../../src/main.js");
