/**
 * Who may hold how many connections at once, so that strangers cannot shut neighbours out: a total,
 * a share of it for strangers, and a share for each client. The same rule for SMTP and HKP; how
 * somebody is turned away is up to the door.
 */

export interface Shares {
  /** Connections at once. */
  readonly sessions: number;
  /** Of these, connections from addresses that are no neighbour's. */
  readonly strangers: number;
  /** Connections from one address of a neighbour, which may be a relay of many. */
  readonly perNeighbour: number;
  /** Connections from any other address. */
  readonly perStranger: number;
}

/** Who holds a connection. */
export interface Visitor {
  /** As `clientHost` says. */
  readonly client: string;
  readonly isStranger: boolean;
}

/** Whether `visitor`, who is one of `open`, is one too many. */
export function isOverShare(
  open: readonly Visitor[],
  visitor: Visitor,
  { sessions, strangers, perNeighbour, perStranger }: Shares,
): boolean {
  if (open.length > sessions) return true;
  const fromHere = open.filter(({ client }) => client === visitor.client).length;
  if (!visitor.isStranger) return fromHere > perNeighbour;
  const fromStrangers = open.filter(({ isStranger }) => isStranger).length;
  return fromHere > perStranger || fromStrangers > strangers;
}
