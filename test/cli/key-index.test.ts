/**
 * kxgw index build: an index that is good is replaced by one that is complete as far as can be
 * told, so a dump that is cut off and a part of a dump are refused, and the former index stays.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { indexBuildCommand, indexStatusCommand } from "../../src/cli/key-index.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { encodePacket } from "../../src/openpgp/packet.js";
import { HEAD } from "../admin/gateway.js";
import { scratch } from "../support/scratch.js";
import { made } from "../torture/material.js";
import { captured } from "./captured.js";

const KEYS = Array.from({ length: 20 }, (_, n) => Buffer.from(made("index", n).update.body));
const DUMP = Buffer.concat(KEYS);

/** A site with an empty log: `build` makes its index from dumps with these contents. */
function site() {
  const directory = scratch();
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, HEAD);
  UpdateLog.open(join(directory, "updates.db")).close();
  const build = async (...dumps: readonly (string | Uint8Array)[]) => {
    const paths = dumps.map((dump, n) => {
      const path = join(directory, `dump-${n}.pgp`);
      writeFileSync(path, dump);
      return path;
    });
    const out = captured();
    const options = { file, json: false, progress: false };
    const code = await indexBuildCommand(paths, options, out, {});
    return { code, said: out.text + out.errors };
  };
  const keys = async () => {
    const out = captured();
    await indexStatusCommand({ file, json: true }, out, {});
    return (JSON.parse(out.text) as { keys: number }).keys;
  };
  return { path: join(directory, "updates.db-index"), build, keys };
}

const ARMOR = encodeArmor(DUMP);
const BEFORE_LAST = DUMP.length - (KEYS.at(-1)?.length ?? 0);

it.each([
  ["within the last packet", DUMP.subarray(0, DUMP.length - 1)],
  ["within the header of a packet", DUMP.subarray(0, BEFORE_LAST + 1)],
  ["within armor", ARMOR.slice(0, -40)],
  ["before the checksum of armor", ARMOR.slice(0, ARMOR.lastIndexOf("\n="))],
  ["before the last line of armor", ARMOR.slice(0, ARMOR.lastIndexOf("-----END"))],
])("a dump that is cut off %s leaves the index as it was", async (_, cut) => {
  const { build, keys } = site();
  expect((await build(DUMP)).code).toBe(0);
  const { code, said } = await build(KEYS[0] ?? "", cut);
  expect(code).toBe(65);
  expect(said).toMatch(/dump-1\.pgp: is cut off within a key; the index is left as it was/);
  expect(await keys()).toBe(20);
});

it("what is unreadable within a dump is reported, and the rest is taken", async () => {
  const { build, keys } = site();
  const { code, said } = await build(Buffer.concat([...KEYS.slice(0, 9), Buffer.from("x"), DUMP]));
  expect(code).toBe(0);
  expect(said).toContain("20 keys, 1 unreadable");
  expect(await keys()).toBe(20);
});

it("a key of an unknown version at the end is unreadable, and no cut", async () => {
  const { build, keys } = site();
  const unknown = encodePacket({ tag: 6, body: Uint8Array.of(9, 0, 0, 0, 0, 1, 2, 3) });
  const { code, said } = await build(Buffer.concat([DUMP, unknown]));
  expect(code).toBe(0);
  expect(said).toContain("20 keys, 1 unreadable");
  expect(await keys()).toBe(20);
});

it("a part of a dump is refused until the former index is deleted", async () => {
  const { build, keys, path } = site();
  await build(DUMP);
  const { code, said } = await build(...KEYS.slice(0, 17));
  expect(code).toBe(65);
  expect(said).toMatch(/the dumps have 17 keys, the index has 20; it is left as it was/);
  expect(said).toContain(`delete ${path} and build again`);
  expect(await keys()).toBe(20);
  expect((await build(...KEYS.slice(0, 18))).code).toBe(0);
  rmSync(path);
  expect((await build(...KEYS.slice(0, 5))).code).toBe(0);
  expect(await keys()).toBe(5);
});

it("a damaged index is replaced by any", async () => {
  const { build, keys, path } = site();
  await build(DUMP);
  writeFileSync(path, "This is no database.".repeat(400));
  expect((await build(KEYS[3] ?? "")).code).toBe(0);
  expect(await keys()).toBe(1);
});
