/**
 * What the operator does not want to carry: updates, packets and user ids beyond a size, photos,
 * and keys on a block list. Pure: judges one key of one update and says why not.
 *
 * Every limit is on the update, never on "the key so far": a limit on what a server holds of a key
 * lets an attacker fill that up and keep the key's revocation out. An update passes whole or not at
 * all, since a packet taken out would change its hash, which is its name. Defaults are those of
 * Hockeypuck and GnuPG, with room for photo ids, which the thesis wants to pass (3.1).
 */
import type { Judgement } from "./admit.js";
import type { Clock } from "./clock.js";
import type { Block, Config, PolicySettings } from "./config/config.js";
import { Refusal } from "./errors.js";
import type { TransferableKey } from "./openpgp/key.js";
import { keyPackets } from "./openpgp/key.js";
import type { Packet } from "./openpgp/packet.js";
import { encodedSize, TAG } from "./openpgp/packet.js";
import { selfSignatureInfo } from "./openpgp/signature.js";

/** The block on a key at `now` (milliseconds since 1970), if any. */
export function blockOn(
  fingerprint: string,
  policy: PolicySettings,
  now: number,
): Block | undefined {
  const block = policy.blocks.get(fingerprint);
  return block?.until !== undefined && now >= block.until ? undefined : block;
}

const KEY_REVOCATION = 0x20;

/** The judgement of a configuration, as the gate wants it; the clock dates the blocks. */
export function judgement(config: Config, clock: Clock): Judgement {
  return (key) => judge(key, config.policy, clock.now());
}

/** Why the key of an update is not carried, or undefined when it is. */
export function judge(
  key: TransferableKey,
  policy: PolicySettings,
  now: number,
): Refusal | undefined {
  const block = blockOn(key.fingerprint, policy, now);
  if (block !== undefined && !(block.allowRevocation && isRevocationAlone(key))) {
    return new Refusal("blocked", `The key ${key.fingerprint} is not carried here.`);
  }
  const packets = keyPackets(key);
  const size = encodedSize(packets);
  if (size > policy.maxUpdateBytes) return over("update", size, policy.maxUpdateBytes);
  if (packets.length > policy.maxPackets) {
    const limit = `${policy.maxPackets} packets`;
    return new Refusal("policy-packets", `The update has more than ${limit}.`);
  }
  for (const packet of packets) {
    const refusal = judgePacket(packet, policy);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function judgePacket({ tag, body }: Packet, policy: PolicySettings): Refusal | undefined {
  switch (tag) {
    case TAG.signature:
      return limited("signature", body, policy.maxSignatureBytes);
    case TAG.userId:
      return limited("user id", body, policy.maxUserIdBytes);
    case TAG.userAttribute:
      if (policy.attributes === "refuse") {
        return new Refusal("policy-attribute", "User attributes are not carried here.");
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

/** The primary key with its own revocation and nothing that names anybody. */
function isRevocationAlone(key: TransferableKey): boolean {
  const { primary, userIds, subkeys } = key;
  if (userIds.length > 0 || subkeys.length > 0 || primary.signatures.length === 0) return false;
  return primary.signatures.every(
    (packet) => selfSignatureInfo(key, packet)?.type === KEY_REVOCATION,
  );
}
