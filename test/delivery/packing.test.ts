/**
 * Catching up: updates that wait go together, what the site refuses together goes one by one, a
 * sick relay is not taken for bad keys, and no more mails leave than the site wants.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { parseVerp } from "../../src/mail/verp.js";
import { bytes, delivered } from "../mail/fixtures.js";
import * as cks from "../mail/oracles/cks.js";
import * as hockeypuck from "../mail/oracles/hockeypuck.js";
import * as onak from "../mail/oracles/onak.js";
import * as pksd from "../mail/oracles/pksd.js";
import * as sks from "../mail/oracles/sks.js";
import { rsaUpdate } from "./keys.js";
import { hashes, type World, world } from "./stage.js";

const keys = Array.from({ length: 300 }, (_, n) => rsaUpdate(n));
const ATTRIBUTE = { tag: 17, body: new Uint8Array(40).fill(1) };

/** Whether the n-th key is in a mail, by its fingerprint. */
const holds = (raw: string, n: number) =>
  hockeypuck.read(delivered(bytes(raw))).accepted.includes(keys[n]?.fingerprint ?? "");

function put({ put: append }: World, from: number, to: number, trail?: readonly string[]): void {
  // They have waited for two minutes, so that the site is behind.
  const receivedAt = Date.now() - 120_000;
  for (const key of keys.slice(from, to)) append(key, { receivedAt, ...(trail && { trail }) });
}

describe("after an outage", () => {
  test("300 updates arrive in few mails, every one readable by every old server", async () => {
    const stage = await world(undefined, [200]);
    const { relay, lane, heard, log, diagnostics } = stage;
    relay.answer = (phase) => (phase === "greeting" ? "421 4.3.2 Down" : undefined);
    lane().start();
    put(stage, 0, 300);
    await heard("stalled");
    relay.answer = () => undefined;
    await heard("sent", 300);
    expect(relay.taken).toHaveLength(3);
    for (const server of [pksd, onak, sks, cks, hockeypuck]) {
      const read = relay.taken.map(({ raw }) => server.read(delivered(bytes(raw))));
      expect(read.flatMap(({ accepted }) => accepted)).toEqual(
        keys.map(({ fingerprint }) => fingerprint),
      );
      expect(read.flatMap(({ refused }) => refused)).toEqual([]);
    }
    expect(hashes(relay)).toEqual(keys.map(({ hash }) => hash));
    for (const { raw } of relay.taken) expect(raw.length).toBeLessThanOrEqual(128_000);
    expect(log.lanes.get("old")).toMatchObject({ cursor: 300, attempt: 0 });
    const sent = diagnostics.all("sent");
    expect(sent.map(({ seq }) => seq)).toEqual(keys.map((_, n) => n + 1));
    expect(sent[0]).toMatchObject({ hash: keys[0]?.hash, mails: 1, packed: 100 });
  });

  test("the bounce address names the first and the last of a mail", async () => {
    const stage = await world();
    const { relay, lane, heard, log } = stage;
    const served = lane();
    put(stage, 0, 7);
    served.start();
    await heard("sent", 7);
    const mark = parseVerp(
      "pgp-bounces@kx.example.org",
      relay.taken[0]?.from ?? "",
      log.bounces.secret,
    );
    expect(mark).toEqual({ site: "old", first: 1, last: 7, isSealed: true });
  });

  test("only neighbours of one trail go together; what the site has is passed over", async () => {
    const stage = await world();
    const { relay, lane, heard, log, diagnostics } = stage;
    const served = lane();
    put(stage, 0, 3, ["a@first.example"]);
    put(stage, 3, 5, ["a@first.example", "pgp-public-keys@pks.example.net"]);
    put(stage, 5, 8, ["A@FIRST.example"]);
    put(stage, 8, 10, ["b@other.example"]);
    stage.put(rsaUpdate(400, [ATTRIBUTE]), { trail: ["b@other.example"] });
    put(stage, 10, 12, ["b@other.example"]);
    served.start();
    await heard("sent", 11);
    const sizes = relay.taken.map(({ raw }) => keys.filter((_, n) => holds(raw, n)).length);
    // The key with an attribute is two mails by itself.
    expect(sizes).toEqual([6, 2, 0, 0, 2]);
    expect(diagnostics.all("suppressed").map(({ seq }) => seq)).toEqual([4, 5]);
    expect(log.lanes.get("old")?.cursor).toBe(13);
  });

  test("the mails are no larger than the site allows", async () => {
    const stage = await world();
    const { relay, lane, heard } = stage;
    const served = lane({ maxMailBytes: 16_384 });
    put(stage, 0, 60);
    served.start();
    await heard("sent", 60);
    expect(relay.taken.length).toBeGreaterThan(2);
    for (const { raw } of relay.taken) expect(raw.length).toBeLessThanOrEqual(16_384);
    expect(hashes(relay)).toEqual(keys.slice(0, 60).map(({ hash }) => hash));
  });

  test("one that comes alone goes alone, as ever", async () => {
    const stage = await world();
    const { relay, lane, heard } = stage;
    lane().start();
    for (let n = 0; n < 3; n += 1) {
      put(stage, n, n + 1);
      await heard("sent", n + 1);
    }
    expect(relay.taken.map(({ raw }) => /^Message-ID: <[^>]*\.1@/m.test(raw))).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe("a site that refuses", () => {
  test("gets what it refused together one by one, and the guilty one is recorded", async () => {
    const stage = await world();
    const { relay, lane, heard, log, diagnostics } = stage;
    relay.answer = (phase) => {
      const raw = relay.seen.at(-1)?.raw ?? "";
      return phase === "dot" && holds(raw, 4) ? "554 5.6.0 Bad key" : undefined;
    };
    const served = lane();
    put(stage, 0, 10);
    served.start();
    await heard("sent", 9);
    expect(log.exceptions.list("old", "refused", 10)).toMatchObject([
      { site: "old", seq: 5, code: 554 },
    ]);
    expect(diagnostics.all("unpacked")).toMatchObject([{ seq: 1, updates: 10, code: 554 }]);
    expect(relay.seen).toHaveLength(11);
    // What comes behind them is packed again.
    relay.answer = (phase) => (phase === "greeting" ? "421 Down" : undefined);
    relay.cut();
    await sleep(50);
    relay.answer = () => undefined;
    put(stage, 10, 20);
    await heard("sent", 19);
    expect(relay.taken.at(-1)?.raw).toSatisfy((raw: string) => holds(raw, 19) && holds(raw, 18));
  });

  test("for now what comes together gets it one by one, too", async () => {
    const stage = await world(undefined, [10]);
    const { relay, lane, heard, log } = stage;
    relay.answer = (phase) => {
      const raw = relay.seen.at(-1)?.raw ?? "";
      return phase === "dot" && holds(raw, 2) && holds(raw, 3)
        ? "451 4.3.0 Scan failed"
        : undefined;
    };
    const served = lane();
    put(stage, 0, 6);
    served.start();
    await heard("sent", 6);
    expect(hashes(relay)).toEqual(keys.slice(0, 6).map(({ hash }) => hash));
    expect(relay.seen).toHaveLength(1 + 6);
    expect(log.exceptions.list("old", "refused", 10)).toEqual([]);
  });
});

describe("max_rate", () => {
  test("does not keep anybody from going down", async () => {
    const stage = await world();
    const { lane, heard } = stage;
    const served = lane({ rate: { count: 1, periodMs: 3_600_000 } });
    served.start();
    put(stage, 0, 1);
    await heard("sent");
    put(stage, 1, 2);
    await sleep(50);
    const start = performance.now();
    await served.stop();
    expect(performance.now() - start).toBeLessThan(1000);
  });
});
