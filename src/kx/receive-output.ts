/**
 * The outputs that each input of a peer's receive state returns, to be carried out
 * in order. Types only; what causes which is the rules of `receive-state.ts`.
 */
import type { UpdateHash } from "../update.js";
import type { Announcement } from "./messages.js";

/** A number of the peer's with the hash that stood there. */
export interface WirePosition {
  readonly number: number;
  readonly hash: UpdateHash;
}

/** Why all is listed anew: the peer's numbers began again, or the operator wants it. */
export type ResetReason = "wrapped" | "other-log" | "ordered";

export type ReceiveOutput =
  /** Ask for the announcements of these wire numbers, both included. */
  | { readonly type: "list"; readonly low: number; readonly high: number }
  /** The update is not here yet, and this peer has it. */
  | { readonly type: "want"; readonly announcement: Announcement }
  /** The cursor moved, or was forgotten. Storing it late is safe: the numbers come again. */
  | { readonly type: "cursor"; readonly at: WirePosition | undefined }
  /** Numbers that the peer no longer lists: what they were is not known. */
  | { readonly type: "gap"; readonly low: number; readonly high: number }
  | { readonly type: "reset"; readonly reason: ResetReason };
