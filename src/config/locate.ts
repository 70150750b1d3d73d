/**
 * The position of each key in a TOML text. The TOML library gives positions for syntax errors only;
 * this scanner reads a text that the library has already accepted and records line and column of
 * every table header, key and array element.
 *
 * It reads structure and no values: strings, numbers and dates are skipped. It supports dotted
 * and quoted keys, tables and arrays of tables, inline tables, arrays over several lines and
 * multi-line strings. Limits: on a text that is not TOML it terminates with wrong
 * positions; columns count UTF-16 units, as in the library; deeper than 32 levels it stops.
 */
import { quoted } from "./quote.js";

/** A place in a text; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Keys and array indices from the root: `['peer', 1, 'via']`. */
export type KeyPath = readonly (string | number)[];

/** Maximum nesting, which also bounds the work per key. */
export const MAX_DEPTH = 32;

/** The name of a key in messages: `peer[1].via`; a key that is not bare is quoted. */
export function formatKey(path: KeyPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else {
      const name = /^[A-Za-z0-9_-]{1,60}$/.test(part) ? part : quoted(part);
      text += text === "" ? name : `.${name}`;
    }
  }
  return text;
}

/** Position of every table, key and array element of a valid TOML text, by `formatKey`. */
export function locateKeys(text: string): ReadonlyMap<string, Position> {
  return new Scanner(text).scan();
}

/** The position of `path`, or of the nearest enclosing table. */
export function positionOf(
  positions: ReadonlyMap<string, Position>,
  path: KeyPath,
): Position | undefined {
  for (let length = path.length; length > 0; length--) {
    const position = positions.get(formatKey(path.slice(0, length)));
    if (position) return position;
  }
  return undefined;
}

class Scanner {
  readonly #text: string;
  readonly #lineStarts = [0];
  readonly #positions = new Map<string, Position>();
  /** How many `[[name]]` headers each array of tables has had so far. */
  readonly #tableCounts = new Map<string, number>();
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", end + 1)) {
      this.#lineStarts.push(end + 1);
    }
  }

  scan(): ReadonlyMap<string, Position> {
    if (this.#text.startsWith("\ufeff")) this.#at = 1;
    let table: KeyPath = [];
    for (;;) {
      this.#skip(/(?:[ \t\r\n]+|#[^\n]*)*/y);
      if (this.#at >= this.#text.length) return this.#positions;
      if (this.#text[this.#at] === "[") table = this.#header();
      else this.#pair(table, 0);
      this.#skip(/[^\n]*/y);
    }
  }

  /** `[a.b]` or `[[a.b]]`: the path of the pairs below it. */
  #header(): KeyPath {
    const start = this.#at;
    const isArray = this.#text[start + 1] === "[";
    this.#at += isArray ? 2 : 1;
    const keys = this.#keys();
    const path: (string | number)[] = [];
    keys.slice(0, MAX_DEPTH).forEach((key, i) => {
      path.push(key);
      const name = formatKey(path);
      let count = this.#tableCounts.get(name) ?? 0;
      if (isArray && i === keys.length - 1) {
        this.#note(path, start);
        count += 1;
        this.#tableCounts.set(name, count);
      }
      if (count > 0) path.push(count - 1);
      this.#note(path, start);
    });
    return path;
  }

  /** `a.b = value`; moves behind the value. */
  #pair(table: KeyPath, depth: number): void {
    const start = this.#at;
    const path: (string | number)[] = [...table];
    for (const key of this.#keys()) {
      if (path.length >= MAX_DEPTH) break;
      path.push(key);
      this.#note(path, start);
    }
    if (this.#text[this.#at] !== "=") return;
    this.#at += 1;
    this.#skip(/[ \t]*/y);
    this.#value(path, depth);
  }

  /** A dotted key and the blanks after it. */
  #keys(): string[] {
    const keys: string[] = [];
    do {
      if (keys.length > 0) this.#at += 1;
      this.#skip(/[ \t]*/y);
      const bare = this.#skip(/[A-Za-z0-9_-]+/y);
      if (bare !== "") keys.push(bare);
      else {
        const literal = this.#skip(/'[^'\n]*'/y);
        const basic = literal || this.#skip(/"[^"\\\n]*(?:\\.[^"\\\n]*)*"/y);
        if (basic === "") return keys;
        keys.push(literal ? literal.slice(1, -1) : unescaped(basic.slice(1, -1)));
      }
      this.#skip(/[ \t]*/y);
    } while (this.#text[this.#at] === ".");
    return keys;
  }

  #value(path: KeyPath, depth: number): void {
    const char = this.#text[this.#at];
    if (depth < MAX_DEPTH && (char === "[" || char === "{")) this.#items(path, depth + 1);
    else if (this.#text.startsWith('"""', this.#at)) this.#multiline('"""');
    else if (this.#text.startsWith("'''", this.#at)) this.#multiline("'''");
    else if (char === '"') this.#skip(/"[^"\\\n]*(?:\\.[^"\\\n]*)*"?/y);
    else if (char === "'") this.#skip(/'[^'\n]*'?/y);
    else this.#skip(/[^,\]}#\n]*/y);
  }

  /** An array or an inline table, which may span lines and contain comments. */
  #items(path: KeyPath, depth: number): void {
    const isArray = this.#text[this.#at] === "[";
    this.#at += 1;
    for (let index = 0; ; index++) {
      this.#skip(/(?:[ \t\r\n]+|#[^\n]*)*/y);
      const start = this.#at;
      if (this.#skip(/[\]}]/y) !== "" || start >= this.#text.length) return;
      if (isArray) {
        this.#note([...path, index], start);
        this.#value([...path, index], depth);
      } else {
        this.#pair(path, depth);
      }
      this.#skip(/(?:[ \t\r\n]+|#[^\n]*)*/y);
      if (this.#skip(/,/y) === "") {
        this.#skip(/[\]}]/y);
        return;
      }
    }
  }

  /** A string in three quotes; one or two further quotes at its end belong to the text. */
  #multiline(quotes: '"""' | "'''"): void {
    let end = this.#at + 3;
    for (;;) {
      end = this.#text.indexOf(quotes, end);
      if (end < 0) {
        this.#at = this.#text.length;
        return;
      }
      if (quotes === "'''" || !this.#isEscaped(end)) break;
      end += 1;
    }
    this.#at = end + 3;
    this.#skip(quotes === '"""' ? /"{0,2}/y : /'{0,2}/y);
  }

  #isEscaped(at: number): boolean {
    let backslashes = 0;
    while (this.#text[at - 1 - backslashes] === "\\") backslashes += 1;
    return backslashes % 2 === 1;
  }

  /** Skips the match of the sticky `pattern` and returns it. */
  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += match.length;
    return match;
  }

  /** Records the first position of a path. */
  #note(path: KeyPath, at: number): void {
    const key = formatKey(path);
    if (this.#positions.has(key)) return;
    let low = 0;
    let high = this.#lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    this.#positions.set(key, { line: low + 1, column: at - (this.#lineStarts[low] ?? 0) + 1 });
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  b: "\b",
  t: "\t",
  n: "\n",
  f: "\f",
  r: "\r",
  e: "\x1b",
};

/** The text of a basic string without its quotes. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))/g,
    (_, x?: string, u?: string, long?: string, char = "") => {
      const code = Number.parseInt(x ?? u ?? long ?? "", 16);
      if (code <= 0x10ffff) return String.fromCodePoint(code);
      return ESCAPES[char] ?? char;
    },
  );
}
