/**
 * Decodes quoted-printable (RFC 2045 section 6.7) line by line, as octets arrive. The decoder of
 * mailparser keeps a part until its end and decodes it in one turn: 30 MiB take up to 800 ms.
 *
 * Blanks at the end of a line are removed; "=" that starts no escape is kept. Line ends are kept as
 * they are. Limit: in a line of more than 64 KiB (RFC 2045 allows 76 octets) blanks may be kept.
 */
import { Transform, type TransformCallback } from "node:stream";

const [LF, CR, EQUALS, BLANK, TAB] = [0x0a, 0x0d, 0x3d, 0x20, 0x09];
/** The end of a longer line is not waited for. */
const LINE_BYTES = 64 * 1024;
/** Octets of an escape, and of a soft line break at most. */
const LONGEST_ESCAPE = 3;

export class QuotedPrintableDecoder extends Transform {
  /** Start of a line whose end has not arrived. */
  #rest: Uint8Array = new Uint8Array(0);
  /** The possible start of an escape that continues after a soft line break. */
  #begun: Uint8Array = new Uint8Array(0);

  override _transform(chunk: Uint8Array, _encoding: string, done: TransformCallback): void {
    const octets = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = octets.lastIndexOf(LF) + 1;
    const isTooLong = whole === 0 && octets.length > LINE_BYTES;
    const end = isTooLong ? octets.length - LONGEST_ESCAPE : whole;
    const text = Buffer.concat([this.#begun, joined(octets.subarray(0, end))]);
    const decoded = text.length - begun(text);
    this.#begun = text.subarray(decoded);
    this.#rest = octets.subarray(end);
    if (decoded > 0) this.push(unescaped(text.subarray(0, decoded)));
    done();
  }

  override _flush(done: TransformCallback): void {
    // A soft line break before the end.
    const rest = this.#rest.at(-1) === EQUALS ? this.#rest.subarray(0, -1) : this.#rest;
    this.push(unescaped(Buffer.concat([this.#begun, joined(rest)])));
    done();
  }
}

/** Lines without blanks at their ends and soft line breaks; the last may have no line end. */
function joined(octets: Uint8Array): Buffer {
  const found = Buffer.allocUnsafe(octets.length);
  let length = 0;
  for (let start = 0; start < octets.length; ) {
    const feed = octets.indexOf(LF, start);
    const next = feed < 0 ? octets.length : feed + 1;
    const lineEnd = feed > start && octets[feed - 1] === CR ? feed - 1 : feed;
    let end = feed < 0 ? next : lineEnd;
    while (feed >= 0 && end > start && isBlank(octets[end - 1])) end -= 1;
    const isSoft = feed >= 0 && end > start && octets[end - 1] === EQUALS;
    found.set(octets.subarray(start, isSoft ? end - 1 : end), length);
    length += end - start - Number(isSoft);
    if (feed >= 0 && !isSoft) {
      found.set(octets.subarray(lineEnd, next), length);
      length += next - lineEnd;
    }
    start = next;
  }
  return found.subarray(0, length);
}

/** Decodes the escapes, in place. */
function unescaped(octets: Buffer): Buffer {
  let length = octets.indexOf(EQUALS);
  if (length < 0) return octets;
  for (let at = length; at < octets.length; at += 1) {
    const octet = octets[at] ?? 0;
    const escaped = octet === EQUALS && at + 2 < octets.length ? escapedAt(octets, at + 1) : -1;
    octets[length] = escaped < 0 ? octet : escaped;
    length += 1;
    if (escaped >= 0) at += 2;
  }
  return octets.subarray(0, length);
}

/** How many octets at the end may be the start of an escape. */
function begun(octets: Uint8Array): number {
  if (octets.at(-1) === EQUALS) return 1;
  return octets.at(-2) === EQUALS && digit(octets.at(-1) ?? 0) >= 0 ? 2 : 0;
}

function isBlank(octet: number | undefined): boolean {
  return octet === BLANK || octet === TAB;
}

/** The octet that two hex digits stand for, or -1. */
function escapedAt(octets: Uint8Array, at: number): number {
  const [high, low] = [digit(octets[at] ?? 0), digit(octets[at + 1] ?? 0)];
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

function digit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const letter = octet | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}
