/** Expiry by the clock: in batches, and not at all while the clock is a day off. */
import { describe, expect, it, onTestFinished } from "vitest";
import type { EventName } from "../src/diagnostics.js";
import type { Fingerprint, UpdateHash } from "../src/update.js";
import { UpdateLog } from "../src/updatelog/update-log.js";
import { Upkeep } from "../src/upkeep.js";

const HOUR = 3_600_000;
const LIMITS = { retainMs: 96 * HOUR, rememberMs: 720 * HOUR };

/** A log with `count` entries of time 0; its clock shows `now` from the second look on. */
function kept(count: number, now: () => number) {
  const log = UpdateLog.open(":memory:");
  const origin = { neighbour: "old", transport: "mail" } as const;
  log.append(
    Array.from({ length: count }, (_, index) => ({
      update: {
        hash: index.toString(16).padStart(32, "0") as UpdateHash,
        digest: index.toString(16).padStart(64, "0"),
        fingerprint: "AB".repeat(20) as Fingerprint,
        body: new Uint8Array(10),
        selfSigned: undefined,
        packets: [],
      },
      origin,
      trail: [],
      receivedAt: 0,
    })),
  );
  const events: EventName[] = [];
  const clock = { now, monotonic: () => 0, random: () => 0 };
  const upkeep = new Upkeep(log, () => LIMITS, clock, { report: (event) => events.push(event) });
  upkeep.start();
  onTestFinished(() => {
    upkeep.stop();
    log.close();
  });
  return { log, events };
}

describe("upkeep", () => {
  it("expires all that is due, batch after batch, and keeps the newest", async () => {
    const { log, events } = kept(450, () => 97 * HOUR);
    await expect.poll(() => log.counts().bodies).toBe(1);
    expect(log.counts().entries).toBe(450);
    expect(events.filter((event) => event === "expired").length).toBeGreaterThanOrEqual(4);
  });

  it.each([1, -1])(
    "stops, and says so, while the clock is more than a day off (%i)",
    async (way) => {
      let looks = 0;
      const now = () => (looks++ === 0 ? 1000 * HOUR : (1000 + way * 25) * HOUR);
      const { log, events } = kept(10, now);
      await expect.poll(() => events).toEqual(["clock-jumped"]);
      expect(log.counts().bodies).toBe(10);
    },
  );

  it("goes on when the clock is a little off", async () => {
    let looks = 0;
    const { log } = kept(10, () => (looks++ === 0 ? 1000 * HOUR : 1023 * HOUR));
    await expect.poll(() => log.counts().bodies).toBe(1);
  });
});
