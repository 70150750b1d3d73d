/**
 * Reads what a tested server sends, as text and by the letter: CRLF, tags of four octets that are
 * used once, upper-case commands, data in the form that docs/protocol.md gives. It does not use
 * `kx/parser.ts`, which accepts more than a server may send. What is wrong is noted for the rules
 * that are judged over all connections (`rules.ts`); reading continues where that is possible.
 */
import { readAnnouncement, TAG_11 } from "../kx/messages.js";

/** A message as it was on the wire, without its closing dot. */
export interface Heard {
  readonly tag: string;
  readonly command: string;
  readonly lines: readonly string[];
}

/** Longest line and largest message that a server may send (docs/protocol.md, Framing). */
const LINE_BYTES = 1024;
const MESSAGE_BYTES = 8 * 1024 * 1024;
/** A line that is longer is not waited for any more. */
const LOST_LINE_BYTES = 64 * 1024;

const LF = 0x0a;

const COMMANDS_10 = new Set(["HELO", "IHAVE", "LIST", "GETUPDATE", "UPDATE", "ERROR", "CLOSE"]);
/** Commands that are used with the tag of KX/1.1. What needs a feature is not asked for here. */
const COMMANDS_11 = new Set([...COMMANDS_10, "OPEN", "DONE"]);

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

  /** `note` is called for each violation. */
  constructor(note: (rule: WireRule, problem: string) => void) {
    this.#note = note;
  }

  /** Takes the next bytes and returns the messages that they complete, in order. */
  push(bytes: Uint8Array): Heard[] {
    const heard: Heard[] = [];
    let rest = Buffer.concat([this.#partial, bytes]);
    for (let end = rest.indexOf(LF); end >= 0 && !this.isLost; end = rest.indexOf(LF)) {
      this.#line(rest.subarray(0, end).toString("latin1"), heard);
      rest = rest.subarray(end + 1);
    }
    this.#partial = Buffer.from(rest);
    if (rest.length > LOST_LINE_BYTES) this.#lose("lines", "a line has no end");
    return heard;
  }

  #line(raw: string, heard: Heard[]): void {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === raw) this.#note("crlf", `a line ends with LF alone: "${line.slice(0, 40)}"`);
    if (line.length > LINE_BYTES) this.#note("lines", `a line has ${line.length} octets`);
    this.#bytes += raw.length + 1;
    if (this.#bytes > MESSAGE_BYTES) return this.#lose("lines", "a message has more than 8 MiB");
    if (line !== ".") {
      this.#lines.push(line);
      return;
    }
    const [tag = "", command = "", ...lines] = this.#lines;
    this.#lines = [];
    this.#bytes = 0;
    const message = { tag, command: command.toUpperCase(), lines };
    this.#judge(message, command);
    heard.push(message);
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
    const problem = formProblem(message);
    if (problem !== undefined) this.#note("forms", problem);
  }

  #lose(rule: WireRule, problem: string): void {
    this.#note(rule, problem);
    this.isLost = true;
  }
}

/** What is wrong with the data lines of a message; undefined if nothing is. */
function formProblem({ command, lines }: Heard): string | undefined {
  const [first = "", second = "", ...rest] = lines;
  const quotes = first === "NOTIFY" || /^[\x20-\x7e]{4}$/.test(first);
  switch (command) {
    case "HELO":
      return lines.length === 1 ? undefined : `HELO has ${lines.length} data lines`;
    case "IHAVE": {
      if (!quotes) return "IHAVE begins with neither a tag nor NOTIFY";
      const wrong = lines.slice(1).find((line) => !isAnnouncement(line));
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
      return quotes && first !== "NOTIFY" && isAnnouncement(second)
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
    default:
      return undefined;
  }
}

/** By the letter: decimal number, upper-case fingerprint, lower-case hash. */
function isAnnouncement(line: string): boolean {
  return readAnnouncement(line) !== undefined && /^\d+ ([0-9A-F]+ )?[0-9a-f]{32}$/.test(line);
}
