/**
 * One question to a keyserver over HKP: the key of a fingerprint, as text (op=get, options=mr;
 * draft-gallagher-openpgp-hkp 3). Of a key with a hard revocation Hockeypuck gives only that; then
 * its index names the MD5 of the whole key, which hashquery returns. Each request ends after a set
 * time and a set size, whatever the other side does; redirections are not followed. Whether it is
 * the right key is for the reader to say.
 */
import { Refusal } from "../errors.js";
import { askForKeys } from "../intake/hashquery-client.js";
import { encodeArmor, readArmor } from "../openpgp/armor.js";
import { packetAt, TAG } from "../openpgp/packet.js";
import type { Fingerprint } from "../update.js";

/** What came of it. */
export type LookUpResult =
  | { readonly kind: "found"; readonly text: Uint8Array }
  /** It has no such key. */
  | { readonly kind: "absent"; readonly words: string }
  /** It does not answer, or not as a keyserver does; the next time may be better. */
  | { readonly kind: "failed"; readonly words: string };

export interface LookUpLimits {
  readonly requestMs: number;
  /** Of an answer. */
  readonly bytes: number;
}

const ABSENT = [404, 410];
const WORDS = 200;

/** A signature alone is smaller. */
const BARE_OCTETS = 64 * 1024;

/** Asks the keyserver at `url`, which has no path. Never rejects; `signal` breaks it off. */
export async function lookUp(
  url: string,
  fingerprint: Fingerprint,
  limits: LookUpLimits,
  signal: AbortSignal,
): Promise<LookUpResult> {
  const search = `search=0x${fingerprint}`;
  const found = await get(`${url}/pks/lookup?op=get&options=mr&${search}`, limits, signal);
  if (found.kind !== "found" || !isBare(found.text)) return found;
  const index = `${url}/pks/lookup?op=index&options=json&${search}`;
  const listed = await get(index, limits, signal);
  const md5 = listed.kind === "found" ? md5In(listed.text, fingerprint) : undefined;
  if (md5 === undefined) return found;
  const { requestMs, bytes: octets } = limits;
  const answer = await askForKeys(url, [md5], { requestMs, octets }, signal);
  const [whole] = answer.kind === "answer" ? answer.keys : [];
  if (whole === undefined) return found;
  return { kind: "found", text: Buffer.from(encodeArmor(whole.key), "latin1") };
}

/** Whether the text holds signatures and no key. */
function isBare(text: Uint8Array): boolean {
  if (text.length > BARE_OCTETS) return false;
  const blocks = readArmor(text).flatMap((block) => (block instanceof Refusal ? [] : [block]));
  return blocks.length > 0 && blocks.every(({ data }) => packetAt(data, 0)?.tag === TAG.signature);
}

/** The MD5 of the key in an index as JSON; undefined when there is none. */
function md5In(text: Uint8Array, fingerprint: Fingerprint): Buffer | undefined {
  let index: unknown;
  try {
    index = JSON.parse(Buffer.from(text).toString("utf8"));
  } catch {
    return undefined;
  }
  const entries: readonly unknown[] = Array.isArray(index) ? index : [];
  for (const entry of entries) {
    const { fingerprint: of, md5 } = (entry ?? {}) as Readonly<Record<string, unknown>>;
    const isIt = typeof of === "string" && of.toUpperCase() === fingerprint;
    if (isIt && typeof md5 === "string" && /^[0-9a-f]{32}$/i.test(md5)) {
      return Buffer.from(md5, "hex");
    }
  }
  return undefined;
}

async function get(
  asked: string,
  { requestMs, bytes }: LookUpLimits,
  signal: AbortSignal,
): Promise<LookUpResult> {
  const deadline = AbortSignal.timeout(requestMs);
  try {
    const response = await fetch(asked, {
      redirect: "manual",
      signal: AbortSignal.any([signal, deadline]),
    });
    const { status } = response;
    if (status !== 200) {
      await response.body?.cancel();
      const isAbsent = ABSENT.includes(status);
      return isAbsent
        ? { kind: "absent", words: "does not have it" }
        : { kind: "failed", words: `answered ${status} ${response.statusText}`.trim() };
    }
    const text = await read(response, bytes);
    return text === undefined
      ? { kind: "failed", words: `the answer exceeds ${bytes} bytes` }
      : { kind: "found", text };
  } catch (error) {
    if (deadline.aborted)
      return { kind: "failed", words: `no answer within ${requestMs / 1000} s` };
    return { kind: "failed", words: reasonOf(error) };
  }
}

/** The body, undefined when it is longer than `most`. */
async function read(response: Response, most: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    // Leaving the loop ends the connection.
    if (size > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  // fetch says "fetch failed" and why in the cause.
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return (cause === "" ? error.message : cause).slice(0, WORDS);
}
