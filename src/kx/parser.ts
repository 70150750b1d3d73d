/**
 * Parses KX bytes to messages (thesis A.1): a tag line, a command line, data lines, and a line with
 * a single dot. The bytes may arrive in pieces of any size. The parser checks the framing and the
 * form of the data of each command. `session.ts` checks whether a message is legal at that point.
 *
 * KX has no dot-stuffing. CRLF and LF both end a line. Blank lines are skipped only before a tag,
 * since in an UPDATE the blank line after the armor headers is data. Lines and messages have a
 * length limit. An UPDATE above the limit is skipped to its end, and the connection continues.
 *
 * With the feature "octets" the command line of IHAVE and UPDATE may have a length. The first data
 * line is then followed by that many octets of any values, and these by the line with the dot.
 */
import type { LogName } from "../update.js";
import type { Announcement, Features, Malformed, Message } from "./messages.js";
import {
  NO_FEATURES,
  readAnnouncement,
  readKeyRange,
  readKeyState,
  readLogName,
  readNumber,
  readRange,
  TAG_11,
} from "./messages.js";
import { inflated, readAnnouncements, readDeliveries } from "./octets.js";
import type { KeyState } from "./range-sum.js";
import { type KeyRange, RECONCILE_LIMITS } from "./reconcile.js";

export interface ParserLimits {
  /** Longest line in bytes. The longest in use, a v6 key with both hashes in an IHAVE, has 173. */
  readonly lineBytes: number;
  /** Largest message in bytes. The largest real key has 362 kB, a listing of 50,000 lines 5 MB. */
  readonly messageBytes: number;
  /** Most numbers in a GETUPDATE: as many as one of our listings can have. We send up to 64. */
  readonly numbers: number;
  /** Most lines in an IHAVE: as many as one of our listings can have. */
  readonly announcements: number;
  /** Most ranges in a LIST. We send one. */
  readonly ranges: number;
  /** Most lines in an OPEN. We send two; later versions may add some. */
  readonly openLines: number;
  /** Most ranges in a RANGE. We send at most so many. */
  readonly keyRanges: number;
  /** Most lines in an ITEMS: 17 for each range of a RANGE, and some that agree in 64 bits. */
  readonly items: number;
}

export const PARSER_LIMITS: ParserLimits = {
  lineBytes: 1024,
  messageBytes: 8 * 1024 * 1024,
  numbers: 50_000,
  announcements: 50_000,
  ranges: 1000,
  openLines: 100,
  keyRanges: RECONCILE_LIMITS.ranges,
  items: 17 * RECONCILE_LIMITS.ranges + RECONCILE_LIMITS.spare,
};

export type Parsed =
  | Message
  | Malformed
  /** An UPDATE above a limit, skipped. `inReplyTo` is the quoted tag, if it was read. */
  | { readonly command: "oversized"; readonly tag: string; readonly inReplyTo: string | undefined }
  /** The framing is lost; nothing after it is read. */
  | { readonly command: "unframed"; readonly problem: string };

const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;

/** Bytes of a command line that are kept; the longest, an IHAVE with two lengths, has 27. */
const COMMAND_BYTES = 32;
/** Room that octets get at first: what a peer only promises costs no memory. */
const FIRST_BYTES = 64 * 1024;

/** A command line with the length of the octets, and with their length before compression. */
const COUNTED = /^(IHAVE|UPDATE) (\d{1,10})(?: (\d{1,10}))?$/;

/** The octets of a message, while they are received. */
interface Counted {
  /** How many octets follow the first data line. */
  readonly length: number;
  /** How many they become when they are inflated; undefined if they are not compressed. */
  readonly inflated: number | undefined;
  /** The first data line, once it was read. */
  head: string | undefined;
}

const NO_COMMAND = { command: "malformed", name: "", problem: "a command was due" } as const;

export class Parser {
  readonly #limits: ParserLimits;
  readonly #mayExtend: boolean;
  #isExtended = false;
  /** What both sides use; the session sets it when the greeting is over. */
  features: Features = NO_FEATURES;
  #state: "tag" | "command" | "data" | "skip" | "octets" | "dot" | "lost" = "tag";
  #tag = "";
  #name = "";
  /** The start of a line whose end was not received yet. */
  #partial: Uint8Array = new Uint8Array(0);
  /** The data of the current message as received; the buffer may be larger than the data. */
  #data: Buffer = Buffer.alloc(0);
  #dataBytes = 0;
  /** The first data line of the message that is skipped. */
  #skippedRequest: string | undefined;
  #counted: Counted | undefined;
  /** Octets that are still due, of a message with a length. */
  #octetsDue = 0;

  /** With `mayExtend`, the messages of KX/1.1 are read after a HELO with the tag of KX/1.1. */
  constructor(limits: ParserLimits = PARSER_LIMITS, mayExtend = false) {
    this.#limits = limits;
    this.#mayExtend = mayExtend;
  }

  /** True while an UPDATE is being received, so that the owner can see progress. */
  get insideUpdate(): boolean {
    const isInside = this.#state !== "tag" && this.#state !== "command" && this.#state !== "lost";
    return isInside && this.#name === "UPDATE";
  }

  /** Takes the next bytes and returns the messages that they complete, in order. */
  push(bytes: Uint8Array): Parsed[] {
    return [...this.reading(bytes)];
  }

  /** The same, message by message: `features` that are set after one hold for the next. */
  *reading(bytes: Uint8Array): Generator<Parsed, void, undefined> {
    const parsed: Parsed[] = [];
    let start = 0;
    while (this.#state !== "lost") {
      if (this.#octetsDue > 0) {
        if (start === bytes.length) break;
        start += this.#takeOctets(bytes.subarray(start));
        continue;
      }
      const end = bytes.indexOf(LF, start);
      if (end < 0) break;
      const rest = bytes.subarray(start, end + 1);
      start = end + 1;
      const raw = this.#partial.length === 0 ? rest : Buffer.concat([this.#partial, rest]);
      this.#partial = new Uint8Array(0);
      this.#line(raw, parsed);
      while (parsed.length > 0) yield parsed.shift() as Parsed;
    }
    if (this.#state !== "lost" && start < bytes.length) this.#keep(bytes.subarray(start), parsed);
    yield* parsed;
  }

  /** Takes octets of a message with a length; returns how many. Too many of them are skipped. */
  #takeOctets(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.#octetsDue);
    this.#octetsDue -= taken.length;
    if (this.#state === "octets") this.#append(taken);
    if (this.#octetsDue === 0 && this.#state === "octets") this.#state = "dot";
    return taken.length;
  }

  /** Keeps the start of a line until its end is received. Also checks its length. */
  #keep(tail: Uint8Array, parsed: Parsed[]): void {
    // A copy, since the caller's buffer may be a small view of a large one.
    this.#partial = Buffer.concat([this.#partial, tail]);
    const ending = this.#partial[this.#partial.length - 1] === CR ? 1 : 0;
    if (this.#partial.length - ending <= this.#limits.lineBytes) return;
    this.#overlongLine(parsed);
    // The rest of the line is skipped. Three bytes are enough to tell it from the closing dot.
    this.#partial = Uint8Array.from(this.#partial.subarray(0, 3));
  }

  #line(raw: Uint8Array, parsed: Parsed[]): void {
    const ending = raw.length > 1 && raw[raw.length - 2] === CR ? 2 : 1;
    const length = raw.length - ending;
    if (length > this.#limits.lineBytes) {
      this.#overlongLine(parsed);
      if (this.#state !== "skip") return;
    }
    const isDot = length === 1 && raw[0] === DOT;
    switch (this.#state) {
      case "tag":
        if (length > 0) this.#takeTag(raw.subarray(0, length), parsed);
        return;
      case "command":
        if (isDot) this.#finish({ ...NO_COMMAND, tag: this.#tag }, parsed);
        else this.#takeCommand(raw.subarray(0, length), parsed);
        return;
      case "data":
        if (this.#counted !== undefined) {
          this.#takeHead(this.#counted, raw.subarray(0, length), parsed);
        } else if (isDot) {
          const data = this.#data.subarray(0, this.#dataBytes);
          this.#finish(this.#read(data), parsed);
        } else if (this.#dataBytes + raw.length > this.#limits.messageBytes) {
          this.#oversized(parsed);
        } else this.#append(raw);
        return;
      case "skip":
        if (isDot) {
          const inReplyTo = this.#skippedRequest;
          this.#finish({ command: "oversized", tag: this.#tag, inReplyTo }, parsed);
        }
        return;
      case "dot": {
        const octets = this.#data.subarray(0, this.#dataBytes);
        if (isDot && this.#counted !== undefined) {
          this.#finish(this.#readOctets(this.#counted, octets), parsed);
        } else this.#lose(parsed, `the octets of an ${this.#name} are not as many as it says`);
        return;
      }
      case "octets":
      case "lost":
        return;
      default:
        return this.#state satisfies never;
    }
  }

  #read(data: Uint8Array): Parsed {
    const [tag, name] = [this.#tag, this.#name];
    if (name === "HELO") this.#isExtended = this.#mayExtend && tag === TAG_11;
    const read = this.#isExtended ? MESSAGES_11.get(name) : undefined;
    if (read === undefined) return readMessage(tag, name, data, this.#limits, this.features);
    return read(tag, lines(data), this.#limits);
  }

  #takeTag(line: Uint8Array, parsed: Parsed[]): void {
    if (line.length !== 4 || !isPrintable(line)) {
      return this.#lose(parsed, "a tag of 4 printable characters was due");
    }
    this.#tag = latin1(line);
    this.#state = "command";
  }

  #takeCommand(line: Uint8Array, parsed: Parsed[]): void {
    if (!isPrintable(line)) return this.#lose(parsed, "a command was due");
    this.#name = latin1(line.subarray(0, COMMAND_BYTES)).toUpperCase();
    this.#state = "data";
    const counted = this.features.octets ? COUNTED.exec(this.#name) : null;
    if (counted === null) return;
    const [, name = "", length, inflated] = counted;
    this.#name = name;
    this.#counted = {
      length: Number(length),
      inflated: inflated === undefined ? undefined : Number(inflated),
      head: undefined,
    };
  }

  /** Takes the first data line of a message with a length. */
  #takeHead(counted: Counted, line: Uint8Array, parsed: Parsed[]): void {
    const { length, inflated = 0 } = counted;
    counted.head = latin1(line);
    this.#octetsDue = length;
    this.#state = length === 0 ? "dot" : "octets";
    if (Math.max(length, inflated) <= this.#limits.messageBytes) {
      this.#data = Buffer.allocUnsafe(Math.min(length, FIRST_BYTES));
      return;
    }
    if (this.#name !== "UPDATE") return this.#tooLarge(parsed);
    this.#skippedRequest = counted.head;
    this.#state = "skip";
  }

  #readOctets({ inflated: whole, head = "" }: Counted, octets: Buffer): Parsed {
    const [tag, name] = [this.#tag, this.#name];
    const malformed = malformedAs(tag, name);
    const data = whole === undefined ? octets : inflated(octets, whole);
    if (data === undefined) return malformed(`${name} cannot be inflated to ${whole} octets`);
    if (name === "UPDATE") {
      const deliveries = readDeliveries(data, this.#limits.numbers);
      if (deliveries === undefined) return malformed("UPDATE has octets that are no updates");
      return { command: "DELIVERY", tag, inReplyTo: head, deliveries };
    }
    const { announcements: most } = this.#limits;
    const announcements = readAnnouncements(data, this.features.sha256, most);
    if (announcements === undefined) return malformed("IHAVE has octets that are no announcements");
    const inReplyTo = head === "" ? undefined : requestTag(head);
    return { command: "IHAVE", tag, inReplyTo, announcements };
  }

  /** Appends to one buffer that doubles; one object per line would cost too much memory. */
  #append(raw: Uint8Array): void {
    const needed = this.#dataBytes + raw.length;
    if (needed > this.#data.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#data.length, 1024));
      this.#data.copy(larger, 0, 0, this.#dataBytes);
      this.#data = larger;
    }
    this.#data.set(raw, this.#dataBytes);
    this.#dataBytes = needed;
  }

  #overlongLine(parsed: Parsed[]): void {
    if (this.#state === "data") this.#oversized(parsed);
    else if (this.#state !== "skip") this.#lose(parsed, "a line is too long");
  }

  #oversized(parsed: Parsed[]): void {
    if (this.#name !== "UPDATE") return this.#tooLarge(parsed);
    const data = this.#data.subarray(0, this.#dataBytes);
    const end = data.indexOf(LF);
    this.#skippedRequest = end < 0 ? undefined : lines(data.subarray(0, end + 1))[0];
    this.#data = Buffer.alloc(0);
    this.#state = "skip";
  }

  #tooLarge(parsed: Parsed[]): void {
    this.#lose(parsed, `a ${this.#name.slice(0, 16)} is too large`);
  }

  #lose(parsed: Parsed[], problem: string): void {
    this.#finish({ command: "unframed", problem }, parsed);
    this.#partial = new Uint8Array(0);
    this.#state = "lost";
  }

  #finish(message: Parsed, parsed: Parsed[]): void {
    parsed.push(message);
    this.#state = "tag";
    // The buffer is not reused, since the message may hold views of it.
    this.#data = Buffer.alloc(0);
    this.#dataBytes = 0;
    this.#skippedRequest = undefined;
    this.#counted = undefined;
    this.#octetsDue = 0;
  }
}

function readMessage(
  tag: string,
  name: string,
  data: Uint8Array,
  limits: ParserLimits,
  { sha256 }: Features,
): Parsed {
  const malformed = malformedAs(tag, name);
  switch (name) {
    case "HELO": {
      const [version, ...more] = lines(data);
      if (version === undefined || more.length > 0) return malformed("HELO wants one line");
      return { command: "HELO", tag, version: version.trim() };
    }
    case "IHAVE": {
      const [request, ...rest] = lines(data);
      if (request === undefined) return malformed("IHAVE wants a tag or NOTIFY first");
      if (rest.length > limits.announcements) return malformed("IHAVE has too many lines");
      const announcements: Announcement[] = [];
      for (const line of rest) {
        const announcement = readAnnouncement(line, sha256);
        // One malformed line refuses the message: if it were skipped, its number would be a gap.
        if (announcement === undefined) return malformed("IHAVE has a line that is none");
        announcements.push(announcement);
      }
      return { command: "IHAVE", tag, inReplyTo: requestTag(request), announcements };
    }
    case "LIST": {
      const asked = lines(data);
      if (asked.length === 0) return malformed("LIST wants a range");
      if (asked.length > limits.ranges) return malformed("LIST has too many ranges");
      const ranges = asked.map(readRange);
      const good = ranges.filter((range) => range !== undefined);
      if (good.length < ranges.length) return malformed("LIST has a line that is no range");
      return { command: "LIST", tag, ranges: good };
    }
    case "GETUPDATE": {
      const asked = lines(data);
      if (asked.length === 0) return malformed("GETUPDATE wants a number");
      if (asked.length > limits.numbers) return malformed("GETUPDATE has too many numbers");
      const numbers = asked.map((line) => readNumber(line.trim()));
      const good = numbers.filter((number) => number !== undefined);
      if (good.length < numbers.length) return malformed("GETUPDATE has a line that is no number");
      return { command: "GETUPDATE", tag, numbers: good };
    }
    case "UPDATE": {
      const first = data.indexOf(LF);
      const second = first < 0 ? -1 : data.indexOf(LF, first + 1);
      if (second < 0) return malformed("UPDATE wants a tag, an announcement and a key");
      const [inReplyTo = "", line = ""] = lines(data.subarray(0, second + 1));
      const announcement = readAnnouncement(line, sha256);
      if (announcement === undefined) return malformed("UPDATE has no announcement line");
      const armor = data.subarray(second + 1);
      return { command: "UPDATE", tag, inReplyTo, announcement, armor };
    }
    case "ERROR": {
      const [request, code, text = ""] = lines(data);
      if (request === undefined || !/^\d{3}$/.test(code ?? "")) {
        return malformed("ERROR wants a tag or NOTIFY, a code and a text");
      }
      return { command: "ERROR", tag, inReplyTo: requestTag(request), code: Number(code), text };
    }
    case "CLOSE": {
      const [request] = lines(data);
      return { command: "CLOSE", tag, inReplyTo: request };
    }
    default:
      return malformed("no such command");
  }
}

/** Reads an OPEN: lines of a key and its words. Unknown keys are for later versions. */
function readOpen(tag: string, data: readonly string[], limits: ParserLimits): Parsed {
  const malformed = malformedAs(tag, "OPEN");
  if (data.length > limits.openLines) return malformed("OPEN has too many lines");
  let log: LogName | undefined;
  const features: string[] = [];
  for (const line of data) {
    const [key, ...words] = line.trim().split(/ +/);
    if (key === "log") {
      const [name = "", ...more] = words;
      if (log !== undefined || more.length > 0) return malformed("OPEN names two logs");
      log = readLogName(name);
      if (log === undefined) return malformed("the log in OPEN wants 32 hex digits");
    } else if (key === "features") features.push(...words);
  }
  return { command: "OPEN", tag, log, features };
}

function readDone(tag: string, data: readonly string[], limits: ParserLimits): Parsed {
  const malformed = malformedAs(tag, "DONE");
  const [first, ...rest] = data;
  const number = readNumber(first?.trim());
  if (number === undefined) return malformed("DONE wants a number");
  if (rest.length > limits.ranges) return malformed("DONE has too many ranges");
  const ranges = rest.map(readRange);
  const without = ranges.filter((range) => range !== undefined);
  if (without.length < ranges.length) return malformed("DONE has a line that is no range");
  return { command: "DONE", tag, number, without };
}

function readRanges(tag: string, data: readonly string[], limits: ParserLimits): Parsed {
  const malformed = malformedAs(tag, "RANGE");
  if (data.length === 0) return malformed("RANGE wants a range");
  if (data.length > limits.keyRanges) return malformed("RANGE has too many ranges");
  const ranges = data.map(readKeyRange).filter((range) => range !== undefined);
  if (ranges.length < data.length) return malformed("RANGE has a line that is no range");
  return { command: "RANGE", tag, ranges };
}

function readItems(tag: string, data: readonly string[], limits: ParserLimits): Parsed {
  const malformed = malformedAs(tag, "ITEMS");
  const [request, ...rest] = data;
  if (request === undefined) return malformed("ITEMS wants a tag or NOTIFY first");
  if (rest.length > limits.items) return malformed("ITEMS has too many lines");
  const ranges: KeyRange[] = [];
  const keys: KeyState[] = [];
  for (const line of rest) {
    const range = readKeyRange(line);
    const key = range === undefined ? readKeyState(line) : undefined;
    if (range !== undefined) ranges.push(range);
    else if (key !== undefined) keys.push(key);
    else return malformed("ITEMS has a line that is neither a range nor a key");
  }
  return { command: "ITEMS", tag, inReplyTo: requestTag(request), ranges, keys };
}

/** The messages of KX/1.1, by the names of their commands. */
const MESSAGES_11: ReadonlyMap<
  string,
  (tag: string, data: readonly string[], limits: ParserLimits) => Parsed
> = new Map([
  ["OPEN", readOpen],
  ["DONE", readDone],
  ["RANGE", readRanges],
  ["ITEMS", readItems],
]);

/** Makes what is returned for a message of that name whose data is wrong. */
function malformedAs(tag: string, name: string): (problem: string) => Malformed {
  return (problem) => ({ command: "malformed", tag, name, problem });
}

function requestTag(line: string): string | undefined {
  return line.trim().toUpperCase() === "NOTIFY" ? undefined : line;
}

function lines(data: Uint8Array): string[] {
  if (data.length === 0) return [];
  return latin1(data)
    .replace(/\r?\n$/, "")
    .split(/\r?\n/);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function isPrintable(bytes: Uint8Array): boolean {
  return bytes.every((octet) => octet >= 0x20 && octet <= 0x7e);
}
