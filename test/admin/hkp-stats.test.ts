/** op=stats in Hockeypuck's shape, over the HKP listener, without an address in it. */
import { describe, expect, it } from "vitest";
import { hkpStats } from "../../src/admin/hkp-stats.js";
import { FEEDER, HEAD, startGateway } from "./gateway.js";
import { preparedSources } from "./prepared.js";

describe("/pks/lookup?op=stats", () => {
  it("has what Hockeypuck's has, masked", () => {
    const stats = hkpStats(preparedSources().sources);
    expect(stats).toMatchObject({
      now: "2026-11-23T14:40:00Z",
      software: "kx-gateway",
      hostname: "kx.example.org",
      contact: "p***@***.org",
      Total: 444,
      pksTargets: [
        { addr: "p***@***.com", lastError: "" },
        { addr: "p***@***.net", lastError: expect.stringContaining("mailbox is busy") },
      ],
      peers: [
        { Name: "zurich", ReconStatus: "OK", masked: true },
        { Name: "tokyo", ReconStatus: "Starting", LastOutgoingRecon: "0001-01-01T00:00:00Z" },
      ],
    });
    expect(stats.Hourly).toHaveLength(24);
    expect(stats.Hourly.at(-1)?.Time).toBe("2026-11-23T14:00:00Z");
    const inserted = stats.Hourly.reduce((sum, { Inserted }) => sum + Inserted, 0);
    expect(inserted).toBe(428);
    expect(JSON.stringify(stats)).not.toMatch(/example\.(com|net)|192\.0\.2/);
  });

  it("is answered on the HKP listener, and nothing else is looked up there", async () => {
    const running = await startGateway(`${HEAD}[hkp]\nlisten = ["127.0.0.1:0"]\n${FEEDER}`);
    const { port } = running.gateway.listening.hkp[0] ?? { port: 0 };
    const answer = await fetch(`http://127.0.0.1:${port}/pks/lookup?op=stats&options=mr`);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toMatchObject({ software: "kx-gateway", Total: 0 });
    const other = await fetch(`http://127.0.0.1:${port}/pks/lookup?op=get&search=0x12`);
    expect(other.status).toBe(404);
  });
});
