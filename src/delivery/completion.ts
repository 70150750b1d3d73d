/**
 * Asks the local keyserver for a key if an update of it must be sent and no user id is known. The
 * usual case is a lone revocation, which pksd and onak refuse. The returned key is verified and
 * stored like the content of an update, so that all neighbours and later updates can use it.
 *
 * Each key has at most one query at a time, and is queried again after `AGAIN_MS` at the earliest,
 * because several lanes need the same key at once. The lane of the local keyserver queries before
 * it posts the update, because Hockeypuck drops the user ids of a key when it learns that the key
 * is revoked.
 */
import type { Clock } from "../clock.js";
import { Refusal } from "../errors.js";
import { bodyWithin, isBareSignature, wholeKey } from "../hkp-whole.js";
import type { UpdateLog } from "../log/update-log.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys } from "../openpgp/key.js";
import { selfSigned } from "../openpgp/skeleton.js";
import type { Rules } from "../policy.js";
import type { Fingerprint } from "../update.js";

/** Timeout of a request. The keyserver is local. */
const REQUEST_MS = 10_000;
/** Maximum size of a key. */
const KEY_BYTES = 8 * 1024 * 1024;
const AGAIN_MS = 10 * 60_000;
/** Maximum number of cached queries. Each holds a fingerprint and a short answer. */
const MAX_ASKED = 1000;

/** The result of a query. */
export type Learnt =
  /** The current skeleton of the key. */
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

  /** `url` is the base URL of the keyserver, without a path. */
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
    // A revocation of a blocked key may be sent, but must not carry the key's user id.
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
    // A failure is not cached: the keyserver may answer when it is available again.
    if (learnt.kind === "failed") this.#asked.delete(fingerprint);
    return learnt;
  }

  /** Aborts the queries in progress. */
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

  /** Returns the packets of the key as served by op=get or by a hashquery. */
  async #get(fingerprint: Fingerprint, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const query = `op=get&options=mr&search=0x${fingerprint}`;
    const response = await fetch(`${this.#url}/pks/lookup?${query}`, {
      redirect: "manual",
      signal,
    });
    if (response.status >= 500) throw new Error(`it answered ${response.status}`);
    const text = await bodyWithin(response, KEY_BYTES);
    if (text === undefined || response.status !== 200) return undefined;
    if (isBareSignature(text)) return await wholeKey(this.#url, fingerprint, signal);
    const [block] = readArmor(text);
    return block === undefined || block instanceof Refusal ? undefined : block.data;
  }
}
