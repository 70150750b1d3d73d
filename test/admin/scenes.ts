/**
 * Gateways as the pictures of the page show them: healthy, with a dead neighbour, with twenty, in
 * observe mode, without neighbours. Names, errors and addresses are as long as they may be, because
 * these are what a page clips.
 */
import type { LaneStatus } from "../../src/delivery/lane.js";
import type { EventSink } from "../../src/diagnostics.js";
import type { FollowerStatus } from "../../src/following/follower.js";
import type { PeerStatus } from "../../src/peering/connection.js";
import { HOUR_MS } from "../../src/status/hours.js";
import type { Sources } from "../../src/status/status.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { NOW, preparedSources } from "./prepared.js";

const LONG_ERROR =
  "550 5.7.1 <pgp-public-keys@very-long-subdomain-of-a-university.computing-centre.example.net>: " +
  "Recipient address rejected: Access denied (in reply to RCPT TO command); see " +
  "https://postmaster.example.net/policy/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c";

/** All that left is proven by those who have it. */
function prove({ log, proofs }: Pick<Sources, "log" | "proofs">, names: readonly string[]): void {
  for (const { hash } of log.range(1 as Seq, log.newest() as Seq, 1000)) {
    for (const name of names) {
      const what = name === "[local]" ? ("taken" as const) : ("announced" as const);
      proofs.shown(name, hash, what, NOW - 40_000);
    }
  }
}

/** Everybody has everything, and [local] too. */
export function healthy(): Sources {
  const { sources, lanes, peers, log, counters } = preparedSources();
  const [template] = lanes;
  if (template === undefined) throw new Error("no lane");
  const sink: EventSink = counters;
  const well = { backlog: 0, attempt: 0, nextAt: 0, oldest: 0, lastError: "", lastErrorAt: 0 };
  const all: LaneStatus[] = [
    ...lanes.map((lane) => ({ ...lane, ...well, cursor: log.newest() })),
    { ...template, ...well, name: "[local]", lastSuccessAt: NOW - 35_000 },
  ];
  sink.report("sent", { neighbour: "[local]", seq: log.newest(), bytes: 2600, tookMs: 12 });
  prove(sources, ["onak-home", "oldpks", "zurich", "tokyo", "[local]"]);
  return {
    ...sources,
    lanes: () => all,
    peers: () => peers.map((one) => ({ ...one, missing: 0 })),
  };
}

/** One neighbour takes no mail, another refuses everything. */
export function dead(publicStatus = false): Sources {
  const { sources, lanes, peers, log, counters } = preparedSources(publicStatus);
  const sink: EventSink = counters;
  const text = "554 5.6.0 This key is not welcome here: it has more than 300 signatures";
  for (let n = 1; n <= 60; n++) {
    const state = n % 3 === 0 ? ("waiting" as const) : ("refused" as const);
    log.exceptions.set({
      ...{ site: "oldpks", seq: n as Seq, fingerprint: fingerprint(n), code: 554, text, state },
      ...{ reason: n % 3 === 0 ? "failed" : "refused", at: NOW - n * 60_000, tries: n % 4 },
      nextAt: NOW + n * 60_000,
    });
  }
  for (let n = 0; n < 6; n++) {
    const words = LONG_ERROR;
    sink.report("retry", { neighbour: "oldpks", seq: 700 + n, words, attempt: n, waitMs: 60_000 });
  }
  sink.report("peer-unreachable", { neighbour: "zurich", problem: "connect ETIMEDOUT" });
  const all = lanes.map((lane) => ({
    ...lane,
    ...(lane.name === "oldpks" ? { lastError: LONG_ERROR, attempt: 7 } : { refusesAll: true }),
    exceptions: log.exceptions.counts(lane.name),
  }));
  const gone = peers.map((one) => ({ ...one, connected: one.name !== "zurich" }));
  return { ...sources, lanes: () => all, peers: () => gone, recon: () => [FOLLOWED, LOST] };
}

const FOLLOWED: FollowerStatus = {
  ...{ server: "keys.example.org:11370", hkp: "http://keys.example.org:11371" },
  ...{ neighbour: "[local]", state: "up", problem: undefined, remedy: undefined },
  ...{ keys: 6_512_345, wanted: 5, filters: "yminsky.dedup,yminsky.merge", sessions: 700 },
  ...{ fetched: 3120, octetsIn: 61_000_000, octetsOut: 14_400_000, wholeAt: NOW - 70_000 },
};
const LOST: FollowerStatus = {
  ...FOLLOWED,
  server: "a-keyserver-with-a-rather-long-name.computing-centre.university.example.edu:11370",
  neighbour: "a-keyserver-with-a-rather-long-name.computing-centre.university.example.edu:11370",
  ...{ state: "down", problem: "it closed the connection after the greeting: mismatched filters" },
  ...{ remedy: "Its operator has to list this gateway as a partner.", keys: undefined, wholeAt: 0 },
};

/** Twenty neighbours, and [local]: some of them in every state, two names of 32 letters. */
export function twenty(): Sources {
  const { sources, lanes, peers, log, counters } = preparedSources();
  const sink: EventSink = counters;
  const [lane] = lanes;
  const [peer] = peers;
  const [neighbour] = sources.config.neighbours;
  if (lane === undefined || peer === undefined || neighbour === undefined) throw new Error("none");
  const names = Array.from({ length: 20 }, (_, n) =>
    `keyserver-${n + 1}`.padEnd(n === 3 || n === 16 ? 32 : 0, "x"),
  );
  const isKx = (n: number) => n % 4 === 1;
  const address = (name: string) => `pgp-public-keys@${name}.computing-centre.example.net`;
  const neighbours = names.map((name, n) => ({
    ...{ ...neighbour, name, via: isKx(n) ? ("kx" as const) : ("mail" as const) },
    mail: isKx(n) ? undefined : address(name),
    kx: isKx(n) ? { host: `${name}.example.net`, port: 11373 } : undefined,
  }));
  for (const [n, name] of names.entries()) {
    for (let i = 0; i < 30 + n; i++) {
      sink.report(isKx(n) ? "served" : "sent", { neighbour: name, seq: i + 1, bytes: 2600 });
    }
  }
  const trouble = (n: number): Partial<LaneStatus> => {
    if (n === 2) return { attempt: 4, backlog: 1234, nextAt: NOW + 600_000, lastError: LONG_ERROR };
    if (n === 3) return { refusesAll: true, backlog: 12_345, nextAt: NOW + 6_000_000 };
    if (n === 7) return { isPaused: true, backlog: 77 };
    if (n === 10) return { backlog: 3, oldest: NOW - 200_000 };
    return {};
  };
  const all: LaneStatus[] = [...names, "[local]"].flatMap((name, n) =>
    isKx(n) ? [] : [{ ...lane, name, ...trouble(n), lastErrorAt: NOW - 60_000 }],
  );
  const linked: PeerStatus[] = names.flatMap((name, n) =>
    isKx(n) ? [{ ...peer, name, connected: n !== 16 && n !== 5, missing: n === 9 ? 1200 : 0 }] : [],
  );
  prove(sources, [...names.filter((_, n) => n !== 19), "[local]"]);
  log.lanes.open("gone", { address: "pgp-public-keys@gone.example.net" });
  const config = { ...sources.config, neighbours };
  return { ...sources, config, lanes: () => all, peers: () => linked };
}

export function observing(): Sources {
  const { sources, log } = preparedSources();
  const times = { since: NOW - 6 * HOUR_MS, at: NOW - 90_000 };
  const row = { updates: 1200, mails: 1204, bytes: 3_400_000, first: 1, last: 1200, ...times };
  log.observed.add([
    { neighbour: "oldpks", way: "lane", ...row },
    { neighbour: "onak-home", way: "lane", ...row, updates: 2, mails: 2, bytes: 4000 },
    { neighbour: "zurich", way: "kx", ...row, mails: 0 },
  ]);
  return { ...sources, config: { ...sources.config, mode: "observe" } };
}

/** Nothing configured, nothing stored. */
export function empty(): Sources {
  const { sources } = preparedSources(false, false);
  const config = { ...sources.config, neighbours: [] };
  return { ...sources, config, lanes: () => [], peers: () => [], certificates: () => [] };
}

function fingerprint(n: number): Fingerprint {
  return n.toString(16).padStart(40, "0").toUpperCase() as Fingerprint;
}
