/**
 * Environment variables over the file: `KXGW_MODE`, and `KXGW_SECTION__KEY` for each key of a
 * section, as `KXGW_LOG__PATH`. A list is separated by commas. A variable that names a section
 * brings it into being, as its header in the file would. Every other KXGW_ variable is a fault, so
 * that a slip cannot pass for a default; neighbours stand in the file alone. Values are never
 * quoted here.
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

/** What the environment did to a tree. */
export interface Overlay {
  /** The variable that a key comes from, by `formatKey`. */
  readonly origins: ReadonlyMap<string, string>;
  /** Variables that mean nothing, each with what to do. */
  readonly faults: readonly { readonly variable: string; readonly message: string }[];
}

/** Writes the KXGW_ variables into `tree`, over what is there. */
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
      // Not a table: the file is at fault there, and is told so.
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
    return "is not a known variable: neighbours are written in the file, as [[peer]]";
  }
  if (Object.hasOwn(sections, rest)) {
    return `is not a known variable: write a key of the section, as ${name}__KEY`;
  }
  const known = [...VARIABLES.keys()].map((variable) => variable.slice(PREFIX.length));
  const meant = suggest(rest, known);
  const hint = meant ? `; did you mean ${PREFIX}${meant}?` : ": take it out of the environment";
  return `is not a known variable${hint}`;
}

/** What a key's value is written as; one that cannot be that stays a text, and is told so. */
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
