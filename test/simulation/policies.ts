/**
 * The policies of simulated gateways: which packets a gateway does not carry, as settings of the
 * real policy and as a question about a piece of a key (`contentOf`), by which a world knows what
 * each gateway must hold in the end.
 */
import type { PolicySettings } from "../../src/config/config.js";
import { TAG } from "../../src/openpgp/packet.js";

/** Carries everything, no photos, or no signature over `LARGEST`. */
export const POLICIES = ["all", "no photos", "small signatures"] as const;
export type PolicyName = (typeof POLICIES)[number];

/** The defaults of the configuration. */
const POLICY: PolicySettings = {
  maxUpdateBytes: 4 * 1024 ** 2,
  maxPackets: 50_000,
  maxPacketBytes: 64 * 1024,
  maxSignatureBytes: 64 * 1024,
  maxUserIdBytes: 2048,
  maxAttributeBytes: 256 * 1024,
  attributes: "accept",
  forward: "news",
  blocklist: undefined,
  blocks: new Map(),
  carry: undefined,
  carried: undefined,
  newKeys: true,
};

/** Octets of a signature; those of the simulation have 50 to 4010. */
const LARGEST = 1000;

export function settingsFor(name: PolicyName): PolicySettings {
  if (name === "no photos") return { ...POLICY, attributes: "refuse" };
  if (name === "small signatures") return { ...POLICY, maxSignatureBytes: LARGEST };
  return POLICY;
}

/** Whether a gateway of this policy carries the piece, with all that it stands under. */
export function carries(name: PolicyName, piece: string): boolean {
  const [, ...packets] = piece.split("/");
  return packets.every((packet) => {
    const [tag, , length] = packet.split(":");
    if (name === "no photos") return Number(tag) !== TAG.userAttribute;
    if (name === "small signatures")
      return Number(tag) !== TAG.signature || Number(length) <= LARGEST;
    return true;
  });
}
