/**
 * What is no message and what is too much: the parser says so, whatever the cut, and costs no more
 * than its limits.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ParserLimits } from "../../src/kx/parser.js";
import { PARSER_LIMITS, Parser } from "../../src/kx/parser.js";
import { cpuTimer } from "../support/cpu.js";
import { bytewise, HASH, parse, parseEveryWay, TABLE, V3, V4, wire } from "./wire.js";

describe("what makes no sense", () => {
  test.each([
    ["an unknown command", "0001|QUUX|x", "no such command"],
    ["a long unknown command", `0001|${"Q".repeat(200)}`, "no such command"],
    ["no command", "0001|", "no such command"],
    ["a dot where the command was due", "0001", "a command was due"],
    ["an argument on the command line", "0001|LIST 41-", "no such command"],
    ["HELO without version", "0001|HELO", "HELO wants one line"],
    ["HELO with more", "0001|HELO|1.0|x", "HELO wants one line"],
    ["IHAVE without anything", "0001|IHAVE", "IHAVE wants a tag or NOTIFY first"],
    ["IHAVE with a bad line", `0001|IHAVE|NOTIFY|41 ${V4}`, "IHAVE has a line that is none"],
    ["LIST of nothing", "0001|LIST", "LIST wants a range"],
    ["LIST of a word", "0001|LIST|41-|all", "LIST has a line that is no range"],
    ["GETUPDATE of nothing", "0001|GETUPDATE", "GETUPDATE wants a number"],
    ["GETUPDATE of a range", "0001|GETUPDATE|4-5", "GETUPDATE has a line that is no number"],
    ["UPDATE without a key", "0001|UPDATE|100d", "UPDATE wants a tag, an announcement and a key"],
    ["UPDATE of nothing", "0001|UPDATE|100d|x|y", "UPDATE has no announcement line"],
    ["ERROR without code", "0001|ERROR|100d", "ERROR wants a tag or NOTIFY, a code and a text"],
    ["ERROR with a word", "0001|ERROR|100d|x|y", "ERROR wants a tag or NOTIFY, a code and a text"],
  ])("%s leaves the stream framed", (_name, lines, problem) => {
    const bytes = Buffer.concat([wire(lines), wire("0002|HELO|1.0")]);
    expect(parseEveryWay(bytes)).toMatchObject([
      { command: "malformed", tag: "0001", problem },
      { command: "HELO", tag: "0002" },
    ]);
  });

  test.each([
    ["a tag of 3", "001\r\nHELO\r\n"],
    ["a tag of 5", "00001\r\nHELO\r\n"],
    ["a tag with a NUL", "00\x001\r\nHELO\r\n"],
    ["a tag with an 8-bit octet", "00\xfc1\r\nHELO\r\n"],
    ["a tag with a tab", "00\t1\r\nHELO\r\n"],
    ["a lone dot", ".\r\n"],
    ["HTTP", "GET / HTTP/1.1\r\n\r\n"],
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n"],
    ["a command with a NUL", "0001\r\nHE\x00LO\r\n1.0\r\n.\r\n"],
    ["a command of invalid UTF-8", "0001\r\nHELO\xff\r\n1.0\r\n.\r\n"],
  ])("%s is lost framing, and nothing after it is read", (_name, text) => {
    const bytes = Buffer.concat([Buffer.from(text, "latin1"), wire("0002|HELO|1.0")]);
    expect(parseEveryWay(bytes)).toMatchObject([{ command: "unframed" }]);
  });

  test("a carriage return alone ends no line", () => {
    const parser = new Parser();
    expect(parser.push(Buffer.from("0001\rHELO\r1.0\r.\r"))).toEqual([]);
    expect(parser.push(Buffer.from("\n"))).toMatchObject([{ command: "unframed" }]);
  });
});

describe("limits", () => {
  const small = {
    lineBytes: 80,
    messageBytes: 400,
    numbers: 3,
    announcements: 2,
    ranges: 2,
    openLines: 3,
    keyRanges: 2,
    items: 3,
  };

  test.each([79, 80])("a line of %i of 80 bytes passes, with either line end", (length) => {
    for (const ending of ["\r\n", "\n"]) {
      const lines = `0001|ERROR|NOTIFY|500|${"x".repeat(length)}`;
      expect(parseEveryWay(wire(lines, ending), small)).toMatchObject([{ command: "ERROR" }]);
    }
  });

  test("a line of 81 of 80 bytes is lost framing where it is tag, command or data", () => {
    const long = "x".repeat(81);
    for (const lines of [long, `0001|${long}`, `0001|ERROR|NOTIFY|500|${long}`]) {
      for (const ending of ["\r\n", "\n"]) {
        expect(parseEveryWay(wire(lines, ending), small)).toMatchObject([{ command: "unframed" }]);
      }
    }
  });

  test.each([
    ["by its size", Array.from({ length: 8 }, () => "y".repeat(60)).join("|")],
    ["by a line", "z".repeat(500)],
    ["by a line like a dot", `.${"\r".repeat(90)}|.x|..`],
  ])(
    "an UPDATE that is too large %s is skipped to its end, and the connection lives",
    (_n, body) => {
      const lines = `0001|UPDATE|100d|45 ${HASH}|${body}`;
      for (const ending of ["\r\n", "\n"]) {
        const bytes = Buffer.concat([wire(lines, ending), wire("0002|HELO|1.0", ending)]);
        expect(parseEveryWay(bytes, small)).toEqual([
          { command: "oversized", tag: "0001", inReplyTo: "100d" },
          { command: "HELO", tag: "0002", version: "1.0" },
        ]);
      }
    },
  );

  test("a message of exactly the cap passes, one byte more does not", () => {
    const lines = (bytes: number) => {
      const rest = bytes - "NOTIFY\r\n500\r\n".length;
      const filler = Array.from({ length: 9 }, () => "x".repeat(40));
      const used = filler.length * 42;
      return `0001|ERROR|NOTIFY|500|${filler.join("|")}|${"y".repeat(rest - used - 2)}`;
    };
    expect(parseEveryWay(wire(lines(400)), small)).toMatchObject([{ command: "ERROR" }]);
    expect(parseEveryWay(wire(lines(401)), small)).toMatchObject([{ command: "unframed" }]);
  });

  test("as many ranges, numbers and announcements as allowed, and one more", () => {
    const commands = ["LIST|1|2", "LIST|1|2|3", "GETUPDATE|1|2|3", "GETUPDATE|1|2|3|4"];
    commands.push(`IHAVE|NOTIFY|1 ${HASH}|2 ${HASH}`);
    commands.push(`IHAVE|NOTIFY|1 ${HASH}|2 ${HASH}|3 ${HASH}`);
    const parsed = parse([Buffer.concat(commands.map((lines) => wire(`0001|${lines}`)))], small);
    expect(parsed.map(({ command }) => command)).toEqual([
      "LIST",
      "malformed",
      "GETUPDATE",
      "malformed",
      "IHAVE",
      "malformed",
    ]);
  });

  test("an UPDATE that has begun is seen to move", () => {
    const parser = new Parser();
    const seen = bytewise(wire(`0001|UPDATE|100d|45 ${HASH}|x`)).map((octet) => {
      parser.push(octet);
      return parser.insideUpdate;
    });
    expect(seen.indexOf(true)).toBe("0001\r\nUPDATE\r\n".length - 1);
    expect(seen.at(-1)).toBe(false);
  });

  test("64 MiB without a line end, and 8 million blank lines, cost no more than the caps", () => {
    const chunk = Buffer.alloc(65_536, "x");
    const skipping = new Parser();
    skipping.push(Buffer.from(`0001\nUPDATE\n100d\n45 ${HASH}\n`));
    const lost = new Parser();
    const blank = new Parser();
    blank.push(Buffer.from("0001\nQUUX\n"));
    const before = process.memoryUsage().rss;
    for (let n = 0; n < 1024; n++) {
      expect(skipping.push(chunk)).toEqual([]);
      lost.push(chunk);
    }
    const newlines = Buffer.alloc(65_536, "\n");
    for (let n = 0; n < 127; n++) blank.push(newlines);
    expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(150);
    expect(skipping.push(Buffer.from("\n.\n"))).toMatchObject([{ command: "oversized" }]);
    expect(blank.push(newlines)).toEqual([]);
    expect(blank.push(newlines)).toMatchObject([{ command: "unframed" }]);
  });
});

describe("anything at all", () => {
  const token = fc.constantFrom(
    "\r\n",
    "\n",
    "\r",
    ".",
    ".\r\n",
    "0001",
    "HELO",
    "IHAVE",
    "LIST",
    "GETUPDATE",
    "UPDATE",
    "ERROR",
    "CLOSE",
    "NOTIFY",
    "1-",
    "500",
    `45 ${HASH}`,
    "\0",
    "\xff",
    "x".repeat(70),
  );
  const stream = fc
    .array(fc.oneof({ weight: 4, arbitrary: token }, fc.string({ unit: "binary" })))
    .map((parts) => Buffer.from(parts.join(""), "latin1"));
  const small: ParserLimits = { ...PARSER_LIMITS, lineBytes: 60, messageBytes: 300 };

  test("never throws, and reads the same however it is cut", () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(400), { maxLength: 6 }), (bytes, cuts) => {
        const at = [0, ...cuts.filter((cut) => cut < bytes.length), bytes.length].sort(
          (a, b) => a - b,
        );
        const parts = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        expect(parse(parts, small)).toEqual(parse([bytes], small));
      }),
      { numRuns: 2000 },
    );
  });

  test("every truncation and every flipped bit of a conversation is read or refused", () => {
    const whole = Buffer.concat(TABLE.map(([, , lines]) => wire(lines)));
    for (let end = 0; end < whole.length; end++) parse([whole.subarray(0, end)], small);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(parse([flipped]).length).toBeGreaterThan(0);
    }
  });

  test("time grows no faster than the input", () => {
    const spaces = " ".repeat(1000);
    const shapes: Record<string, (n: number) => Buffer> = {
      listing: (n) => wire(`0001|IHAVE|NOTIFY${`|41 ${V3} ${HASH}`.repeat(n)}`),
      spaces: (n) => wire(`0001|IHAVE|NOTIFY${`|41${spaces}`.repeat(n / 10)}`),
      numbers: (n) => wire(`0001|GETUPDATE${"|7".repeat(n)}`),
      blank: (n) => wire(`0001|QUUX${"|".repeat(n * 10)}`, "\n"),
      small: (n) => Buffer.concat(Array.from({ length: n }, () => wire("0001|CLOSE"))),
    };
    for (const [name, shape] of Object.entries(shapes)) {
      const msOf = (n: number) => {
        const bytes = shape(n);
        const runs = Array.from({ length: 5 }, () => {
          const cpuMs = cpuTimer();
          const parser = new Parser();
          for (let at = 0; at < bytes.length; at += 16_384) {
            parser.push(bytes.subarray(at, at + 16_384));
          }
          return cpuMs();
        });
        return Math.min(...runs);
      };
      msOf(4000);
      // Four times the input: 4 when linear, 16 when quadratic. The 2 ms are for the clock.
      expect(msOf(32_000) / (msOf(8000) + 2), name).toBeLessThan(8);
    }
  });
});
