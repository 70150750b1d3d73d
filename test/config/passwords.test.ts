/** Passwords in files of their own: read, shown nowhere, or a fault where they are named. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkCommand, configSummary } from "../../src/cli/check.js";
import { configShowCommand } from "../../src/cli/config-show.js";
import { loadConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";
import { captured } from "../cli/captured.js";
import { scratch, scratchOfFile } from "../support/scratch.js";

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

describe("the password of the shared database", () => {
  const SHARED = "postgres://kx@db.example.net/kxgw";

  function shared(text = `shared = "${SHARED}"\nshared_password_file = "password"`): string {
    writeFileSync(join(DIR, "password"), "geheim\n");
    const file = join(DIR, "kxgw.toml");
    writeFileSync(file, `[site]\naddress = "a@b.example"\n[log]\n${text}\n`);
    return file;
  }

  it("is read from the file, and shown nowhere", async () => {
    const file = shared();
    expect(loadConfig(file, {}).log.shared?.password).toBe("geheim");
    const out = captured();
    expect(checkCommand(file, out, {})).toBe(0);
    expect(await configShowCommand(file, { json: false, origin: true }, out, {})).toBe(0);
    expect(out.text).toContain("db.example.net:5432/kxgw, TLS verified with the CAs of the system");
    expect(out.text).toContain("log.shared_password_file");
    expect(out.text).not.toContain("geheim");
  });

  it("is the credential of systemd, when nothing else is written", () => {
    const credentials = scratch();
    writeFileSync(join(credentials, "kxgw-shared"), "von systemd");
    const env = { CREDENTIALS_DIRECTORY: credentials };
    const read = (text: string) => loadConfig(shared(text), env).log.shared?.password;
    expect(read(`shared = "${SHARED}"`)).toBe("von systemd");
    expect(read(`shared = "${SHARED.replace("kx@", "kx:hier@")}"`)).toBe("hier");
    expect(read(`shared = "${SHARED}"\nshared_password_file = "password"`)).toBe("geheim");
    expect(loadConfig(shared(`shared = "${SHARED}"`), {}).log.shared?.password).toBeUndefined();
  });

  it.each([
    ["is not used without shared", 'shared_password_file = "password"'],
    [
      "is a second password: remove the one in shared",
      'shared = "postgres://kx:geheim@h/d"\nshared_password_file = "password"',
    ],
    ["cannot be read: no such file", `shared = "${SHARED}"\nshared_password_file = "none"`],
  ])("is refused when it %s", (words, text) => {
    expect(() => loadConfig(shared(text), {})).toThrow(
      expect.objectContaining({
        faults: [
          expect.objectContaining({
            key: "log.shared_password_file",
            message: expect.stringContaining(words),
          }),
        ],
      }),
    );
  });
});
