/**
 * What a file can have wrong: a table of snippets with line, column, key and words of the fault,
 * and files with many faults, all of which come at once.
 */
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import type { ConfigFault } from "../../src/errors.js";
import { ConfigFaults } from "../../src/errors.js";

/** Two sections in order, on three lines: snippets behind it start on line 4. */
const HEAD = '[site]\naddress = "own@site.example"\n[log]\n';
const FETCH_RATE = "7:1 peer[0].fetch_rate";
const PEER = '[[peer]]\nname = "n"\n';
const PEER2 = '[[peer]]\nname = "m"\n';
const LISTEN_2 = "5:32 kx.listen[1]";
const ACCEPT_FROM = "6:16 peer[0].accept_from[0]";

function faultsOf(text: string, env: Record<string, string> = {}): readonly ConfigFault[] {
  try {
    parseConfig(text, "kxgw.toml", "/etc", env);
  } catch (error) {
    if (error instanceof ConfigFaults) return error.faults;
    throw error;
  }
  return [];
}

const brief = ({ line, column, key }: ConfigFault) => `${line}:${column} ${key}`;

describe("one fault", () => {
  it.each<[string, string, string]>([
    // Whole sections and the root.
    ["[log]\n", "undefined:undefined site", "write [site] with address ="],
    ['[site]\naddress = "a@b"\n', "undefined:undefined log", "write [log] with path ="],
    ["site = 1\n[log]\n", "1:1 site", "write [site] on a line of its own"],
    ["site = 1979-05-27\n[log]\n", "1:1 site", "write [site] on a line of its own"],
    ["[[site]]\n[log]\n", "1:1 site", "write [site] on a line of its own"],
    [`moed = "bridge"\n${HEAD}`, "1:1 moed", "is not a known key; did you mean mode?"],
    [`retain = "96h"\n${HEAD}`, "1:1 retain", "it belongs in [log]"],
    [`name = "x"\n${HEAD}`, "1:1 name", "it belongs in [[peer]]"],
    [`mode = "bride"\n${HEAD}`, "1:1 mode", '"bride" is not known: write "bridge" or "observe"'],
    [`mode = "bride"\n${HEAD}`, "1:1 mode", "did you mean bridge?"],
    [`mode = true\n${HEAD}`, "1:1 mode", 'is not a text: write "bridge" or "observe"'],
    [`${HEAD}[smpt]\n`, "4:1 smpt", "did you mean smtp?"],
    [`${HEAD}[quota]\n`, "4:1 quota", "remove quota"],
    [`${HEAD}[policy]\nmax_packets = "many"\n`, "5:1 policy.max_packets", "is not an integer"],
    [`${HEAD}[policy]\nattributes = "drop"\n`, "5:1 policy.attributes", "accept"],
    [`${HEAD}mode = "observe"\n`, "4:1 log.mode", "at the top of the file"],
    [`"a.b" = 1\n${HEAD}`, '1:1 "a.b"', "is not a known key"],
    [`"\\u001b[2J" = 1\n${HEAD}`, '1:1 "\\u001b[2J"', "is not a known key"],
    [`__proto__ = 1\n${HEAD}`, "1:1 __proto__", "is not a known key"],
    [`${HEAD}constructor.x = 1\n`, "4:1 log.constructor", "is not a known key"],
    [`${HEAD}toString = 1\n`, "4:1 log.toString", "is not a known key: remove toString"],
    // [site]
    ["[log]\n[site]\n", "2:1 site.address", 'is missing: write it in quotes, as "pgp-public'],
    ["[log]\n[site]\naddress = 1\n", "3:1 site.address", "is not a text"],
    ['[log]\n[site]\naddress = "x"\n', "3:1 site.address", '"x" is not a mail address'],
    ['[log]\n[site]\naddress = "X <a@b>"\n', "3:1 site.address", "angle brackets"],
    ['[log]\n[site]\naddress = "a@b\\r\\nX: y"\n', "3:1 site.address", "control characters"],
    ['[log]\n[site]\naddress = "a@b"\ncontact = "c"\n', "4:1 site.contact", "write user@host"],
    ['[log]\n[site]\naddress="a@b"\naddres = "c"\n', "4:1 site.addres", "did you mean address?"],
    // [log]
    [`${HEAD}  retain = "71h"\n`, "4:3 log.retain", '"71h" is less than the minimum of 72h'],
    [`${HEAD}retain = "4"\n`, "4:1 log.retain", "write a number and a unit"],
    [`${HEAD}retain = 96\n`, "4:1 log.retain", 'write it in quotes, as "96h"'],
    [`${HEAD}remember = "95h"\n`, "4:1 log.remember", "95h is less than log.retain (4d)"],
    [`${HEAD}retain = "31d"\n`, "3:1 log.remember", "write 31d or more"],
    [`${HEAD}path = ":memory:"\n`, "4:1 log.path", "write the name of a file"],
    [`${HEAD}path = ""\n`, "4:1 log.path", "is empty"],
    [`${HEAD}path = "a\\u0000b"\n`, "4:1 log.path", "NUL"],
    // [smtp], [kx], [admin]
    [`${HEAD}[smtp]\nlisten = "x:1"\n`, "5:1 smtp.listen", 'in brackets, as ["127.0.0.1:2525"]'],
    [`${HEAD}[smtp]\nlisten = ["a:1",\n 2]\n`, "6:2 smtp.listen[1]", "is not a text"],
    [`${HEAD}[smtp]\nlisten = ["a:1", "::1:2"]\n`, "5:18 smtp.listen[1]", "in brackets"],
    [`${HEAD}[smtp]\nlisten = ["a:65536"]\n`, "5:11 smtp.listen[0]", "from 0 to 65535"],
    [`${HEAD}smtp.listen = ["a"]\n`, "4:1 log.smtp", "at the top of the file"],
    [`${HEAD}[smtp]\nhostname = "a b"\n`, "5:1 smtp.hostname", "is not a host name"],
    [`${HEAD}[smtp]\nmax_size = "2mib"\n`, "5:1 smtp.max_size", "write a number and a unit"],
    [`${HEAD}[smtp]\ntls = { cert = "x" }\n`, "5:1 smtp.tls.key", "is missing"],
    [`${HEAD}[smtp]\ntls = "x"\n`, "5:1 smtp.tls", 'write { cert = "kx.pem", key = "kx.key" }'],
    [`${HEAD}hold = 1\n`, "4:1 log.hold", "is not a text"],
    [`${HEAD}${PEER}mail = "a@b.example"\nmax_rate = "9"\n`, "7:1 peer[0].max_rate", '"100/1m"'],
    [`${HEAD}${PEER}kx = "h:1"\nfetch_rate = "9"\n`, "7:1 peer[0].fetch_rate", '"10MiB/1h"'],
    [`${HEAD}${PEER}kx = "h:1"\nquiet_hours = "8"\n`, "7:1 peer[0].quiet_hours", "in UTC"],
    [`${HEAD}${PEER}mail = "a@b.example"\nfetch_rate = "9kB/1h"\n`, FETCH_RATE, "applies to KX"],
    [`${HEAD}${PEER}kx = "h:1"\nrequire_tls = 1\n`, "7:1 peer[0].require_tls", "true or false"],
    [`${HEAD}[smtp.listen]\n`, "4:1 smtp.listen", "is not a list"],
    [
      `${HEAD}[smtp]\nlisten = ["h:1", "H:1"]\n`,
      "5:18 smtp.listen[1]",
      "H:1 is the same port as h:1 of smtp.listen",
    ],
    [
      `${HEAD}[smtp]\nlisten = ["[::1]:1", "[0::1]:1"]\n`,
      "5:22 smtp.listen[1]",
      "is the same port as",
    ],
    [`${HEAD}[smtp]\n[kx]\nlisten = ["127.0.0.1:2525"]\n`, "6:11 kx.listen[0]", "smtp.listen"],
    [`${HEAD}[kx]\n[admin]\nlisten = "0.0.0.0:11373"\n`, "6:1 admin.listen", "of kx.listen"],
    [`${HEAD}[kx]\nlisten = ["[::]:1", "[::1]:1"]\n`, "5:21 kx.listen[1]", "is the same port as"],
    // Node opens [::] for IPv4 as well, and 0.0.0.0 has no IPv6.
    [
      `${HEAD}[kx]\nlisten = ["[::]:1", "127.0.0.1:1"]\n`,
      "5:21 kx.listen[1]",
      "is the same port as",
    ],
    [
      `${HEAD}[smtp]\nlisten = ["0.0.0.0:1", "[::]:1"]\n`,
      "5:24 smtp.listen[1]",
      "is the same port as",
    ],
    [
      `${HEAD}[kx]\nlisten = ["[::ffff:7f00:1]:1", "127.0.0.1:1"]\n`,
      LISTEN_2,
      "is the same port as",
    ],
    [`${HEAD}[kx]\nlisten = ["[fe80::1]:1"]\n`, "5:11 kx.listen[0]", "is link-local"],
    [`${HEAD}${PEER}accept_from = ["::ffff:192.0.2.0/24"]\n`, ACCEPT_FROM, "CIDR"],
    [
      `${HEAD}${PEER}kx = "[2001:db8::1]:1"\n${PEER2}kx = "[2001:DB8:0::1]:1"\n`,
      "9:1 peer[1].kx",
      "is also the endpoint of peer",
    ],
    [`${HEAD}[kx]\nsource = "kx.example"\n`, "5:1 kx.source", "is not an IP address"],
    [`${HEAD}[kx]\nreconnect = "1s; 5s"\n`, "5:1 kx.reconnect", "is not a step of a schedule"],
    [`${HEAD}[kx]\nreconnect = ["1s"]\n`, "5:1 kx.reconnect", "is not a text"],
    [`${HEAD}[admin]\nlisten = ["a:1"]\n`, "5:1 admin.listen", "is not a text"],
    // [outbound]
    [`${HEAD}[outbound]\nrelay = "r:25"\n`, "5:1 outbound.relay", "smtp:// or smtps:// URL"],
    [`${HEAD}[outbound]\nrelay = "http://r"\n`, "5:1 outbound.relay", "smtp:// or smtps:// URL"],
    [`${HEAD}[outbound]\nretry = ""\n`, "5:1 outbound.retry", "is not a step of a schedule"],
    [`${HEAD}[outbound]\nbounce = "OWN@site.example"\n`, "5:1 outbound.bounce", "another address"],
    // [[peer]]
    [`${HEAD}[peer]\nname = "n"\n`, "4:1 peer", "write [[peer]] in double brackets"],
    [`peer = [1]\n${HEAD}`, "1:9 peer[0]", "write [[peer]] on a line of its own"],
    [`${HEAD}[[peer]]\nmail = "k@o"\n`, "4:1 peer[0].name", "is missing"],
    [`${HEAD}[[peer]]\nmail = "k@o"\nname = "a b"\n`, "6:1 peer[0].name", "is not a valid name"],
    [`${HEAD}[[peer]]\nmail = "k@o"\nname = "-a"\n`, "6:1 peer[0].name", "is not a valid name"],
    [`${HEAD}${PEER}`, "4:1 peer[0]", "has no path"],
    [`${HEAD}${PEER}via = "kx"\nmail = "k@o"\n`, "6:1 peer[0].via", '"kx" needs the endpoint'],
    [`${HEAD}${PEER}via = "mail"\nkx = "h:1"\n`, "6:1 peer[0].via", '"mail" needs an address'],
    [
      `${HEAD}${PEER}via = "both"\nkx = "h:1"\n`,
      "6:1 peer[0].via",
      '"both" needs both paths, but there is no mail address',
    ],
    [
      `${HEAD}${PEER}via = "auto"\nkx = "h:1"\n`,
      "6:1 peer[0].via",
      '"auto" needs both paths, but there is no mail address',
    ],
    [
      `${HEAD}${PEER}via = "auto"\nmail = "k@o"\n`,
      "6:1 peer[0].via",
      'there is no kx endpoint: write kx = "host:port"',
    ],
    [
      `${HEAD}${PEER}mail = "k@o"\nfallback_after = "5m"\n`,
      "7:1 peer[0].fallback_after",
      'is used with via = "auto" only',
    ],
    [
      `${HEAD}${PEER}mail = "k@o"\nkx = "h:1"\nvia = "auto"\nfallback_after = "soon"\n`,
      "9:1 peer[0].fallback_after",
      "is not a duration",
    ],
    [`${HEAD}${PEER}via = "mial"\nkx = "h:1"\n`, "6:1 peer[0].via", "did you mean mail?"],
    [`${HEAD}${PEER}dial = true\nmail = "k@o"\n`, "6:1 peer[0].dial", "write kx ="],
    [`${HEAD}${PEER}dial = "yes"\nmail = "k@o"\n`, "6:1 peer[0].dial", "write true or false"],
    [`${HEAD}${PEER}dial = true\nkx = "h:0"\n`, "7:1 peer[0].kx", "port 0 cannot be dialled"],
    [`${HEAD}${PEER}kx = "h:1"\nrepair = "http://h"\n`, "7:1 peer[0].repair", "hkp://host:port"],
    [`${HEAD}${PEER}kx = "h:1"\nrepair = "hkp://h/x"\n`, "7:1 peer[0].repair", 'or "mail"'],
    [`${HEAD}${PEER}kx = "h:1"\nrepair = "hkp://"\n`, "7:1 peer[0].repair", "hkps://host"],
    [`${HEAD}${PEER}kx = "h:1"\nrepair = "mail"\n`, "7:1 peer[0].repair", "write mail ="],
    [`${HEAD}${PEER}mail = "k@o"\nrepair = "mail"\n`, "7:1 peer[0].repair", "write [outbound]"],
    [`${HEAD}${PEER}kx = "h"\ndial = true\n`, "6:1 peer[0].kx", "write host:port"],
    [`${HEAD}${PEER}kx = "h"\nvia = "kx"\n`, "6:1 peer[0].kx", "write host:port"],
    [
      `${HEAD}${PEER}accept_from = ["192.0.2.1", "h"]\n`,
      "6:29 peer[0].accept_from[1]",
      "not an IP address or a CIDR range",
    ],
    [
      `${HEAD}${PEER}mail = "OWN@site.example"\n`,
      "6:1 peer[0].mail",
      "is the same as site.address",
    ],
    [
      `${HEAD}[outbound]\nbounce = "back@site.example"\n${PEER}mail = "Back@site.example"\n`,
      "8:1 peer[0].mail",
      "is the same as outbound.bounce",
    ],
    [
      `${HEAD}${PEER}mail = "k@o"\nmax_mail = "16383"\n`,
      "7:1 peer[0].max_mail",
      "than the minimum of 16KiB",
    ],
    [`${HEAD}${PEER}mail = "k@o"\nmax_mial = "1MB"\n`, "7:1 peer[0].max_mial", "mean max_mail?"],
    [`${HEAD}${PEER}kx = "h:1"\n${PEER}kx = "i:1"\n`, "8:1 peer[1].name", '"n" exists already'],
    [
      `${HEAD}${PEER}kx = "h:1"\n[[peer]]\nname = "m"\nkx = "H:1"\n`,
      "9:1 peer[1].kx",
      'is also the endpoint of peer "n": make',
    ],
    [
      `${HEAD}${PEER}mail = "k@o"\n[[peer]]\nname = "m"\nmail = "K@O"\n`,
      "9:1 peer[1].mail",
      'is also the address of peer "n": make',
    ],
    // Not TOML at all.
    ["[site\n", "1:6 ", "not TOML:"],
    ['a = "x\n', "1:7 ", "not TOML:"],
    [`${HEAD}[log]\n`, "4:2 ", "not TOML: trying to redefine"],
    [`${HEAD}path = 1\npath = 2\n`, "5:1 ", "not TOML: trying to redefine"],
    [`a = ${"[".repeat(40)}${"]".repeat(40)}`, "1:37 ", "not TOML: document contains excessively"],
  ])("%j", (text, place, message) => {
    const faults = faultsOf(text);
    expect(faults.map(brief)).toEqual([place]);
    expect(faults[0]?.message).toContain(message);
  });
});

describe("many faults", () => {
  it("come at once, in the order of the file", () => {
    const faults = faultsOf(
      `moed = "bridge"
[site]
addres = "x@y"
[log]
retain = "1h"
remember = "never"
[smtp]
listen = ["127.0.0.1:1", "127.0.0.1:1", "nowhere"]
max_size = 5
[outbound]
relay = "ftp://x"
bounce = "?"
[[peer]]
name = "a"
[[peer]]
name = "a"
kx = "h:1"
via = "both"
dial = 1
[[peer]]
kx = "h:1"
accept_from = ["x", "y"]
`,
      { KXGW_LOGS__PATH: "x", KXGW_KX__SOURCE: "y" },
    );
    expect(faults.map(brief)).toEqual([
      "1:1 moed",
      "2:1 site.address",
      "3:1 site.addres",
      "5:1 log.retain",
      "6:1 log.remember",
      "8:41 smtp.listen[2]",
      "9:1 smtp.max_size",
      "11:1 outbound.relay",
      "12:1 outbound.bounce",
      "13:1 peer[0]",
      "16:1 peer[1].name",
      "18:1 peer[1].via",
      "19:1 peer[1].dial",
      "20:1 peer[2].name",
      "21:1 peer[2].kx",
      "22:16 peer[2].accept_from[0]",
      "22:21 peer[2].accept_from[1]",
      "undefined:undefined kx.source",
      "undefined:undefined KXGW_LOGS__PATH",
    ]);
    for (const { message } of faults) expect(message).toMatch(/^[ -~]{10,300}$/);
  });

  it("count in the message of the error", () => {
    expect(() => parseConfig("", "a.toml", "/", {})).toThrow("a.toml: 2 faults");
  });
});

describe("the environment", () => {
  it.each<[Record<string, string>, string, string]>([
    [{ KXGW_SMPT__LISTEN: "" }, "KXGW_SMPT__LISTEN", "did you mean KXGW_SMTP__LISTEN?"],
    [{ KXGW_LOG__PAHT: "" }, "KXGW_LOG__PAHT", "did you mean KXGW_LOG__PATH?"],
    [{ KXGW_MOED: "" }, "KXGW_MOED", "did you mean KXGW_MODE?"],
    [{ KXGW_log__path: "" }, "KXGW_log__path", "did you mean KXGW_LOG__PATH?"],
    [{ KXGW_SOMETHING_ELSE: "" }, "KXGW_SOMETHING_ELSE", "remove it from the environment"],
    [{ KXGW_: "" }, "KXGW_", "remove it from the environment"],
    [{ KXGW_LOG: "x" }, "KXGW_LOG", "write a key of the section, as KXGW_LOG__KEY"],
    [{ KXGW_PEER__NAME: "x" }, "KXGW_PEER__NAME", "configured in the file, as [[peer]]"],
    [{ KXGW_MODE: "" }, "mode", "(from KXGW_MODE)"],
    [{ KXGW_LOG__RETAIN: "1h" }, "log.retain", "(from KXGW_LOG__RETAIN)"],
    [{ KXGW_SMTP__LISTEN: "a:1,,b:2" }, "smtp.listen[1]", "(from KXGW_SMTP__LISTEN)"],
    [{ KXGW_LOG__REMEMBER: "72h" }, "log.remember", "(from KXGW_LOG__REMEMBER)"],
    [{ KXGW_LOG__PATH: ":memory:" }, "log.path", "(from KXGW_LOG__PATH)"],
  ])("%j", (env, key, message) => {
    expect(faultsOf(HEAD, env)).toEqual([
      { line: undefined, column: undefined, key, message: expect.stringContaining(message) },
    ]);
  });

  it("does not hide that a section of the file is none", () => {
    const faults = faultsOf(`log = 5\n[site]\naddress = "a@b"\n`, { KXGW_LOG__PATH: "x" });
    expect(faults.map(brief)).toEqual(["1:1 log"]);
  });
});

describe("the password of the relay", () => {
  const SECRET = "hunter2";
  it.each([
    `${HEAD}[outbound]\nrelay = "http://user:${SECRET}@host"\n`,
    `${HEAD}[outbound]\nrelay = "smtp://user:${SECRET}@host:99999"\n`,
    `${HEAD}[outbound]\nrelay = "smtp://user:${SECRET}@host" x\n`,
    `${HEAD}[outbound]\nrelay = "smtp://user:${SECRET}@host\n`,
    `${HEAD}[outbound]\nrelay = ["smtp://user:${SECRET}@host"]\n`,
    `${HEAD}[outbound]\nbounce = "smtp://user:${SECRET}@host"\n`,
    `${HEAD}[smtp]\nlisten = ["smtp://user:${SECRET}@host"]\n`,
    `${HEAD}[smtp]\nhostname = "smtps://user:${SECRET}@host"\n`,
    `${HEAD}"smtp://user:${SECRET}@host" = 1\n`,
  ])("is in no fault of %j", (text) => {
    const faults = faultsOf(text);
    expect(faults).toHaveLength(1);
    expect(JSON.stringify(faults)).not.toContain(SECRET);
  });

  it("is in no fault when it comes from the environment", () => {
    const faults = faultsOf(HEAD, {
      KXGW_OUTBOUND__RELAY: `https://user:${SECRET}@host`,
      KXGW_OUTBOUND__RELAI: `smtp://user:${SECRET}@host`,
    });
    expect(faults).toHaveLength(2);
    expect(JSON.stringify(faults)).not.toContain(SECRET);
  });
});
