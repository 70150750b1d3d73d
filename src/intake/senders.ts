/**
 * Who is on the line: the neighbours whose `accept_from` holds the address that connects. The
 * address decides who may deliver; where several neighbours share one (a relay in front), the
 * mail itself tells which of them it is from. Knows no protocol.
 */
import type { Neighbour } from "../config/config.js";
import { IpNetworks } from "../ip-address.js";
import { isSameAddress } from "../mail-address.js";

export class KnownSenders {
  /** Every neighbour: who may be meant where no address is known. */
  readonly all: readonly Neighbour[];
  readonly #senders: readonly { readonly neighbour: Neighbour; readonly from: IpNetworks }[];

  constructor(neighbours: readonly Neighbour[]) {
    this.all = neighbours;
    this.#senders = neighbours
      .filter((neighbour) => neighbour.acceptFrom.length > 0)
      .map((neighbour) => ({ neighbour, from: new IpNetworks(neighbour.acceptFrom) }));
  }

  /** The neighbours that may deliver from `address`, in any spelling. */
  at(address: string): Neighbour[] {
    return this.#senders.filter(({ from }) => from.has(address)).map(({ neighbour }) => neighbour);
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
