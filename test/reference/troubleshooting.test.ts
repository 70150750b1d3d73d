/**
 * docs/troubleshooting.md: every symptom has a command and a remedy, every event that it names is
 * one, and every event that calls for action (level error) is in it.
 */
import { expect, it } from "vitest";
import { EVENTS, type EventName, kindOf } from "../../src/diagnostics.js";
import { page } from "../support/page.js";

const PAGE = page("troubleshooting.md");
const NAMES = Object.keys(EVENTS) as EventName[];

it("has at least twenty symptoms, each with a command and a remedy", () => {
  const rows = [...PAGE.matchAll(/^\| (?!symptom|---)(.*) \|$/gm)].map(([, row = ""]) => row);
  expect(rows.length).toBeGreaterThanOrEqual(20);
  for (const row of rows) {
    const [symptom = "", command = "", remedy = "", ...more] = row.split(" | ");
    expect(more, row).toEqual([]);
    expect([symptom.length > 5, command.length > 5, remedy.length > 15], row).toEqual([
      ...[true, true, true],
    ]);
  }
});

it("names events that are there, and all that call for action", () => {
  const words = [...PAGE.matchAll(/`([a-z]+(?:-[a-z]+)*)`/g)].map(([, word = ""]) => word);
  // Of one word are keys of the configuration, too; "unknown-sender" is a reason of a refusal.
  const named = words.filter((word) => word.includes("-") && word !== "unknown-sender");
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((word) => !NAMES.includes(word as EventName))).toEqual([]);
  const errors = NAMES.filter((name) => kindOf(name).level === "error");
  expect(errors.length).toBeGreaterThan(12);
  expect(errors.filter((name) => !words.includes(name))).toEqual([]);
});
