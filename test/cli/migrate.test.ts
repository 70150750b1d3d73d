/** `kxgw config migrate`: what it writes passes the real check, and what it says and exits with. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkCommand } from "../../src/cli/check.js";
import type { MigrateOptions } from "../../src/cli/migrate.js";
import { migrateCommand } from "../../src/cli/migrate.js";
import { scratch } from "../support/scratch.js";
import { captured } from "./captured.js";

const CONFIGS = "test/fixtures/configs";
const NONE: MigrateOptions = { from: undefined, output: undefined, site: undefined, json: false };

async function migrate(paths: readonly string[], options: Partial<MigrateOptions> = {}) {
  const out = captured();
  const code = await migrateCommand(paths, { ...NONE, ...options }, out);
  return { code, out };
}

describe("kxgw config migrate", () => {
  it.each([
    ["pksd", "pks.example.org"],
    ["sks", "sks.example.org"],
    ["hockeypuck", "hkp.example.org"],
    ["debian-onak", "keyserver.invalid"],
    ["debian-sks", "keyserver.invalid"],
  ])("%s: check accepts it, from the directory and from the files", async (folder, domain) => {
    const output = join(scratch(), "kxgw.toml");
    const { code, out } = await migrate([join(CONFIGS, folder)], { output });
    expect(code).toBe(0);
    expect(out.text).toBe("");
    expect(out.errors).toContain(`${output}: written, in observe mode`);
    expect(statSync(output).mode & 0o007).toBe(0);
    const checked = captured();
    expect(checkCommand(output, checked, {})).toBe(0);
    expect(checked.text).toContain(`site      pgp-public-keys@${domain}\n`);
    const again = await migrate([join(CONFIGS, folder)]);
    expect(again.out.text).toBe(readFileSync(output, "utf8"));
  });

  it("tells in words and as JSON what it left", async () => {
    const file = join(CONFIGS, "pksd/pksd.conf");
    const { out } = await migrate([file]);
    expect(out.errors).toContain(
      `${file}:26: www_redonly: unknown directive; did you mean www_readonly?\n`,
    );
    expect(out.errors).toContain("pksd: 11 converted, 9 not needed, 2 unknown, 3 to do by hand\n");
    const json = await migrate([file], { json: true, site: "kx@pks.example.org" });
    expect(json.out.errors).toBe("");
    const answer = JSON.parse(json.out.text);
    expect(answer).toMatchObject({ kind: "pksd", files: [file], site: "kx@pks.example.org" });
    expect(answer.toml).toContain('address = "kx@pks.example.org"   # --site');
    expect(answer.left).toContainEqual({
      ...{ place: `${file}:27`, key: "frobnicate", kind: "unknown" },
      why: "unknown directive",
    });
    expect(answer.taken).toContainEqual({ place: `${file}:16`, key: "this_site" });
  });

  it("says in one line what is wrong with its input", async () => {
    const directory = scratch();
    const file = (name: string, content: string | Buffer) => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    mkdirSync(join(directory, "empty"));
    const slips: [string, number, string][] = [
      [join(directory, "none"), 66, "cannot be read: no such file"],
      [join(directory, "empty"), 65, "contains none of pksd.conf, onak.ini"],
      [file("pksd.conf", ""), 65, "is empty"],
      [file("blank", " \n\n"), 65, "is empty"],
      [file("binary", Buffer.from([0x99, 0, 1])), 65, "is not a text file"],
      [file("letter", "Dear operator,\n"), 65, "is neither"],
      [
        file("onak.ini", "[mail]\nthis_site=a@b.example\n!\n"),
        65,
        "onak.ini:3: is not of the form",
      ],
      [
        file("huge", "a\n".repeat(3 * 1024 * 1024)),
        65,
        "is larger than 4 MiB, so it is not a configuration",
      ],
    ];
    for (const [path, code, words] of slips) {
      const answer = await migrate([path]);
      expect(answer.out.errors, path).toContain(words);
      expect(answer.out.errors.trim().split("\n"), path).toHaveLength(1);
      expect(answer.code, path).toBe(code);
      expect(answer.out.text, path).toBe("");
    }
    const pksd = join(CONFIGS, "pksd/pksd.conf");
    expect((await migrate([pksd], { site: "nobody" })).code).toBe(64);
    expect((await migrate([pksd], { from: "exim" })).code).toBe(64);
    const output = file("mine.toml", "mine");
    const there = await migrate([pksd], { output });
    expect(there.code).toBe(73);
    expect(there.out.errors).toContain(": exists already and was not changed");
    expect(readFileSync(output, "utf8")).toBe("mine");
  });

  it("takes a Latin-1 file as it is", async () => {
    const file = join(scratch(), "pksd.conf");
    const name = "maintainer_email Jörg <j@b.example>\nthis_site a@b.example\n";
    writeFileSync(file, Buffer.from(name, "latin1"));
    const { code, out } = await migrate([file]);
    expect(code).toBe(0);
    expect(out.text).toContain('contact = "j@b.example"');
  });
});
