/**
 * The page on a telephone and on a desk, in both colour schemes: all that it has to show is there,
 * nothing is wider than the screen, no text is cut. `KXGW_SCREENS=DIR` keeps the pictures there:
 * docs/status.png is `desk-light.png`.
 * Needs: chromium.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import type { Fingerprint, Seq } from "../../src/update.js";
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

/** Twelve neighbours of which most did not take something, [local], and a lane without an owner. */
function badDay() {
  const { sources, lanes, log, config } = crowded();
  const when = NOW - 3_600_000;
  const about = { site: "", fingerprint: "A".repeat(40) as Fingerprint, code: 554, at: when };
  const text = "554 5.6.0 This key is not welcome here";
  for (const [index, { name: site }] of lanes.entries()) {
    for (let n = 1; n <= index; n++) {
      const seq = n as Seq;
      const row = { ...about, site, seq, text };
      if (n % 3 === 0) log.exceptions.set({ ...row, state: "withheld", reason: "skipped" });
      else if (n % 3 === 1) log.exceptions.set({ ...row, state: "refused", reason: "refused" });
      else log.exceptions.set({ ...row, state: "waiting", reason: "failed", nextAt: NOW });
    }
  }
  log.lanes.open("gone", { address: "pgp-public-keys@gone.example.net" });
  log.exceptions.set({
    ...about,
    site: "gone",
    text,
    state: "refused",
    reason: "refused",
    seq: 1 as Seq,
  });
  const counted = lanes.map((lane) => ({ ...lane, exceptions: log.exceptions.counts(lane.name) }));
  return { ...sources, config, lanes: () => counted };
}

function crowded() {
  const { sources, lanes, log } = preparedSources();
  const [template] = lanes;
  if (template === undefined) throw new Error("no lane");
  const names = Array.from({ length: 12 }, (_, n) => `keyserver-${n + 1}`);
  const [neighbour] = sources.config.neighbours;
  if (neighbour === undefined) throw new Error("no neighbour");
  const neighbours = names.map((name) => ({ ...neighbour, name }));
  const all = [...names, "[local]"].map((name) => ({ ...template, name }));
  return { sources, lanes: all, log, config: { ...sources.config, neighbours } };
}

it.each(["phone", "desk"] as const)("%s: what twelve neighbours did not take", async (device) => {
  const base = await preparedDoor(badDay());
  const { page, complaints } = await visit(browser, base, { scheme: "light" });
  await page.setViewportSize({ width: WIDTHS[device], height: 800 });
  const lines = (await page.locator(".untaken li").allInnerTexts()).map((line) =>
    line.replace(/\s+/g, " ").trim(),
  );
  expect(await page.textContent("h1")).toEqual(
    expect.stringMatching(
      /^Bridging\. 0 of 12 neighbours in sync; .* 56 updates not taken by 12 neighbours\.$/,
    ),
  );
  expect(lines).toHaveLength(13);
  expect(lines[0]).toBe("keyserver-2 1 refused (1 in 24 hours)");
  expect(lines[11]).toBe("[local] 4 refused, 4 set aside, 4 withheld (skipped) (12 in 24 hours)");
  expect(lines[12]).toBe("gone is not in the config any more: 1 refused");
  const rows = (await page.locator("#neighbours tbody tr").allInnerTexts()).map((row) =>
    row.replace(/\s+/g, " "),
  );
  expect(rows).toHaveLength(13);
  expect(rows[12]).toMatch(/\[local\] .*; not taken: 4 refused, 4 set aside, 4 withheld/);
  expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBe(0);
  expect(await page.evaluate(TOO_WIDE)).toEqual([]);
  expect(complaints).toEqual([]);
  await keepPicture(page, `exceptions-${device}`, WIDTHS[device]);
});

/** Writes what is on the screen into `KXGW_SCREENS`, where it is set. */
async function keepPicture(page: Page, name: string, width: number): Promise<void> {
  const directory = process.env.KXGW_SCREENS;
  if (directory === undefined) return;
  await page.setViewportSize({ width, height: 1170 });
  await page.evaluate("scrollTo(0, 0)");
  const picture = await page.screenshot({ fullPage: true });
  writeFileSync(join(directory, `${name}.png`), picture);
}

it("what observe mode would have sent", async () => {
  const { sources, log } = preparedSources();
  const row = { updates: 1200, mails: 1204, bytes: 3_400_000, first: 1, last: 1200 };
  const times = { since: NOW - 6 * 3_600_000, at: NOW };
  log.observed.add([
    { neighbour: "oldpks", way: "lane", ...row, ...times },
    { neighbour: "zurich", way: "kx", ...row, mails: 0, ...times },
  ]);
  const config = { ...sources.config, mode: "observe" as const };
  const base = await preparedDoor({ ...sources, config });
  const { page, complaints } = await visit(browser, base, { scheme: "light" });
  const lines = (await page.locator(".untaken li").allInnerTexts()).map((line) =>
    line.replace(/\s+/g, " ").trim(),
  );
  expect(lines).toEqual([
    "oldpks 1 200 updates in 1 204 mails, 3.4 MB, the first 6 h ago",
    "zurich 1 200 updates over KX, 3.4 MB, the first 6 h ago",
  ]);
  expect(complaints).toEqual([]);
});

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
  expect(text).toMatch(/\[local\] handed over: last update left .* ago, not confirmed by it local/);
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
