/**
 * What moved in 24 hours, and what KX spared: by the hour, by road, and beside what the same would
 * have been as mail. The comparison is an estimate that says so: an announcement of a known update
 * would have been a whole mail of the average size, and a mail has a head of its own.
 */
import type { Neighbour } from "../config/config.js";
import type { EventName } from "../diagnostics.js";
import type { PeerStatus } from "../peering/exchange.js";
import type { Tally, Which } from "./tally.js";

/** Bytes of a mail around its armor: the head that we compose and the envelope. */
const MAIL_HEAD_BYTES = 800;
/** Size of an update in mail when none was seen yet. */
const USUAL_UPDATE_BYTES = 2000;

/** The flows that the page draws and the metrics count. */
export const FLOWS = {
  inMail: { events: ["accepted"], via: "mail" },
  inKx: { events: ["accepted"], via: "kx" },
  inHkp: { events: ["accepted"], via: "hkp" },
  inRepair: { events: ["accepted"], via: "repair" },
  outMail: { events: ["sent"] },
  outKx: { events: ["served"] },
  duplicates: { events: ["duplicate"] },
  suppressed: { events: ["suppressed"] },
  refused: { events: ["mail-refused", "key-refused"] },
  undelivered: { events: ["undelivered", "body-expired"] },
  bounces: { events: ["bounce"] },
} as const satisfies Record<string, Which & { readonly events: readonly EventName[] }>;

export type FlowName = keyof typeof FLOWS;

const NAMES = Object.keys(FLOWS) as FlowName[];

/** Updates of 24 h by flow, and the same by the hour, oldest first. */
export function flowOf(tally: Tally) {
  const hours = Object.fromEntries(
    NAMES.map((name) => [name, tally.series(FLOWS[name]).map(({ count }) => count)]),
  ) as Record<FlowName, number[]>;
  const day = Object.fromEntries(
    NAMES.map((name) => [name, hours[name].reduce((sum, count) => sum + count, 0)]),
  ) as Record<FlowName, number>;
  return { day, hours };
}

/** What was not sent twice since the start, and about how many bytes of mail that spared. */
export function savedOf(tally: Tally, peers: readonly PeerStatus[]) {
  const accepted = tally.sum({ events: ["accepted"] });
  const update = accepted.count === 0 ? USUAL_UPDATE_BYTES : accepted.bytes / accepted.count;
  const mail = update + MAIL_HEAD_BYTES;
  const known = peers.reduce((sum, peer) => sum + peer.known, 0);
  const kxBytes = peers.reduce((sum, peer) => sum + peer.bytesIn + peer.bytesOut, 0);
  const carried = tally.sum(FLOWS.inKx).count + tally.sum(FLOWS.outKx).count;
  const suppressed = tally.sum(FLOWS.suppressed).count;
  return {
    /** Mails that were not written because their site had the update. */
    suppressedMails: suppressed,
    /** Duplicates that came by mail and went no further. */
    duplicateMails: tally.sum({ ...FLOWS.duplicates, via: "mail" }).count,
    /** Of keys that came whole, what every neighbour had been told before. */
    trimmedBytes: tally.sum({ events: ["trimmed"] }).bytes,
    /** Announcements of updates that were known, each a mail in the old way. */
    knownAnnouncements: known,
    kxBytes,
    /** What those mails and the updates that went by KX would have been as mail. */
    asMailBytes: Math.round((suppressed + known + carried) * mail),
    savedBytes: Math.max(0, Math.round((suppressed + known + carried) * mail - kxBytes)),
  };
}

/** How far the way from mail to KX is gone. */
export function migrationOf(tally: Tally, neighbours: readonly Neighbour[]) {
  const kx = tally.day(FLOWS.inKx).count + tally.day(FLOWS.outKx).count;
  const mail = tally.day(FLOWS.inMail).count + tally.day(FLOWS.outMail).count;
  return {
    neighbours: neighbours.length,
    mailOnly: neighbours.filter(({ kx: endpoint }) => endpoint === undefined).map((n) => n.name),
    kxShare24h: kx + mail === 0 ? null : kx / (kx + mail),
  };
}
