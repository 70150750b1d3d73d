/** When a peer's log is another one: which doubt needs which answer. */
import { expect, test } from "vitest";
import { LogIdentity } from "../../src/kx/log-identity.js";
import type { UpdateHash } from "../../src/update.js";
import { HASH } from "./talk.js";

const OTHER = "00000000000000000000000000000000" as UpdateHash;

test("a log is known until something contradicts it, then asked, then known again", () => {
  const identity = new LogIdentity();
  const state = () => [identity.isKnown, identity.isContradicted, identity.isAsked];
  expect(state()).toEqual([true, false, false]);
  identity.contradict();
  expect(state()).toEqual([false, true, false]);
  identity.ask(false);
  expect(state()).toEqual([false, false, true]);
  expect(identity.judge(HASH, HASH)).toBe(true);
  expect(state()).toEqual([true, false, false]);
});

test.each([
  ["the same hash is the same log", false, HASH, true],
  ["another hash is another log", false, OTHER, false],
  ["a number that is not listed says nothing", false, undefined, true],
  ["a number that is not listed is another log where proof is needed", true, undefined, false],
] as const)("%s", (_, needsProof, shown, isSame) => {
  const identity = new LogIdentity();
  identity.ask(needsProof);
  expect(identity.judge(HASH, shown)).toBe(isSame);
});

test("after a contradiction proof is needed, and no longer after the next answer", () => {
  const identity = new LogIdentity();
  identity.contradict();
  identity.ask(false);
  expect(identity.judge(HASH, undefined)).toBe(false);
  identity.ask(false);
  expect(identity.judge(HASH, undefined)).toBe(true);
});

test("what contradicts a log that is asked for already does not end the question", () => {
  const identity = new LogIdentity();
  identity.ask(false);
  identity.contradict();
  expect(identity.isAsked).toBe(true);
  expect(identity.judge(HASH, undefined)).toBe(false);
});
