/** The relay's password in its own file: read, shown nowhere, or a fault where it is named. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { checkCommand, configSummary } from "../../src/cli/check.js";
import { configShowCommand } from "../../src/cli/config-show.js";
import { loadConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";
import { captured } from "../cli/captured.js";
import { scratchOfFile } from "../support/scratch.js";

const DIR = scratchOfFile();

function fileOf(password: string, relay = "smtp://kx@mx.example.net:587", named = "password") {
  writeFileSync(join(DIR, "password"), password);
  const file = join(DIR, "kxgw.toml");
  const outbound = `[outbound]\nrelay = "${relay}"\nrelay_password_file = "${named}"`;
  writeFileSync(file, `[site]\naddress = "a@b.example"\n[log]\n${outbound}\n`);
  return file;
}

it.each(["geheim", "p@ss:w/o%rd?#[]", "mit Leerzeichen und ü"])("reads %s", (password) => {
  for (const end of ["", "\n", "\r\n"]) {
    const { outbound } = loadConfig(fileOf(password + end), {});
    const url = new URL(outbound?.relay ?? "");
    expect([url.username, url.host]).toEqual(["kx", "mx.example.net:587"]);
    expect(decodeURIComponent(url.password)).toBe(password);
    expect(Object.isFrozen(outbound)).toBe(true);
  }
});

it("shows the file, and the password nowhere", async () => {
  const file = fileOf("geheim\n");
  const out = captured();
  expect(checkCommand(file, out, {})).toBe(0);
  expect(await configShowCommand(file, { json: false, origin: true }, out, {})).toBe(0);
  expect(configSummary(loadConfig(file, {}))).toContain("smtp://mx.example.net:587");
  expect(out.text).toContain("outbound.relay_password_file");
  expect(out.text).not.toContain("geheim");
});

it("takes the file's name from the environment", () => {
  writeFileSync(join(DIR, "other"), "anders");
  const env = { KXGW_OUTBOUND__RELAY_PASSWORD_FILE: join(DIR, "other") };
  expect(loadConfig(fileOf("geheim"), env).outbound?.relay).toContain(":anders@");
});

it.each([
  ["cannot be read: no such file", fileOf.bind(undefined, "x", undefined, "none")],
  ["cannot be read: is a directory", fileOf.bind(undefined, "x", undefined, ".")],
  ["does not contain exactly one line with the password", fileOf.bind(undefined, "")],
  ["does not contain exactly one line with the password", fileOf.bind(undefined, "geheim\nmehr\n")],
  [
    "does not contain exactly one line with the password",
    fileOf.bind(undefined, "geheim".repeat(100)),
  ],
  ["needs a user: write it into relay", fileOf.bind(undefined, "geheim", "smtp://mx.example.net")],
  ["is a second password", fileOf.bind(undefined, "geheim", "smtp://a:b@mx.example.net")],
])("says that it %s", (words, make) => {
  let said: unknown;
  try {
    loadConfig(make(), {});
  } catch (error) {
    said = error;
  }
  expect(said).toBeInstanceOf(ConfigFaults);
  const { faults } = said as ConfigFaults;
  expect(faults.map(({ line, key }) => `${line} ${key}`)).toEqual([
    "6 outbound.relay_password_file",
  ]);
  expect(faults[0]?.message).toContain(words);
  expect(faults[0]?.message).not.toContain("geheim");
});
