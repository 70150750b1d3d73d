/**
 * The central value of the program: an update, and the names by which it is known.
 *
 * An update is one OpenPGP key's worth of news: a whole new key, or the primary key with what was
 * added to it (thesis 3.1, footnote 3). It is immutable, its hash is its name, and every room from
 * the mail dialect to the log hands on this same shape. This file knows no format and no storage.
 */

/** MD5 of the canonical packets as 32 lower-case hex digits (thesis 4.2): the name of an update. */
export type UpdateHash = string & { readonly __brand: "UpdateHash" };

/** Upper-case hex fingerprint of the primary key: 32 (v3), 40 (v4) or 64 (v5, v6) digits. */
export type Fingerprint = string & { readonly __brand: "Fingerprint" };

/**
 * Position in the update log, from 1, growing without gaps, never reused. A JavaScript number
 * counts to 2^53 without loss; KX shows the low 31 bits of it.
 */
export type Seq = number & { readonly __brand: "Seq" };

/** Where a packet stands and what it is, as 16 octets: see `openpgp/news.ts`. */
export type PacketName = Buffer;

export interface Update {
  readonly hash: UpdateHash;
  /** SHA-256 of the hash input as 64 hex digits: tells apart two updates that share one MD5. */
  readonly digest: string;
  readonly fingerprint: Fingerprint;
  /** The packets in canonical order, old-format headers up to tag 15: what we store and relay. */
  readonly body: Uint8Array;
  /**
   * The key as it came, with its self-signatures alone: what completes later updates is learnt from
   * it (`openpgp/skeleton.ts`). Undefined when there is nothing to learn.
   */
  readonly selfSigned: Uint8Array | undefined;
  /** The names of its packets, to be remembered as what everybody was told. */
  readonly packets: readonly PacketName[];
}

/**
 * Which road an update came in by: "hkp" was posted to us, "repair" is a key that we asked a
 * keyserver for because an update was lost, "import" came from a keyring, "recon" is a key that we
 * fetched because a server that is followed by recon has it.
 */
export type Transport = "mail" | "kx" | "hkp" | "repair" | "import" | "recon";

/** Where an update came from: the operator's name for the neighbour and the road. */
export interface Origin {
  /** Config name of the neighbour, or undefined when several could have sent it. */
  readonly neighbour: string | undefined;
  readonly transport: Transport;
}
