/**
 * The central value of the program: an update and its names.
 *
 * An update is the news about one OpenPGP key: a whole new key, or the primary key with the added
 * packets (thesis 3.1, footnote 3). It is immutable and named by its hash. All modules, from the
 * mail dialect to the log, use this type. This file depends on no format and no storage.
 */

/** MD5 of the canonical packets as 32 lower-case hex digits (thesis 4.2): the name of an update. */
export type UpdateHash = string & { readonly __brand: "UpdateHash" };

/** SHA-256 of the same octets as 64 lower-case hex digits. */
export type UpdateDigest = string & { readonly __brand: "UpdateDigest" };

/** The names of an update as it was announced; only KX/1.1 tells the SHA-256. */
export interface Named {
  readonly hash: UpdateHash;
  readonly digest?: UpdateDigest | undefined;
}

/**
 * The names of an announced update as one value, to be waited for and asked for by: the MD5, and
 * behind it the SHA-256 if that was announced too. 32 or 96 digits.
 */
export type AnnouncedName = UpdateHash | (string & { readonly __brand: "AnnouncedName" });

export function nameOf({ hash, digest }: Named): AnnouncedName {
  return digest === undefined ? hash : (`${hash}${digest}` as AnnouncedName);
}

export function namesIn(name: AnnouncedName): Named {
  const hash = name.slice(0, 32) as UpdateHash;
  return name.length === 32 ? { hash } : { hash, digest: name.slice(32) as UpdateDigest };
}

/** Upper-case hex fingerprint of the primary key: 32 (v3), 40 (v4) or 64 (v5, v6) digits. */
export type Fingerprint = string & { readonly __brand: "Fingerprint" };

/**
 * The name of an update log: 32 lower-case hex digits, drawn at random when the file is made. A
 * backup of a log that is in use has another name, since numbers that were given out after it will
 * be given again.
 */
export type LogName = string & { readonly __brand: "LogName" };

/**
 * Position in the update log. Numbers start at 1, grow without gaps and are never reused. A
 * JavaScript number is exact up to 2^53. KX transmits the low 31 bits.
 */
export type Seq = number & { readonly __brand: "Seq" };

/** The position and content of a packet, as 16 octets. See `openpgp/news.ts`. */
export type PacketName = Buffer;

export interface Update {
  readonly hash: UpdateHash;
  /** SHA-256 of the hash input as 64 hex digits. Distinguishes two updates with the same MD5. */
  readonly digest: string;
  readonly fingerprint: Fingerprint;
  /**
   * The packets in canonical order, with old-format headers up to tag 15, as stored and relayed.
   */
  readonly body: Uint8Array;
  /**
   * The key as received, with its self-signatures only. The data that completes later updates is
   * taken from it (`openpgp/skeleton.ts`). Undefined if it adds nothing.
   */
  readonly selfSigned: Uint8Array | undefined;
  /** The names of its packets, to be recorded as already distributed. */
  readonly packets: readonly PacketName[];
  /**
   * Set if the log had the update when it was admitted. `selfSigned` and `packets` are then made
   * when they are first read: only if the entry was removed in between.
   */
  readonly isHeld?: true;
}

/**
 * How an update arrived. "hkp": it was posted to the gateway. "repair": a key requested from a
 * keyserver because an update was lost. "import": read from a keyring. "recon": a key fetched
 * because a server that is followed by recon has it.
 */
export type Transport = "mail" | "kx" | "hkp" | "repair" | "import" | "recon";

/** Where an update came from: the configured name of the neighbour, and the transport. */
export interface Origin {
  /** Configured name of the neighbour. Undefined if several neighbours could have sent it. */
  readonly neighbour: string | undefined;
  readonly transport: Transport;
}
