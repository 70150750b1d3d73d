/** The road of an auto neighbour: when it changes, and that a flapping session does not move it. */
import { describe, expect, it } from "vitest";
import { Path, SETTLE_MS } from "../src/path.js";

const FALLBACK = 600_000;

describe("the path of an auto neighbour", () => {
  it("gives KX its chance before the first mail", () => {
    const path = new Path(FALLBACK, 0);
    expect(path.nextAt()).toBe(FALLBACK);
    expect(path.observe(false, FALLBACK - 1)).toBe(false);
    expect(path.road).toBe("kx");
    expect(path.observe(false, FALLBACK)).toBe(true);
    expect(path.road).toBe("mail");
  });

  it("goes back after a minute of session, not before", () => {
    const path = new Path(FALLBACK, 0);
    path.observe(false, FALLBACK);
    expect(path.observe(true, FALLBACK + 10)).toBe(false);
    expect(path.nextAt()).toBe(FALLBACK + 10 + SETTLE_MS);
    expect(path.observe(true, FALLBACK + 9 + SETTLE_MS)).toBe(false);
    expect(path.observe(true, FALLBACK + 10 + SETTLE_MS)).toBe(true);
    expect(path.road).toBe("kx");
    expect(path.nextAt()).toBeUndefined();
  });

  it("stays on mail while the session flaps, and on KX while it drops for moments", () => {
    const path = new Path(FALLBACK, 0);
    path.observe(true, 1);
    for (let now = 1; now < 10 * FALLBACK; now += FALLBACK - 1) {
      expect(path.observe(false, now)).toBe(false);
      expect(path.observe(true, now + FALLBACK - 2)).toBe(false);
    }
    expect(path.road).toBe("kx");
    let now = 20 * FALLBACK;
    path.observe(false, now);
    expect(path.observe(false, now + FALLBACK)).toBe(true);
    for (let round = 0; round < 20; round++) {
      now += FALLBACK;
      expect(path.observe(true, now)).toBe(false);
      expect(path.observe(true, now + SETTLE_MS - 1)).toBe(false);
      expect(path.observe(false, now + SETTLE_MS)).toBe(false);
    }
    expect(path.road).toBe("mail");
  });
});
