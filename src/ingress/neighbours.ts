/**
 * Who is on the line: the neighbours whose `accept_from` holds the address that connects. The
 * address decides who may deliver; where several neighbours share one (a relay in front), the
 * mail itself tells which of them it is from. Knows no protocol.
 */
import { BlockList, isIPv6 } from "node:net";
import type { Neighbour } from "../config/config.js";
import { isSameAddress } from "../mail-address.js";

const LOOPBACK = networks(["127.0.0.0/8", "::1"]);

/** Whether `address` is this host's own, in any spelling. */
export function isLoopback(address: string): boolean {
  return LOOPBACK.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

export class KnownSenders {
  /** Every neighbour: who may be meant where no address is known. */
  readonly all: readonly Neighbour[];
  readonly #senders: readonly { readonly neighbour: Neighbour; readonly from: BlockList }[];

  constructor(neighbours: readonly Neighbour[]) {
    this.all = neighbours;
    this.#senders = neighbours
      .filter((neighbour) => neighbour.acceptFrom.length > 0)
      .map((neighbour) => ({ neighbour, from: networks(neighbour.acceptFrom) }));
  }

  /** The neighbours that may deliver from `address` (IPv4, IPv6, or IPv4 in IPv6). */
  at(address: string): Neighbour[] {
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    return this.#senders
      .filter(({ from }) => from.check(address, family))
      .map(({ neighbour }) => neighbour);
  }
}

/** What a mail says about who wrote it. */
interface Marks {
  readonly trail: readonly string[];
  /** Sender of the envelope and From. */
  readonly addresses: readonly (string | undefined)[];
}

/**
 * The one of `candidates` that wrote a mail: the only one, else the one that it names. Undefined
 * when none fits: then the update counts as nobody's, and the trail alone keeps it from going back,
 * which repeats but never loses.
 */
export function senderOf(candidates: readonly Neighbour[], marks: Marks): Neighbour | undefined {
  return candidates.length === 1 ? candidates[0] : authorOf(candidates, marks);
}

/** The one whose address is the last of the trail, the sender of the envelope or in From. */
export function authorOf(candidates: readonly Neighbour[], marks: Marks): Neighbour | undefined {
  for (const mark of [marks.trail.at(-1), ...marks.addresses]) {
    const found = candidates.find(({ mail }) => isSameAddress(mail, mark));
    if (found !== undefined) return found;
  }
  return undefined;
}

function networks(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}
