/**
 * ASCII armor both ways (RFC 9580 section 6): octets to one PUBLIC KEY BLOCK, and every block that
 * stands anywhere in a text back to octets.
 *
 * Lenient where real software differs (LF or CR LF, blanks at line ends, any line width, header
 * lines, a missing blank line, a missing CRC, no line end after END), strict where octets could
 * change unseen: anything that is not base64 and any CRC that does not fit is refused. Reads the
 * text once, so its time is linear in any input. Dash-escaped and indented blocks are not found.
 * What it writes always has the CRC-24 line, for pksd and SKS refuse a block without.
 */
import { Refusal, type RefusalReason } from "../errors.js";

/** One block of a text: its octets and the line, from 1, that its BEGIN stands on. */
export interface ArmorBlock {
  readonly label: string;
  readonly data: Uint8Array;
  readonly line: number;
}

const KEY_LABEL = "PGP PUBLIC KEY BLOCK";
const BEGIN = "-----BEGIN PGP ";
const END = `-----END ${KEY_LABEL}-----`;
const COLUMNS = 64;
/** A longer line is no BEGIN line: the longest label in use has 30 characters. */
const MAX_BEGIN_LINE = 80;
/** A refusal costs some 10 us and 1 KiB, and 2 MiB could hold 50,000 of them. */
const MAX_REFUSALS = 1000;
const DASH = 0x2d;
const EQUALS = 0x3d;
const COLON = 0x3a;
const CRC_LINE_OCTETS = 5;

const CRC_INIT = 0xb704ce;
const CRC_TABLE = crcTable();
const IS_BASE64 = base64Table();

/**
 * The data as one PUBLIC KEY BLOCK: 64 columns, CRC-24 line, LF line ends, one at the end.
 * A header's name or value must not hold a line end.
 */
export function encodeArmor(
  data: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): string {
  const lines = [`-----BEGIN ${KEY_LABEL}-----`];
  for (const [name, value] of Object.entries(headers)) {
    if (/[\r\n]/.test(name + value)) throw new Error("an armor header is one line");
    lines.push(`${name}: ${value}`);
  }
  lines.push("");
  const base64 = bufferOf(data).toString("base64");
  for (let at = 0; at < base64.length; at += COLUMNS) lines.push(base64.slice(at, at + COLUMNS));
  lines.push(`=${encodeCrc(crc24(data))}`, END, "");
  return lines.join("\n");
}

/** How many octets `encodeArmor` makes of `byteCount` octets without headers. */
export function armoredSize(byteCount: number): number {
  const characters = 4 * Math.ceil(byteCount / 3);
  const frame = `-----BEGIN ${KEY_LABEL}-----\n\n=CRC=\n${END}\n`.length;
  return frame + characters + Math.ceil(characters / COLUMNS);
}

/**
 * Every block of a text in order. A block that cannot be taken is a Refusal in its place with the
 * line in its message, and the next one is still read: 'bad-armor', 'bad-crc', 'secret-key' for a
 * private key, 'not-key-material' for messages and signatures. Text without a block gives [].
 * After 1000 refusals the rest is not read ('too-large').
 */
export function readArmor(text: Uint8Array): (ArmorBlock | Refusal)[] {
  const lines = new Lines(text);
  const found: (ArmorBlock | Refusal)[] = [];
  let refusals = 0;
  let scratch: Buffer | undefined;
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const label = beginLabel(line);
    if (label === undefined) continue;
    if (refusals >= MAX_REFUSALS) {
      found.push(bad(lines.number, "too many bad blocks, the rest is not read", "too-large"));
      break;
    }
    scratch ??= Buffer.allocUnsafe(text.length);
    const outcome = label === KEY_LABEL ? readBlock(lines, scratch) : foreign(label, lines.number);
    if (outcome instanceof Refusal) refusals += 1;
    found.push(outcome);
  }
  return found;
}

/** CRC-24 of RFC 9580 section 6.1. */
function crc24(data: Uint8Array): number {
  let crc = CRC_INIT;
  for (let i = 0; i < data.length; i++) {
    crc = ((crc << 8) & 0xffffff) ^ (CRC_TABLE[(crc >>> 16) ^ (data[i] ?? 0)] ?? 0);
  }
  return crc;
}

/** The block whose BEGIN line was just read. `scratch` has room for the base64 of all the text. */
function readBlock(lines: Lines, scratch: Buffer): ArmorBlock | Refusal {
  const begin = lines.number;
  const base64 = new Base64Collector(scratch);
  let inHeaders = true;
  let crc: string | undefined;
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (startsWith(line, END)) {
      lines.putBack(line, END.length);
      return finish(base64, crc, begin, lines.number);
    }
    if (startsWith(line, BEGIN)) {
      lines.putBack(line, 0);
      break;
    }
    if (inHeaders && line.includes(COLON)) continue;
    inHeaders = false;
    if (line.length === 0) continue;
    if (crc !== undefined) return bad(lines.number, "something stands after the checksum");
    if (isCrcLine(line)) crc = line.toString("latin1", 1);
    else if (!base64.add(line)) return bad(lines.number, "a line that is not base64");
  }
  return bad(begin, "the block has no END line");
}

function finish(
  base64: Base64Collector,
  crc: string | undefined,
  begin: number,
  end: number,
): ArmorBlock | Refusal {
  const data = base64.decode();
  if (data === undefined) return bad(end, "the base64 is cut off");
  if (crc !== undefined && crc !== encodeCrc(crc24(data))) {
    return bad(end, "the checksum does not fit the data", "bad-crc");
  }
  return { label: KEY_LABEL, data, line: begin };
}

/** The lines of a text without their ends and trailing blanks, counted from 1. */
class Lines {
  readonly #text: Buffer;
  #offset = 0;
  #start = 0;
  #number = 0;

  constructor(text: Uint8Array) {
    this.#text = bufferOf(text);
  }

  /** Number of the line that `next` returned last. */
  get number(): number {
    return this.#number;
  }

  next(): Buffer | undefined {
    const start = this.#offset;
    if (start >= this.#text.length) return undefined;
    const found = this.#text.indexOf(0x0a, start);
    let end = found === -1 ? this.#text.length : found;
    this.#start = start;
    this.#offset = end + 1;
    this.#number += 1;
    while (end > start && isBlank(this.#text[end - 1])) end -= 1;
    return this.#text.subarray(start, end);
  }

  /** Makes what stands after the first `kept` octets of the last line the next line to read. */
  putBack(line: Buffer, kept: number): void {
    if (kept === line.length) return;
    this.#offset = this.#start + kept;
    this.#number -= 1;
  }
}

/** Gathers base64 lines into one run of characters, strictly: Buffer skips what it cannot read. */
class Base64Collector {
  readonly #characters: Buffer;
  #length = 0;
  #padding = 0;

  constructor(scratch: Buffer) {
    this.#characters = scratch;
  }

  /** False when the line holds anything but base64, or anything after the padding. */
  add(line: Buffer): boolean {
    let end = line.length;
    while (end > 0 && line[end - 1] === EQUALS) end -= 1;
    if (end > 0 && this.#padding > 0) return false;
    for (let i = 0; i < end; i++) {
      if (IS_BASE64[line[i] ?? 0] === 0) return false;
    }
    this.#characters.set(line, this.#length);
    this.#length += line.length;
    this.#padding += line.length - end;
    return this.#padding <= 2;
  }

  /** The octets, or undefined when the last group of four is not complete. */
  decode(): Uint8Array | undefined {
    if (this.#length % 4 !== 0) return undefined;
    return Buffer.from(this.#characters.toString("latin1", 0, this.#length), "base64");
  }
}

/** `PGP ...` of a BEGIN line, undefined for any other line. */
function beginLabel(line: Buffer): string | undefined {
  if (line.length > MAX_BEGIN_LINE || !startsWith(line, BEGIN)) return undefined;
  return /^-----BEGIN (PGP [A-Z0-9 ,/]+)-----$/.exec(line.toString("latin1"))?.[1];
}

function foreign(label: string, line: number): Refusal {
  return /PRIVATE|SECRET/.test(label)
    ? new Refusal("secret-key", `a block with a secret key (line ${line})`)
    : new Refusal("not-key-material", `a block that is no public key (line ${line})`);
}

function bad(line: number, what: string, reason: RefusalReason = "bad-armor"): Refusal {
  return new Refusal(reason, `${what} (line ${line})`);
}

/** `=` and four characters; shorter lines of `=` are padding that was wrapped. */
function isCrcLine(line: Buffer): boolean {
  return line.length === CRC_LINE_OCTETS && line[0] === EQUALS;
}

function startsWith(line: Buffer, start: string): boolean {
  // Nearly every line is base64: the first octet settles it without making a string.
  return line[0] === DASH && line.toString("latin1", 0, start.length) === start;
}

function isBlank(octet: number | undefined): boolean {
  return octet === 0x20 || octet === 0x09 || octet === 0x0d;
}

function encodeCrc(crc: number): string {
  return Buffer.from([crc >>> 16, crc >>> 8, crc]).toString("base64");
}

function bufferOf(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function crcTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, octet) => {
    let crc = octet << 16;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x800000 ? 0x1864cfb : 0);
    return crc;
  });
}

function base64Table(): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) =>
    /[A-Za-z0-9+/]/.test(String.fromCharCode(octet)) ? 1 : 0,
  );
}
