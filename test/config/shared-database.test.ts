/** The address of the shared database: what is read of it, and what is wrong with it. */
import { expect, it } from "vitest";
import { formatShared, parseShared } from "../../src/config/shared-database.js";

const REMOTE = { ca: undefined };

it.each([
  ["postgres://kx@db/site", { hosts: [{ host: "db", port: 5432 }], tls: REMOTE }],
  ["postgresql://kx@192.0.2.1:1/site", { hosts: [{ host: "192.0.2.1", port: 1 }], tls: REMOTE }],
  ["postgres://kx@127.0.0.1/site", { hosts: [{ host: "127.0.0.1", port: 5432 }], tls: undefined }],
  ["postgres://kx@[::1]:6/site", { hosts: [{ host: "::1", port: 6 }], tls: undefined }],
  ["postgres://kx@db/site?sslmode=disable", { tls: undefined }],
  ["postgres://kx@localhost/site?sslmode=verify-full", { tls: REMOTE }],
  ["postgres://kx@localhost/site?sslrootcert=ca.pem", { tls: { ca: "ca.pem" } }],
  [
    "postgres://kx@a,b:5433/site",
    {
      hosts: [
        { host: "a", port: 5432 },
        { host: "b", port: 5433 },
      ],
    },
  ],
  [
    "postgres://kx@/site?host=/run/postgresql",
    { hosts: [{ host: "/run/postgresql", port: 5432 }], tls: undefined },
  ],
  [
    "postgres://k%40x:p%3Aq%2Fr:s@db/my%20site",
    { user: "k@x", password: "p:q/r:s", database: "my site" },
  ],
])("reads %s", (text, value) => {
  expect(parseShared(text)).toMatchObject({ value });
});

it.each([
  ["http://kx@db/site", "is not a postgres:// URL"],
  ["postgres://kx@db", "is not a postgres:// URL"],
  ["postgres://kx@db/site#x", "is not a postgres:// URL"],
  ["postgres://kx@db/a/b", "is not a postgres:// URL"],
  ["postgres://db/site", "has no user"],
  ["postgres://kx@db/", "has no database"],
  ["postgres://kx@/site", "has no host"],
  ["postgres://kx@a,,b/site", "has no host"],
  ["postgres://kx@a:/site", "has a colon without a port: write HOST:PORT or HOST"],
  ["postgres://kx@db:0/site", "port that is not between"],
  ["postgres://kx@db:66000/site", "port that is not between"],
  ["postgres://kx@db/site?sslmode=require", "does not verify the server"],
  ["postgres://kx@db/site?sslmode=disable&sslrootcert=a", "does not use"],
  ["postgres://kx@db/site?user=y", "unknown parameter"],
  [`postgres://kx@${Array(9).fill("a").join(",")}/site`, "more than 8 hosts"],
  ["postgres://kx@db/si te", "space or control character"],
])("refuses %s", (text, words) => {
  expect(parseShared(text)).toEqual({ fault: expect.stringContaining(words) });
});

it("shows neither user nor password", () => {
  const reading = parseShared("postgres://kx:geheim@a:1,b/site");
  if ("fault" in reading) throw new Error(reading.fault);
  expect(formatShared(reading.value)).toBe("a:1,b:5432/site");
  expect(parseShared("postgres://kx:geheim@a:x/site")).not.toEqual(
    expect.objectContaining({ fault: expect.stringContaining("geheim") }),
  );
});
