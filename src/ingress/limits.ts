/**
 * Limits for clients of the SMTP and HKP doors, each with its reason. A door takes them as a
 * setting, so that tests can use shorter times. RFC 5321 section 4.5.3 gives the minima. Strangers
 * send only bounces, so their share of sessions is small.
 */
import type { PaceLimits } from "./pace.js";
import type { Shares } from "./shares.js";

export interface SmtpLimits {
  /** From one reply to the end of the next command. RFC 5321 section 4.5.3.2.7. */
  readonly commandMs: number;
  /** A whole message, whatever its pace: senders wait this long for the reply to a message. */
  readonly dataMs: number;
  /** How long a message may be slow before its pace counts. */
  readonly graceMs: number;
  /** Minimum average pace of a message. The value is Postfix's smtpd_min_data_rate. */
  readonly bytesPerSecond: number;
  /** How long a session may finish its message at shutdown. */
  readonly closeMs: number;
  /** Sessions at the same time. */
  readonly sessions: number;
  /** Of these, sessions from addresses that belong to no neighbour. */
  readonly strangers: number;
  /** Sessions from one address of a neighbour, which may be a relay of several neighbours. */
  readonly perNeighbour: number;
  /** Sessions from any other address. */
  readonly perStranger: number;
  /** RFC 5321 section 4.5.3.1.4 requires 512, and more with extensions. */
  readonly commandBytes: number;
  /** RFC 5321 section 4.5.3.1.8. */
  readonly recipients: number;
  /**
   * An oversized message is read to its end and answered, up to this many times the size limit.
   * The parser takes 2 s for 2 MiB of lines of one dot.
   */
  readonly oversizeFactor: number;
}

export const SMTP_LIMITS: SmtpLimits = {
  commandMs: 5 * 60_000,
  dataMs: 10 * 60_000,
  graceMs: 60_000,
  bytesPerSecond: 500,
  closeMs: 10_000,
  sessions: 200,
  strangers: 100,
  perNeighbour: 50,
  perStranger: 10,
  commandBytes: 2048,
  recipients: 100,
  oversizeFactor: 2,
};

export interface HkpLimits extends Shares, PaceLimits {
  /** From the connection, or the first byte of a further request, to the end of its head. */
  readonly headersMs: number;
  /** How long an idle connection is kept. */
  readonly idleMs: number;
  /** How long a request may take at shutdown. */
  readonly closeMs: number;
  /** Size of a request head. */
  readonly headerBytes: number;
  /** An oversized request is read to its end and answered, up to this many times the size limit. */
  readonly oversizeFactor: number;
  /** Memory for bodies of strangers; at least one request of the largest size. */
  readonly strangerBytes: number;
  /** Memory for bodies of all clients; at least two requests of the largest size. */
  readonly heldBytes: number;
  /** Strangers of all networks together may post this many times the rate of one network. */
  readonly networks: number;
}

/** Shares and pace are those of SMTP. Times are shorter, because a client waits for its answer. */
export const HKP_LIMITS: HkpLimits = {
  sessions: 200,
  strangers: 100,
  perNeighbour: 50,
  perStranger: 10,
  headersMs: 20_000,
  dataMs: 5 * 60_000,
  graceMs: 20_000,
  bytesPerSecond: 500,
  idleMs: 5000,
  closeMs: 5000,
  headerBytes: 16_384,
  oversizeFactor: 4,
  strangerBytes: 16 * 1024 ** 2,
  heldBytes: 128 * 1024 ** 2,
  networks: 10,
};
