/**
 * The skeleton of a key: each user id with its newest certification, each subkey with its newest
 * binding, and their revocations. An update alone is often not enough for a receiver: pksd deletes
 * a subkey that a mail omits, and Hockeypuck drops a user id without a self-signature in the same
 * request. The missing packets are taken from the skeleton.
 *
 * The skeleton has only self-signatures that verify, that are not from the future, and that have
 * not expired. Otherwise anybody could have a forged signature sent in place of the genuine one. It
 * has no signatures of other keys and no user attributes, which no server needs.
 */
import { Refusal } from "../errors.js";
import { finish, type Steps } from "../steps.js";
import {
  assembling,
  type Component,
  keyComponents,
  mergeComponents,
  readKeys,
  type TransferableKey,
} from "./key.js";
import {
  comparePackets,
  encodedSize,
  encodePackets,
  type Packet,
  PacketCursor,
  packetKey,
  readPackets,
  TAG,
} from "./packet.js";
import { SelfCheck } from "./self-check.js";
import { type SignatureInfo, selfSignatureInfo, signatureInfo } from "./signature.js";

/**
 * Size limits. The largest skeleton in Debian's keyring has 57 components and 70 kB. Components
 * above the limits are omitted, from the end of the order of `ranked`.
 */
export const SKELETON_LIMITS = { bytes: 100_000, components: 200 } as const;
/** Most signatures that are verified for one update; each takes about 0.1 ms. */
const MAX_CHECKS = 128;
/** Most components, signatures under each component, and signatures in total of an update. */
const MAX_SIGNED = 500;
const MAX_RIVALS = 64;
const MAX_CLAIMS = 2000;
/** Signatures between steps; each costs about a microsecond. */
const STEP_SIGNATURES = 200;
/** How far the clock of a signer may be ahead of ours. */
const SKEW_MS = 24 * 60 * 60_000;

/** The rank of user ids in `ranked`, except the best one. */
const RANK_OF_NAMES = 6;

/** Signature types, by the tag of the component that they confirm or revoke. */
const CONFIRMING: Readonly<Record<number, readonly number[]>> = {
  [TAG.publicKey]: [0x1f],
  [TAG.userId]: [0x10, 0x11, 0x12, 0x13],
  [TAG.publicSubkey]: [0x18],
};
const REVOKING: Readonly<Record<number, number>> = {
  [TAG.userId]: 0x30,
  [TAG.publicSubkey]: 0x28,
};
/** RSA, Elgamal and DSA: the algorithms that pksd supports. */
const OLD_ALGORITHMS: readonly number[] = [1, 2, 3, 16, 17, 20];
/** RSA and Elgamal except sign-only RSA: used for encryption when there are no key flags. */
const ENCRYPTING_ALGORITHMS: readonly number[] = [1, 2, 16, 20];
/** Key flags: encrypts communications, encrypts storage (RFC 9580 section 5.2.3.29). */
const ENCRYPTS = 0x04 | 0x08;

/** A signature and its unverified fields. */
interface Claim {
  readonly packet: Packet;
  readonly info: SignatureInfo;
}

/** A component with its newest confirmation and its newest revocation. */
interface Bone {
  readonly packet: Packet;
  readonly confirmation: Claim | undefined;
  readonly revocation: Claim | undefined;
}

/**
 * The key with only its self-signatures, encoded: the input of `grown`. Undefined when it has no
 * self-signature and no user id.
 */
export function selfSigned(key: TransferableKey): Uint8Array | undefined {
  return finish(selfSigning(key));
}

/** The same in steps. */
export function* selfSigning(key: TransferableKey): Steps<Uint8Array | undefined> {
  const signed: Component[] = [];
  let left = MAX_CLAIMS;
  for (const { packet, signatures } of keyComponents(key)) {
    const claims = (yield* newestClaims(key, packet, signatures)).slice(0, left);
    const kept = claims.map((one) => one.packet).toSorted(comparePackets);
    if (claims.length > 0) signed.push({ packet, signatures: kept });
    left -= claims.length;
    if (signed.length === MAX_SIGNED || left === 0) break;
  }
  if (!signed.some(({ packet }) => packet.tag === TAG.userId)) {
    const unsigned = key.userIds.find(({ packet }) => packet.tag === TAG.userId);
    if (unsigned !== undefined) signed.push({ packet: unsigned.packet, signatures: [] });
  }
  if (signed.length === 0) return undefined;
  const { packet: primary } = key.primary;
  if (!signed.some(({ packet }) => packet === primary)) {
    signed.push({ packet: primary, signatures: [] });
  }
  // By their tags, the components of a key are in canonical order: no user attribute is signed.
  const inOrder = signed.toSorted((a, b) => a.packet.tag - b.packet.tag);
  return encodePackets(inOrder.flatMap(({ packet, signatures }) => [packet, ...signatures]));
}

/** The newest self-signatures under a component, at most `MAX_RIVALS`, in steps. */
function* newestClaims(
  key: TransferableKey,
  parent: Packet,
  signatures: readonly Packet[],
): Steps<Claim[]> {
  let newest: Claim[] = [];
  for (const [index, signature] of signatures.entries()) {
    if (index % STEP_SIGNATURES === STEP_SIGNATURES - 1) yield;
    const claim = claimOf(key, parent, signature);
    if (claim === undefined) continue;
    newest.push(claim);
    if (newest.length === 4 * MAX_RIVALS) newest = newestFirst(newest, 0).slice(0, MAX_RIVALS);
  }
  return newestFirst(newest, 0).slice(0, MAX_RIVALS);
}

/**
 * The new skeleton after an update at `at` (ms since 1970). `came` is the result of `selfSigned`
 * for the update, `stored` the former skeleton. The order of updates makes no difference as long as
 * the limits are not reached.
 */
export function grown(stored: Uint8Array | undefined, came: Uint8Array, at: number): Uint8Array {
  if (stored !== undefined && teachesNothing(stored, came, at)) return stored;
  const [key] = readKeys(came);
  if (key === undefined || key instanceof Refusal) return stored ?? new Uint8Array(0);
  const old = componentsOf(stored, key.primary.packet);
  const check = new SelfCheck(key.primary.packet);
  let checks = 0;
  const holds = (packet: Packet, signature: Packet): boolean => {
    checks += 1;
    return checks <= MAX_CHECKS && check.holds(packet, signature) !== false;
  };
  const oldSignatures = new Map(old.map((one) => [packetKey(one.packet), one.signatures]));
  const bones = mergeComponents([...old, ...keyComponents(key)]).map(({ packet, signatures }) => {
    const known = oldSignatures.get(packetKey(packet)) ?? [];
    const claims = signatures.flatMap((signature) => {
      const claim = claimOf(key, packet, signature);
      if (claim === undefined) return [];
      const isKnown = known.some((one) => isEqual(one, signature));
      return isKnown || isTimely(claim, at) ? [{ ...claim, isKnown }] : [];
    });
    // A known signature was verified before. To verify it again would cost 0.1 ms, and would take
    // it out of the skeleton when forged ones have used up the checks.
    return boneOf(packet, newestFirst(claims, at), (claim) => {
      return claim.isKnown || holds(packet, claim.packet);
    });
  });
  return encodePackets(packetsOf(fitting(bones, at)));
}

/**
 * Whether `grown` certainly leaves the skeleton as it is, found without reading the keys: each
 * component that came is in the skeleton with each of its signatures or with newer ones, or is a
 * user id without a signature beside a certified one. Nearly all updates are signatures of other
 * keys and teach nothing. Both inputs are in canonical order, so one walk compares them.
 */
function teachesNothing(stored: Uint8Array, came: Uint8Array, at: number): boolean {
  try {
    const [known, one] = [new PacketCursor(stored), new PacketCursor(came)];
    known.next();
    one.next();
    while (one.tag !== -1) {
      const { tag, start } = one;
      const signaturesAt = one.end;
      one.next();
      if (one.tag !== TAG.signature) {
        if (tag === TAG.publicKey) continue;
        if (tag === TAG.userId && hasCertifiedName(known)) continue;
      }
      const component = { tag, start, end: signaturesAt };
      if (!goTo(known, one, component)) return false;
      for (; one.tag === TAG.signature; one.next()) {
        if (!isUnder(known, one) && !isOutdone(known, one, at)) return false;
      }
    }
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** Moves `known` forwards to a component of the data of `one`; false if there is none. */
function goTo(
  known: PacketCursor,
  one: PacketCursor,
  { tag, start, end }: { readonly tag: number; readonly start: number; readonly end: number },
): boolean {
  for (; known.tag !== -1; known.next()) {
    if (known.tag === TAG.signature) continue;
    const order =
      known.tag - tag || known.data.compare(one.data, start, end, known.start, known.end);
    if (order >= 0) return order === 0;
  }
  return false;
}

/** Whether the component at which `known` is has this signature; `known` stays where it is. */
function isUnder(known: PacketCursor, signature: PacketCursor): boolean {
  const { at } = known;
  let isFound = false;
  for (known.next(); !isFound && known.tag === TAG.signature; known.next()) {
    isFound = known.compare(signature) === 0;
  }
  known.next(at);
  return isFound;
}

/**
 * Whether the component at which `known` is has a confirmation that is preferred to this one, which
 * is then of no use, genuine or not; `known` stays where it is.
 */
function isOutdone(known: PacketCursor, signature: PacketCursor, at: number): boolean {
  const types = CONFIRMING[known.tag] ?? [];
  const info = signatureInfo(signature.body);
  if (info === undefined || !types.includes(info.type)) return false;
  const component = known.at;
  let isFound = false;
  for (known.next(); !isFound && known.tag === TAG.signature; known.next()) {
    const other = signatureInfo(known.body);
    if (other === undefined || !types.includes(other.type)) continue;
    isFound = other.createdAt > info.createdAt && !isOver({ info: other }, at);
  }
  known.next(component);
  return isFound;
}

/** Whether a skeleton has a user id with a certification; `packets` stays where it is. */
function hasCertifiedName(packets: PacketCursor): boolean {
  const { at } = packets;
  let [isName, isFound] = [false, false];
  for (packets.next(0); !isFound && packets.tag !== -1; packets.next()) {
    if (packets.tag !== TAG.signature) isName = packets.tag === TAG.userId;
    else if (isName) {
      const type = signatureInfo(packets.body)?.type;
      isFound = type !== undefined && CONFIRMING[TAG.userId]?.includes(type) === true;
    }
  }
  packets.next(at);
  return isFound;
}

/**
 * What is known of a key when an update is sent: its skeleton, and components of the update that
 * are not in the skeleton.
 */
export class Known {
  /** By `packetKey`: first the skeleton, then the update's own, each in the order of `ranked`. */
  readonly #bones: ReadonlyMap<string, Bone>;
  readonly #at: number;

  /** `at` in ms since 1970. Without a skeleton the update's own signatures are used unverified. */
  constructor(update: TransferableKey, skeleton: Uint8Array | undefined, at: number) {
    this.#at = at;
    const { packet: primary } = update.primary;
    const bones = componentsOf(skeleton, primary).map(({ packet, signatures }) =>
      boneOf(packet, newestFirst(claimsOf(update, packet, signatures), at), () => true),
    );
    const remembered = new Set(bones.map(({ packet }) => packetKey(packet)));
    const named = bones.some((bone) => isName(bone) && bone.confirmation !== undefined);
    const own = keyComponents(update)
      .filter(({ packet }) => packet.tag !== TAG.userAttribute)
      .filter(({ packet }) => !remembered.has(packetKey(packet)))
      .map(({ packet, signatures }) => {
        const claims = claimsOf(update, packet, signatures).filter((one) => isTimely(one, at));
        return boneOf(packet, newestFirst(claims, at), () => true);
      })
      .filter((bone) => !(named && isName(bone)));
    // The skeleton is verified, the rest may be forged. The rest comes last, whatever its age.
    const all = [...ranked(bones, at), ...ranked(own, at)];
    this.#bones = new Map(all.map((bone) => [packetKey(bone.packet), bone] as const));
  }

  /** Whether the components include a valid user id, or any user id when no valid one is known. */
  isNamed(components: readonly Component[]): boolean {
    const shown = components.filter(({ packet }) => packet.tag === TAG.userId);
    const isAnyGood = [...this.#bones.values()].some((bone) => this.#isGoodName(bone));
    if (!isAnyGood) return shown.length > 0;
    return shown.some(({ packet }) => {
      const bone = this.#bones.get(packetKey(packet));
      return bone !== undefined && this.#isGoodName(bone);
    });
  }

  /** User ids to add to a key that has none, the best first. */
  names(): Component[] {
    const names = [...this.#bones.values()].filter(isName);
    const [best] = names.filter((bone) => this.#isGoodName(bone));
    const bare = (bone: Bone) => ({ packet: bone.packet, signatures: [] });
    if (best !== undefined) return [whole(best), bare(best)];
    // Without a valid user id, a revoked or unsigned one is used, so that a revocation can be sent.
    const unsigned = names.filter(({ revocation }) => revocation === undefined).map(bare);
    return [...unsigned, ...names.filter(({ revocation }) => revocation !== undefined).map(whole)];
  }

  /** The subkeys that every server can read, each with its binding, in the order of `ranked`. */
  subkeys(): Component[] {
    return [...this.#bones.values()].flatMap(({ packet, confirmation }) => {
      if (packet.tag !== TAG.publicSubkey || isOdd(packet)) return [];
      if (confirmation === undefined || isOver(confirmation, this.#at)) return [];
      return [{ packet, signatures: [confirmation.packet] }];
    });
  }

  /**
   * Sorts subkeys in the order of `ranked`, each with its newest binding first: pksd keeps only the
   * first subkey of a mail that it can read, and its first binding.
   */
  inOrderOfUse(subkeys: readonly Component[]): Component[] {
    const ranks = new Map([...this.#bones.keys()].map((name, rank) => [name, rank]));
    const rank = ({ packet }: Component): number => ranks.get(packetKey(packet)) ?? ranks.size;
    const ordered = subkeys.map((one) => ({ one, at: rank(one) })).toSorted((a, b) => a.at - b.at);
    return ordered.map(({ one: { packet, signatures } }) => {
      const binding = this.#bones.get(packetKey(packet))?.confirmation?.packet;
      const isBinding = (one: Packet): boolean => binding !== undefined && isEqual(one, binding);
      const others = signatures.filter((one) => !isBinding(one));
      return { packet, signatures: [...signatures.filter(isBinding), ...others] };
    });
  }

  /** The self-signatures without which a server that verifies drops the component. */
  signaturesOf(packet: Packet): Packet[] {
    const bone = this.#bones.get(packetKey(packet));
    if (bone === undefined) return [];
    const { confirmation, revocation } = bone;
    const isUsable = confirmation !== undefined && !isOver(confirmation, this.#at);
    return packets(isUsable ? confirmation : undefined, revocation);
  }

  #isGoodName(bone: Bone): boolean {
    const { confirmation, revocation } = bone;
    if (!isName(bone) || confirmation === undefined || revocation !== undefined) return false;
    return !isOver(confirmation, this.#at);
  }
}

/** Whether SKS loses a version 4 key with this subkey: a subkey of another version than 4. */
export function isOdd({ tag, body }: Packet): boolean {
  return tag === TAG.publicSubkey && body[0] !== 4;
}

/** The user id with the newest self-certification, unverified, and that certification. */
export function shownName(key: TransferableKey): Component | undefined {
  const names = key.userIds.filter(({ packet }) => packet.tag === TAG.userId);
  const claims = names.flatMap(({ packet, signatures }) =>
    claimsOf(key, packet, signatures)
      .filter(({ info }) => info.type !== REVOKING[TAG.userId])
      .map((claim) => ({ name: packet, ...claim })),
  );
  const [newest] = newestFirst(claims, 0);
  if (newest !== undefined) return { packet: newest.name, signatures: [newest.packet] };
  return names[0] && { packet: names[0].packet, signatures: [] };
}

/**
 * The user id to add to news of a key without one: the one with the newest certification that
 * verifies, is not revoked and is in force at `at` (ms since 1970); otherwise one without a
 * signature.
 */
export function* namingAt(key: TransferableKey, at: number): Steps<Component | undefined> {
  const primary = { packet: key.primary.packet, signatures: [] };
  const named = yield* assembling([primary, ...key.userIds]);
  const came = yield* selfSigning(named);
  const [name] = came === undefined ? [] : new Known(named, grown(undefined, came, at), at).names();
  return name;
}

/** A self-signature of a type that confirms or revokes this component; otherwise undefined. */
function claimOf(key: TransferableKey, parent: Packet, packet: Packet): Claim | undefined {
  const info = selfSignatureInfo(key, packet);
  if (info === undefined) return undefined;
  const types = [...(CONFIRMING[parent.tag] ?? []), REVOKING[parent.tag]];
  // A version 4 key is complete without a direct signature; a version 6 key is not.
  if (parent.tag === TAG.publicKey && key.version < 5) return undefined;
  return types.includes(info.type) ? { packet, info } : undefined;
}

function claimsOf(key: TransferableKey, parent: Packet, signatures: readonly Packet[]): Claim[] {
  return signatures.flatMap((signature) => claimOf(key, parent, signature) ?? []);
}

/** Whether a signature received at `at` is neither from the future nor expired. */
function isTimely(claim: Claim, at: number): boolean {
  return claim.info.createdAt * 1000 <= at + SKEW_MS && !isOver(claim, at);
}

function isOver({ info: { expiresAt } }: Pick<Claim, "info">, at: number): boolean {
  return expiresAt !== undefined && expiresAt * 1000 <= at;
}

/** Sorts expired signatures last, then by time, newest first, then in canonical order. */
function newestFirst<T extends Claim>(claims: readonly T[], at: number): T[] {
  return claims.toSorted(
    (a, b) =>
      Number(isOver(a, at)) - Number(isOver(b, at)) ||
      b.info.createdAt - a.info.createdAt ||
      comparePackets(a.packet, b.packet),
  );
}

/** The first confirmation and the first revocation for which `holds` returns true. */
function boneOf<T extends Claim>(
  packet: Packet,
  claims: readonly T[],
  holds: (claim: T) => boolean,
): Bone {
  const first = (isWanted: (type: number) => boolean): T | undefined => {
    return claims.find((claim) => isWanted(claim.info.type) && holds(claim));
  };
  const confirmation = first((type) => CONFIRMING[packet.tag]?.includes(type) ?? false);
  const revocation = first((type) => type === REVOKING[packet.tag]);
  // A later certification makes a user id valid again. A subkey stays revoked.
  const isRenewed =
    packet.tag === TAG.userId &&
    confirmation !== undefined &&
    revocation !== undefined &&
    confirmation.info.createdAt > revocation.info.createdAt;
  return { packet, confirmation, revocation: isRenewed ? undefined : revocation };
}

/**
 * Sorts by importance: the primary key, the user id with the newest certification, subkeys that
 * pksd supports (encryption subkeys in force at `at`, expired encryption subkeys, others), other
 * subkeys of version 4, user ids, revoked components, the rest. In each group the newest is first.
 */
function ranked(bones: readonly Bone[], at: number): Bone[] {
  const rank = (bone: Bone): number => {
    const { packet, confirmation, revocation } = bone;
    if (packet.tag === TAG.publicKey) return 0;
    if (confirmation === undefined) return 8;
    if (revocation !== undefined) return 7;
    if (packet.tag === TAG.userId) return RANK_OF_NAMES;
    if (isOdd(packet)) return 8;
    if (!OLD_ALGORITHMS.includes(packet.body[5] ?? 0)) return 5;
    if (!encrypts(packet, confirmation)) return 4;
    return isExpired(packet, confirmation, at) ? 3 : 2;
  };
  const time = ({ confirmation }: Bone) => confirmation?.info.createdAt ?? 0;
  const sorted = bones.toSorted(
    (a, b) => rank(a) - rank(b) || time(b) - time(a) || comparePackets(a.packet, b.packet),
  );
  const best = sorted.findIndex((bone) => isName(bone) && rank(bone) === RANK_OF_NAMES);
  if (best === -1) return sorted;
  const start = sorted.findIndex(({ packet }) => packet.tag !== TAG.publicKey);
  return sorted.toSpliced(best, 1).toSpliced(start, 0, ...sorted.slice(best, best + 1));
}

/** Whether a version 4 subkey is an encryption subkey, by its binding. */
function encrypts({ body }: Packet, { info: { keyFlags } }: Claim): boolean {
  if (keyFlags !== undefined) return (keyFlags & ENCRYPTS) !== 0;
  return ENCRYPTING_ALGORITHMS.includes(body[5] ?? 0);
}

/** Whether a version 4 subkey has expired at `at`, by its binding. */
function isExpired({ body }: Packet, { info: { keyLifetime = 0 } }: Claim, at: number): boolean {
  if (keyLifetime === 0 || body.length < 5) return false;
  return (Buffer.from(body).readUInt32BE(1) + keyLifetime) * 1000 <= at;
}

/**
 * The components within the limits. One user id without a signature is kept, and only when no
 * user id has a certification.
 */
function fitting(bones: readonly Bone[], at: number): Bone[] {
  const kept: Bone[] = [];
  let bytes = 0;
  const order = ranked(bones, at);
  const [unsigned] = order.some((bone) => isName(bone) && bone.confirmation !== undefined)
    ? []
    : order.filter((bone) => isName(bone) && isBare(bone));
  for (const bone of order) {
    if (isBare(bone) && bone !== unsigned) continue;
    if (kept.length === SKELETON_LIMITS.components) break;
    const size = encodedSize(packetsOf([bone]));
    if (bytes + size > SKELETON_LIMITS.bytes) continue;
    kept.push(bone);
    bytes += size;
  }
  return kept.toSorted((a, b) => comparePackets(a.packet, b.packet));
}

/** The packets of a skeleton, without the primary key: each update has it. */
function packetsOf(bones: readonly Bone[]): Packet[] {
  return bones.flatMap(({ packet, confirmation, revocation }) => [
    ...(packet.tag === TAG.publicKey ? [] : [packet]),
    ...packets(confirmation, revocation),
  ]);
}

function packets(...claims: readonly (Claim | undefined)[]): Packet[] {
  return claims.flatMap((claim) => (claim === undefined ? [] : [claim.packet]));
}

/** The components of a stored skeleton under this primary key; none of one that is damaged. */
function componentsOf(skeleton: Uint8Array | undefined, primary: Packet): Component[] {
  if (skeleton === undefined) return [];
  const components = [{ packet: primary, signatures: [] as Packet[] }];
  try {
    for (const packet of readPackets(skeleton)) {
      if (packet.tag !== TAG.signature) components.push({ packet, signatures: [] });
      else components.at(-1)?.signatures.push(packet);
    }
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
  return components;
}

function whole({ packet, confirmation, revocation }: Bone): Component {
  return { packet, signatures: packets(confirmation, revocation) };
}

function isName({ packet }: Bone): boolean {
  return packet.tag === TAG.userId;
}

function isBare({ confirmation, revocation }: Bone): boolean {
  return confirmation === undefined && revocation === undefined;
}

function isEqual(a: Packet, b: Packet): boolean {
  return comparePackets(a, b) === 0;
}
