/** The search of the page: what it takes, what it finds, and what it says when there is nothing. */
import { expect, it, test } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { plainQuestion, questionOf, SEARCH_LIMITS, search } from "../../src/status/search.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { preparedDoor, preparedSources } from "../admin/prepared.js";
import { arrival } from "../log/material.js";

const V6 = `${"0123456789ABCDEF"}${"E".repeat(48)}` as Fingerprint;
const now = () => new Promise<void>((resolve) => setImmediate(resolve));

function filled(count: number) {
  const log = UpdateLog.open(":memory:");
  const all = Array.from({ length: count }, (_, n) => {
    const one = arrival(n + 1, { messageId: `<${n + 1}@sender.example>` });
    return n === 1 ? { ...one, update: { ...one.update, fingerprint: V6 } } : one;
  });
  log.append(all);
  const find = async (text: string) => {
    const { kind, entries } = await search(log, plainQuestion(text), now);
    return [kind, ...entries.map(({ seq }) => seq)];
  };
  return { log, find, entry: (seq: number) => log.entry(seq as Seq) };
}

test.each([
  [" ABCD 1234 ", "ABCD1234"],
  ["OPENPGP4FPR:ABCD", "ABCD"],
  ["#17", "17"],
  ["01:23:45:67:89:ab:cd:ef", "0123456789abcdef"],
  ["<1@a.example>", "<1@a.example>"],
])("%s is read as %s", (given, plain) => {
  expect(plainQuestion(given)).toBe(plain);
});

test.each([
  ["17", "number"],
  ["0123456789012345", "key id"],
  ["0xABCDEF0123456789", "key id"],
  ["0x12345678", "short id"],
  ["deadbeef", "short id"],
  ["a".repeat(32), "hash or fingerprint"],
  ["a".repeat(40), "fingerprint"],
  ["a".repeat(64), "fingerprint"],
  ["<a.b@c.example>", "Message-ID"],
  ["a.b@c.example", "Message-ID"],
  ["a".repeat(39), "nothing"],
  ["alice", "nothing"],
  ["", "nothing"],
])("%s is a %s", (text, kind) => {
  expect(questionOf(text).kind).toBe(kind);
});

it("finds by number, hash, fingerprint, key id of both versions, and Message-ID", async () => {
  const { find, entry } = filled(5);
  const { hash = "", fingerprint = "" } = entry(4) ?? {};
  expect(await find("4")).toEqual(["number", 4]);
  expect(await find(hash)).toEqual(["hash or fingerprint", 4]);
  expect(await find(`0x${fingerprint}`)).toEqual(["fingerprint", 4]);
  expect(await find(fingerprint.slice(-16).toLowerCase())).toEqual(["key id", 4]);
  expect(await find(V6.slice(0, 16))).toEqual(["key id", 2]);
  expect(await find("<4@sender.example>")).toEqual(["Message-ID", 4]);
  expect(await find("4@sender.example")).toEqual(["Message-ID", 4]);
  expect(await find(fingerprint.slice(-8))).toEqual(["short id"]);
  expect(await find("F".repeat(16))).toEqual(["key id"]);
  expect(await find("99")).toEqual(["number"]);
});

it("reads the whole log in slices, and few searches at a time", async () => {
  const count = SEARCH_LIMITS.slice + 5;
  const { log, entry } = filled(count);
  let rests = 0;
  const pause = async () => {
    rests += 1;
    await now();
  };
  const first = entry(1)?.fingerprint.slice(-16) ?? "";
  const { entries } = await search(log, first, pause);
  expect(entries.map(({ seq }) => seq)).toEqual([1]);
  expect(rests).toBe(2);
  const many = Array.from({ length: 20 }, () => search(log, "F".repeat(16), pause));
  const done = (await Promise.all(many)).filter(({ isDone }) => isDone);
  expect(done).toHaveLength(SEARCH_LIMITS.waiting);
  expect((await search(log, first, pause)).entries).toHaveLength(1);
});

it("answers on the page: one update, a list, and what was searched for how long", async () => {
  const { sources, log } = preparedSources();
  const { update, ...rest } = arrival(1, {});
  for (let n = 5001; n < 5004; n++) {
    const one = arrival(n, {}).update;
    log.append([{ ...rest, update: { ...one, fingerprint: V6 } }]);
  }
  const base = await preparedDoor(sources);
  const ask = async (question: string) => {
    const answer = await fetch(`${base}/update?q=${encodeURIComponent(question)}`);
    const html = await answer.text();
    return [answer.status, html.replace(/<[^>]+>/g, "").replace(/\s+/g, " "), html] as const;
  };
  const [code, text, html] = await ask(` 0x${V6.replace(/(.{4})/g, "$1 ")}`);
  expect(code).toBe(200);
  expect(text).toMatch(/3 updates Found by 0x0123456789ABCDEFE+, the newest first\. Update 447/);
  expect(html.match(/<a href="\/update\/\d+">/g)).toHaveLength(3);
  const [idCode, idText] = await ask(V6.slice(0, 16));
  expect([idCode, idText]).toEqual([200, expect.stringContaining("3 updates Found by")]);
  const [oneCode, oneText] = await ask("12");
  expect([oneCode, oneText]).toEqual([200, expect.stringContaining("Update 12")]);
  const [shortCode, shortText] = await ask("DEADBEEF");
  expect([shortCode, shortText]).toEqual([404, expect.stringContaining("names no key")]);
  const [noneCode, noneText] = await ask("<x@y.example>");
  expect(noneCode).toBe(404);
  expect(noneText).toContain("updates that came with a mail of this Message-ID. The log has none.");
  expect(noneText).toContain(
    "The log remembers an update for 30 d (log.remember), and its body for 4 d",
  );
  const [, , attack] = await ask("<script>alert(1)</script>");
  expect(attack).not.toContain("<script>alert");
});
