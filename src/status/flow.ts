/**
 * The updates of 24 hours by hour and path, and the mail that KX saved. The saving is an estimate:
 * each announcement of a known update counts as a mail with that update and a header.
 */
import type { Neighbour } from "../config/config.js";
import { goesByKx, staysOnMail } from "../config/paths.js";
import { eventsWith, type Outcome } from "../diagnostics.js";
import type { PeerStatus } from "../peering/connection.js";
import type { EventCounters, Which } from "./event-counters.js";
import type { Amount } from "./hours.js";
import { counted, type NeighbourView } from "./neighbour-view.js";

/** Bytes of a mail besides its armor: header and envelope. */
const MAIL_HEAD_BYTES = 800;

const ACCEPTED = eventsWith({ direction: "in", outcome: "accepted" });
const out = (outcome: Outcome) => eventsWith({ direction: "out", outcome });
const delivered = (transport: "mail" | "kx") =>
  eventsWith({ direction: "out", outcome: "delivered", transport });

/** The flows that the page draws, in terms of the table of events. */
export const FLOWS = {
  inMail: { events: ACCEPTED, via: "mail" },
  inKx: { events: ACCEPTED, via: "kx" },
  inHkp: { events: ACCEPTED, via: "hkp" },
  inRecon: { events: ACCEPTED, via: "recon" },
  inRepair: { events: ACCEPTED, via: "repair" },
  outMail: { events: delivered("mail") },
  outKx: { events: delivered("kx") },
  duplicates: { events: eventsWith({ direction: "in", outcome: "duplicate" }) },
  suppressed: { events: out("in-trail") },
  refused: { events: eventsWith({ direction: "in", outcome: "refused", transport: "mail" }) },
  tooFast: { events: ["too-fast"] },
  undelivered: { events: [...out("refused"), ...out("expired")] },
  bounces: { events: ["bounce"] },
} as const satisfies Record<string, Which>;

export type FlowName = keyof typeof FLOWS;

const NAMES = Object.keys(FLOWS) as FlowName[];

/** Updates of 24 h by flow, and the same by the hour, oldest first. */
export function flowOf(counters: EventCounters) {
  const hours = Object.fromEntries(
    NAMES.map((name) => [name, counters.series(FLOWS[name]).map(({ count }) => count)]),
  ) as Record<FlowName, number[]>;
  const day = Object.fromEntries(
    NAMES.map((name) => [name, hours[name].reduce((sum, count) => sum + count, 0)]),
  ) as Record<FlowName, number>;
  return { day, hours };
}

/**
 * What was not sent twice, since counters are kept (`since`), and about how many bytes of mail were
 * saved. Each update counts once for each neighbour: an event reports it the first time only.
 */
export function savedOf(counters: EventCounters, peers: readonly PeerStatus[]) {
  const known = counters.sum({ events: ["announced-known"] });
  const suppressed = counters.sum(FLOWS.suppressed);
  const carried = [counters.sum(FLOWS.inKx), counters.sum(FLOWS.outKx)];
  const unreported = peers.reduce((sum, peer) => sum + peer.unreported, 0);
  const kxBytes = counters.sum({ events: ["kx-traffic"] }).bytes + unreported;
  const asMail = [known, suppressed, ...carried]
    .map(asMailBytes)
    .reduce((sum, one) => sum + one, 0);
  return {
    /** Mails that were not sent because the site had the update. */
    suppressedMails: suppressed.count,
    /** Duplicates that were received by mail and not forwarded. */
    duplicateMails: counters.sum({ ...FLOWS.duplicates, via: "mail" }).count,
    /** Packets of whole keys that were known already. */
    trimmedBytes: counters.sum({ events: ["trimmed"] }).bytes,
    /** First announcements of known updates, each of which would have been a mail. */
    knownAnnouncements: known.count,
    kxBytes,
    /** Size of those mails and of the updates sent by KX if they had been mails. */
    asMailBytes: asMail,
    savedBytes: Math.max(0, asMail - kxBytes),
  };
}

function asMailBytes({ count, bytes }: Amount): number {
  return bytes + count * MAIL_HEAD_BYTES;
}

/** Share of KX in the updates of 24 h, of one neighbour or all; undefined without updates. */
export function kxShareOf(counters: EventCounters, neighbour?: string): number | undefined {
  const day = (flow: Which) => counters.day({ ...flow, ...(neighbour && { neighbour }) }).count;
  const kx = day(FLOWS.inKx) + day(FLOWS.outKx);
  const mail = day(FLOWS.inMail) + day(FLOWS.outMail);
  return kx + mail === 0 ? undefined : kx / (kx + mail);
}

/** Progress of the migration from mail to KX, of the neighbours that are counted. */
export function migrationOf(
  counters: EventCounters,
  neighbours: readonly Neighbour[],
  views: readonly NeighbourView[],
) {
  const served = counted(views);
  const on = (path: NeighbourView["path"]) =>
    served.filter((view) => view.path === path).map(({ name }) => name);
  const names = new Set(served.map(({ name }) => name));
  const onMail = neighbours.filter((one) => names.has(one.name) && !goesByKx(one));
  return {
    neighbours: served.length,
    /** Neighbours without KX that could move to it. */
    mailOnly: onMail.filter((one) => !staysOnMail(one)).map(({ name }) => name),
    /** Neighbours that stay on mail by decision: `via = "mail"` is written, or they run pksd. */
    stays: onMail.filter(staysOnMail).map(({ name }) => name),
    /** Neighbours by the path in use. */
    byPath: { mail: on("mail"), both: on("both"), kx: on("kx") },
    kxShare24h: kxShareOf(counters) ?? null,
  };
}
