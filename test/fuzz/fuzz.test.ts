/**
 * The targets of `npm run fuzz` for some seconds: what ever broke a promise, the corpus, mutants of
 * it, and octets and words from fast-check. The outcomes that must have been seen show that the
 * inputs get behind the first check of each parser.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dice } from "../torture/check.js";
import { crashes, seeds } from "./corpus.js";
import { mutate } from "./mutate.js";
import { targets } from "./targets.js";

/** A count and not a time: a loaded machine must see the same outcomes. */
const MUTANTS = 300;

/** Outcomes that some input of each target comes to. */
const SEEN: Readonly<Record<string, readonly RegExp[]>> = {
  armor: [/^block$/, /bad-crc/, /bad-armor/, /secret-key|not-key-material/],
  keys: [/v4/, /bad-packet/, /not-key-material/, /secret-key/],
  mail: [/incremental key/, /bad-crc|bad-armor/, /subject/],
  kx: [/UPDATE/, /malformed/, /unframed/, /LIST/, /DELIVERY/, /OPEN/, /DONE/, /RANGE/, /ITEMS/],
  session: [/asked/, /complaint/, /end/, /announced/, /done/],
  reconcile: [/same/, /found/, /not asked for/, /count of a range/, /add up/, /in order/],
  config: [/^ok$/, /unknown|not/],
  recon: [/list.* done/, /changed/, /fault/, /some keys/, /no answer/],
  address: [/plain/, /odd/, /none/, /listed\+/],
};

describe.each(targets)("$name", (target) => {
  test("holds what it promises for the corpus and its mutants", async () => {
    const random = dice(1);
    const pool = seeds(target.name);
    const outcomes = new Set<string>();
    for (const input of pool) outcomes.add(await target.run(input));
    for (let n = 0; n < MUTANTS; n += 1) {
      const input = pool[Math.floor(random() * pool.length)] ?? new Uint8Array(0);
      outcomes.add(await target.run(mutate(input, pool, random)));
    }
    const all = [...outcomes].join("\n");
    for (const outcome of SEEN[target.name] ?? []) expect(all).toMatch(new RegExp(outcome, "m"));
  });

  test("holds it for any octets and any text", async () => {
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: "binary", maxLength: 300 }).map((text) => Buffer.from(text)),
      fc.array(fc.constantFrom(0x0a, 0x0d, 0x2d, 0x2e, 0x3d, 0x41, 0x80, 0xff)).map(Buffer.from),
    );
    const holds = fc.asyncProperty(octets, async (input) => void (await target.run(input)));
    expect(await fc.check(holds, { numRuns: 200 })).toMatchObject({ failed: false });
  });
});

test("what broke a promise once does so no more", async () => {
  for (const { target, name, input } of crashes()) {
    const found = targets.find((one) => one.name === target);
    expect(found, name).toBeDefined();
    await found?.run(input);
  }
});
