/**
 * The page on a telephone and on a desk, in both colour schemes: all that it has to show is there,
 * nothing is wider than the screen, no text is cut. `KXGW_SCREENS=DIR` keeps the pictures there:
 * docs/status.png is `desk-light.png`.
 * Needs: chromium.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import type { Fingerprint } from "../../src/update.js";
import { launch, visit } from "./browser.js";
import { NOW, preparedDoor, preparedSources } from "./prepared.js";

const WIDTHS = { phone: 360, desk: 1280 };

/** Elements that stick out of the screen, but for those that scroll within it. */
const TOO_WIDE = `[...document.querySelectorAll("body *")]
  .filter((one) => !one.closest(".scroll") && one.getBoundingClientRect().width > 0)
  .filter((one) => {
    const { left, right } = one.getBoundingClientRect();
    return (left < 0 || right > innerWidth + 0.5) && !one.matches(".skip");
  })
  .map((one) => one.outerHTML.slice(0, 80))`;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** A busy day with everything that the page can show besides. */
function fullDay() {
  const { sources, lanes, counters, log } = preparedSources();
  const sink: EventSink = counters;
  lanes.push({
    ...{ name: "[local]", cursor: log.newest(), backlog: 0, attempt: 0, nextAt: 0, lastError: "" },
    ...{ lastErrorAt: 0, lastSuccessAt: NOW - 35_000, isPaused: false },
    ...{ address: undefined, oldest: 0, refusesAll: false },
    exceptions: { waiting: 0, refused: 0, withheld: 0 },
  });
  for (let n = 0; n < 12; n++) {
    sink.report("too-fast", { neighbour: "archive", problem: "more than 100/1m" });
    sink.report("trimmed", { neighbour: "archive", bytes: 361_000 });
  }
  sink.report("sent", {
    neighbour: "[local]",
    seq: log.newest(),
    bytes: 2600,
    tookMs: 12,
    how: "taken",
    words: "",
  });
  const block = { reason: "asked by its owner", until: undefined, allowRevocation: true };
  log.removals.setBlock("A".repeat(40) as Fingerprint, block, NOW);
  const ends = [
    { listener: "kx", file: "kx.pem", notAfter: NOW + 61 * 86_400_000 },
    { listener: "smtp", file: "mx.pem", notAfter: NOW + 5 * 86_400_000 },
  ];
  return { ...sources, certificates: () => ends };
}

it.each([
  ["phone", "light"],
  ["phone", "dark"],
  ["desk", "light"],
  ["desk", "dark"],
] as const)("%s, %s: everything is there and fits", async (device, scheme) => {
  const base = await preparedDoor(fullDay());
  const { page, complaints } = await visit(browser, base, { scheme });
  await page.setViewportSize({ width: WIDTHS[device], height: 800 });
  const text = ((await page.locator("main").allInnerTexts())[0] ?? "").replace(/\s+/g, " ");
  expect(text).toMatch(/\[local\] in sync: last update .* ago local/);
  expect(text).toMatch(/Deferred, over accept_rate 12/);
  expect(text).toMatch(/Known packets removed from keys 4\.3 MB/);
  expect(text).toContain("1 key blocked");
  expect(text).toContain("certificate of kx");
  expect(text).toContain("certificate of smtp");
  await page.click("summary");
  expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBe(0);
  expect(await page.evaluate(TOO_WIDE)).toEqual([]);
  expect(complaints).toEqual([]);
  const directory = process.env.KXGW_SCREENS;
  if (directory === undefined) return;
  await page.click("summary");
  await page.setViewportSize({ width: WIDTHS[device], height: 1170 });
  await page.evaluate("scrollTo(0, 0)");
  const picture = await page.screenshot();
  writeFileSync(join(directory, `${device}-${scheme}.png`), picture);
});
