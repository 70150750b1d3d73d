/**
 * The network that an address belongs to, in two sizes. `networkOf` is what the journal shows and
 * what a rate is counted for: /24, or /48 of IPv6, which is what a site is given. `clientOf` is
 * what connections are counted for: one IPv4 address, or /64 of IPv6, of which every host has as
 * many addresses as it likes. IPv4 in IPv6 is IPv4.
 */
import { isIPv4 } from "node:net";

/** "192.0.2.0/24", "2001:db8:1::/48", or "local" for a client without an address. */
export function networkOf(address: string): string {
  if (address === "") return "local";
  const v4 = plainV4(address);
  if (v4 !== undefined) return `${v4.split(".").slice(0, 3).join(".")}.0/24`;
  return `${firstGroups(address, 3)}::/48`;
}

/** "192.0.2.7" or "2001:db8:1:2::/64". */
export function clientOf(address: string): string {
  if (address === "") return "local";
  return plainV4(address) ?? `${firstGroups(address, 4)}::/64`;
}

function plainV4(address: string): string | undefined {
  const plain = address.replace(/^::ffff:/i, "");
  return isIPv4(plain) ? plain : undefined;
}

/** The first `count` groups of an IPv6 address, without leading zeros. */
function firstGroups(address: string, count: number): string {
  const [plain = ""] = address.split("%");
  const [head = [], tail = []] = plain.split("::").map((half) => half.split(":").filter(Boolean));
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => "0");
  const groups = plain.includes("::") ? [...head, ...zeros, ...tail] : head;
  return groups
    .slice(0, count)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
