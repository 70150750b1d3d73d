/**
 * Warnings about a valid configuration: KX peers at one address, so that a
 * connection may not identify the peer. Pure; host names are compared and not resolved.
 */
import { plainHost } from "../ip-address.js";
import type { Config, Neighbour } from "./config.js";
import { goesByKx } from "./paths.js";
import type { PathFault } from "./rules.js";

/** Peers at one address. */
export interface SharedAddress {
  readonly host: string;
  /** Their indices in the configuration, at least two. */
  readonly peers: readonly { readonly name: string; readonly index: number }[];
  /** Whether certificates, or TLS besides plain KX, identify the peer of a connection. */
  readonly isTold: boolean;
}

/** The addresses that several KX peers share, in the order of the file. */
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

/** One peer may use plain KX, and one a CA without a pin; all others need different pins. */
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
        `has the same address ${host} as peer "${first.name}", so that a connection may be ` +
        "attributed to the wrong peer: use kxs:// with a pin for each, or different addresses",
    }));
  });
}
