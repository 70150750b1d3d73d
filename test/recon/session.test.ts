/** The recon session against a model server: what it learns, and what it makes of bad input. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { ReconSession, SESSION_LIMITS, type SessionOutput } from "../../src/recon/session.js";
import { Frames, MAX_FRAME, prefixOf, ReconFault } from "../../src/recon/wire.js";
import {
  configMessage,
  full,
  int,
  type Lies,
  ModelSession,
  message,
  poly,
} from "./model-server.js";
import { ModelTree, SKS_SHAPE } from "./model-tree.js";

/** A log, and the server as it is known there. */
function client() {
  const log = UpdateLog.open(":memory:");
  const { id } = log.recon.server("model");
  return { log, id, known: () => [...log.recon.known(id)].map((md5) => md5.toString("hex")) };
}

type Client = ReturnType<typeof client>;

/** One session; returns what ended it and the traffic. `chunk` cuts what the server sends. */
function follow({ log, id }: Client, tree: ModelTree, lies: Lies = {}, chunk = Infinity) {
  const server = new ModelSession(tree, lies);
  const session = new ReconSession((prefix) => log.recon.mark(id, prefix), 0);
  const outputs: SessionOutput[] = [];
  const changes: Parameters<typeof log.recon.apply>[1][number][] = [];
  let [octetsIn, octetsOut] = [0, 0];
  let down = server.begin();
  let end: Extract<SessionOutput, { kind: "end" }> | undefined;
  while (end === undefined) {
    const replies: Buffer[] = [];
    const parts: Buffer[] = [];
    for (let at = 0; at < down.length; at += chunk) {
      parts.push(down.subarray(at, Math.min(down.length, at + chunk)));
      if (chunk === Infinity) break;
    }
    octetsIn += down.length;
    const more = parts.flatMap((part) => session.received(part, 0));
    if (server.isOver || down.length === 0) more.push(...session.closed());
    for (const output of more) {
      outputs.push(output);
      if (output.kind === "send") replies.push(Buffer.from(output.octets));
      else if (output.kind === "end") end ??= output;
      else if (output.kind !== "config") changes.push(output);
    }
    octetsOut += replies.reduce((sum, { length }) => sum + length, 0);
    down = server.receive(Buffer.concat(replies));
  }
  const difference = log.recon.apply(id, changes, "fetch", 0);
  expect(server.fault).toBeUndefined();
  return { end, difference, octetsIn, octetsOut, changes };
}

let drawn = 0;
function md5(seed: number | string): string {
  return createHash("md5").update(`key ${seed}`).digest("hex");
}
function some(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => md5(from + index));
}
function grown(tree: ModelTree, md5s: readonly string[]): ModelTree {
  for (const one of md5s) tree.add(one);
  return tree;
}

describe("a session with an honest server", () => {
  test.each([0, 1, 4, 5, 50, 51, 1000, 5000])("learns the set of %i keys", (count) => {
    const one = client();
    const tree = grown(new ModelTree(), some(count));
    const { end, difference } = follow(one, tree);
    expect(end).toMatchObject({ why: "done", isWhole: true });
    expect(difference).toEqual({ fresh: count, gone: 0 });
    expect(one.known().sort()).toEqual(tree.all().sort());
  });

  test("is silent when nothing changed: one node is sent, none asked for", () => {
    const one = client();
    const tree = grown(new ModelTree(), some(5000));
    follow(one, tree);
    const again = follow(one, tree);
    expect(again.difference).toEqual({ fresh: 0, gone: 0 });
    expect(again.changes).toEqual([]);
    expect(again.octetsIn + again.octetsOut).toBeLessThan(1000);
  });

  test("finds one key that came and one that went, for some kilobytes", () => {
    const one = client();
    const tree = grown(new ModelTree(), some(5000));
    follow(one, tree);
    tree.add(md5("new"));
    tree.remove(md5(17));
    const { difference, octetsIn } = follow(one, tree);
    expect(difference).toEqual({ fresh: 1, gone: 1 });
    expect(octetsIn).toBeLessThan(16_000);
    expect(one.known().sort()).toEqual(tree.all().sort());
  });

  test("reads messages in pieces of any size", () => {
    const tree = grown(new ModelTree(), some(300));
    for (const chunk of [1, 3, 7, 64]) {
      const one = client();
      expect(follow(one, tree, {}, chunk).end).toMatchObject({ why: "done", isWhole: true });
      expect(one.known().sort()).toEqual(tree.all().sort());
    }
  });

  test("a node that was split and joined again does not hide what changed meanwhile", () => {
    const one = client();
    const tree = grown(new ModelTree(), some(60));
    follow(one, tree);
    const gone = some(40);
    for (const each of gone) tree.remove(each);
    follow(one, tree);
    expect(one.known().sort()).toEqual(tree.all().sort());
    grown(tree, gone);
    const { difference } = follow(one, tree);
    expect(difference).toEqual({ fresh: 40, gone: 0 });
    expect(one.known().sort()).toEqual(tree.all().sort());
  });

  test("other parameters of the tree are learnt anew, and no key is news", () => {
    const one = client();
    const md5s = some(2000);
    follow(one, grown(new ModelTree(), md5s));
    const other = grown(new ModelTree({ bitQuantum: 3, mbar: 7, threshold: 5 }), md5s);
    const { end, difference } = follow(one, other);
    expect(end).toMatchObject({ why: "done", isWhole: true });
    expect(difference).toEqual({ fresh: 0, gone: 0 });
  });
});

describe("a session that breaks", () => {
  test("keeps what came, and the next one brings the rest", () => {
    const one = client();
    const tree = grown(new ModelTree(), some(3000));
    const { end } = follow(one, tree, { breakAfter: 60 });
    expect(end).toMatchObject({ why: "broken", isWhole: false });
    const before = one.known().length;
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(3000);
    expect(follow(one, tree).end).toMatchObject({ why: "done", isWhole: true });
    expect(one.known().sort()).toEqual(tree.all().sort());
  });

  test("is not whole when the server says too early that it is done", () => {
    const one = client();
    const tree = grown(new ModelTree(), some(3000));
    expect(follow(one, tree, { doneAfter: 40 }).end).toMatchObject({ why: "done", isWhole: false });
    expect(follow(one, tree).end).toMatchObject({ isWhole: true });
    expect(one.known().sort()).toEqual(tree.all().sort());
  });

  test("property: random sets, shapes, changes and breaks; after quiet the sets are equal", () => {
    for (let seed = 0; seed < 25; seed++) {
      const random = chance(seed);
      const shape = {
        bitQuantum: 1 + Math.floor(random() * 4),
        mbar: 2 + Math.floor(random() * 6),
        threshold: 2 + Math.floor(random() * 10),
      };
      const tree = new ModelTree(shape);
      const one = client();
      let made = 0;
      for (let round = 0; round < 12; round++) {
        const most = Math.floor(random() ** 3 * 800);
        const there = tree.all();
        for (let count = 0; count < most; count++) {
          if (random() < 0.6) tree.add(md5(`${seed} ${made++}`));
          else tree.remove(there[Math.floor(random() * there.length)] ?? "");
        }
        const at = 1 + Math.floor(random() * 80);
        const kind = random();
        follow(one, tree, kind < 0.4 ? { breakAfter: at } : kind < 0.7 ? { doneAfter: at } : {});
      }
      const { end } = follow(one, tree);
      expect(end).toMatchObject({ why: "done", isWhole: true });
      expect(one.known().sort()).toEqual(tree.all().sort());
    }
  });
});

function chance(seed: number): () => number {
  return () => {
    drawn += 1;
    const hash = createHash("sha256").update(`${seed} ${drawn}`).digest();
    return hash.readUInt32BE(0) / 2 ** 32;
  };
}

/** A session into which frames are pushed after a configuration that passed. */
function heard(...frames: Buffer[]) {
  const session = new ReconSession(() => undefined, 0);
  const octets = [configMessage(SKS_SHAPE), Buffer.from("\0\0\0\x06passed"), ...frames];
  const outputs = octets.flatMap((part) => session.received(part, 0));
  return outputs.find((output) => output.kind === "end");
}

const TREE = grown(new ModelTree(), some(200));
const ROOT = poly("", 200, TREE.samplesOf(TREE.root));

describe("bad input", () => {
  const element = (last: number, rest = 0) =>
    Buffer.concat([Buffer.alloc(16, rest), Buffer.of(last)]);
  const list = (prefix: Buffer, ...elements: Buffer[]) =>
    message(1, prefix, int(elements.length), ...elements);
  const none = Buffer.concat([int(0), int(0)]);
  test.each<[string, Buffer[], string]>([
    ["a message without a type", [int(0)], "a message that is cut short"],
    ["an unknown type", [message(42)], "a message of type 42"],
    ["a message that is too long", [int(MAX_FRAME + 1)], `a message of ${MAX_FRAME + 1} octets`],
    ["octets behind a message", [message(5, Buffer.of(1))], "1 octets too many in type 5"],
    ["a node that is not the root", [full("01", [])], "the node 01, which was not asked for"],
    ["the root twice", [ROOT, ROOT], "the node of the root, which was not asked for"],
    ["a prefix outside the tree", [ROOT, full("0101", [])], "the node 0101, which was not asked"],
    [
      "a prefix beyond an MD5",
      [message(1, int(129), int(17), Buffer.alloc(17), int(0))],
      "129 bits",
    ],
    [
      "a prefix in too many octets",
      [message(1, int(2), int(2), Buffer.alloc(2), int(0))],
      "2 octets",
    ],
    [
      "elements that are not there",
      [message(1, none, int(1e9))],
      "1000000000 elements in 0 octets",
    ],
    ["an element out of the field", [list(none, element(255, 255))], "outside the field"],
    ["an element that is no MD5", [list(none, element(1))], "not an MD5"],
    ["an element under another prefix", [ROOT, full("00", [`ff${"0".repeat(30)}`])], "not under"],
    ["an element twice", [ROOT, full("00", [md5(0), md5(0)])], "twice"],
    ["a sample out of the field", [poly("", 9, Buffer.alloc(102, 255))], "outside the field"],
    ["samples of another mbar", [poly("", 9, Buffer.alloc(51))], "3 samples with an mbar of 5"],
    ["too many keys", [poly("", 3e9, Buffer.alloc(102))], "a node of 3000000000 keys"],
    [
      "more keys than it says",
      [poly("", 1, Buffer.alloc(102)), full("00", under("00", 2))],
      "more",
    ],
    ["its configuration twice", [configMessage(SKS_SHAPE)], "its configuration twice"],
  ])("%s ends the session", (_, frames, words) => {
    const end = heard(...frames);
    expect(end).toMatchObject({ why: "fault" });
    expect(end?.words).toContain(words);
  });

  test.each<[string, Map<string, Buffer>, string]>([
    ["no bits for a child", new Map([["bitquantum", int(0)]]), "a bitquantum of 0"],
    ["2^31 children", new Map([["bitquantum", int(31)]]), "a bitquantum of 31"],
    ["no mbar", new Map([["mbar", Buffer.alloc(0)]]), "a configuration without mbar"],
    ["a version without end", new Map([["version", Buffer.alloc(5000)]]), "a text of 5000 octets"],
  ])("a configuration with %s", (_, entries, words) => {
    const session = new ReconSession(() => undefined, 0);
    const outputs = session.received(configMessage(SKS_SHAPE, entries), 0);
    expect(outputs).toMatchObject([{ kind: "end", why: "fault" }]);
    expect(JSON.stringify(outputs)).toContain(words);
  });

  test("counts that do not add up: the node is not remembered", () => {
    const one = client();
    const tree = grown(new ModelTree(), some(3000));
    const lies: Lies = {
      node: (node) =>
        node.prefix === "01" ? poly("01", node.size + 7, tree.samplesOf(node)) : undefined,
    };
    const { end } = follow(one, tree, lies);
    expect(end).toMatchObject({ why: "done", isWhole: false });
    expect(one.log.recon.mark(one.id, "01")).toBeUndefined();
    expect(one.log.recon.mark(one.id, "00")).toBeDefined();
    expect(follow(one, tree, lies).difference).toEqual({ fresh: 0, gone: 0 });
  });

  test("nodes without end are bounded", () => {
    const limits = { ...SESSION_LIMITS, nodes: 100 };
    const session = new ReconSession(() => undefined, 0, limits);
    session.received(configMessage(SKS_SHAPE), 0);
    session.received(Buffer.from("\0\0\0\x06passed"), 0);
    const prefixes = [""];
    let end: SessionOutput | undefined;
    for (let at = 0; end === undefined && at < 1000; at++) {
      const prefix = prefixes[at] ?? "";
      for (const child of ["00", "01", "10", "11"]) prefixes.push(prefix + child);
      const outputs = session.received(poly(prefix, 1000, Buffer.alloc(102)), 0);
      end = outputs.find(({ kind }) => kind === "end");
    }
    expect(end).toMatchObject({ why: "fault", words: "it sent a tree of too many nodes" });
  });

  test("nodes without a flush are bounded", () => {
    const limits = { ...SESSION_LIMITS, answers: 3 };
    const session = new ReconSession(() => undefined, 0, limits);
    const frames = ["00", "01", "10"].map((prefix) => full(prefix, []));
    const octets = [configMessage(SKS_SHAPE), Buffer.from("\0\0\0\x06passed"), ROOT, ...frames];
    const outputs = octets.flatMap((part) => session.received(part, 0));
    expect(outputs.at(-1)).toMatchObject({ words: "it sent too many nodes without a flush" });
  });

  test("a tree without a bottom ends at the bits of an MD5", () => {
    const samples = Buffer.alloc(102);
    const frames: Buffer[] = [];
    for (let bits = 0; bits <= 128; bits += 2) frames.push(poly("0".repeat(bits), 9, samples));
    expect(heard(...frames)).toMatchObject({ words: "it sent a tree that is too deep" });
  });

  test("a frame is not kept beyond its limit", () => {
    const frames = new Frames();
    expect(frames.take(Buffer.alloc(3, 255))).toEqual([]);
    expect(() => frames.take(Buffer.alloc(1, 255))).toThrow(ReconFault);
  });
});

/** MD5s under a prefix. */
function under(prefix: string, count: number): string[] {
  return some(1000)
    .filter((one) => prefixOf(Buffer.from(one, "hex"), prefix.length) === prefix)
    .slice(0, count);
}

describe("words of a server", () => {
  test("a refusal and its reason", () => {
    const session = new ReconSession(() => undefined, 0);
    session.received(configMessage(SKS_SHAPE), 0);
    session.received(Buffer.from("\0\0\0\x06failed"), 0);
    expect(session.received(Buffer.from("\0\0\0\x12mismatched filters"), 0)).toEqual([
      { kind: "end", why: "refused", words: "mismatched filters", isWhole: false },
    ]);
  });

  test("being busy is no refusal", () => {
    const words = "sync not available, currently mutating";
    const session = new ReconSession(() => undefined, 0);
    session.received(configMessage(SKS_SHAPE), 0);
    session.received(Buffer.from("\0\0\0\x06failed"), 0);
    const frame = Buffer.concat([int(words.length), Buffer.from(words)]);
    expect(session.received(frame, 0)).toMatchObject([{ kind: "end", why: "busy" }]);
  });

  test("the configuration is sent back as it came", () => {
    const session = new ReconSession(() => undefined, 0);
    const config = configMessage(SKS_SHAPE, new Map([["x", Buffer.from("y")]]));
    const [, sent] = session.received(config, 0);
    expect(sent?.kind === "send" && Buffer.from(sent.octets)).toEqual(
      Buffer.concat([config, Buffer.from("\0\0\0\x06passed")]),
    );
  });

  test("silence ends it", () => {
    const session = new ReconSession(() => undefined, 0);
    expect(session.deadline()).toBe(SESSION_LIMITS.greetingMs);
    expect(session.tick(SESSION_LIMITS.greetingMs - 1)).toEqual([]);
    expect(session.tick(SESSION_LIMITS.greetingMs)).toMatchObject([{ kind: "end", why: "slow" }]);
    expect(session.closed()).toEqual([]);
  });

  test("an SKS that waits 45 s for another partner is waited for", () => {
    const session = new ReconSession(() => undefined, 0);
    expect(session.tick(45_000)).toEqual([]);
    const outputs = session.received(configMessage(SKS_SHAPE), 45_001);
    expect(outputs.map(({ kind }) => kind)).toEqual(["config", "send"]);
    expect(session.tick(45_002)).toEqual([]);
  });

  test("a drop of octets does not keep it for ever", () => {
    const session = new ReconSession(() => undefined, 0);
    session.received(configMessage(SKS_SHAPE), 0);
    session.received(Buffer.from("\0\0\0\x06passed"), 0);
    let now = 0;
    while (now < SESSION_LIMITS.sessionMs) {
      session.received(message(6), now);
      now += 10_000;
    }
    expect(session.tick(now)).toMatchObject([{ why: "slow", words: "the session took too long" }]);
  });
});
