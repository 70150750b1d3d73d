/**
 * The messages of KX/1.0 (thesis A.2) and of KX/1.1 (OPEN, DONE, RANGE and ITEMS, docs/protocol.md)
 * as types, and the readers of their data lines. `parser.ts` reads messages from bytes,
 * `serializer.ts` writes them, `session.ts` says which message is legal when. Numbers here are wire
 * numbers of 31 bits, as in the thesis. `wireNumber` and `seqOfWire` convert from and to the wider
 * numbers of the log.
 */
import type { Fingerprint, LogName, Named, Seq, UpdateDigest, UpdateHash } from "../update.js";
import type { KeyState } from "./range-sum.js";
import type { Items, KeyRange } from "./reconcile.js";

/**
 * One IHAVE line: the announcer's own number, the fingerprint of the key, the update hash, and with
 * the feature "sha256" the SHA-256.
 */
export interface Announcement extends Named {
  readonly number: number;
  /** Upper-case hex, or undefined: the implementation of 2003 may leave it out. */
  readonly fingerprint: string | undefined;
}

/** Which features of KX/1.1 both sides of a connection use (docs/protocol.md). */
export interface Features {
  /** Receipts (DONE). */
  readonly receipt: boolean;
  /** Announcements carry the SHA-256 as well. */
  readonly sha256: boolean;
  /** IHAVE and UPDATE are octets, with their length in the command line. */
  readonly octets: boolean;
  /** Sets of keys are compared (RANGE and ITEMS). */
  readonly reconcile: boolean;
}

/**
 * The features that are always offered. "reconcile" is too, unless the gateway observes;
 * whether there is a key index is not looked at, since one may be built at any time.
 */
export const FEATURES: readonly string[] = ["receipt", "sha256", "octets"];

/** KX/1.0, and KX/1.1 before the peer has said what it knows. */
export const NO_FEATURES: Features = {
  receipt: false,
  sha256: false,
  octets: false,
  reconcile: false,
};

/** The features that both sides name; `theirs` undefined for a peer of KX/1.0. */
export function featuresOf(theirs: Opening | undefined, ours: Opening | undefined): Features {
  const isUsed = (word: keyof Features) => {
    return [theirs, ours].every((side) => side?.features.includes(word) ?? false);
  };
  return {
    receipt: isUsed("receipt"),
    sha256: isUsed("sha256"),
    octets: isUsed("octets"),
    reconcile: isUsed("reconcile"),
  };
}

/** An update in an UPDATE of octets; without packets it is not available. */
export interface Delivery {
  readonly number: number;
  /** The packets of one key, not armored. */
  readonly packets: Uint8Array | undefined;
}

/** Inclusive; `low` undefined means "from the first", `high` undefined "to the newest". */
export interface NumberRange {
  readonly low: number | undefined;
  readonly high: number | undefined;
}

/** A well-formed message. `inReplyTo` undefined stands for NOTIFY. */
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
  /** An UPDATE of octets (feature "octets"); its command on the wire is UPDATE as well. */
  | {
      readonly command: "DELIVERY";
      readonly tag: string;
      readonly inReplyTo: string;
      readonly deliveries: readonly Delivery[];
    }
  | {
      readonly command: "ERROR";
      readonly tag: string;
      readonly inReplyTo: string | undefined;
      readonly code: number;
      readonly text: string;
    }
  | { readonly command: "CLOSE"; readonly tag: string; readonly inReplyTo: string | undefined }
  | ({ readonly command: "OPEN"; readonly tag: string } & Opening)
  | ({ readonly command: "DONE"; readonly tag: string } & Receipt)
  | { readonly command: "RANGE"; readonly tag: string; readonly ranges: readonly KeyRange[] }
  | ({
      readonly command: "ITEMS";
      readonly tag: string;
      readonly inReplyTo: string | undefined;
    } & Items);

/** What a side of KX/1.1 says of itself. Features that are unknown here may be among the words. */
export interface Opening {
  /** The name of its log; undefined if it shows none. */
  readonly log: LogName | undefined;
  readonly features: readonly string[];
}

/** How far a side has read the log of the other one. */
export interface Receipt {
  /** The highest wire number up to which every number is settled. */
  readonly number: number;
  /** Numbers up to it that were settled since the last receipt without holding the update. */
  readonly without: readonly NumberRange[];
}

/** The tag of HELO at a side that speaks KX/1.1; to a side of 1.0 it is a tag like any other. */
export const TAG_11 = "KX11";

export type Command = Message["command"];

/** A complete message with an unknown command or malformed data; the framing is intact. */
export interface Malformed {
  readonly command: "malformed";
  readonly tag: string;
  /** The command as received, in upper case. */
  readonly name: string;
  /** The text for the ERROR message to the peer. */
  readonly problem: string;
}

/** Error codes of thesis A.2.6. */
export const ERROR_CODE = { generic: 500, troubleWithError: 501, sequence: 551 } as const;

/** Highest wire number; the number after it is 0 (thesis 5.3, attack 1). */
export const MAX_NUMBER = 0x7fff_ffff;

/** The wire number of a position in our log. */
export function wireNumber(seq: Seq | number): number {
  return seq % (MAX_NUMBER + 1);
}

/**
 * The newest position in our log with this wire number, given our newest position; undefined when
 * no position has had it yet. Announcements are kept for 30 days, so no two of them share a number.
 */
export function seqOfWire(number: number, newest: Seq | number): Seq | undefined {
  const modulus = MAX_NUMBER + 1;
  const behind = (((newest - number) % modulus) + modulus) % modulus;
  const seq = newest - behind;
  return seq < 0 ? undefined : (seq as Seq);
}

const ANNOUNCEMENT =
  /^(\d{1,10}) +(?:([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}) +)?([0-9A-Fa-f]{32}) *$/;
/** The SHA-256 at the end of a line, with the blanks around it. */
const DIGEST = / +([0-9A-Fa-f]{64}) *$/;

/**
 * Reads an IHAVE line, in upper or lower case, with or without fingerprint, and with a SHA-256 if
 * `hasDigest`. Returns undefined for a malformed line.
 */
export function readAnnouncement(line: string, hasDigest = false): Announcement | undefined {
  const end = hasDigest ? DIGEST.exec(line) : undefined;
  if (end === null) return undefined;
  const match = ANNOUNCEMENT.exec(end === undefined ? line : line.slice(0, end.index));
  const number = readNumber(match?.[1]);
  const hash = match?.[3];
  if (number === undefined || hash === undefined) return undefined;
  const read = { number, fingerprint: match?.[2]?.toUpperCase() };
  const named = { ...read, hash: hash.toLowerCase() as UpdateHash };
  return end === undefined ? named : { ...named, digest: end[1]?.toLowerCase() as UpdateDigest };
}

/** Reads a wire number: decimal digits only, at most 2^31-1. */
export function readNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= MAX_NUMBER ? number : undefined;
}

/** Reads the name of a log. */
export function readLogName(text: string): LogName | undefined {
  return /^[0-9A-Fa-f]{32}$/.test(text) ? (text.toLowerCase() as LogName) : undefined;
}

/** Reads a LIST line: `n`, `n-m`, `n-`, and also `-m` and `-`. */
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

const KEY_RANGE = /^(-|[0-9A-F]{1,16}) (\d{1,10}) ([0-9a-f]{32})$/;
const KEY_STATE = /^([0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64}) ([0-9a-f]{32})$/;

/** Reads a range of keys: `prefix count hash`, with `-` for all keys. */
export function readKeyRange(line: string): KeyRange | undefined {
  const [, prefix = "", digits = "", hash = ""] = KEY_RANGE.exec(line) ?? [];
  if (prefix === "") return undefined;
  return { prefix: prefix === "-" ? "" : prefix, count: Number(digits), hash };
}

/** Reads a key: `fingerprint digest`. */
export function readKeyState(line: string): KeyState | undefined {
  const [, fingerprint = "", digest = ""] = KEY_STATE.exec(line) ?? [];
  return fingerprint === "" ? undefined : { fingerprint: fingerprint as Fingerprint, digest };
}
