/** IP addresses and networks: one value, one spelling, whatever was written. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IpNetworks, isLoopback, plainHost, plainIp, plainNetwork } from "../src/ip-address.js";

describe("the one spelling of an address", () => {
  it.each([
    ["2001:DB8:0:0::1", "2001:db8::1"],
    ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    ["2001:db8::0:1", "2001:db8::1"],
    ["2001:db8:0:0:1:0:0:0", "2001:db8:0:0:1::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["::", "::"],
    ["::FFFF:192.0.2.1", "192.0.2.1"],
    ["::ffff:c000:201", "192.0.2.1"],
    ["0:0:0:0:0:FFFF:C000:0201", "192.0.2.1"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
    ["192.0.2.1", "192.0.2.1"],
    ["FE80:0::1%eth0", "fe80::1%eth0"],
  ])("%s", (text, plain) => expect(plainIp(text)).toBe(plain));

  it.each([
    "",
    "ks.example",
    "192.0.2",
    "192.0.2.01",
    "1::2::3",
    "[::1]",
    "::g",
    " ::1",
    "1.2.3.4.5",
  ])("%j is none", (text) => expect(plainIp(text)).toBeUndefined());

  it("is found from every spelling, and differs where the value does", () => {
    const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
    const groups = fc.array(group, { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, groups, fc.boolean(), (one, two, isUpper) => {
        const full = one.map((value) => value.toString(16).padStart(4, "0")).join(":");
        const short = one.map((value) => value.toString(16)).join(":");
        const plain = plainIp(short);
        expect(plainIp(isUpper ? full.toUpperCase() : full)).toBe(plain);
        expect(plainIp(plain ?? "")).toBe(plain);
        const other = plainIp(two.map((value) => value.toString(16)).join(":"));
        expect(other === plain).toBe(one.join() === two.join());
      }),
    );
  });

  it("of a host that is a name is the name in lower case", () => {
    expect(plainHost("Ks.Example")).toBe("ks.example");
    expect(plainHost("2001:DB8::0A")).toBe("2001:db8::a");
  });
});

describe("the one spelling of a network", () => {
  it.each([
    ["2001:DB8::/32", "2001:db8::/32"],
    ["::ffff:192.0.2.0/120", "192.0.2.0/24"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["192.0.2.0/24", "192.0.2.0/24"],
    ["::/0", "::/0"],
  ])("%s", (text, plain) => expect(plainNetwork(text)).toBe(plain));

  // An IPv4 prefix behind a mapped address would take in half of the internet.
  it.each([
    "::ffff:192.0.2.0/24",
    "192.0.2.0/33",
    "::1/129",
    "fe80::1%eth0",
    "::1/",
    "::1/x",
    "x/1",
  ])("%j is none", (text) => {
    expect(plainNetwork(text)).toBeUndefined();
    expect(() => new IpNetworks([text])).toThrow("is not an IP address or a range");
  });
});

describe("networks", () => {
  const networks = new IpNetworks(["192.0.2.0/24", "2001:DB8:1::/48", "::FFFF:198.51.100.0/120"]);

  it.each([
    ["192.0.2.7", true],
    ["::ffff:192.0.2.7", true],
    ["::FFFF:C000:207", true],
    ["198.51.100.9", true],
    ["::ffff:198.51.100.9", true],
    ["2001:db8:1:0:0:0:0:9", true],
    ["2001:0DB8:0001::9", true],
    ["2001:db8:2::9", false],
    ["192.0.3.7", false],
    ["", false],
    ["nonsense", false],
  ])("hold %s: %s", (address, isHeld) => expect(networks.has(address)).toBe(isHeld));

  it("of IPv6 do not hold IPv4, of IPv4 not IPv6, and a zone does not matter", () => {
    expect(new IpNetworks(["::/0"]).has("192.0.2.1")).toBe(false);
    expect(new IpNetworks(["::/0"]).has("::ffff:192.0.2.1")).toBe(false);
    expect(new IpNetworks(["0.0.0.0/0"]).has("2001:db8::1")).toBe(false);
    expect(new IpNetworks(["fe80::/10"]).has("fe80::1%eth0")).toBe(true);
  });
});

it.each([
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["::1", true],
  ["0:0:0:0:0:0:0:1", true],
  ["::ffff:127.0.0.1", true],
  ["128.0.0.1", false],
  ["::2", false],
  ["", false],
])("%s is loopback: %s", (address, isIt) => expect(isLoopback(address)).toBe(isIt));
