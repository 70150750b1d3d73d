/**
 * Environment variables that override the file: `KXGW_MODE`, and `KXGW_SECTION__KEY` for each key
 * of a section, as `KXGW_LOG__PATH`. A list is separated by commas. A variable of a section
 * creates the section, as its header in the file does. Every other KXGW_ variable is an error, so
 * that a typing error has no silent effect; neighbours are configured in the file only. Values are
 * never quoted here.
 */
import { z } from "zod";
import { formatKey } from "./locate.js";
import { sections } from "./schema.js";
import { suggest } from "./suggest.js";

/** Environment variables by name, as `process.env` is. */
export type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = "KXGW_";

interface Variable {
  readonly path: readonly [string] | readonly [string, string];
  readonly read: (value: string) => unknown;
}

const VARIABLES: ReadonlyMap<string, Variable> = new Map([
  [`${PREFIX}MODE`, { path: ["mode"], read: (value) => value }],
  ...Object.entries(sections).flatMap(([section, { shape }]) =>
    Object.entries(shape).map(([key, field]): [string, Variable] => [
      `${PREFIX}${section}__${key}`.toUpperCase(),
      { path: [section, key], read: readerOf(field) },
    ]),
  ),
]);

/** The result of applying the environment. */
export interface Overlay {
  /** The variable that a key comes from, by `formatKey`. */
  readonly origins: ReadonlyMap<string, string>;
  /** Unknown variables, each with a message. */
  readonly faults: readonly { readonly variable: string; readonly message: string }[];
}

/** Writes the KXGW_ variables into `tree` and overrides its values. */
export function overlay(tree: Record<string, unknown>, env: Environment): Overlay {
  const origins = new Map<string, string>();
  const faults: { variable: string; message: string }[] = [];
  for (const name of Object.keys(env).sort()) {
    const value = env[name];
    if (!name.startsWith(PREFIX) || value === undefined) continue;
    const variable = VARIABLES.get(name);
    if (!variable) {
      faults.push({ variable: name, message: unknownVariable(name) });
      continue;
    }
    const [head, key] = variable.path;
    const read = variable.read(value);
    if (key === undefined) tree[head] = read;
    else {
      const section = tree[head] ?? {};
      // Not a table: the error is reported for the file.
      if (typeof section !== "object" || section === null) continue;
      tree[head] = section;
      Object.assign(section, { [key]: read });
    }
    origins.set(formatKey(variable.path), name);
  }
  return { origins, faults };
}

function listOf(value: string): string[] {
  if (value.trim() === "") return [];
  return value.split(",").map((part) => part.trim());
}

function unknownVariable(name: string): string {
  const rest = name.slice(PREFIX.length).toLowerCase();
  if (rest === "peer" || rest.startsWith("peer_")) {
    return "is not a known variable: neighbours are configured in the file, as [[peer]]";
  }
  if (rest === "recon" || rest.startsWith("recon_")) {
    return "is not a known variable: servers are configured in the file, as [[recon]]";
  }
  if (Object.hasOwn(sections, rest)) {
    return `is not a known variable: write a key of the section, as ${name}__KEY`;
  }
  const known = [...VARIABLES.keys()].map((variable) => variable.slice(PREFIX.length));
  const meant = suggest(rest, known);
  const hint = meant ? `; did you mean ${PREFIX}${meant}?` : ": remove it from the environment";
  return `is not a known variable${hint}`;
}

/** The parser for a key's value; an invalid value stays a text and is reported as an error. */
function readerOf(field: z.ZodType): (value: string) => unknown {
  let inner: z.core.$ZodType = field;
  while (
    inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodDefault
  ) {
    inner = inner.unwrap();
  }
  if (inner instanceof z.ZodArray) return listOf;
  if (inner instanceof z.ZodBoolean) {
    return (value) => (value === "true" ? true : value === "false" ? false : value);
  }
  if (inner instanceof z.ZodNumber) {
    return (value) => (/^\d{1,15}$/.test(value) ? Number(value) : value);
  }
  return (value) => value;
}
