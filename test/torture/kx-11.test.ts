/** Hostile and broken peers of KX/1.1 in small, through a gateway as a process. */
import { beforeAll, expect, test } from "vitest";
import { kxOctets } from "./checks/kx-octets.js";
import { kxReconcile } from "./checks/kx-reconcile.js";
import { compile, expectHeld } from "./short.js";

let build = "";
beforeAll(() => {
  build = compile("kx-11");
});

test("binary KX survives kills, cuts, the largest messages and bombs", {
  timeout: 120_000,
}, async () => {
  const { figures } = await expectHeld(kxOctets, 3, build);
  expect(figures).toMatch(/^3 kills .* 3000 rows, each once; an UPDATE cut 3 times, /);
});

test("hostile peers of KX/1.1 cost their limits, and others nothing", {
  timeout: 120_000,
}, async () => {
  const { figures } = await expectHeld(kxReconcile, 100, build);
  expect(figures).toMatch(/^100 RANGEs .* 100 DONEs .* OPEN at 7 wrong times/);
});
