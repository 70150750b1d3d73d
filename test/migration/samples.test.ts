/** Addresses that come with keyserver software, and those that do not. */
import { expect, it } from "vitest";
import { isSample } from "../../src/migration/samples.js";

it.each([
  ["pgp-public-keys@the.earth.li", true],
  ["pgp-keyserver-admin@THE.earth.li", true],
  ["pgp-public-keys@this.server.example.net", true],
  ["pgp-public-keys@example.tld", true],
  ["pgp-public-keys@keyserver.foo.bar", true],
  ["pgp-public-keys@your-site", true],
  ["pgp-public-keys@localhost", true],
  ["admin@keys.example.com", true],
  ["pgp-public-keys@earth.li", false],
  ["pgp-public-keys@keys.the.earth.li.example.org", false],
  ["pgp-public-keys@server.example.net", false],
  ["pgp-public-keys@notexample.com", false],
])("%s is a sample: %s", (address, isOne) => {
  expect(isSample(address)).toBe(isOne);
});
