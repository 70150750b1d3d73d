/**
 * Reconciliation through whole gateways: two sites, each with a keyserver and an index made from
 * its dump, are brought together by `kxgw reconcile`; differences that stay are not fetched again;
 * hostile peers cost their budget.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { indexBuildCommand, indexStatusCommand } from "../../src/cli/key-index.js";
import { peersCommand } from "../../src/cli/peers.js";
import { reconcileCommand } from "../../src/cli/reconcile.js";
import { statusCommand } from "../../src/cli/status.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { assembleKey, encodeKey, keyComponents, readKeys } from "../../src/openpgp/key.js";
import { KEEPER_LIMITS } from "../../src/repair/index-keeper.js";
import { REPAIR_LIMITS } from "../../src/repair/repair-limits.js";
import { HEAD, type Running, startGateway } from "../admin/gateway.js";
import { captured } from "../cli/captured.js";
import { KxScript } from "../support/kx-script.js";
import { type MergingKeyserver, mergingKeyserver } from "../support/merging-keyserver.js";
import { freePort } from "../support/ports.js";
import { scratch } from "../support/scratch.js";
import { quietFor, until as untilWithin } from "../support/until.js";
import { made, REAL_KEYS } from "./material.js";

vi.setConfig({ testTimeout: 90_000 });
/** Two gateways and two keyservers in one process: a busy machine takes its time. */
const until = <T>(look: () => T | Promise<T>, what?: string) => untilWithin(look, what, 40_000);

beforeEach(() => {
  KEEPER_LIMITS.everyMs = 100;
  // A public keyserver is asked for a key a second; these are our own.
  Object.assign(REPAIR_LIMITS.hkpPace, { count: 1000, periodMs: 1000 });
  Object.assign(REPAIR_LIMITS, { schedule: [20, 20], rest: [1] });
});

/** A keyserver with a gateway beside it, and the commands of its operator. */
class Site {
  readonly keyserver: MergingKeyserver;
  readonly #directory = scratch();
  readonly #file = join(this.#directory, "kxgw.toml");
  readonly #config: string;

  constructor(keyserver: MergingKeyserver, config: string) {
    this.keyserver = keyserver;
    const local = `[local]\ntype = "hkp"\nurl = "http://127.0.0.1:${keyserver.port}"\n`;
    this.#config = `${HEAD}${local}${config}`;
    writeFileSync(this.#file, this.#config);
  }

  start(): Promise<Running> {
    return startGateway(this.#config, { directory: this.#directory });
  }

  async build() {
    const dump = join(this.#directory, "dump.pgp");
    writeFileSync(dump, this.keyserver.dump());
    const options = { file: this.#file, json: false, progress: false };
    return await said((out) => indexBuildCommand([dump], options, out, {}));
  }

  async indexed(): Promise<{ keys: number; hash: string; behind: number }> {
    const options = { file: this.#file, json: true };
    return JSON.parse((await said((out) => indexStatusCommand(options, out, {}))).text);
  }

  reconcile(peer: string, more: { dryRun?: boolean } = {}) {
    const options = { file: this.#file, json: false, dryRun: false, waitMs: 20_000 };
    return said((out) => reconcileCommand(peer, { ...options, progress: false, ...more }, out, {}));
  }

  async report(peer: string) {
    const options = { file: this.#file, json: true };
    const { text } = await said((out) => peersCommand("show", peer, options, out, {}));
    return JSON.parse(text).peer.reconcile;
  }

  status() {
    return said((out) => statusCommand(this.#file, { json: false }, out, {}));
  }
}

async function said(order: (out: ReturnType<typeof captured>) => Promise<number>) {
  const out = captured();
  return { code: await order(out), text: out.text, errors: out.errors };
}

/** Two sites whose gateways are connected; `fill` gives their keyservers keys. */
async function twoSites(fill: (left: MergingKeyserver, right: MergingKeyserver) => void) {
  const [one, two] = [await mergingKeyserver(), await mergingKeyserver()];
  const port = await freePort();
  const left = new Site(
    one,
    `[kx]\nlisten = []\nsource = "127.0.0.2"\n[[peer]]\nname = "right"
kx = "127.0.0.1:${port}"\ndial = true\nrepair = "hkp://127.0.0.1:${two.port}"\n`,
  );
  const right = new Site(
    two,
    `[kx]\nlisten = ["127.0.0.1:${port}"]\n[[peer]]\nname = "left"\nkx = "127.0.0.2:1"
repair = "hkp://127.0.0.1:${one.port}"\n`,
  );
  fill(one, two);
  const gateways = [await right.start(), await left.start()] as const;
  const isUp = ({ reports }: Running) => reports.some(({ event }) => event === "peer-connected");
  await until(() => gateways.every(isUp), "both sessions");
  return { left, right, gateways };
}

function octets(armor: string): Uint8Array {
  const [block] = readArmor(Buffer.from(armor));
  if (block === undefined || block instanceof Error) throw new Error("no block");
  return block.data;
}

/** The key without one of its signatures. */
function withoutOne(armor: string): Uint8Array {
  const [key] = readKeys(octets(armor));
  if (key === undefined || key instanceof Error) throw new Error("no key");
  const parts = [...keyComponents(key)];
  const at = parts.findLastIndex(({ signatures }) => signatures.length > 1);
  const part = parts[at];
  if (part === undefined) throw new Error("no component with two signatures");
  parts[at] = { ...part, signatures: part.signatures.slice(1) };
  return encodeKey(assembleKey(parts));
}

const MADE = Array.from({ length: 60 }, (_, n) => octets(made("reconcile", n).armor));
/** Real keys of which a signature can be left out. */
const SIGNED = REAL_KEYS.filter((armor) => {
  const [key] = readKeys(octets(armor));
  if (key === undefined || key instanceof Error) return false;
  return keyComponents(key).some(({ signatures }) => signatures.length > 1);
}).slice(0, 6);

/** The right site has two keys more, and its keyserver is down. */
const twoLacking: Parameters<typeof twoSites>[0] = (one, two) => {
  for (const key of MADE.slice(0, 20)) one.add(key);
  for (const key of MADE.slice(0, 22)) two.add(key);
  two.isDown = true;
};

describe("two sites", () => {
  it("with missing keys and missing signatures, both ways, come to hold the same", async () => {
    expect(SIGNED.length).toBeGreaterThan(3);
    const { left, right } = await twoSites((one, two) => {
      for (const key of MADE.slice(0, 55)) one.add(key);
      for (const key of MADE.slice(5)) two.add(key);
      for (const [n, armor] of SIGNED.entries()) {
        one.add(n % 2 === 0 ? octets(armor) : withoutOne(armor));
        two.add(n % 2 === 1 ? octets(armor) : withoutOne(armor));
      }
    });
    expect(await left.build()).toMatchObject({ code: 0 });
    expect(await right.build()).toMatchObject({ code: 0 });
    const { code, text } = await left.reconcile("right");
    expect({ code, text }).toMatchObject({ code: 0 });
    const differing = SIGNED.length;
    expect(await left.report("right")).toMatchObject({
      ...{ state: "done", keysHere: 55 + differing, keysThere: 55 + differing, common: 50 },
      ...{ onlyHere: 5, onlyThere: 5, differing, queued: 5 + differing, told: 5 + differing },
    });
    expect(text).toMatch(/only here +5\n/);
    const sum = ({ keyserver }: Site) => [...keyserver.digests()].sort().join();
    await until(() => sum(left) === sum(right), "the same keys at both");
    expect(left.keyserver.digests().size).toBe(60 + differing);
    // Both indexes follow, so that nothing is left to be found.
    await until(
      async () => (await left.indexed()).hash === (await right.indexed()).hash,
      "the same indexes",
    );
    const again = await left.reconcile("right");
    expect(again.text).toContain("Both have the same keys.");
    expect(await left.report("right")).toMatchObject({ questions: 1, common: 60 + differing });
    expect((await left.status()).text).toMatch(
      /compared {2}right: 66 keys here, 66 there, 66 the same/,
    );
  });

  it("of which one declines a key, fetch it once and not again until it changes", async () => {
    const { left, right } = await twoSites((one, two) => {
      for (const key of MADE.slice(0, 30)) one.add(key);
      for (const key of MADE) two.add(key);
      one.declined.add(made("reconcile", 45).fingerprint);
    });
    await left.build();
    await right.build();
    const { fingerprint } = made("reconcile", 45);
    const asked = () => right.keyserver.asked.filter((one) => one === fingerprint).length;
    await left.reconcile("right");
    await until(() => left.keyserver.digests().size === 59, "all but one");
    await until(async () => (await left.indexed()).keys === 59, "the index");
    const before = asked();
    expect(before).toBeGreaterThan(0);
    await left.reconcile("right");
    expect(await left.report("right")).toMatchObject({ onlyThere: 1, staying: 1, queued: 0 });
    expect(asked()).toBe(before);
    // Its digest there changes: it is fetched again.
    const more = octets(made("reconcile", 45, 120).armor);
    right.keyserver.add(more);
    await right.build();
    await left.reconcile("right");
    expect(await left.report("right")).toMatchObject({ onlyThere: 1, staying: 0, queued: 1 });
    await until(() => asked() > before, "another lookup");
  });

  it("are only compared with --dry-run", async () => {
    const { left, right } = await twoSites((one, two) => {
      for (const key of MADE.slice(0, 40)) one.add(key);
      for (const key of MADE.slice(10)) two.add(key);
    });
    await left.build();
    await right.build();
    const { code, text } = await left.reconcile("right", { dryRun: true });
    expect({ code, text }).toMatchObject({ code: 0 });
    expect(text).toContain("Compared only: nothing is fetched.");
    expect(await left.report("right")).toMatchObject({
      ...{ dryRun: true, onlyHere: 10, onlyThere: 20, queued: 0, told: 0 },
    });
    expect(left.keyserver.asked).toEqual([]);
    expect(right.keyserver.asked).toEqual([]);
  });

  it("are refused without an index, here and there, with the remedy", async () => {
    const { left, right } = await twoSites((one, two) => {
      one.add(MADE[0] ?? new Uint8Array());
      two.add(MADE[1] ?? new Uint8Array());
    });
    const none = await left.reconcile("right");
    expect(none).toMatchObject({ code: 69 });
    expect(none.errors).toContain('Make it with "kxgw index build"');
    await left.build();
    const there = await left.reconcile("right");
    expect(there).toMatchObject({ code: 69 });
    expect(there.errors).toContain("there is no key index here");
    await right.build();
    expect(await left.reconcile("right")).toMatchObject({ code: 0 });
  });

  it("count keys that wait to be fetched apart from differences that stay", async () => {
    Object.assign(REPAIR_LIMITS, { schedule: [60_000] });
    const { left, right } = await twoSites(twoLacking);
    await left.build();
    await right.build();
    await left.reconcile("right");
    expect(await left.report("right")).toMatchObject({ queued: 2, fetching: 0, staying: 0 });
    const { text } = await left.reconcile("right");
    expect(text).toContain("0 keys to be fetched from its keyserver; 2 keys being fetched already");
    expect(text).not.toContain("known to stay");
    expect(await left.report("right")).toMatchObject({ queued: 0, fetching: 2, staying: 0 });
  });

  it("fetch a key at the next run when the keyserver was down", async () => {
    const { left, right } = await twoSites(twoLacking);
    await left.build();
    await right.build();
    await left.reconcile("right");
    await until(() => right.keyserver.asked.length >= 6, "all attempts");
    right.keyserver.isDown = false;
    await until(async () => {
      await left.reconcile("right");
      return (await left.report("right")).queued === 2;
    }, "the keys are wanted again");
    await until(() => left.keyserver.digests().size === 22, "both keys");
    expect(left.keyserver.digests()).toEqual(right.keyserver.digests());
  });
});

describe("a hostile peer", () => {
  /** A site whose peer is a script that speaks KX/1.1. */
  async function withScript() {
    const [own, theirs] = [await mergingKeyserver(), await mergingKeyserver()];
    for (const key of MADE.slice(0, 30)) own.add(key);
    const port = await freePort();
    const site = new Site(
      own,
      `[kx]\nlisten = ["127.0.0.1:${port}"]\n[[peer]]\nname = "liar"\nkx = "127.0.0.3:1"
repair = "hkp://127.0.0.1:${theirs.port}"\n`,
    );
    const gateway = await site.start();
    await site.build();
    const script = KxScript.connect(port, "127.0.0.3");
    script.raw("KX11\r\nHELO\r\n1.0\r\n.\r\n");
    await script.message("HELO");
    script.send("IHAVE", "NOTIFY");
    await script.message("IHAVE");
    script.send("OPEN", "features reconcile");
    await script.message("OPEN");
    await until(() => gateway.reports.some(({ event }) => event === "peer-connected"));
    return { site, script, gateway, own, theirs };
  }

  it("that answers nonsense ends the run, is reported, and costs nothing else", async () => {
    const { site, script, gateway } = await withScript();
    const run = site.reconcile("liar");
    const { tag } = await script.message("RANGE");
    script.send("ITEMS", tag, `- 40 ${"0".repeat(32)}`, `0 7 ${"0".repeat(32)}`);
    expect(await run).toMatchObject({ code: 69, errors: expect.stringContaining("add up") });
    const complaints = gateway.reports.filter(({ event }) => event === "peer-complaint");
    expect(complaints.at(-1)?.fields.problem).toContain("the counts of a range do not add up");
    expect(script.isEnded).toBe(false);
  });

  it("that tells of invented keys has its own keyserver asked for them, and no other", async () => {
    const { script, own, theirs } = await withScript();
    const invented = Array.from(
      { length: 50 },
      (_, n) => `${n.toString(16).padStart(40, "0").toUpperCase()} ${"ab".repeat(16)}`,
    );
    script.send("ITEMS", "NOTIFY", ...invented);
    await until(() => theirs.asked.length === 50, "its keyserver is asked");
    expect(own.asked).toEqual([]);
    // The same again: they are remembered.
    script.send("ITEMS", "NOTIFY", ...invented);
    script.send("RANGE", `- 0 ${"0".repeat(32)}`);
    await script.message("ITEMS");
    expect(theirs.asked).toHaveLength(50);
  });

  it("that tells of keys for ever has a limited number of them looked up", async () => {
    const { script, theirs } = await withScript();
    const [first, second] = ["A", "B"].map((digit) => `${digit.repeat(40)} ${"ab".repeat(16)}`);
    const tell = (line = "", count = 1) => {
      script.send("ITEMS", "NOTIFY", ...Array.from({ length: count }, () => line));
    };
    tell(first);
    await until(() => theirs.asked.length === 1, "its keyserver is asked");
    for (let n = 0; n < 10; n++) tell(first, 1000);
    tell(second, 1000);
    script.send("RANGE", `- 0 ${"0".repeat(32)}`);
    await script.message("ITEMS");
    await quietFor(300, "an order for the second key would be carried out at once");
    expect(theirs.asked).toHaveLength(1);
  });

  it("that floods with questions is answered at a limited rate", async () => {
    const { script } = await withScript();
    const ranges = Array.from(
      { length: 128 },
      (_, n) => `${n.toString(16).padStart(2, "0").toUpperCase()} 1 ${"0".repeat(32)}`,
    );
    for (let n = 0; n < 90; n++) script.send("RANGE", ...ranges);
    const answers = () => script.inbox.filter(({ command }) => command === "ITEMS").length;
    await until(() => answers() >= 40, "the first forty");
    // Four more a second; a busy machine looks some seconds later.
    expect(answers()).toBeLessThan(80);
    await until(() => answers() >= 43, "then some a second");
  });

  it("that sends ITEMS unasked, and a RANGE that is none, is told and reported", async () => {
    const { gateway, script } = await withScript();
    script.send("ITEMS", "0999", `- 1 ${"0".repeat(32)}`);
    script.send("RANGE", "nonsense");
    const { lines } = await script.message("ERROR");
    expect(lines).toContain("RANGE has a line that is no range");
    await until(() =>
      gateway.reports.some(({ fields }) => fields.problem === "ITEMS that were not asked for"),
    );
  });
});
