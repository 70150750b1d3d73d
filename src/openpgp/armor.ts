/**
 * Encodes octets as one PUBLIC KEY BLOCK and decodes all blocks in a text (RFC 9580 section 6).
 *
 * The decoder accepts what gpg accepts without a warning: LF or CRLF, blanks and tabs anywhere
 * except in the checksum, any line width, header lines, a missing blank line, a checksum or END on
 * the last data line, no checksum, and no padding when there is a checksum. It refuses what could
 * change octets unnoticed: characters that are not base64, a checksum that does not match, data
 * after the checksum, a block without END. BEGIN must be in the first column, as for gpg. Time is
 * linear in the input. The encoder always writes the CRC-24 line, which pksd and SKS require.
 */
import { Refusal, type RefusalReason } from "../errors.js";
import { finish, type Steps } from "../steps.js";
import { bufferOf } from "./packet.js";

/** One block: its octets, and the number of its BEGIN line, from 1. */
export interface ArmorBlock {
  readonly label: string;
  readonly data: Uint8Array;
  readonly line: number;
}

const KEY_LABEL = "PGP PUBLIC KEY BLOCK";
const BEGIN = "-----BEGIN PGP ";
const END = `-----END ${KEY_LABEL}-----`;
const COLUMNS = 64;
/** Longest BEGIN line; the longest label in use has 30 characters. */
const MAX_BEGIN_LINE = 80;
/** A refusal costs about 10 us and 1 KiB; 2 MiB of text could cause 50,000 of them. */
const MAX_REFUSALS = 1000;
const LF = 0x0a;
const CR = 0x0d;
const DASH = 0x2d;
const EQUALS = 0x3d;
const COLON = 0x3a;
/** Characters in a group of base64, and how many of them may be padding. */
const GROUP = 4;
const PADDING = 2;
const CRC_CHARACTERS = 4;
/** Characters that are decoded in one piece; a multiple of four. */
const PIECE = 64 * 1024;
/** Octets of text after which there is a step. */
const STEP_OCTETS = 64 * 1024;

const CRC_INIT = 0xb704ce;
const CRC_TABLE = crcTable();
const IS_BASE64 = base64Table();

/**
 * Encodes data as one PUBLIC KEY BLOCK: 64 columns, CRC-24 line, LF line ends, also at the end.
 * Throws Error for a line end in the name or value of a header.
 */
export function encodeArmor(
  data: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): string {
  const lines = [`-----BEGIN ${KEY_LABEL}-----`];
  for (const [name, value] of Object.entries(headers)) {
    if (/[\r\n]/.test(name + value)) throw new Error("an armor header must not contain a line end");
    lines.push(`${name}: ${value}`);
  }
  lines.push("");
  const base64 = bufferOf(data).toString("base64");
  for (let at = 0; at < base64.length; at += COLUMNS) lines.push(base64.slice(at, at + COLUMNS));
  lines.push(`=${encodeCrc(crc24(data))}`, END, "");
  return lines.join("\n");
}

/** The size of the output of `encodeArmor` for `byteCount` octets, without headers. */
export function armoredSize(byteCount: number): number {
  const characters = 4 * Math.ceil(byteCount / 3);
  const frame = `-----BEGIN ${KEY_LABEL}-----\n\n=CRC=\n${END}\n`.length;
  return frame + characters + Math.ceil(characters / COLUMNS);
}

/**
 * Decodes all blocks of a text, in order. A block that is refused is returned as a Refusal with the
 * line number in its message, and reading continues: 'bad-armor', 'bad-crc', 'secret-key' for a
 * private key, 'not-key-material' for messages and signatures. A text without a block gives [].
 * After 1000 refusals the rest is not read ('too-large').
 */
export function readArmor(text: Uint8Array): (ArmorBlock | Refusal)[] {
  return finish(readingArmor(text));
}

/** The same in steps. Reading stops after `most` + 1 blocks. */
export function* readingArmor(text: Uint8Array, most = Infinity): Steps<(ArmorBlock | Refusal)[]> {
  const lines = new Lines(text);
  const found: (ArmorBlock | Refusal)[] = [];
  const scratch = Buffer.allocUnsafe(Math.min(PIECE, text.length + PADDING));
  let refusals = 0;
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (lines.isStepDue()) yield;
    const label = lines.isIndented ? undefined : beginLabel(line);
    if (label === undefined) continue;
    if (refusals >= MAX_REFUSALS) {
      found.push(bad(lines.number, "too many bad blocks, the rest is not read", "too-large"));
      break;
    }
    const outcome =
      label === KEY_LABEL ? yield* readBlock(lines, scratch) : foreign(label, lines.number);
    if (outcome instanceof Refusal) refusals += 1;
    found.push(outcome);
    if (found.length > most) break;
  }
  return found;
}

/** CRC-24 (RFC 9580 section 6.1), continued from `before`; four octets in a step. */
function crc24(data: Uint8Array, before = CRC_INIT): number {
  // In the upper 24 bits, so that no step has to mask it.
  let crc = before << 8;
  const whole = data.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    const upper = ((data[i] ?? 0) << 24) | ((data[i + 1] ?? 0) << 16);
    crc ^= upper | ((data[i + 2] ?? 0) << 8) | (data[i + 3] ?? 0);
    crc =
      (CRC_TABLE[768 + (crc >>> 24)] ?? 0) ^
      (CRC_TABLE[512 + ((crc >>> 16) & 0xff)] ?? 0) ^
      (CRC_TABLE[256 + ((crc >>> 8) & 0xff)] ?? 0) ^
      (CRC_TABLE[crc & 0xff] ?? 0);
  }
  for (let i = whole; i < data.length; i++) {
    crc = (crc << 8) ^ (CRC_TABLE[(crc >>> 24) ^ (data[i] ?? 0)] ?? 0);
  }
  return crc >>> 8;
}

/** Reads the block after its BEGIN line. */
function* readBlock(lines: Lines, scratch: Buffer): Steps<ArmorBlock | Refusal> {
  const begin = lines.number;
  const base64 = new Base64Collector(scratch);
  let inHeaders = true;
  let crc: string | undefined;
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (lines.isStepDue()) yield;
    if (startsWith(line, END)) {
      lines.putBack(line, END.length);
      return finished(base64, crc, begin, lines.number);
    }
    if (startsWith(line, BEGIN)) {
      lines.putBack(line, 0);
      break;
    }
    if (inHeaders && line.includes(COLON)) continue;
    if (inHeaders && line.length === 0) {
      const data = lines.takePlainData();
      if (data !== undefined) {
        const last = lines.next();
        if (last !== undefined) lines.putBack(last, END.length);
        return { label: KEY_LABEL, data, line: begin };
      }
    }
    inHeaders = false;
    if (line.length === 0) continue;
    const end = line.includes(DASH) ? line.indexOf(END) : -1;
    if (end !== -1) lines.putBack(line, end);
    const text = end === -1 ? line : line.subarray(0, end);
    if (crc !== undefined) return bad(lines.number, "there is data after the checksum");
    const crcAt = crcStart(text);
    if (crcAt !== undefined) crc = text.toString("latin1", text.length - CRC_CHARACTERS);
    for (let at = 0; at < (crcAt ?? text.length); at += PIECE) {
      const piece = text.subarray(at, Math.min(at + PIECE, crcAt ?? text.length));
      if (!base64.add(piece)) return bad(lines.number, "a line is not base64");
      if (text.length > PIECE) yield;
    }
  }
  return bad(begin, "the block has no END line");
}

function finished(
  base64: Base64Collector,
  crc: string | undefined,
  begin: number,
  end: number,
): ArmorBlock | Refusal {
  const decoded = base64.decode();
  const fits = decoded !== undefined && crc === encodeCrc(decoded.crc);
  // Without padding, only the checksum shows that the last group is complete.
  if (decoded === undefined || (!decoded.isPadded && !fits)) {
    return bad(end, "the base64 data is truncated");
  }
  if (crc !== undefined && !fits) {
    return bad(end, "the checksum does not match the data", "bad-crc");
  }
  return { label: KEY_LABEL, data: decoded.data, line: begin };
}

/** The lines of a text, numbered from 1, without line ends and without outer blanks. */
class Lines {
  readonly #text: Buffer;
  #offset = 0;
  #start = 0;
  #number = 0;
  #isIndented = false;
  #stepAt = STEP_OCTETS;

  constructor(text: Uint8Array) {
    this.#text = bufferOf(text);
  }

  /** The number of the line that `next` returned last. */
  get number(): number {
    return this.#number;
  }

  /** Whether the line that `next` returned last began with blanks. */
  get isIndented(): boolean {
    return this.#isIndented;
  }

  /** Whether STEP_OCTETS were read since this last returned true. */
  isStepDue(): boolean {
    if (this.#offset < this.#stepAt) return false;
    this.#stepAt = this.#offset + STEP_OCTETS;
    return true;
  }

  next(): Buffer | undefined {
    let start = this.#offset;
    if (start >= this.#text.length) return undefined;
    const found = this.#text.indexOf(LF, start);
    let end = found === -1 ? this.#text.length : found;
    this.#offset = end + 1;
    this.#number += 1;
    const first = start;
    while (end > start && isBlank(this.#text[end - 1])) end -= 1;
    while (start < end && isBlank(this.#text[start])) start += 1;
    this.#isIndented = start > first;
    this.#start = start;
    return this.#text.subarray(start, end);
  }

  /**
   * The data up to an END line, which is the next line then, where it has the form that encoders
   * write: base64 and line ends, padding, a line with a checksum that fits, END. This takes a third
   * of the time that the lines take. Undefined, and nothing is read, for any other form and above
   * `PIECE`.
   */
  takePlainData(): Buffer | undefined {
    const text = this.#text;
    const start = this.#offset;
    const limit = Math.min(text.length, start + PIECE);
    let [at, characters, lines] = [start, 0, 0];
    for (; at < limit; at++) {
      const octet = text[at] ?? 0;
      if (IS_BASE64[octet] === 1) characters += 1;
      else if (octet === LF) lines += 1;
      else if (octet !== CR) break;
    }
    const dataEnd = at;
    let padding = 0;
    if (at > start && text[at - 1] !== LF) {
      while (padding < PADDING && text[at] === EQUALS) {
        at += 1;
        padding += 1;
      }
      at = this.#afterLineEnd(at);
      lines += 1;
    }
    const checksum = at + 1;
    const end = this.#afterLineEnd(checksum + CRC_CHARACTERS);
    const isWhole = characters > 0 && (characters + padding) % GROUP === 0;
    if (!isWhole || text[at] !== EQUALS || !startsAt(text, end, END)) return undefined;
    const data = Buffer.from(text.toString("latin1", start, dataEnd), "base64");
    const crc = text.toString("latin1", checksum, checksum + CRC_CHARACTERS);
    if (crc !== encodeCrc(crc24(data))) return undefined;
    this.#offset = end;
    this.#number += lines + 1;
    return data;
  }

  /** The offset after a line end at `at`; beyond the text where there is none. */
  #afterLineEnd(at: number): number {
    const lineEnd = this.#text[at] === CR ? at + 1 : at;
    return this.#text[lineEnd] === LF ? lineEnd + 1 : this.#text.length;
  }

  /** Keeps the first `kept` octets of the last line; the rest of it becomes the next line. */
  putBack(line: Buffer, kept: number): void {
    if (kept === line.length) return;
    this.#offset = this.#start + kept;
    this.#number -= 1;
  }
}

/** A strict decoder of base64 lines. Buffer skips invalid characters, so they are checked here. */
class Base64Collector {
  /** Characters that are not yet decoded. */
  readonly #characters: Buffer;
  #length = 0;
  #padding = 0;
  readonly #pieces: Buffer[] = [];
  #crc = CRC_INIT;

  constructor(scratch: Buffer) {
    this.#characters = scratch;
  }

  /**
   * Returns false for a character that is neither base64 nor a blank, and for data after padding.
   */
  add(line: Buffer): boolean {
    const characters = this.#characters;
    for (let i = 0; i < line.length; i++) {
      const octet = line[i] ?? 0;
      if (octet === EQUALS) {
        this.#padding += 1;
      } else if (IS_BASE64[octet] === 1) {
        if (this.#padding > 0) return false;
        if (this.#length === characters.length) this.#flush();
        characters[this.#length++] = octet;
      } else if (!isBlank(octet)) return false;
    }
    return this.#padding <= PADDING;
  }

  /** The octets and their checksum, or undefined when the last group of four is incomplete. */
  decode():
    | { readonly data: Uint8Array; readonly crc: number; readonly isPadded: boolean }
    | undefined {
    const rest = this.#length % GROUP;
    const isPadded = (rest + this.#padding) % GROUP === 0;
    if (rest === 1 || (!isPadded && this.#padding > 0)) return undefined;
    this.#flush();
    return { data: Buffer.concat(this.#pieces), crc: this.#crc, isPadded };
  }

  #flush(): void {
    const piece = Buffer.from(this.#characters.toString("latin1", 0, this.#length), "base64");
    this.#crc = crc24(piece, this.#crc);
    this.#pieces.push(piece);
    this.#length = 0;
  }
}

/** The label of a BEGIN line, such as "PGP MESSAGE"; undefined for any other line. */
function beginLabel(line: Buffer): string | undefined {
  if (line.length > MAX_BEGIN_LINE || !startsWith(line, BEGIN)) return undefined;
  return /^-----BEGIN (PGP [A-Z0-9 ,/]+)-----$/.exec(line.toString("latin1"))?.[1];
}

function foreign(label: string, line: number): Refusal {
  return /PRIVATE|SECRET/.test(label)
    ? new Refusal("secret-key", `a block with a secret key (line ${line})`)
    : new Refusal("not-key-material", `a block that is not a public key (line ${line})`);
}

function bad(line: number, what: string, reason: RefusalReason = "bad-armor"): Refusal {
  return new Refusal(reason, `${what} (line ${line})`);
}

/** Where the checksum at the end of a line starts: `=`, blanks, four adjacent characters. */
function crcStart(line: Buffer): number | undefined {
  let at = line.length - CRC_CHARACTERS;
  for (let i = at; i < line.length; i++) if (IS_BASE64[line[i] ?? 0] !== 1) return undefined;
  do at -= 1;
  while (at > 0 && isBlank(line[at]));
  return line[at] === EQUALS ? at : undefined;
}

function startsAt(text: Buffer, at: number, start: string): boolean {
  return text.toString("latin1", at, at + start.length) === start;
}

function startsWith(line: Buffer, start: string): boolean {
  // Nearly all lines are base64. The first octet rules them out without creating a string.
  return line[0] === DASH && line.toString("latin1", 0, start.length) === start;
}

function isBlank(octet: number | undefined): boolean {
  return octet === 0x20 || octet === 0x09 || octet === CR;
}

function encodeCrc(crc: number): string {
  return Buffer.from([crc >>> 16, crc >>> 8, crc]).toString("base64");
}

/** What an octet adds to the checksum, in the upper 24 bits, with 0 to 3 octets after it. */
function crcTable(): Int32Array {
  const table = new Int32Array(4 * 256);
  for (let octet = 0; octet < 256; octet++) {
    let crc = octet << 24;
    for (let bit = 0; bit < 32; bit++) {
      crc = (crc << 1) ^ (crc < 0 ? 0x1864cfb << 8 : 0);
      if (bit % 8 === 7) table[(bit >> 3) * 256 + octet] = crc;
    }
  }
  return table;
}

function base64Table(): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) =>
    /[A-Za-z0-9+/]/.test(String.fromCharCode(octet)) ? 1 : 0,
  );
}
