/**
 * Asks the keyserver beside us for a key of which an update is to leave and no user id is known: a
 * revocation that came alone, which pksd and onak refuse. What the keyserver shows is verified and
 * remembered like what an update says, so that all neighbours and later updates have it.
 *
 * Each key is asked for once at a time, and again after `AGAIN_MS` at the earliest: several lanes
 * want the same key at once. The keyserver's own lane asks before it posts the update, because
 * Hockeypuck forgets the user ids of a key when it learns that the key is revoked.
 */
import type { Clock } from "../clock.js";
import { Refusal } from "../errors.js";
import { isBareSignature, wholeKey } from "../hkp-whole.js";
import type { UpdateLog } from "../log/update-log.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys } from "../openpgp/key.js";
import { selfSigned } from "../openpgp/skeleton.js";
import type { Rules } from "../policy.js";
import type { Fingerprint } from "../update.js";

/** The keyserver is a program beside us. */
const REQUEST_MS = 10_000;
/** Of a key. */
const KEY_BYTES = 8 * 1024 * 1024;
const AGAIN_MS = 10 * 60_000;
/** Questions that are remembered; each holds a fingerprint and an answer of a few words. */
const MAX_ASKED = 1000;

/** What came of a question. */
export type Learnt =
  /** The skeleton of the key now. */
  | { readonly kind: "learnt"; readonly skeleton: Uint8Array }
  /** The keyserver knows no user id of the key. */
  | { readonly kind: "nothing" }
  | { readonly kind: "failed"; readonly words: string };

interface Asked {
  readonly at: number;
  readonly answer: Promise<Learnt>;
}

export class KeyCompletion {
  readonly #url: string;
  readonly #log: Pick<UpdateLog, "skeletons">;
  readonly #clock: Clock;
  readonly #rules: Pick<Rules, "blockOn"> | undefined;
  readonly #asked = new Map<Fingerprint, Asked>();
  readonly #closing = new AbortController();

  /** `url` is the keyserver's, without a path. */
  constructor(
    url: string,
    log: Pick<UpdateLog, "skeletons">,
    clock: Clock,
    rules?: Pick<Rules, "blockOn">,
  ) {
    this.#url = url;
    this.#log = log;
    this.#clock = clock;
    this.#rules = rules;
  }

  /** Never rejects. */
  async learn(fingerprint: Fingerprint): Promise<Learnt> {
    // A revocation that leaves although its key is blocked must not bring the user id along.
    if (this.#rules?.blockOn(fingerprint) !== undefined) return { kind: "nothing" };
    const now = this.#clock.monotonic();
    const asked = this.#asked.get(fingerprint);
    if (asked !== undefined && now - asked.at < AGAIN_MS) return await asked.answer;
    const answer = this.#ask(fingerprint);
    this.#asked.delete(fingerprint);
    this.#asked.set(fingerprint, { at: now, answer });
    const [oldest] = this.#asked.keys();
    if (this.#asked.size > MAX_ASKED && oldest !== undefined) this.#asked.delete(oldest);
    const learnt = await answer;
    // A keyserver that is back has more to say.
    if (learnt.kind === "failed") this.#asked.delete(fingerprint);
    return learnt;
  }

  /** Ends the questions under way. */
  close(): void {
    this.#closing.abort();
  }

  async #ask(fingerprint: Fingerprint): Promise<Learnt> {
    const deadline = AbortSignal.timeout(REQUEST_MS);
    const signal = AbortSignal.any([this.#closing.signal, deadline]);
    try {
      const octets = await this.#get(fingerprint, signal);
      const [key] = octets === undefined ? [] : readKeys(octets);
      if (key === undefined || key instanceof Refusal) return { kind: "nothing" };
      if (key.fingerprint !== fingerprint || key.userIds.length === 0) return { kind: "nothing" };
      this.#log.skeletons.remember(fingerprint, selfSigned(key), this.#clock.now());
      const skeleton = this.#log.skeletons.get(fingerprint);
      return skeleton === undefined ? { kind: "nothing" } : { kind: "learnt", skeleton };
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      return { kind: "failed", words };
    }
  }

  /** The packets of the key as op=get shows them, or as a hashquery does. */
  async #get(fingerprint: Fingerprint, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const query = `op=get&options=mr&search=0x${fingerprint}`;
    const response = await fetch(`${this.#url}/pks/lookup?${query}`, {
      redirect: "manual",
      signal,
    });
    if (response.status >= 500) throw new Error(`it answered ${response.status}`);
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      // Leaving the loop ends the connection.
      if (size > KEY_BYTES) return undefined;
      chunks.push(chunk);
    }
    if (response.status !== 200) return undefined;
    const text = Buffer.concat(chunks);
    if (isBareSignature(text)) return await wholeKey(this.#url, fingerprint, signal);
    const [block] = readArmor(text);
    return block === undefined || block instanceof Refusal ? undefined : block.data;
  }
}
