/**
 * The mail that KX saved is counted once: a listing of what was announced before, a backfill, a
 * restart and the echo of an update that the peer fetched here add nothing. Bytes are reported in
 * full.
 */
import { expect, test } from "vitest";
import type { Fields } from "../../src/diagnostics.js";
import { MINUTE_MS, pair, updates } from "./network.js";

const sum = (all: readonly Fields[]) => all.reduce((bytes, one) => bytes + Number(one.bytes), 0);

test("an announcement of a known update counts once, whatever is listed again", () => {
  const { network, a, b } = pair();
  const [before, news] = [updates(50), updates(5, 100)];
  for (const one of [a, b]) one.mail(...before);
  network.connect(a, b);
  network.run(MINUTE_MS);
  // What both had before they met would not have come by mail any more.
  expect(a.all("announced-known")).toEqual([]);

  for (const one of [a, b]) one.mail(...news);
  network.run(MINUTE_MS);
  const told = a.all("announced-known");
  const count = () => a.all("announced-known").reduce((all, one) => all + Number(one.numbers), 0);
  expect(count()).toBe(5);
  expect(sum(told)).toBe(news.reduce((bytes, { body }) => bytes + body.length, 0));

  network.cutAll(a);
  a.exchange.startOver("b", network.now);
  network.connect(a, b);
  network.run(MINUTE_MS);
  expect(a.cursor("b")).toBe(55);
  expect(count()).toBe(5);

  a.log.cursors.forget("b");
  a.restart();
  network.connect(a, b);
  network.run(MINUTE_MS);
  expect(a.cursor("b")).toBe(55);
  expect(count()).toBe(5);
});

test("the echo of an update that the peer fetched here spares no mail", () => {
  const { network, a, b } = pair();
  network.connect(a, b);
  network.run(1000);
  a.mail(...updates(3));
  network.run(3 * MINUTE_MS);
  expect(b.hashes()).toEqual(a.hashes());
  expect(a.cursor("b")).toBe(3);
  expect(a.all("announced-known")).toEqual([]);
});

test("the bytes of a session are reported in full, also of one that ends", () => {
  const { network, a, b } = pair();
  network.connect(a, b);
  a.mail(...updates(20));
  network.run(2 * MINUTE_MS);
  const [peer] = a.exchange.status();
  const all = (peer?.bytesIn ?? 0) + (peer?.bytesOut ?? 0);
  expect(all).toBeGreaterThan(1000);
  expect(sum(a.all("kx-traffic")) + (peer?.unreported ?? 0)).toBe(all);
  network.cutAll(a);
  network.run(1000);
  expect(a.exchange.status()[0]?.unreported).toBe(0);
  expect(sum(a.all("kx-traffic"))).toBe(all);
});
