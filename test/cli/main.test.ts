/**
 * The command line as its users meet it, through the built program: help with an example for every
 * command, exit codes of sysexits, suggestions for slips, and pipes that close early.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { updateOf } from "../../src/admit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { made, SITE } from "../e2e/material.js";
import { base, configFile, kxgw, PROGRAM, ROOT, run, start } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

it("explains itself, and each command with an example", async () => {
  const help = await kxgw(["--help"]);
  expect([help.code, help.stderr]).toEqual([0, ""]);
  const commands = ["serve", "check", "hash", "log", "demo"];
  for (const command of commands) {
    expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
    const own = await kxgw([command, "--help"]);
    expect([own.code, own.stderr]).toEqual([0, ""]);
    expect(own.stdout).toMatch(new RegExp(`Example:\n  .*\\bkxgw ${command}\\b`));
  }
  const version = await kxgw(["--version"]);
  expect([version.code, version.stdout]).toEqual([0, `${manifest.version}\n`]);
});

it.each([
  [["serv"], /unknown command 'serv'[\s\S]*Did you mean serve\?/],
  [["log", "--jsno", "-c", "x"], /unknown option '--jsno'[\s\S]*Did you mean --json\?/],
  [["ingest"], /required option '-c, --config <file>'/],
  [["log", "-c"], /argument missing/],
  [["serve", "extra"], /too many arguments/],
  [[], /Usage: kxgw/],
  [["queue"], /Usage: kxgw queue/],
  [["help", "nothing"], /^error: unknown command 'nothing'\nList of commands: kxgw help\n$/],
  [["nothing", "--help"], /^error: unknown command 'nothing'\n/],
  [["queue", "nothing"], /^error: unknown command 'nothing'\nList of commands: kxgw help queue\n$/],
  [["help", "queue", "nothing"], /^error: unknown command 'nothing'\n/],
  [["queue", "help", "nothing"], /^error: unknown command 'nothing'\n/],
  [["help", "config", "shwo"], /Did you mean show\?/],
  [["help", "check", "more"], /^error: 'more' is no command of kxgw check\n$/],
  [["completion", "tcsh"], /write bash, zsh or fish/],
])("a wrong command line is 64: kxgw %j", async (args, words) => {
  const { code, stdout, stderr } = await kxgw(args);
  expect([code, stdout]).toEqual([64, ""]);
  expect(stderr).toMatch(words);
});

it.each([
  [["help", "config", "show"], "Usage: kxgw config show "],
  [["config", "help", "show"], "Usage: kxgw config show "],
  [["queue", "help"], "Usage: kxgw queue "],
  [["help"], "Usage: kxgw [options]"],
])("help is of the command that is named: kxgw %j", async (args, words) => {
  const { code, stdout, stderr } = await kxgw(args);
  expect([code, stderr, stdout.startsWith(words)]).toEqual([0, "", true]);
});

it("every command searches the config in the same places, and serve too", async () => {
  for (const command of ["status", "serve", "check", "log", "top", "doctor"]) {
    const { stdout } = await kxgw(["help", command]);
    expect(stdout.replace(/\s+/g, " "), command).toContain("kxgw.toml, else /etc/kxgw/kxgw.toml");
  }
  const directory = scratch();
  expect(existsSync("/etc/kxgw/kxgw.toml"), "no config of this machine").toBe(false);
  const none = await kxgw(["status"], { directory });
  expect([none.code, none.stdout]).toEqual([78, ""]);
  expect(none.stderr).toBe(
    "kxgw: no config: neither kxgw.toml nor /etc/kxgw/kxgw.toml exists\n" +
      '      Write one with "kxgw init", or name one with -c FILE.\n',
  );
  // A config that cannot be read is never passed over for the built-in one.
  symlinkSync("nowhere", join(directory, "kxgw.toml"));
  const broken = await kxgw(["serve"], { directory });
  expect([broken.code, broken.stderr]).toEqual([
    78,
    expect.stringMatching(/kxgw\.toml: cannot be read: no such file/),
  ]);
});

it("hash: prints what is good, says what is bad, and ends with 65 or 66", async () => {
  const { armor, fingerprint, hash } = made("hash", 1);
  const line = `${fingerprint} ${hash}\n`;
  expect(await kxgw(["hash"], { input: armor })).toEqual({ code: 0, stdout: line, stderr: "" });
  const garbage = await kxgw(["hash"], { input: "not a key at all\n" });
  expect([garbage.code, garbage.stdout]).toEqual([65, ""]);
  expect(garbage.stderr).toBe("(standard input): contains no OpenPGP key\n");
  const noise = await kxgw(["hash"], { input: Buffer.alloc(5000, 0xee) });
  expect([noise.code, noise.stdout]).toEqual([65, ""]);
  const half = await kxgw(["hash"], { input: `${armor}${armor.slice(0, 200)}` });
  expect([half.code, half.stdout]).toEqual([65, line]);
  expect((await kxgw(["hash", "/nonexistent"])).code).toBe(66);
});

it("log: none yet is 66, an empty one is 0, and reading it makes no file", async () => {
  const file = configFile(base(SITE));
  const path = join(dirname(file), "updates.db");
  const none = await kxgw(["log", "-c", file]);
  expect([none.code, none.stdout]).toEqual([66, ""]);
  expect(none.stderr).toBe(
    `kxgw: ${path}: no such file\n      The gateway creates it when it starts.\n`,
  );
  expect(existsSync(path)).toBe(false);
  expect(await (await start(file)).end()).toBe(0);
  expect(await kxgw(["log", "-c", file])).toEqual({ code: 0, stdout: "", stderr: "" });
});

it("log: a line an update, oldest first, for people and for programs", async () => {
  const file = configWithLog(2);
  const text = (await kxgw(["log", "-c", file])).stdout.trimEnd().split("\n");
  const json = (await kxgw(["log", "-c", file, "--json"])).stdout.trimEnd().split("\n");
  const [first] = json.map((line) => JSON.parse(line));
  const { fingerprint, hash } = made("log", 1);
  expect(first).toEqual({
    seq: 1,
    fingerprint,
    hash,
    size: expect.any(Number),
    origin: "old",
    transport: "mail",
    received: "2026-01-02T03:04:05.000Z",
  });
  expect(text[0]).toBe(
    `      1 ${fingerprint} ${hash} ${String(first.size).padStart(8)} old/mail ${first.received}`,
  );
  expect([text.length, json.length]).toEqual([2, 2]);
});

it("log | head: a reader that has seen enough is no error", async () => {
  const file = configWithLog(5000);
  const pipe = `"${process.execPath}" "${PROGRAM}" log -c "${file}" 2>&1 >&3 3>&- | cat >&2`;
  const { code, stdout, stderr } = await run("bash", [
    "-c",
    `set -o pipefail; { ${pipe}; } 3>&1 | head -1`,
  ]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.split("\n")).toHaveLength(2);
});

it("an output that cannot be written is 74", async () => {
  const file = configWithLog(10);
  const child = spawn("bash", [
    "-c",
    `"${process.execPath}" "${PROGRAM}" log -c "${file}" >/dev/full`,
  ]);
  let words = "";
  child.stderr.on("data", (text: Buffer) => {
    words += text.toString();
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect([code, words]).toEqual([74, expect.stringContaining("ENOSPC")]);
});

/** The config of a gateway whose log holds `count` updates of one second. */
function configWithLog(count: number): string {
  const file = configFile(base(SITE));
  const log = UpdateLog.open(join(dirname(file), "updates.db"));
  const arrivals = Array.from({ length: count }, (_, index) => ({
    update: updateNumber(index + 1),
    origin: { neighbour: "old", transport: "mail" } as const,
    trail: [],
    receivedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  }));
  log.append(arrivals);
  log.close();
  return file;
}

function updateNumber(n: number) {
  const [block] = readArmor(Buffer.from(made("log", n).armor));
  const [key] = block === undefined || block instanceof Error ? [] : readKeys(block.data);
  if (key === undefined || key instanceof Error) throw new Error("no key");
  return updateOf(key);
}
