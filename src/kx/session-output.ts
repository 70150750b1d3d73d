/**
 * What a session tells its owner: the outputs that each of its inputs returns, to be carried out
 * in order. What causes which is the rules of `smtp-session.ts`.
 */
import type { Announcement, NumberRange } from "./messages.js";
import type { UpdateRequest } from "./open-requests.js";

/** Something that the peer asked for, to be answered by `answerList` or `answerUpdate`. */
export type AskedNumber =
  | { readonly kind: "list"; readonly tag: string; readonly ranges: readonly NumberRange[] }
  | { readonly kind: "update"; readonly tag: string; readonly number: number };

export type SessionOutput =
  | { readonly type: "send"; readonly bytes: Uint8Array }
  /** The peer said HELO: call `greet` with our newest announcement now. */
  | { readonly type: "greet" }
  | { readonly type: "established"; readonly newest: Announcement | undefined }
  | { readonly type: "announced"; readonly announcements: readonly Announcement[] }
  | {
      readonly type: "listed";
      readonly low: number;
      readonly high: number;
      readonly announcements: readonly Announcement[];
    }
  | { readonly type: "list-failed"; readonly low: number; readonly high: number }
  | { readonly type: "asked"; readonly asked: AskedNumber }
  | {
      readonly type: "update";
      readonly request: UpdateRequest;
      readonly announcement: Announcement;
      readonly armor: Uint8Array;
    }
  /** The peer has no such update any more. */
  | { readonly type: "unavailable"; readonly request: UpdateRequest }
  /** The peer could not or would not, or sent something too large. */
  | {
      readonly type: "update-failed";
      readonly request: UpdateRequest;
      readonly problem: string;
    }
  /** Answers to GETUPDATEs came in, or parts of one: the requests to this peer move. */
  | { readonly type: "progress" }
  | { readonly type: "silent" }
  /** For the operator: the peer misbehaved or complained. */
  | { readonly type: "complaint"; readonly problem: string }
  /** Close the connection once what was sent has left. */
  | { readonly type: "end"; readonly reason: EndReason; readonly backoffMs?: number };

export type EndReason =
  | "closed"
  | "out-of-sequence"
  | "version"
  | "lost-framing"
  | "too-many-errors"
  | "greeting-timeout"
  | "silent";

/** Whether an output is what a GETUPDATE was waiting for. */
export function isAnswer({ type }: SessionOutput): boolean {
  return type === "update" || type === "unavailable" || type === "update-failed";
}
