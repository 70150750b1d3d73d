/**
 * Parses the head of a mail to header fields in order (RFC 5322 section 2.2). Values are unfolded
 * and otherwise unchanged, because subject and trail are matched on the raw line. MIME and encoded
 * words are not decoded. Bytes are converted as Latin-1, one character each.
 *
 * The parser is tolerant: it accepts LF or CRLF, blanks before the colon, and an mbox "From " line
 * at the top. The first line that is not a field starts the body, as in Postfix. Time is linear.
 */
import { Refusal } from "../errors.js";

/** One header field: `name` as spelled in the mail, `value` unfolded, without outer blanks. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** The fields in order, and the index of the first byte of the body. */
export interface Head {
  readonly fields: readonly HeaderField[];
  readonly bodyStart: number;
}

/** Most fields in a head. A full trail with fifty Received lines has about 320. */
export const MAX_FIELDS = 1000;

/** Most bytes in a head. Postfix stops at 102,400; the longest valid trail has about 70,000. */
export const MAX_HEAD_BYTES = 131_072;

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const COLON = 0x3a;
const FIELD_NAME = /^[!-9;-~]+$/;

/**
 * Reads the head of `message`. When the message does not start with a field, there are no fields
 * and the body starts at 0 (or after the blank line). Throws Refusal 'bad-mail' for more than
 * MAX_FIELDS fields or more than MAX_HEAD_BYTES bytes.
 */
export function readHead(message: Uint8Array): Head {
  const fields: { name: string; lines: string[] }[] = [];
  let at = 0;
  while (at < message.length) {
    const lineFeed = message.indexOf(LF, at);
    const next = lineFeed === -1 ? message.length : lineFeed + 1;
    const end = endOfText(message, at, lineFeed === -1 ? message.length : lineFeed);
    if (end === at) {
      at = next;
      break;
    }
    const first = message[at];
    const current = fields.at(-1);
    const continues = (first === SPACE || first === TAB) && current !== undefined;
    const colon = continues ? at : colonOfField(message, at, end);
    if (colon === undefined && !(at === 0 && isMailboxLine(message))) break;
    if (next > MAX_HEAD_BYTES) throw tooMuch(`is longer than ${MAX_HEAD_BYTES} bytes`);
    if (continues) {
      current.lines.push(latin1(message, at, end));
    } else if (colon !== undefined) {
      if (fields.length === MAX_FIELDS) throw tooMuch(`has more than ${MAX_FIELDS} fields`);
      const name = latin1(message, at, colon).trimEnd();
      fields.push({ name, lines: [latin1(message, colon + 1, end)] });
    }
    at = next;
  }
  return {
    fields: fields.map(({ name, lines }) => ({ name, value: lines.join("").trim() })),
    bodyStart: at,
  };
}

/** The values of all fields with this name, in order. Names are case-insensitive. */
export function headerValues(fields: readonly HeaderField[], name: string): string[] {
  const wanted = name.toLowerCase();
  return fields.filter((field) => field.name.toLowerCase() === wanted).map((field) => field.value);
}

/** The end of the text of a line: its line feed, or the carriage return before that. */
function endOfText(message: Uint8Array, start: number, lineFeed: number): number {
  return lineFeed > start && message[lineFeed - 1] === CR ? lineFeed - 1 : lineFeed;
}

/** The index of the colon if the line is a field, otherwise undefined. */
function colonOfField(message: Uint8Array, start: number, end: number): number | undefined {
  const colon = message.subarray(start, end).indexOf(COLON);
  if (colon === -1) return undefined;
  const name = latin1(message, start, start + colon).trimEnd();
  return FIELD_NAME.test(name) ? start + colon : undefined;
}

/** Whether the message starts with an mbox line: "From sender date". */
function isMailboxLine(message: Uint8Array): boolean {
  const opening = latin1(message, 0, 6);
  return opening.startsWith("From ") || opening === ">From ";
}

function latin1(message: Uint8Array, start: number, end: number): string {
  const piece = message.subarray(start, end);
  return Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString("latin1");
}

function tooMuch(what: string): Refusal {
  return new Refusal("bad-mail", `The head of the mail ${what}.`);
}
