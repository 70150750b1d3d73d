/** The table of refusals: every code that a sender gets, and what a KX peer's update is called. */
import { describe, expect, it } from "vitest";
import { REFUSALS, type RefusalReason, refusalKind } from "../src/errors.js";

type Row = readonly [reason: RefusalReason, smtp: string, hkp: number, kx: string, repair: string];

const ROWS: readonly Row[] = [
  ["no-key", "550 5.6.0", 422, "update-wrong", "failed"],
  ["bad-armor", "550 5.6.0", 422, "update-wrong", "failed"],
  ["bad-crc", "550 5.6.0", 422, "update-wrong", "failed"],
  ["bad-packet", "550 5.6.0", 422, "update-wrong", "failed"],
  ["secret-key", "550 5.6.0", 422, "update-wrong", "failed"],
  ["not-key-material", "550 5.6.0", 422, "update-wrong", "failed"],
  ["too-large", "552 5.3.4", 413, "update-wrong", "failed"],
  ["bad-mail", "550 5.6.0", 422, "update-wrong", "failed"],
  ["bad-request", "550 5.6.0", 400, "update-wrong", "failed"],
  ["unknown-sender", "550 5.7.1", 403, "update-wrong", "failed"],
  ["unknown-recipient", "550 5.7.1", 422, "update-wrong", "failed"],
  ["several-keys", "550 5.6.0", 422, "update-wrong", "failed"],
  ["too-fast", "450 4.7.1", 429, "update-wrong", "failed"],
  ["hash-mismatch", "550 5.6.0", 422, "update-wrong", "failed"],
  ["wrong-key", "550 5.6.0", 422, "update-wrong", "failed"],
  ["policy-size", "552 5.3.4", 422, "update-refused", "absent"],
  ["policy-packets", "552 5.3.4", 422, "update-refused", "absent"],
  ["policy-attribute", "550 5.7.1", 422, "update-refused", "refused"],
  ["policy-carry", "550 5.7.1", 422, "update-refused", "refused"],
  ["policy-new-key", "550 5.7.1", 422, "update-refused", "refused"],
  ["blocked", "550 5.7.1", 422, "update-refused", "refused"],
];

describe("the table of refusals", () => {
  it("has these rows and no others", () => {
    expect(Object.keys(REFUSALS)).toEqual(ROWS.map(([reason]) => reason));
  });

  it.each(ROWS)("%s: SMTP %s, HKP %i, %s, a repair has %s", (reason, smtp, hkp, kx, repair) => {
    const kind = refusalKind(reason);
    expect([kind.smtp.join(" "), kind.hkp, kind.kx, kind.repair]).toEqual([smtp, hkp, kx, repair]);
  });

  it("calls these keys ignored to a keyserver over HKP", () => {
    const declined = ROWS.map(([reason]) => reason).filter((one) => refusalKind(one).isDeclined);
    expect(declined).toEqual([
      ...["bad-packet", "too-large", "policy-size", "policy-packets", "policy-attribute"],
      ...["policy-carry", "policy-new-key", "blocked"],
    ]);
  });
});
