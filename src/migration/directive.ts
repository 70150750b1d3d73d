/**
 * Readers for the configuration files of other keyservers, line by line, with positions. A
 * reader checks the form of its file strictly and does not know the meaning of directives, so that
 * directives of unknown versions are kept. An invalid line is a `Refusal` that names
 * the line and never quotes it, since such files hold passwords.
 *
 * Each form is read as its keyserver reads it: pksd accepts "#" in the first column only and cuts
 * lines at 1023 bytes, SKS allows a comment anywhere, onak has ";" and "#" at the beginning.
 */
import { parse, TomlError } from "smol-toml";
import type { KeyPath, Position } from "../config/locate.js";
import { formatKey, locateKeys, positionOf } from "../config/locate.js";
import { Refusal } from "../errors.js";

/** A file; `name` is as the operator wrote it. */
export interface Source {
  readonly name: string;
  readonly text: string;
}

/** One directive of a file. */
export interface Directive {
  readonly key: string;
  readonly value: string;
  /** `FILE:LINE`. */
  readonly place: string;
}

/** pksd reads into a buffer of 1024 bytes and reads the rest of a longer line as another one. */
const PKSD_LINE = 1023;

/** Maximum length of a line, which bounds the work per line. */
const MAX_LINE = 4096;

type Line = { readonly text: string; readonly place: string };

function linesOf({ name, text }: Source): Line[] {
  return text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line, index) => {
      const place = `${name}:${index + 1}`;
      if (line.length > MAX_LINE) throw fault(place, "is too long for a line of such a file");
      if (/[^\P{Cc}\t]/u.test(line)) throw fault(place, "contains a control character");
      return { text: line, place };
    });
}

function fault(place: string, message: string): Refusal {
  return new Refusal("bad-request", `${place}: ${message}`);
}

/** pksd.conf and the old onak.conf: `word value`. Throws `Refusal`. */
export function pksdDirectives(source: Source): Directive[] {
  return linesOf(source).flatMap(({ text, place }) => {
    if (text.startsWith("#") || text.trim() === "") return [];
    if (text.length > PKSD_LINE) throw fault(place, "is longer than the lines that pksd reads");
    const [, key, value = ""] = /^\s*([A-Za-z]\w*)(?:\s+(.*?))?\s*$/.exec(text) ?? [];
    if (key === undefined) throw fault(place, "is not of the form WORD VALUE of pksd.conf");
    return [{ key, value, place }];
  });
}

/** onak.ini: `name=value` below `[section]`; the key is `section.name`. Throws `Refusal`. */
export function iniDirectives(source: Source): Directive[] {
  let section = "";
  return linesOf(source).flatMap(({ text, place }) => {
    if (/^\s*([;#]|$)/.test(text)) return [];
    const [, header] = /^\s*\[([^\][]+)\]\s*$/.exec(text) ?? [];
    if (header !== undefined) {
      section = header;
      return [];
    }
    const [, key, value = ""] = /^\s*([A-Za-z]\w*)\s*=\s*(.*?)\s*$/.exec(text) ?? [];
    if (key === undefined) throw fault(place, "is not of the form NAME=VALUE of onak.ini");
    return [{ key: section === "" ? key : `${section}.${key}`, value, place }];
  });
}

/** sksconf: `name: value`. Throws `Refusal`. */
export function sksDirectives(source: Source): Directive[] {
  return linesOf(source).flatMap(({ text, place }) => {
    const line = text.replace(/#.*/, "").trim();
    if (line === "") return [];
    const [, key, value = ""] = /^([A-Za-z]\w*)\s*:\s*(.*)$/.exec(line) ?? [];
    if (key === undefined) throw fault(place, "is not of the form NAME: VALUE of sksconf");
    return [{ key, value, place }];
  });
}

/** mailsync and membership: one entry per line, each a directive of the given key. */
export function listedDirectives(source: Source, key: string): Directive[] {
  return linesOf(source).flatMap(({ text, place }) => {
    const value = text.replace(/#.*/, "").trim();
    return value === "" ? [] : [{ key, value, place }];
  });
}

/**
 * hockeypuck.conf: TOML, with or without the table [hockeypuck], which is not part of the
 * keys. A list gives a directive for each element. Throws `Refusal`.
 */
export function tomlDirectives(source: Source): Directive[] {
  const { name, text } = source;
  let tree: Record<string, unknown>;
  try {
    tree = parse(text, { maxDepth: 16 });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const hint = /\{\{.*\}\}/.test(text) ? " (it is a template: expand the {{...}} first)" : "";
    throw fault(`${name}:${error.line}`, `is not TOML as Hockeypuck reads it${hint}`);
  }
  const positions = locateKeys(text);
  return leaves([], tree).map(({ path, value }) => {
    const line = lineOf(positions, path);
    const keys = path.filter((part): part is string => typeof part === "string");
    const key = formatKey(keys[0] === "hockeypuck" ? keys.slice(1) : keys);
    return { key, value, place: line === undefined ? name : `${name}:${line}` };
  });
}

function lineOf(positions: ReadonlyMap<string, Position>, path: KeyPath): number | undefined {
  return positionOf(positions, path)?.line;
}

function leaves(path: KeyPath, value: unknown): { path: KeyPath; value: string }[] {
  if (Array.isArray(value)) {
    return value.flatMap((element: unknown, index) => leaves([...path, index], element));
  }
  if (typeof value === "object" && value !== null && !(value instanceof Date)) {
    return Object.entries(value).flatMap(([key, below]) => leaves([...path, key], below));
  }
  return [{ path, value: String(value) }];
}
