/**
 * Reads a key that op=get does not show: Hockeypuck answers with a bare revocation signature for a
 * key with a hard revocation. Its op=index with options=json names the MD5 of the key, and POST
 * /pks/hashquery returns all packets of the key with that MD5 (seen on 2.3.3: the primary key and
 * its revocation; the user ids are dropped by then). A server without either does not say.
 */
import { Refusal } from "./errors.js";
import { askForKeys } from "./intake/hashquery-client.js";
import { readArmor } from "./openpgp/armor.js";
import { readPackets, TAG } from "./openpgp/packet.js";
import type { Fingerprint } from "./update.js";

/** Size of an index with its packets in base64, or of a key. */
const ANSWER_BYTES = 8 * 1024 * 1024;

/** The caller's signal usually ends a question earlier. */
const HASHQUERY = { requestMs: 60_000, octets: ANSWER_BYTES };

/**
 * The packets of the key at the keyserver `url`, which has no path; undefined when it does not say.
 * The caller compares the fingerprint; the MD5 may be that of the key before packets were dropped.
 * Rejects when the keyserver cannot be reached, and when `signal` breaks the question off.
 */
export async function wholeKey(
  url: string,
  fingerprint: Fingerprint,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const query = `op=index&options=json&search=0x${fingerprint}`;
  const index = await answer(`${url}/pks/lookup?${query}`, { signal });
  const md5 = index && md5In(index.toString("utf8"), fingerprint);
  if (md5 === undefined) return undefined;
  const result = await askForKeys(url, [md5], HASHQUERY, signal);
  signal.throwIfAborted();
  if (result.kind === "failed" && !result.hasAnswered) throw new Error(result.words);
  return result.kind === "answer" ? (result.keys[0]?.key ?? result.foreign[0]) : undefined;
}

/** Whether an answer to op=get begins with a signature, so that it shows no key. */
export function isBareSignature(text: Uint8Array): boolean {
  const [block] = readArmor(text);
  if (block === undefined || block instanceof Refusal) return false;
  try {
    return readPackets(block.data)[0]?.tag === TAG.signature;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return false;
  }
}

/** The body of a 200; undefined for anything else, and for one that is too long. */
async function answer(url: string, request: RequestInit): Promise<Buffer | undefined> {
  const response = await fetch(url, { ...request, redirect: "manual" });
  if (response.status !== 200) {
    await response.body?.cancel();
    return undefined;
  }
  return await bodyWithin(response, ANSWER_BYTES);
}

/** The body of an answer; undefined if it is longer than `most`. */
export async function bodyWithin(response: Response, most: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    // Leaving the loop closes the connection.
    if (size > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The MD5 that an index gives for the key. */
export function md5In(text: string, fingerprint: Fingerprint): Buffer | undefined {
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(index)) return undefined;
  for (const entry of index) {
    if (typeof entry !== "object" || entry === null) continue;
    const { fingerprint: name, md5 } = entry as { fingerprint?: unknown; md5?: unknown };
    if (typeof name !== "string" || name.toUpperCase() !== fingerprint) continue;
    if (typeof md5 === "string" && /^[0-9a-f]{32}$/i.test(md5)) return Buffer.from(md5, "hex");
  }
  return undefined;
}
