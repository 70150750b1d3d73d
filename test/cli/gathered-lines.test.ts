/** Lines of one turn of the event loop are one write, in order, and none waits without limit. */
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { GatheredLines } from "../../src/cli/gathered-lines.js";

test("lines of a turn are written once, at its end, in their order", async () => {
  const written: string[] = [];
  const lines = new GatheredLines((text) => written.push(text));
  lines.write("a\n");
  lines.write("b\n");
  expect(written).toEqual([]);
  await setImmediate();
  expect(written).toEqual(["a\nb\n"]);
  lines.write("c\n");
  await setImmediate();
  expect(written).toEqual(["a\nb\n", "c\n"]);
});

test("a flush writes what was gathered, once", async () => {
  const written: string[] = [];
  const lines = new GatheredLines((text) => written.push(text));
  lines.write("a\n");
  lines.flush();
  lines.flush();
  await setImmediate();
  expect(written).toEqual(["a\n"]);
});

test("no more than 32 KiB wait", () => {
  let bytes = 0;
  const lines = new GatheredLines((text) => {
    bytes += text.length;
  });
  for (let n = 0; n < 1000; n++) lines.write(`${"x".repeat(99)}\n`);
  expect(bytes).toBeGreaterThan(100_000 - 32 * 1024);
});
