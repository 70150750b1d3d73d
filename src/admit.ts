/**
 * The one gate: key material from outside becomes updates here, or a refusal with its reason.
 * Mail, KX and every later way in come through it, so that what is in the log is always one key in
 * canonical order with its hash, and never a secret one. Pure; knows neither where the material
 * came from nor what is already known.
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

/** What a piece of material came to: one update a key, and what was refused of it. */
export interface Admission {
  readonly updates: readonly Update[];
  /** Whole keys of which nothing is news. */
  readonly known: readonly Update[];
  /** Each names a key that was not taken. */
  readonly refusals: readonly Refusal[];
  /** Keys that were taken without some of their packets. */
  readonly pruned: readonly Loss[];
}

/** What was left out of a key. */
export interface Loss {
  readonly fingerprint: Fingerprint;
  /** How many packets were over a limit; the signatures under them are not counted. */
  readonly packets: number;
  /** Why the first of them was. */
  readonly why: Refusal;
}

/** Why a key is not carried, or undefined when it is: the operator's policy, see `policy.ts`. */
export type Judgement = (key: TransferableKey) => Refusal | undefined;

/** Carries everything. */
export const ALL: Judgement = () => undefined;

/** A key without what is not carried of it, and why, a reason for each packet. */
export interface Pruned {
  readonly key: TransferableKey;
  readonly dropped: readonly Refusal[];
}

/** What of a key is not carried: single packets of it, and then what is too much as a whole. */
export interface Pruning {
  packets(key: TransferableKey): Pruned;
  total(key: TransferableKey): Pruned;
}

const KEEP = (key: TransferableKey): Pruned => ({ key, dropped: [] });
/** Leaves nothing out. */
export const KEEP_ALL: Pruning = { packets: KEEP, total: KEEP };

/** What goes on of a key, or undefined when nothing of it is news: see `openpgp/news.ts`. */
export type Cut = (key: TransferableKey) => Steps<TransferableKey | undefined>;

/** Everything goes on as it came. */
// biome-ignore lint/correctness/useYield: nothing of it takes long.
export const WHOLE: Cut = function* (key) {
  return key;
};

/**
 * Keys taken from one mail: pksd sends a whole submission, and all answers to LAST, as one. Several
 * thousand real keys fill the largest mail; 100,000 tiny ones are told by their headers.
 */
export const MAX_KEYS = 10_000;

/** Blocks that cannot be read and are looked at beside the keys: `readArmor` stops at fewer. */
const MAX_BAD_BLOCKS = 1001;

/** How material is taken. */
export interface AdmitOptions {
  readonly judge?: Judgement;
  readonly cut?: Cut;
  readonly pruning?: Pruning;
  /** Keys in all, beyond which everything is refused. */
  readonly maxKeys?: number;
}

/**
 * Every key of every armor block in `texts`, each as an update of its own (pksd puts all keys of a
 * submission into one block). Equal updates are returned once. Nothing found at all is a refusal.
 * Throws Refusal 'too-large' ('several-keys' when one is allowed) for more keys than `maxKeys`.
 */
export function admit(texts: readonly Uint8Array[], options: AdmitOptions = {}): Admission {
  return finish(admitting(texts, options));
}

/**
 * The same in steps. Single packets are pruned first, then the key is cut down to its news, then
 * that is limited: a limit on a whole merged key would let anybody pad it until its revocation is
 * refused.
 */
export function* admitting(
  texts: readonly Uint8Array[],
  { judge = ALL, cut = WHOLE, pruning = KEEP_ALL, maxKeys = MAX_KEYS }: AdmitOptions,
): Steps<Admission> {
  const updates = new Map<string, Update>();
  const known = new Map<string, Update>();
  const refusals: Refusal[] = [];
  const pruned: Loss[] = [];
  for (const key of yield* keysIn(texts, maxKeys)) {
    if (key instanceof Refusal) {
      refusals.push(key);
      continue;
    }
    const { fingerprint } = key;
    // A key may have 100,000 packets, and each look at all of them takes milliseconds.
    yield;
    const first = pruning.packets(key);
    const [why] = first.dropped;
    if (why !== undefined && isBare(first.key)) {
      refusals.push(about(why, fingerprint));
      continue;
    }
    const cutDown = yield* cut(first.key);
    yield;
    const last = pruning.total(cutDown ?? bare(key));
    yield;
    const refusal = judge(last.key);
    if (refusal !== undefined) {
      refusals.push(about(refusal, fingerprint));
      continue;
    }
    const [reason] = [...first.dropped, ...last.dropped];
    const packets = first.dropped.length + last.dropped.length;
    if (reason !== undefined) pruned.push({ fingerprint, packets, why: reason });
    const update = yield* updating(cutDown === undefined ? first.key : last.key, first.key);
    (cutDown === undefined ? known : updates).set(update.digest, update);
    yield;
  }
  if (updates.size + known.size === 0 && refusals.length === 0) {
    refusals.push(new Refusal("no-key", "There is no OpenPGP public key in it."));
  }
  return { updates: [...updates.values()], known: [...known.values()], refusals, pruned };
}

/** The keys of all blocks. Throws Refusal for more than `most`, before they are put in order. */
function* keysIn(texts: readonly Uint8Array[], most: number): Steps<(TransferableKey | Refusal)[]> {
  const blocks: (ArmorBlock | Refusal)[] = [];
  for (const text of texts) {
    // One at a time, since the rest need not be decoded when there are too many already.
    for (const block of yield* readingArmor(text, most + MAX_BAD_BLOCKS)) {
      blocks.push(block);
    }
  }
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
  if (most === 1) return new Refusal("several-keys", "There is more than one key in it.");
  const advice = "send them in several mails";
  return new Refusal("too-large", `There are more than ${most} keys in it; ${advice}.`);
}

/** The refusal of a key whose name is known. */
function about({ reason, message }: Refusal, fingerprint: Fingerprint): Refusal {
  return new Refusal(reason, message, fingerprint);
}

/** What an UPDATE has to be. */
export interface Announced {
  readonly hash: UpdateHash;
  readonly fingerprint: string | undefined;
}

/**
 * The body of a KX UPDATE: exactly one key in one block, and the very one that was announced.
 * Throws Refusal. The check closes the thesis's attack (3), a bogus UPDATE that suppresses a real
 * one: what does not verify is not marked as seen, and the next announcer is asked.
 */
export function admitAnnounced(
  armor: Uint8Array,
  announced: Announced,
  judge: Judgement = ALL,
): Update {
  return finish(admittingAnnounced(armor, announced, judge));
}

/** The same in steps: an UPDATE may have 8 MiB. */
export function* admittingAnnounced(
  armor: Uint8Array,
  announced: Announced,
  judge: Judgement = ALL,
): Steps<Update> {
  const [key] = (yield* keysIn([armor], 1)).toSorted(refusalsFirst);
  if (key === undefined) throw new Refusal("no-key", "There is no OpenPGP public key in it.");
  if (key instanceof Refusal) throw key;
  const name = yield* namingUpdate(key);
  const isSameKey =
    announced.fingerprint === undefined || announced.fingerprint === key.fingerprint;
  if (name.hash !== announced.hash || !isSameKey) {
    throw new Refusal("hash-mismatch", "The key is not the one that was announced.");
  }
  // Last, so that what policy refuses is known to be the update that was announced.
  const refusal = judge(key);
  if (refusal !== undefined) throw refusal;
  return yield* updating(key, key, name);
}

function refusalsFirst(a: TransferableKey | Refusal, b: TransferableKey | Refusal): number {
  return Number(b instanceof Refusal) - Number(a instanceof Refusal);
}

/** One key as an update. `whole` is the key that it was cut from: more can be learnt from that. */
export function updateOf(key: TransferableKey, whole: TransferableKey = key): Update {
  return finish(updating(key, whole));
}

/** The same in steps. */
export function* updating(
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

/** Whether nothing but the primary key is left. */
export function isBare({ primary, userIds, subkeys }: TransferableKey): boolean {
  return primary.signatures.length + userIds.length + subkeys.length === 0;
}

/** What says no more than which key it is. */
function bare({ primary }: TransferableKey): TransferableKey {
  return assembleKey([{ packet: primary.packet, signatures: [] }]);
}
