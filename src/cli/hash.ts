/**
 * `kxgw hash [FILE...]`: the update hash of every key in files or on standard input, so that two
 * keyservers can compare what they hold. Takes binary keyrings and armored text with any number of
 * blocks; the first octet tells which (bit 7 is set in every packet header and in no ASCII). Good
 * keys are printed whatever stands beside them. Limits: an input is held in memory and is at most
 * 1 GiB; the hash is of the key as it is in the file, not merged with other files.
 */
import { createReadStream } from "node:fs";
import { EXIT, Refusal } from "../errors.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import type { Output } from "./output.js";

const MAX_INPUT_BYTES = 1024 ** 3;

/** Written at once: a call a line is slow, and all lines of 1 GiB need not fit into one string. */
const LINES_A_WRITE = 1000;

const STDIN = "-";

/**
 * Prints `FINGERPRINT hash` for each key of `files`, or of `input` when there are none or for "-".
 * Resolves to the exit code: 0; 65 when an input has bad data, is too large or has no key at all;
 * 66 when a file cannot be read, which outranks 65. Each fault is a line on stderr.
 */
export async function hashCommand(
  files: readonly string[],
  input: NodeJS.ReadableStream,
  out: Output,
): Promise<number> {
  const codes = new Set<number>();
  for (const file of files.length > 0 ? files : [STDIN]) {
    const name = file === STDIN ? "(standard input)" : file;
    codes.add(await hashInput(name, file === STDIN ? input : openFile(file), out));
  }
  if (codes.has(EXIT.noInput)) return EXIT.noInput;
  return codes.has(EXIT.dataError) ? EXIT.dataError : EXIT.ok;
}

function openFile(file: string): NodeJS.ReadableStream {
  return createReadStream(file, { highWaterMark: 1024 * 1024 });
}

async function hashInput(name: string, input: NodeJS.ReadableStream, out: Output): Promise<number> {
  let data: Uint8Array | undefined;
  try {
    data = await readAll(input);
  } catch (error) {
    out.stderr(`${name}: cannot be read: ${reasonOf(error)}\n`);
    return EXIT.noInput;
  }
  if (data === undefined) {
    out.stderr(`${name}: is larger than 1GiB: cut it into parts\n`);
    return EXIT.dataError;
  }
  const { keyCount, faults } = printHashes(data, out);
  if (keyCount === 0 && faults.length === 0) faults.push("there is no OpenPGP key in it");
  for (const fault of faults) out.stderr(`${name}: ${fault}\n`);
  return faults.length > 0 ? EXIT.dataError : EXIT.ok;
}

/** The octets of a stream, or undefined when there are too many of them. */
async function readAll(input: NodeJS.ReadableStream): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let byteCount = 0;
  for await (const chunk of input) {
    const octets = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    byteCount += octets.length;
    if (byteCount > MAX_INPUT_BYTES) return undefined;
    chunks.push(octets);
  }
  return Buffer.concat(chunks);
}

/** Prints a line a key; what was refused comes back, in order, with where it stands. */
function printHashes(data: Uint8Array, out: Output): { keyCount: number; faults: string[] } {
  const faults: string[] = [];
  let lines: string[] = [];
  let keyCount = 0;
  const flush = () => {
    if (lines.length > 0) out.stdout(`${lines.join("\n")}\n`);
    lines = [];
  };
  for (const { keyring, place } of keyrings(data, faults)) {
    for (const key of readKeys(keyring)) {
      if (key instanceof Refusal) {
        faults.push(place + key.message);
        continue;
      }
      keyCount += 1;
      lines.push(`${key.fingerprint} ${updateHash(key).hash}`);
      if (lines.length >= LINES_A_WRITE) flush();
    }
  }
  flush();
  return { keyCount, faults };
}

/** The binary keyrings of an input, with the beginning of a message about each. */
function* keyrings(
  data: Uint8Array,
  faults: string[],
): Generator<{ readonly keyring: Uint8Array; readonly place: string }> {
  if (((data[0] ?? 0) & 0x80) !== 0) {
    yield { keyring: data, place: "" };
    return;
  }
  for (const block of readArmor(data)) {
    if (block instanceof Refusal) faults.push(block.message);
    else yield { keyring: block.data, place: `in the block of line ${block.line}: ` };
  }
}

function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "there is no such file";
    case "EACCES":
      return "permission denied";
    case "EISDIR":
      return "it is a directory";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
