/** Errors of the library are trouble with a remedy; a mistake in our code is none. */
import { expect, it } from "vitest";
import { troubleOf } from "../../src/cluster/database-trouble.js";

it.each([
  ["ECONNREFUSED", "away"],
  ["57P01", "away"],
  ["28P01", "unusable"],
  ["53100", "disk-full"],
  ["99999", "unusable"],
  ["SELF_SIGNED_CERT_IN_CHAIN", "unusable"],
])("the code %s is %s", (code, kind) => {
  const error = Object.assign(new Error("what"), { code });
  expect(troubleOf(error, "db:5432/kxgw")).toMatchObject({
    kind,
    message: "the shared database db:5432/kxgw: what",
  });
});

it("an error without a code is a connection that ended", () => {
  const error = new Error("Connection terminated unexpectedly");
  expect(troubleOf(error)).toMatchObject({
    kind: "away",
    message: "the shared database: Connection terminated unexpectedly",
  });
});

it("a mistake in our code stays what it is", () => {
  for (const mistake of [new TypeError("x is undefined"), new RangeError("out"), "text"]) {
    expect(troubleOf(mistake, "db")).toBe(mistake);
  }
});
