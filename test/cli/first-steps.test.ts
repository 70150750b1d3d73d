/** What a newcomer types first: init, config show and schema, import, version, completion. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { completionCommand } from "../../src/cli/completion.js";
import { configJsonSchema, configShowCommand } from "../../src/cli/config-show.js";
import { importCommand } from "../../src/cli/import.js";
import { initCommand } from "../../src/cli/init.js";
import type { InitOptions } from "../../src/cli/init-text.js";
import { addOperatorCommands } from "../../src/cli/operator-commands.js";
import { versionCommand } from "../../src/cli/version.js";
import { loadConfig } from "../../src/config/load.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { startGateway } from "../admin/gateway.js";
import { EXAMPLE } from "../config/example.js";
import { scratch } from "../support/scratch.js";
import { quietFor, until } from "../support/until.js";
import { captured } from "./captured.js";

const KEYS = fileURLToPath(new URL("../fixtures/keys", import.meta.url));
const NO_TERMINAL = { isTTY: false } as NodeJS.ReadStream;
const INIT: InitOptions = {
  site: "pgp-public-keys@ks.example.org",
  contact: undefined,
  log: undefined,
  smtp: "127.0.0.1:2525",
  kx: "127.0.0.1:11373",
  admin: "127.0.0.1:9627",
  relay: "smtp://127.0.0.1:25",
  observe: false,
  local: undefined,
  mailPeers: ["old=pgp-public-keys@pks.example.net,192.0.2.7,192.0.2.64/26"],
  kxPeers: ["new=kx.example.net:11373"],
};

async function init(changes: Partial<InitOptions>, file = join(scratch(), "etc", "kxgw.toml")) {
  const out = captured();
  const nowhere = { root: scratch(), hkpPort: 1 };
  const code = await initCommand(file, { ...INIT, ...changes }, out, {}, NO_TERMINAL, nowhere);
  return { code, out, file };
}

describe("kxgw init", () => {
  it("writes a config that check accepts and that says what was asked for", async () => {
    const { code, out, file } = await init({});
    expect(out.errors).toBe("");
    expect(code).toBe(0);
    expect(out.text).toContain(`Start it: kxgw serve -c ${file}`);
    expect(statSync(file).mode & 0o007).toBe(0);
    const config = loadConfig(file, {});
    expect(config.mode).toBe("bridge");
    expect(config.outbound).toMatchObject({ bounce: "pgp-bounces@ks.example.org" });
    expect(config.neighbours.map(({ name, via, dial }) => ({ name, via, dial }))).toEqual([
      { name: "old", via: "mail", dial: false },
      { name: "new", via: "kx", dial: true },
    ]);
    expect(config.neighbours[0]?.acceptFrom).toEqual(["192.0.2.7", "192.0.2.64/26"]);
  });

  it("never writes over a file, and nothing that is at fault", async () => {
    const { file } = await init({});
    const before = readFileSync(file, "utf8");
    const again = await init({ observe: true }, file);
    expect(again.code).toBe(73);
    expect(again.out.errors).toContain("exists already");
    expect(readFileSync(file, "utf8")).toBe(before);
    const slips: [Partial<InitOptions>, string][] = [
      [{ site: undefined }, "the mail address is missing: kxgw init --site"],
      [{ site: "nobody" }, "is not a mail address"],
      [{ admin: "127.0.0.1:2525" }, "is the same port as"],
      [{ mailPeers: ["old"] }, "write NAME=ADDRESS,IP"],
      [{ mailPeers: ["old=pgp@pks.example.net,nowhere"] }, "is not an IP address"],
      [{ kxPeers: ["new=kx.example.net"] }, "write NAME=HOST:PORT"],
      [{ kxPeers: ['n"\n[kx]=a:1'] }, "is not a valid name"],
    ];
    for (const [changes, words] of slips) {
      const { code, out, file } = await init(changes);
      expect(out.errors, words).toContain(words);
      expect(code, words).toBe(64);
      expect(existsSync(file), words).toBe(false);
    }
  });
});

describe("kxgw config", () => {
  it("show: every key, from where, and no password", async () => {
    const file = join(scratch(), "kxgw.toml");
    writeFileSync(file, EXAMPLE);
    const env = { KXGW_OUTBOUND__RELAY: "smtps://user:hunter2@relay.example:465" };
    const out = captured();
    expect(await configShowCommand(file, { json: false, origin: true }, out, env)).toBe(0);
    expect(out.text).toMatch(/^site.address = "pgp-public-keys@kx.example.org" +# .*kxgw.toml:3$/m);
    expect(out.text).toMatch(
      /^outbound.relay = "smtps:\/\/relay.example:465" +# KXGW_OUTBOUND__RELAY$/m,
    );
    expect(out.text).toMatch(/^admin.public_status = false +# default$/m);
    expect(out.text).toMatch(/^peer\[1\].dial = true +# .*kxgw.toml:\d+$/m);
    expect(out.text).not.toContain("hunter2");
    const json = captured();
    await configShowCommand(file, { json: true, origin: false }, json, env);
    expect(json.text).not.toContain("hunter2");
    expect(JSON.parse(json.text)).toContainEqual({
      key: "log.retain",
      value: "96h",
      origin: expect.stringMatching(/:\d+$/),
    });
    writeFileSync(file, "[site]\n");
    expect(await configShowCommand(file, { json: false, origin: false }, captured(), {})).toBe(78);
  });

  it("schema: JSON Schema that knows every section and its texts", () => {
    const schema = configJsonSchema() as Record<string, never>;
    expect(schema).toMatchObject({
      type: "object",
      additionalProperties: false,
      properties: {
        site: { required: ["address"] },
        admin: { properties: { public_status: { type: "boolean", default: false } } },
        peer: { type: "array" },
      },
    });
    expect(() => z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0])).not.toThrow();
  });
});

describe("kxgw import", () => {
  it("seeds the log, mails nobody, says whom KX offers it to, and counts", async () => {
    const directory = scratch();
    const file = join(directory, "kxgw.toml");
    const peers =
      '[outbound]\nrelay = "smtp://127.0.0.1:1"\n[[peer]]\nname = "old"\nmail = "k@old.example"\n' +
      '[[peer]]\nname = "new"\nkx = "127.0.0.1:1"\n';
    const text = `[site]\naddress = "a@kx.example.org"\n[log]\n${peers}`;
    writeFileSync(file, text);
    const keys = readdirSync(KEYS).map((name) => join(KEYS, name));
    const out = captured();
    const options = { json: false, progress: true };
    expect(await importCommand(file, keys, options, out, {})).toBe(0);
    expect(out.text).toBe("22 new, 0 known, 0 refused, 0 unreadable\n");
    expect(out.errors).toContain(
      "Imported keys are not mailed to old.\nThey are offered by KX to new, which",
    );
    expect(out.errors).toContain(`\r${keys[0]}: 1 of 1 keys, 100 %\n`);
    const again = captured();
    await importCommand(file, keys, { json: true, progress: false }, again, {});
    expect(JSON.parse(again.text)).toEqual({
      ...{ appended: 0, duplicates: 22, refused: 0, unreadable: 0 },
    });
    const log = UpdateLog.open(join(directory, "updates.db"));
    log.lanes.save("old", { ...log.lanes.open("old"), cursor: 0 });
    expect(log.trails.get(1 as never)).toEqual(["k@old.example"]);
    log.close();

    // The site's lane starts before all of it, and still nothing goes out.
    const running = await startGateway(text, { directory });
    await until(() => running.reports.filter(({ event }) => event === "suppressed").length === 22);
    await quietFor(300, "a lane that started before them would send");
    const told = running.reports.map(({ event }) => event);
    expect(told.filter((event) => event === "suppressed")).toHaveLength(22);
    expect(told.filter((event) => event === "retry" || event === "sent")).toEqual([]);
    const busy = captured();
    expect(await importCommand(file, keys, options, busy, {})).toBe(69);
    expect(busy.errors).toContain("Stop the gateway for the import (systemctl stop kxgw)");
  });

  it("says what it could not use, and goes on", async () => {
    const directory = scratch();
    const file = join(directory, "kxgw.toml");
    writeFileSync(file, '[site]\naddress = "a@b.example"\n[log]\n[policy]\nmax_update = "3KiB"\n');
    const empty = join(directory, "empty.asc");
    writeFileSync(empty, "no key\n");
    const keys = readdirSync(KEYS).map((name) => join(KEYS, name));
    const out = captured();
    const options = { json: false, progress: false };
    expect(await importCommand(file, [empty, ...keys], options, out, {})).toBe(65);
    expect(out.text).toMatch(/^\d+ new, 0 known, [1-9]\d* refused, 0 unreadable\n$/);
    expect(out.errors).toContain(`${empty}: contains no OpenPGP key`);
    expect(out.errors).toMatch(/[0-9A-F]{40}: The update of/);
    expect(await importCommand(file, [join(directory, "none")], options, captured(), {})).toBe(66);
  });
});

describe("the command table", () => {
  it("has an example, -c and --json for every command that looks or orders", () => {
    const program = new Command("kxgw");
    addOperatorCommands(program, captured());
    const leaves = (command: Command): Command[] =>
      command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
    const names: string[] = [];
    for (const command of leaves(program)) {
      let help = "";
      command.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      command.outputHelp();
      const name = `${command.parent?.name()} ${command.name()}`;
      names.push(name);
      expect(help, name).toMatch(/\nExample:\n {2}kxgw \S/);
      expect(command.description().length, name).toBeGreaterThan(15);
      if (/schema|migrate|init|version|completion|conform/.test(name)) continue;
      expect(help, name).toMatch(/-c, --config <file>/);
      expect(help, name).toMatch(/--json/);
    }
    expect(names).toHaveLength(29);
  });
});

describe("kxgw version and completion", () => {
  it("version: everything that a report needs", () => {
    const out = captured();
    expect(versionCommand({ json: true, places: ["a", "b"] }, out)).toBe(0);
    expect(JSON.parse(out.text)).toMatchObject({
      kxgw: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      // Of a build alone: see test/package-npm.system.ts.
      commit: "none",
      node: process.versions.node,
      sqlite: expect.stringMatching(/^3\./),
      config: "a, b",
    });
  });

  function script(shell: string): string {
    const program = new Command("kxgw");
    program.command("serve").option("-c, --config <file>", "it's the config");
    addOperatorCommands(program, captured());
    const out = captured();
    expect(completionCommand(shell, program, out)).toBe(0);
    return out.text;
  }

  it.each([
    ["kxgw ", ["doctor", "init", "peers", "queue", "serve", "status", "trace"]],
    ["kxgw pe", ["peers"]],
    ["kxgw peers ", ["ls", "show", "pause", "resume", "test"]],
    ["kxgw peers show --", ["--config", "--json", "--help"]],
    ["kxgw status -c /etc/passw", ["/etc/passwd"]],
  ])("completion: bash offers for %j", (line, wanted) => {
    const words = line.split(" ");
    const file = join(scratch(), "kxgw.bash");
    writeFileSync(file, script("bash"));
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const ask = `source ${file}; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
      _kxgw; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const offered = execFileSync("bash", ["-c", ask], { encoding: "utf8" }).trim().split("\n");
    expect(offered).toEqual(expect.arrayContaining(wanted));
    const typed = words.at(-1) ?? "";
    expect(offered.filter((word) => !word.startsWith(typed))).toEqual([]);
  });

  it("completion: an unknown shell is told which there are", () => {
    const out = captured();
    expect(completionCommand("tcsh", new Command("kxgw"), out)).toBe(64);
    expect(out.errors).toContain("bash, zsh or fish");
  });
});
