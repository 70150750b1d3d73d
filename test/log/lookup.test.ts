/** What people ask of the log: the entries of a key and of a mail. */
import { describe, expect, it } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { arrival, fingerprint, seq, update } from "./material.js";

describe("lookup", () => {
  it("finds the entries of a key and of a mail, the newest first", () => {
    const log = UpdateLog.open(":memory:");
    const mine = { ...update(2), fingerprint: fingerprint(1) };
    log.append([
      arrival(1, { messageId: "<one@mail>" }),
      arrival(2, { update: mine, messageId: "<one@mail>" }),
      arrival(3),
    ]);
    expect(log.lookup.byFingerprint(fingerprint(1), 10)).toEqual([2, 1]);
    expect(log.lookup.byFingerprint(fingerprint(1), 1)).toEqual([2]);
    expect(log.lookup.byFingerprint(fingerprint(9), 10)).toEqual([]);
    expect(log.lookup.byMessageId("<one@mail>", 10)).toEqual([2, 1]);
    expect(log.lookup.byMessageId("<One@mail>", 10)).toEqual([]);
    expect(log.lookup.messageId(seq(1))).toBe("<one@mail>");
    expect(log.lookup.messageId(seq(3))).toBeUndefined();
    expect(log.lookup.messageId(seq(4))).toBeUndefined();
    log.close();
  });
});
