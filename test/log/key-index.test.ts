/**
 * The key index on a real file: states of ranges against sums made in another way, changes in any
 * order, a build that replaces an open index, files that are no index.
 */
import { createHash } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import type { KeyState } from "../../src/kx/range-sum.js";
import { type IndexChange, indexPath, KeyIndex } from "../../src/log/key-index.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { scratch } from "../support/scratch.js";

function troubleOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

const LOG = { seq: 0 as Seq, name: "00112233445566778899aabbccddeeff" } as const;

function keyOf(n: number, octets = 20): { fingerprint: Buffer; digest: Buffer } {
  const digest = createHash("sha256").update(`key ${n}`).digest();
  return { fingerprint: digest.subarray(0, octets), digest: digest.subarray(16, 32) };
}

/** The definition of docs/protocol.md, with numbers of any size. */
function slowState(keys: readonly { fingerprint: Buffer; digest: Buffer }[]) {
  let sum = 0n;
  for (const { fingerprint, digest } of keys) {
    const element = createHash("sha256").update(fingerprint).update(digest).digest("hex");
    sum = (sum + BigInt(`0x${element}`)) % 2n ** 256n;
  }
  const octets = sum.toString(16).padStart(64, "0") + keys.length.toString(16).padStart(16, "0");
  const hash = createHash("sha256").update(Buffer.from(octets, "hex")).digest("hex").slice(0, 32);
  return { count: keys.length, hash };
}

function under(prefix: string) {
  return ({ fingerprint }: { fingerprint: Buffer }) =>
    fingerprint.toString("hex").toUpperCase().startsWith(prefix);
}

const KEYS = [
  ...Array.from({ length: 500 }, (_, n) => keyOf(n)),
  ...Array.from({ length: 20 }, (_, n) => keyOf(1000 + n, 16)),
  ...Array.from({ length: 20 }, (_, n) => keyOf(2000 + n, 32)),
];

it("gives the state of every range as defined, also after changes and reopening", () => {
  const path = indexPath(join(scratch(), "log"));
  let index = KeyIndex.create(path, 1, LOG);
  index.apply(KEYS);
  const check = (keys: typeof KEYS) => {
    for (const prefix of ["", "0", "7F", "A31", "A310", ...keys.slice(0, 40).map(shortened)]) {
      expect(index.state(prefix), prefix).toEqual(slowState(keys.filter(under(prefix))));
    }
  };
  check(KEYS);
  const changed = { fingerprint: keyOf(3).fingerprint, digest: keyOf(4).digest };
  const gone: IndexChange = { fingerprint: keyOf(5).fingerprint, digest: undefined };
  index.apply([changed, gone], { seq: 7 as Seq, name: LOG.name });
  const after = KEYS.filter((_, n) => n !== 3 && n !== 5).concat(changed);
  check(after);
  index.close();
  index = KeyIndex.open(path) as KeyIndex;
  check(after);
  expect(index.status()).toMatchObject({ keys: after.length, builtAt: 1, seq: 7 });
  index.close();
});

function shortened({ fingerprint }: { fingerprint: Buffer }, n: number): string {
  return fingerprint
    .toString("hex")
    .toUpperCase()
    .slice(0, 1 + (n % 9));
}

it("lists the keys of a range in order, and finds the digest of one", () => {
  const index = KeyIndex.create(join(scratch(), "log-index"), 1, LOG);
  index.apply(KEYS.toReversed());
  const all = [...index.keys("")].map(({ fingerprint }) => fingerprint);
  expect(all).toHaveLength(KEYS.length);
  expect(all).toEqual([...all].sort());
  const { fingerprint, digest } = keyOf(9);
  const name = fingerprint.toString("hex").toUpperCase() as Fingerprint;
  expect([...index.keys(name.slice(0, 12))]).toEqual([
    { fingerprint: name, digest: digest.toString("hex") },
  ]);
  expect(index.digestOf(name)).toBe(digest.toString("hex"));
  expect(index.digestOf(name.replace(/.$/, "") as Fingerprint)).toBeUndefined();
  index.close();
});

it("is replaced by a new build, which keeps what was remembered of peers", () => {
  const path = join(scratch(), "log-index");
  const first = KeyIndex.create(`${path}-new`, 1, LOG);
  first.apply([keyOf(1)]);
  first.replace(path);
  const open = KeyIndex.open(path) as KeyIndex;
  const state: KeyState = { fingerprint: "AA".repeat(20) as Fingerprint, digest: "0b".repeat(16) };
  open.asked("peer", [state], 5);
  open.setRun("peer", "{}");
  expect(open.isInPlace).toBe(true);

  const second = KeyIndex.create(`${path}-new`, 2, LOG);
  second.apply([keyOf(1), keyOf(2)]);
  second.replace(path);
  expect(open.isInPlace).toBe(false);
  open.close();
  const again = KeyIndex.open(path) as KeyIndex;
  expect(again.status()).toMatchObject({ keys: 2, builtAt: 2 });
  expect(again.wasAsked("peer", state)).toBe(true);
  expect(again.wasAsked("peer", { ...state, digest: "0c".repeat(16) })).toBe(false);
  expect(again.wasAsked("other", state)).toBe(false);
  expect(again.run("peer")).toBe("{}");
  again.unasked(state.fingerprint);
  expect(again.wasAsked("peer", state)).toBe(false);
  again.close();
});

it("refuses a file that is no index, and names the remedy", () => {
  const path = join(scratch(), "log-index");
  expect(KeyIndex.open(path)).toBeUndefined();
  writeFileSync(
    path,
    "not a database, but long enough to be looked at as one by SQLite".repeat(30),
  );
  expect(() => KeyIndex.open(path)).toThrow(/log-index/);
});

it("names itself and not the log when it is damaged, and a new build takes its place", () => {
  const path = join(scratch(), "log-index");
  writeFileSync(path, "x".repeat(4096));
  const remedy = `Check the disk of ${path}, and make the index again with "kxgw index build".`;
  const message = expect.stringContaining(`${path}: the key index is no longer a database`);
  expect(troubleOf(() => KeyIndex.open(path))).toMatchObject({ kind: "corrupt", message, remedy });
  const build = KeyIndex.create(`${path}-new`, 1, LOG);
  build.apply([keyOf(1)]);
  build.replace(path);
  const index = KeyIndex.open(path) as KeyIndex;
  expect(index.status().keys).toBe(1);
  index.close();
  expect(readdirSync(dirname(path))).toEqual(["log-index"]);
});

it("keeps a second build from the file of the first, but not from that of a killed one", () => {
  const path = join(scratch(), "log-index");
  const first = KeyIndex.create(`${path}-new`, 1, LOG);
  expect(troubleOf(() => KeyIndex.create(`${path}-new`, 2, LOG))).toMatchObject({
    kind: "busy",
    message: `${path}-new: another process builds the key index`,
  });
  first.apply([keyOf(1)]);
  first.close();
  const second = KeyIndex.create(`${path}-new`, 2, LOG);
  second.apply([keyOf(1), keyOf(2)]);
  second.replace(path);
  const index = KeyIndex.open(path) as KeyIndex;
  expect(index.status()).toMatchObject({ keys: 2, builtAt: 2 });
  index.close();
});
