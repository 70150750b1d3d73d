/** What the page and the metrics say of a peer from which nothing is fetched for now. */
import { expect, test } from "vitest";
import { Metrics } from "../../src/admin/metrics.js";
import { viewOf } from "../../src/status/neighbour-view.js";
import { preparedSources } from "../admin/prepared.js";

const PEER = { cursor: 1, newest: 13, missing: 12, inFlight: 0, known: 0, bytesIn: 0, bytesOut: 0 };

test.each([
  ["quiet-hours", "good", "12 updates to fetch; quiet_hours end in 3 h"],
  ["fetch-rate", "behind", "12 updates to fetch; fetch_rate is used up, next fetch in 3 h"],
] as const)("%s", async (why, state, words) => {
  const { sources } = preparedSources();
  const now = sources.clock.now();
  const held = { why, until: now + 3 * 3_600_000 };
  const peer = { ...PEER, name: "tokyo", connected: true, connectedSince: now, held };
  const subject = { name: "tokyo", via: "kx", mail: undefined, dial: true } as const;
  const { counters } = sources;
  const view = viewOf(subject, { counters, now, lane: undefined, peer });
  expect(view).toMatchObject({ state, words, held: why, backlog: 12 });
  const metrics = new Metrics({ ...sources, peers: () => [peer] });
  expect((await metrics.scrape(undefined)).body).toContain(
    `kxgw_fetch_held{peer="tokyo",reason="${why}"} 12`,
  );
  metrics.close();
});
