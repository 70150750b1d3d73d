/** The sentence at the top of the page, from the states of the neighbours and the last error. */
import { describe, expect, test } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import { EventCounters } from "../../src/status/event-counters.js";
import type { NeighbourView } from "../../src/status/neighbour-view.js";
import { verdictOf } from "../../src/status/verdict.js";

const NOW = 1_800_000_000_000;
const MIN = 60_000;

type View = Pick<NeighbourView, "name" | "state" | "backlog" | "words">;

const view = (name: string, state: NeighbourView["state"], words = "why", backlog = 0): View => ({
  name,
  state,
  words,
  backlog,
});

/** The verdict on these neighbours after these events, each so long ago. */
function verdict(
  views: readonly View[],
  given: {
    readonly mode?: "bridge" | "observe";
    readonly running?: boolean;
    readonly troubleAgo?: number;
    readonly acceptedAgo?: number;
    readonly backAgo?: number;
    readonly kind?: string;
  } = {},
) {
  const {
    mode = "bridge",
    running = true,
    troubleAgo,
    acceptedAgo,
    backAgo,
    kind = "full",
  } = given;
  let at = NOW;
  const clock = { now: () => at, monotonic: () => 0, random: () => 0 };
  const counters: EventCounters = new EventCounters({ next: { report: () => {} }, clock });
  const sink: EventSink = counters;
  if (acceptedAgo !== undefined) {
    at = NOW - acceptedAgo;
    sink.report("accepted", {});
  }
  if (troubleAgo !== undefined) {
    at = NOW - troubleAgo;
    sink.report("log-trouble", { kind, problem: "no space", remedy: "make some" });
  }
  if (backAgo !== undefined) {
    at = NOW - backAgo;
    sink.report("database-back", {});
  }
  const all = views as readonly NeighbourView[];
  return verdictOf({ mode, running, views: all, counters, now: NOW, recon: [] });
}

describe("the verdict", () => {
  test("on a gateway that does not run says so before all else", () => {
    const { state, words } = verdict([view("a", "down")], { running: false });
    expect([state, words]).toEqual(["bad", expect.stringMatching(/^The gateway is not running/)]);
  });

  test("without neighbours names what to add", () => {
    expect(verdict([])).toMatchObject({
      state: "behind",
      words: "Bridging. No neighbours are configured: add a [[peer]].",
    });
  });

  test.each([
    [[view("a", "good")], "Bridging. a is in sync."],
    [[view("a", "good"), view("b", "good")], "Bridging. All 2 are in sync."],
    [[view("a", "good"), view("b", "idle")], "Bridging. a is in sync."],
    [[view("b", "idle")], "Bridging. Nothing is sent to any neighbour."],
    [[view("[local]", "good")], "Bridging. [local] is in sync."],
    [
      [view("a", "good"), view("[local]", "good")],
      "Bridging. a and the local keyserver are in sync.",
    ],
  ])("is good where nobody is behind: %#", (views, words) => {
    expect(verdict(views)).toEqual({ state: "good", words });
  });

  test.each([
    [
      [view("a", "pending", "handed to the relay 3 min ago, not confirmed by it")],
      "0 of 1 neighbour in sync; a: handed to the relay 3 min ago, not confirmed by it.",
    ],
    [
      [view("a", "good"), view("b", "pending", "why"), view("[local]", "pending")],
      "1 of 2 neighbours in sync; b: why. Also not confirmed: [local].",
    ],
  ])("is pending, and not good, where a proof is missing: %#", (views, words) => {
    expect(verdict(views)).toEqual({ state: "pending", words: `Bridging. ${words}` });
  });

  test("the local keyserver is named, and counts as no neighbour", () => {
    const views = [view("a", "good"), view("b", "pending"), view("[local]", "down", "no answer")];
    expect(verdict(views)).toEqual({
      state: "bad",
      words: "Bridging. 1 of 2 neighbours in sync; [local] is down: no answer. Not confirmed: b.",
    });
  });

  test("names the worst with its reason, and the others", () => {
    const views = [
      ...[view("a", "good"), view("b", "behind", "4 wait")],
      ...[view("c", "paused", "by order"), view("d", "down", "refused"), view("e", "idle")],
    ];
    expect(verdict(views)).toEqual({
      state: "bad",
      words: "Bridging. 1 of 4 neighbours in sync; d is down: refused. Also not in sync: b and c.",
    });
  });

  test("is no error while nobody is down", () => {
    expect(verdict([view("b", "behind", "4 wait"), view("c", "paused", "by order")])).toEqual({
      state: "behind",
      words: "Bridging. 0 of 2 neighbours in sync; c is paused: by order. Also not in sync: b.",
    });
  });

  test("says that observe mode sends nothing", () => {
    expect(verdict([view("a", "good")], { mode: "observe" }).words).toBe(
      "Observing: nothing is sent. a is in sync.",
    );
  });
});

describe("an error of the log", () => {
  const good = [view("a", "good")];

  test.each([
    ["a minute ago, and nothing since", { troubleAgo: MIN }, "bad"],
    ["a minute ago, although an update came since", { troubleAgo: MIN, acceptedAgo: 1 }, "bad"],
    ["an hour ago, and nothing since", { troubleAgo: 60 * MIN, acceptedAgo: 70 * MIN }, "bad"],
    ["an hour ago, and an update since", { troubleAgo: 60 * MIN, acceptedAgo: MIN }, "good"],
    ["of a database that is back", { kind: "away", troubleAgo: MIN, backAgo: 1 }, "good"],
    ["of a database that went again", { kind: "away", troubleAgo: 1, backAgo: MIN }, "bad"],
    ["of the disk, although the database is back", { troubleAgo: MIN, backAgo: 1 }, "bad"],
  ])("%s", (_, given, state) => {
    expect(verdict(good, given).state).toBe(state);
  });
});
