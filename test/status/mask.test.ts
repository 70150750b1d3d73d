/** The page for strangers (`public_status`): no address of a neighbour is in it, in any form. */
import { describe, expect, it } from "vitest";
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
});
