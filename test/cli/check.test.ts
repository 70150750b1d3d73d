/** `kxgw check`: the exit code, what stands where, and that no password is shown. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkCommand } from "../../src/cli/check.js";
import { EXAMPLE } from "../config/example.js";
import { scratchOfFile } from "../support/scratch.js";

const directory = scratchOfFile();
const file = join(directory, "kxgw.toml");

/** A certificate for [kx] tls beside the file. */
function openssl(): void {
  const made = ["req", "-x509", "-days", "2", "-newkey", "ec", "-subj", "/CN=kx", "-nodes"];
  const out = ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", "kx.key", "-out", "kx.pem"];
  execFileSync("openssl", [...made, ...out], { cwd: directory, stdio: "pipe" });
}

function check(text: string, env: Record<string, string> = {}) {
  writeFileSync(file, text);
  let stdout = "";
  let stderr = "";
  const out = {
    stdout: (part: string) => {
      stdout += part;
    },
    stderr: (part: string) => {
      stderr += part;
    },
  };
  const code = checkCommand(file, out, env);
  return { code, stdout, stderr };
}

describe("kxgw check", () => {
  it("says ok, and what the file says", () => {
    expect(check(EXAMPLE)).toEqual({
      code: 0,
      stdout: `${file}: ok
  mode      bridge
  site      pgp-public-keys@kx.example.org
  log       ${directory}/updates.db (retain 4d, remember 30d)
  smtp      127.0.0.1:2525
  kx        127.0.0.1:11373
  outbound  smtp://127.0.0.1:25
  admin     127.0.0.1:9627
  peer      old: mail to pgp-public-keys@pks.example.net
  peer      new: kx 127.0.0.2:11373, dialled by the gateway
`,
      stderr: "",
    });
  });

  it("warns of a node name without the shared database", () => {
    const text = (more: string) => `[site]\naddress = "a@b"\n[log]\nnode = "kx1"\n${more}`;
    const alone = check(text(""));
    expect(alone.code).toBe(0);
    const why = "is not used without log.shared: this gateway has a log of its own";
    expect(alone.stderr).toBe(`${file}:4:1: log.node: warning: ${why}\n`);
    expect(check(text('shared = "postgres://kx@127.0.0.1/kx"\n'))).toMatchObject({ stderr: "" });
  });

  it("says what stands beside the gateway", () => {
    const { code, stdout } = check(
      '[site]\naddress = "a@b"\n[log]\n[smtp]\nlisten = ["127.0.0.1:25", "lmtp:/run/l.sock"]\n' +
        '[spool]\nwatch = ["/in"]\n[hkp]\nopen = true\n[local]\ntype = "sks"\ndirectory = "/m"\n',
    );
    expect(code).toBe(0);
    expect(stdout.split("\n").slice(4)).toEqual([
      "  smtp      127.0.0.1:25, /run/l.sock",
      "  spool     /in",
      "  hkp       127.0.0.1:11371, open to everyone",
      "  kx        none",
      "  outbound  none",
      "  local     sks, mails written to /m",
      "  admin     none",
      "",
    ]);
  });

  it("names the section that a road goes through and the file leaves out", () => {
    const { code, stdout } = check(
      'mode = "observe"\n[site]\naddress = "a@b"\n[log]\n[kx]\nlisten = []\n' +
        '[[peer]]\nname = "m"\nmail = "k@o"\n[[peer]]\nname = "r"\naccept_from = ["::1"]\n' +
        '[[peer]]\nname = "x"\nkx = "[::1]:1"\n' +
        '[[peer]]\nname = "b"\nkx = "[::1]:2"\nmail = "b@o"\n',
    );
    expect(code).toBe(0);
    expect(stdout.split("\n").slice(4)).toEqual([
      "  smtp      none",
      "  kx        nowhere",
      "  outbound  none",
      "  admin     none",
      "  peer      m: mail to k@o; not used: the config has no [outbound] section",
      "  peer      r: receives mail from it only; not used: the config has no [smtp] section",
      "  peer      x: kx [::1]:1, dials the gateway",
      "  peer      b: mail to b@o; not used: the config has no [outbound] section; " +
        'kx [::1]:2 is not used with via = "mail"',
      "",
    ]);
  });

  it.each([
    ["mail only", 'mail = "k@o"\n', "mail"],
    ["mail and KX", 'mail = "k@o"\nkx = "192.0.2.1:1"\n', "mail"],
    ["mail while KX is down", 'mail = "k@o"\nkx = "192.0.2.1:1"\nvia = "auto"\n', "mail"],
    ["KX and no section", 'kx = "192.0.2.1:1"\n', "kx"],
    ["mail from it and no section", 'accept_from = ["192.0.2.1"]\n', "accept_from"],
    ["KX, with an address for bounces", 'mail = "k@o"\nkx = "192.0.2.1:1"\nvia = "kx"\n', ""],
  ])("tells of a path without its section: %s", (_, peer, key) => {
    const section = key === "kx" ? "" : "[kx]\n";
    const site = `[site]\naddress = "a@b"\n[log]\n${section}`;
    const text = `${site}[[peer]]\nname = "n"\n${peer}`;
    const at = text.split("\n").findIndex((one) => one.startsWith(key)) + 1;
    const line = (more: string) => `${file}:${at}:1: peer[0].${key}: ${more}`;
    const bridge = check(text);
    if (key === "") expect(bridge).toMatchObject({ code: 0, stderr: "" });
    else if (key === "mail") {
      expect(bridge).toMatchObject({ code: 78, stdout: "" });
      expect(bridge.stderr.startsWith(line("needs a relay, to which"))).toBe(true);
      expect(bridge.stderr).toContain('write [outbound] with relay = "smtp://127.0.0.1:25"');
      const relay = check(
        `${site}[outbound]\nrelay = "smtp://127.0.0.1:25"\n[[peer]]\nname = "n"\n${peer}`,
      );
      expect(relay).toMatchObject({ code: 0, stderr: "" });
      const quiet = check(`mode = "observe"\n${text}`);
      expect(quiet.code).toBe(0);
      expect(quiet.stderr).toContain('.mail: warning: needs a relay for mode = "bridge"');
      const env = { KXGW_OUTBOUND__RELAY: "smtp://127.0.0.1:25" };
      expect(check(text, env)).toMatchObject({ code: 0, stderr: "" });
    } else {
      expect(bridge.code).toBe(0);
      expect(bridge.stderr.startsWith(line("warning: is not used: write a section ["))).toBe(true);
    }
  });

  it("warns of KX peers that a connection cannot tell apart", () => {
    const peer = (name: string, kx: string, more = "") =>
      `[[peer]]\nname = "${name}"\nkx = "${kx}"\n${more}`;
    const head = '[site]\naddress = "a@b"\n[log]\n[kx]\n';
    const plain = check(
      `${head}${peer("a", "[2001:DB8::1]:1")}${peer("b", "Ks.example:2")}` +
        `${peer("c", "[2001:db8:0:0::1]:3")}${peer("d", "ks.EXAMPLE:4")}`,
    );
    expect(plain.code).toBe(0);
    expect(plain.stdout).toContain(`${file}: ok\n`);
    expect(plain.stderr.split("\n")).toEqual([
      expect.stringMatching(
        /kxgw\.toml:13:1: peer\[2\]\.kx: warning: has the same address 2001:db8::1 as peer "a", so/,
      ),
      expect.stringMatching(
        /kxgw\.toml:16:1: peer\[3\]\.kx: warning: has the same address ks\.example as peer "b"/,
      ),
      "",
    ]);
    const otherRoad = peer("d", "192.0.2.1:2", 'mail = "k@o"\nvia = "mail"\n');
    const relay = '[outbound]\nrelay = "smtp://127.0.0.1:25"\n';
    const one = check(`${head}${relay}${peer("a", "192.0.2.1:1")}${otherRoad}`);
    expect(one.stderr).toBe("");
    expect(one.stdout).toContain('kx 192.0.2.1:2 is not used with via = "mail"');
  });

  it("says that certificates tell peers of one address apart", () => {
    openssl();
    const pin = (digit: string) => `pin = "${digit.repeat(64)}"\n`;
    const secure = (name: string, port: number, more: string) =>
      `[[peer]]\nname = "${name}"\nkx = "kxs://192.0.2.1:${port}"\n${more}`;
    const head =
      '[site]\naddress = "a@b"\n[log]\n[kx]\ntls = { cert = "kx.pem", key = "kx.key" }\n';
    const told = check(`${head}${secure("a", 1, pin("A"))}${secure("b", 2, pin("B"))}`);
    expect(told.stderr).toBe("");
    expect(told.stdout).toContain(
      "  note      a and b share 192.0.2.1; their certificates identify them",
    );
    const same = check(`${head}${secure("a", 1, pin("A"))}${secure("b", 2, pin("A"))}`);
    expect(same.stderr).toContain("peer[1].kx: warning: has the same address 192.0.2.1");
  });

  it("prints each fault where an editor finds it, and 78", () => {
    const result = check('moed = "x"\n[site]\naddress = "a@b"\n[log]\nretain = "1h"\n', {
      KXGW_LOGS: "1",
    });
    expect(result).toEqual({
      code: 78,
      stdout: "",
      stderr:
        `${file}:1:1: moed: is not a known key; did you mean mode?\n` +
        `${file}:5:1: log.retain: "1h" is less than the minimum of 72h: ` +
        "write 72h or more\n" +
        `${file}: KXGW_LOGS: is not a known variable: remove it from the environment\n`,
    });
  });

  it("has no key for a fault of the whole file", () => {
    expect(check("[").stderr).toMatch(/kxgw\.toml:1:2: not TOML: /);
    const out = { stdout: () => {}, stderr: (text: string) => lines.push(text) };
    const lines: string[] = [];
    expect(checkCommand(join(directory, "none"), out, {})).toBe(78);
    expect(lines).toEqual([`${directory}/none: cannot be read: no such file; check the name\n`]);
  });

  it("shows no password", () => {
    const secret = "hunter2";
    const relay = `smtps://user:${secret}@relay.example:465`;
    const good = check(EXAMPLE, { KXGW_OUTBOUND__RELAY: relay });
    expect(good.stdout).toContain("  outbound  smtps://relay.example:465\n");
    const bad = check(`${EXAMPLE}[outbound]\nrelay = "${relay}"\n`);
    const broken = check(EXAMPLE.replace('smtp://127.0.0.1:25"', `${relay}`));
    expect([good.code, bad.code, broken.code]).toEqual([0, 78, 78]);
    expect(JSON.stringify([good, bad, broken])).not.toContain(secret);
  });
});
