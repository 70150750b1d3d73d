/**
 * The error classes.
 *
 * A `Refusal` is bad input and is reported to its sender. A `Trouble` is a fault of this host or
 * of the gateway: it is a temporary failure for others, and its remedy is for the operator. Every
 * other error is a bug and ends the process. Expected outcomes (a duplicate, more bytes needed)
 * are values and not errors. Messages never quote key material.
 */

/** Why input was refused: a closed set, used in replies, counters and tests. */
export type RefusalReason =
  | "no-key"
  | "bad-armor"
  | "bad-crc"
  | "bad-packet"
  | "secret-key"
  | "not-key-material"
  | "too-large"
  | "bad-mail"
  | "bad-request"
  | "unknown-sender"
  | "several-keys"
  | "too-fast"
  | "hash-mismatch"
  | "wrong-key"
  | "policy-size"
  | "policy-packets"
  | "policy-attribute"
  | "policy-carry"
  | "policy-new-key"
  | "blocked";

/** Bad input: `reason` for programs, `message` for the sender. */
export class Refusal extends Error {
  readonly reason: RefusalReason;
  /** Fingerprint of the refused key, if known. */
  readonly fingerprint: string | undefined;
  constructor(reason: RefusalReason, message: string, fingerprint?: string) {
    super(message);
    this.name = "Refusal";
    this.reason = reason;
    this.fingerprint = fingerprint;
  }
}

/** A rate limit is exceeded: the same input may be sent again later. */
export class TooFast extends Refusal {
  /** The neighbour whose limit it is; undefined if several share an address. */
  readonly neighbour: string | undefined;
  /** Milliseconds until one more is accepted. */
  readonly waitMs: number;
  constructor(neighbour: string | undefined, waitMs: number, message: string) {
    super("too-fast", message);
    this.name = "TooFast";
    this.neighbour = neighbour;
    this.waitMs = waitMs;
  }
}

/** One error of a configuration, with its place. Lines and columns count from 1. */
export interface ConfigFault {
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** Dotted path, as `smtp.listen` or `peer[1].via`; empty for an error of the whole file. */
  readonly key: string;
  readonly message: string;
}

/** An invalid configuration, with all its errors. Exit code 78. */
export class ConfigFaults extends Error {
  readonly file: string;
  readonly faults: readonly ConfigFault[];
  constructor(file: string, faults: readonly ConfigFault[]) {
    super(`${file}: ${faults.length} fault${faults.length === 1 ? "" : "s"}`);
    this.name = "ConfigFaults";
    this.file = file;
    this.faults = faults;
  }
}

/** Kinds of faults of the host or the log. */
export type TroubleKind = "disk-full" | "read-only" | "busy" | "corrupt" | "not-ours" | "unusable";

/** A fault of this host or the gateway: nothing was stored. `remedy` is for the operator. */
export class Trouble extends Error {
  readonly kind: TroubleKind;
  readonly remedy: string;
  constructor(kind: TroubleKind, message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Trouble";
    this.kind = kind;
    this.remedy = remedy;
  }
}

/** Exit codes of sysexits.h, on which scripts and mail systems rely. */
export const EXIT = {
  ok: 0,
  usage: 64,
  dataError: 65,
  noInput: 66,
  unavailable: 69,
  software: 70,
  cannotCreate: 73,
  ioError: 74,
  tempFail: 75,
  noPermission: 77,
  config: 78,
} as const;
