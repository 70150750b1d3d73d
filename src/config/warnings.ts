/**
 * Warnings about a valid configuration: KX peers at one address, so that a connection may not
 * identify the peer, neighbours with a path whose section is missing, and a node name without
 * the shared database. Pure; host names are compared and not resolved.
 */
import { plainHost } from "../ip-address.js";
import type { Config, Neighbour } from "./config.js";
import { goesByKx, goesByMail } from "./paths.js";
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
export function configWarnings(config: Config): PathFault[] {
  return [...roadWarnings(config), ...addressWarnings(config), ...sharedWarnings(config)];
}

/** A name among the gateways of a site, and no database that they share. */
function sharedWarnings({ log }: Config): PathFault[] {
  if (log.node === undefined || log.shared !== undefined) return [];
  const message = "is not used without log.shared: this gateway has a log of its own";
  return [{ path: ["log", "node"], message }];
}

/**
 * Neighbours whose updates can never leave: they are mailed, and there is no relay. `check` and
 * `doctor` call it a fault. The gateway starts nevertheless, and reports `idle-neighbour`: what it
 * receives and sends by other paths is worth more than a gateway that is down after an upgrade. In
 * observe mode nothing is mailed, so that it is a warning of what comes with mode = "bridge".
 */
export function relayFaults(config: Config): PathFault[] {
  return config.mode === "bridge" ? relayless(config, "needs a relay") : [];
}

function relayless({ neighbours, outbound }: Config, what: string): PathFault[] {
  if (outbound !== undefined) return [];
  const remedy =
    'write [outbound] with relay = "smtp://127.0.0.1:25", or remove mail if it only sends to us';
  return neighbours.flatMap((peer, index) => {
    const message = `${what}, to which its updates are handed: ${remedy}`;
    return goesByMail(peer) ? [{ path: ["peer", index, "mail"], message }] : [];
  });
}

/** Paths that a neighbour has and the gateway has not. */
function roadWarnings(config: Config): PathFault[] {
  const { mode, neighbours, kx, smtp, spool, hkp } = config;
  const found = mode === "observe" ? relayless(config, 'needs a relay for mode = "bridge"') : [];
  neighbours.forEach((peer, index) => {
    const warn = (key: string, message: string) =>
      found.push({ path: ["peer", index, key], message });
    if (goesByKx(peer) && kx === undefined) {
      warn("kx", "is not used: write a section [kx], without which KX is disabled");
    }
    if (peer.acceptFrom.length > 0 && (smtp ?? spool ?? hkp) === undefined) {
      warn("accept_from", "is not used: write a section [smtp], without which no mail is accepted");
    }
  });
  return found;
}

function addressWarnings(config: Config): PathFault[] {
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
