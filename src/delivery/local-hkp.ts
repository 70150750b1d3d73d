/**
 * Posts updates to /pks/add of the local keyserver, as `gpg --send-keys` does, with the trail in
 * PKS-Recipients and the gateway in PKS-Sender and PKS-From. The body of the reply decides:
 * Hockeypuck replies with JSON, SKS and onak with HTML, and all may refuse with a 200.
 * - Taken: JSON that lists the key as inserted or updated; HTML that says the key was added.
 * - Unclear: Hockeypuck lists the key as ignored or invalid. In 2.3 "ignored" means that it had all
 *   of it or found nothing valid; in 2.4 the latter is "invalid". The key is looked up, also if
 *   only a part may have been taken. If packets are missing that become valid with self-signatures
 *   that the receiver serves, the key is posted once more with these.
 * - Refused permanently: JSON without the key; replies that `isRefusal` recognises.
 * - Temporary: all else. A reply that is not understood never counts as "sent".
 */

import { Refusal } from "../errors.js";
import { grownTrail } from "../mail/sent-trail.js";
import { armoredSize, encodeArmor, readArmor } from "../openpgp/armor.js";
import { fragments } from "../openpgp/fragments.js";
import { assembleKey, encodeKey, keyComponents, readKeys } from "../openpgp/key.js";
import { encodePackets, type Packet, packetKey, readPackets, TAG } from "../openpgp/packet.js";
import { isSelfSignature, signatureInfo } from "../openpgp/signature.js";
import { grown, selfSigned } from "../openpgp/skeleton.js";
import type { ServerKind } from "../server-kinds.js";
import type { Fingerprint } from "../update.js";
import type { KeyCompletion } from "./completion.js";
import {
  type DeliveryMethod,
  nothingFor,
  type Outgoing,
  type Part,
  restFor,
  storedKey,
} from "./delivery-method.js";
import type { Outcome } from "./relay.js";

const REQUEST_MS = 60_000;
/**
 * Maximum size of one armor. Hockeypuck accepts 4 MiB and SKS more. The form encoding adds a tenth.
 * The `max_mail` setting applies to mails only.
 */
const ARMOR_BYTES = 3_500_000;
/** Maximum size of a reply that is read. No keyserver writes more about one key. */
const ANSWER_BYTES = 64 * 1024;
/** Maximum size of a key that is looked up. */
const KEY_BYTES = 8 * 1024 * 1024;
const WORDS = 300;
/** Maximum size of PKS-Recipients. Many servers reject requests with more than 8 KiB of headers. */
const HEADER_BYTES = 6000;

/** Statuses that mean that the key was read and is not acceptable. */
const FINAL = [400, 413, 422];
/** 4xx statuses that do not depend on the key. */
const OF_SERVER = [401, 403, 404, 405, 407, 408, 421, 429, 431];
/** Texts of SKS and onak, with status 200, for a key that they can never read. */
const FINAL_WORDS = /\bAdd failed\b|No OpenPGP packets found in input|\bKey not found\b/i;

/** The meaning of a reply. "unclear": the receiver already has the key or has discarded it. */
export type HkpAnswer =
  | Exclude<Outcome, { readonly kind: "delivered" }>
  | (Extract<Outcome, { readonly kind: "delivered" }> & { readonly verifies: boolean })
  | { readonly kind: "unclear"; readonly words: string };

export class HkpDelivery implements DeliveryMethod {
  readonly #url: string;
  readonly #site: string;
  /** The HKP address of the gateway, if it has one. */
  readonly #base: string | undefined;
  readonly #kind: ServerKind | undefined;
  readonly #completion: Pick<KeyCompletion, "learn"> | undefined;
  #request = new AbortController();

  /**
   * `url` is the base URL of the keyserver, without /pks/add. `site` is the mail address of the
   * gateway. `base` is the HKP address of the gateway, if it has one. `kind` is the keyserver's
   * software, if known. `completion` asks the keyserver for user ids.
   */
  constructor(
    url: string,
    site: string,
    base?: string,
    kind?: ServerKind,
    completion?: Pick<KeyCompletion, "learn">,
  ) {
    this.#completion = completion;
    this.#base = base;
    this.#kind = kind;
    this.#url = url;
    this.#site = site;
  }

  parts({ body, fingerprint, skeleton, trail }: Outgoing, date: number): Part[] {
    const key = storedKey(body);
    const made = (known: Uint8Array | undefined) =>
      fragments(key, known, ARMOR_BYTES, date, this.#kind);
    const pieces = made(skeleton);
    if (pieces.length === 0) return [nothingFor(this.#kind)];
    const parts = pieces.map(({ packets, isNamed, kind }, index) => {
      const bytes = armoredSize(packets.length);
      // SKS replies "added" and drops such subkeys. Others drop a key without a user id.
      const posted = { packets, isDoubtful: kind === "odd" || !isNamed };
      const deliver = async (): Promise<Outcome> => {
        const learnt = isNamed ? undefined : await this.#completion?.learn(fingerprint);
        if (learnt?.kind === "failed") return later(`it cannot be asked: ${learnt.words}`);
        const better = learnt?.kind === "learnt" ? made(learnt.skeleton)[index] : undefined;
        const piece = { ...posted, packets: better?.packets ?? packets };
        return await this.#deliver(piece, fingerprint, trail, date);
      };
      return { bytes, incomplete: !isNamed, oversized: bytes > ARMOR_BYTES, deliver };
    });
    return [...parts, ...restFor(key, this.#kind)];
  }

  /** Aborts the request in progress. */
  close(): void {
    this.#request.abort(new Error("The attempt was cancelled."));
  }

  async #deliver(
    piece: Piece,
    fingerprint: Fingerprint,
    trail: readonly string[],
    date: number,
  ): Promise<Outcome> {
    this.#request = new AbortController();
    const deadline = setTimeout(() => {
      this.#request.abort(new Error(`No answer within ${REQUEST_MS / 1000} s.`));
    }, REQUEST_MS);
    try {
      const first = await this.#offer(piece, fingerprint, trail);
      if (first.served === undefined) return first.outcome;
      const packets = completedBy(piece.packets, first.served, date);
      if (packets === undefined) return first.outcome;
      return (await this.#offer({ ...piece, packets }, fingerprint, trail)).outcome;
    } catch (error) {
      return later(reasonOf(error));
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Posts packets. `served` is the receiver's key if it lacks some of them. */
  async #offer(
    { packets, isDoubtful }: Piece,
    fingerprint: Fingerprint,
    trail: readonly string[],
  ): Promise<Offered> {
    const answer = await this.#post(encodeArmor(packets), trail);
    const isTaken =
      answer.kind === "delivered" && !(answer.verifies ? hasUnbound(packets) : isDoubtful);
    if (isTaken || answer.kind === "refused" || answer.kind === "temporary") {
      return { outcome: answer, served: undefined };
    }
    const words = answer.kind === "delivered" ? answer.reply : answer.words;
    return await this.#lookUp(packets, fingerprint, words);
  }

  async #post(armor: string, trail: readonly string[]): Promise<HkpAnswer> {
    const response = await fetch(`${this.#url}/pks/add`, {
      method: "POST",
      // "mr" makes Hockeypuck reply in JSON, whatever its templates.
      body: new URLSearchParams({ keytext: armor, options: "mr" }).toString(),
      headers: {
        // onak compares for exact equality. With a URLSearchParams body, fetch would append a
        // charset.
        "Content-Type": "application/x-www-form-urlencoded",
        "PKS-Sender": this.#site,
        ...(this.#base === undefined ? {} : { "PKS-From": this.#base }),
        "PKS-Recipients": recipients(grownTrail(trail, this.#site)),
      },
      redirect: "manual",
      signal: this.#request.signal,
    });
    return answerOf(response.status, (await head(response, ANSWER_BYTES)).toString("latin1"));
  }

  /** Checks whether the receiver serves the packets. */
  async #lookUp(packets: Uint8Array, fingerprint: Fingerprint, words: string): Promise<Offered> {
    const query = `op=get&options=mr&search=0x${fingerprint}`;
    const response = await fetch(`${this.#url}/pks/lookup?${query}`, {
      redirect: "manual",
      signal: this.#request.signal,
    });
    const { status } = response;
    const text = await head(response, KEY_BYTES);
    if (status !== 200) {
      const outcome = thrownAway(words, `it does not serve the key (${status})`);
      return { outcome, served: undefined };
    }
    const served = packetsIn(text);
    const outcome = heldOf(packets, served, words);
    return { outcome, served: outcome.kind === "refused" ? served : undefined };
  }
}

/** The packets to post. `isDoubtful`: a server that does not verify may accept and drop them. */
interface Piece {
  readonly packets: Uint8Array;
  readonly isDoubtful: boolean;
}

/** The result of a post. `served` is the receiver's key if it lacks some of the packets. */
interface Offered {
  readonly outcome: Outcome;
  readonly served: readonly Packet[] | undefined;
}

/** Returns the packets in the armor of a reply. */
function packetsIn(text: Uint8Array): Packet[] {
  return readArmor(text).flatMap((block) => {
    try {
      return block instanceof Refusal ? [] : readPackets(block.data);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return [];
    }
  });
}

/** Returns what a reply with these `words` proves, given the packets that the receiver serves. */
export function heldOf(sent: Uint8Array, served: readonly Packet[], words: string): Outcome {
  const names = new Set(served.map(packetKey));
  const packets = readPackets(sent);
  const missing = packets.filter((packet) => !names.has(packetKey(packet)));
  if (missing.length === 0) return taken(`${words} (it serves all of it)`);
  // For a permanently revoked key Hockeypuck serves the revocation and nothing else.
  const isBare = served.every(({ tag }) => tag === TAG.signature);
  const isShown = packets.some((one) => one.tag === TAG.signature && names.has(packetKey(one)));
  if (isBare && isShown) return taken(`${words} (it serves its revocation)`);
  const isRevoked = isBare && served.some(({ body }) => signatureInfo(body)?.type === 0x20);
  if (isRevoked) return thrownAway(words, "it serves a revocation and nothing else of the key");
  const share = `${missing.length} of ${packets.length}`;
  return thrownAway(words, `it does not serve ${share} packets`);
}

function taken(reply: string): Outcome {
  return { kind: "delivered", how: "taken", reply };
}

function later(words: string): Outcome {
  return { kind: "temporary", about: "neighbour", code: undefined, words };
}

function thrownAway(words: string, why: string): Outcome {
  return { kind: "refused", code: 200, words: `${words}, and ${why}`, isOfKey: true };
}

/**
 * Whether a user id or subkey has no self-signature. Hockeypuck drops such a component, not the
 * rest.
 */
function hasUnbound(packets: Uint8Array): boolean {
  const [key] = readKeys(packets);
  if (key === undefined || key instanceof Refusal) return false;
  return [...key.userIds, ...key.subkeys].some(
    ({ signatures }) => !signatures.some((one) => isSelfSignature(key, one)),
  );
}

/**
 * Returns the packets with the self-signatures of their components that the receiver serves, or
 * undefined if it serves no new ones. A gateway that runs beside a full keyserver needs this for
 * the first update of each key: the receiver knows the key, but the log does not yet.
 */
export function completedBy(
  packets: Uint8Array,
  served: readonly Packet[],
  date: number,
): Uint8Array | undefined {
  const [key] = readKeys(packets);
  const [theirs] = readKeys(encodePackets(served));
  if (key === undefined || key instanceof Refusal) return undefined;
  if (theirs === undefined || theirs instanceof Refusal) return undefined;
  if (theirs.fingerprint !== key.fingerprint) return undefined;
  const shown = new Set(keyComponents(key).map(({ packet }) => packetKey(packet)));
  const shared = keyComponents(theirs).filter(({ packet }) => shown.has(packetKey(packet)));
  const came = selfSigned(assembleKey(shared));
  if (came === undefined) return undefined;
  const verified = grown(undefined, came, date);
  const [bones] = readKeys(Buffer.concat([encodePackets([key.primary.packet]), verified]));
  if (bones === undefined || bones instanceof Refusal) return undefined;
  const more = encodeKey(assembleKey([...keyComponents(key), ...keyComponents(bones)]));
  return more.length > packets.length ? more : undefined;
}

/**
 * Formats a trail as a header. The oldest sites of a long trail are dropped, which costs no more
 * than repeated work.
 */
function recipients(trail: readonly string[]): string {
  const entries: string[] = [];
  let bytes = 0;
  for (const address of trail.toReversed()) {
    bytes += address.length + "mailto:, ".length;
    if (bytes > HEADER_BYTES) break;
    entries.unshift(`mailto:${address}`);
  }
  return entries.join(", ");
}

/** Reads the beginning of a reply, `limit` octets or a little more. */
async function head(response: Response, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  if (response.body === null) return Buffer.alloc(0);
  for await (const chunk of response.body) {
    chunks.push(Buffer.from(chunk));
    bytes += chunk.length;
    if (bytes > limit) break;
  }
  return Buffer.concat(chunks);
}

/** Interprets a reply of a keyserver. */
export function answerOf(status: number, text: string): HkpAnswer {
  const words = `${status} ${plain(text)}`.trim().slice(0, WORDS);
  if (isRefusal(status, text)) return { kind: "refused", code: status, words, isOfKey: true };
  const about = isOfServer(status) ? "neighbour" : "update";
  const temporary: HkpAnswer = { kind: "temporary", about, code: status, words };
  if (status !== 200) return temporary;
  const summary = jsonObject(text);
  if (summary !== undefined) return answerOfSummary(summary, words) ?? temporary;
  const isAdded = /Key block added to key server database/i.test(text);
  return isAdded && !/\b(Error|0 key\(s\) added)\b/i.test(text)
    ? { kind: "delivered", how: "taken", reply: words, verifies: false }
    : temporary;
}

/**
 * Whether any other key would get the same status: redirects, access control, a wrong path, too
 * many requests, and replies of a proxy for a keyserver that is down. A 500 may be caused by this
 * key, and so may a 200 with an unknown text.
 */
function isOfServer(status: number): boolean {
  if (status >= 300 && status < 400) return true;
  return OF_SERVER.includes(status) || status > 500;
}

/**
 * Whether a reply that is not JSON refuses this key permanently, while other keys may be accepted.
 */
function isRefusal(status: number, text: string): boolean {
  if (FINAL.includes(status)) return true;
  if (status === 500) return /Error handling request\. Exception raised/.test(text);
  return status === 200 && FINAL_WORDS.test(text);
}

/**
 * Interprets Hockeypuck's summary; undefined for any other JSON object. "inserted": the key was
 * new. "updated": its key grew by the update. "ignored" and "invalid": its key did not grow. None
 * of them proves that it accepted the whole update.
 */
function answerOfSummary(summary: object, words: string): HkpAnswer | undefined {
  const count = (name: string) => {
    const list: unknown = Reflect.get(summary, name);
    return Array.isArray(list) ? list.length : 0;
  };
  if (count("inserted") + count("updated") > 0) {
    return { kind: "delivered", how: "taken", reply: words, verifies: true };
  }
  if (count("ignored") + count("invalid") > 0) return { kind: "unclear", words };
  const isSummary = ["inserted", "updated", "ignored", "invalid"].some((name) => name in summary);
  // Hockeypuck omits empty lists: an empty object means that it found no key in the post.
  if (!isSummary && Object.keys(summary).length > 0) return undefined;
  return { kind: "refused", code: 200, words, isOfKey: true };
}

function jsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Removes markup and style sheets, for display to the operator. */
function plain(text: string): string {
  return text
    .replaceAll(/<style[\s\S]*?<\/style>|<[^>]*>/gi, " ")
    .replaceAll(/[^\x20-\x7e]+|\s+/g, " ")
    .trim();
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  // fetch reports "fetch failed" and gives the reason in `cause`.
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return (cause === "" ? error.message : cause).slice(0, WORDS);
}
