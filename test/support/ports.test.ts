/** Free ports: each is given once, one that is taken is passed over, and none is the kernel's. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "./ports.js";

test("each call gives another port", async () => {
  const ports: number[] = [];
  for (let n = 0; n < 20; n += 1) ports.push(await freePort());
  expect(new Set(ports).size).toBe(20);
});

test("a port on which somebody listens is passed over", async () => {
  const taken = (await freePort()) + 1;
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(taken, "127.0.0.1", resolve));
  expect(await freePort()).not.toBe(taken);
});

test("the kernel gives none of them to a connection", async () => {
  const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  expect(await freePort()).toBeLessThan(Number(range.split(/\s+/)[0]));
});
