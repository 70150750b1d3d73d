/**
 * What the exchange keeps for each peer and for each connection, and what the operator sees of
 * them. Values without rules; the rules are in `exchange.ts`.
 */

import type { Held } from "../kx/fetch-tracker.js";
import type { EndReason } from "../kx/session.js";
import { Session } from "../kx/session.js";
import type { UpdateHash } from "../update.js";
import { ReadProof } from "./read-proof.js";
import { SendQueue } from "./send-queue.js";
import type { ServedListing } from "./serving.js";

export interface PeerConnection {
  readonly id: number;
  readonly peer: Peer;
  readonly session: Session;
  readonly sendQueue: SendQueue;
  readonly proof: ReadProof;
  /** Whether LISTs are sent for the proof alone. */
  readonly asksForProof: boolean;
  readonly dialled: boolean;
  /** Position in our log up to which the peer was told on this connection, from the greeting on. */
  told: number;
  /** The LIST that is being answered, and when its next slice is due; Infinity for no timer. */
  listing: ServedListing | undefined;
  listsAt: number;
  closeAt: number | undefined;
  reason: EndReason | "dropped" | undefined;
  /** Whether an update or an announcement passed after the greeting, in either direction. */
  isUseful: boolean;
}

export interface Peer {
  readonly name: string;
  readonly connections: PeerConnection[];
  /** The connection in use. */
  primary: PeerConnection | undefined;
  connectedSince: number | undefined;
  bytesIn: number;
  bytesOut: number;
  /** Bytes of both directions that were reported (`kx-traffic`), and when. */
  reported: number;
  reportedAt: number;
}

/** A request to be sent to a peer on the connection in use. */
export type PeerOrder =
  | { readonly type: "list"; readonly peer: string; readonly low: number; readonly high: number }
  | {
      readonly type: "get";
      readonly peer: string;
      readonly number: number;
      readonly hash: UpdateHash;
    };

/** How far a peer has been received. */
export interface ReceivingStatus {
  readonly cursor: number | undefined;
  readonly newest: number | undefined;
  readonly missing: number;
  readonly inFlight: number;
  /** Why fetching waits, and until when in ms since 1970; undefined if it does not. */
  readonly held: Held | undefined;
}

/** One KX peer as the operator sees it. */
export interface PeerStatus extends ReceivingStatus {
  readonly name: string;
  readonly connected: boolean;
  /** Wall clock, ms since 1970; undefined while disconnected. */
  readonly connectedSince: number | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes of both directions that no event has reported yet. */
  readonly unreported: number;
  /** Whether the operator paused the peer. */
  readonly isPaused?: boolean;
}

/** The connections of a peer on which requests may be sent, oldest first. */
export function openConnections(peer: Peer): PeerConnection[] {
  return peer.connections.filter((connection) => connection.session.isOpen);
}

/** A new connection; `asksForProof` if LISTs may be sent for the proof alone. */
export function newConnection(
  id: number,
  peer: Peer,
  dialled: boolean,
  asksForProof: boolean,
  now: number,
): PeerConnection {
  return {
    id,
    peer,
    session: new Session(now),
    sendQueue: new SendQueue(now),
    proof: new ReadProof(),
    asksForProof,
    dialled,
    told: 0,
    listing: undefined,
    listsAt: Infinity,
    closeAt: undefined,
    reason: undefined,
    isUseful: false,
  };
}

/** When the peer is asked whether it has read what it fetched; Infinity for not now. */
export function proofWantedAt(connection: PeerConnection): number {
  const { session, sendQueue, proof, asksForProof } = connection;
  if (!asksForProof || !session.isOpen || !sendQueue.isNearlyEmpty) return Infinity;
  return proof.nextAt();
}

/** When something is due on a connection; Infinity for never. */
export function dueAt(connection: PeerConnection): number {
  const { session, sendQueue, closeAt = Infinity } = connection;
  const sessionAt = session.nextAt() ?? Infinity;
  const { listsAt } = connection;
  return Math.min(sessionAt, sendQueue.stallsAt, closeAt, listsAt, proofWantedAt(connection));
}
