/**
 * The head of a mail: raw bytes to header fields in order (RFC 5322 section 2.2), with the values
 * unfolded and otherwise untouched, because subject and trail are matched on the raw line. Knows
 * no field's meaning, no MIME and no encoded words; bytes are shown as Latin-1, one a character.
 *
 * Forgiving as a mail server is: LF or CRLF, blanks before the colon, an mbox "From " line on top,
 * and the first line that is no field begins the body, which is how Postfix sees it too. One pass,
 * so the time is linear whatever the input.
 */
import { Refusal } from "../errors.js";

/** One header field: `name` as it was spelled, `value` unfolded and without outer blanks. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** The fields in order, and the index of the first byte of the body. */
export interface Head {
  readonly fields: readonly HeaderField[];
  readonly bodyStart: number;
}

/** Fields of one head: a full trail, fifty Received lines, and a lot to spare. */
export const MAX_FIELDS = 1000;

/** Bytes of one head: Postfix stops at 102,400, and the longest lawful trail takes some 70,000. */
export const MAX_HEAD_BYTES = 131_072;

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const COLON = 0x3a;
const FIELD_NAME = /^[!-9;-~]+$/;

/**
 * Reads the head of `message`. A message that begins with no field has no head: no fields, body
 * from 0 (or after the blank line). Throws Refusal 'bad-mail' for more than MAX_FIELDS fields or
 * more than MAX_HEAD_BYTES bytes.
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

/** The values of every field of that name, in any case and in order; empty when there is none. */
export function headerValues(fields: readonly HeaderField[], name: string): string[] {
  const wanted = name.toLowerCase();
  return fields.filter((field) => field.name.toLowerCase() === wanted).map((field) => field.value);
}

/** Where the text of a line ends: at its line feed, or at the carriage return before it. */
function endOfText(message: Uint8Array, start: number, lineFeed: number): number {
  return lineFeed > start && message[lineFeed - 1] === CR ? lineFeed - 1 : lineFeed;
}

/** Index of the colon when the line is a field, else undefined. */
function colonOfField(message: Uint8Array, start: number, end: number): number | undefined {
  const colon = message.subarray(start, end).indexOf(COLON);
  if (colon === -1) return undefined;
  const name = latin1(message, start, start + colon).trimEnd();
  return FIELD_NAME.test(name) ? start + colon : undefined;
}

/** Whether the message begins as in a mailbox file or a pipe: "From sender date". */
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
