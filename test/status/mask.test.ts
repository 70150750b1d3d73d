/**
 * The page for strangers (`public_status`): no address of a neighbour is in it, in any form, and
 * nothing that the operator wrote about a key.
 */
import { describe, expect, it } from "vitest";
import { masked } from "../../src/status/mask.js";
import type { Fingerprint } from "../../src/update.js";
import { preparedDoor, preparedSources } from "../admin/prepared.js";

describe("a page for strangers", () => {
  it("masks every address, and only there", async () => {
    const { sources, log } = preparedSources(true);
    const base = await preparedDoor(sources);
    const entry = log.range(log.newest() as never, log.newest() as never, 1)[0];
    const paths = ["/", "/status.json", `/update/${entry?.hash}`, `/update/${entry?.hash}.json`];
    for (const path of [...paths, "/metrics"]) {
      const text = await (await fetch(base + path)).text();
      expect(text, path).not.toMatch(/pks\.example|kx\.example|zurich\.example|192\.0\.2/);
    }
    const status = JSON.parse(await (await fetch(`${base}/status.json`)).text());
    expect(status.site).toBe("p***@***.org");
    expect(status.neighbours[1]).toMatchObject({ name: "oldpks", mail: "p***@***.net" });
    expect(status.neighbours[1].lastError.words).toContain("<p***@***.net>: mailbox is busy");
    expect(status.neighbours[2].kx).toBe("***.example:11373");
    expect(status.time).toMatch(/^2026-11-23T14:40/);
  });

  it("leaves out why a key is blocked or forgotten, which may name a person", async () => {
    for (const isPublic of [true, false]) {
      const { sources, log, counters } = preparedSources(isPublic);
      const base = await preparedDoor(sources);
      const [entry] = log.range(log.newest() as never, log.newest() as never, 1);
      const fingerprint = entry?.fingerprint as Fingerprint;
      const words = "asked by Erika Mustermann";
      const order = { reason: words, until: undefined, allowRevocation: false };
      log.removals.setBlock(fingerprint, order, sources.clock.now());
      counters.report("blocked", { fingerprint, words, allowRevocation: false });
      counters.report("unblocked", { fingerprint, words });
      counters.report("forgotten", { fingerprint, words, updates: 1 });
      const paths = ["/", "/?words=mustermann", "/status.json"];
      for (const path of [...paths, `/update/${entry?.hash}`, `/update/${entry?.hash}.json`]) {
        const text = await (await fetch(base + path)).text();
        expect([path, /Erika/.test(text)]).toEqual([path, !isPublic]);
      }
      const page = await (await fetch(`${base}/`)).text();
      expect(page).toContain("key blocked by the operator");
      const journey = await (await fetch(`${base}/update/${entry?.hash}`)).text();
      expect(journey).toContain(isPublic ? "<dd>blocked</dd>" : `<dd>blocked: ${words}</dd>`);
    }
  });

  it("masks a host without a domain in an address", () => {
    expect(masked("<ab.1@mailhost7> bob@h1.example.org")).toBe("<a***@***> b***@***.org");
  });
});
