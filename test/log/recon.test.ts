/** What the log keeps of servers that are followed by recon. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ReconChange } from "../../src/log/recon.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { prefixOf } from "../../src/recon/wire.js";

const MARK = Buffer.alloc(16, 7);

function md5(n: number): Buffer {
  return createHash("md5").update(`key ${n}`).digest();
}

function some(count: number, from = 0): Buffer[] {
  return Array.from({ length: count }, (_, index) => md5(from + index));
}

/** The list of a prefix, of all these keys that are under it. */
function list(prefix: string, keys: readonly Buffer[]): ReconChange {
  const md5s = keys.filter((key) => prefixOf(key, prefix.length) === prefix);
  return { kind: "list", prefix, md5s };
}

function opened(path = ":memory:") {
  const log = UpdateLog.open(path);
  onTestFinished(() => log.close());
  return log.recon;
}

const hex = (keys: Iterable<Buffer>) => [...keys].map((key) => key.toString("hex")).sort();

describe("MD5s of a crawl that is not finished", () => {
  const known = (prefix: string): ReconChange => ({ kind: "known", prefix, mark: MARK });
  const changed = (prefix: string): ReconChange => ({ kind: "changed", prefix });
  const keys = some(400);
  /** A leaf without a key, below a node that is whole in the first session. */
  const leaf = "0111";
  const before = keys.filter((key) => prefixOf(key, 4) !== leaf);

  test.each(["note", "later"] as const)("%s: what is new where all was known is fetched", (how) => {
    const recon = opened();
    const { id } = recon.server("a");
    const below = ["0100", "0101", "0110", leaf].map((prefix) => list(prefix, before));
    recon.apply(id, [changed(""), changed("01"), ...below, known("01")], how, 0);
    expect(recon.counts(id).wanted).toBe(0);
    // A session that breaks after it told that the node changed.
    recon.apply(id, [changed(""), changed("01")], how, 1);
    expect(recon.mark(id, "01")).toBeUndefined();
    recon.apply(id, [changed(""), changed("01"), list(leaf, keys), list("00", keys)], how, 2);
    const inside = keys.filter((key) => prefixOf(key, 4) === leaf);
    expect(hex(recon.due(id, 2, 100).map(({ md5 }) => md5))).toEqual(hex(inside));
  });

  test("what is new in a list that came before its node was whole is fetched", () => {
    const recon = opened();
    const { id } = recon.server("a");
    recon.apply(id, [changed(""), list("01", before)], "note", 0);
    recon.apply(id, [changed(""), list("01", keys), list("10", keys)], "note", 1);
    const inside = keys.filter((key) => prefixOf(key, 4) === leaf);
    expect(hex(recon.due(id, 2, 100).map(({ md5 }) => md5))).toEqual(hex(inside));
  });
});

describe("known MD5s", () => {
  test("a list is exactly what is under its prefix, whatever its length", () => {
    const recon = opened();
    const { id } = recon.server("a");
    const keys = some(3000);
    expect(recon.apply(id, [list("", keys)], "note", 0)).toEqual({ fresh: 3000, gone: 0 });
    for (const prefix of ["1", "0101", prefixOf(md5(5), 17), prefixOf(md5(6), 40)]) {
      const inside = keys.filter((key) => prefixOf(key, prefix.length) === prefix);
      const change: ReconChange = { kind: "list", prefix, md5s: inside.slice(1) };
      expect(recon.apply(id, [change], "note", 0)).toEqual({ fresh: 0, gone: 1 });
      const left = keys.filter((key) => !key.equals(inside[0] ?? MARK));
      expect(hex(recon.known(id))).toEqual(hex(left));
      expect(recon.apply(id, [list(prefix, keys)], "note", 0)).toEqual({ fresh: 1, gone: 0 });
    }
    expect(recon.counts(id)).toEqual({ known: 3000, wanted: 0, later: 0 });
  });

  test("two servers do not know each other", () => {
    const recon = opened();
    const [a, b] = [recon.server("a").id, recon.server("b").id];
    recon.apply(a, [list("", some(50))], "fetch", 0);
    recon.apply(b, [list("", some(20, 40))], "note", 0);
    expect(recon.counts(a)).toEqual({ known: 50, wanted: 50, later: 0 });
    expect(recon.counts(b)).toEqual({ known: 20, wanted: 0, later: 0 });
    recon.keepServers(["b"]);
    expect(recon.counts(a)).toEqual({ known: 0, wanted: 0, later: 0 });
    expect(hex(recon.known(b))).toEqual(hex(some(20, 40)));
    expect(recon.server("c").id).toBe(a);
  });

  test("a server is the same after a restart", () => {
    const directory = mkdtempSync(join(tmpdir(), "kxgw-recon-"));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const log = UpdateLog.open(join(directory, "log"));
    const { id } = log.recon.server("a");
    log.recon.apply(id, [list("", some(9))], "fetch", 0);
    log.recon.setCrawled(id);
    log.close();
    const recon = opened(join(directory, "log"));
    expect(recon.server("a")).toEqual({ id, isCrawled: true });
    expect(hex(recon.due(id, 0, 100).map((one) => one.md5))).toEqual(hex(some(9)));
  });
});

describe("marks", () => {
  test("go with a change of the node, a list above them, and another shape", () => {
    const recon = opened();
    const { id } = recon.server("a");
    const known = (prefix: string): ReconChange => ({ kind: "known", prefix, mark: MARK });
    const has = (prefix: string) => recon.mark(id, prefix) !== undefined;
    recon.apply(id, ["", "00", "0011", "01"].map(known), "note", 0);
    expect(["", "00", "0011", "01"].every(has)).toBe(true);
    recon.apply(id, [{ kind: "changed", prefix: "" }, list("00", [])], "note", 0);
    expect(["", "00", "0011", "01"].map(has)).toEqual([false, false, false, true]);
    recon.setShape("a", "bitquantum 2, mbar 5");
    recon.apply(id, [known("01")], "note", 0);
    recon.setShape("a", "bitquantum 2, mbar 5");
    expect(has("01")).toBe(true);
    recon.setShape("a", "bitquantum 2, mbar 6");
    expect(has("01")).toBe(false);
  });
});

describe("keys to be fetched", () => {
  test("are due in order, and not while they are put off", () => {
    const recon = opened();
    const { id } = recon.server("a");
    recon.apply(id, [list("", some(3))], "fetch", 100);
    expect(recon.due(id, 99, 10)).toEqual([]);
    expect(recon.nextAt(id)).toBe(100);
    const [first, second, third] = recon.due(id, 100, 10).map((one) => one.md5);
    if (first === undefined || second === undefined || third === undefined) throw new Error("3");
    recon.putOff(id, [first], 500, 1);
    recon.settle(id, [second]);
    expect(recon.due(id, 100, 10)).toEqual([{ md5: third, attempts: 0 }]);
    expect(recon.due(id, 500, 10)).toContainEqual({ md5: first, attempts: 1 });
    expect(recon.waiting(id)).toBe(2);
  });

  test("those for later are no more when they were fetched, put off or are gone", () => {
    const recon = opened();
    const { id } = recon.server("a");
    const keys = some(300);
    recon.apply(id, [list("", keys)], "later", 0);
    expect(recon.counts(id)).toEqual({ known: 300, wanted: 0, later: 300 });
    const batch = recon.later(id, 100).map((one) => one.md5);
    expect(batch).toHaveLength(100);
    recon.settle(id, batch.slice(0, 50));
    recon.putOff(id, batch.slice(50), 9, 0);
    expect(recon.counts(id)).toEqual({ known: 300, wanted: 50, later: 200 });
    recon.apply(id, [list("", [])], "note", 0);
    expect(recon.counts(id)).toEqual({ known: 0, wanted: 0, later: 0 });
  });
});

test("7 million keys fit: 20 octets a key where buckets are full", () => {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-recon-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const log = UpdateLog.open(join(directory, "log"));
  onTestFinished(() => log.close());
  const { id } = log.recon.server("a");
  log.checkpoint();
  const before = log.counts().fileBytes;
  // 107 keys in each of 600 buckets, in the lists that a server of 7 million sends.
  const keys: Buffer[] = [];
  for (let bucket = 0; bucket < 600; bucket++) {
    for (let key = 0; key < 107; key++) {
      const one = md5(bucket * 107 + key);
      one.writeUInt16BE(bucket * 109);
      keys.push(one);
    }
  }
  const lists = new Map<string, Buffer[]>();
  for (const key of keys) {
    const prefix = prefixOf(key, 18);
    lists.set(prefix, [...(lists.get(prefix) ?? []), key]);
  }
  const changes = [...lists].map(([prefix, md5s]) => ({ kind: "list" as const, prefix, md5s }));
  for (let at = 0; at < changes.length; at += 500) {
    log.recon.apply(id, changes.slice(at, at + 500), "note", 0);
  }
  log.checkpoint();
  expect((log.counts().fileBytes - before) / keys.length).toBeLessThan(21);
});
