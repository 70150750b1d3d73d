/** Near words are found, far ones are not guessed at. */
import { expect, it } from "vitest";
import { didYouMean, editDistance, suggest } from "../../src/config/suggest.js";

it.each([
  ["", "", 0],
  ["", "abc", 3],
  ["kitten", "sitting", 3],
  ["moed", "mode", 1],
  ["ca", "abc", 3],
  ["same", "same", 0],
])("%j is %j in %d slips", (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

const WORDS = ["listen", "source", "reconnect", "mail", "max_mail", "via", "kx"];

it.each([
  ["lisen", "listen"],
  ["LISTEN", "listen"],
  ["max_mial", "max_mail"],
  ["maxmail", "max_mail"],
  ["reconect", "reconnect"],
  ["vai", "via"],
  ["kz", "kx"],
  ["", undefined],
  ["hostname", undefined],
  ["x".repeat(41), undefined],
])("%j means %j", (word, meant) => {
  expect(suggest(word, WORDS)).toBe(meant);
});

it("ends a message", () => {
  expect(didYouMean("lisen", WORDS)).toBe("; did you mean listen?");
  expect(didYouMean("hostname", WORDS)).toBe("");
});
