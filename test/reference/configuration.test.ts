/**
 * docs/configuration.md, made from the schema: its sections and keys, and that each example in it
 * is one that the check takes. What its fixed part says of files and environment is tried.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { scratch } from "../admin/gateway.js";
import { kxgw } from "../e2e/stage.js";
import { page } from "../page.js";
import { allSections, type Key, topKeys } from "./settings.js";

const MIN = '[site]\naddress = "pgp-public-keys@kx.example.org"\n[log]\n';

const HEAD = `# Configuration

Every section and key, made from the schema in \`src/config/schema.ts\` (\`npx vitest run
test/reference -u\` writes this page). \`kxgw config schema\` prints the same for editors, \`kxgw config
show --origin\` what is in force and where it comes from, and kxgw.toml(5) is this page for a terminal.

## The file

TOML, one file. \`-c FILE\` names it; without that \`kxgw.toml\` of the directory is taken, else
\`/etc/kxgw/kxgw.toml\`; \`serve\` without \`-c\` has an embedded default on loopback, and \`ingest\` wants
\`-c\`. Paths in it are relative to the file's own directory. There is no conf.d and no include.

- \`[site]\` and \`[log]\` have to be there. Any other section that is left out is a part of the gateway
  that is off, but for \`[policy]\`, whose defaults hold without it.
- \`kxgw check\` says all faults at once, as \`FILE:LINE:COLUMN: key: what is wrong and what to write\`. A
  key that is not known is a fault. It exits with 78, as \`serve\` does.
- SIGHUP reads it again, with all the files that it names, and puts it in force when it has no fault;
  else the former one stays (\`reload-refused\`). Only another \`log.path\` wants a restart.
- Lists of keys (\`policy.blocklist\`, \`policy.carry\`), certificates and the relay's password are in files
  of their own. A certificate that is renewed on the disk is taken up without a SIGHUP.

## The environment

\`KXGW_MODE\`, and \`KXGW_SECTION__KEY\` for each key of a section: \`KXGW_LOG__PATH=/srv/updates.db\`. A
variable goes over the file, the file over the default; no flag of a command goes over either. One that
names a section which the file does not have turns that section on. A list is separated by commas.
Neighbours, and keys inside a table such as \`tls\`, are written in the file alone. Any other variable
that begins with \`KXGW_\` is a fault, so that a slip cannot pass for a default.

The environment of a process can be read by others of its user, so there is no way to put a secret into
it but \`KXGW_OUTBOUND__RELAY\`; use \`outbound.relay_password_file\`. It is the only \`_file\` key.

## How values are written

| type | as | |
|---|---|---|
| duration | \`"500ms"\`, \`"10m"\`, \`"72h"\`, \`"30d"\` | a number and ms, s, m, h or d; at most ten years |
| size | \`"2MiB"\`, \`"128kB"\`, \`"131072"\` | a number and B, kB, MB, GB (1000) or KiB, MiB, GiB (1024) |
| schedule | \`"1m, 5m*2, 1h"\` | a delay an attempt; \`*2\` twice; the last one repeats for ever; each at most 24d |
| rate | \`"100/1m"\` | so many in a time, which is at most a day |
| host:port | \`"127.0.0.1:25"\`, \`"[::1]:25"\` | an address or a name; \`0.0.0.0\` and \`[::]\` are all of them, port 0 a free one |
| path | \`"updates.db"\` | relative to the directory of the config |
| mail address | \`"user@host"\` | plain, without a name or brackets |
`;

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
  const text = `${HEAD}\n## Before the first section\n\n${table(topKeys())}${parts.join("")}`;
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
