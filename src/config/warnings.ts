/**
 * What is allowed in a configuration and still worth a word: KX peers at one address, of which a
 * connection may not tell whose it is. Pure; names are compared as names and not looked up.
 */
import { plainHost } from "../ip-address.js";
import type { Config, Neighbour } from "./config.js";
import { goesByKx } from "./paths.js";
import type { PathFault } from "./rules.js";

/** Peers at one address. */
export interface SharedAddress {
  readonly host: string;
  /** Their places in the configuration, at least two. */
  readonly peers: readonly { readonly name: string; readonly index: number }[];
  /** Whether certificates, or TLS beside plain KX, tell whose a connection is. */
  readonly isTold: boolean;
}

/** The addresses that several KX peers have, in the order of the file. */
export function sharedAddresses({ neighbours }: Pick<Config, "neighbours">): SharedAddress[] {
  const byHost = new Map<string, { readonly peer: Neighbour; readonly index: number }[]>();
  neighbours.forEach((peer, index) => {
    if (peer.kx === undefined || !goesByKx(peer)) return;
    const host = plainHost(peer.kx.host);
    byHost.set(host, [...(byHost.get(host) ?? []), { peer, index }]);
  });
  return [...byHost]
    .filter(([, found]) => found.length > 1)
    .map(([host, found]) => ({
      host,
      peers: found.map(({ peer: { name }, index }) => ({ name, index })),
      isTold: isTold(found.map(({ peer }) => peer)),
    }));
}

/** One may speak plain KX, and one may be known by its CA alone; pins tell all others apart. */
function isTold(peers: readonly Neighbour[]): boolean {
  const proofs = peers.map(({ tls }) => (tls === undefined ? "plain" : (tls.pin ?? "CA")));
  return new Set(proofs).size === proofs.length;
}

/** Every warning, by the path of its key. */
export function configWarnings(config: Pick<Config, "neighbours">): PathFault[] {
  return sharedAddresses(config).flatMap(({ host, peers, isTold }) => {
    const [first, ...others] = peers;
    if (isTold || first === undefined) return [];
    return others.map(({ index }) => ({
      path: ["peer", index, "kx"],
      message:
        `has the address ${host} of peer "${first.name}" as well, and a connection from there ` +
        "may be taken for the other's: write kxs:// and a pin for each, or give them two addresses",
    }));
  });
}
