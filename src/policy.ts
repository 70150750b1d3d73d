/**
 * What the operator does not want to carry: keys that are blocked, forgotten or not on the list,
 * updates, packets and user ids beyond a size, photos. Judges one key of one update, or a key by
 * its fingerprint alone, and says why not. Pure but for two arguments of the constructor: a clock,
 * since blocks end by date, and the `Records` of keys, which the log answers.
 *
 * Every limit is on the update, never on "the key so far": a limit on what a server holds of a key
 * lets an attacker fill that up and keep the key's revocation out. For the same reason a packet
 * over a limit costs itself and the signatures under it: `pruning` leaves it out, and the rest is
 * an update. What was announced over KX is checked against its hash before. Of a blocked key whose
 * revocations pass, `pruning` leaves the primary key with its hard revocations. Defaults are those
 * of Hockeypuck and GnuPG, with room for photo ids, which the thesis wants to pass (3.1).
 */
import { KEEP_ALL, type Pruned, type Pruning } from "./admit.js";
import type { Block } from "./block.js";
import type { Clock } from "./clock.js";
import type { PolicySettings } from "./config/config.js";
import { Refusal } from "./errors.js";
import type { Component, TransferableKey } from "./openpgp/key.js";
import { assembleKey, keyPackets, readKeys } from "./openpgp/key.js";
import type { Packet } from "./openpgp/packet.js";
import { encodedSize, TAG } from "./openpgp/packet.js";
import { selfSignatureInfo } from "./openpgp/signature.js";
import type { Fingerprint, Seq } from "./update.js";

/** What a policy asks the log. */
export interface Records {
  body(seq: Seq): Uint8Array | undefined;
  readonly removals: {
    /** The block that a command has put on the key. */
    block(fingerprint: string): Block | undefined;
    isForgotten(seq: Seq): boolean;
    /** Whether the key was known when no new ones were to be taken any more. */
    knows(fingerprint: string): boolean;
  };
}

/** Why an update in the log does not leave it. */
export type Withheld = "blocked" | "forgotten";

const KEY_REVOCATION = 0x20;
/** No reason, and compromised (RFC 9580 section 5.2.3.31): nothing that the key signed counts. */
const HARD_REASONS: readonly (number | undefined)[] = [undefined, 0, 2];

export class Policy {
  readonly #settings: PolicySettings;
  readonly #records: Records;
  readonly #clock: Pick<Clock, "now">;

  /** The clock dates the blocks. */
  constructor(settings: PolicySettings, records: Records, clock: Pick<Clock, "now">) {
    this.#settings = settings;
    this.#records = records;
    this.#clock = clock;
  }

  /** The block on a key now: that of a command before the one of the configuration's list. */
  blockOn(fingerprint: string): Block | undefined {
    const now = this.#clock.now();
    const { blocks } = this.#settings;
    const all = [this.#records.removals.block(fingerprint), blocks.get(fingerprint)];
    return all.find((block) => block !== undefined && (block.until ?? Infinity) > now);
  }

  /** Why no update of the key is carried, whatever it holds; undefined when one may be. */
  declines(fingerprint: string): Refusal | undefined {
    const block = this.blockOn(fingerprint);
    return block?.allowRevocation === false
      ? blocked(fingerprint)
      : this.#declinesUnlisted(fingerprint);
  }

  /** Why the key of an update is not carried, or undefined when it is. */
  judge(key: TransferableKey): Refusal | undefined {
    const block = this.blockOn(key.fingerprint);
    if (block !== undefined && !passes(block, key)) return blocked(key.fingerprint);
    return this.#declinesUnlisted(key.fingerprint) ?? judgeSizes(key, this.#settings);
  }

  /** What is left out of a key before it is judged. */
  get pruning(): Pruning {
    const settings = this.#settings;
    return {
      packets: (key) => {
        const block = this.blockOn(key.fingerprint);
        return block?.allowRevocation ? pruneBlocked(key) : prunePackets(key, settings);
      },
      total: (key) => pruneTotal(key, settings),
    };
  }

  /** Why an update of the log is not sent; undefined when it may be. */
  withholds(entry: { readonly seq: Seq; readonly fingerprint: Fingerprint }): Withheld | undefined {
    if (this.#records.removals.isForgotten(entry.seq)) return "forgotten";
    const block = this.blockOn(entry.fingerprint);
    if (block === undefined) return undefined;
    const body = block.allowRevocation ? this.#records.body(entry.seq) : undefined;
    const [key] = body === undefined ? [] : readKeys(body);
    const mayPass = key !== undefined && !(key instanceof Refusal) && passes(block, key);
    return mayPass ? undefined : "blocked";
  }

  /** Why a key is not carried that is not on the list or, without one, that the log never had. */
  #declinesUnlisted(fingerprint: string): Refusal | undefined {
    const { carried, newKeys } = this.#settings;
    if (carried !== undefined) {
      if (carried.has(fingerprint)) return undefined;
      return new Refusal(
        "policy-carry",
        `This gateway carries only some keys, not ${fingerprint}.`,
      );
    }
    if (newKeys || this.#records.removals.knows(fingerprint)) return undefined;
    return new Refusal(
      "policy-new-key",
      `This gateway accepts no new keys, and ${fingerprint} is new.`,
    );
  }
}

/** What the doors ask of a policy. */
export type Rules = Pick<Policy, "blockOn" | "declines" | "judge" | "pruning" | "withholds">;

/** Carries everything. */
export const CARRY_ALL: Rules = {
  blockOn: () => undefined,
  declines: () => undefined,
  judge: () => undefined,
  pruning: KEEP_ALL,
  withholds: () => undefined,
};

function blocked(fingerprint: string): Refusal {
  return new Refusal("blocked", `This gateway does not carry the key ${fingerprint}.`);
}

function passes(block: Block, key: TransferableKey): boolean {
  return block.allowRevocation && isHardRevocation(key);
}

function judgeSizes(key: TransferableKey, policy: PolicySettings): Refusal | undefined {
  const total = judgeTotal(key, policy);
  if (total !== undefined) return total;
  for (const packet of keyPackets(key)) {
    const refusal = judgePacket(packet, policy);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function judgeTotal(key: TransferableKey, policy: PolicySettings): Refusal | undefined {
  const packets = keyPackets(key);
  const size = encodedSize(packets);
  if (size > policy.maxUpdateBytes) return over("update", size, policy.maxUpdateBytes);
  if (packets.length > policy.maxPackets) {
    const limit = `${policy.maxPackets} packets`;
    return new Refusal("policy-packets", `The update has more than ${limit}.`);
  }
  return undefined;
}

/** Leaves the primary key and its hard revocations. */
function pruneBlocked(key: TransferableKey): Pruned {
  const rest = hardRevocations(key);
  const count = keyPackets(key).length - keyPackets(rest).length;
  if (count === 0) return { key, dropped: [] };
  return { key: rest, dropped: new Array<Refusal>(count).fill(blocked(key.fingerprint)) };
}

/** Leaves out each packet over its limit, a user id, attribute or subkey with what is under it. */
function prunePackets(key: TransferableKey, policy: PolicySettings): Pruned {
  const dropped: Refusal[] = [];
  const isKept = (packet: Packet) => {
    const refusal = judgePacket(packet, policy);
    if (refusal !== undefined) dropped.push(refusal);
    return refusal === undefined;
  };
  const thin = ({ packet, signatures }: Component): Component => ({
    packet,
    signatures: signatures.filter(isKept),
  });
  const thinAll = (components: readonly Component[]) =>
    components.filter(({ packet }) => isKept(packet)).map(thin);
  const primary = thin(key.primary);
  const [userIds, subkeys] = [thinAll(key.userIds), thinAll(key.subkeys)];
  return { key: dropped.length === 0 ? key : { ...key, primary, userIds, subkeys }, dropped };
}

/**
 * Leaves out, where an update is too large as a whole, all but the primary key and what stands
 * directly under it, or all but its hard revocations if that is too large as well: they get
 * through, whatever comes with them.
 */
function pruneTotal(key: TransferableKey, policy: PolicySettings): Pruned {
  const refusal = judgeTotal(key, policy);
  if (refusal === undefined) return { key, dropped: [] };
  const rest = [assembleKey([key.primary]), hardRevocations(key)].find(
    (one) => one.primary.signatures.length > 0 && judgeTotal(one, policy) === undefined,
  );
  return rest === undefined ? { key, dropped: [] } : { key: rest, dropped: [refusal] };
}

function judgePacket({ tag, body }: Packet, policy: PolicySettings): Refusal | undefined {
  switch (tag) {
    case TAG.signature:
      return limited("signature", body, policy.maxSignatureBytes);
    case TAG.userId:
      return limited("user id", body, policy.maxUserIdBytes);
    case TAG.userAttribute:
      if (policy.attributes === "refuse") {
        return new Refusal("policy-attribute", "This gateway does not carry user attributes.");
      }
      return limited("user attribute", body, policy.maxAttributeBytes);
    default:
      return limited("packet", body, policy.maxPacketBytes);
  }
}

function limited(what: string, body: Uint8Array, limit: number): Refusal | undefined {
  return body.length > limit ? over(what, body.length, limit) : undefined;
}

function over(what: string, size: number, limit: number): Refusal {
  return new Refusal("policy-size", `The ${what} of ${size} bytes is over the limit of ${limit}.`);
}

/**
 * The primary key with its own revocations and nothing that names anybody, none of them because the
 * key was replaced or is out of use: those only say that it is not to be used from now on.
 */
export function hardRevocations(key: TransferableKey): TransferableKey {
  const { packet, signatures } = key.primary;
  const hard = signatures.filter((signature) => {
    const info = selfSignatureInfo(key, signature);
    return info?.type === KEY_REVOCATION && HARD_REASONS.includes(info.revocationReason);
  });
  return { ...key, primary: { packet, signatures: hard }, userIds: [], subkeys: [] };
}

function isHardRevocation(key: TransferableKey): boolean {
  const count = keyPackets(key).length;
  return count > 1 && count === keyPackets(hardRevocations(key)).length;
}
