/**
 * The gate out to legacy sites, the mirror of `admit.ts`: an update from the log becomes the mails
 * that pksd, SKS, onak and CKS can take, or several that wait become one. Pure: puts the OpenPGP
 * fragments (completion, what must travel alone, the size cap) into mails of the dialect. Sends
 * nothing, and knows no schedule.
 *
 * The update itself stays what it is: its hash is its name. Only the mails are completed.
 */
import type { ServerKind } from "./config/kinds.js";
import { Refusal } from "./errors.js";
import { composeIncremental } from "./mail/compose.js";
import { addressKey, domainOf } from "./mail-address.js";
import { armoredSize, encodeArmor } from "./openpgp/armor.js";
import { fragments } from "./openpgp/fragments.js";
import { readKeys, type TransferableKey } from "./openpgp/key.js";
import type { Seq, UpdateHash } from "./update.js";

/** Who a mail goes to and comes from. */
export interface Envelope {
  /** The site's address. */
  readonly to: string;
  /** Our contact address. */
  readonly from: string;
  /** Our own address in the trail. */
  readonly site: string;
  /** Most bytes of one mail, as the site counts them. */
  readonly maxBytes: number;
  /** What the site runs, if that is known. */
  readonly kind?: ServerKind | undefined;
}

export interface Outmail {
  /** The message on the wire, CRLF, not dot-stuffed. */
  readonly raw: Uint8Array;
  readonly messageId: string;
  /** Its key shows no user id, because none is known, and the site may need one. */
  readonly incomplete: boolean;
  /** Larger than allowed, since one packet alone is. */
  readonly oversized: boolean;
}

/** An update as the log holds it: its body is one key. */
export interface Stored {
  readonly seq: Seq;
  readonly hash: UpdateHash;
  readonly body: Uint8Array;
}

/**
 * The mails that carry one update to one site, each with its own Message-ID, which is the same when
 * the mail is made again after a crash; none when a site of its kind takes nothing of it.
 * `skeleton` is what the log remembers of the update's key; `date` in milliseconds since 1970.
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

/** Updates in one mail: pksd works through a mail of 200 at once, and its queue by one in 3 s. */
const MAX_PACKED = 100;

/**
 * Several updates in one armor block, for a site that has to catch up. Only what every server is
 * known to read on behind goes in: of a block, some lose all that follows a key they choke on.
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
   * Adds an update, unless it has to travel alone or in company of its own: a key of version 4 and
   * one plain fragment with a user id, known to the same sites as the others, while there is room.
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

  /** The mail that carries all of them, at least one. */
  mail(): Outmail {
    if (this.#last === undefined) throw new Error("an empty pack is no mail");
    const packets = Buffer.concat(this.#packets);
    const part = `p${this.#packets.length}`;
    const mail = compose(this.#last, part, packets, this.#trail, this.#envelope, this.#date);
    return { ...mail, incomplete: false, oversized: mail.raw.length > this.#envelope.maxBytes };
  }
}

function keyOf({ body }: Stored): TransferableKey {
  const [key] = readKeys(body);
  if (key === undefined || key instanceof Refusal) throw new Error("a body in the log is no key");
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

/** How much armor a mail may hold. */
function roomFor(update: Stored, trail: readonly string[], envelope: Envelope): number {
  const empty = compose(update, "p999", new Uint8Array(0), trail, envelope, 0).raw.length;
  // Armor comes in lines of 64 and LF; on the wire each line has a CR more.
  return Math.floor(((envelope.maxBytes - empty) * 65) / 66);
}

function isSameTrail(a: readonly string[], b: readonly string[]): boolean {
  const sites = (trail: readonly string[]) => trail.map(addressKey).sort().join(" ");
  return a.length === b.length && sites(a) === sites(b);
}
