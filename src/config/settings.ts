/**
 * Reads settings from a TOML tree, key by key: valid keys are read, and each invalid one is an
 * error, so that one run of the check shows all of them. The schema defines the keys; this
 * file walks over it, finds unknown keys, and suggests where they belong. It knows no
 * positions: an error has the path of its key.
 */
import type { z } from "zod";
import type { KeyPath } from "./locate.js";
import { formatKey } from "./locate.js";
import type { Partly, PathFault } from "./rules.js";
import { crossFaults } from "./rules.js";
import { configSchema, lists, sections } from "./schema.js";
import { didYouMean } from "./suggest.js";

type Tree = Readonly<Record<string, unknown>>;

const ROOT_KEYS = Object.keys(configSchema.shape);

/** All errors of a TOML tree, in the order of the schema, then those about several keys. */
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
    spool: section("spool", sections.spool),
    hkp: section("hkp", sections.hkp),
    kx: section("kx", sections.kx),
    outbound: section("outbound", sections.outbound),
    local: section("local", sections.local),
    admin: section("admin", sections.admin),
    policy: section("policy", sections.policy),
    peer: readList(tree.peer, "peer", lists.peer, faults),
    recon: readList(tree.recon, "recon", lists.recon, faults),
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

function readList<S extends z.ZodObject>(
  raw: unknown,
  name: string,
  schema: S,
  faults: PathFault[],
): (Partly<S> | undefined)[] {
  if (raw === undefined) return [];
  if (!Array.isArray(raw)) {
    const message = `is not a list: write [[${name}]] in double brackets`;
    faults.push({ path: [name], message });
    return [];
  }
  return raw.map((entry: unknown, index) => {
    const path = [name, index];
    if (isTable(entry)) return readTable(schema, entry, path, faults);
    faults.push({ path, message: `is not a section: write [[${name}]] on a line of its own` });
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
  // Invalid keys are undefined, and the names are those of the schema: hence Partial.
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
  const elsewhere = [...Object.entries(sections), ...Object.entries(lists)]
    .filter(([, { shape }]) => Object.hasOwn(shape, key))
    .map(([name]) => (Object.hasOwn(lists, name) ? `[[${name}]]` : `[${name}]`));
  // "mode" is as near to "node" as a slip, but it is a key of its own.
  const isAtTop = path.length > 1 && ROOT_KEYS.includes(key);
  let hint = isAtTop
    ? "; it belongs at the top of the file, before the first section"
    : didYouMean(key, known);
  if (hint === "" && elsewhere.length > 0) hint = `; it belongs in ${elsewhere.join(" or ")}`;
  const message = `is not a known key${hint || `: remove ${formatKey([key])}`}`;
  return { path, message };
}

function isTable(raw: unknown): raw is Tree {
  return typeof raw === "object" && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}
