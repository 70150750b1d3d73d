/**
 * What the journey of an update claims of a neighbour, over a real log: done only with a proof,
 * which it names. The states at a running gateway are in `test/e2e/words.test.ts`.
 */
import { expect, it, onTestFinished } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { laneStatus } from "../../src/delivery/lane.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { PeerStatus } from "../../src/peering/connection.js";
import { ToldReceipts } from "../../src/peering/told-receipts.js";
import type { Report } from "../../src/status/event-counters.js";
import { journeyOf, queueIdOf } from "../../src/status/journey.js";
import type { Seq } from "../../src/update.js";
import { update } from "../log/material.js";
import { scratch } from "../support/scratch.js";

const NOW = Date.UTC(2026, 10, 23);
const ADDRESS = "pgp-public-keys@far.example.net";
const CONFIG = `[site]
address = "pgp-public-keys@kx.example.org"
[log]
[kx]
[outbound]
[[peer]]
name = "far"
mail = "${ADDRESS}"
kx = "kx.far.example.net:11373"
via = "both"
[[peer]]
name = "peer"
kx = "kx.peer.example:11373"
`;

function stage() {
  const config = parseConfig(CONFIG, "kxgw.toml", scratch(), {});
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const row = log.lanes.open("far", { address: ADDRESS });
  const append = (n: number, trail: readonly string[] = []) => {
    const origin = { neighbour: "old", transport: "mail" } as const;
    const [stored] = log.append([
      { update: update(n), origin, trail: [...trail], receivedAt: NOW },
    ]);
    return stored?.seq as Seq;
  };
  const nothing = { cursor: undefined, newest: undefined, missing: 0, inFlight: 0 };
  const none = {
    bytesIn: 0,
    bytesOut: 0,
    unreported: 0,
    held: undefined,
    connectedSince: undefined,
  };
  const peer: PeerStatus = { name: "peer", connected: true, ...nothing, ...none };
  const of = (
    seq: Seq,
    connected = true,
    recent: readonly Report[] = [],
    settled: Partial<PeerStatus> = {},
  ) => {
    const entry = log.entry(seq);
    if (entry === undefined) throw new Error(`no entry ${seq}`);
    const lane = laneStatus(log, { name: "far", address: ADDRESS }, log.lanes.get("far") ?? row);
    const peers = () => [{ ...peer, connected, ...settled }];
    const { stages } = journeyOf(entry, {
      ...{ config, log, lanes: () => [lane], peers, recent, now: NOW },
    });
    return Object.fromEntries(stages.map(({ neighbour, ...told }) => [neighbour, told]));
  };
  const pass = (seq: Seq) => log.lanes.save("far", { ...row, cursor: seq });
  return { log, append, of, pass };
}

it("tells what a peer announced from what a mail claims", () => {
  const { log, append, of, pass } = stage();
  const [announced, named] = [append(1), append(2, [ADDRESS])];
  log.trails.note([{ seq: announced, address: ADDRESS }]);
  pass(named);
  expect(of(announced).far).toMatchObject({
    ...{ state: "done", how: "announced", road: "kx", time: null },
    words: "announced by it over KX; not mailed",
  });
  expect(of(named).far).toMatchObject({ state: "handed", how: "named", road: "mail" });
});

it("tells what a peer without mail announced", () => {
  const { log, append, of } = stage();
  const seq = append(1);
  expect(of(seq).peer).toMatchObject({ state: "waiting", how: "offered" });
  log.trails.note([{ seq, peer: "peer" }]);
  const words = "announced by it over KX";
  expect(of(seq).peer).toMatchObject({ state: "done", how: "announced", road: "kx", words });
});

it("does not count what was announced as a delivery", () => {
  const { log, append } = stage();
  log.trails.note([{ seq: append(1), address: ADDRESS }]);
  expect(log.sendings.of(1 as Seq)).toMatchObject([{ neighbour: "far", how: "announced" }]);
  expect(log.sendings.latest(1, 9)).toEqual([]);
  // A fetch proves as much and has a time.
  const fetched = { seq: 1 as Seq, neighbour: "far", way: "kx", at: NOW } as const;
  log.sendings.note([{ ...fetched, how: "fetched", reply: "" }]);
  log.trails.note([{ seq: 1 as Seq, address: ADDRESS }]);
  expect(log.sendings.latest(1, 9)).toMatchObject([{ how: "fetched", at: NOW }]);
});

it("has no delivery without a record, and no announcement without an answer", () => {
  const { append, of, pass } = stage();
  const seq = append(1);
  expect(of(seq).far).toMatchObject({ state: "waiting", words: "next in the queue" });
  pass(seq);
  expect(of(seq).far).toMatchObject({
    ...{ state: "none", how: "unknown" },
    words: expect.stringMatching(/^no record of a delivery/),
  });
  expect(of(seq).peer).toMatchObject({ state: "waiting", how: "offered" });
  expect(of(seq, false).peer).toMatchObject({ state: "waiting", how: "waiting" });
});

it("what was withheld and sent after the block is sent", () => {
  const { append, of, pass, log } = stage();
  const seq = append(1);
  pass(seq);
  const about = { neighbour: "far", hash: log.entry(seq)?.hash ?? "" };
  const withheld = {
    id: 1,
    level: "info",
    event: "withheld",
    at: NOW,
    fields: { ...about, reason: "blocked" },
  } as const;
  expect(of(seq, true, [withheld]).far).toMatchObject({ state: "none", how: "withheld" });
  const said = { ...about, mails: 1, bytes: 9, tookMs: 1, how: "relayed", words: "250 Ok" };
  const sent = { id: 2, level: "info", event: "sent", at: NOW + 1, fields: said } as const;
  expect(of(seq, true, [sent, withheld]).far).toMatchObject({ state: "handed", how: "relayed" });
});

it("a peer that fetched the update has it", () => {
  const { log, append, of } = stage();
  const seq = append(1);
  const fetched = {
    seq,
    neighbour: "peer",
    way: "kx",
    at: NOW,
    how: "fetched",
    reply: "",
  } as const;
  log.sendings.note([fetched]);
  expect(of(seq).peer).toMatchObject({
    state: "done",
    how: "fetched",
    words: "fetched it over KX",
  });
});

it("a peer with receipts has what its receipt covers, and no more", () => {
  const { log, append, of } = stage();
  const [first, second, third] = [append(1), append(2), append(3)];
  const way = { neighbour: "peer", way: "kx", at: NOW, how: "fetched", reply: "" } as const;
  log.sendings.note([first, third].map((seq) => ({ ...way, seq })));
  const receipts = new ToldReceipts(0);
  const at = (seq: Seq) =>
    of(seq, true, [], { done: second, receiptOf: (one) => receipts.of(one) }).peer;
  receipts.take(
    second,
    () => false,
    10,
    () => {},
  );
  expect(at(first)).toMatchObject({ state: "done", how: "settled" });
  expect(at(first)?.words).toBe("fetched it over KX, and settled");
  expect(at(second)).toMatchObject({ state: "done", how: "settled", words: "settled over KX" });
  expect(at(third)).toMatchObject({
    ...{ state: "handed", how: "fetched" },
    words: "fetched it over KX; not settled yet",
  });
});

it("what a receipt names as not held is not called settled", () => {
  const { append, of, log, pass } = stage();
  const [first, second] = [append(1), append(2)];
  const receipts = new ToldReceipts(0);
  receipts.take(
    second,
    (seq) => seq === second,
    10,
    () => {},
  );
  const settled = { done: second, receiptOf: (seq: Seq) => receipts.of(seq) };
  expect(of(first, true, [], settled).peer).toMatchObject({ state: "done", how: "settled" });
  expect(of(second, true, [], settled).peer).toMatchObject({
    ...{ state: "failed", how: "declined", road: "kx" },
    words: "settled over KX without it: the peer declined it, or could not fetch it",
  });
  // A site that declined it over KX and took it by mail has it.
  const at = { seq: second, neighbour: "far", at: NOW, reply: "250 Ok" } as const;
  log.sendings.note([{ ...at, way: "lane", how: "relayed" }]);
  pass(second);
  const far = of(second, true, [], { ...settled, name: "far" }).far;
  expect(far).toMatchObject({ state: "handed", how: "relayed" });
});

it("a receipt of another connection proves what was noted of it, and nothing else", () => {
  const { append, of, log } = stage();
  const [first, second] = [append(1), append(2)];
  log.trails.note([{ seq: first, peer: "peer", how: "settled" }]);
  const receipts = new ToldReceipts(second);
  receipts.take(
    second,
    () => false,
    10,
    () => {},
  );
  const settled = { done: second, receiptOf: (seq: Seq) => receipts.of(seq) };
  expect(of(first, true, [], settled).peer).toMatchObject({ state: "done", how: "settled" });
  expect(of(second, true, [], settled).peer).toMatchObject({
    ...{ state: "handed", how: "settled" },
    words: "settled over KX; it is not recorded whether the peer holds it",
  });
  expect(of(first, false).peer).toMatchObject({ state: "done", how: "settled" });
});

it.each([
  ["250 2.0.0 Ok: queued as 4XyZ12abcd", "4XyZ12abcd"],
  ["250 OK id=1rVb6a-0004xQ-2C", "1rVb6a-0004xQ-2C"],
  ["250 2.0.0 41ABcDeF012345 Message accepted for delivery", "41ABcDeF012345"],
  ["250 2.0.0 3f0a91bc Message accepted for delivery", "3f0a91bc"],
  ["250 2.6.0 <a@b> Queued mail for delivery", undefined],
  ["250 2.0.0 Ok", undefined],
])("the queue id in %s", (reply, id) => {
  expect(queueIdOf(reply)).toBe(id);
});

it("the sum of what was observed begins anew after the gateway has sent", () => {
  const { log } = stage();
  const row = { neighbour: "far", way: "lane", mails: 1, bytes: 100 } as const;
  const add = (n: number) =>
    log.observed.add([{ ...row, updates: 1, first: n, last: n, since: NOW + n, at: NOW + n }]);
  add(1);
  add(2);
  const sum = { ...row, updates: 2, mails: 2, bytes: 200, first: 1, last: 2 };
  expect(log.observed.all()).toEqual([{ ...sum, since: NOW + 1, at: NOW + 2 }]);
  log.observed.end();
  expect(log.observed.all()).toHaveLength(1);
  add(7);
  const anew = { ...row, updates: 1, first: 7, last: 7, since: NOW + 7, at: NOW + 7 };
  expect(log.observed.all()).toEqual([anew]);
});
