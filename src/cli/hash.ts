/**
 * `kxgw hash [FILE...]`: prints the update hash of every key in files or on standard input, so that
 * two keyservers can be compared. Reads binary keyrings and armored text with any number of
 * blocks; the first octet decides which (bit 7 is set in every packet header and in no ASCII).
 * Invalid keys do not affect the others. Limits: an input is held in memory and is at most
 * 1 GiB; the hash is that of the key as it is in the file, not merged with other files.
 */
import { createReadStream } from "node:fs";
import { EXIT, Refusal } from "../errors.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import type { Output } from "./output.js";

const MAX_INPUT_BYTES = 1024 ** 3;

/** Lines per write: one call per line is slow, and all lines of 1 GiB may not fit in a string. */
const LINES_A_WRITE = 1000;

const STDIN = "-";

/**
 * Prints `FINGERPRINT hash` for each key of `files`, or of `input` without files or for "-".
 * Resolves to the exit code: 0; 65 if an input has bad data, is too large or has no key;
 * 66 if a file cannot be read, which takes precedence. Each error is a line on stderr.
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
    out.stderr(`${name}: is larger than 1 GiB: split it\n`);
    return EXIT.dataError;
  }
  const { keyCount, faults } = printHashes(data, out);
  if (keyCount === 0 && faults.length === 0) faults.push("contains no OpenPGP key");
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

/** Prints one line per key; returns the errors, in order, with their place in the input. */
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

/** The binary keyrings of an input, each with the prefix for messages about it. */
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
    else yield { keyring: block.data, place: `in the block at line ${block.line}: ` };
  }
}

function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "no such file";
    case "EACCES":
      return "permission denied";
    case "EISDIR":
      return "is a directory";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
