/** A gateway that follows a model server over real sockets: what comes, and bad input. */
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { Refusal } from "../../src/errors.js";
import { followedAs } from "../../src/following/recon-door.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { assembleKey, encodeKey, readKeys } from "../../src/openpgp/key.js";
import { rsaUpdate } from "../delivery/keys.js";
import { soon } from "../support/soon.js";
import { until } from "../support/until.js";
import { followed, give, KEYS, modelServer, nameOf, sessions, take } from "./followed.js";
import { answerOf, int, type ModelServer, string } from "./model-server.js";

/** The largest first: they have a subkey. */
const SORTED = KEYS.toSorted((a, b) => b.length - a.length);
const [FIRST = new Uint8Array(), SECOND = new Uint8Array(), THIRD = new Uint8Array()] = SORTED;

/** The key without its subkeys. */
function smaller(key: Uint8Array): Uint8Array {
  const [whole] = readKeys(key);
  if (whole === undefined || whole instanceof Refusal) throw new Error("no key");
  return encodeKey(assembleKey([whole.primary, ...whole.userIds]));
}

async function serverWith(keys: readonly Uint8Array[]): Promise<ModelServer> {
  const server = await modelServer();
  for (const key of keys) give(server, key);
  return server;
}

function honest(server: ModelServer): void {
  expect(server.fault).toBeUndefined();
}

describe("an honest server", () => {
  test('start = "all": every key comes, once, by recon', async () => {
    const server = await serverWith(KEYS);
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(KEYS.length);
    await sessions(server);
    expect(server.questions.flat().sort()).toEqual(KEYS.map(nameOf).sort());
    expect(gateway.entries().every(({ origin }) => origin.transport === "recon")).toBe(true);
    expect(gateway.known()).toEqual(server.tree.all().sort());
    expect(gateway.diagnostics.all("recon-crawled")).toMatchObject([{ keys: KEYS.length }]);
    expect(gateway.status()).toMatchObject({ state: "up", keys: KEYS.length, wanted: 0 });
    honest(server);
  });

  test('start = "now": what is there is noted, and what changes comes', async () => {
    const server = await serverWith([FIRST, SECOND]);
    const gateway = followed(server, { settings: 'start = "now"' });
    await soon(() => gateway.status().state).toBe("up");
    expect(server.questions).toEqual([]);
    expect(gateway.known()).toHaveLength(2);
    const name = give(server, THIRD);
    await soon(() => gateway.entries().length).toBe(1);
    expect(server.questions).toEqual([[name]]);
  });

  test("a change between two sessions of the first crawl is fetched, others are not", async () => {
    const fresh = Array.from({ length: 460 }, (_, n) => rsaUpdate(n).body);
    const server = await serverWith(fresh.slice(0, 400));
    server.lies = { breakAfter: 12 };
    const gateway = followed(server, { settings: 'start = "now"' });
    await until(() => gateway.known().length > 0);
    await gateway.stop();
    const leafOf = (md5: string) => md5.slice(0, 1);
    const listed = new Set(gateway.known().map(leafOf));
    expect(listed.size).toBeLessThan(12);
    const wasListed = (key: Uint8Array) => listed.has(leafOf(nameOf(key)));
    const added = fresh.slice(400);
    const changed = added.find(wasListed);
    const first = added.find((key) => !wasListed(key));
    const gone = fresh.slice(0, 400).find(wasListed);
    if (!changed || !first || !gone) throw new Error("no keys for the case");
    give(server, first);
    const name = give(server, changed, gone);
    server.lies = {};
    gateway.again();
    await soon(() => gateway.status().state).toBe("up");
    expect(gateway.diagnostics.all("recon-crawled")).toHaveLength(1);
    await soon(() => gateway.entries().length).toBe(1);
    await sessions(server);
    expect(server.questions).toEqual([[name]]);
    expect(gateway.known()).toEqual(server.tree.all().sort());
  });

  test("a grown key comes as its news", async () => {
    const server = await serverWith([smaller(FIRST)]);
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(1);
    give(server, FIRST, smaller(FIRST));
    await soon(() => gateway.entries().length).toBe(2);
    await soon(() => gateway.diagnostics.all("trimmed").length).toBe(1);
    expect(gateway.known()).toEqual([nameOf(FIRST)]);
  });

  test("a server that lost its keys and got them again: nothing is new", async () => {
    const server = await serverWith([FIRST, SECOND]);
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(2);
    for (const key of [FIRST, SECOND]) take(server, key);
    await soon(() => gateway.known().length).toBe(0);
    for (const key of [FIRST, SECOND]) give(server, key);
    await soon(() => gateway.diagnostics.all("duplicate").length).toBe(2);
    expect(gateway.entries()).toHaveLength(2);
  });

  test("a restart goes on where it was: nothing is fetched again", async () => {
    const server = await serverWith(KEYS);
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(KEYS.length);
    await until(() => gateway.status().wanted === 0);
    await gateway.stop();
    const questions = server.questions.length;
    const octets = server.octetsOut;
    gateway.again();
    await soon(() => gateway.status().state).toBe("up");
    await sessions(server);
    expect(server.questions).toHaveLength(questions);
    expect(server.octetsOut - octets).toBeLessThan(10_000);
  });

  test("keys that were listed and not fetched before a stop are fetched after it", async () => {
    const server = await serverWith(KEYS);
    server.answering = () => {};
    const gateway = followed(server);
    await soon(() => server.questions.length).toBe(1);
    await gateway.stop();
    server.answering = undefined;
    gateway.again();
    await soon(() => gateway.entries().length).toBe(KEYS.length);
  });

  test("a server that is restarted in the middle is followed again", async () => {
    const server = await serverWith(KEYS.slice(0, 10));
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(10);
    await server.stop();
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    expect(gateway.status()).toMatchObject({ state: "down" });
    for (const key of KEYS.slice(10)) give(server, key);
    await server.start();
    await soon(() => gateway.entries().length).toBe(KEYS.length);
    expect(gateway.diagnostics.all("recon-up")).toHaveLength(2);
  });

  test("policy refuses a key once, and it is not asked for again", async () => {
    const server = await serverWith([FIRST]);
    const judge = () => new Refusal("policy-carry", "The key is not carried here.");
    const gateway = followed(server, { judge });
    await soon(() => gateway.diagnostics.all("key-refused").length).toBe(1);
    await sessions(server);
    expect(server.questions).toHaveLength(1);
    expect(gateway.entries()).toEqual([]);
  });

  test("300 keys in questions of at most 100, at the rate", async () => {
    const keys = Array.from({ length: 300 }, (_, n) => rsaUpdate(n).body);
    const server = await serverWith(keys);
    const gateway = followed(server);
    await soon(() => gateway.log.newest()).toBe(300);
    expect(Math.max(...server.questions.map(({ length }) => length))).toBeLessThanOrEqual(100);
    expect(server.questions.flat()).toHaveLength(300);
  });

  test("a rate of 5 a minute fetches five", async () => {
    const server = await serverWith(KEYS);
    const gateway = followed(server, { settings: 'start = "all"\nrate = "5/1m"' });
    await soon(() => gateway.entries().length).toBe(5);
    await sessions(server, 5);
    expect(server.questions.flat()).toHaveLength(5);
  });
});

describe("loops", () => {
  test("what comes from the local keyserver is not delivered to it", async () => {
    const server = await serverWith([FIRST]);
    const sections = `[local]\ntype = "hkp"\nurl = "http://localhost:${server.httpPort}"`;
    const gateway = followed(server, { sections });
    await soon(() => gateway.entries().length).toBe(1);
    expect(gateway.entries()[0]?.origin).toEqual({ neighbour: "[local]", transport: "recon" });
    const lane = gateway.log.lanes.open("[local]");
    gateway.log.lanes.save("[local]", { ...lane, cursor: 0 as never });
    expect(gateway.log.pending.of({ name: "[local]", address: undefined }).count).toBe(0);
  });

  test("what was delivered there shows as a changed MD5 and costs one question", async () => {
    const server = await serverWith([smaller(FIRST)]);
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(1);
    // The key grows by mail here, and is posted to the server.

    const keys = new KeyIntake({
      log: gateway.log,
      appends: new GroupCommit(gateway.log),
      clock: systemClock,
      diagnostics: gateway.diagnostics,
    });
    const armor = [Buffer.from(encodeArmor(FIRST), "latin1")];
    const given = { armor, sender: undefined, trail: [], messageId: undefined, bytes: 1 };
    await keys.take(given);
    const entries = gateway.entries().length;
    const questions = server.questions.length;
    give(server, FIRST, smaller(FIRST));
    await soon(() => gateway.diagnostics.all("duplicate").length).toBe(1);
    await sessions(server);
    expect(gateway.entries()).toHaveLength(entries);
    expect(server.questions).toHaveLength(questions + 1);
  });

  const recon = (hkp: string) => ({ name: "ks:11370", hkp }) as never;
  const peer = (name: string, mail: string | undefined, repair?: string) =>
    ({ name, mail, repair: repair && { type: "hkp", url: repair } }) as never;
  test.each([
    ["a stranger", "http://ks.example.net:11371", [], undefined, "ks:11370", []],
    [
      ...(["a neighbour by its repair", "http://KS.example.net:11371"] as const),
      [peer("old", "pks@mail.example.net", "http://ks.example.net:11371")],
      ...([undefined, "old", []] as const),
    ],
    [
      ...(["a neighbour by its mail domain", "http://ks.example.net:11371"] as const),
      [peer("old", "pgp-public-keys@ks.example.net")],
      ...([undefined, "old", []] as const),
    ],
    [
      ...(["local and a neighbour", "http://127.0.0.1:11371"] as const),
      [peer("old", "pks@ks.example.net", "http://localhost:11371")],
      { name: "[local]", mail: undefined, url: "http://[::1]:11371" },
      ...(["[local]", ["pks@ks.example.net"]] as const),
    ],
    [
      ...(["another port of this host", "http://127.0.0.1:11371", []] as const),
      { name: "[local]", mail: undefined, url: "http://127.0.0.1:11381" },
      ...(["ks:11370", []] as const),
    ],
    [
      ...(["an SKS that reads its spool here", "http://127.0.0.1:11371", []] as const),
      { name: "[local]", mail: undefined, url: undefined },
      ...(["[local]", []] as const),
    ],
  ])("the server counts as %s", (_, hkp, neighbours, local, name, trail) => {
    expect(followedAs(recon(hkp), { neighbours }, local)).toMatchObject({ name, trail });
  });
});

describe("bad answers", () => {
  test("another key than the one asked for is not taken, and is reported", async () => {
    const server = await serverWith([FIRST]);
    server.answering = (_, response) => response.end(answerOf([SECOND]));
    const gateway = followed(server);
    await soon(() => gateway.diagnostics.all("recon-wrong").length).toBeGreaterThan(0);
    await soon(() => gateway.diagnostics.all("recon-missing").length).toBe(1);
    expect(gateway.diagnostics.all("recon-missing")).toMatchObject([{ md5: nameOf(FIRST) }]);
    expect(gateway.entries()).toEqual([]);
    const asked = server.questions.length;
    await sessions(server);
    expect(server.questions).toHaveLength(asked);
  });

  test("a key that is asked for and comes twice is taken once", async () => {
    const server = await serverWith([FIRST, SECOND]);
    server.answering = (asked, response, truth) =>
      response.end(asked.length === 2 ? answerOf([FIRST, FIRST]) : truth());
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(2);
    expect(gateway.diagnostics.all("recon-wrong")).toMatchObject([
      { problem: "1 of 2 keys have another MD5" },
    ]);
    expect(gateway.diagnostics.all("duplicate")).toEqual([]);
  });

  test.each<[string, Buffer, string]>([
    ["10^6 keys", Buffer.concat([int(1e6)]), "1000000 keys where 1 were asked for"],
    ["a key that is cut short", Buffer.concat([int(1), int(1e9)]), "cut short"],
    ["a count that is cut short", Buffer.of(0), "without a count"],
    ["more than the keys", Buffer.concat([int(0), Buffer.alloc(9)]), "more than the keys"],
  ])("%s", async (_, body, words) => {
    const server = await serverWith([FIRST]);
    server.answering = (_asked, response) => response.end(body);
    const gateway = followed(server);
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    expect(gateway.diagnostics.all("recon-down")[0]?.problem).toContain(words);
    expect(gateway.status()).toMatchObject({ state: "up" });
    // It is asked again, and gives the key.
    server.answering = undefined;
    await soon(() => gateway.entries().length).toBe(1);
    expect(gateway.status().problem).toBeUndefined();
  });

  test("an answer without end is broken off at its limit, and other keys still come", async () => {
    const server = await serverWith([FIRST, SECOND]);
    const endless = nameOf(FIRST);
    let sent = 0;
    server.answering = (asked, response, truth) => {
      if (!asked.includes(endless)) return void response.end(truth());
      const more = () => {
        while (!response.destroyed && sent < 1e9) {
          sent += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
        }
      };
      response.write(int(asked.length));
      response.write(int(2 ** 31));
      more();
    };
    const limits = { question: { requestMs: 10_000, octets: 1_000_000 } };
    const gateway = followed(server, { limits });
    await soon(() => gateway.entries().length).toBe(1);
    await soon(() => gateway.diagnostics.all("recon-missing").length).toBe(1);
    expect(gateway.diagnostics.all("recon-missing")[0]?.problem).toBe("the key is too large");
    expect(sent).toBeLessThan(50_000_000);
  });

  test("a compressed answer is not decompressed", async () => {
    const server = await serverWith([FIRST]);
    server.answering = (_, response) => {
      response.setHeader("content-encoding", "gzip");
      response.end(gzipSync(Buffer.alloc(50_000_000)));
    };
    const gateway = followed(server);
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    expect(gateway.diagnostics.all("recon-down")[0]?.problem).toContain("encoded as gzip");
  });

  test("an answer that takes too long is broken off", async () => {
    const server = await serverWith([FIRST]);
    server.answering = (_, response) => {
      const drip = setInterval(() => response.write("\0"), 20);
      response.on("close", () => clearInterval(drip));
    };
    const gateway = followed(server, { limits: { question: { requestMs: 200, octets: 1e6 } } });
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    expect(gateway.diagnostics.all("recon-down")[0]?.problem).toContain("no answer within 0.2 s");
  });

  test("a short answer is followed by questions for the rest", async () => {
    const server = await serverWith(KEYS);
    server.answering = (asked, response) => {
      const [first] = asked.flatMap((md5) => server.keys.get(md5) ?? []);
      response.end(answerOf(first === undefined ? [] : [first]));
    };
    const gateway = followed(server);
    await soon(() => gateway.entries().length).toBe(KEYS.length);
    expect(gateway.diagnostics.all("recon-missing")).toEqual([]);
  });

  test("an error of HTTP is told in words, and polling goes on", async () => {
    const server = await serverWith([FIRST]);
    server.answering = (_, response) => response.writeHead(503).end();
    const gateway = followed(server);
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    const [{ problem }] = gateway.diagnostics.all("recon-down") as [{ problem: string }];
    expect(problem).toBe("hashquery: it answered 503 Service Unavailable");
    await sessions(server);
  });
});

describe("bad sessions", () => {
  test("a refusal is an error with its remedy, told once", async () => {
    const server = await serverWith([FIRST]);
    server.lies = { refusal: "mismatched filters" };
    const gateway = followed(server);
    await soon(() => gateway.diagnostics.all("recon-refused").length).toBe(1);
    await sessions(server);
    const refused = gateway.diagnostics.all("recon-refused");
    expect(refused).toMatchObject([{ problem: "mismatched filters" }]);
    expect(refused[0]?.remedy).toContain("filters");
    server.lies = {};
    await soon(() => gateway.entries().length).toBe(1);
  });

  test("a fault is told, and the server is followed when it behaves", async () => {
    const server = await serverWith([FIRST]);
    server.lies = { node: () => string(Buffer.of(42)) };
    const gateway = followed(server);
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    const problem = "it sent a message of type 42";
    expect(gateway.diagnostics.all("recon-down")).toMatchObject([{ problem }]);
    server.lies = {};
    await soon(() => gateway.entries().length).toBe(1);
  });

  test("other parameters: the tree is learnt anew, and nothing is fetched again", async () => {
    const keys = Array.from({ length: 200 }, (_, n) => rsaUpdate(n).body);
    const server = await serverWith(keys);
    const gateway = followed(server);
    await soon(() => gateway.log.newest()).toBe(200);
    await sessions(server);
    const asked = server.questions.length;
    server.lies = { config: new Map([["mbar", int(4)]]) };
    await soon(() => gateway.diagnostics.all("recon-down").length).toBe(1);
    expect(gateway.diagnostics.all("recon-down")[0]?.problem).toContain("6 samples with an mbar");
    server.lies = {};
    await soon(() => gateway.status().state).toBe("up");
    expect(server.questions).toHaveLength(asked);
    expect(gateway.known()).toEqual(server.tree.all().sort());
  });

  test("connections that are cut: after quiet exactly its keys are known", async () => {
    const keys = Array.from({ length: 400 }, (_, n) => rsaUpdate(n).body);
    const server = await serverWith(keys.slice(0, 100));
    const gateway = followed(server);
    for (let round = 0; round < 15; round++) {
      for (const key of keys.slice(100 + round * 20, 120 + round * 20)) give(server, key);
      const gone = keys[round * 3];
      if (gone !== undefined) take(server, gone);
      server.lies = round % 3 === 0 ? { breakAfter: 1 + round * 2 } : {};
      await sessions(server, 1);
      server.cut();
    }
    server.lies = {};
    await soon(() => gateway.known()).toEqual(server.tree.all().sort());
    const missing = () => {
      const there = new Set(gateway.entries().map(({ fingerprint }) => fingerprint));
      return keys
        .filter((key) => server.keys.has(nameOf(key)))
        .map((key) => readKeys(key)[0])
        .filter((key) => !(key instanceof Refusal) && !there.has(key?.fingerprint as never));
    };
    await soon(() => missing().length).toBe(0);
  }, 40_000);
});
