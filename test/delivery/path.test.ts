/** Which road is taken when: the numbered rules of the path, with time in the hand of the test. */
import { describe, expect, test } from "vitest";
import { Path, SETTLED_MS } from "../../src/delivery/path.js";

const MINUTE = 60_000;
const FALLBACK = 10 * MINUTE;
const START = 5000;

const path = (via: "mail" | "kx" | "both" | "auto", fallbackMs = FALLBACK) =>
  new Path({ via, fallbackMs }, START);

describe("rule 1: one road, or both, and no change", () => {
  test.each([
    ["mail", true, "mail"],
    ["kx", false, "kx"],
  ] as const)("%s", (via, isOpen, road) => {
    const one = path(via);
    for (const [now, step] of [0, 1, MINUTE, 100 * FALLBACK].entries()) {
      if (now === 1) one.connected(START + step);
      if (now === 2) one.disconnected(START + step);
      expect(one.isOpen(START + step)).toBe(isOpen);
      expect(one.road(START + step)).toBe(road);
      expect(one.nextAt(START + step)).toBeUndefined();
    }
  });

  test("both is open whatever KX does; it is called mail once KX has been down for a while", () => {
    const one = path("both");
    expect(one.road(START)).toBe("both");
    expect(one.nextAt(START)).toBe(START + SETTLED_MS);
    expect(one.road(START + SETTLED_MS)).toBe("mail");
    one.connected(START + 2 * MINUTE);
    expect(one.road(START + 2 * MINUTE)).toBe("mail");
    expect(one.road(START + 3 * MINUTE)).toBe("both");
    one.disconnected(START + 4 * MINUTE);
    expect(one.road(START + 5 * MINUTE - 1)).toBe("both");
    expect(one.road(START + 5 * MINUTE)).toBe("mail");
    expect(one.isOpen(START + 5 * MINUTE)).toBe(true);
  });
});

describe("auto", () => {
  test("rules 2 and 3: shut while KX is there, open when it was down for fallbackMs", () => {
    const one = path("auto");
    one.connected(START + 1000);
    expect(one.isOpen(START + 100 * FALLBACK)).toBe(false);
    const cut = START + 100 * FALLBACK;
    one.disconnected(cut);
    expect([one.isOpen(cut), one.road(cut), one.nextAt(cut)]).toEqual([
      false,
      "kx",
      cut + FALLBACK,
    ]);
    expect(one.isOpen(cut + FALLBACK - 1)).toBe(false);
    const open = cut + FALLBACK;
    expect([one.isOpen(open), one.road(open), one.nextAt(open)]).toEqual([true, "mail", undefined]);
  });

  test("rule 3: a start is the end of a session", () => {
    const one = path("auto");
    expect(one.isOpen(START)).toBe(false);
    expect(one.nextAt(START)).toBe(START + FALLBACK);
    expect(one.isOpen(START + FALLBACK)).toBe(true);
  });

  test("rule 2: shut at once when KX comes back; rule 5: told when it has settled", () => {
    const one = path("auto");
    const back = START + 2 * FALLBACK;
    one.connected(back);
    expect([one.isOpen(back), one.road(back), one.nextAt(back)]).toEqual([
      false,
      "mail",
      back + SETTLED_MS,
    ]);
    const settled = back + SETTLED_MS;
    expect([one.isOpen(settled), one.road(settled), one.nextAt(settled)]).toEqual([
      false,
      "kx",
      undefined,
    ]);
  });

  test("rule 4: short sessions do not begin the wait anew, and mail goes in between", () => {
    const one = path("auto");
    let now = START;
    let open = 0;
    for (let round = 0; round < 60; round++) {
      one.connected(now);
      now += 30_000;
      expect(one.isOpen(now)).toBe(false);
      one.disconnected(now);
      if (one.isOpen(now)) open += 1;
      now += 1000;
    }
    // From the tenth minute on, of thirty-one.
    expect(open).toBe(60 - Math.ceil(FALLBACK / 31_000) + 1);
    expect(one.road(now)).toBe("mail");
    one.connected(now);
    one.disconnected(now + SETTLED_MS);
    expect([one.isOpen(now + SETTLED_MS), one.road(now + SETTLED_MS)]).toEqual([false, "kx"]);
    expect(one.isOpen(now + SETTLED_MS + FALLBACK)).toBe(true);
  });

  test("rule 6: a short patience is the patience for all", () => {
    const one = path("auto", 1000);
    one.connected(START);
    expect(one.road(START + 999)).toBe("kx");
    one.disconnected(START + 1000);
    expect(one.isOpen(START + 1999)).toBe(false);
    expect(one.isOpen(START + 2000)).toBe(true);
    one.connected(START + 3000);
    expect(one.road(START + 3999)).toBe("mail");
    expect(one.road(START + 4000)).toBe("kx");
  });

  test("no patience at all: mail whenever there is no KX", () => {
    const one = path("auto", 0);
    expect(one.isOpen(START)).toBe(true);
    one.connected(START + 1);
    expect(one.isOpen(START + 1)).toBe(false);
    one.disconnected(START + 2);
    expect(one.isOpen(START + 2)).toBe(true);
  });

  test("a second word about the same session changes nothing", () => {
    const one = path("auto");
    one.connected(START);
    one.connected(START + MINUTE);
    one.disconnected(START + MINUTE);
    one.disconnected(START + FALLBACK);
    expect(one.isOpen(START + MINUTE + FALLBACK)).toBe(true);
  });
});
