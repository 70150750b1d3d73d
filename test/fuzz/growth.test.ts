/** t(2n)/t(n) <= 3 on the worst input of each parser; and the measure finds quadratic work. */
import { expect, test } from "vitest";
import { growthOf, MOST_RATIO, WORST } from "./growth.js";

test("quadratic work is found out", async () => {
  const { worst } = await growthOf({
    name: "quadratic",
    size: 250,
    prepare: (size) => () => {
      let sum = 0;
      for (let i = 0; i < size; i += 1) for (let j = 0; j < size; j += 1) sum += i ^ j;
      return sum;
    },
  });
  expect(worst).toBeGreaterThan(MOST_RATIO);
});

test("so is work that is quadratic for large input only", async () => {
  const { worst, ms } = await growthOf({
    name: "late",
    size: 10_000,
    prepare: (size) => () => {
      let sum = 0;
      const rounds = size <= 40_000 ? size : size ** 2 / 40_000;
      for (let i = 0; i < rounds * 100; i += 1) sum = (sum + i) ^ size;
      return sum;
    },
  });
  expect(worst, `${ms.join(", ")} ms`).toBeGreaterThan(MOST_RATIO);
});

test.each(WORST)("$name", { timeout: 60_000 }, async (worst) => {
  const growth = await growthOf(worst);
  const shown = growth.ms.map((time) => time.toFixed(2)).join(", ");
  expect(growth.worst, `${shown} ms at n, 2n, 4n, 8n, 16n`).toBeLessThanOrEqual(MOST_RATIO);
});
