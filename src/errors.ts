/**
 * The error classes.
 *
 * A `Refusal` is bad input and is reported to its sender. A `Trouble` is a fault of this host or
 * of the gateway: it is a temporary failure for others, and its remedy is for the operator. Every
 * other error is a bug and ends the process. Expected outcomes (a duplicate, more bytes needed)
 * are values and not errors. Messages never quote key material.
 */

/** What each way in makes of a refusal. */
export interface RefusalKind {
  /** Reply code and enhanced status code, over SMTP and LMTP. */
  readonly smtp: readonly [code: number, status: string];
  /** Status of the HTTP answer. */
  readonly hkp: number;
  /**
   * What is reported of a KX peer's update. KX has no answer to an UPDATE, so the peer is sent no
   * code: the update is not wanted, or the peer sent something else than it announced.
   */
  readonly kx: "update-refused" | "update-wrong";
  /** What a repair makes of it: nothing was lost, another source is asked, the same one again. */
  readonly repair: "refused" | "absent" | "failed";
  /** The key makes sense and is not carried here: to a keyserver over HKP it is "ignored". */
  readonly isDeclined?: true;
}

const BAD: RefusalKind = { smtp: [550, "5.6.0"], hkp: 422, kx: "update-wrong", repair: "failed" };
const UNWANTED: RefusalKind = {
  ...{ smtp: [550, "5.7.1"], hkp: 422, kx: "update-refused", repair: "refused", isDeclined: true },
};
/** The update may have been small and its key is too large to be taken whole: that is a loss. */
const OVER_LIMIT: RefusalKind = { ...UNWANTED, smtp: [552, "5.3.4"], repair: "absent" };

/** Why material is refused: a closed set, used in answers, counters and tests. */
export const REFUSALS = {
  "no-key": BAD,
  "bad-armor": BAD,
  "bad-crc": BAD,
  "bad-packet": { ...BAD, isDeclined: true },
  "secret-key": BAD,
  "not-key-material": BAD,
  "too-large": { ...BAD, smtp: [552, "5.3.4"], hkp: 413, isDeclined: true },
  "bad-mail": BAD,
  "bad-request": { ...BAD, hkp: 400 },
  "unknown-sender": { ...BAD, smtp: [550, "5.7.1"], hkp: 403 },
  "unknown-recipient": { ...BAD, smtp: [550, "5.7.1"] },
  "several-keys": BAD,
  "too-fast": { ...BAD, smtp: [450, "4.7.1"], hkp: 429 },
  "hash-mismatch": BAD,
  "wrong-key": BAD,
  "policy-size": OVER_LIMIT,
  "policy-packets": OVER_LIMIT,
  "policy-attribute": UNWANTED,
  "policy-carry": UNWANTED,
  "policy-new-key": UNWANTED,
  blocked: UNWANTED,
} as const satisfies Record<string, RefusalKind>;

export type RefusalReason = keyof typeof REFUSALS;

export function refusalKind(reason: RefusalReason): RefusalKind {
  return REFUSALS[reason];
}

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

/**
 * Kinds of faults of the host or the log. `away`: the database that several gateways share does not
 * answer; whether the last commit was stored is not known.
 */
export type TroubleKind =
  | "disk-full"
  | "read-only"
  | "busy"
  | "corrupt"
  | "not-ours"
  | "unusable"
  | "away";

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
  protocol: 76,
  noPermission: 77,
  config: 78,
} as const;
