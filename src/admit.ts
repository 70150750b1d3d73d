/**
 * Converts received key material to updates, or to refusals with a reason. Mail, KX, HKP and all
 * other inputs use it, so each update in the log is one public key in canonical order with its
 * hash, and never a secret key. The origin of the material and the contents of the log are not
 * known here; policy and news are functions in the arguments.
 */
import { Refusal } from "./errors.js";
import { type ArmorBlock, readingArmor } from "./openpgp/armor.js";
import {
  assembleKey,
  encodeKey,
  hasMoreKeys,
  readingKeys,
  type TransferableKey,
} from "./openpgp/key.js";
import { namingPackets } from "./openpgp/news.js";
import { selfSigning } from "./openpgp/skeleton.js";
import { namingUpdate, type UpdateName } from "./openpgp/update-hash.js";
import { finish, type Steps } from "./steps.js";
import type { Fingerprint, Update, UpdateHash } from "./update.js";

/** The result for key material: one update per key, and the refusals. */
export interface Admission {
  /** A key without news is among them as it came: the log finds no unknown packet in it. */
  readonly updates: readonly Update[];
  /** The reasons for keys that were refused. */
  readonly refusals: readonly Refusal[];
  /** Keys that were accepted without some of their packets. */
  readonly pruned: readonly Loss[];
}

/** The packets that were dropped from a key. */
export interface Loss {
  readonly fingerprint: Fingerprint;
  /** The number of packets above a limit, without the signatures under them. */
  readonly packets: number;
  /** The reason for the first of them. */
  readonly why: Refusal;
}

/** The policy for a key (`policy.ts`): a refusal, or undefined for a key that is carried. */
export type Judgement = (key: TransferableKey) => Refusal | undefined;

/** A policy without refusals. */
export const ALL: Judgement = () => undefined;

/** A key without the dropped packets, and a reason for each of them. */
export interface Pruned {
  readonly key: TransferableKey;
  readonly dropped: readonly Refusal[];
}

/** Drops packets by policy: single packets first, then those above the limits of a whole key. */
export interface Pruning {
  packets(key: TransferableKey): Pruned;
  total(key: TransferableKey): Pruned;
}

const KEEP = (key: TransferableKey): Pruned => ({ key, dropped: [] });
/** Whether the log has this very update, and has learned from it today. */
export type IsHeld = (name: UpdateName) => boolean;

/** Drops nothing. */
export const KEEP_ALL: Pruning = { packets: KEEP, total: KEEP };

/** The part of a key that is forwarded, or undefined without news (`openpgp/news.ts`). */
export type Cut = (key: TransferableKey) => Steps<TransferableKey | undefined>;

/** Forwards keys unchanged. */
// biome-ignore lint/correctness/useYield: it takes no time.
export const WHOLE: Cut = function* (key) {
  return key;
};

/**
 * Most keys in one mail. pksd sends a whole submission, and the answer to LAST, as one mail. The
 * largest mail has room for several thousand real keys. 100,000 tiny ones are recognised by their
 * packet headers.
 */
export const MAX_KEYS = 10_000;

/** Refused blocks that are read in addition to the keys. `readArmor` stops at fewer. */
const MAX_BAD_BLOCKS = 1001;

/** Settings of `admit`. */
export interface AdmitOptions {
  readonly judge?: Judgement;
  readonly cut?: Cut;
  readonly pruning?: Pruning;
  /** Such a key is neither cut nor are its packets named. By default no key is held. */
  readonly isHeld?: IsHeld | undefined;
  /** Most keys in total; above it all of them are refused. */
  readonly maxKeys?: number;
}

/**
 * Converts each key of each armor block in `texts` to an update (pksd puts all keys of a submission
 * into one block). Equal updates are returned once. Texts without any key give a refusal. Throws
 * Refusal 'too-large' ('several-keys' when `maxKeys` is 1) for more keys than `maxKeys`.
 */
export function admit(texts: readonly Uint8Array[], options: AdmitOptions = {}): Admission {
  return finish(admitting(texts, options));
}

/**
 * The same in steps. Single packets are dropped first, then the key is cut to its news, then the
 * limits of a whole key apply to the news. If they applied to the merged key, anybody could pad a
 * key until its revocation is refused.
 */
export function* admitting(
  texts: readonly Uint8Array[],
  { judge = ALL, cut = WHOLE, pruning = KEEP_ALL, isHeld, maxKeys = MAX_KEYS }: AdmitOptions,
): Steps<Admission> {
  const updates = new Map<string, Update>();
  const refusals: Refusal[] = [];
  const pruned: Loss[] = [];
  for (const key of yield* keysIn(texts, maxKeys)) {
    if (key instanceof Refusal) {
      refusals.push(key);
      continue;
    }
    const taken = yield* takingOver(key, { judge, cut, pruning, isHeld });
    if (taken instanceof Refusal) {
      refusals.push(taken);
      continue;
    }
    const { rest, kept, loss, held } = taken;
    if (loss !== undefined) pruned.push(loss);
    const update = held === undefined ? yield* updating(rest, kept) : heldUpdate(rest, held);
    updates.set(update.digest, update);
    yield;
  }
  if (updates.size === 0 && refusals.length === 0) {
    refusals.push(new Refusal("no-key", "No OpenPGP public key was found."));
  }
  return { updates: [...updates.values()], refusals, pruned };
}

/** What of a key goes on. */
interface TakenOver {
  readonly rest: TransferableKey;
  /** The key without the single packets that policy drops: the skeleton learns from it. */
  readonly kept: TransferableKey;
  readonly loss: Loss | undefined;
  /** The name of `rest` if the log has it. */
  readonly held: UpdateName | undefined;
}

/**
 * What policy and news leave of a key, or why nothing is left. Without news the rest is the whole
 * key, of which the log finds that nothing is unknown.
 */
function* takingOver(
  key: TransferableKey,
  { judge, cut, pruning, isHeld }: Required<AnnouncedOptions> & Pick<AdmitOptions, "isHeld">,
): Steps<TakenOver | Refusal> {
  const { fingerprint } = key;
  // A key may have 100,000 packets; each pass over them takes milliseconds.
  yield;
  const first = pruning.packets(key);
  const [why] = first.dropped;
  if (why !== undefined && isBare(first.key)) return about(why, fingerprint);
  const name = isHeld && (yield* namingUpdate(first.key));
  const held = name && isHeld?.(name) ? name : undefined;
  const cutDown = held === undefined ? yield* cut(first.key) : undefined;
  yield;
  const last = pruning.total(cutDown ?? bare(key));
  yield;
  const refusal = judge(last.key);
  if (refusal !== undefined) return about(refusal, fingerprint);
  const [reason] = [...first.dropped, ...last.dropped];
  const packets = first.dropped.length + last.dropped.length;
  const loss = reason && { fingerprint, packets, why: reason };
  return { rest: cutDown === undefined ? first.key : last.key, kept: first.key, loss, held };
}

/** The keys of all blocks. Throws Refusal for more than `most` keys. */
function* keysIn(texts: readonly Uint8Array[], most: number): Steps<(TransferableKey | Refusal)[]> {
  const blocks: (ArmorBlock | Refusal)[] = [];
  for (const text of texts) {
    // `most` limits the blocks of each text, so that not all are decoded when there are too many.
    for (const block of yield* readingArmor(text, most + MAX_BAD_BLOCKS)) {
      blocks.push(block);
    }
  }
  return yield* keysOf(blocks, most);
}

/** The same of blocks that are not armored; more than `most` are found before they are sorted. */
function* keysOf(
  blocks: readonly (Pick<ArmorBlock, "data"> | Refusal)[],
  most: number,
): Steps<(TransferableKey | Refusal)[]> {
  const keys: (TransferableKey | Refusal)[] = [];
  for (const block of blocks) {
    if (block instanceof Refusal) continue;
    if (yield* hasMoreKeys(block.data, most)) throw tooMany(most);
  }
  let count = 0;
  for (const block of blocks) {
    if (block instanceof Refusal) {
      keys.push(block);
      continue;
    }
    for (const key of yield* readingKeys(block.data, most)) {
      if (!(key instanceof Refusal)) count += 1;
      if (count > most) throw tooMany(most);
      keys.push(key);
    }
  }
  return keys;
}

function tooMany(most: number): Refusal {
  if (most === 1) return new Refusal("several-keys", "More than one key was found.");
  const advice = "send them in several mails";
  return new Refusal("too-large", `More than ${most} keys were found; ${advice}.`);
}

/** The refusal with the fingerprint of its key. */
function about({ reason, message }: Refusal, fingerprint: Fingerprint): Refusal {
  return new Refusal(reason, message, fingerprint);
}

/** The announcement that an UPDATE must match. */
export interface Announced {
  readonly hash: UpdateHash;
  /** Undefined if only the MD5 was announced. */
  readonly digest?: string | undefined;
  readonly fingerprint: string | undefined;
}

/** The body of an UPDATE: an armor block or packets. */
export interface AnnouncedBody {
  readonly bytes: Uint8Array;
  readonly isArmored: boolean;
}

/** What of an announced update is to be appended. */
export interface AdmittedAnnounced {
  /** The names of what was announced. */
  readonly name: UpdateName;
  /** The announced update, or what policy left of it: an update with a hash of its own. */
  readonly update: Update;
  readonly loss: Loss | undefined;
}

/** What is done with an announced update that is the right one. */
export type AnnouncedOptions = Pick<AdmitOptions, "judge" | "cut" | "pruning">;

/**
 * Converts the body of a KX UPDATE: exactly one key, with the announced names. Throws Refusal. This
 * prevents attack (3) of the thesis, a bogus UPDATE that suppresses a real one: an UPDATE with
 * another hash is not remembered, and the next announcer is asked.
 *
 * In steps, because an UPDATE may have 8 MiB. The key is not cut to its news, so that its hash
 * stays the announced one. Only a key above the limits of a whole key is cut, as one from a mail.
 */
export function* admittingAnnounced(
  { bytes, isArmored }: AnnouncedBody,
  announced: Announced,
  { judge = ALL, cut = WHOLE, pruning = KEEP_ALL }: AnnouncedOptions = {},
): Steps<AdmittedAnnounced> {
  const keys = isArmored ? yield* keysIn([bytes], 1) : yield* keysOf([{ data: bytes }], 1);
  const [key] = keys.toSorted(refusalsFirst);
  if (key === undefined) throw new Refusal("no-key", "No OpenPGP public key was found.");
  if (key instanceof Refusal) throw key;
  const name = yield* namingUpdate(key);
  const isSameKey =
    announced.fingerprint === undefined || announced.fingerprint === key.fingerprint;
  const hasDigest = announced.digest === undefined || announced.digest === name.digest;
  if (name.hash !== announced.hash || !hasDigest || !isSameKey) {
    throw new Refusal("hash-mismatch", "The key is not the one that was announced.");
  }
  // Policy is last, so that a refused update is certainly the announced one.
  const isOver = pruning.total(pruning.packets(key).key).dropped.length > 0;
  const taken = yield* takingOver(key, { judge, cut: isOver ? cut : WHOLE, pruning });
  if (taken instanceof Refusal) throw taken;
  const { rest, kept, loss } = taken;
  const update = yield* updating(rest, kept, rest === key ? name : undefined);
  return { name, update, loss };
}

function refusalsFirst(a: TransferableKey | Refusal, b: TransferableKey | Refusal): number {
  return Number(b instanceof Refusal) - Number(a instanceof Refusal);
}

/** One key as an update. `whole` is the key that it was cut from, for the skeleton. */
export function updateOf(key: TransferableKey, whole: TransferableKey = key): Update {
  return finish(updating(key, whole));
}

/** The same in steps. */
function* updating(
  key: TransferableKey,
  whole: TransferableKey = key,
  name?: UpdateName,
): Steps<Update> {
  const { fingerprint } = key;
  const { hash, digest } = name ?? (yield* namingUpdate(key));
  yield;
  const selfSigned = yield* selfSigning(whole);
  const packets = yield* namingPackets(key);
  return { hash, digest, fingerprint, body: encodeKey(key), selfSigned, packets };
}

/** An update that the log has. */
function heldUpdate(key: TransferableKey, { hash, digest }: UpdateName): Update {
  const { fingerprint } = key;
  let made: Update | undefined;
  const whole = () => {
    made ??= updateOf(key);
    return made;
  };
  return {
    ...{ hash, digest, fingerprint, body: encodeKey(key), isHeld: true },
    get selfSigned() {
      return whole().selfSigned;
    },
    get packets() {
      return whole().packets;
    },
  };
}

/** Whether a key has only its primary key packet. */
export function isBare({ primary, userIds, subkeys }: TransferableKey): boolean {
  return primary.signatures.length + userIds.length + subkeys.length === 0;
}

/** The key with only its primary key packet. */
function bare({ primary }: TransferableKey): TransferableKey {
  return assembleKey([{ packet: primary.packet, signatures: [] }]);
}
