/** The sections for what stands beside us: Unix sockets, spools, HKP and the local keyserver. */
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";

const SITE = '[site]\naddress = "a@b.example"\n[log]\n';

const read = (text: string) => parseConfig(SITE + text, "/etc/kxgw/k.toml", "/etc/kxgw", {});

function faults(text: string): string[] {
  try {
    read(text);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    return error.faults.map(({ key, message }) => `${key}: ${message}`);
  }
}

describe("[smtp]", () => {
  it("tells Unix sockets from ports, in any order", () => {
    const { smtp } = read(
      '[smtp]\nlisten = ["lmtp:/run/k.sock", "[::1]:25", "lmtp:lm.sock", "systemd:smtp"]\n' +
        'socket_mode = "666"\n',
    );
    expect(smtp?.listen).toEqual([{ host: "::1", port: 25 }]);
    expect(smtp?.inherited).toEqual(["smtp"]);
    expect(smtp?.sockets).toEqual(["/run/k.sock", "/etc/kxgw/lm.sock"]);
    expect(smtp?.socketMode).toBe(0o666);
  });

  it.each([
    ['listen = ["lmtp:"]', "smtp.listen[0]: is empty"],
    ['listen = ["systemd:"]', 'smtp.listen[0]: "systemd:" is not the name of a socket of systemd'],
    ['listen = ["systemd:a:b"]', "smtp.listen[0]"],
    ['listen = ["lmtp"]', 'smtp.listen[0]: "lmtp" has no address and port'],
    ['socket_mode = "rw"', 'smtp.socket_mode: "rw" is not a mode: write it in octal'],
    ["socket_mode = 660", "smtp.socket_mode: is not a text"],
  ])("finds the fault in %s", (line, fault) => {
    expect(faults(`[smtp]\n${line}\n`).join()).toContain(fault);
  });
});

describe("[hkp] and [spool]", () => {
  it("are off unless they are there, closed unless they say so", () => {
    expect(read("").hkp).toBeUndefined();
    expect(read("[hkp]\n").hkp).toEqual({
      listen: [{ host: "127.0.0.1", port: 11_371 }],
      open: false,
      strangerRate: { count: 60, periodMs: 60_000 },
      maxSizeBytes: 4 * 1024 ** 2,
    });
    expect(read('[spool]\nwatch = ["in"]\n').spool).toEqual({
      watch: ["/etc/kxgw/in"],
      everyMs: 2000,
      keepRefusedMs: 30 * 86_400_000,
    });
  });

  it.each([
    ["[spool]\n", "spool.watch: is not a list"],
    ["[spool]\nwatch = []\n", "spool.watch: is empty: name a directory"],
    ['[hkp]\nopen = "yes"\n', "hkp.open: is not a boolean"],
    ['[hkp]\n[kx]\nlisten = ["127.0.0.1:11371"]\n', "is the same port as"],
  ])("finds the fault in %j", (text, fault) => {
    expect(faults(text).join()).toContain(fault);
  });
});

describe("[local]", () => {
  const ours = { address: undefined, maxMailBytes: 128_000 };

  it.each([
    [
      'type = "pksd"\ndirectory = "/p"\nnotify = ["pksdctl", "s", "mail {}"]',
      { type: "pksd", directory: "/p", notify: ["pksdctl", "s", "mail {}"] },
    ],
    ['type = "sks"\ndirectory = "m"', { type: "sks", directory: "/etc/kxgw/m" }],
    ['type = "hkp"\nurl = "https://ks/x/"', { type: "hkp", url: "https://ks/x" }],
    ['type = "command"\ncommand = ["a", "b"]', { type: "command", command: ["a", "b"] }],
  ])("reads %j", (lines, way) => {
    expect(read(`[local]\n${lines}\n`).local).toMatchObject({ ...way, ...ours });
  });

  it("has nothing to deliver with type none", () => {
    expect(read('[local]\ntype = "none"\n').local).toBeUndefined();
  });

  it.each([
    [
      'type = "sks"',
      'local.directory: is missing and required by type = "sks": write directory = ',
    ],
    ['type = "hkp"', 'local.url: is missing and required by type = "hkp": write url'],
    [
      'type = "command"\ncommand = []',
      'local.command: is missing and required by type = "command": write command',
    ],
    ['type = "hkp"\nurl = "hkp://h"', 'local.url: "hkp://h" is not an HTTP URL'],
    ['type = "none"\nurl = "http://h"', 'local.url: is not used with type = "none"'],
    ['type = "sks"\ndirectory = "d"\nnotify = ["x"]', "local.notify: is not used with type"],
    ['type = "skss"\ndirectory = "d"', 'local.type: "skss" is not known'],
    ['directory = "d"', "local.type: is not a text"],
  ])("finds the fault in %j", (lines, fault) => {
    expect(faults(`[local]\n${lines}\n`).join()).toContain(fault);
  });

  it("does not write where the spool is read", () => {
    const text = '[spool]\nwatch = ["/p"]\n[local]\ntype = "pksd"\ndirectory = "/p"\n';
    expect(faults(text)).toEqual([expect.stringContaining("each update would come back")]);
  });
});
