/**
 * The keys of a configuration as the reference pages show them, read from the JSON schema that
 * `kxgw config schema` prints, so that a page says what an editor says.
 */
import { configJsonSchema } from "../../src/cli/config-show.js";

/** The part of JSON schema that ours is made of. */
interface Schema {
  readonly description?: string;
  readonly title?: string;
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

export interface Key {
  /** Within its section, as `tls.cert`. */
  readonly name: string;
  readonly about: string;
  /** In words: `duration`, `list of host:port`. */
  readonly type: string;
  /** As it would be written in the file; undefined when there is none. */
  readonly preset: string | undefined;
  /** As it would be written in the file. */
  readonly example: string;
  readonly required: boolean;
}

export interface Section {
  /** As its header in the file, `[smtp]` or `[[peer]]`. */
  readonly header: string;
  readonly about: string;
  readonly keys: readonly Key[];
}

/** The keys before the first section. */
export function topKeys(): Key[] {
  const { properties = {} } = configJsonSchema() as Schema;
  return Object.entries(properties).flatMap(([name, key]) =>
    isSection(key) ? [] : keysOf(name, key, false),
  );
}

/** Every section, in the order of the schema. */
export function allSections(): Section[] {
  const { properties = {} } = configJsonSchema() as Schema;
  return Object.entries(properties).flatMap(([name, section]) => {
    if (!isSection(section)) return [];
    const table = section.items ?? section;
    const header = section.items === undefined ? `[${name}]` : `[[${name}]]`;
    return [{ header, about: table.description ?? "", keys: keysIn(table) }];
  });
}

function isSection({ properties, items }: Schema): boolean {
  return properties !== undefined || items?.properties !== undefined;
}

function keysIn({ properties = {}, required = [] }: Schema): Key[] {
  return Object.entries(properties).flatMap(([name, key]) =>
    keysOf(name, key, required.includes(name)),
  );
}

function keysOf(name: string, schema: Schema, required: boolean): Key[] {
  const inner = schema.properties === undefined ? [] : keysIn(schema);
  const example = exampleOf(schema);
  const preset = schema.default === undefined ? undefined : written(schema.default);
  const about = schema.description ?? "";
  return [
    { name, about, type: typeOf(schema), preset, example: written(example), required },
    ...inner.map((key) => ({ ...key, name: `${name}.${key.name}` })),
  ];
}

function typeOf({ type, title, items, ...schema }: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map((word) => `"${word}"`).join(" or ");
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (type === "boolean") return "true or false";
  if (type === "object") return "table";
  return title ?? (type === "integer" ? "number" : "text");
}

function exampleOf(schema: Schema): unknown {
  const { examples, items, properties } = schema;
  if (properties !== undefined) {
    return Object.fromEntries(Object.entries(properties).map(([k, v]) => [k, exampleOf(v)]));
  }
  if (schema.default !== undefined && written(schema.default) !== "[]") return schema.default;
  if (items !== undefined) return [exampleOf(items)];
  return examples?.[0] ?? schema.enum?.[0] ?? true;
}

/** A value as TOML. */
function written(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).map(([key, inner]) => `${key} = ${written(inner)}`);
  return `{ ${pairs.join(", ")} }`;
}
