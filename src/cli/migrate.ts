/**
 * `kxgw config migrate FILE...`: converts the files of another keyserver to a configuration, on
 * standard output or in a new file. It reports each line that was not converted. The result
 * is validated before it is written, so that `kxgw check` accepts it. Passwords
 * in the files are neither copied nor printed.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseMailAddress } from "../config/addresses.js";
import { parseConfig } from "../config/load.js";
import { reasonOf } from "../config/reason.js";
import { EXIT, Refusal } from "../errors.js";
import type { Source } from "../migration/directive.js";
import type { Draft, Kind } from "../migration/draft.js";
import { FILE_NAMES, KIND_NAMES, kindOf, translate } from "../migration/recognise.js";
import { leftLine, render } from "../migration/render.js";
import { run } from "./daemon.js";
import type { Output } from "./output.js";

export interface MigrateOptions {
  /** pksd, onak, sks or hockeypuck; detected if undefined. */
  readonly from: string | undefined;
  /** The file to write; it must not exist. */
  readonly output: string | undefined;
  /** Our mail address, if it differs from that of the keyserver. */
  readonly site: string | undefined;
  readonly json: boolean;
}

/** Larger files are not configurations; a block list of thousands of keys is smaller. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** Converts; 64 bad options, 65 unknown kind of file, 66 unreadable, 73 the output file exists. */
export async function migrateCommand(
  paths: readonly string[],
  options: MigrateOptions,
  out: Output,
): Promise<number> {
  return await run(out, () => {
    const { from, site } = options;
    const kind = from === undefined ? undefined : kindOf(from);
    if (from !== undefined && kind === undefined) {
      out.stderr(`kxgw: the value of --from is one of ${KIND_NAMES.join(", ")}\n`);
      return EXIT.usage;
    }
    const reading = site === undefined ? undefined : parseMailAddress(site);
    if (reading !== undefined && "fault" in reading) {
      out.stderr(`kxgw: --site ${reading.fault}\n`);
      return EXIT.usage;
    }
    try {
      return hand(draftOf(paths, kind, site), options, out);
    } catch (error) {
      if (!(error instanceof NoInput)) throw error;
      out.stderr(`kxgw: ${error.message}\n`);
      return EXIT.noInput;
    }
  });
}

/** The draft of the files or directories at `paths`. Throws `Refusal`, `NoInput`. */
export function draftOf(
  paths: readonly string[],
  kind: Kind | undefined,
  site: string | undefined,
): Draft {
  const files = paths.flatMap(filesOf);
  const directory = dirname(resolve(files[0] ?? "."));
  return translate(files.map(readSource), { kind, site, directory });
}

/** A file that cannot be read; the message has its name and the reason. */
export class NoInput extends Error {}

function filesOf(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path);
    const found = FILE_NAMES.filter((name) => names.includes(name)).map((name) => join(path, name));
    if (found.length > 0) return found;
  } catch (error) {
    throw new NoInput(`${path}: cannot be read: ${reasonOf(error)}`);
  }
  throw new Refusal("bad-request", `${path}: contains none of ${FILE_NAMES.join(", ")}`);
}

function readSource(path: string): Source {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new NoInput(`${path}: cannot be read: ${reasonOf(error)}`);
  }
  const refuse = (why: string) => new Refusal("bad-request", `${path}: ${why}`);
  if (bytes.length > MAX_FILE_BYTES)
    throw refuse("is larger than 4 MiB, so it is not a configuration");
  if (bytes.includes(0)) throw refuse("is not a text file");
  const text = textOf(bytes);
  if (text.trim() === "") throw refuse("is empty");
  return { name: path, text };
}

/** The text as UTF-8, or as ISO 8859-1 if it is not valid UTF-8. */
function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return bytes.toString("latin1");
  }
}

function hand(draft: Draft, options: MigrateOptions, out: Output): number {
  const text = render(draft);
  // An error here is a bug: every value of the draft was accepted by the readers of the config.
  const config = parseConfig(text, "the new configuration", "/", {});
  const { output, json } = options;
  if (output !== undefined) {
    try {
      writeFileSync(output, text, { flag: "wx", mode: 0o640 });
    } catch (error) {
      const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
      const why = isThere ? "exists already and was not changed" : reasonOf(error);
      out.stderr(`kxgw: ${output}: ${isThere ? "" : "cannot be written: "}${why}\n`);
      return EXIT.cannotCreate;
    }
  }
  const { kind, files, taken, left, advice } = draft;
  if (json) {
    const places = taken.map(({ key, place }) => ({ key, place }));
    const answer = { kind, files, site: config.site.address, taken: places, left, advice };
    out.stdout(`${JSON.stringify(output === undefined ? { ...answer, toml: text } : answer)}\n`);
    return EXIT.ok;
  }
  if (output === undefined) out.stdout(text);
  for (const one of left) out.stderr(`${leftLine(one)}\n`);
  const count = (wanted: string) => left.filter((one) => one.kind === wanted).length;
  const counts = `${count("unneeded")} not needed, ${count("unknown")} unknown`;
  out.stderr(`${kind}: ${taken.length} converted, ${counts}, ${count("by-hand")} to do by hand\n`);
  if (draft.ours === undefined)
    out.stderr("Write the mail address of the gateway into [site] address.\n");
  if (output !== undefined) {
    out.stderr(`${output}: written, in observe mode. Check it: kxgw check -c ${output}\n`);
  }
  return EXIT.ok;
}
