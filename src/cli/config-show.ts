/**
 * `kxgw config show [--origin]` prints every key with its value in force and its origin (line of
 * the file, environment or default), without passwords. `kxgw config schema` prints the JSON
 * schema of the file, for editors that complete TOML.
 */
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";
import { overlay } from "../config/environment.js";
import { loadConfig } from "../config/load.js";
import { formatKey, locateKeys } from "../config/locate.js";
import { configSchema, lists, sections } from "../config/schema.js";
import { EXIT } from "../errors.js";
import { run } from "./daemon.js";
import type { Output } from "./output.js";

interface Setting {
  readonly key: string;
  readonly value: unknown;
  /** `FILE:LINE`, a variable's name, or `default`. */
  readonly origin: string;
}

/** The JSON schema of a config file, for editors. */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { io: "input" });
}

/** Prints the schema. */
export function configSchemaCommand(out: Output): number {
  out.stdout(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
  return EXIT.ok;
}

/** Prints every setting in force; 78 if the file has errors, which are printed as by `check`. */
export async function configShowCommand(
  file: string,
  options: { readonly json: boolean; readonly origin: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, () => {
    loadConfig(file, env);
    const settings = settingsOf(file, env);
    if (options.json) {
      out.stdout(`${JSON.stringify(settings)}\n`);
      return EXIT.ok;
    }
    const lines = settings.map(({ key, value, origin }) => {
      const text = `${key} = ${JSON.stringify(value)}`;
      return options.origin ? `${text.padEnd(56)} # ${origin}` : text;
    });
    out.stdout(`${lines.join("\n")}\n`);
    return EXIT.ok;
  });
}

/** The settings of a valid file, in the order of the schema. */
function settingsOf(file: string, env: NodeJS.ProcessEnv): Setting[] {
  const text = readFileSync(file, "utf8");
  const tree: Record<string, unknown> = parse(text);
  const positions = locateKeys(text);
  const { origins } = overlay(tree, env);
  const settings: Setting[] = [];
  const add = (path: readonly (string | number)[], given: unknown, preset: unknown) => {
    const value = given ?? preset;
    if (value === undefined) return;
    const key = formatKey(path);
    const line = positions.get(key)?.line;
    const from = line === undefined ? "default" : `${file}:${line}`;
    const origin = given === undefined ? "default" : (origins.get(key) ?? from);
    settings.push({ key, value: redacted(value), origin });
  };
  add(["mode"], tree.mode, defaultOf(configSchema.shape.mode));
  for (const [name, { shape }] of Object.entries(sections)) {
    const given = tree[name] as Record<string, unknown> | undefined;
    if (given === undefined && name !== "policy") continue;
    for (const [key, field] of Object.entries(shape)) {
      add([name, key], given?.[key], defaultOf(field));
    }
  }
  for (const [name, { shape }] of Object.entries(lists)) {
    const entries = (tree[name] ?? []) as Record<string, unknown>[];
    for (const [index, entry] of entries.entries()) {
      for (const [key, field] of Object.entries(shape)) {
        add([name, index, key], entry[key], defaultOf(field));
      }
    }
  }
  return settings;
}

/** The default of a key as it would be written in the file. */
function defaultOf(field: z.ZodType): unknown {
  return z.toJSONSchema(field, { io: "input", unrepresentable: "any" }).default;
}

/** Removes user and password from a URL. */
function redacted(value: unknown): unknown {
  return typeof value === "string" ? value.replace(/^(\w+:\/\/)[^/]*@/, "$1") : value;
}
