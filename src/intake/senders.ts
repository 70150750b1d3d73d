/**
 * Which neighbours may deliver from an address: those whose `accept_from` contains it. If several
 * neighbours share an address (a relay), the mail decides which of them it is from. It does not
 * know the protocol.
 */
import type { Neighbour } from "../config/config.js";
import { IpNetworks } from "../ip-address.js";
import { isSameAddress } from "../mail-address.js";

/** Addresses for which the candidates are kept: each is compared with every range. */
const MAX_KNOWN = 1000;

export class KnownSenders {
  /** Every neighbour: the candidates where no address is known. */
  readonly all: readonly Neighbour[];
  readonly #senders: readonly { readonly neighbour: Neighbour; readonly from: IpNetworks }[];
  readonly #known = new Map<string, readonly Neighbour[]>();

  constructor(neighbours: readonly Neighbour[]) {
    this.all = neighbours;
    this.#senders = neighbours
      .filter((neighbour) => neighbour.acceptFrom.length > 0)
      .map((neighbour) => ({ neighbour, from: new IpNetworks(neighbour.acceptFrom) }));
  }

  /** The neighbours that may deliver from `address`, in any notation. */
  at(address: string): readonly Neighbour[] {
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const found = this.#senders
      .filter(({ from }) => from.has(address))
      .map(({ neighbour }) => neighbour);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(address, found);
    return found;
  }
}

/** What a mail says about its author. */
interface Marks {
  readonly trail: readonly string[];
  /** Sender of the envelope and From. */
  readonly addresses: readonly (string | undefined)[];
}

/**
 * The one of `candidates` that wrote a mail: the only candidate, or the one that the mail names.
 * Undefined if none fits. Then the update has no neighbour as its origin, and only the trail keeps
 * it from going back: it may be sent twice and is not lost.
 */
export function senderOf(candidates: readonly Neighbour[], marks: Marks): Neighbour | undefined {
  return candidates.length === 1 ? candidates[0] : authorOf(candidates, marks);
}

/** The candidate whose address is last in the trail, the envelope sender or in From. */
export function authorOf(candidates: readonly Neighbour[], marks: Marks): Neighbour | undefined {
  for (const mark of [marks.trail.at(-1), ...marks.addresses]) {
    const found = candidates.find(({ mail }) => isSameAddress(mail, mark));
    if (found !== undefined) return found;
  }
  return undefined;
}
