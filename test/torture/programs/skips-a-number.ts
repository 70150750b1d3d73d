/**
 * A gateway that is wrong on purpose: of several numbers that it announces at once it leaves out
 * the first one, which a KX peer must notice. Never shipped.
 */
import { Announcements } from "../../../src/peering/announcements.js";

const { due } = Announcements.prototype;
Announcements.prototype.due = function skipping(peer, now) {
  const all = due.call(this, peer, now);
  return all === undefined || all.length < 2 ? all : all.slice(1);
};

await import("../../../src/main.js");
