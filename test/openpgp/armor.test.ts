/** Armor: what we write all five servers read; what they write, mangled by relays, we read. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Refusal } from "../../src/errors.js";
import { armoredSize, encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { cpuTimer } from "../support/cpu.js";
import { mail, onlyBlock, onlyKey, realKey, realKeys } from "./material.js";

const BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END = "-----END PGP PUBLIC KEY BLOCK-----";
const { data } = realKey("F8D2585B8783D481");
const good = encodeArmor(data);
const read = (text: string): ReturnType<typeof readArmor> => readArmor(Buffer.from(text, "latin1"));
/** What a text came to: the line of each block, the reason of each refusal. */
const outcomes = (text: string): (number | string)[] =>
  read(text).map((found) => (found instanceof Refusal ? found.reason : found.line));

describe("writing", () => {
  it("gives the exact shape", () => {
    expect(encodeArmor(Buffer.from("hello"))).toBe(`${BEGIN}\n\naGVsbG8=\n=R/WK\n${END}\n`);
    expect(encodeArmor(new Uint8Array())).toBe(`${BEGIN}\n\n=twTO\n${END}\n`);
  });

  it("writes what GnuPG wrote for the 22 real keys", () => {
    expect(realKeys).toHaveLength(22);
    for (const { armor, data } of realKeys) expect(encodeArmor(data)).toBe(armor.toString());
  });

  it("puts headers before the blank line, and only whole lines", () => {
    const armor = encodeArmor(data, { Comment: "a: b", Version: "" });
    expect(armor.startsWith(`${BEGIN}\nComment: a: b\nVersion: \n\n`)).toBe(true);
    expect(onlyBlock(Buffer.from(armor))).toEqual(data);
    expect(() => encodeArmor(data, { Comment: "a\n." })).toThrow("line end");
  });

  it("is undone by reading, within 64 columns, in the size foretold", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.boolean(), (octets, crlf) => {
        const armor = encodeArmor(octets);
        expect(armor.length).toBe(armoredSize(octets.length));
        expect(Math.max(...armor.split("\n").map(({ length }) => length))).toBeLessThanOrEqual(64);
        const text = Buffer.from(crlf ? armor.replaceAll("\n", "\r\n") : armor);
        expect(Buffer.compare(onlyBlock(text), octets)).toBe(0);
      }),
    );
  });
});

describe("reading what real software wrote", () => {
  it.each([
    "pksd-delta.eml",
    "pksd-multi-key.eml",
    "onak-subkey-2-no-user-id.eml",
    "hockeypuck-shape-add.eml",
    "sks-new-eddsa.eml",
  ])("%s", (name) => {
    const block = onlyBlock(mail(name));
    expect(block.length).toBeGreaterThan(100);
    const crlf = Buffer.from(mail(name).toString("latin1").replaceAll("\n", "\r\n"), "latin1");
    expect(onlyBlock(crlf)).toEqual(block);
  });

  it("SKS: wider lines, and no line end after END", () => {
    const text = mail("sks-merged-whole-key.eml");
    expect(text.at(-1)).toBe("-".charCodeAt(0));
    expect(onlyKey(onlyBlock(text)).userIds.length).toBeGreaterThan(0);
  });
});

describe("reading leniently", () => {
  const lines = good.split("\n");
  const base64 = lines.slice(2, -3).join("");
  /** As Postfix breaks what is longer than a line of a mail may be. */
  const broken = (text: string): string => text.replace(/.{998}(?=.)/g, "$&\r\n ");
  const wide = (columns: number): string => base64.replace(RegExp(`.{${columns}}`, "g"), "$&\n");
  const variants: [string, string][] = [
    ["text around", `Hi,\n\nmy key: x\n${good}-- \nme\n`],
    ["blanks at line ends", good.replaceAll("\n", " \t\r\n")],
    ["headers", good.replace("\n\n", "\nVersion: SKS 1.1.6\nComment: Hostname: x\n\n")],
    ["no blank line", good.replace("\n\n", "\n")],
    ["headers but no blank line", good.replace("\n\n", "\nVersion: 1\n")],
    ["a blank line with blanks", good.replace("\n\n", "\n \t \n")],
    ["blank lines between data", good.replaceAll("\n", "\n\n")],
    ["no CRC", good.replace(/\n=.{4}\n/, "\n")],
    ["one long line", `${BEGIN}\n\n${base64}\n${END}`],
    ["lines of 76", `${BEGIN}\n\n${wide(76)}\n${END}`],
    ["lines of 7, padding wrapped", `${BEGIN}\n\n${wide(7)}\n${END}`],
    ["lines of 1", `${BEGIN}\n\n${wide(1)}\n${END}`],
    ["more after END in its line", `${good.trimEnd()} trailing words`],
    ["blanks before all lines but BEGIN", good.replaceAll("\n", "\n \t").trimEnd()],
    ["blanks inside lines", good.replaceAll(/\n([A-Za-z0-9+/]{20})/g, "\n $1 \t")],
    ["a blank before the CRC", good.replace("\n=", "\n =")],
    ["a blank in the CRC line, before its digits", good.replace(/\n=(?=....\n)/, "\n=  ")],
    ["CRC on the last data line", good.replace(/\n(?==....\n)/, "")],
    ["CRC on the last data line behind a blank", good.replace(/\n(?==....\n)/, " ")],
    ["END on the line of the CRC", good.replace(`\n${END}`, END)],
    ["no padding, but a CRC", good.replace(/=*\n(?==....\n)/, "\n")],
    ["one line, broken by Postfix", `${BEGIN}\r\n\r\n${broken(base64)}\r\n${END}\r\n`],
  ];
  it.each(variants)("%s", (_, text) => {
    const blocks = read(text);
    expect(blocks).toHaveLength(1);
    expect(onlyBlock(Buffer.from(text))).toEqual(data);
  });

  it("finds no block where none is", () => {
    for (const text of ["", "\n", "hello", BEGIN.slice(1), `> ${good}`, ` ${BEGIN}\n`, "-----"]) {
      expect(read(text)).toEqual([]);
    }
  });
});

describe("reading strictly", () => {
  const line = good.split("\n")[3] ?? "";
  const at = (text: string): string => good.replace(line, text);
  const faults: [string, string, string, string][] = [
    ["a blank in the CRC", good.replace(/\n=../, "$& "), "bad-armor", "line 9"],
    ["a CRC broken in two", good.replace(/\n=../, "$&\r\n "), "bad-armor", "line 9"],
    ["an octet above 127", at(`${line.slice(0, 9)}\xa0${line.slice(10)}`), "bad-armor", "line 4"],
    ["the URL alphabet", at(`-_${line.slice(2)}`), "bad-armor", "line 4"],
    ["NUL", at(`\0${line}`), "bad-armor", "line 4"],
    ["quoted-printable", at(`${line.slice(0, 63)}=`), "bad-armor", "line 5"],
    ["a quoted line", at(`> ${line}`), "bad-armor", "line 4"],
    ["a line repeated", at(`${line}\n${line}`), "bad-crc", "line 11"],
    ["a line lost", at(""), "bad-crc", "line 10"],
    ["a character lost", at(line.slice(1)), "bad-armor", "line 10"],
    ["another character", at((line[0] === "A" ? "B" : "A") + line.slice(1)), "bad-crc", "line 10"],
    ["another CRC", good.replace(/\n=.{4}\n/, "\n=AAAA\n"), "bad-crc", "line 10"],
    ["two CRC lines", good.replace(/\n=.{4}\n/, "$&=AAAA\n"), "bad-armor", "line 10"],
    ["data after the CRC", good.replace(END, `AAAA\n${END}`), "bad-armor", "line 10"],
    ["three padding characters", `${BEGIN}\n\nA===\n${END}\n`, "bad-armor", "line 3"],
    ["data after the padding", `${BEGIN}\n\nAA==\nAAAA\n${END}\n`, "bad-armor", "line 4"],
    ["no END", good.replace(END, ""), "bad-armor", "line 1"],
    ["END of something else", good.replace(END, "-----END PGP MESSAGE-----"), "bad-armor", "line"],
    ["half an END", good.slice(0, -8), "bad-armor", "line 10"],
  ];
  it("has a sample of 10 lines", () => expect(good.split("\n")).toHaveLength(11));
  it.each(faults)("refuses %s, and reads the next block", (_, text, reason, where) => {
    const [first, ...more] = read(text);
    expect(first).toBeInstanceOf(Refusal);
    expect(first).toMatchObject({ reason, message: expect.stringContaining(where) });
    expect(more).toEqual([]);
    const both = read(`${text}\n${good}`);
    expect(both).toHaveLength(2);
    expect(both[0]).toMatchObject({ reason });
    expect(both[1]).toMatchObject({ data });
  });

  it("never quotes what it refuses", () => {
    const [refusal] = read(at(`${line.slice(0, 32)}!`));
    expect(String(refusal)).not.toContain(line.slice(0, 8));
  });
});

describe("several blocks", () => {
  const foreign = (label: string): string =>
    `-----BEGIN PGP ${label}-----\n\nAAAA\n-----END-----\n`;
  it("reads each with its line", () => {
    expect(outcomes(good + good)).toEqual([1, 11]);
    expect(outcomes(`x\n${good}\ny\n${good}`)).toEqual([2, 14]);
  });
  it("reads two that SKS's missing line end ran together", () => {
    expect(outcomes(good.trimEnd() + good)).toEqual([1, 10]);
  });
  it("refuses secret keys and what is no key, each in its place", () => {
    const [first = "", ...others] = [
      "PRIVATE KEY BLOCK",
      "SECRET KEY BLOCK",
      "MESSAGE",
      "SIGNATURE",
    ].map(foreign);
    const text = [first, good, ...others, good].join("");
    expect(outcomes(text)).toEqual([
      "secret-key",
      5,
      "secret-key",
      "not-key-material",
      "not-key-material",
      27,
    ]);
  });
  it("a block without END does not swallow the next", () => {
    expect(outcomes(good.replace(END, "") + good)).toEqual(["bad-armor", 11]);
    expect(outcomes(`${BEGIN}\n${BEGIN}\n${good}`)).toEqual(["bad-armor", "bad-armor", 3]);
  });
});

describe("hostile input", () => {
  const sample = encodeArmor(realKey("DFD993306D849617").data);
  const original = onlyBlock(Buffer.from(sample));

  it("a bit flipped anywhere: the same octets, a refusal, or no block", () => {
    const text = Buffer.from(sample);
    let kept = 0;
    for (let bit = 0; bit < text.length * 8; bit++) {
      const flipped = Buffer.from(text);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      for (const found of readArmor(flipped)) {
        if (found instanceof Refusal) continue;
        kept += 1;
        if (Buffer.compare(found.data, original) !== 0) throw new Error(`bit ${bit} unseen`);
      }
    }
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(text.length);
  });

  it("the usual form is read as any other form, whatever is changed in it", () => {
    const change = fc.tuple(fc.nat(), fc.nat(2), fc.constantFrom(..."\n\r =-:+A_"));
    const size = fc.integer({ min: 1, max: 130 });
    const end = fc.constantFrom("\n", "\r\n");
    let taken = 0;
    fc.assert(
      fc.property(size, end, fc.array(change, { maxLength: 2 }), (octets, lineEnd, changes) => {
        const [head = "", ...rest] = encodeArmor(data.subarray(0, octets)).split("\n\n");
        let body = `${rest.join("\n\n")}${good}`;
        for (const [where, cut, put] of changes) {
          const at = where % 120;
          body = body.slice(0, at) + put + body.slice(at + cut);
        }
        // A blank means nothing, but a block that has one is read line by line.
        const [usual, other] = ["", " "].map((blank) =>
          read(`${head}\n\n${blank}${body}`.replaceAll("\n", lineEnd)),
        );
        expect(usual).toEqual(other);
        taken += usual?.[0] instanceof Refusal ? 0 : 1;
      }),
      { numRuns: 3000 },
    );
    expect(taken).toBeGreaterThan(500);
  });

  it("cut anywhere: a refusal, or no block, until END is complete", () => {
    for (let end = 0; end < sample.length - 1; end++) {
      const found = read(sample.slice(0, end));
      const isBegun = end >= BEGIN.length;
      expect(found.map((each) => each instanceof Refusal)).toEqual(isBegun ? [true] : []);
    }
    expect(outcomes(sample.slice(0, -1))).toEqual([1]);
  });

  it("any octets: blocks or refusals, never an exception", () => {
    const piece = fc.constantFrom(
      BEGIN,
      END,
      "\n",
      "\r\n",
      "=",
      "AAAA",
      ":",
      " ",
      "-----BEGIN PGP ",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 30 }), (pieces) => {
        for (const found of read(pieces.join(""))) {
          expect(found instanceof Refusal || found.data instanceof Uint8Array).toBe(true);
        }
      }),
    );
  });

  it("stops at 1000 refusals", () => {
    const found = read(`${BEGIN}\n`.repeat(5000));
    expect(found).toHaveLength(1001);
    expect(found.at(-1)).toMatchObject({ reason: "too-large" });
    const fewer = read(`${BEGIN}\n`.repeat(999) + good);
    expect(fewer.at(-1)).toMatchObject({ line: 1000 });
  });

  it.each([
    ["blanks", " ".repeat(4e6)],
    ["lines of blanks", `${BEGIN}\n${"  \n".repeat(1e6)}`],
    ["headers", `${BEGIN}\n${"a:\n".repeat(1e6)}`],
    ["one line of data", `${BEGIN}\n\n${"A".repeat(4e6)}`],
    ["empty blocks", `${BEGIN}\n${END}\n`.repeat(4e4)],
    ["dashes", "-".repeat(4e6)],
  ])("4 MB of %s in well under a second", (_, text) => {
    const octets = Buffer.from(text);
    const cpuMs = cpuTimer();
    readArmor(octets);
    expect(cpuMs()).toBeLessThan(1500);
  });
});
