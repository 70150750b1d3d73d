/** Quoted-printable, line by line, against the package's decoder, which does it in one go. */
import { decode } from "libqp";
import { expect, test } from "vitest";
import { QuotedPrintableDecoder } from "../../src/intake/quoted-printable.js";
import { chance, SEED } from "../kx/chance.js";

/** What comes out of `text` in chunks of the lengths that `cut` says. */
async function decoded(text: string, cut: () => number): Promise<string> {
  const decoder = new QuotedPrintableDecoder();
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; ) {
    const next = at + cut();
    decoder.write(bytes.subarray(at, next));
    at = next;
  }
  decoder.end();
  const chunks: Buffer[] = [];
  for await (const chunk of decoder) chunks.push(chunk);
  return Buffer.concat(chunks).toString("latin1");
}

test.each([
  ["escapes", "=41=4a=4Ax=3D\r\n", "AJJx=\r\n"],
  ["an escape over two lines", "a==\r\n41=4=\n2\r\n", "aAB\r\n"],
  ["soft line breaks, with blanks behind", "a=\r\nb= \t\r\nc=\nd\n", "abcd\n"],
  ["blanks at the end of a line", "a \t\r\n \t\nb ", "a\r\n\nb "],
  ["what is no escape", "=4 =G1 == =\u00e9 =4", "=4 =G1 == =\u00e9 =4"],
  ["a soft line break at the end", "a=", "a"],
  ["an escape at the end", "a=41", "aA"],
  ["nothing", "", ""],
])("%s", async (_, text, expected) => {
  for (const length of [1, 2, 3, 1000]) expect(await decoded(text, () => length)).toBe(expected);
});

test(`any text, in any pieces, as the package decodes it (seed ${SEED})`, async () => {
  const random = chance(SEED);
  const words = [
    "=41",
    "=",
    "=4",
    " ",
    "\t",
    "\r\n",
    "\n",
    "=\r\n",
    "x",
    "yz",
    "\u00e9",
    "=\n",
    "G",
  ];
  for (let n = 0; n < 3000; n += 1) {
    const length = Math.floor(random() * 30);
    const picked = Array.from({ length }, () => words[Math.floor(random() * words.length)] ?? "");
    const text = `${picked.join("")}.`;
    const expected = decode(text).toString("latin1");
    expect(await decoded(text, () => 1 + Math.floor(random() * 5)), JSON.stringify(text)).toBe(
      expected,
    );
  }
});

test("a line without end keeps its escapes, and comes out before its end", async () => {
  for (const unit of ["=41", "x=41", "==41", "=", "=4", " =41"]) {
    const text = unit.repeat(60_000);
    const expected = decode(`${text}.`).toString("latin1");
    expect(await decoded(`${text}.`, () => 1021)).toBe(expected);
  }
  const decoder = new QuotedPrintableDecoder();
  decoder.write(Buffer.alloc(100_000, "x"));
  expect(decoder.readableLength).toBeGreaterThan(90_000);
});
