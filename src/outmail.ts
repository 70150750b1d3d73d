/**
 * Converts an update from the log to the mails that pksd, SKS, onak and CKS can process, or several
 * waiting updates to one mail. The counterpart of `admit.ts`. `openpgp/fragments.ts` completes and
 * divides the update, `mail/compose.ts` writes the mails. Nothing is sent here.
 *
 * Only the mails are completed. The update in the log is unchanged, since its hash identifies it.
 */

import { Refusal } from "./errors.js";
import { composeIncremental } from "./mail/compose.js";
import { addressKey, domainOf } from "./mail-address.js";
import { armoredSize, encodeArmor } from "./openpgp/armor.js";
import { fragments } from "./openpgp/fragments.js";
import { readKeys, type TransferableKey } from "./openpgp/key.js";
import type { ServerKind } from "./server-kinds.js";
import type { Seq, UpdateHash } from "./update.js";

/** The addresses and the size limit of a mail. */
export interface Envelope {
  /** The address of the site. */
  readonly to: string;
  /** Our contact address. */
  readonly from: string;
  /** Our own address for the trail. */
  readonly site: string;
  /** The largest mail that the site accepts, in bytes. */
  readonly maxBytes: number;
  /** What the site runs, if that is known. */
  readonly kind?: ServerKind | undefined;
}

export interface Outmail {
  /** The message with CRLF, without dot-stuffing. */
  readonly raw: Uint8Array;
  readonly messageId: string;
  /** Whether the key has no user id, because none is known, and the site may need one. */
  readonly incomplete: boolean;
  /** Whether the mail is above the limit because a single packet is. */
  readonly oversized: boolean;
}

/** An update in the log; its body is one key. */
export interface Stored {
  readonly seq: Seq;
  readonly hash: UpdateHash;
  readonly body: Uint8Array;
}

/**
 * The mails with one update for one site; none if a site of its kind can process nothing of it.
 * Each has its own Message-ID, which is the same when the mail is made again after a crash.
 * `skeleton` is the stored skeleton of the key, `date` is in milliseconds since 1970.
 */
export function outmails(
  update: Stored,
  skeleton: Uint8Array | undefined,
  trail: readonly string[],
  envelope: Envelope,
  date: number,
): Outmail[] {
  const key = keyOf(update);
  const room = roomFor(update, trail, envelope);
  return fragments(key, skeleton, room, date, envelope.kind).map(({ packets, isNamed }, index) => {
    const mail = compose(update, `${index + 1}`, packets, trail, envelope, date);
    return { ...mail, incomplete: !isNamed, oversized: mail.raw.length > envelope.maxBytes };
  });
}

/** Most updates in one mail. pksd processes a mail of 200 at once, and one mail in 3 s. */
const MAX_PACKED = 100;

/**
 * Several updates in one armor block, for a site that has to catch up. It takes only keys that all
 * servers can process, since some lose all keys of a block after one that they cannot process.
 */
export class MailPack {
  readonly #envelope: Envelope;
  readonly #date: number;
  readonly #packets: Uint8Array[] = [];
  #bytes = 0;
  #trail: readonly string[] = [];
  #last: Stored | undefined;

  /** `date` in milliseconds since 1970. */
  constructor(envelope: Envelope, date: number) {
    this.#envelope = envelope;
    this.#date = date;
  }

  /**
   * Adds an update and returns true, if it is a version 4 key with one plain fragment and a user
   * id, its trail has the same sites as the others, and there is room. Otherwise returns false.
   */
  add(update: Stored, skeleton: Uint8Array | undefined, trail: readonly string[]): boolean {
    if (this.#packets.length === MAX_PACKED) return false;
    if (this.#last !== undefined && !isSameTrail(trail, this.#trail)) return false;
    const key = keyOf(update);
    if (key.version !== 4) return false;
    const room = roomFor(update, trail, this.#envelope);
    const { kind } = this.#envelope;
    const [fragment, ...more] = fragments(key, skeleton, room, this.#date, kind);
    if (fragment?.kind !== "plain" || !fragment.isNamed || more.length > 0) return false;
    const bytes = this.#bytes + fragment.packets.length;
    if (armoredSize(bytes) > room) return false;
    this.#packets.push(fragment.packets);
    this.#bytes = bytes;
    this.#trail = trail;
    this.#last = update;
    return true;
  }

  /** The mail with all added updates. Throws Error without any. */
  mail(): Outmail {
    if (this.#last === undefined) throw new Error("a mail needs at least one update");
    const packets = Buffer.concat(this.#packets);
    const part = `p${this.#packets.length}`;
    const mail = compose(this.#last, part, packets, this.#trail, this.#envelope, this.#date);
    return { ...mail, incomplete: false, oversized: mail.raw.length > this.#envelope.maxBytes };
  }
}

function keyOf({ body }: Stored): TransferableKey {
  const [key] = readKeys(body);
  if (key === undefined || key instanceof Refusal)
    throw new Error("a body in the log is not a key");
  return key;
}

function compose(
  { hash, seq }: Stored,
  part: string,
  packets: Uint8Array,
  trail: readonly string[],
  { to, from, site }: Envelope,
  date: number,
): { readonly messageId: string; readonly raw: Uint8Array } {
  const messageId = `<${hash}.${seq}.${part}@${domainOf(site)}>`;
  const armor = encodeArmor(packets);
  return {
    messageId,
    raw: composeIncremental({ to, from, site, trail, date, messageId, armor }),
  };
}

/** Bytes of armor that fit in a mail. */
function roomFor(update: Stored, trail: readonly string[], envelope: Envelope): number {
  const empty = compose(update, "p999", new Uint8Array(0), trail, envelope, 0).raw.length;
  // A line of armor has 64 characters and LF; in the mail it has CRLF.
  return Math.floor(((envelope.maxBytes - empty) * 65) / 66);
}

function isSameTrail(a: readonly string[], b: readonly string[]): boolean {
  const sites = (trail: readonly string[]) => trail.map(addressKey).sort().join(" ");
  return a.length === b.length && sites(a) === sites(b);
}
