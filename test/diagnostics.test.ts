/**
 * The table of events: reports that the compiler refuses, and how rows count. The lines marked
 * as errors are checked by `tsc`, which also fails when one of them is no error any more.
 */
import { describe, expect, it } from "vitest";
import {
  type Diagnostics,
  EVENTS,
  type EventName,
  eventsWith,
  kindOf,
} from "../src/diagnostics.js";
import { reportFaults } from "./support/reported.js";

const heard: EventName[] = [];
const diagnostics: Diagnostics = { report: (event) => void heard.push(event) };
const UPDATE = { seq: 1, hash: "00", fingerprint: "AA" };

describe("a report", () => {
  it("has the fields that the table gives to its event, and no others", () => {
    diagnostics.report("served", { ...UPDATE, neighbour: "old", bytes: 1 });
    diagnostics.report("reply-swallowed", { neighbour: undefined });
    diagnostics.report("stopped", {});
    // @ts-expect-error there is no such event
    diagnostics.report("serves", {});
    // @ts-expect-error the neighbour is missing
    diagnostics.report("served", { ...UPDATE, bytes: 1 });
    // @ts-expect-error bytes are a number
    diagnostics.report("served", { ...UPDATE, neighbour: "old", bytes: "1" });
    // @ts-expect-error there is no field "size"
    diagnostics.report("served", { ...UPDATE, neighbour: "old", bytes: 1, size: 1 });
    // @ts-expect-error this reason is in no table of refusals
    diagnostics.report("too-fast", { reason: "too-slow", waitMs: 1 });
    // @ts-expect-error no field is known
    diagnostics.report("stopped", { signal: "SIGTERM" });
    const either = UPDATE.seq > 0 ? "paused" : "undelivered";
    // @ts-expect-error what may be one of two events has the fields of both
    diagnostics.report(either, { neighbour: "old" });
    expect(heard).toHaveLength(10);
  });

  it("is checked again where tests record it, for what a spread hides", () => {
    const served = { ...UPDATE, neighbour: "old", bytes: 1 };
    expect(reportFaults("served", served)).toEqual([]);
    expect(reportFaults("served", { ...served, via: undefined })).toEqual([]);
    expect(reportFaults("served", { ...served, via: "kx" })).toEqual([
      "served: the table has no field via",
    ]);
    expect(reportFaults("served", { ...served, bytes: "1", seq: undefined })).toEqual([
      "served: lacks seq",
      "served: bytes is no number",
    ]);
  });
});

describe("the table of events", () => {
  it("names an outcome for each update that goes one way or the other", () => {
    for (const event of Object.keys(EVENTS) as EventName[]) {
      const { direction, outcome, transport } = kindOf(event);
      if (transport !== undefined) expect([event, direction]).not.toEqual([event, undefined]);
      if (transport !== undefined) expect([event, outcome]).not.toEqual([event, undefined]);
    }
  });

  it("finds events by their traits", () => {
    expect(eventsWith({ direction: "out", outcome: "delivered" })).toEqual(["sent", "served"]);
    expect(eventsWith({ isTrouble: true, level: "error" })).toEqual([
      "log-trouble",
      "log-damaged",
      "log-replaced",
      "clock-jumped",
      "mail-deferred",
    ]);
    expect(eventsWith({ direction: "in", outcome: "delivered" })).toEqual([]);
  });

  it("gives a reason to whatever counts as a refusal", () => {
    for (const event of eventsWith({ isRefusal: true })) {
      expect(Object.keys(kindOf(event).fields)).toContain("reason");
    }
  });
});
