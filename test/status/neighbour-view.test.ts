/**
 * The state of a neighbour: "in sync" needs a proof by the neighbour itself, whatever the path.
 */
import { describe, expect, test } from "vitest";
import { Metrics } from "../../src/admin/metrics.js";
import type { LaneStatus } from "../../src/delivery/lane.js";
import type { EventName, Fields } from "../../src/diagnostics.js";
import type { PeerStatus } from "../../src/peering/connection.js";
import { EventCounters } from "../../src/status/event-counters.js";
import { type Subject, type ViewSources, viewOf } from "../../src/status/neighbour-view.js";
import { PROOF_LIMITS, Proofs } from "../../src/status/proofs.js";
import { preparedSources } from "../admin/prepared.js";

const NOW = 1_800_000_000_000;
const MIN = 60_000;
const PEER = {
  ...{ name: "a", connected: true, connectedSince: NOW - 5 * MIN, held: undefined },
  ...{ cursor: 1, newest: 1, missing: 0, inFlight: 0, unreported: 0, bytesIn: 0, bytesOut: 0 },
};
const LANE: LaneStatus = {
  ...{ name: "a", address: "keys@a.example", cursor: 9, backlog: 0, oldest: 0 },
  ...{ attempt: 0, nextAt: 0, lastError: "", lastErrorAt: 0, lastSuccessAt: 0 },
  ...{ isPaused: false, refusesAll: false },
  exceptions: { waiting: 0, refused: 0, withheld: 0 },
};
const clock = { now: () => NOW, monotonic: () => 0, random: () => 0 };
const counters = new EventCounters({ next: { report: () => {} }, clock });

const NO_OFFERS = {
  log: { newest: () => 0 as const, range: () => [], sendings: { overKx: () => [] } },
  isOffered: () => false,
};

/** The state of `a` after these events, each so many minutes ago. */
function stateAfter(
  events: readonly (readonly [minutes: number, event: EventName, fields: Fields])[],
  given: Partial<ViewSources> & { readonly via?: Subject["via"]; readonly watched?: boolean },
) {
  const { via = "mail", watched = false, lane, peer, observing = false } = given;
  const proofs = new Proofs();
  proofs.watch({ all: peer ? ["a"] : [], withoutLane: watched ? ["a"] : [] }, NO_OFFERS);
  for (const [minutes, event, fields] of events) {
    const at = NOW - minutes * MIN;
    proofs.note({ id: 0, at, event, level: "info", fields: { hash: "1", ...fields } });
  }
  const subject = { name: "a", via, mail: "keys@a.example", dial: true } as const;
  const standing = proofs.of("a");
  const view = viewOf(subject, { counters, now: NOW, lane, peer, standing, observing });
  return [view.state, view.label, view.words];
}

const closed = (backlog: number): LaneStatus => ({
  ...{ ...LANE, backlog, oldest: backlog > 0 ? NOW - MIN : 0 },
  path: { road: "kx", since: 0, isOpen: false, opensAt: NOW + 4 * MIN },
});
const away: PeerStatus = { ...PEER, connected: false, connectedSince: undefined };
const FROM_A = { neighbour: "a", via: "mail" };
const TO_A = { neighbour: "a", how: "relayed" };

describe("by mail", () => {
  const lane = LANE;

  test("what a relay took is handed over, with the time since", () => {
    const words = "handed to the relay 3 min ago, not confirmed by it";
    expect(stateAfter([[3, "sent", TO_A]], { lane })).toEqual(["pending", "handed over", words]);
    const two = [[7, "sent", TO_A] as const, [3, "sent", { ...TO_A, hash: "2" }] as const];
    const more = `${words}; 2 updates since 7 min ago`;
    expect(stateAfter(two, { lane })).toEqual(["pending", "handed over", more]);
  });

  test("its own mail with the update proves it, another one does not", () => {
    const sent = [3, "sent", TO_A] as const;
    expect(stateAfter([sent, [1, "duplicate", FROM_A]], { lane })).toEqual([
      ...["good", "in sync", "it sent an update itself 1 min ago"],
    ]);
    const other = [1, "accepted", { ...FROM_A, hash: "2" }] as const;
    expect(stateAfter([sent, other], { lane })[1]).toBe("handed over");
    const third = [1, "duplicate", { ...FROM_A, neighbour: "b" }] as const;
    expect(stateAfter([sent, third], { lane })[1]).toBe("handed over");
  });

  test("a mail that came back is no longer handed over", () => {
    const back = [1, "bounce", { neighbour: "a" }] as const;
    expect(stateAfter([[3, "sent", TO_A], back], { lane })).toEqual([
      ...["pending", "nothing sent", "no mail sent yet"],
    ]);
  });

  test("what another neighbour claims of it is no proof", () => {
    const passed = [2, "suppressed", { neighbour: "a" }] as const;
    const words = "named in a mail of another neighbour 2 min ago, not confirmed by it";
    expect(stateAfter([passed], { lane })).toEqual(["pending", "handed over", words]);
    expect(stateAfter([[3, "accepted", FROM_A], passed], { lane })[1]).toBe("in sync");
  });

  test("a delivery that only the lane remembers is not confirmed", () => {
    expect(stateAfter([], { lane: { ...lane, lastSuccessAt: NOW - MIN } })).toEqual([
      ...["pending", "handed over", "last mail left 1 min ago, not confirmed by it"],
    ]);
  });

  test("what it did not take is not in sync, whatever it has proven", () => {
    const exceptions = { waiting: 0, refused: 2, withheld: 0 };
    const got = stateAfter([[1, "accepted", FROM_A]], { lane: { ...lane, exceptions } });
    const words = "it sent an update itself 1 min ago; not taken: 2 refused";
    expect(got).toEqual(["pending", "not all taken", words]);
  });

  test("observe mode is not in sync", () => {
    const got = stateAfter([[1, "accepted", FROM_A]], { lane, observing: true });
    expect(got).toEqual(["pending", "observed", "nothing is sent in observe mode"]);
  });

  test.each([
    ["taken", "good", "it took the last update 1 min ago"],
    ["collected", "good", "it read its spool 1 min ago"],
    ["exited", "good", "its program ended with 0 1 min ago"],
    ["spooled", "pending", "left in its spool 1 min ago, not confirmed by it"],
  ])("the local keyserver: %s", (how, state, words) => {
    const [is, , said] = stateAfter([[1, "sent", { neighbour: "a", how }]], { lane });
    expect([is, said]).toEqual([state, words]);
  });

  test("only the newest are kept, and they alone can be proven", () => {
    const proofs = new Proofs();
    for (let n = 0; n < PROOF_LIMITS.unproven + 5; n++) {
      proofs.handed("a", String(n), { what: "relayed", at: n });
    }
    expect(proofs.of("a")).toMatchObject({
      ...{ unproven: PROOF_LIMITS.unproven, oldest: { at: 5 } },
      newest: { at: PROOF_LIMITS.unproven + 4 },
    });
  });
});

describe("over KX", () => {
  test.each(["auto", "both", "kx"] as const)("without a session it is never in sync: %s", (via) => {
    const proven = [[1, "accepted", { neighbour: "a", via: "kx" }] as const];
    const lane = via === "kx" ? undefined : via === "auto" ? closed(0) : LANE;
    const open = { ...LANE, path: { road: "mail", since: 0, isOpen: true, opensAt: 0 } } as const;
    expect(stateAfter(proven, { via, lane, peer: away })[0]).not.toBe("good");
    if (via === "auto") {
      expect(stateAfter(proven, { via, lane, peer: away })).toEqual([
        ...["pending", "no session", "KX is not connected; mail starts in 4 min"],
      ]);
      expect(stateAfter(proven, { via, lane: open, peer: away })[1]).toBe("no session");
    }
  });

  test("updates that are not proven before mail starts make it behind", () => {
    expect(stateAfter([], { via: "auto", lane: closed(2), peer: away })).toEqual([
      ...["behind", "behind", "2 updates unconfirmed; KX is not connected; mail starts in 4 min"],
    ]);
  });

  test("a session alone proves nothing", () => {
    const words = "connected for 5 min; it has confirmed nothing since the gateway started";
    expect(stateAfter([], { via: "kx", peer: PEER })).toEqual(["pending", "unconfirmed", words]);
  });

  test("an update of another neighbour is unconfirmed until the peer announces it", () => {
    const accepted = [2, "accepted", { neighbour: "b", via: "mail" }] as const;
    const given = { via: "kx", peer: PEER, watched: true } as const;
    expect(stateAfter([accepted], given)).toEqual([
      ...["pending", "unconfirmed"],
      "connected for 5 min; 1 update not confirmed by it (oldest 2 min)",
    ]);
    const served = [1, "served", { neighbour: "a" }] as const;
    expect(stateAfter([accepted, served], given)[1]).toBe("unconfirmed");
    const announced = [1, "duplicate", { neighbour: "a", via: "kx" }] as const;
    expect(stateAfter([accepted, announced], given)).toEqual([
      ...["good", "in sync"],
      "connected for 5 min; it announced an update 1 min ago; 0 B in, 0 B out",
    ]);
  });

  test("a peer that went back to KX/1.0 is said to have done so", () => {
    const peer: PeerStatus = { ...PEER, version: "1.0", isDowngraded: true };
    const [, , words] = stateAfter([], { peer, via: "kx" });
    expect(words).toMatch(/^connected for 5 min by KX\/1\.0, by KX\/1\.1 before; /);
  });

  test("a peer whose log is not listed yet is not in sync, whatever is proven", () => {
    const proven = [[1, "accepted", { neighbour: "a", via: "kx" }] as const];
    const peer: PeerStatus = { ...PEER, cursor: undefined, newest: 34, missing: 0 };
    expect(stateAfter(proven, { via: "kx", peer })).toEqual([
      ...["behind", "behind"],
      "its log is not listed yet; it is listed within 10 minutes",
    ]);
  });

  test("the lane of a peer that may get mail counts what is not proven", () => {
    const proven = [[1, "accepted", { neighbour: "a", via: "kx" }] as const];
    const given = { via: "auto", peer: PEER } as const;
    expect(stateAfter(proven, { ...given, lane: closed(3) })[2]).toBe(
      "connected for 5 min; 3 updates not confirmed by it (oldest 1 min)",
    );
    expect(stateAfter(proven, { ...given, lane: closed(0) })[1]).toBe("in sync");
  });

  test("in observe mode the peer sees an empty log and cannot be in sync", () => {
    const proven = [[1, "accepted", { neighbour: "a", via: "kx" }] as const];
    expect(stateAfter(proven, { via: "kx", peer: PEER, observing: true })[1]).toBe("observed");
  });
});

test.each([
  ["quiet-hours", "pending", "waiting", "12 updates to fetch; quiet_hours end in 3 h"],
  [
    "fetch-rate",
    "behind",
    "behind",
    "12 updates to fetch; fetch_rate is used up, next fetch in 3 h",
  ],
] as const)("%s", async (why, state, label, words) => {
  const { sources } = preparedSources();
  const now = sources.clock.now();
  const held = { why, until: now + 3 * 3_600_000 };
  const peer = { ...PEER, name: "tokyo", connectedSince: now, held, missing: 12, newest: 13 };
  const subject = { name: "tokyo", via: "kx", mail: undefined, dial: true } as const;
  const view = viewOf(subject, { counters: sources.counters, now, lane: undefined, peer });
  expect(view).toMatchObject({ state, label, words, held: why, backlog: 12 });
  const metrics = new Metrics({ ...sources, peers: () => [peer] });
  const text = (await metrics.scrape(undefined)).body;
  expect(text).toContain(`kxgw_fetch_held{peer="tokyo",reason="${why}"} 12`);
  expect(text).toContain('kxgw_peer_in_sync{peer="tokyo"} 0');
  metrics.close();
});
