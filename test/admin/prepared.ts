/**
 * An admin door over a day that never was: a real log and tally, a clock of the test's own, and
 * neighbours in every state, so that the page and the metrics show all that they can.
 */
import { onTestFinished } from "vitest";
import { AdminDoor } from "../../src/admin/admin-door.js";
import type { ClusterState } from "../../src/cluster/cluster.js";
import { parseConfig } from "../../src/config/load.js";
import type { LaneStatus } from "../../src/delivery/lane.js";
import type { EventSink } from "../../src/diagnostics.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { PeerStatus } from "../../src/peering/connection.js";
import { EventCounters } from "../../src/status/event-counters.js";
import { HOUR_MS } from "../../src/status/hours.js";
import { Proofs } from "../../src/status/proofs.js";
import type { Sources } from "../../src/status/status.js";
import type { Seq } from "../../src/update.js";
import { update } from "../log/material.js";
import { scratch } from "../support/scratch.js";

export const NOW = Date.UTC(2026, 10, 23, 14, 40);

const CONFIG = `[site]
address = "pgp-public-keys@kx.example.org"
[log]
[smtp]
[kx]
[outbound]
[admin]
listen = "127.0.0.1:0"
[[peer]]
name = "onak-home"
mail = "pgp-public-keys@onak.example.com"
accept_from = ["192.0.2.10"]
[[peer]]
name = "oldpks"
mail = "pgp-public-keys@pks.example.net"
accept_from = ["192.0.2.20"]
[[peer]]
name = "zurich"
kx = "kx.zurich.example:11373"
dial = true
[[peer]]
name = "tokyo"
kx = "kx.tokyo.example:11373"
[[peer]]
name = "archive"
accept_from = ["198.51.100.7"]
`;

const LANE = {
  exceptions: { waiting: 0, refused: 0, withheld: 0 },
  refusesAll: false,
  ...{ address: undefined, oldest: 0, attempt: 0, nextAt: 0 },
  ...{ lastError: "", lastErrorAt: 0, isPaused: false },
};
const PEER = {
  cursor: 900,
  newest: 900,
  missing: 0,
  inFlight: 0,
  unreported: 0,
  bytesIn: 0,
  held: undefined,
};

/** Sources of a busy day, or of a log without any update; `publicStatus` as in the config. */
export function preparedSources(publicStatus = false, busy = true) {
  const config = parseConfig(
    CONFIG.replace("[admin]", `[admin]\npublic_status = ${publicStatus}`),
    "kxgw.toml",
    scratch(),
    {},
  );
  const log = UpdateLog.open(config.log.path);
  onTestFinished(() => log.close());
  const time = { now: NOW - 24 * HOUR_MS };
  const clock = { now: () => time.now, monotonic: () => time.now, random: () => 0.5 };
  const counters = new EventCounters({ next: { report: () => {} }, clock });
  const proofs = new Proofs();
  counters.onReport((report) => proofs.note(report));
  if (busy) day(log, counters, time);
  time.now = NOW;
  const lanes: LaneStatus[] = [
    { ...LANE, name: "onak-home", cursor: log.newest(), backlog: 0, lastSuccessAt: NOW - 40_000 },
    {
      ...LANE,
      ...{ name: "oldpks", cursor: log.newest() - 14, backlog: 14, attempt: 2 },
      address: "pgp-public-keys@pks.example.net",
      oldest: log.entry((log.newest() - 13) as Seq)?.receivedAt ?? 0,
      nextAt: NOW + 180_000,
      lastError: "451 4.3.0 <pgp-public-keys@pks.example.net>: mailbox is busy, try again later",
      lastErrorAt: NOW - 60_000,
      lastSuccessAt: NOW - 900_000,
    },
  ];
  const peers: PeerStatus[] = [
    {
      ...PEER,
      ...{ name: "zurich", connected: true, connectedSince: NOW - 31 * HOUR_MS },
      ...{ bytesIn: 1_830_000, bytesOut: 640_000, unreported: 2_470_000 },
    },
    {
      ...PEER,
      ...{ name: "tokyo", connected: true, connectedSince: NOW - 2 * HOUR_MS, missing: 3 },
      ...{ bytesIn: 410_000, bytesOut: 380_000, unreported: 790_000 },
    },
  ];
  const sources: Sources = {
    ...{ config, log, counters, proofs, clock, startedAt: NOW - 31 * HOUR_MS, version: "1.0.0" },
    lanes: () => lanes,
    peers: () => peers,
    certificates: () => [{ listener: "kx", notAfter: NOW + 13 * 24 * HOUR_MS }],
  };
  return { sources, lanes, peers, time, counters, proofs, log };
}

/** The state of a gateway of two, `kx1`, in which `kx2` has the KX session with zurich. */
export function preparedCluster(change: Partial<ClusterState> = {}): ClusterState {
  const server = "PostgreSQL 15.8 at db.example.net:5432/kxgw";
  const common = { version: "1.0.0", startedAt: NOW - 31 * HOUR_MS, skewMs: 3, position: 1200 };
  return {
    ...{ node: "kx1", problem: undefined, remedy: undefined, awayMs: undefined },
    session: { generation: 1, databaseId: "d", newest: 1200, server },
    ...{ newest: 1200, position: 1200, behindMs: 0 },
    wanted: ["expiry", "lane:oldpks", "lane:onak-home", "repair"],
    taken: ["lane:oldpks", "repair"],
    nodes: [
      {
        ...{ ...common, name: "kx1", address: "192.0.2.31", silentMs: 400 },
        ...{ leases: ["lane:oldpks", "repair"], sessions: ["tokyo"] },
      },
      {
        ...{ ...common, name: "kx2", address: "192.0.2.32", silentMs: 900, position: 1197 },
        ...{ leases: ["expiry", "lane:onak-home", "dial:zurich"], sessions: ["zurich"] },
      },
    ],
    ...change,
  };
}

/** `sources` of a gateway whose log is shared. */
export function clustered(sources: Sources, change: Partial<ClusterState> = {}): Sources {
  const hosts = [{ host: "db.example.net", port: 5432 }];
  const shared = { hosts, database: "kxgw", user: "kxgw", password: "secret", tls: undefined };
  const config = { ...sources.config, log: { ...sources.config.log, shared } };
  return { ...sources, config, cluster: () => preparedCluster(change) };
}

/** 24 hours with a quiet night: updates from everybody to everybody. */
function day(log: UpdateLog, counters: EventSink, time: { now: number }): void {
  let n = 0;
  const from = [
    ["onak-home", "mail"],
    ["zurich", "kx"],
    ["zurich", "kx"],
    ["tokyo", "kx"],
    ["archive", "mail"],
  ] as const;
  for (let quarter = 0; quarter < 96; quarter++) {
    const hour = new Date(time.now).getUTCHours();
    const many = Math.max(1, Math.round(9 * Math.sin(((hour - 4) / 24) * Math.PI) ** 2));
    for (let i = 0; i < many; i++) {
      n += 1;
      const [neighbour, via] = from[(n * 7 + (n >> 2)) % from.length] ?? from[0];
      const one = update(n, 1800);
      const origin = { neighbour, transport: via };
      const trail: string[] = n % 3 === 0 ? ["pgp-public-keys@pks.example.net"] : [];
      const messageId = via === "mail" ? `<${n}@${neighbour}.example.net>` : undefined;
      log.append([{ update: one, origin, trail, receivedAt: time.now, messageId }]);
      const { hash, fingerprint } = one;
      const fields = { seq: n, hash, fingerprint, bytes: 2600 };
      counters.report("accepted", { ...fields, neighbour, via });
      if (neighbour !== "onak-home") {
        counters.report("sent", { ...fields, neighbour: "onak-home", tookMs: 40 });
      }
      if (n % 3 === 0) counters.report("suppressed", { ...fields, neighbour: "oldpks" });
      else counters.report("sent", { ...fields, neighbour: "oldpks", tookMs: 900 });
      if (neighbour !== "zurich" && n % 2 === 0) {
        counters.report("served", { ...fields, neighbour: "zurich" });
      }
      if (n % 4 === 0)
        counters.report("duplicate", { ...fields, neighbour: "archive", via: "mail" });
    }
    const heard = { neighbour: "zurich", bytes: 32 * 1800, numbers: 32 };
    counters.report("announced-known", heard);
    if (quarter === 40) counters.report("peer-disconnected", { neighbour: "tokyo" });
    if (quarter === 41) counters.report("peer-connected", { neighbour: "tokyo" });
    if (quarter === 94) {
      const problem = "the address is in no neighbour's accept_from";
      const client = "203.0.113.0/24";
      counters.report("mail-refused", { client, reason: "unknown-sender", problem });
      const words = "451 4.3.0 <pgp-public-keys@pks.example.net>: mailbox is busy";
      counters.report("retry", { neighbour: "oldpks", seq: n, words, attempt: 2, waitMs: 300_000 });
    }
    time.now += HOUR_MS / 4;
  }
  time.now = NOW;
}

/** The month before that day: a week has fewer updates at its end, and KX takes over. */
export function month(counters: EventCounters): void {
  for (let ago = 2; ago < 30; ago++) {
    const at = NOW - ago * 24 * HOUR_MS;
    const many = new Date(at).getUTCDay() % 6 === 0 ? 180 : 320 + ((ago * 37) % 90);
    for (let n = 0; n < many; n++) {
      const byKx = n % 30 > ago;
      counters.recall("accepted", { neighbour: "zurich", via: byKx ? "kx" : "mail" }, at);
      counters.recall(byKx ? "served" : "sent", { neighbour: "oldpks" }, at);
      if (n % 2 === 0) counters.recall("sent", { neighbour: "onak-home" }, at);
    }
  }
}

/** The door over prepared sources, started; resolves with the page's address. */
export async function preparedDoor(sources: Sources): Promise<string> {
  return (await doorOver(sources)).base;
}

/** The same, with the way to stop it before the test is finished. */
export async function doorOver(sources: Sources) {
  const no = () => ({ done: false, words: "no" });
  const later = async () => no();
  const orders = {
    pause: no,
    resume: no,
    backfill: later,
    reconcile: no,
    retry: no,
    skip: no,
    remove: later,
  };
  const door = new AdminDoor({ sources, orders, diagnostics: sources.counters });
  const endpoint = await door.start();
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= door.stop();
    return stopped;
  };
  onTestFinished(stop);
  return { base: `http://127.0.0.1:${endpoint?.port}`, port: endpoint?.port ?? 0, stop };
}
