/**
 * What a restart knows of KX peers that get no mail: everything that the log offers is unproven
 * until the peer has sent, fetched or announced it.
 */
import { expect, it, onTestFinished } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { NO_STANDING, offersOf, Proofs, peersOf, restoreProofs } from "../../src/status/proofs.js";
import type { Fingerprint, Origin, Seq } from "../../src/update.js";
import { scratch } from "../support/scratch.js";
import { made } from "../torture/material.js";

const NOW = 1_800_000_000_000;
const DAY_MS = 86_400_000;
const MAIL: Origin = { neighbour: "old", transport: "mail" };

/** A log of `count` updates, the oldest received so many days ago as there are updates. */
function filled(count: number) {
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const updates = Array.from({ length: count }, (_, n) => made("proofs", n + 1).update);
  updates.forEach((update, index) => {
    const receivedAt = NOW - (count - index) * DAY_MS;
    log.append([{ update, origin: MAIL, trail: [], receivedAt }]);
  });
  return { log, updates };
}

function config(mode = "bridge", more = "") {
  const text = `mode = "${mode}"
[site]
address = "pgp-public-keys@kx.example.org"
[log]
path = "updates.db"
[kx]
listen = []
[[peer]]
name = "b"
kx = "127.0.0.5:1"
${more}`;
  return parseConfig(text, "kxgw.toml", scratch(), {});
}

function started(log: UpdateLog, given = config()) {
  const proofs = new Proofs();
  restoreProofs(log, proofs);
  proofs.watch(peersOf(given), offersOf(given, { log, now: NOW }));
  return proofs;
}

it("a restart does not forget what a peer was offered", () => {
  const { log } = filled(3);
  expect(started(log).of("b")).toEqual({
    ...{ proof: undefined, unproven: 3 },
    oldest: { what: "offered", at: NOW - 3 * DAY_MS },
    newest: { what: "offered", at: NOW - DAY_MS },
  });
  expect(started(log, config("observe")).of("b")).toEqual(NO_STANDING);
});

it("what it sent, fetched or announced is proven, what expired or is blocked not offered", () => {
  const { log, updates } = filled(9);
  // The first six are as old as log.retain.
  expect(started(log).of("b").unproven).toBe(3);
  const fetched = { seq: 7 as Seq, neighbour: "b", way: "kx", at: NOW } as const;
  log.sendings.note([{ ...fetched, how: "fetched", reply: "" }]);
  log.trails.note([{ seq: 8 as Seq, peer: "b" }]);
  const block = { reason: "", until: undefined, allowRevocation: false };
  log.removals.setBlock(updates[8]?.fingerprint as Fingerprint, block, NOW);
  expect(started(log).of("b")).toMatchObject({ unproven: 0 });
  const update = made("proofs", 10).update;
  const origin: Origin = { neighbour: "b", transport: "kx" };
  log.append([{ update, origin, trail: [], receivedAt: NOW }]);
  expect(started(log).of("b").unproven).toBe(0);
});

it("a reload counts for a peer that is new, and not again for one that was there", () => {
  const { log, updates } = filled(2);
  const proofs = started(log);
  proofs.shown("b", updates[0]?.hash ?? "", "read", NOW);
  const more = config("bridge", '[[peer]]\nname = "c"\nkx = "127.0.0.6:1"\n');
  proofs.watch(peersOf(more), offersOf(more, { log, now: NOW }));
  expect([proofs.of("b").unproven, proofs.of("c").unproven]).toEqual([1, 2]);
});

const FAR = "pgp-public-keys@far.example.net";

/** A lane that has delivered up to `cursor`, the last an hour ago. */
function delivered(log: UpdateLog, cursor: number): void {
  const lane = log.lanes.open("far", { address: FAR, names: ["far"] });
  log.lanes.save("far", { ...lane, cursor: cursor as Seq, lastSuccessAt: NOW - DAY_MS / 24 });
}

const SENT = { neighbour: "far", way: "lane", how: "relayed", reply: "250 Ok" } as const;

it("a kill that lost the records of deliveries does not lose that they are unproven", () => {
  const { log, updates } = filled(4);
  log.trails.note([{ seq: 2 as Seq, address: FAR }]);
  delivered(log, 4);
  // Where the lane began is not known, so that the last stands for all.
  expect(started(log).of("far")).toMatchObject({ unproven: 1, newest: { what: "accepted" } });
  log.sendings.note([{ ...SENT, seq: 1 as Seq, at: NOW - 2 * DAY_MS }]);
  const proofs = started(log);
  expect(proofs.of("far")).toMatchObject({
    ...{ unproven: 3, oldest: { what: "relayed" } },
    newest: { what: "accepted", at: NOW - DAY_MS / 24 },
  });
  proofs.shown("far", updates[2]?.hash ?? "", "origin", NOW);
  expect(proofs.of("far").unproven).toBe(2);
  // What came after the last delivery never left.
  const update = made("proofs", 9).update;
  log.append([{ update, origin: MAIL, trail: [], receivedAt: NOW }]);
  delivered(log, 5);
  expect(started(log).of("far").unproven).toBe(3);
});

it("a neighbour with another name has what was sent to it under the former one", () => {
  const { log } = filled(2);
  delivered(log, 2);
  log.sendings.note([1, 2].map((seq) => ({ ...SENT, seq: seq as Seq, at: NOW - DAY_MS })));
  const proofs = started(log);
  log.lanes.open("fern", { address: FAR, names: ["fern"] });
  expect(proofs.knows("fern")).toBe(false);
  restoreProofs(log, proofs, "fern");
  expect(proofs.of("fern")).toMatchObject({ unproven: 2, newest: { what: "relayed" } });
});
