/**
 * Limits the connections that are open at the same time, so that strangers cannot use up those of
 * neighbours: a total, a share of it for strangers, and a share for each client. SMTP and HKP use
 * the same rule; each door has its own reply.
 */

export interface Shares {
  /** Connections at the same time. */
  readonly sessions: number;
  /** Of these, connections from addresses that belong to no neighbour. */
  readonly strangers: number;
  /** Connections from one address of a neighbour, which may be a relay of several neighbours. */
  readonly perNeighbour: number;
  /** Connections from any other address. */
  readonly perStranger: number;
}

/** The client of a connection. */
export interface Visitor {
  /** As returned by `clientHost`. */
  readonly client: string;
  readonly isStranger: boolean;
}

/** Whether `visitor`, which is in `open`, exceeds a limit. */
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
