/** What an answered LIST proves, and when one is asked for. */
import { expect, test } from "vitest";
import { PROOF_LIMITS, ReadProof } from "../../src/peering/read-proof.js";
import type { Seq } from "../../src/update.js";

const seq = (n: number) => n as Seq;

test("nothing is proven by a LIST that was sent before, whatever it was for", () => {
  const proof = new ReadProof();
  proof.asked(0);
  proof.served(seq(7));
  expect(proof.answered()).toEqual([]);
  proof.asked(1000);
  proof.served(seq(8));
  expect(proof.answered()).toEqual([seq(7)]);
  proof.asked(2000);
  expect(proof.answered()).toEqual([seq(8)]);
  expect(proof.answered()).toEqual([]);
});

test("one LIST is asked for at a time, and no more than the pace allows", () => {
  const proof = new ReadProof();
  expect(proof.nextAt()).toBe(Infinity);
  proof.served(seq(1));
  expect(proof.nextAt()).toBe(-Infinity);
  proof.asked(100);
  expect(proof.nextAt()).toBe(Infinity);
  proof.served(seq(2));
  expect(proof.nextAt()).toBe(Infinity);
  expect(proof.answered()).toEqual([seq(1)]);
  expect(proof.nextAt()).toBe(100 + PROOF_LIMITS.askEveryMs);
  proof.asked(400);
  expect(proof.answered()).toEqual([seq(2)]);
  expect(proof.nextAt()).toBe(Infinity);
});

test("a peer that answers no LIST costs a bounded memory", () => {
  const proof = new ReadProof();
  proof.asked(0);
  for (let n = 1; n <= 5 * PROOF_LIMITS.unproven; n++) proof.served(seq(n));
  proof.answered();
  proof.asked(1);
  const proven = proof.answered();
  expect(proven.length).toBeLessThanOrEqual(2 * PROOF_LIMITS.unproven);
  expect(proven.at(-1)).toBe(5 * PROOF_LIMITS.unproven);
});
