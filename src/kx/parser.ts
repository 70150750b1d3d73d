/**
 * KX bytes to messages (thesis A.1): a tag line, a command line, data lines, a line that is just a
 * dot. Works on bytes, however they were cut; knows framing and the shape of each command's data,
 * not whether a message is legal now (`session.ts`) and not what is inside the armor.
 *
 * There is no dot-stuffing in KX. CRLF and LF both end a line. Blank lines are passed over only
 * where a tag is due, since inside an UPDATE the blank line after the armor headers is data.
 * Every length is bounded: a line that will not end or a message that will not end costs at most
 * its cap, and an UPDATE that is too large is skipped to its end so that the connection lives on.
 */
import type { Malformed, Message } from "./messages.js";
import { readAnnouncement, readNumber, readRange } from "./messages.js";

export interface ParserLimits {
  /** Longest line in bytes; the longest line that we know of, an IHAVE with a v6 key, has 110. */
  readonly lineBytes: number;
  /** Largest message in bytes: the largest real key has 362 kB, a listing of 50,000 lines 5 MB. */
  readonly messageBytes: number;
  /** Most numbers in a GETUPDATE and most ranges in a LIST; we ourselves send one of each. */
  readonly dataLines: number;
}

export const PARSER_LIMITS: ParserLimits = {
  lineBytes: 1024,
  messageBytes: 8 * 1024 * 1024,
  dataLines: 1000,
};

export type Parsed =
  | Message
  | Malformed
  /** An UPDATE over a cap; it was skipped. `inReplyTo` is the request it quoted, if that was read. */
  | { readonly command: "oversized"; readonly tag: string; readonly inReplyTo: string | undefined }
  /** The stream makes no sense any more; nothing after it is read. */
  | { readonly command: "unframed"; readonly problem: string };

const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;

export class Parser {
  readonly #limits: ParserLimits;
  #state: "tag" | "command" | "data" | "skip" | "lost" = "tag";
  #tag = "";
  #name = "";
  /** Start of a line whose end has not come yet. */
  #partial: Uint8Array = new Uint8Array(0);
  /** Data of the message under way, as it came. */
  #data: Uint8Array[] = [];
  #dataBytes = 0;

  constructor(limits: ParserLimits = PARSER_LIMITS) {
    this.#limits = limits;
  }

  /** True while an UPDATE is on its way in: whoever waits for it can see that it moves. */
  get insideUpdate(): boolean {
    return (this.#state === "data" || this.#state === "skip") && this.#name === "UPDATE";
  }

  /** Takes the next bytes and returns what they completed, in order. */
  push(bytes: Uint8Array): Parsed[] {
    const parsed: Parsed[] = [];
    let start = 0;
    while (this.#state !== "lost") {
      const end = bytes.indexOf(LF, start);
      if (end < 0) break;
      const rest = bytes.subarray(start, end + 1);
      start = end + 1;
      const raw = this.#partial.length === 0 ? rest : concat([this.#partial, rest]);
      this.#partial = new Uint8Array(0);
      this.#line(raw, parsed);
    }
    if (this.#state === "lost") return parsed;
    const tail = bytes.subarray(start);
    if (tail.length > 0) {
      // A copy: the caller's buffer may be a small window of a large one that it wants back.
      this.#partial = concat([this.#partial, tail]);
      if (this.#partial.length > this.#limits.lineBytes) {
        this.#overlongLine(parsed);
        // What is skipped anyway needs no keeping, only whether it still can be the closing dot.
        this.#partial = this.#partial.subarray(0, 3);
      }
    }
    return parsed;
  }

  #line(raw: Uint8Array, parsed: Parsed[]): void {
    const ending = raw.length > 1 && raw[raw.length - 2] === CR ? 2 : 1;
    const length = raw.length - ending;
    if (raw.length > this.#limits.lineBytes + ending && this.#state !== "skip") {
      this.#overlongLine(parsed);
      if (this.#state === "lost") return;
    }
    switch (this.#state) {
      case "tag":
        if (length === 0) return;
        if (length !== 4 || raw.subarray(0, 4).some((octet) => octet < 0x20 || octet > 0x7e)) {
          this.#lose(parsed, "a tag of 4 printable characters was due");
          return;
        }
        this.#tag = latin1(raw.subarray(0, 4));
        this.#state = "command";
        return;
      case "command":
        this.#name = latin1(raw.subarray(0, Math.min(length, 32))).toUpperCase();
        if (length > 32 || !/^[\x20-\x7e]*$/.test(this.#name)) {
          this.#lose(parsed, "a command was due");
          return;
        }
        this.#state = "data";
        return;
      case "data":
        if (length === 1 && raw[0] === DOT) {
          parsed.push(readMessage(this.#tag, this.#name, concat(this.#data), this.#limits));
          this.#reset();
          return;
        }
        this.#dataBytes += raw.length;
        if (this.#dataBytes > this.#limits.messageBytes) {
          this.#oversized(parsed);
          return;
        }
        // Each line is copied: a view would keep the socket's 64 KiB buffer alive for 66 bytes.
        this.#data.push(Buffer.from(raw));
        return;
      case "skip":
        if (length === 1 && raw[0] === DOT) {
          parsed.push({ command: "oversized", tag: this.#tag, inReplyTo: this.#firstLine() });
          this.#reset();
        }
        return;
      case "lost":
        return;
      default:
        return this.#state satisfies never;
    }
  }

  #overlongLine(parsed: Parsed[]): void {
    if (this.#state === "data") this.#oversized(parsed);
    else if (this.#state !== "skip") this.#lose(parsed, "a line is too long");
  }

  #oversized(parsed: Parsed[]): void {
    if (this.#name !== "UPDATE") {
      this.#lose(parsed, `a ${this.#name.slice(0, 16)} is too large`);
      return;
    }
    const first = this.#data[0];
    this.#data = first === undefined ? [] : [first];
    this.#state = "skip";
  }

  #firstLine(): string | undefined {
    const first = this.#data[0];
    return first === undefined ? undefined : latin1(first).replace(/\r?\n$/, "");
  }

  #lose(parsed: Parsed[], problem: string): void {
    this.#reset();
    this.#partial = new Uint8Array(0);
    this.#state = "lost";
    parsed.push({ command: "unframed", problem });
  }

  #reset(): void {
    this.#state = "tag";
    this.#data = [];
    this.#dataBytes = 0;
  }
}

function readMessage(tag: string, name: string, data: Uint8Array, limits: ParserLimits): Parsed {
  const malformed = (problem: string): Malformed => ({ command: "malformed", tag, name, problem });
  switch (name) {
    case "HELO": {
      const [version, ...more] = lines(data);
      if (version === undefined || more.length > 0) return malformed("HELO wants one line");
      return { command: "HELO", tag, version: version.trim() };
    }
    case "IHAVE": {
      const [request, ...rest] = lines(data);
      if (request === undefined) return malformed("IHAVE wants a tag or NOTIFY first");
      const announcements = [];
      for (const line of rest) {
        const announcement = readAnnouncement(line);
        // One unread line spoils the message: passed over, its number would look like a gap.
        if (announcement === undefined)
          return malformed("IHAVE has a line that is no announcement");
        announcements.push(announcement);
      }
      return { command: "IHAVE", tag, inReplyTo: requestTag(request), announcements };
    }
    case "LIST": {
      const ranges = lines(data).map(readRange);
      if (ranges.length === 0) return malformed("LIST wants a range");
      if (ranges.length > limits.dataLines) return malformed("LIST has too many ranges");
      const good = ranges.filter((range) => range !== undefined);
      if (good.length < ranges.length) return malformed("LIST has a line that is no range");
      return { command: "LIST", tag, ranges: good };
    }
    case "GETUPDATE": {
      const numbers = lines(data).map((line) => readNumber(line.trim()));
      if (numbers.length === 0) return malformed("GETUPDATE wants a number");
      if (numbers.length > limits.dataLines) return malformed("GETUPDATE has too many numbers");
      const good = numbers.filter((number) => number !== undefined);
      if (good.length < numbers.length) return malformed("GETUPDATE has a line that is no number");
      return { command: "GETUPDATE", tag, numbers: good };
    }
    case "UPDATE": {
      const first = data.indexOf(LF);
      const second = first < 0 ? -1 : data.indexOf(LF, first + 1);
      if (second < 0) return malformed("UPDATE wants a tag, an announcement and a key");
      const [inReplyTo = "", line = ""] = lines(data.subarray(0, second + 1));
      const announcement = readAnnouncement(line);
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

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts);
}
