/**
 * IP addresses and networks as values. An address has many spellings ("2001:DB8:0:0::1", "::FFFF:
 * 192.0.2.1", "::ffff:c000:201"); `plainIp` gives each the one that RFC 5952 recommends, so that
 * two texts that it returned are equal when the addresses are. IPv4 in IPv6 (RFC 4291 2.5.5.2),
 * which a socket for both families reports, is the IPv4 address. Resolves no name.
 */
import { BlockList, isIP, SocketAddress } from "node:net";

/** The one spelling of an address, without brackets; undefined when `text` is not an address. */
export function plainIp(text: string): string | undefined {
  const family = isIP(text);
  if (family !== 6) return family === 4 ? text : undefined;
  const [address = "", zone] = text.split("%");
  const plain = new SocketAddress({ address, family: "ipv6" }).address;
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain) ?? [];
  if (mapped !== undefined) return mapped;
  return zone === undefined ? plain : `${plain}%${zone}`;
}

/** The one spelling of a host: an address, or a name in lower case. */
export function plainHost(host: string): string {
  return plainIp(host) ?? host.toLowerCase();
}

/** Whether `text` is an address of this host that never leaves it. */
export function isLoopback(text: string): boolean {
  return /^(127\.|::1$)/.test(plainIp(text) ?? "");
}

/**
 * The one spelling of an address or a CIDR range; undefined when `text` is neither, or has a zone.
 * A range of mapped addresses is the IPv4 range; one that reaches beyond them is undefined.
 */
export function plainNetwork(text: string): string | undefined {
  const [written = "", prefix, ...rest] = text.split("/");
  const address = plainIp(written);
  if (address === undefined || address.includes("%") || rest.length > 0) return undefined;
  if (prefix === undefined) return address;
  if (!/^\d{1,3}$/.test(prefix)) return undefined;
  const most = isIP(address) === 4 ? 32 : 128;
  const mappedBits = isIP(written) === 6 && most === 32 ? 96 : 0;
  const bits = Number(prefix) - mappedBits;
  return bits >= 0 && bits <= most ? `${address}/${bits}` : undefined;
}

/**
 * What may be told of a client and what a rate is counted for: its network, /24, or /48 of IPv6,
 * which is what a site is given. A client without an address is "local"; any other text that is
 * not an address stays as it is.
 */
export function clientNetwork(text: string): string {
  const plain = plainIp(text);
  if (plain === undefined) return text === "" ? "local" : text;
  if (!plain.includes(":")) return `${plain.split(".").slice(0, 3).join(".")}.0/24`;
  return `${firstGroups(plain, 3)}::/48`;
}

/**
 * What connections are counted for: one IPv4 address, or a /64 of IPv6, of which every host has as
 * many addresses as it likes. "local" for a client without an address.
 */
export function clientHost(text: string): string {
  const plain = plainIp(text);
  if (plain === undefined) return "local";
  return plain.includes(":") ? `${firstGroups(plain, 4)}::/64` : plain;
}

/** The first `count` groups of a plain IPv6 address, without zeros at their end. */
function firstGroups(plain: string, count: number): string {
  const [address = ""] = plain.split("%");
  const [head = "", tail = ""] = address.split("::");
  const groups = [head, tail].map((half) => half.split(":").filter((group) => group !== ""));
  const [first = [], last = []] = groups;
  const zeros = address.includes("::") ? 8 - first.length - last.length : 0;
  const all = [...first, ...Array.from({ length: zeros }, () => "0"), ...last].slice(0, count);
  return all.join(":").replace(/(^|:)0(:0)*$/, "");
}

/** Addresses and ranges, to ask whether an address is among them. */
export class IpNetworks {
  /** One list a family, since a single one compares IPv4 with IPv6 ranges as if it were mapped. */
  readonly #lists = { ipv4: new BlockList(), ipv6: new BlockList() };

  /** `ranges` in any spelling. Throws when one of them is neither an address nor a range. */
  constructor(ranges: Iterable<string>) {
    for (const range of ranges) {
      const plain = plainNetwork(range);
      if (plain === undefined) throw new Error(`${range} is not an IP address or a range`);
      const [address = "", bits] = plain.split("/");
      const family = familyOf(address);
      if (bits === undefined) this.#lists[family].addAddress(address, family);
      else this.#lists[family].addSubnet(address, Number(bits), family);
    }
  }

  /** Whether one of them holds `address`, in any spelling; a zone does not matter. */
  has(address: string): boolean {
    const plain = plainIp(address)?.replace(/%.*/, "");
    if (plain === undefined) return false;
    const family = familyOf(plain);
    return this.#lists[family].check(plain, family);
  }
}

function familyOf(plain: string): "ipv4" | "ipv6" {
  return plain.includes(":") ? "ipv6" : "ipv4";
}
