/** Who is on the line, by address, and who wrote a mail where several share one. */
import { describe, expect, test } from "vitest";
import type { Neighbour } from "../../src/config/config.js";
import { KnownSenders, senderOf } from "../../src/intake/senders.js";

function neighbour(name: string, acceptFrom: readonly string[], mail?: string): Neighbour {
  const rest = { via: "mail", maxMailBytes: 128_000, kx: undefined, dial: false } as const;
  return { name, mail, acceptFrom, ...rest } as Neighbour;
}

const one = neighbour("one", ["192.0.2.0/24"], "pgp@one.example");
const two = neighbour("two", ["192.0.2.7", "2001:db8::/32"], "PGP@two.example");
const none = neighbour("none", []);

describe("by address", () => {
  const senders = new KnownSenders([one, two, none]);

  test.each([
    ["192.0.2.1", ["one"]],
    ["192.0.2.7", ["one", "two"]],
    ["::ffff:192.0.2.7", ["one", "two"]],
    ["2001:db8:1::9", ["two"]],
    ["192.0.3.1", []],
    ["2001:db9::1", []],
    ["::1", []],
    ["", []],
  ])("%s", (address, names) => {
    expect(senders.at(address).map(({ name }) => name)).toEqual(names);
  });
});

describe("by what the mail says, where several share an address", () => {
  const both = [one, two];

  test.each([
    ["the last of the trail", ["x@y.example", "pgp@two.example"], ["pgp@one.example"], "two"],
    ["the envelope, where the trail names another", ["a@b.example"], ["pgp@ONE.example"], "one"],
    ["From, where nothing else does", [], [undefined, "pgp@two.example"], "two"],
    ["nobody", [], ["x@y.example"], undefined],
    ["not an earlier hop", ["pgp@one.example", "x@y.example"], [], undefined],
  ])("%s", (_, trail, addresses, name) => {
    expect(senderOf(both, { trail, addresses })?.name).toBe(name);
  });

  test("the only one, whatever the mail says", () => {
    expect(senderOf([one], { trail: [], addresses: ["pgp@two.example"] })).toBe(one);
    expect(senderOf([], { trail: [], addresses: ["pgp@two.example"] })).toBeUndefined();
  });
});
