/**
 * How the time of each parser grows with the worst input that we know for it: t(2n)/t(n), which is
 * 2 for linear work, a little more for sorting, and 4 for quadratic work. Processor time is
 * measured, from a clean nursery, and the shortest of several runs counts. Of four doublings the
 * mean of the three smallest must stay at or below 3, and one of the last two at or below 3.2. The
 * largest says little: where an input outgrows a cache, or memory comes from the kernel for each
 * run, time jumps by up to ten on some machines, whatever the work.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { deflateRawSync } from "node:zlib";
import { parseConfig } from "../../src/config/load.js";
import { locateKeys } from "../../src/config/locate.js";
import { ConfigFaults, Refusal } from "../../src/errors.js";
import { decodedParts } from "../../src/intake/mime.js";
import { NO_FEATURES } from "../../src/kx/messages.js";
import { PARSER_LIMITS, Parser } from "../../src/kx/parser.js";
import { RECONCILE_LIMITS, Reconciler } from "../../src/kx/reconcile.js";
import { Session } from "../../src/kx/session.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";
import { addressesIn } from "../../src/mail/sent-trail.js";
import { addressKey } from "../../src/mail-address.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, TAG, walkPackets } from "../../src/openpgp/packet.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { outmails } from "../../src/outmail.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { ArraySet } from "../kx/key-sets.js";
import { cpuTimer } from "../support/cpu.js";

export const MOST_RATIO = 3;

/** A worst input: made for a size, then run. */
export interface Worst {
  readonly name: string;
  /** The smallest size; 2, 4, 8 and 16 times of it are tried as well. */
  readonly size: number;
  prepare(size: number): () => unknown | Promise<unknown>;
}

export interface Growth {
  readonly name: string;
  /** Milliseconds of processor time at n, 2n, 4n, 8n, 16n. */
  readonly ms: readonly number[];
  readonly ratios: readonly number[];
  readonly worst: number;
}

const DOUBLINGS = 4;
const ATTEMPTS = 8;
const LEAST_RUNS = 3;
const LEAST_MS = 10;
/** A run that takes less is repeated within one measurement: the timer's own steps would show. */
const LEAST_MEASURED_MS = 0.2;
const MOST_REPEATS = 64;
/** What others left behind must not be collected on our time. */
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as (how?: { type: "minor" }) => void;
/** Most that the smaller one of the last two doublings may come to. */
const MOST_LATE = 3.2;

/** Measures `worst`; when a ratio is too large, again and longer: it may have been the machine. */
export async function growthOf(worst: Worst): Promise<Growth> {
  const sizes = Array.from({ length: DOUBLINGS + 1 }, (_, index) => worst.size * 2 ** index);
  const runs = sizes.map((size) => worst.prepare(size));
  const ms = sizes.map(() => Number.POSITIVE_INFINITY);
  let growth = grown(worst.name, ms);
  for (let attempt = 0; attempt < ATTEMPTS && !(growth.worst <= MOST_RATIO); attempt += 1) {
    collectGarbage();
    for (const [index, run] of runs.entries()) {
      ms[index] = Math.min(ms[index] ?? 0, await shortest(run, LEAST_MS * (attempt + 1)));
    }
    growth = grown(worst.name, ms);
  }
  return growth;
}

function grown(name: string, ms: readonly number[]): Growth {
  const ratios = ms.slice(1).map((time, index) => time / (ms[index] ?? 1));
  const late = Math.min(...ratios.slice(-2)) * (MOST_RATIO / MOST_LATE);
  const smallest = [...ratios].sort((a, b) => a - b).slice(0, -1);
  return { name, ms: [...ms], ratios, worst: Math.max(mean(smallest), late) };
}

/** The geometric mean. */
function mean(ratios: readonly number[]): number {
  return ratios.reduce((product, ratio) => product * ratio, 1) ** (1 / ratios.length);
}

async function shortest(run: () => unknown, leastMs: number): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  let repeats = 1;
  const began = performance.now();
  for (let n = 0; n < LEAST_RUNS || performance.now() - began < leastMs; n += 1) {
    collectGarbage({ type: "minor" });
    const cpuMs = cpuTimer();
    for (let i = 0; i < repeats; i += 1) await run();
    const ms = cpuMs();
    best = Math.min(best, ms / repeats);
    if (ms < LEAST_MEASURED_MS) repeats = Math.min(repeats * 2, MOST_REPEATS);
  }
  return best;
}

const BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n";
const END = "-----END PGP PUBLIC KEY BLOCK-----\n";
const PRIMARY = packet(TAG.publicKey, Buffer.from(`\x04aaaa\x16${"k".repeat(40)}`, "latin1"));

function packet(tag: number, body: Uint8Array): Packet {
  return { tag, body };
}

function numbered(tag: number, n: number, prefix = ""): Packet {
  return packet(tag, Buffer.from(`${prefix}${String(n).padStart(9, "0")}`, "latin1"));
}

function many<T>(size: number, make: (n: number) => T): T[] {
  return Array.from({ length: size }, (_, n) => make(n));
}

function text(name: string, size: number, make: (size: number) => string, run: Run): Worst {
  return {
    name,
    size,
    prepare(n) {
      const input = Buffer.from(make(n), "latin1");
      return () => tolerant(() => run(input));
    },
  };
}

type Run = (input: Buffer) => unknown;

function tolerant(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal || error instanceof ConfigFaults) return undefined;
    throw error;
  }
}

/** A key of these packets, read, hashed and made into mails. */
function key(
  name: string,
  size: number,
  packets: (size: number) => Packet[],
  mails = false,
): Worst {
  return {
    name: `key: ${name}`,
    size,
    prepare(n) {
      const data = encodePackets([PRIMARY, ...packets(n)]);
      return () => {
        const [found] = readKeys(data);
        if (found === undefined || found instanceof Refusal) throw new Error("this is no key");
        const { hash } = updateHash(found);
        if (!mails) return;
        const limits = { to: "a@b.example", from: "c@d.example", site: "e@f.example" };
        const update = { seq: 1 as Seq, hash, body: data };
        outmails(update, undefined, [], { ...limits, maxBytes: 10_000 }, 0);
      };
    },
  };
}

function kx(name: string, size: number, make: (size: number) => string, piece: number): Worst {
  const read: Run = (input) => {
    const parser = new Parser();
    for (let at = 0; at < input.length; at += piece) parser.push(input.subarray(at, at + piece));
  };
  return text(`kx: ${name}`, size, make, read);
}

/** Messages of KX/1.1, as they come in pieces of a packet of the network. */
function kx11(name: string, size: number, make: (size: number) => string): Worst {
  const read: Run = (input) => {
    const parser = new Parser(PARSER_LIMITS, true);
    parser.push(Buffer.from("KX11\nHELO\n1.0\n.\n"));
    for (let at = 0; at < input.length; at += 1460) parser.push(input.subarray(at, at + 1460));
  };
  return text(`kx: ${name}`, size, make, read);
}

/** A peer that splits a range to its last digit, and lists so many keys there. */
function listed(size: number): Worst {
  const prefix = "0".repeat(RECONCILE_LIMITS.digits);
  return {
    name: "reconcile: keys that agree in 64 bits",
    size,
    prepare(count) {
      const range = (digits: number) => ({ prefix: prefix.slice(0, digits), count, hash: HASH });
      const keys = many(count, (n) => {
        return { fingerprint: String(n).padStart(40, "0") as Fingerprint, digest: HASH };
      });
      return () => {
        const run = new Reconciler(NO_KEYS, true);
        for (let digits = 0; run.next() !== undefined; digits += 1) {
          const isLast = digits === RECONCILE_LIMITS.digits;
          const ranges = isLast ? [range(digits)] : [range(digits), range(digits + 1)];
          run.answered({ ranges, keys: isLast ? keys : [] });
        }
        if (run.counts.onlyThere !== count) throw new Error("not all keys were compared");
      };
    },
  };
}

/** A message of octets, with its command line, as it comes in pieces of a packet of the network. */
function octets(name: string, size: number, make: (n: number) => [string, Uint8Array]): Worst {
  return {
    name: `kx: ${name}`,
    size,
    prepare(n) {
      const [command, data] = make(n);
      const ends = [`aaaa\n${command}\naaab\n`, ".\n"].map((text) => Buffer.from(text));
      const input = Buffer.concat([ends[0] ?? data, data, ends[1] ?? data]);
      return () => {
        const parser = new Parser();
        parser.features = { ...NO_FEATURES, octets: true };
        for (let at = 0; at < input.length; at += 1460) parser.push(input.subarray(at, at + 1460));
      };
    },
  };
}

const HASH = "d41d8cd98f00b204e9800998ecf8427e";
const NO_KEYS = new ArraySet([]);

const longPrefix = "p".repeat(1000);
const user = packet(TAG.userId, Buffer.from("u"));
const fieldsOf: Run = (input) => readHead(input).fields;

export const WORST: readonly Worst[] = [
  text("armor: one line", 250_000, (n) => `${BEGIN}\n${"A".repeat(n)}\n${END}`, readArmor),
  text("armor: lines of one octet", 20000, (n) => `${BEGIN}\n${"A\n".repeat(n)}${END}`, readArmor),
  text("armor: blocks", 333, (n) => `${BEGIN}\n${END}`.repeat(n), readArmor),
  text("armor: BEGIN in a row", 6666, (n) => BEGIN.repeat(n), readArmor),
  text(
    "armor: END that never ends",
    13333,
    (n) => `${BEGIN}${"-----END PGP\n".repeat(n)}`,
    readArmor,
  ),
  text("armor: blanks", 166666, (n) => `${BEGIN}\n${" ".repeat(n)}`, readArmor),
  text("armor: headers", 33333, (n) => `${BEGIN}${"a:\n".repeat(n)}`, readArmor),
  text("packets: empty ones", 6666, (n) => "\xb4\x00".repeat(n), walked),
  text("packets: primary keys", 666, (n) => "\x98\x06\x04aaaa\x16".repeat(n), readKeys),
  text("packets: no key", 6666, (n) => "\xb4\x01u".repeat(n), readKeys),
  key("the same user id", 1333, (n) => many(n, () => user)),
  key("user ids in reverse", 1333, (n) => many(n, (i) => numbered(TAG.userId, n - i))),
  key("user ids with one beginning", 666, (n) =>
    many(n, (i) => numbered(TAG.userId, (i * 7919) % n, longPrefix)),
  ),
  key("the same signature", 1333, (n) => [user, ...many(n, () => numbered(TAG.signature, 1))]),
  key("signatures in reverse", 1333, (n) => [
    user,
    ...many(n, (i) => numbered(TAG.signature, n - i)),
  ]),
  key("equal user ids, each signed", 666, (n) =>
    many(n, (i) => [user, numbered(TAG.signature, n - i)]).flat(),
  ),
  key("subkeys", 666, (n) => many(n, (i) => numbered(TAG.publicSubkey, n - i, "\x04aaaa\x16"))),
  key(
    "signatures into mails",
    666,
    (n) => [user, ...many(n, (i) => numbered(TAG.signature, i))],
    true,
  ),
  key("user ids into mails", 333, (n) => many(n, (i) => numbered(TAG.userId, i)), true),
  key(
    "subkeys into mails",
    333,
    (n) => [user, ...many(n, (i) => numbered(TAG.publicSubkey, i, "\x04aaaa\x16"))],
    true,
  ),
  text("head: folded lines", 4000, (n) => `X: a\n${" b\n".repeat(Math.floor(n / 4))}\n`, fieldsOf),
  text("head: one field", 5333, (n) => `X: ${"a".repeat(n)}\n\n`, fieldsOf),
  // Up to 320 kB, which the cache of one core holds: larger input measures the memory instead.
  text("head: no colon", 20_000, (n) => "a".repeat(n), fieldsOf),
  text("head: blanks before the colon", 5000, (n) => `X${" ".repeat(n)}: a\n\n`, fieldsOf),
  text(
    "trail: addresses",
    1333,
    (n) => "a@b.example, ".repeat(n),
    (input) => addressesIn(input.toString("latin1")),
  ),
  text(
    "trail: comments",
    6666,
    (n) => "(".repeat(n),
    (input) => addressesIn(input.toString("latin1")),
  ),
  text(
    "trail: quotes",
    6666,
    (n) => '"\\'.repeat(n),
    (input) => addressesIn(input.toString("latin1")),
  ),
  text(
    "trail: angles",
    6666,
    (n) => "<".repeat(n),
    (input) => addressesIn(input.toString("latin1")),
  ),
  text(
    "trail: an address without end",
    6666,
    (n) => `${"a.".repeat(n)}@`,
    (input) => addressesIn(input.toString("latin1")),
  ),
  text(
    "address: a quoted local part",
    6666,
    (n) => `"${"\\a".repeat(n)}@b.example`,
    (input) => addressKey(input.toString("latin1")),
  ),
  text(
    "address: labels",
    3333,
    (n) => `a@${"\u00e4.".repeat(n)}`,
    (input) => addressKey(input.toString("utf8")),
  ),
  text(
    "body: BEGIN in the middle",
    13333,
    (n) => "x-----BEGIN PGP".repeat(n),
    (input) => recognise([{ name: "Subject", value: "add" }], [input]),
  ),
  text("mime: lines of a part", 6666, (n) => `Content-Type: text/html\n\n${"a\n".repeat(n)}`, mime),
  text(
    "mime: quoted-printable",
    6666,
    (n) => `Content-Transfer-Encoding: quoted-printable\n\n${"=41=\n".repeat(n)}`,
    mime,
  ),
  text(
    "mime: boundaries",
    1000,
    (n) => `Content-Type: multipart/mixed; boundary=x\n\n${"--y\n".repeat(n)}`,
    mime,
  ),
  kx(
    "octet by octet",
    6666,
    (n) => `aaaa\nUPDATE\n${"A".repeat(60)}\n`.repeat(Math.ceil(n / 73)),
    1,
  ),
  kx("one long message", 6666, (n) => `aaaa\nUPDATE\naaab\n${"A\n".repeat(n)}.\n`, 1460),
  kx(
    "announcements",
    666,
    (n) => `aaaa\nIHAVE\nNOTIFY\n${"1 d41d8cd98f00b204e9800998ecf8427e\n".repeat(n)}.\n`,
    1460,
  ),
  kx("blank lines", 33333, (n) => "\n".repeat(n), 1460),
  kx("a line without end", 66666, (n) => `aaaa\nUPDATE\n${"A".repeat(n)}`, 100),
  kx("bad messages", 1333, (n) => "aaaa\nNO\n.\n".repeat(n), 1460),
  octets("announcements in octets", 1333, (n) => [`IHAVE ${21 * n}`, Buffer.alloc(21 * n)]),
  octets("announcements that were compressed", 1333, (n) => {
    const bomb = deflateRawSync(Buffer.alloc(21 * n));
    return [`IHAVE ${bomb.length} ${21 * n}`, bomb];
  }),
  octets("a bomb that is no announcements", 13_333, (n) => {
    const bomb = deflateRawSync(Buffer.alloc(21 * n, 1));
    return [`IHAVE ${bomb.length} ${21 * n}`, bomb];
  }),
  octets("updates that are gone", 1333, (n) => [`UPDATE ${8 * n}`, Buffer.alloc(8 * n)]),
  octets("one large update", 66_666, (n) => [`UPDATE ${n}`, Buffer.alloc(n, ".\n")]),
  // In the largest messages that are read; more lines are refused as a whole.
  kx11("OPEN of words", 66, (n) => {
    return `aaaa\nOPEN\n${"features a b c d e f\n".repeat(99)}.\n`.repeat(n);
  }),
  kx11("DONE of ranges", 66, (n) => `aaaa\nDONE\n9\n${"1-2\n".repeat(999)}.\n`.repeat(n)),
  kx11("RANGE", 66, (n) => `aaaa\nRANGE\n${`0 1 ${HASH}\n`.repeat(128)}.\n`.repeat(n)),
  kx11("ITEMS", 190, (n) => {
    const pair = `0 1 ${HASH}\n${"A".repeat(40)} ${HASH}\n`;
    return `aaaa\nITEMS\naaab\n${pair.repeat(n / 2)}.\n`.repeat(8);
  }),
  kx11("ITEMS of too many lines", 3333, (n) => `aaaa\nITEMS\naaab\n${"0 1\n".repeat(n)}.\n`),
  listed(333),
  text(
    "session: requests",
    666,
    (n) => "aaaa\nGETUPDATE\n1\n.\n".repeat(n),
    (input) => {
      const session = new Session(0);
      session.received(Buffer.from("aaaa\nHELO\n1.0\n.\naaab\nIHAVE\nNOTIFY\n.\n"), 0);
      session.received(input, 0);
    },
  ),
  text("locate: brackets", 13333, (n) => `a = ${"[".repeat(n)}`, located),
  text("locate: keys", 3333, (n) => many(n, (i) => `k${i} = 1\n`).join(""), located),
  text("locate: dotted", 6666, (n) => `${"a.".repeat(n)}a = 1`, located),
  text("locate: tables", 1666, (n) => many(n, () => "[[peer]]\n").join(""), located),
  text("locate: array", 3333, (n) => `a = [${"1,\n".repeat(n)}]`, located),
  text("locate: quotes", 6666, (n) => `a = """${'"\\'.repeat(n)}`, located),
  text(
    "config: peers",
    133,
    (n) => many(n, (i) => `[[peer]]\nname = "p${i}"\n`).join(""),
    (input) => parseConfig(input.toString("latin1"), "f", "/", {}),
  ),
];

/** Without keeping them: else the collector's work, not ours, would be measured. */
function walked(input: Buffer): number {
  let octets = 0;
  for (const { packet: one } of walkPackets(input)) octets += one.body.length;
  return octets;
}

async function mime(input: Buffer): Promise<void> {
  const { fields, bodyStart } = readHead(input);
  try {
    await decodedParts(input, fields, bodyStart);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}

function located(input: Buffer): unknown {
  return locateKeys(input.toString("latin1"));
}
