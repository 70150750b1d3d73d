/** Tables for the notations of the configuration, and their formatters as inverses. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  parseIpAddress,
  parseMailAddress,
  parseNetwork,
  parseRelay,
  redactedRelay,
} from "../../src/config/addresses.js";
import { quoted } from "../../src/config/quote.js";
import {
  formatDuration,
  formatEndpoint,
  formatRate,
  formatSize,
  parseByteRate,
  parseDuration,
  parseEndpoint,
  parseHours,
  parseRate,
  parseSchedule,
  parseSize,
} from "../../src/config/units.js";

const fault = expect.objectContaining({ fault: expect.any(String) });

describe("durations", () => {
  it.each([
    ["500ms", 500],
    ["1s", 1000],
    ["10m", 600_000],
    ["72h", 259_200_000],
    ["30d", 2_592_000_000],
    ["0s", 0],
    ["3650d", 315_360_000_000],
  ])("reads %s", (text, value) => {
    expect(parseDuration(text)).toEqual({ value });
  });

  it.each(["", "72", "h", "72 h", "1h30m", "-1h", "1.5h", "1H", "1y", " 1h", "3651d", "1e3s"])(
    "refuses %j",
    (text) => expect(parseDuration(text)).toEqual(fault),
  );

  it.each([
    [0, "0ms"],
    [1500, "1500ms"],
    [60_000, "1m"],
    [345_600_000, "4d"],
    [90_000, "90s"],
  ])("formats %d", (ms, text) => expect(formatDuration(ms)).toBe(text));

  it("reads back what it formats", () => {
    fc.assert(
      fc.property(fc.nat(315_360_000_000), (ms) => {
        expect(parseDuration(formatDuration(ms))).toEqual({ value: ms });
      }),
    );
  });
});

describe("schedules", () => {
  it.each([
    ["1m", [60_000]],
    ["1s, 5s, 30s, 5m*3, 1h", [1000, 5000, 30_000, 300_000, 300_000, 300_000, 3_600_000]],
    ["1ms*2,2ms", [1, 1, 2]],
    [" 1s * 2 , 3s", [1000, 1000, 3000]],
    ["24d", [2_073_600_000]],
  ])("reads %j", (text, value) => {
    expect(parseSchedule(text)).toEqual({ value });
  });

  it.each(["", ",", "1m,", "1m 5m", "1m*", "*3", "1m*0", "1m*-1", "0s", "25d", "1m**2", "1m*1.5"])(
    "refuses %j",
    (text) => expect(parseSchedule(text)).toEqual(fault),
  );

  it("has a bound", () => {
    expect(parseSchedule("1m*1000")).toEqual({ value: Array(1000).fill(60_000) });
    expect(parseSchedule("1m*999, 1m*2")).toEqual(fault);
    expect(parseSchedule("1m*99999999999999999999")).toEqual(fault);
  });

  it("reads every list of delays", () => {
    const delay = fc.integer({ min: 1, max: 2_073_600_000 });
    fc.assert(
      fc.property(fc.array(delay, { minLength: 1, maxLength: 50 }), (delays) => {
        const text = delays.map((ms) => `${ms}ms`).join(", ");
        expect(parseSchedule(text)).toEqual({ value: delays });
      }),
    );
  });
});

describe("sizes", () => {
  it.each([
    ["2MiB", 2_097_152],
    ["128kB", 128_000],
    ["1GiB", 1_073_741_824],
    ["128000", 128_000],
    ["16KiB", 16_384],
    ["3MB", 3_000_000],
    ["1 GB", 1_000_000_000],
    ["7B", 7],
  ])("reads %s", (text, value) => expect(parseSize(text)).toEqual({ value }));

  it.each(["", "0", "0MiB", "2mib", "2M", "-1", "1.5MiB", "MiB", "99999999999GiB", "1  kB"])(
    "refuses %j",
    (text) => expect(parseSize(text)).toEqual(fault),
  );

  it("reads back what it formats", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1 }), (bytes) => {
        expect(parseSize(formatSize(bytes))).toEqual({ value: bytes });
      }),
    );
    expect([2_097_152, 100_000, 131_072, 77].map(formatSize)).toEqual([
      "2MiB",
      "100kB",
      "128KiB",
      "77",
    ]);
  });
});

describe("endpoints", () => {
  it.each([
    ["127.0.0.1:2525", "127.0.0.1", 2525],
    ["[::1]:25", "::1", 25],
    ["[fe80::1%eth0]:25", "fe80::1%eth0", 25],
    ["localhost:0", "localhost", 0],
    ["ks2.example.com:11373", "ks2.example.com", 11_373],
    ["pks_1:65535", "pks_1", 65_535],
  ])("reads %s and formats it back", (text, host, port) => {
    expect(parseEndpoint(text)).toEqual({ value: { host, port } });
    expect(formatEndpoint({ host, port })).toBe(text);
  });

  it.each([
    ["", "write host:port"],
    ["25", "write host:port"],
    ["localhost", "write host:port"],
    ["localhost:", "write host:port"],
    ["localhost:x", "write host:port"],
    ["localhost:123456", "write host:port"],
    ["localhost:65536", "from 0 to 65535"],
    [":25", "write 0.0.0.0 or [::]"],
    ["*:25", "write 0.0.0.0 or [::]"],
    ["::1:25", "in brackets"],
    ["::1", "in brackets"],
    ["[127.0.0.1]:25", "only an IPv6 address"],
    ["[]:25", "only an IPv6 address"],
    ["127.0.0.256:25", "neither an IP address nor a host name"],
    ["1.2.3:25", "neither an IP address nor a host name"],
    ["-a:25", "neither an IP address nor a host name"],
    ["a b:25", "neither an IP address nor a host name"],
    ["a..b:25", "neither an IP address nor a host name"],
  ])("refuses %j and says how to write it", (text, hint) => {
    expect(parseEndpoint(text)).toEqual({ fault: expect.stringContaining(hint) });
  });

  it.each([
    ["[2001:DB8:0:0::1]:11373", "2001:db8::1", "[2001:db8::1]:11373"],
    ["[::FFFF:192.0.2.1]:25", "192.0.2.1", "192.0.2.1:25"],
    ["[::ffff:c000:201]:25", "192.0.2.1", "192.0.2.1:25"],
    ["[FE80::1%eth0]:25", "fe80::1%eth0", "[fe80::1%eth0]:25"],
    ["Ks.Example:25", "Ks.Example", "Ks.Example:25"],
  ])("reads %s as the value that it is", (text, host, written) => {
    const reading = parseEndpoint(text);
    expect(reading).toMatchObject({ value: { host } });
    if ("value" in reading) expect(formatEndpoint(reading.value)).toBe(written);
  });

  it.each([
    ["[fe80::1]:25", "append the name of the interface, as fe80::1%eth0"],
    ["[fe80::1%2]:25", "append the name of the interface"],
    ["[2001:db8::1%eth0]:25", "which is for link-local addresses only"],
  ])("refuses %s", (text, hint) => {
    expect(parseEndpoint(text)).toEqual({ fault: expect.stringContaining(hint) });
    const [, host = ""] = /\[(.*)\]/.exec(text) ?? [];
    expect(parseIpAddress(host)).toEqual({ fault: expect.stringContaining(hint) });
  });
});

describe("addresses", () => {
  it.each([
    "a@b",
    "pgp-public-keys@localhost",
    "first.last+tag@sub.example.org",
    "!#$%&'*+/=?^_`{|}~@x",
  ])("takes the mail address %s", (text) => {
    expect(parseMailAddress(text)).toEqual({ value: text });
  });

  it.each([
    "",
    "a",
    "@b",
    "a@",
    "a@b@c",
    "a b@c",
    "a@b c",
    "<a@b>",
    "Name <a@b>",
    "a@b\r\nBcc: x@y",
    "a\u0000@b",
    "a\u007f@b",
    "a\u0085@b",
    "ä@b",
    "a@1.2.3",
    ".a@b",
    "a.@b",
    "a..b@c",
    "a,b@c",
    '"a"@b',
    "a@[192.0.2.1]",
    "a@192.0.2.1",
    "a@-b",
    `${"a".repeat(65)}@b`,
    `a@${"b.".repeat(130)}c`,
  ])("refuses the mail address %j", (text) => {
    expect(parseMailAddress(text)).toEqual(fault);
  });

  it.each([
    ['"pgp-public-keys"@KS.example', "pgp-public-keys@ks.example"],
    ["a@b.example.", "a@b.example"],
    ["a@schlüssel.example", "a@xn--schlssel-95a.example"],
  ])("says how to write the mail address %j plainly", (text, plain) => {
    expect(parseMailAddress(text)).toEqual({ fault: expect.stringContaining(`write "${plain}"`) });
  });

  it.each(["192.0.2.1", "192.0.2.0/24", "0.0.0.0/0", "::1", "2001:db8::/32", "::/128"])(
    "takes the network %s",
    (text) => expect(parseNetwork(text)).toEqual({ value: text }),
  );

  it.each([
    "",
    "host",
    "192.0.2",
    "192.0.2.0/33",
    "192.0.2.0/",
    "192.0.2.0/-1",
    "192.0.2.0/24/1",
    "192.0.2.0/ 8",
    "::/129",
    "fe80::1%eth0",
    "[::1]",
    "192.0.2.1:25",
  ])("refuses the network %j", (text) => expect(parseNetwork(text)).toEqual(fault));

  it.each([
    "smtp://127.0.0.1:25",
    "smtps://user:p%40ss@relay.example:465",
    "smtp://[::1]",
    "smtp://r/",
  ])("takes the relay %s", (text) => expect(parseRelay(text)).toEqual({ value: text }));

  it.each([
    "",
    "relay.example",
    "relay.example:25",
    "http://relay.example",
    "smtp:relay",
    "smtp://",
    "smtp://:25",
    "smtp://a b",
    "smtp://host:99999",
    "smtp://host/path",
    "smtp://host?x=1",
    "smtp://user:pa/ss@host",
    "smtp://user:25/ss@host",
    "smtp://ho%20st",
  ])("refuses the relay %j without quoting it", (text) => {
    const reading = parseRelay(text);
    expect(reading).toEqual(fault);
    expect(JSON.stringify(reading)).not.toContain("ss@host");
  });

  it("shows a relay without user and password", () => {
    expect(redactedRelay("smtps://user:p%40ss@relay.example:465")).toBe(
      "smtps://relay.example:465",
    );
  });
});

describe("rates", () => {
  it.each([
    ["100/1m", 100, 60_000],
    ["1/3s", 1, 3000],
    ["20 / 1d", 20, 86_400_000],
  ])("reads %s", (text, count, periodMs) => {
    expect(parseRate(text)).toEqual({ value: { count, periodMs } });
    expect(parseRate(formatRate({ count, periodMs }))).toEqual({ value: { count, periodMs } });
  });

  it.each(["", "100", "100/", "/1m", "0/1m", "1/0s", "-1/1m", "1/2d", "1.5/1m", "1/1m/1m", "x/1m"])(
    "refuses %j",
    (text) => expect(parseRate(text)).toEqual(fault),
  );
});

describe("budgets and hours", () => {
  it.each([
    ["10MiB/1h", 10 * 1024 ** 2, 3_600_000],
    ["1000/1s", 1000, 1000],
    ["2 GB / 1d", 2e9, 86_400_000],
  ])("reads %s", (text, count, periodMs) => {
    expect(parseByteRate(text)).toEqual({ value: { count, periodMs } });
  });

  it.each(["", "10MiB", "/1h", "10MiB/", "999/1h", "1MiB/10ms", "1MiB/2d", "x/1h", "1MiB/1h/1h"])(
    "refuses the budget %j",
    (text) => expect(parseByteRate(text)).toEqual(fault),
  );

  it.each([
    ["08:00-18:00", 8 * 60, 18 * 60],
    ["22:30-06:15", 22 * 60 + 30, 6 * 60 + 15],
    ["00:00-23:59", 0, 23 * 60 + 59],
  ])("reads the hours %s", (text, from, to) => {
    const value = { fromMs: from * 60_000, toMs: to * 60_000 };
    expect(parseHours(text)).toEqual({ value });
  });

  it.each(["", "8-18", "08:00", "08:00-08:00", "24:00-06:00", "08:60-09:00", "08:00 - 18:00"])(
    "refuses the hours %j",
    (text) => expect(parseHours(text)).toEqual(fault),
  );
});

describe("quoted", () => {
  it.each([
    ["plain", '"plain"'],
    ['a"b\\', '"a\\"b\\\\"'],
    ["\u001b[2J\u009b\u202e\u007f", '"\\u001b[2J\\u009b\\u202e\\u007f"'],
    ["smtp://user:pass@host", '"smtp://...@host"'],
    ["smtp://user:p@ss\nw@host", '"smtp://...@host"'],
    ["x".repeat(100), `"${"x".repeat(60)}..."`],
  ])("makes %j fit for a terminal", (text, shown) => expect(quoted(text)).toBe(shown));
});
