/**
 * What the gateway would say of itself now, as one plain value: the source of /status.json and
 * later of the page and the metrics. Reads the log's counts, the doors' own words and the tally;
 * decides nothing. Times are ISO 8601 in UTC, null for never.
 */
import type { Clock } from "../clock.js";
import type { Config } from "../config/config.js";
import type { LaneStatus } from "../egress/lane.js";
import type { PeerStatus } from "../peering/exchange.js";
import type { UpdateLog } from "../updatelog/update-log.js";
import type { Tally } from "./tally.js";

/** What status is made of; the doors are undefined when the config has no section for them. */
export interface Sources {
  readonly config: Config;
  readonly log: UpdateLog;
  readonly tally: Tally;
  readonly clock: Clock;
  readonly startedAt: number;
  readonly version: string;
  readonly lanes: () => readonly LaneStatus[];
  readonly peers: () => readonly PeerStatus[];
}

/** The value behind /status.json. */
export function status(sources: Sources) {
  const { config, log, tally, clock, startedAt, version } = sources;
  const now = clock.now();
  const { entries, bodies, bodyBytes, fileBytes } = log.counts();
  const lanes = new Map(sources.lanes().map((lane) => [lane.name, lane]));
  const peers = new Map(sources.peers().map((peer) => [peer.name, peer]));
  return {
    site: config.site.address,
    mode: config.mode,
    version,
    time: iso(now),
    started: iso(startedAt),
    uptimeSeconds: Math.round((now - startedAt) / 1000),
    log: { newest: log.newest(), entries, bodies, bodyBytes, fileBytes },
    totals: {
      accepted: tally.total("accepted").count,
      duplicates: tally.total("duplicate").count,
      duplicateBytes: tally.total("duplicate").bytes,
      sent: tally.total("sent").count,
      sentBytes: tally.total("sent").bytes,
      wouldSend: tally.total("would-send").count,
      suppressed: tally.total("suppressed").count,
      undelivered: tally.total("undelivered").count,
      refused: tally.total("mail-refused").count,
      bounces: tally.total("bounce").count,
    },
    neighbours: config.neighbours.map(({ name, via, mail, kx }) => ({
      name,
      via,
      mail: mail ?? null,
      kx: kx === undefined ? null : `${kx.host}:${kx.port}`,
      ...laneView(lanes.get(name)),
      ...peerView(peers.get(name)),
    })),
    counts: tally.counts(),
  };
}

function laneView(lane: LaneStatus | undefined) {
  if (lane === undefined) return {};
  const { cursor, backlog, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = lane;
  return {
    site: {
      cursor,
      backlog,
      attempt,
      nextTry: iso(nextAt),
      lastError: lastError === "" ? null : lastError,
      lastErrorAt: iso(lastErrorAt),
      lastSuccessAt: iso(lastSuccessAt),
    },
  };
}

function peerView(peer: PeerStatus | undefined) {
  if (peer === undefined) return {};
  const { connected, connectedSince, cursor, newest, missing, inFlight, bytesIn, bytesOut } = peer;
  return {
    peer: {
      connected,
      connectedSince: iso(connectedSince ?? 0),
      cursor: cursor ?? null,
      newest: newest ?? null,
      missing,
      inFlight,
      bytesIn,
      bytesOut,
    },
  };
}

function iso(ms: number): string | null {
  return ms === 0 ? null : new Date(ms).toISOString();
}
