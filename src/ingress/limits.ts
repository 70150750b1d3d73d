/**
 * How much a client of the SMTP and the HKP door may ask of us, as numbers with their reasons. A
 * door takes them as a parameter, so that a test need not wait for minutes. RFC 5321 section 4.5.3
 * names minima for what strangers may expect; mail from strangers is bounces only, hence the small
 * share of slots.
 */
import type { PaceLimits } from "./pace.js";
import type { Shares } from "./shares.js";

export interface SmtpLimits {
  /** From one reply to the next command, however busily it trickles. RFC 5321 4.5.3.2.7. */
  readonly commandMs: number;
  /** A whole message, whatever its pace: the longest an honest sender waits for our final reply. */
  readonly dataMs: number;
  /** How long a message may stand still or start slowly before its pace counts. */
  readonly graceMs: number;
  /** The pace that a message must keep on the whole, Postfix's smtpd_min_data_rate. */
  readonly bytesPerSecond: number;
  /** How long a session may finish its message when we go down. */
  readonly closeMs: number;
  /** Sessions at once. */
  readonly sessions: number;
  /** Of these, sessions from addresses that are no neighbour's. */
  readonly strangers: number;
  /** Sessions from one address of a neighbour, which may be a relay of many. */
  readonly perNeighbour: number;
  /** Sessions from any other address. */
  readonly perStranger: number;
  /** RFC 5321 4.5.3.1.4 asks for 512 and more with extensions. */
  readonly commandBytes: number;
  /** RFC 5321 4.5.3.1.8. */
  readonly recipients: number;
  /**
   * An oversized message is read to its end, to be answered, up to so many times the size cap:
   * 2 MiB of lines that are a dot each cost the parser 2 s.
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
  /** How long a connection without a request is kept. */
  readonly idleMs: number;
  /** How long a request may take when we go down. */
  readonly closeMs: number;
  /** Of a head. */
  readonly headerBytes: number;
  /** An oversized request is read to its end, to be answered, up to so many times the size cap. */
  readonly oversizeFactor: number;
  /** Bodies of strangers that are held at once; never less than one largest request. */
  readonly strangerBytes: number;
  /** Bodies of all clients that are held at once; never less than two largest requests. */
  readonly heldBytes: number;
  /** Strangers of all networks together may post so many times what one network may. */
  readonly networks: number;
}

/** Shares and pace are those of SMTP. A client waits for its answer, so that times are shorter. */
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
