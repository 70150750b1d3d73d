/**
 * docs/status-json.md: its fields are made from the schema of /status.json, by way of the OpenAPI
 * document, so that a field without a description fails here.
 */
import { expect, it } from "vitest";
import { openApiDocument } from "../../src/admin/openapi.js";
import { page } from "../support/page.js";

/** The page up to here is written by hand. */
const MARK =
  "<!-- What follows is made from the schema: npx vitest run test/reference --update -->\n";

interface Schema {
  readonly $ref?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly enum?: readonly (string | null)[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

const { schemas } = openApiDocument("0").components as unknown as {
  readonly schemas: Readonly<Record<string, Schema>>;
};

function resolved(schema: Schema): Schema {
  const name = schema.$ref?.split("/").at(-1);
  return name === undefined ? schema : { ...schemas[name], ...schema };
}

/** How a value is written: "number or null". */
function typeOf(schema: Schema): string {
  const types = [schema.type ?? []].flat().filter((one) => one !== "null");
  const isNull = [schema.type].flat().includes("null") || (schema.anyOf?.length ?? 0) > 0;
  const names: Readonly<Record<string, string>> = {
    ...{ integer: "number", number: "number", boolean: "true or false", object: "object" },
    string: schema.format === "date-time" ? "time" : "text",
  };
  const values = schema.enum?.filter((one) => one !== null) ?? [];
  const some = values.map((one) => `\`${one}\``).join(", ");
  const name =
    values.length > 20
      ? "name of an event"
      : values.length > 0
        ? some
        : schema.items !== undefined
          ? `list of ${typeOf(resolved(schema.items)).replace(/(?<!s)$/, "s")}`
          : types.map((one) => names[one] ?? one).join(", ") || "text or number";
  return isNull ? `${name}, or null` : name;
}

/** The object behind a field: itself, or that of each item. */
function inside(schema: Schema): { readonly mark: string; readonly object: Schema } | undefined {
  const one = resolved(schema);
  if (one.properties !== undefined) return { mark: "", object: one };
  const item = one.items && inside(one.items);
  return item && { mark: "[]", object: item.object };
}

/** A table of the fields of an object, and one for each object in it. */
function tables(object: Schema, path: string, about: string): string[] {
  const entries = Object.entries(object.properties ?? {});
  const rows = entries.map(([name, given]) => {
    const schema = resolved(given);
    expect(schema.description, `${path}.${name} needs a description`).toMatch(/\.$|\)\.$/);
    const missing = object.required?.includes(name) ? "" : ", may be missing";
    const cell = (schema.description ?? "").replaceAll("|", "\\|");
    return `| \`${name}\` | ${typeOf(schema)}${missing} | ${cell} |`;
  });
  const head = path === "" ? "## The status" : `## ${path}`;
  const text = `${head}\n\n${about}\n\n| field | type | |\n|---|---|---|\n${rows.join("\n")}\n`;
  const parts = entries.flatMap(([name, given]) => {
    const inner = inside(given);
    if (inner === undefined) return [];
    const at = `${path === "" ? "" : `${path}.`}${name}${inner.mark}`;
    return tables(inner.object, at, resolved(given).description ?? "");
  });
  return [text, ...parts];
}

it("operations.md explains each label and each way in which a delivery is known", () => {
  const [, section = ""] = page("operations.md").split("## What a neighbour has got");
  const rows = [...section.matchAll(/^\| ([^|]+) \| ([^|]+) \|/gm)];
  const words = rows.flatMap(([, first, second]) => `${first}, ${second}`.split(/`?, `?|`/));
  const { Neighbour, Stage } = schemas;
  const labels = Neighbour?.properties?.label?.enum ?? [];
  expect(labels.length).toBeGreaterThan(10);
  expect(words).toEqual(expect.arrayContaining([...labels]));
  const known = Stage?.properties?.how?.enum ?? [];
  expect(known.length).toBeGreaterThan(15);
  expect(words).toEqual(expect.arrayContaining(known.filter((one) => one !== "nothing")));
});

it("docs/status-json.md is what the schema says (vitest --update writes it)", async () => {
  const [head = ""] = page("status-json.md").split(MARK);
  const { Status, Journey } = schemas;
  if (Status === undefined || Journey === undefined) throw new Error("a schema has no name");
  const fields = [
    ...tables(Status, "", "The object of `/status.json`."),
    ...tables(Journey, "update", "Each object in the list of `/update/QUESTION.json`."),
  ];
  const text = `${head}${MARK}\n${fields.join("\n")}`;
  await expect(text).toMatchFileSnapshot("../../docs/status-json.md");
});
