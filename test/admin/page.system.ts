/**
 * The status page in a real browser: what it says, that it changes by itself when an update
 * passes, that it works without script, by keyboard and in a text browser, in both colour schemes
 * with contrast, that it asks no other host and writes no error.
 * Needs: chromium, lynx.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch, visit } from "./browser.js";
import { worstContrast } from "./contrast.js";
import { armoredKeys, FEEDER, HEAD, startGateway } from "./gateway.js";
import { preparedDoor, preparedSources } from "./prepared.js";

const [KEY = "", OTHER = ""] = armoredKeys();
const lynx = promisify(execFile);

const IS_LIVE = "document.getElementById('live').textContent === 'Live'";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

describe("the page of a running gateway", () => {
  it("changes by itself when an update passes, and leads to its journey", async () => {
    const running = await startGateway(HEAD + FEEDER);
    const { page, requests, complaints } = await visit(browser, `${running.base}/`);
    await page.waitForFunction(IS_LIVE);
    expect(await page.textContent("#events")).toContain("listening");
    expect(await page.textContent("#events")).not.toContain("update accepted");
    await page.evaluate("void (globalThis.sameDocument = true)");

    expect(await running.mail(KEY)).toMatch(/^250 /);
    const link = page.locator("#events a", { hasText: "#1" });
    await link.waitFor();
    expect(await page.evaluate("globalThis.sameDocument")).toBe(true);
    expect(await page.textContent("#flow dl")).toMatch(/In by mail\s*1/);
    expect(await page.textContent("#verdict")).toContain("1 update in the log");

    await link.click();
    await page.waitForSelector(".journey");
    const journey = (await page.textContent(".journey")) ?? "";
    expect(journey).toMatch(/Update 1\b/);
    expect(journey).toMatch(/(now|ago) by mail,\s+from old/);
    expect(journey).toContain("<1.test@pks.example.net>");
    expect(journey).toContain("sent it to us by mail");
    expect(complaints).toEqual([]);
    expect(requests.filter((url) => !url.startsWith(running.base))).toEqual([]);
    expect(requests.length).toBeGreaterThan(5);
  });

  it("is whole without script, and finds an update by its form", async () => {
    const running = await startGateway(HEAD + FEEDER);
    await running.mail(KEY);
    const { page } = await visit(browser, `${running.base}/`, { javaScript: false });
    expect(await page.textContent("#events")).toContain("update accepted");
    const accepted = running.reports.find(({ event }) => event === "accepted");
    const fingerprint = String(accepted?.fields.fingerprint);
    await page.fill("input[name=q]", ` 0x${fingerprint.replace(/(.{4})/g, "$1 ")}`);
    await page.click("button");
    expect(page.url()).toBe(`${running.base}/update/0x${fingerprint}`);
    expect(await page.textContent(".journey")).toContain(fingerprint);
    await page.goto(`${running.base}/update/${"0".repeat(40)}`);
    expect(await page.textContent("h1")).toBe("No such update");
  });

  it("keeps focus, open parts and what is being typed over a change", async () => {
    const running = await startGateway(HEAD + FEEDER);
    const { page } = await visit(browser, `${running.base}/`);
    await page.waitForFunction(IS_LIVE);
    await page.click("summary");
    await running.mail(KEY);
    await page.locator("#flow dd", { hasText: "1" }).first().waitFor();
    expect(await page.evaluate("document.querySelector('details').open")).toBe(true);
    expect(await page.evaluate("document.activeElement.tagName")).toBe("SUMMARY");
    await page.fill("input[name=q]", "half a fing");
    await running.mail(OTHER);
    await page.locator("#flow dd", { hasText: "2" }).first().waitFor();
    expect(await page.inputValue("input[name=q]")).toBe("half a fing");
  });
});

describe("the page of a busy day", () => {
  it.each(["light", "dark"] as const)(
    "has contrast in the %s scheme, and no error",
    async (scheme) => {
      const base = await preparedDoor(preparedSources().sources);
      const { page, complaints } = await visit(browser, base, { scheme });
      const { text, marks, seen } = await worstContrast(page);
      expect(seen).toBeGreaterThan(80);
      expect(text.ratio, text.what).toBeGreaterThanOrEqual(4.5);
      expect(marks.ratio, marks.what).toBeGreaterThanOrEqual(3);
      const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      expect(background).toBe(scheme === "dark" ? "rgb(20, 23, 28)" : "rgb(251, 250, 248)");
      expect((await page.screenshot()).length).toBeGreaterThan(20_000);
      expect(complaints).toEqual([]);
    },
  );

  it("says in words how it is, worst first", async () => {
    const base = await preparedDoor(preparedSources().sources);
    const { page } = await visit(browser, base);
    expect(await page.textContent("h1")).toBe(
      "Bridging. 1 of 4 neighbours in sync; oldpks is down: it accepts no mail; " +
        "14 updates wait (oldest 30 min); next try in 3 min. Also not in sync: tokyo. " +
        "Not confirmed: onak-home.",
    );
    expect(await page.title()).toBe("✖ pgp-public-keys@kx.example.org");
    const rows = await page.locator("#neighbours tbody tr").allInnerTexts();
    const [old, tokyo, onak, zurich, archive] = rows.map((row) => row.replace(/\s+/g, " "));
    expect(onak).toMatch(
      /onak-home handed over: accepted by the next server 15 min ago, not confirmed by it; \d+ up/,
    );
    expect(old).toContain("451 4.3.0 <pgp-public-keys@pks.example.net>: mailbox is busy");
    expect(old).toMatch(/mail never 15 min ago 14 30 min 99\.\d %/);
    expect(zurich).toMatch(
      /zurich in sync: connected for 1 d; it announced an update .* ago; 1\.8 MB in, .* out KX/,
    );
    expect(tokyo).toContain("behind: 3 updates to fetch");
    expect(archive).toContain("it sends mail to the gateway; nothing is sent to it");
    expect(await page.textContent("#migration")).toContain(
      "Mail only: onak-home and oldpks (2 of 4).",
    );
    expect(await page.textContent("#saved")).toMatch(/about \d+\.\d MB/);
    // The table beside the chart has the figures that the chart draws.
    await page.click("summary");
    expect(await page.locator("#flow .hours tbody tr").count()).toBe(24);
    expect(await page.locator("#days .hours tbody tr").count()).toBe(30);
  });

  it("goes by keyboard alone, and shows where one is", async () => {
    const base = await preparedDoor(preparedSources().sources);
    const { page } = await visit(browser, base);
    await page.keyboard.press("Tab");
    const skip = await page.evaluate("document.activeElement.getBoundingClientRect().left");
    expect(skip).toBeGreaterThan(0);
    const met: string[] = [];
    for (let presses = 0; presses < 15; presses++) {
      await page.keyboard.press("Tab");
      const name = await page.evaluate<string>("document.activeElement.tagName");
      met.push(name);
      const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
      expect(outline, name).toBe("solid");
    }
    // The brand, five neighbours, the tables below the charts, the search, the filter, an update.
    expect(met.join(" ")).toBe(
      "A A A A A A SUMMARY SUMMARY INPUT BUTTON SELECT SELECT INPUT BUTTON A",
    );
  });

  it("reads in a text browser", async () => {
    const base = await preparedDoor(preparedSources().sources);
    const { stdout } = await lynx("lynx", ["-dump", "-nolist", "-width=120", base]);
    expect(stdout).toContain("Bridging. 1 of 4 neighbours in sync");
    expect(stdout).toMatch(/oldpks\s+down: it accepts no mail/);
    expect(stdout).toMatch(/In by KX\s+256/);
    expect(stdout).toMatch(/11-23 14:00(\s+\d+){5}/);
    expect(stdout).toContain("By fingerprint, 16-digit key id, hash or");
    expect(stdout).not.toMatch(/<svg|rect|undefined|\[object/);
  });
});
