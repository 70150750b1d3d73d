/**
 * Converts an update from the log to the mails that pksd, SKS, onak and CKS can process, or several
 * waiting updates to one mail. The counterpart of `admit.ts`. `openpgp/fragments.ts` completes and
 * divides the update, `mail/compose.ts` writes the mails. Nothing is sent here.
 *
 * Only the mails are completed. The update in the log is unchanged, since its hash identifies it.
 */

import { Refusal } from "./errors.js";
import { ArmorText, composeIncremental, incrementalHead } from "./mail/compose.js";
import { addressKey, domainOf } from "./mail-address.js";
import { armoredSize, encodeArmor } from "./openpgp/armor.js";
import { type Fragment, fragments, type Uncut, uncut } from "./openpgp/fragments.js";
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

const MEMORY_LIMITS = {
  /** Updates, for each kind of server: somewhat more than a pack holds. */
  updates: 128,
  /** Octets of bodies and of what was made of them. */
  bytes: 8 * 1024 ** 2,
  /** How long it is used: a signature in the skeleton may expire. */
  ms: 60_000,
} as const;

interface Remembered {
  readonly body: Uint8Array;
  readonly skeleton: Uint8Array | undefined;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly key: TransferableKey;
  readonly made: Uncut;
  /** The armor of the fragments, once it is needed. */
  readonly armor: (ArmorText | undefined)[];
  readonly bytes: number;
}

/**
 * What was made of the latest updates, for lanes that send them to many sites: the key, its
 * fragments and their armor. They are used as long as body and skeleton are the same.
 */
export class OutmailMemory {
  readonly #remembered = new Map<string, Remembered>();
  #bytes = 0;

  /** `date` is in milliseconds since 1970. Throws Error if the body is not a key. */
  of(
    update: Stored,
    skeleton: Uint8Array | undefined,
    date: number,
    kind: ServerKind | undefined,
  ): Remembered {
    const name = `${update.seq} ${kind ?? ""}`;
    const known = this.#remembered.get(name);
    const isRecent = known !== undefined && Math.abs(date - known.at) < MEMORY_LIMITS.ms;
    if (isRecent && isSame(known.body, update.body) && isSame(known.skeleton, skeleton)) {
      return known;
    }
    this.#forget(name);
    const { body } = update;
    const key = keyOf(update);
    const made = uncut(key, skeleton, date, kind);
    const packets = made.fragments.reduce((sum, one) => sum + one.packets.length, 0);
    const bytes = body.length + (skeleton?.length ?? 0) + packets + armoredSize(packets);
    const entry = { body, skeleton, at: date, key, made, armor: [], bytes };
    this.#remembered.set(name, entry);
    this.#bytes += bytes;
    for (const oldest of this.#remembered.keys()) {
      const { size } = this.#remembered;
      if (size <= MEMORY_LIMITS.updates && this.#bytes <= MEMORY_LIMITS.bytes) break;
      this.#forget(oldest);
    }
    return entry;
  }

  #forget(name: string): void {
    this.#bytes -= this.#remembered.get(name)?.bytes ?? 0;
    this.#remembered.delete(name);
  }
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
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
  memory = new OutmailMemory(),
): Outmail[] {
  const known = memory.of(update, skeleton, date, envelope.kind);
  const room = roomFor(update, trail, envelope);
  return fitting(known, skeleton, room, date, envelope.kind).map(
    ({ packets, isNamed, armor }, index) => {
      const mail = compose(update, `${index + 1}`, armor(packets), trail, envelope, date);
      return { ...mail, incomplete: !isNamed, oversized: mail.raw.length > envelope.maxBytes };
    },
  );
}

/** The fragments that fit, each with the way to its armor. */
function fitting(
  known: Remembered,
  skeleton: Uint8Array | undefined,
  room: number,
  date: number,
  kind: ServerKind | undefined,
): (Fragment & { readonly armor: (packets: Uint8Array) => ArmorText })[] {
  if (room >= known.made.leastBytes) {
    return known.made.fragments.map((fragment, index) => {
      const armor = (packets: Uint8Array) => (known.armor[index] ??= armorOf(packets));
      return { ...fragment, armor };
    });
  }
  const cut = fragments(known.key, skeleton, room, date, kind);
  return cut.map((fragment) => ({ ...fragment, armor: armorOf }));
}

function armorOf(packets: Uint8Array): ArmorText {
  return new ArmorText(encodeArmor(packets));
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
  readonly #memory: OutmailMemory;
  readonly #packets: Uint8Array[] = [];
  #bytes = 0;
  #trail: readonly string[] = [];
  #last: Stored | undefined;

  /** `date` in milliseconds since 1970. */
  constructor(envelope: Envelope, date: number, memory = new OutmailMemory()) {
    this.#envelope = envelope;
    this.#date = date;
    this.#memory = memory;
  }

  /**
   * Adds an update and returns true, if it is a version 4 key with one plain fragment and a user
   * id, its trail has the same sites as the others, and there is room. Otherwise returns false.
   */
  add(update: Stored, skeleton: Uint8Array | undefined, trail: readonly string[]): boolean {
    if (this.#packets.length === MAX_PACKED) return false;
    if (this.#last !== undefined && !isSameTrail(trail, this.#trail)) return false;
    const { kind } = this.#envelope;
    const known = this.#memory.of(update, skeleton, this.#date, kind);
    if (known.key.version !== 4) return false;
    const room = roomFor(update, trail, this.#envelope);
    const [fragment, ...more] = fitting(known, skeleton, room, this.#date, kind);
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
    const armor = armorOf(packets);
    const mail = compose(this.#last, part, armor, this.#trail, this.#envelope, this.#date);
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
  update: Stored,
  part: string,
  armor: ArmorText,
  trail: readonly string[],
  { to, from, site }: Envelope,
  date: number,
): { readonly messageId: string; readonly raw: Uint8Array } {
  const messageId = messageIdOf(update, part, site);
  return {
    messageId,
    raw: composeIncremental({ to, from, site, trail, date, messageId, armor }),
  };
}

function messageIdOf({ hash, seq }: Stored, part: string, site: string): string {
  return `<${hash}.${seq}.${part}@${domainOf(site)}>`;
}

/** Bytes of armor that fit in a mail. */
function roomFor(update: Stored, trail: readonly string[], envelope: Envelope): number {
  const { to, from, site, maxBytes } = envelope;
  const messageId = messageIdOf(update, "p999", site);
  const head = incrementalHead({ to, from, site, trail, date: 0, messageId });
  const empty = head.length + EMPTY_ARMOR.text.length;
  // A line of armor has 64 characters and LF; in the mail it has CRLF.
  return Math.floor(((maxBytes - empty) * 65) / 66);
}

const EMPTY_ARMOR = armorOf(new Uint8Array(0));

function isSameTrail(a: readonly string[], b: readonly string[]): boolean {
  const sites = (trail: readonly string[]) => trail.map(addressKey).sort().join(" ");
  return a.length === b.length && sites(a) === sites(b);
}
