/**
 * The oldest key of a map: that of a new iterator, whatever is added and deleted, also when the map
 * was empty and when a deleted key is added again; and its time in a long queue.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AgedMap } from "../src/aged-map.js";

describe("the oldest key", () => {
  it("is that of a new iterator after any additions and deletions", () => {
    const step = fc.oneof(
      fc.constantFrom("take" as const, "clear" as const),
      fc.record({ added: fc.nat(30) }),
      fc.record({ deleted: fc.nat(30) }),
      fc.constant("look" as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const all = new AgedMap<number>();
        for (const one of steps) {
          if (one === "take") all.delete(all.oldest ?? -1);
          else if (one === "clear") all.clear();
          else if (one === "look") expect(all.oldest).toBe([...all.keys()][0]);
          else if ("added" in one) all.set(one.added, true);
          else all.delete(one.deleted);
        }
        expect(all.oldest).toBe([...all.keys()][0]);
      }),
      { numRuns: 500 },
    );
  });

  it("does not take longer in a long queue", () => {
    const spent = (length: number) => {
      const queue = new AgedMap<string>();
      let last = 0;
      while (queue.size < length) queue.set(`hash ${last++}`, true);
      const began = process.cpuUsage();
      for (let n = 0; n < 20_000; n++) {
        queue.set(`hash ${last++}`, true);
        queue.delete(queue.oldest ?? "");
      }
      return process.cpuUsage(began).user;
    };
    spent(100);
    // With a new iterator for each key it is a hundred times as long.
    expect(spent(20_000)).toBeLessThan(20 * spent(100));
  });
});
