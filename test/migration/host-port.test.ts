/** Hosts with ports in the spellings of the other keyservers' files. */
import { expect, test } from "vitest";
import { hostPort } from "../../src/migration/host-port.js";

test.each([
  ["keys.example.org 11370", "keys.example.org", 11370],
  ["  keys.example.org\t11371 ", "keys.example.org", 11371],
  ["keys.example.org", "keys.example.org", 25],
  ["keys.example.org:11", "keys.example.org", 11],
  ["192.0.2.1 80", "192.0.2.1", 80],
  ["2001:db8::1 80", "2001:db8::1", 80],
  ["[2001:db8::1] 80", "2001:db8::1", 80],
  ["[2001:db8::1]:81", "2001:db8::1", 81],
  ["2001:db8::1", "2001:db8::1", 25],
])("%j", (text, host, port) => {
  expect(hostPort(text, 25)).toMatchObject({ host, port });
});

test.each([
  "",
  "a b c",
  "keys.example.org 0",
  "keys.example.org:0",
  "keys.example.org 65536",
  "a x",
])("%j has no endpoint", (text) => {
  expect(hostPort(text, 25)).toBeUndefined();
});
