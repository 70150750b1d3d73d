/**
 * From a TOML tree to settings, key by key: whatever can be read is read, and whatever cannot is a
 * fault, so that one run of the check shows all of them. The schema says what each key may be; this
 * file walks over it, finds keys that it does not know, and says where they may belong. It knows no
 * positions: a fault carries its path.
 */
import type { z } from "zod";
import type { KeyPath } from "./locate.js";
import { formatKey } from "./locate.js";
import { crossFaults } from "./rules.js";
import { configSchema, peerSchema, sections } from "./schema.js";
import { didYouMean } from "./suggest.js";

/** A fault by the path of its key. */
export interface PathFault {
  readonly path: KeyPath;
  readonly message: string;
}

/** A section as far as it could be read, and which of its keys were there at all. */
export interface Partly<S extends z.ZodObject> {
  readonly values: Partial<z.output<S>>;
  readonly given: ReadonlySet<string>;
}

/** The settings as far as they could be read; a section that is left out is undefined. */
export type PartlySettings = {
  readonly [K in keyof typeof sections]: Partly<(typeof sections)[K]> | undefined;
} & { readonly peer: readonly (Partly<typeof peerSchema> | undefined)[] };

type Tree = Readonly<Record<string, unknown>>;

const ROOT_KEYS = Object.keys(configSchema.shape);

/** Every fault of a TOML tree, in the order of the schema, then those of several keys together. */
export function settingsFaults(tree: Tree): PathFault[] {
  const faults: PathFault[] = [];
  const section = <S extends z.ZodObject>(name: string, schema: S) =>
    readSection(tree, name, schema, faults);
  for (const key of Object.keys(tree)) {
    if (!ROOT_KEYS.includes(key)) faults.push(unknownKey([key], ROOT_KEYS));
  }
  readKey(configSchema.shape.mode, tree.mode, ["mode"], faults);
  const partly = {
    site: section("site", sections.site),
    log: section("log", sections.log),
    smtp: section("smtp", sections.smtp),
    kx: section("kx", sections.kx),
    outbound: section("outbound", sections.outbound),
    admin: section("admin", sections.admin),
    peer: readPeers(tree.peer, faults),
  };
  return [...faults, ...crossFaults(partly)];
}

function readSection<S extends z.ZodObject>(
  tree: Tree,
  name: string,
  schema: S,
  faults: PathFault[],
): Partly<S> | undefined {
  const raw = tree[name];
  if (isTable(raw)) return readTable(schema, raw, [name], faults);
  if (raw !== undefined) {
    faults.push({
      path: [name],
      message: `is not a section: write [${name}] on a line of its own`,
    });
  } else if (name === "site") {
    faults.push({ path: [name], message: 'is missing: write [site] with address = "user@host"' });
  } else if (name === "log") {
    faults.push({ path: [name], message: 'is missing: write [log] with path = "updates.db"' });
  }
  return undefined;
}

function readPeers(raw: unknown, faults: PathFault[]): PartlySettings["peer"] {
  if (raw === undefined) return [];
  if (!Array.isArray(raw)) {
    faults.push({ path: ["peer"], message: "is not a list: write [[peer]] in double brackets" });
    return [];
  }
  return raw.map((entry: unknown, index) => {
    const path = ["peer", index];
    if (isTable(entry)) return readTable(peerSchema, entry, path, faults);
    faults.push({ path, message: "is not a section: write [[peer]] on a line of its own" });
    return undefined;
  });
}

function readTable<S extends z.ZodObject>(
  schema: S,
  raw: Tree,
  path: KeyPath,
  faults: PathFault[],
): Partly<S> {
  const known = Object.keys(schema.shape);
  const values: Record<string, unknown> = {};
  for (const key of Object.keys(raw)) {
    if (!known.includes(key)) faults.push(unknownKey([...path, key], known));
  }
  for (const [key, field] of Object.entries(schema.shape)) {
    values[key] = readKey(field as z.ZodType, raw[key], [...path, key], faults);
  }
  // What could not be read is undefined, and the names are those of the schema: hence Partial.
  return { values: values as Partial<z.output<S>>, given: new Set(Object.keys(raw)) };
}

function readKey(schema: z.ZodType, raw: unknown, path: KeyPath, faults: PathFault[]): unknown {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const inner = issue.path.filter((part) => typeof part !== "symbol");
    faults.push({ path: [...path, ...inner], message: issue.message });
  }
  return undefined;
}

function unknownKey(path: KeyPath, known: readonly string[]): PathFault {
  const key = String(path.at(-1));
  const elsewhere = [...Object.entries(sections), ["peer", peerSchema] as const]
    .filter(([, { shape }]) => Object.hasOwn(shape, key))
    .map(([name]) => (name === "peer" ? "[[peer]]" : `[${name}]`));
  let hint = didYouMean(key, known);
  if (hint === "" && elsewhere.length > 0) hint = `; it belongs in ${elsewhere.join(" or ")}`;
  if (hint === "" && path.length > 1 && ROOT_KEYS.includes(key)) {
    hint = "; it belongs at the top of the file, before the first section";
  }
  const message = `is not a known key${hint || `: take ${formatKey([key])} out`}`;
  return { path, message };
}

function isTable(raw: unknown): raw is Tree {
  return typeof raw === "object" && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}
