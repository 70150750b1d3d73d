/**
 * What the exchange keeps for each peer and for each connection, and what the operator sees of
 * them. Values without rules; the rules are in `exchange.ts`.
 */

import type { Held } from "../kx/fetch-tracker.js";
import type { Opening, Receipt } from "../kx/messages.js";
import type { UpdateRequest } from "../kx/open-requests.js";
import type { KeyState } from "../kx/range-sum.js";
import type { KeyRange } from "../kx/reconcile.js";
import type { AskedNumber, EndReason } from "../kx/session.js";
import { Session } from "../kx/session.js";
import type { Seq } from "../update.js";
import { ReadProof } from "./read-proof.js";
import type { ReconcileReport } from "./reconcile-report.js";
import { SendQueue } from "./send-queue.js";
import type { ServedListing } from "./serving.js";
import { ToldReceipts } from "./told-receipts.js";

export interface PeerConnection {
  readonly id: number;
  readonly peer: Peer;
  readonly session: Session;
  readonly sendQueue: SendQueue;
  readonly proof: ReadProof;
  /** Whether LISTs are sent for the proof alone: not to a peer that sends receipts. */
  asksForProof: boolean;
  /** What the peer says of itself; undefined in KX/1.0. */
  opening: Opening | undefined;
  /** What its receipts say of our log. */
  receipts: ToldReceipts;
  readonly dialled: boolean;
  /** Position in our log up to which the peer was told on this connection, from the greeting on. */
  told: number;
  /** Position in what is offered again up to which the peer was told on this connection. */
  offered: number;
  /** The LIST that is being answered, and when its next slice is due; Infinity for no timer. */
  listing: ServedListing | undefined;
  listsAt: number;
  /** A RANGE whose answer waits for its turn. */
  ranges: AskedRanges | undefined;
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
  /** It has spoken KX/1.1 since the start of the process. */
  hasSpoken11: boolean;
  /** It spoke KX/1.1 once, and KX/1.0 at its last greeting. */
  isDowngraded: boolean;
  connectedSince: number | undefined;
  bytesIn: number;
  bytesOut: number;
  /** Bytes of both directions that were reported (`kx-traffic`), and when. */
  reported: number;
  reportedAt: number;
}

/** A RANGE that a peer has sent. */
export type AskedRanges = AskedNumber & { readonly kind: "ranges" };

export type KxVersion = "1.0" | "1.1";

/** What is to be sent to a peer on the connection in use. */
export type PeerOrder =
  | ({ readonly type: "done"; readonly peer: string } & Receipt)
  | { readonly type: "list"; readonly peer: string; readonly low: number; readonly high: number }
  | { readonly type: "compare"; readonly peer: string; readonly ranges: readonly KeyRange[] }
  | { readonly type: "tell"; readonly peer: string; readonly keys: readonly KeyState[] }
  | { readonly type: "get"; readonly peer: string; readonly requests: readonly UpdateRequest[] };

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
  /** The protocol that is spoken; undefined while disconnected. */
  readonly version?: KxVersion | undefined;
  /** Whether it spoke KX/1.1 once and KX/1.0 at its last greeting, though 1.1 is wanted. */
  readonly isDowngraded?: boolean | undefined;
  /**
   * Position in our log up to which the peer has said that it has settled all (KX/1.1); undefined
   * if it sends no receipts.
   */
  readonly done?: number | undefined;
  /** Whether it holds an update, by its receipts on this connection; undefined if not known. */
  readonly receiptOf?: ((seq: Seq) => "held" | "declined" | undefined) | undefined;
  /** How many newer updates it has not settled; undefined if it sends no receipts. */
  readonly unread?: number | undefined;
  /** The comparison of the keys that is under way, or the last one. */
  readonly reconcile?: ReconcileReport | undefined;
  /** Bytes of both directions that no event has reported yet. */
  readonly unreported: number;
  /** Whether the operator paused the peer. */
  readonly isPaused?: boolean;
}

/** The connections of a peer on which requests may be sent, oldest first. */
export function openConnections(peer: Peer): PeerConnection[] {
  return peer.connections.filter((connection) => connection.session.isOpen);
}

/**
 * A new connection; `asksForProof` if LISTs may be sent for the proof alone. `own` is what we say
 * of ourselves in KX/1.1, undefined if the peer is spoken to in KX/1.0 only.
 */
export function newConnection(
  id: number,
  peer: Peer,
  dialled: boolean,
  { asksForProof, own }: { readonly asksForProof: boolean; readonly own: Opening | undefined },
  now: number,
): PeerConnection {
  return {
    id,
    peer,
    session: new Session(now, own),
    sendQueue: new SendQueue(now),
    proof: new ReadProof(),
    asksForProof,
    opening: undefined,
    receipts: new ToldReceipts(0),
    dialled,
    told: 0,
    offered: 0,
    listing: undefined,
    listsAt: Infinity,
    ranges: undefined,
    closeAt: undefined,
    reason: undefined,
    isUseful: false,
  };
}

/** The protocol that is spoken on a connection whose greeting is over. */
export function versionOf({ opening }: PeerConnection): KxVersion {
  return opening === undefined ? "1.0" : "1.1";
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
