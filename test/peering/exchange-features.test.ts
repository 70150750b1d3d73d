/**
 * The features "sha256" and "octets" between gateways without sockets: two updates with one MD5,
 * peers that lack a feature, peers of both versions, and how many octets are saved.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { admit } from "../../src/admit.js";
import type { Update } from "../../src/update.js";
import { SEED } from "../kx/chance.js";
import { projectRoot } from "../torture/material.js";
import { MINUTE_MS, Network, pair, updates } from "./network.js";

/** Two updates of one key with the same MD5: made with the collision finder of hashclash. */
const [ONE, OTHER] = ["a.asc", "b.asc"].map((name) => {
  const armor = readFileSync(join(projectRoot(), "test/fixtures/collisions", name));
  return admit([armor]).updates[0];
}) as [Update, Update];

test("the two updates have one MD5 and differ", () => {
  expect(ONE.hash).toBe(OTHER.hash);
  expect(ONE.fingerprint).toBe(OTHER.fingerprint);
  expect(ONE.digest).not.toBe(OTHER.digest);
});

test.each([
  ["1.1", 2],
  ["1.0", 1],
] as const)("of two updates with one MD5 KX/%s brings %i", (version, count) => {
  const { network, a, b } = pair(SEED, version);
  a.mail(ONE, ...updates(3), OTHER);
  network.connect(a, b);
  network.run(2 * MINUTE_MS);
  const digests = b.log.range(1 as never, 9 as never, 9).map(({ digest }) => digest);
  const found = [ONE, OTHER].filter(({ digest }) => digests.includes(digest as never));
  expect(found).toHaveLength(count);
  expect(b.all("collision")).toHaveLength(count - 1);
  expect(b.cursor("a")).toBe(5);
  // They are known now: a new connection fetches nothing.
  const before = network.count(b, a, "GETUPDATE");
  network.cutAll(b);
  b.exchange.startOver("a", network.now);
  network.connect(b, a);
  network.run(11 * MINUTE_MS);
  expect(network.count(b, a, "GETUPDATE")).toBe(before);
});

test("one that comes when the other is held is fetched and told on", () => {
  const network = new Network(SEED);
  const a = network.gateway("a", ["b"]);
  const b = network.gateway("b", ["a", "c"]);
  const c = network.gateway("c", ["b"]);
  network.connect(a, b);
  network.connect(b, c);
  network.run(1000);
  c.mail(ONE);
  network.run(1000);
  a.mail(OTHER);
  network.run(MINUTE_MS);
  for (const gateway of [a, b, c]) {
    const digests = gateway.log.range(1 as never, 9 as never, 9).map(({ digest }) => digest);
    expect(new Set(digests)).toEqual(new Set([ONE.digest, OTHER.digest]));
  }
});

test("what has the MD5 and not the SHA-256 is refused, and asked for elsewhere", () => {
  const network = new Network(SEED);
  const a = network.gateway("a", ["b"]);
  const b = network.gateway("b", ["a", "c"]);
  const c = network.gateway("c", ["b"]);
  a.mail(ONE);
  c.mail(ONE);
  a.lie = OTHER.body;
  network.connect(a, b);
  network.run(1000);
  expect(b.hashes()).toEqual([]);
  expect(b.all("update-wrong")).toMatchObject([{ neighbour: "a", reason: "hash-mismatch" }]);
  network.connect(b, c);
  network.run(MINUTE_MS);
  expect(b.log.entry(1 as never)?.digest).toBe(ONE.digest);
});

test("an update that peers of both versions announce is fetched once", () => {
  const network = new Network(SEED);
  const b = network.gateway("b", ["a", "c"]);
  const peers = ["a", "c"].map((name) => network.gateway(name, ["b"]));
  const [a, c] = peers as [(typeof peers)[0], (typeof peers)[0]];
  c.version = "1.0";
  c.restart();
  for (const peer of peers) network.connect(peer, b);
  network.run(1000);
  const versions = b.exchange.status().map(({ version }) => version);
  expect(versions.toSorted()).toEqual(["1.0", "1.1"]);
  const news = updates(50);
  for (const peer of peers) peer.mail(...news);
  network.run(MINUTE_MS);
  expect(b.hashes()).toHaveLength(50);
  const asked = peers.map((peer) => network.count(b, peer, "GETUPDATE"));
  expect((asked[0] ?? 0) + (asked[1] ?? 0)).toBe(50);
  expect([b.cursor("a"), b.cursor("c")]).toEqual([50, 50]);
  expect(a.exchange.status()[0]).toMatchObject({ done: 50 });
});

test("an update costs three quarters of the octets of KX/1.0, and less", () => {
  const octets = (["1.0", "1.1"] as const).map((version) => {
    const { network, a, b } = pair(SEED, version);
    network.connect(a, b);
    network.run(1000);
    const before = network.bytes();
    // As large as a signature of an RSA key with its key.
    const { update } = { update: updates(40) };
    a.mail(...update);
    network.run(3 * MINUTE_MS);
    expect(b.hashes()).toHaveLength(40);
    return network.bytes() - before;
  });
  const [old = 0, now = 0] = octets;
  expect(now).toBeLessThan(0.75 * old);
});
