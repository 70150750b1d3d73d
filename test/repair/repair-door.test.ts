/**
 * Lost keys are fetched again over HKP: whom the door asks, in which order and how often, what it
 * takes and what it refuses, and that the operator hears an error only when nobody is left.
 */
import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { EVENTS } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { keyPackets, readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import { encodePackets, TAG } from "../../src/openpgp/packet.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { hockeypuck } from "../delivery/hockeypuck.js";
import { keyNames } from "../mail/fixtures.js";
import { Signer } from "../openpgp/signer.js";
import { makeCertificate } from "../support/certificates.js";
import { keyserver } from "../support/keyserver.js";
import { freePort, listening } from "../support/ports.js";
import { scratch } from "../support/scratch.js";
import { soon } from "../support/soon.js";
import { quietFor } from "../support/until.js";
import { FINGERPRINT, HASH, key, QUICK, repairStage } from "./stage.js";

const MINE = key(0);
const keyOf = (body: Uint8Array) => readKeys(body)[0] as TransferableKey;
const has = () => keyserver((_, response) => void response.end(MINE.armor));
const withPhoto = () => {
  const packets = keyPackets(keyOf(MINE.update.body));
  const photo = { tag: TAG.userAttribute, body: new Uint8Array([2, 1, 0]) };
  const armor = encodeArmor(encodePackets([...packets, photo]));
  return keyserver((_, response) => void response.end(armor));
};
const hasNot = () => keyserver((_, response) => void response.writeHead(404).end("none"));

/** Some fingerprint that belongs to no key. */
const madeUp = (n: number) => n.toString(16).toUpperCase().padStart(40, "0") as Fingerprint;

describe("a lost key", () => {
  test("is fetched from who announced it, and is news of his", async () => {
    const [old, other] = [await has(), await has()];
    const stage = await repairStage({ other: other.repair, old: old.repair });
    stage.want({ neighbours: ["old"], hash: HASH });
    const fields = await stage.heard("repaired");
    const { hash } = MINE.update;
    expect(fields).toMatchObject({ hash: HASH, fingerprint: FINGERPRINT, neighbour: "old" });
    expect(fields).toMatchObject({ via: "hkp", why: "lost", appended: 1, known: 0 });
    expect(old.asked).toEqual([`/pks/lookup get 0x${FINGERPRINT}`]);
    expect(other.asked).toEqual([]);
    expect(stage.log.entryByHash(hash)?.origin).toEqual({ neighbour: "old", transport: "repair" });
    expect(stage.log.repairs.count()).toBe(0);
    expect(stage.diagnostics.all("accepted")).toMatchObject([{ via: "repair", neighbour: "old" }]);
  });

  test("is asked of others when he has not got it, of the keyserver beside us last", async () => {
    const [old, other, local] = [await hasNot(), await hasNot(), await has()];
    const stage = await repairStage(
      { other: other.repair, old: old.repair, deaf: undefined },
      { local: local.repair },
    );
    stage.want({ neighbours: ["deaf", "old"] });
    expect(await stage.heard("repaired")).toMatchObject({ neighbour: "[local]" });
    expect([old, other, local].map(({ asked }) => asked.length)).toEqual([1, 1, 1]);
    expect(stage.log.entry(1 as Seq)?.origin.neighbour).toBe("[local]");
  });

  test("that one peer alone announced is asked of the keyserver beside us second", async () => {
    const [old, other, local] = [await hasNot(), await has(), await has()];
    const stage = await repairStage(
      { other: other.repair, old: old.repair },
      { local: local.repair },
    );
    stage.want({ neighbours: ["old"] });
    expect(await stage.heard("repaired")).toMatchObject({ neighbour: "[local]", appended: 1 });
    expect([old, other, local].map(({ asked }) => asked.length)).toEqual([1, 0, 1]);
    // Its copy is known by now, and may be older than what is missing.
    stage.want({ neighbours: ["old"], hash: HASH });
    await soon(() => stage.diagnostics.all("repaired").length).toBe(2);
    expect(stage.diagnostics.all("repaired")[1]).toMatchObject({ neighbour: "other", known: 1 });
    expect([old, other, local].map(({ asked }) => asked.length)).toEqual([2, 1, 2]);
  });

  test("of which a peer makes up many: others are asked for a few, the rest waits", async () => {
    const [old, other] = [await hasNot(), await hasNot()];
    const others = { count: 5, periodMs: 3_600_000 };
    const stage = await repairStage(
      { old: old.repair, other: other.repair },
      { limits: { ...QUICK, others, othersMs: 3_600_000 } },
    );
    for (let n = 0; n < 40; n++) stage.want({ fingerprint: madeUp(n), neighbours: ["old"] });
    await soon(() => old.asked.length).toBe(40);
    await soon(() => other.asked.length).toBe(5);
    // What two peers have announced was not chosen by one.
    stage.want({ fingerprint: madeUp(99), neighbours: ["old", "third"] });
    await soon(() => other.asked.length).toBe(6);
    const failed = () => stage.diagnostics.all("repair-failed");
    await soon(() => failed().length + stage.log.repairs.count()).toBe(41);
    expect(stage.log.repairs.count()).toBeLessThanOrEqual(35);
    expect(other.asked.length).toBe(6);
  });

  test("that nobody has is one error, with what each of them said", async () => {
    const [old, other] = [await hasNot(), await hasNot()];
    const stage = await repairStage({ old: old.repair, other: other.repair });
    stage.want({ neighbours: ["old"], hash: HASH });
    expect(await stage.heard("repair-failed")).toEqual({
      ...{ hash: HASH, fingerprint: FINGERPRINT, why: "lost", neighbours: "old" },
      problem: "old: does not have it; other: does not have it",
    });
    const levels = stage.diagnostics.events.map(({ event }) => EVENTS[event].level);
    expect(levels.filter((level) => level === "error")).toHaveLength(1);
    expect(stage.log.repairs.count()).toBe(0);
  });

  test("that is revoked for good is read where Hockeypuck shows it", async () => {
    const ann = new Signer(1);
    const revocation = ann.over(ann.primary, { at: 1_700_000_000, type: 0x20 });
    const { url, asked } = await hockeypuck(ann.key(revocation));
    const stage = await repairStage({ old: url.replace("http:", "hkp:") });
    stage.want({ fingerprint: ann.fingerprint as Fingerprint, neighbours: ["old"] });
    expect(await stage.heard("repaired")).toMatchObject({ neighbour: "old", appended: 1 });
    const body = stage.log.body(1 as Seq);
    expect(body && Buffer.from(body)).toEqual(Buffer.from(ann.key(revocation)));
    expect(asked).toEqual(["/pks/lookup get", "/pks/lookup index", "/pks/hashquery"]);
  });

  test("without anybody to ask is that error at once", async () => {
    const stage = await repairStage({ old: undefined });
    stage.want({ neighbours: ["old"] });
    const { problem } = await stage.heard("repair-failed");
    expect(problem).toBe("no keyserver to ask: no matching repair in the config");
  });

  test("that came by another way meanwhile is not asked for", async () => {
    const old = await has();
    const stage = await repairStage({ old: old.repair });
    const origin = { neighbour: "old", transport: "kx" } as const;
    stage.log.append([{ update: MINE.update, origin, trail: [], receivedAt: Date.now() }]);
    stage.want({ neighbours: ["old"], hash: MINE.update.hash });
    await soon(() => stage.log.repairs.count()).toBe(0);
    expect(old.asked).toEqual([]);
  });

  test("is wanted by many and asked for once", async () => {
    const old = await has();
    const path = scratch();
    const stage = await repairStage({ old: old.repair }, { path });
    for (let n = 0; n < 20; n++) stage.want({ neighbours: ["old"] });
    await stage.heard("repaired");
    await quietFor(50, "a second question would come");
    expect(old.asked).toHaveLength(1);
  });

  test("too large to be taken whole is an error that says so", async () => {
    const old = await has();
    const stage = await repairStage({ old: old.repair }, { more: "[policy]\nmax_packets = 1" });
    stage.want({ neighbours: ["old"] });
    const { problem } = await stage.heard("repair-failed");
    expect(problem).toBe("old: The update has more than 1 packets.");
    expect(old.asked).toHaveLength(1);
  });

  test("is policy's to refuse, and then nobody else is asked", async () => {
    const [old, other] = [await withPhoto(), await has()];
    const more = '[policy]\nattributes = "refuse"';
    const stage = await repairStage({ old: old.repair, other: other.repair }, { more });
    stage.want({ neighbours: ["old"] });
    expect(await stage.heard("update-refused")).toMatchObject({ neighbour: "old", why: "lost" });
    expect(stage.log.newest()).toBe(0);
    expect(other.asked).toEqual([]);
  });
});

test("a key that is blocked here is not asked for", async () => {
  const old = await has();
  const stage = await repairStage({ old: old.repair });
  const block = { reason: "asked", until: undefined, allowRevocation: false };
  stage.log.removals.setBlock(FINGERPRINT, block, Date.now());
  stage.want({ neighbours: ["old"] });
  expect(await stage.heard("update-refused")).toMatchObject({ fingerprint: FINGERPRINT });
  expect([old.asked, stage.log.repairs.count()]).toEqual([[], 0]);
});

describe("a keyserver that answers something else", () => {
  const other = key(1);
  const secret = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxQ==\n=abcd\n-----END PGP PRIVATE";
  const cases: Record<string, (response: ServerResponse) => void> = {
    "another key": (response) => void response.end(other.armor),
    "a page": (response) => {
      response.setHeader("Content-Type", "text/html");
      response.end("<html><body><h1>No results found</h1></body></html>");
    },
    nothing: (response) => void response.end(),
    "half a key": (response) => void response.end(MINE.armor.slice(0, 900)),
    "armor with a wrong sum": (response) => {
      response.end(MINE.armor.replace(/\n=[\w+/]{4}\n/, "\n=AAAA\n"));
    },
    "a secret key": (response) => void response.end(secret),
    bytes: (response) => void response.end(Buffer.alloc(5000, 0xc6)),
    "status 500": (response) => void response.writeHead(500).end(MINE.armor),
    "status 429": (response) => void response.writeHead(429).end(),
    "a redirection": (response) => {
      response.writeHead(302, { Location: "http://127.0.0.1:1/" }).end();
    },
    silence: () => {},
    "a trickle": (response) => {
      const timer = setInterval(() => response.write("x\n"), 20);
      response.once("close", () => clearInterval(timer));
    },
    "no end of bytes": (response) => {
      const more = () => {
        while (response.write(Buffer.alloc(65_536, 0x0a)));
      };
      response.on("drain", more);
      more();
    },
    "a closed connection": (response) => void response.destroy(),
  };

  test.each(Object.keys(cases))("%s: asked again, and then the next one", async (name) => {
    const answer = cases[name];
    const bad = await keyserver((_, response) => answer?.(response));
    const good = await has();
    const more = '[policy]\nmax_update = "100KiB"';
    const isSlow = name === "silence" || name === "a trickle";
    const requestMs = isSlow ? 500 : QUICK.requestMs;
    const limits = { ...QUICK, schedule: [5] as const, requestMs };
    const ways = { old: bad.repair, other: good.repair };
    const stage = await repairStage(ways, { more, limits });
    stage.want({ neighbours: ["old"] });
    expect(await stage.heard("repaired")).toMatchObject({ neighbour: "other", appended: 1 });
    expect(bad.asked).toHaveLength(2);
    expect(stage.diagnostics.all("repair-retry")).toHaveLength(1);
    expect(stage.log.newest()).toBe(1);
  });

  test("the right key among others: it is taken, and no other", async () => {
    const both = await keyserver((_, response) => void response.end(other.armor + MINE.armor));
    const stage = await repairStage({ old: both.repair });
    stage.want({ neighbours: ["old"] });
    await stage.heard("repaired");
    expect(stage.log.newest()).toBe(1);
    expect(stage.diagnostics.all("key-refused")).toMatchObject([{ reason: "wrong-key" }]);
  });

  test("nobody at that port: it is asked by the schedule and rests in between", async () => {
    const stage = await repairStage({ old: `hkp://127.0.0.1:${await freePort()}` });
    stage.want({ neighbours: ["old"] });
    const { problem } = await stage.heard("repair-failed");
    expect(problem).toMatch(/^old: .*ECONNREFUSED/);
    expect(stage.diagnostics.all("repair-retry")).toHaveLength(QUICK.schedule.length);
  });
});

test("hkps is TLS, and to nobody whose certificate is not good", async () => {
  const directory = scratch();
  makeCertificate(directory, "own");
  const read = (name: string) => readFileSync(join(directory, name));
  let requests = 0;
  const server = createTlsServer({ cert: read("own.pem"), key: read("own.key") }, (_, response) => {
    requests += 1;
    response.end(MINE.armor);
  });
  const port = await listening(server);
  onTestFinished(() => {
    server.close();
  });
  const stage = await repairStage({ old: `hkps://127.0.0.1:${port}` });
  stage.want({ neighbours: ["old"] });
  expect((await stage.heard("repair-failed")).problem).toMatch(/^old: self-signed certificate/);
  expect(requests).toBe(0);
});

describe("many lost keys", () => {
  const names = keyNames.map((_, index) => key(index).update.fingerprint);

  test("are asked for one at a time, at the pace", async () => {
    let open = 0;
    let most = 0;
    const old = await keyserver((fingerprint, response) => {
      open += 1;
      most = Math.max(most, open);
      setTimeout(() => {
        open -= 1;
        response.end(key(names.indexOf(fingerprint as Fingerprint)).armor);
      }, 2);
    });
    const limits = { ...QUICK, hkpPace: { count: 5, periodMs: 100 } };
    const stage = await repairStage({ old: old.repair }, { limits });
    const begun = performance.now();
    for (const fingerprint of names) stage.want({ neighbours: ["old"], fingerprint });
    await stage.heard("repaired", names.length);
    // The first five at once, each further one 20 ms after the one before.
    expect(performance.now() - begun).toBeGreaterThan((names.length - 6) * 20);
    expect([most, old.asked.length]).toEqual([1, names.length]);
    expect(stage.log.newest()).toBe(names.length);
  });

  test("do not use up their attempts while the keyserver is down", async () => {
    let isDown = true;
    const old = await keyserver((fingerprint, response) => {
      if (isDown) response.writeHead(503).end();
      else response.end(key(names.indexOf(fingerprint as Fingerprint)).armor);
    });
    const limits = { ...QUICK, schedule: [5, 5, 5] as const, rest: [60_000] as const };
    const path = scratch();
    const stage = await repairStage({ old: old.repair }, { limits, path });
    for (const fingerprint of names) stage.want({ neighbours: ["old"], fingerprint });
    await stage.heard("repair-retry");
    await quietFor(100, "a source that does not rest would be asked for the next key");
    expect(old.asked).toHaveLength(1);
    await stage.door.stop();
    stage.log.close();

    isDown = false;
    const next = await repairStage({ old: old.repair }, { path });
    await next.heard("repaired", names.length);
    expect(next.log.newest()).toBe(names.length);
    expect(next.diagnostics.all("repair-failed")).toEqual([]);
  });

  test("outlive a restart amid a question, and a config without the source", async () => {
    const path = scratch();
    const silent = await keyserver(() => {});
    const first = await repairStage({ old: silent.repair }, { path });
    first.want({ neighbours: ["old"] });
    await soon(() => silent.asked.length).toBe(1);
    await first.door.stop();
    expect(first.log.repairs.get(FINGERPRINT)).toMatchObject({ source: "old", attempts: 0 });
    first.log.close();
    const other = await has();
    const second = await repairStage({ old: undefined, other: other.repair }, { path });
    expect(await second.heard("repaired")).toMatchObject({ neighbour: "other" });
  });
});

describe("an update that expired before a site took it", () => {
  test("is sent to the site again, also when it is no news", async () => {
    const old = await has();
    const stage = await repairStage({ old: old.repair, far: old.repair });
    const { update } = MINE;
    const origin = { neighbour: "old", transport: "mail" } as const;
    const arrival = { update, origin, trail: [], receivedAt: 1000 };
    stage.log.append([arrival]);
    stage.log.append([{ ...arrival, update: key(1).update, receivedAt: 2000 }]);
    stage.log.retention.expire(1e12, { retainMs: 1000, rememberMs: 1e13 }, 10);
    expect([stage.log.body(1 as Seq), stage.log.counts().bodies]).toEqual([undefined, 1]);
    stage.want({ why: "expired", neighbours: ["far", "old"], site: "far", hash: update.hash });
    const fields = await stage.heard("repaired");
    expect(fields).toMatchObject({ neighbour: "old", appended: 0, known: 1 });
    expect(stage.log.body(1 as Seq)).toEqual(update.body);
    expect(stage.log.counts().bodies).toBe(2);
    expect(stage.log.exceptions.next("far")?.seq).toBe(1);
  });
});

test("a version 6 key has a fingerprint of 64 digits and is asked for by it", async () => {
  const old = await hasNot();
  const stage = await repairStage({ old: old.repair });
  const fingerprint = "AB".repeat(32) as Fingerprint;
  stage.want({ neighbours: ["old"], fingerprint });
  await stage.heard("repair-failed");
  expect(old.asked).toEqual([`/pks/lookup get 0x${fingerprint}`]);
});

test("a log in trouble is nobody's failure", async () => {
  const old = await has();
  const stage = await repairStage({ old: old.repair });
  const append = stage.log.append.bind(stage.log);
  stage.log.append = () => {
    throw new Trouble("disk-full", "no space left", "Free space.");
  };
  onTestFinished(() => {
    stage.log.append = append;
  });
  stage.want({ neighbours: ["old"] });
  await stage.heard("log-trouble");
  expect(stage.log.repairs.get(FINGERPRINT)).toMatchObject({ attempts: 0, source: "old" });
});
