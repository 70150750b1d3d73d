/**
 * Reads what a tested server sends, strictly: CRLF, tags of four octets that are used once,
 * upper-case commands, data in the form that docs/protocol.md gives. It does not use
 * `kx/parser.ts`, which accepts more than a server may send. What is wrong is noted for the rules
 * that are judged over all connections (`WIRE_RULES`); reading continues where that is possible.
 */
import {
  type Delivery,
  type Features,
  featuresOf,
  NO_FEATURES,
  type Opening,
  readAnnouncement,
  TAG_11,
} from "../kx/messages.js";
import { inflated, readAnnouncements, readDeliveries } from "../kx/octets.js";
import { announcementLine } from "../kx/serializer.js";

/**
 * A message as it was on the wire, without its closing dot. An IHAVE of octets has the lines that
 * its text form would have.
 */
export interface Heard {
  readonly tag: string;
  readonly command: string;
  readonly lines: readonly string[];
  /** The updates of an UPDATE of octets. */
  readonly deliveries?: readonly Delivery[];
}

/** A command line with the length of the octets, and with their length before compression. */
const COUNTED = /^(IHAVE|UPDATE) (\d{1,10})(?: (\d{1,10}))?$/;
const MOST_LINES = 50_000;

/** Longest line and largest message that a server may send (docs/protocol.md, Framing). */
const LINE_BYTES = 1024;
const MESSAGE_BYTES = 8 * 1024 * 1024;
/** A line that is longer is not waited for any more. */
const LOST_LINE_BYTES = 64 * 1024;

const LF = 0x0a;

const COMMANDS_10 = new Set(["HELO", "IHAVE", "LIST", "GETUPDATE", "UPDATE", "ERROR", "CLOSE"]);
/** Commands that are used with the tag of KX/1.1. */
const COMMANDS_11 = new Set([...COMMANDS_10, "OPEN", "DONE", "RANGE", "ITEMS"]);

/** The rules that are judged by everything that the server sends. */
export type WireRule = "crlf" | "tags" | "commands" | "lines" | "forms" | "no-11-to-10";

export class WireReader {
  /** Whether our HELO had the tag of KX/1.1. */
  mayExtend = false;
  #isExtended = false;
  /** True after a line or a message without end; nothing is read any more. */
  isLost = false;
  readonly #note: (rule: WireRule, problem: string) => void;
  #partial = Buffer.alloc(0);
  #lines: string[] = [];
  #bytes = 0;
  readonly #tags = new Set<string>();
  #theirs: Opening | undefined;
  #ours: Opening | undefined;
  /** Octets that are due before the line with the dot; undefined for a message of lines. */
  #octets: Buffer | undefined;
  #octetsDue = 0;

  /** `note` is called for each violation. */
  constructor(note: (rule: WireRule, problem: string) => void) {
    this.#note = note;
  }

  /** The features that both sides have named. */
  get features(): Features {
    return this.#ours === undefined ? NO_FEATURES : featuresOf(this.#theirs, this.#ours);
  }

  /** We have sent an OPEN with these lines; only the first one counts. */
  opened(lines: readonly string[]): void {
    this.#ours ??= openingOf(lines);
  }

  /** Takes the next bytes and returns the messages that they complete, in order. */
  push(bytes: Uint8Array): Heard[] {
    const heard: Heard[] = [];
    let rest = Buffer.concat([this.#partial, bytes]);
    while (!this.isLost) {
      if (this.#octetsDue > 0) {
        if (rest.length < this.#octetsDue) break;
        this.#octets = Buffer.from(rest.subarray(0, this.#octetsDue));
        rest = rest.subarray(this.#octetsDue);
        this.#octetsDue = 0;
      }
      const end = rest.indexOf(LF);
      if (end < 0) break;
      this.#line(rest.subarray(0, end).toString("latin1"), heard);
      rest = rest.subarray(end + 1);
    }
    this.#partial = Buffer.from(rest);
    if (this.#octetsDue === 0 && rest.length > LOST_LINE_BYTES)
      this.#lose("lines", "a line has no end");
    return heard;
  }

  #line(raw: string, heard: Heard[]): void {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === raw) this.#note("crlf", `a line ends with LF alone: "${line.slice(0, 40)}"`);
    if (line.length > LINE_BYTES) this.#note("lines", `a line has ${line.length} octets`);
    this.#bytes += raw.length + 1;
    if (this.#bytes > MESSAGE_BYTES) return this.#lose("lines", "a message has more than 8 MiB");
    if (line !== ".") {
      if (this.#octets !== undefined) {
        return this.#lose("forms", `"${line.slice(0, 40)}" follows octets in place of the dot`);
      }
      this.#lines.push(line);
      if (this.#lines.length === 3) this.#expectOctets();
      return;
    }
    const [tag = "", command = "", ...lines] = this.#lines;
    const octets = this.#octets;
    this.#lines = [];
    this.#octets = undefined;
    this.#bytes = 0;
    const message =
      octets === undefined
        ? { tag, command: command.toUpperCase(), lines }
        : this.#ofOctets(tag, command, lines[0] ?? "", octets);
    this.#judge(message, octets === undefined ? command : message.command);
    if (message.command === "OPEN") this.#theirs ??= openingOf(message.lines);
    heard.push(message);
  }

  /** The first data line is there; of a message with a length the octets follow. */
  #expectOctets(): void {
    const length = this.features.octets ? COUNTED.exec(this.#lines[1] ?? "")?.[2] : undefined;
    if (length === undefined) return;
    this.#octetsDue = Number(length);
    this.#octets = Buffer.alloc(0);
    if (this.#octetsDue > MESSAGE_BYTES) this.#lose("lines", "a message has more than 8 MiB");
  }

  /** A message of octets; notes what is wrong with them. */
  #ofOctets(tag: string, command: string, first: string, octets: Buffer): Heard {
    const { sha256 } = this.features;
    const [, name = "", , whole] = COUNTED.exec(command) ?? [];
    const data = whole === undefined ? octets : inflated(octets, Number(whole));
    const head = { tag, command: name };
    if (name === "UPDATE") {
      const deliveries = data && readDeliveries(data, MOST_LINES);
      if (deliveries === undefined) this.#note("forms", "an UPDATE has octets that are no updates");
      return { ...head, lines: [first], deliveries: deliveries ?? [] };
    }
    const all = data && readAnnouncements(data, sha256, MOST_LINES);
    if (all === undefined) this.#note("forms", "an IHAVE has octets that are no announcements");
    const lines = (all ?? []).map((one) => announcementLine(one, sha256));
    return { ...head, lines: [first === "" ? "NOTIFY" : first, ...lines] };
  }

  #judge(message: Heard, command: string): void {
    const { tag, command: name } = message;
    if (!/^[\x20-\x7e]{4}$/.test(tag)) this.#note("tags", `the tag "${tag.slice(0, 20)}"`);
    else if (this.#tags.has(tag)) this.#note("tags", `the tag ${tag} is used twice`);
    this.#tags.add(tag);
    if (command !== name) this.#note("commands", `${command.slice(0, 20)} is not in upper case`);
    if (name === "HELO") this.#isExtended = this.mayExtend && tag === TAG_11;
    if (!COMMANDS_10.has(name)) {
      if (!this.#isExtended) this.#note("no-11-to-10", `${name.slice(0, 20)} was sent`);
      else if (!COMMANDS_11.has(name)) this.#note("commands", `${name.slice(0, 20)} is unknown`);
    }
    const problem = formProblem(message, this.features);
    if (problem !== undefined) this.#note("forms", problem);
  }

  #lose(rule: WireRule, problem: string): void {
    this.#note(rule, problem);
    this.isLost = true;
  }
}

/** What is wrong with the data lines of a message; undefined if nothing is. */
function formProblem(
  { command, lines, deliveries }: Heard,
  { sha256 }: Features,
): string | undefined {
  const [first = "", second = "", ...rest] = lines;
  const quotes = first === "NOTIFY" || /^[\x20-\x7e]{4}$/.test(first);
  switch (command) {
    case "HELO":
      return lines.length === 1 ? undefined : `HELO has ${lines.length} data lines`;
    case "IHAVE": {
      if (!quotes) return "IHAVE begins with neither a tag nor NOTIFY";
      const wrong = lines.slice(1).find((line) => !isAnnouncement(line, sha256));
      return wrong === undefined ? undefined : `IHAVE has the line "${wrong.slice(0, 60)}"`;
    }
    case "LIST":
      return lines.length > 0 && lines.every((line) => /^(\d{1,10}(-(\d{1,10})?)?)$/.test(line))
        ? undefined
        : `LIST has the data "${lines.join(" ").slice(0, 60)}"`;
    case "GETUPDATE":
      return lines.length > 0 && lines.every((line) => /^\d{1,10}$/.test(line))
        ? undefined
        : `GETUPDATE has the data "${lines.join(" ").slice(0, 60)}"`;
    case "UPDATE":
      return quotes && first !== "NOTIFY" && (deliveries || isAnnouncement(second, sha256))
        ? undefined
        : "UPDATE lacks the tag of the GETUPDATE or its announcement";
    case "ERROR":
      return quotes && /^\d{3}$/.test(second) && rest.length === 1
        ? undefined
        : `ERROR has the data "${lines.join(" | ").slice(0, 60)}"`;
    case "CLOSE":
      return lines.length === 0 || (lines.length === 1 && quotes)
        ? undefined
        : "CLOSE has more than the tag that it answers";
    case "DONE":
      return /^\d{1,10}$/.test(first) && lines.slice(1).every((line) => /^\d[\d-]*$/.test(line))
        ? undefined
        : `DONE has the data "${lines.join(" ").slice(0, 60)}"`;
    case "RANGE":
      return lines.length > 0 && lines.every((line) => RANGE_LINE.test(line))
        ? undefined
        : `RANGE has the data "${lines.join(" ").slice(0, 60)}"`;
    case "ITEMS": {
      const kinds = lines.slice(1).map((line) => lineKind(line));
      const isOrdered = /^r*k*$/.test(kinds.join(""));
      return quotes && isOrdered ? undefined : "ITEMS has other lines than ranges and then keys";
    }
    default:
      return undefined;
  }
}

const RANGE_LINE = /^(-|[0-9A-F]{1,16}) (0|[1-9]\d{0,9}) [0-9a-f]{32}$/;
const KEY_LINE = /^([0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64}) [0-9a-f]{32}$/;

/** The kind of a line of ITEMS: a range, a key, or something else. */
function lineKind(line: string): "r" | "k" | "x" {
  return RANGE_LINE.test(line) ? "r" : KEY_LINE.test(line) ? "k" : "x";
}

/** In the strict form: decimal number, upper-case fingerprint, lower-case hash and SHA-256. */
function isAnnouncement(line: string, hasDigest: boolean): boolean {
  const form = hasDigest
    ? /^\d+ ([0-9A-F]+ )?[0-9a-f]{32} [0-9a-f]{64}$/
    : /^\d+ ([0-9A-F]+ )?[0-9a-f]{32}$/;
  return readAnnouncement(line, hasDigest) !== undefined && form.test(line);
}

/** The features that the lines of an OPEN name. */
function openingOf(lines: readonly string[]): Opening {
  const words = lines.flatMap((line) => {
    const [key, ...rest] = line.trim().split(/ +/);
    return key === "features" ? rest : [];
  });
  return { log: undefined, features: words };
}
