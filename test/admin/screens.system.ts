/**
 * The page on a telephone and on a desk, in both colour schemes, of gateways in many states: all
 * that it has to show is there, nothing is wider than the screen, no text is cut at any width.
 * `KXGW_SCREENS=DIR` keeps the pictures there: docs/status.png is `status.png`.
 * Needs: chromium.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import type { Sources } from "../../src/status/status.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { soon } from "../support/soon.js";
import { launch, visit } from "./browser.js";
import { worstContrast } from "./contrast.js";
import { misfits, SCREEN_WIDTHS } from "./fits.js";
import { doorOver, month, NOW, preparedDoor, preparedSources } from "./prepared.js";
import { dead, empty, healthy, observing, twenty } from "./scenes.js";

const WIDTHS = { phone: 360, desk: 1280 };

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Keeps the picture of the page in `KXGW_SCREENS`, where it is set. */
async function keepPicture(page: Page, name: string): Promise<void> {
  const directory = process.env.KXGW_SCREENS;
  if (directory === undefined) return;
  const picture = await page.screenshot({ fullPage: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.png`), picture);
}

/** Each with the path of its page. */
const SCENES: readonly (readonly [name: string, sources: () => Sources, path: string])[] = [
  ["healthy", healthy, "/"],
  ["full", fullDay, "/"],
  ["dead", dead, "/"],
  ["twenty", twenty, "/"],
  ["observe", observing, "/"],
  ["empty", empty, "/"],
  ["neighbour", dead, "/neighbour/oldpks"],
  ["recon", dead, "/recon/2"],
  ["unknown", dead, "/neighbour/nobody"],
];

it.each(SCENES)("%s: fits every screen, and has contrast", async (name, sources, path) => {
  const base = await preparedDoor(sources());
  const { page, complaints } = await visit(browser, `${base}${path}`);
  await pictures(page, name);
  await page.emulateMedia({ colorScheme: "light" });
  for (const summary of await page.locator("summary").all()) await summary.click();
  for (const width of SCREEN_WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    const { found, seen } = await misfits(page);
    expect([width, found]).toEqual([width, []]);
    expect(seen).toBeGreaterThan(5);
  }
  expect(complaints.filter((one) => !one.includes("404"))).toEqual([]);
});

/** Checks the contrast on a desk and on a telephone in both schemes, and keeps the pictures. */
async function pictures(page: Page, name: string): Promise<void> {
  for (const [device, width] of Object.entries(WIDTHS)) {
    for (const scheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      const { text, marks } = await worstContrast(page);
      expect(text.ratio, text.what).toBeGreaterThanOrEqual(4.5);
      expect(marks.ratio, marks.what).toBeGreaterThanOrEqual(3);
      await keepPicture(page, `${name}-${device}-${scheme}`);
    }
  }
}

describe("stale", () => {
  const bannerOf = (page: Page) =>
    page.evaluate<string>("document.getElementById('stale').innerText");
  const liveOf = (page: Page) => page.evaluate<string>("document.getElementById('live').innerText");

  it("says so in banner and title when the gateway is gone, and comes back by itself", async () => {
    const sources = healthy();
    const { base, port, stop } = await doorOver(sources);
    const { page } = await visit(browser, base, { movesClock: true });
    await soon(() => liveOf(page)).toBe("Live");
    const title = await page.title();
    expect(await bannerOf(page)).toBe("");
    await stop();
    await soon(() => bannerOf(page)).toContain("The gateway does not answer.");
    await page.clock.fastForward(3 * 3_600_000 + 1000);
    await soon(() => bannerOf(page)).toMatch(/is 3 h old \(\d{4}-\d\d-\d\d [\d:]+ UTC\)/);
    expect(await page.title()).toBe(`STALE 3 h · ${title}`);
    expect(await liveOf(page)).toBe("Not live");
    await page.setViewportSize({ width: WIDTHS.phone, height: 900 });
    expect((await misfits(page)).found).toEqual([]);
    await pictures(page, "stale");
    const { admin } = sources.config;
    if (admin === undefined) throw new Error("no [admin]");
    const config = { ...sources.config, admin: { ...admin, listen: { ...admin.listen, port } } };
    await doorOver({ ...sources, config });
    await soon(() => bannerOf(page)).toBe("");
    expect(await page.title()).toBe(title);
    await soon(() => liveOf(page)).toBe("Live");
  });

  it("is said at once by a tab that was asleep, until the page has come", async () => {
    const { base } = await doorOver(healthy());
    const { page } = await visit(browser, base, { movesClock: true });
    await soon(() => liveOf(page)).toBe("Live");
    let answer = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route(`${base}/`, async (route) => {
      await held;
      await route.continue();
    });
    await page.clock.fastForward(8 * 3_600_000);
    await soon(() => bannerOf(page)).toContain("This page was not refreshed. What is shown is 8 h");
    answer();
    await soon(() => bannerOf(page)).toBe("");
  });

  it("is an answer that is no page, too", async () => {
    const sources = healthy();
    const { base } = await doorOver(sources);
    const { page } = await visit(browser, base);
    await soon(() => liveOf(page)).toBe("Live");
    await page.route(`${base}/`, (route) => route.fulfill({ status: 502, body: "Bad gateway" }));
    sources.counters.report("reloaded", {});
    await soon(() => bannerOf(page)).toContain("answers with an error (502)");
  });
});

/** A busy day with everything that the page can show besides. */
function fullDay() {
  const { sources, lanes, counters, log } = preparedSources();
  month(counters);
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
  expect(lines[1]).toBe("keyserver-2 1 refused (1 in 24 hours)");
  expect(lines[0]).toBe("[local] 4 refused, 4 set aside, 4 withheld (skipped) (12 in 24 hours)");
  expect(lines[12]).toBe("gone is not in the config any more: 1 refused");
  const rows = (await page.locator("#neighbours tbody tr").allInnerTexts()).map((row) =>
    row.replace(/\s+/g, " "),
  );
  expect(rows).toHaveLength(13);
  expect(rows[0]).toMatch(/\[local\] .*; not taken: 4 refused, 4 set aside, 4 withheld/);
  expect((await misfits(page)).found).toEqual([]);
  expect(complaints).toEqual([]);
  await keepPicture(page, `exceptions-${device}`);
});

const OFTEN = "the first 6 h ago, about 200 an hour, the last 1 min ago";

it("what observe mode would have sent, and how sending begins", async () => {
  const base = await preparedDoor(observing());
  const { page, complaints } = await visit(browser, base, { scheme: "light" });
  const lines = (await page.locator("#observe .untaken li").allInnerTexts()).map((line) =>
    line.replace(/\s+/g, " ").trim(),
  );
  expect(lines).toEqual([
    `oldpks 1 200 updates in 1 204 mails, 3.4 MB, ${OFTEN}`,
    "onak-home 2 updates in 2 mails, 4.0 kB, the first 6 h ago, about 8 a day, the last 1 min ago",
    `zurich 1 200 updates over KX, 3.4 MB, ${OFTEN}`,
    "Nothing to tokyo and archive",
  ]);
  const text = (await page.textContent("#observe"))?.replace(/\s+/g, " ");
  expect(text).toMatch(/it would have sent 2 402 updates in 1 206 mails to 3 neighbours, 6\.8 MB/);
  expect(text).toContain('Set mode = "bridge" in the config');
  expect(text).toMatch(/Mail leaves from update \d+ on/);
  expect(complaints).toEqual([]);
});

it("a busy day: everything is there", async () => {
  const base = await preparedDoor(fullDay());
  const { page, complaints } = await visit(browser, base);
  const text = ((await page.locator("main").allInnerTexts())[0] ?? "").replace(/\s+/g, " ");
  expect(text).toMatch(/\[local\] handed over: last update left .* ago, not confirmed by it local/);
  expect(text).toMatch(/Deferred, over accept_rate 12/);
  expect(text).toMatch(/Known packets removed from keys 4\.3 MB/);
  expect(text).toContain("1 key blocked");
  expect(text).toContain("certificate of kx");
  expect(text).toContain("certificate of smtp");
  expect(complaints).toEqual([]);
  await page.setViewportSize({ width: WIDTHS.desk, height: 1170 });
  const directory = process.env.KXGW_SCREENS;
  if (directory !== undefined) await page.screenshot({ path: join(directory, "status.png") });
});
