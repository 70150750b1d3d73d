/**
 * The policies of simulated gateways: which packets a gateway does not carry, as settings of the
 * real policy and as a question about a piece of a key (`contentOf`), by which a world knows what
 * each gateway must hold in the end.
 */
import type { PolicySettings } from "../../src/config/config.js";
import { TAG } from "../../src/openpgp/packet.js";
import { DEFAULT_POLICY } from "../config/example.js";

/** Carries everything, no photos, or no signature over `LARGEST`. */
export const POLICIES = ["all", "no photos", "small signatures"] as const;
export type PolicyName = (typeof POLICIES)[number];

/** Octets of a signature; those of the simulation have 50 to 4010. */
const LARGEST = 1000;

export function settingsFor(name: PolicyName): PolicySettings {
  if (name === "no photos") return { ...DEFAULT_POLICY, attributes: "refuse" };
  if (name === "small signatures") return { ...DEFAULT_POLICY, maxSignatureBytes: LARGEST };
  return DEFAULT_POLICY;
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
