/**
 * The one gate: key material from outside becomes updates here, or a refusal with its reason.
 * Mail, KX and every later way in come through it, so that what is in the log is always one key in
 * canonical order with its hash, and never a secret one. Pure; knows neither where the material
 * came from nor what is already known.
 */
import { Refusal } from "./errors.js";
import { readArmor } from "./openpgp/armor.js";
import { assembleKey, encodeKey, readKeys, type TransferableKey } from "./openpgp/key.js";
import { packetNames } from "./openpgp/news.js";
import { selfSigned } from "./openpgp/skeleton.js";
import { updateHash } from "./openpgp/update-hash.js";
import type { Fingerprint, Update, UpdateHash } from "./update.js";

/** What a piece of material came to: one update a key, and what was refused of it. */
export interface Admission {
  readonly updates: readonly Update[];
  /** Whole keys of which nothing is news. */
  readonly known: readonly Update[];
  readonly refusals: readonly Refusal[];
}

/** Why a key is not carried, or undefined when it is: the operator's policy, see `policy.ts`. */
export type Judgement = (key: TransferableKey) => Refusal | undefined;

/** Carries everything. */
export const ALL: Judgement = () => undefined;

/** What goes on of a key, or undefined when nothing of it is news: see `openpgp/news.ts`. */
export type Cut = (key: TransferableKey) => TransferableKey | undefined;

/** Everything goes on as it came. */
export const WHOLE: Cut = (key) => key;

/**
 * Every key of every armor block in `texts`, each as an update of its own (pksd puts all keys of a
 * submission into one block). Equal updates are returned once. Nothing found at all is a refusal.
 * What is judged is what goes on: a limit on a whole merged key would let anybody pad it until its
 * revocation is refused.
 */
export function admit(
  texts: readonly Uint8Array[],
  judge: Judgement = ALL,
  cut: Cut = WHOLE,
): Admission {
  const updates = new Map<string, Update>();
  const known = new Map<string, Update>();
  const refusals: Refusal[] = [];
  for (const text of texts) {
    for (const block of readArmor(text)) {
      for (const key of block instanceof Refusal ? [block] : readKeys(block.data)) {
        if (key instanceof Refusal) {
          refusals.push(key);
          continue;
        }
        const news = cut(key);
        const refusal = judge(news ?? bare(key));
        const update = refusal ?? updateOf(news ?? key, key);
        if (update instanceof Refusal) refusals.push(update);
        else (news === undefined ? known : updates).set(update.digest, update);
      }
    }
  }
  if (updates.size + known.size === 0 && refusals.length === 0) {
    refusals.push(new Refusal("no-key", "There is no OpenPGP public key in it."));
  }
  return { updates: [...updates.values()], known: [...known.values()], refusals };
}

/**
 * The body of a KX UPDATE: exactly one key in one block, and the very one that was announced.
 * Throws Refusal. The check closes the thesis's attack (3), a bogus UPDATE that suppresses a real
 * one: what does not verify is not marked as seen, and the next announcer is asked.
 */
export function admitAnnounced(
  armor: Uint8Array,
  announced: { readonly hash: UpdateHash; readonly fingerprint: string | undefined },
  judge: Judgement = ALL,
): Update {
  const keys = readArmor(armor).flatMap((block) =>
    block instanceof Refusal ? [block] : readKeys(block.data),
  );
  const [key, ...more] = keys;
  if (key === undefined) throw new Refusal("no-key", "There is no OpenPGP public key in it.");
  for (const one of keys) if (one instanceof Refusal) throw one;
  if (key instanceof Refusal || more.length > 0) {
    throw new Refusal("several-keys", "An UPDATE holds exactly one key.");
  }
  const update = updateOf(key);
  const isSameKey =
    announced.fingerprint === undefined || announced.fingerprint === update.fingerprint;
  if (update.hash !== announced.hash || !isSameKey) {
    throw new Refusal("hash-mismatch", "The key is not the one that was announced.");
  }
  // Last, so that what policy refuses is known to be the update that was announced.
  const refusal = judge(key);
  if (refusal !== undefined) throw refusal;
  return update;
}

/** One key as an update. `whole` is the key that it was cut from: more can be learnt from that. */
export function updateOf(key: TransferableKey, whole: TransferableKey = key): Update {
  const { hash, digest } = updateHash(key);
  const fingerprint: Fingerprint = key.fingerprint;
  return {
    hash,
    digest,
    fingerprint,
    body: encodeKey(key),
    selfSigned: selfSigned(whole),
    packets: packetNames(key),
  };
}

/** What says no more than which key it is. */
function bare({ primary }: TransferableKey): TransferableKey {
  return assembleKey([{ packet: primary.packet, signatures: [] }]);
}
