/**
 * The words of KX/1.0 (thesis A.2): what a message is once it left the byte stream, and how its
 * data lines read. `parser.ts` finds the messages, `serializer.ts` writes them, `session.ts`
 * says which one is legal when. A number here is a wire number: 31 bits, as the thesis has it; the
 * log's wider numbers are cut down to it and found again by `wireNumber` and `seqOfWire`.
 */
import type { Seq, UpdateHash } from "../update.js";

/** One IHAVE line: the announcer's own number, the key it is about, and the update's name. */
export interface Announcement {
  readonly number: number;
  /** Upper-case hex, or undefined when the line came without one, which 2003 code may do. */
  readonly fingerprint: string | undefined;
  readonly hash: UpdateHash;
}

/** Inclusive; `low` undefined is "from the first", `high` undefined "to the newest". */
export interface NumberRange {
  readonly low: number | undefined;
  readonly high: number | undefined;
}

/** A message whose data read well. `inReplyTo` undefined stands for NOTIFY. */
export type Message =
  | { readonly command: "HELO"; readonly tag: string; readonly version: string }
  | {
      readonly command: "IHAVE";
      readonly tag: string;
      readonly inReplyTo: string | undefined;
      readonly announcements: readonly Announcement[];
    }
  | { readonly command: "LIST"; readonly tag: string; readonly ranges: readonly NumberRange[] }
  | { readonly command: "GETUPDATE"; readonly tag: string; readonly numbers: readonly number[] }
  | {
      readonly command: "UPDATE";
      readonly tag: string;
      readonly inReplyTo: string;
      readonly announcement: Announcement;
      readonly armor: Uint8Array;
    }
  | {
      readonly command: "ERROR";
      readonly tag: string;
      readonly inReplyTo: string | undefined;
      readonly code: number;
      readonly text: string;
    }
  | { readonly command: "CLOSE"; readonly tag: string; readonly inReplyTo: string | undefined };

export type Command = Message["command"];

/** A complete message that makes no sense by its command or data; the stream is still framed. */
export interface Malformed {
  readonly command: "malformed";
  readonly tag: string;
  /** The command as it was written, upper case. */
  readonly name: string;
  /** A sentence for the peer's ERROR line. */
  readonly problem: string;
}

/** Error codes of thesis A.2.6. */
export const ERROR_CODE = { generic: 500, troubleWithError: 501, sequence: 551 } as const;

/** Highest wire number; the next one is 0 (thesis 5.3, attack 1). */
export const MAX_NUMBER = 0x7fff_ffff;

/** The number that peers see for a position in our log. */
export function wireNumber(seq: Seq | number): number {
  return seq % (MAX_NUMBER + 1);
}

/**
 * The newest position in our log that shows as `number`, given our newest position; undefined when
 * no position has shown as it yet. Announcements live 30 days, so no two of them share a number.
 */
export function seqOfWire(number: number, newest: Seq | number): Seq | undefined {
  const modulus = MAX_NUMBER + 1;
  const behind = (((newest - number) % modulus) + modulus) % modulus;
  const seq = newest - behind;
  return seq < 0 ? undefined : (seq as Seq);
}

const ANNOUNCEMENT =
  /^(\d{1,10}) +(?:([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}) +)?([0-9A-Fa-f]{32}) *$/;

/** Reads an IHAVE line, in any case, with fingerprint or without; undefined when it is none. */
export function readAnnouncement(line: string): Announcement | undefined {
  const match = ANNOUNCEMENT.exec(line);
  const number = readNumber(match?.[1]);
  const hash = match?.[3];
  if (number === undefined || hash === undefined) return undefined;
  return { number, fingerprint: match?.[2]?.toUpperCase(), hash: hash.toLowerCase() as UpdateHash };
}

/** Reads a wire number: decimal digits only, at most 2^31-1. */
export function readNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= MAX_NUMBER ? number : undefined;
}

/** Reads a LIST line: `n`, `n-m`, `n-`, and of the kinder sort `-m` and `-`. */
export function readRange(line: string): NumberRange | undefined {
  const match = /^(\d{1,10})?(-)?(\d{1,10})?$/.exec(line.trim());
  if (match === null) return undefined;
  const [, first = "", dash = "", last = ""] = match;
  const low = readNumber(first);
  const high = readNumber(last);
  if ((first !== "" && low === undefined) || (last !== "" && high === undefined)) return undefined;
  if (dash === "") return low === undefined || last !== "" ? undefined : { low, high: low };
  return { low, high };
}
