/**
 * `kxgw init` and the keyserver beside us: found and named by flags. init-terminal.test.ts has the
 * questions.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { initCommand } from "../../src/cli/init.js";
import type { InitOptions } from "../../src/cli/init-text.js";
import { loadConfig } from "../../src/config/load.js";
import { scratch } from "../support/scratch.js";
import { captured } from "./captured.js";

const CONFIGS = "test/fixtures/configs";
const NO_TERMINAL = { isTTY: false } as NodeJS.ReadStream;
const INIT: InitOptions = {
  site: undefined,
  contact: undefined,
  log: undefined,
  smtp: "127.0.0.1:2525",
  kx: "127.0.0.1:11373",
  admin: "127.0.0.1:9627",
  relay: "smtp://127.0.0.1:25",
  observe: false,
  local: undefined,
  mailPeers: [],
  kxPeers: [],
};

/** A machine with these files of the fixtures below its root. */
function machine(files: Readonly<Record<string, string>>): string {
  const root = scratch();
  for (const [place, from] of Object.entries(files)) {
    mkdirSync(dirname(join(root, place)), { recursive: true });
    cpSync(join(CONFIGS, from), join(root, place), { recursive: true });
  }
  return root;
}

async function init(root: string, changes: Partial<InitOptions>, hkpPort = 1) {
  const file = join(scratch(), "kxgw.toml");
  const out = captured();
  const places = { root, hkpPort };
  const code = await initCommand(file, { ...INIT, ...changes }, out, {}, NO_TERMINAL, places);
  return { code, out, file, config: () => loadConfig(file, {}) };
}

describe("kxgw init", () => {
  it.each([
    ["pksd", "etc/pksd.conf", "pksd/pksd.conf", "pks.example.org"],
    ["sks", "var/sks", "sks", "sks.example.org"],
    ["hkp", "etc/hockeypuck/hockeypuck.conf", "hockeypuck/hockeypuck.conf", "hkp.example.org"],
  ])("--local auto finds %s and takes what it says", async (type, place, from, domain) => {
    const root = machine({ [place]: from });
    const { code, out, config } = await init(root, { local: "auto" });
    expect(out.errors).toBe("");
    expect(code).toBe(0);
    const { site, local, neighbours } = config();
    expect(site.address).toBe(`pgp-public-keys@${domain}`);
    expect(local?.type).toBe(type);
    if (type === "pksd") expect(local?.url).toBe("http://127.0.0.1:11371");
    expect(neighbours).toMatchObject([{ acceptFrom: ["127.0.0.1", "::1"] }]);
    expect(out.text).toContain(`mails to 2 sites; to include them: kxgw config migrate ${root}`);
  });

  it("takes no address of a sample: Debian's onak.ini has those of onak's author", async () => {
    const root = machine({ "etc/onak.ini": "debian-onak/onak.ini" });
    const { code, out, file } = await init(root, { local: "auto" });
    expect([code, existsSync(file)]).toEqual([64, false]);
    expect(out.errors).toContain(
      '"pgp-public-keys@the.earth.li" is the sample of the distribution',
    );
    expect(out.errors).toContain("the mail address is missing: kxgw init --site");
    const given = await init(root, { local: "auto", site: "pks@ks.example.org" });
    expect(given.config()).toMatchObject({
      ...{ site: { address: "pks@ks.example.org", contact: "pks@ks.example.org" } },
      local: { type: "command" },
    });
    expect(readFileSync(given.file, "utf8")).not.toContain("earth.li");
  });

  it("without the flag tells of it, and writes what it always wrote", async () => {
    const root = machine({ "etc/sks": "debian-sks" });
    const { code, out, config } = await init(root, { site: "a@b.example" });
    expect(code).toBe(0);
    expect(out.errors).toContain(`--local sks:${join(root, "etc/sks")}`);
    expect(config().local).toBeUndefined();
    const none = await init(root, { site: "a@b.example", local: "none" });
    expect(none.out.errors).toBe("");
    const named = await init("/nowhere", { site: "a@b.example", local: `sks:${root}/etc/sks` });
    expect(named.config().local?.type).toBe("sks");
  });

  it("finds what listens on the HKP port, when no file tells", async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const { config, file } = await init(scratch(), { site: "a@b.example", local: "auto" }, port);
    expect(config().local).toMatchObject({ type: "hkp", url: `http://127.0.0.1:${port}` });
    expect(readFileSync(file, "utf8")).toContain(`# server = "127.0.0.1:${port - 1}"`);
  });

  it("says what to do when it cannot tell", async () => {
    const two = machine({ "etc/onak.ini": "debian-onak/onak.ini", "etc/sks": "sks" });
    const broken = scratch();
    mkdirSync(join(broken, "etc"));
    writeFileSync(join(broken, "etc/pksd.conf"), "this_site a@b.example\n<!>\n");
    const slips: [string, string, string][] = [
      [two, "auto", `choose one: --local onak:${two}/etc/onak.ini or --local sks:${two}/etc/sks`],
      [broken, "auto", "pksd.conf:2: is not of the form"],
      [broken, "sks:/nowhere/at/all", "cannot be read: no such file"],
      [broken, "exim:/etc/exim", "the value of --local is auto, none, pksd:PATH"],
      [broken, "hkp:nowhere", "is not an HTTP URL"],
    ];
    for (const [root, local, words] of slips) {
      const { code, out, file } = await init(root, { site: "a@b.example", local });
      expect(out.errors, local).toContain(words);
      expect(code, local).toBe(64);
      expect(existsSync(file), local).toBe(false);
    }
    const empty = await init(scratch(), { site: "a@b.example", local: "auto" });
    expect(empty.code).toBe(0);
    expect(empty.out.errors).toContain("No keyserver was found on this host. Searched: /");
    expect((await init(scratch(), { local: "auto" })).out.errors).toContain(
      "the mail address is missing",
    );
  });
});
