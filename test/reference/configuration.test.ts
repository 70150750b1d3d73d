/**
 * docs/configuration.md: its sections and keys are made from the schema, and each example in it is
 * one that the check takes. What its first part says of files and environment is tried.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { kxgw } from "../e2e/stage.js";
import { page } from "../support/page.js";
import { scratch } from "../support/scratch.js";
import { allSections, type Key, topKeys } from "./settings.js";

const MIN = '[site]\naddress = "pgp-public-keys@kx.example.org"\n[log]\n';

/** The page up to here is written by hand. */
const MARK = "<!-- What follows is made from the schema: npx vitest run test/reference -u -->\n";

function row({ name, about, type, preset, example, required }: Key): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const value = preset ?? (required ? "**required**" : "none");
  const plain = preset === undefined ? value : `\`${preset}\``;
  const shown = preset === example ? plain : `${plain}, as \`${example}\``;
  return `| \`${name}\` | ${cell(type)} | ${cell(shown)} | ${cell(about)} |`;
}

function table(keys: readonly Key[]): string {
  return `| key | type | default | |\n|---|---|---|---|\n${keys.map(row).join("\n")}\n`;
}

it("docs/configuration.md is what the schema says (vitest -u writes it)", async () => {
  const parts = allSections().map(
    ({ header, about, keys }) => `\n## ${header}\n\n${about}\n\n${table(keys)}`,
  );
  const [head = ""] = page("configuration.md").split(MARK);
  const top = `## Before the first section\n\n${table(topKeys())}`;
  const text = `${head}${MARK}\n${top}${parts.join("")}`;
  await expect(text).toMatchFileSnapshot("../../docs/configuration.md");
});

it("every key is told of: what it is, its type, an example that the check takes", () => {
  for (const { header, keys } of allSections()) {
    for (const key of keys) {
      const at = `${header} ${key.name}`;
      expect(key.about, at).toMatch(/\.$/);
      // Faults of files that are not there, or of keys that are missing beside it, are no matter.
      const section = MIN.includes(`${header}\n`) ? "" : `${header}\n`;
      const text = `${MIN}${section}${key.name} = ${key.example}\n`;
      const own = `${header.replaceAll(/[[\]]/g, "")}${header.startsWith("[[") ? "[0]" : ""}`;
      const faults = faultsOf(header === "[site]" ? site(key) : text);
      const about = faults.filter((fault) => fault.key === `${own}.${key.name}`);
      expect(about.map(({ message }) => message).filter(isAboutTheValue), at).toEqual([]);
    }
  }
});

/** `kxs://` without [kx] and `via` without a road are about other keys. */
function isAboutTheValue(message: string): boolean {
  return !/needs|means nothing|means something|has no address|belongs in/.test(message);
}

function site({ name, example }: Key): string {
  const other = name === "address" ? "" : 'address = "a@b.example"\n';
  return `[site]\n${other}${name} = ${example}\n[log]\n`;
}

function faultsOf(text: string): readonly { key: string; message: string }[] {
  try {
    parseConfig(text, "kxgw.toml", "/", {});
    return [];
  } catch (error) {
    return (error as { faults: { key: string; message: string }[] }).faults;
  }
}

it("file, environment and default go over each other as the page says", async () => {
  const parse = (env: Record<string, string>) =>
    parseConfig(`${MIN}path = "sub/u.db"\nretain = "80h"\n`, "kxgw.toml", "/srv", env);
  const { log, smtp, kx } = parse({
    KXGW_LOG__RETAIN: "90h",
    KXGW_SMTP__LISTEN: "127.0.0.1:1, lmtp:in.sock",
  });
  expect([log.path, log.retainMs, log.rememberMs]).toEqual([
    ...["/srv/sub/u.db", 90 * 3_600_000, 30 * 86_400_000],
  ]);
  expect([smtp?.listen, smtp?.sockets, kx]).toEqual([
    ...[[{ host: "127.0.0.1", port: 1 }], ["/srv/in.sock"], undefined],
  ]);
  for (const name of ["KXGW_PEER__NAME", "KXGW_SMTP__TLS__CERT", "KXGW_SMTP", "KXGW_X"]) {
    expect(() => parse({ [name]: "x" }), name).toThrow();
  }
});

it("commands find kxgw.toml in their directory, and no conf.d beside it", async () => {
  const directory = scratch();
  writeFileSync(join(directory, "kxgw.toml"), MIN);
  mkdirSync(join(directory, "conf.d"));
  writeFileSync(join(directory, "conf.d/more.toml"), 'mode = "observe"\n');
  const { code, stdout } = await kxgw(["check"], { directory });
  expect([code, stdout]).toEqual([0, expect.stringContaining("mode      bridge")]);
  expect(page("configuration.md")).toContain("no conf.d");
});
