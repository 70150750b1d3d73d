/**
 * Reads the fields of a signature packet that the gateway uses: type, times and issuer (RFC 9580
 * section 5.2; versions 2 to 6).
 *
 * The values are not verified. Updates are passed on without verification; only packets that the
 * gateway itself adds to a mail are verified (`self-check.ts`). The unhashed area is read as well,
 * because older software puts the issuer there.
 */
import { keyId } from "./fingerprint.js";
import type { TransferableKey } from "./key.js";
import { bufferOf, type Packet, TAG } from "./packet.js";

export interface SignatureInfo {
  /** Signature type octet, as 0x13 for a certification or 0x18 for a subkey binding. */
  readonly type: number;
  /** Unix seconds; 0 when the signature has no creation time. */
  readonly createdAt: number;
  /** Unix seconds at which the signature expires; undefined when it does not expire. */
  readonly expiresAt: number | undefined;
  /** Upper-case hex fingerprint (32, 40, 64 digits), otherwise key id (16 digits). */
  readonly issuer: string | undefined;
  /**
   * Code of the reason for revocation (RFC 9580 section 5.2.3.31), from the hashed area only:
   * anybody can change the unhashed area.
   */
  readonly revocationReason: number | undefined;
  /** First octet of the key flags (RFC 9580 section 5.2.3.29), from the hashed area only. */
  readonly keyFlags: number | undefined;
  /** Seconds from the creation of the key until it expires, from the hashed area only. */
  readonly keyLifetime: number | undefined;
}

const SUBPACKET = {
  createdAt: 2,
  lifetime: 3,
  keyLifetime: 9,
  issuerKeyId: 16,
  keyFlags: 27,
  revocationReason: 29,
  issuerFingerprint: 33,
} as const;
/** Octets of the fingerprint in an issuer fingerprint subpacket, by its version octet. */
const FINGERPRINT_OCTETS: Readonly<Record<number, number>> = { 3: 16, 4: 20, 5: 32, 6: 32 };

/** The fields of the body of a signature packet; undefined when it is malformed. Never throws. */
export function signatureInfo(body: Uint8Array): SignatureInfo | undefined {
  const octets = bufferOf(body);
  switch (octets[0]) {
    case 2:
    case 3:
      return oldInfo(octets);
    case 4:
    case 5:
      return subpacketInfo(octets, 2);
    case 6:
      return subpacketInfo(octets, 4);
    default:
      return undefined;
  }
}

/** Whether the packet is a signature whose issuer is this key's primary key. */
export function isSelfSignature(key: TransferableKey, packet: Packet): boolean {
  return selfSignatureInfo(key, packet) !== undefined;
}

/** The fields of a self-signature of this key; undefined for any other packet. */
export function selfSignatureInfo(key: TransferableKey, packet: Packet): SignatureInfo | undefined {
  if (packet.tag !== TAG.signature) return undefined;
  const info = signatureInfo(packet.body);
  if (info?.issuer === undefined) return undefined;
  const name =
    info.issuer.length === 16 ? keyId(key.primary.packet.body, key.fingerprint) : key.fingerprint;
  return info.issuer === name ? info : undefined;
}

function oldInfo(octets: Buffer): SignatureInfo | undefined {
  if (octets.length < 19 || octets[1] !== 5) return undefined;
  return {
    type: octets.readUInt8(2),
    createdAt: octets.readUInt32BE(3),
    expiresAt: undefined,
    issuer: hex(octets.subarray(7, 15)),
    revocationReason: undefined,
    keyFlags: undefined,
    keyLifetime: undefined,
  };
}

/** Version, type and two algorithms, then two areas, each after a length of `countOctets`. */
function subpacketInfo(octets: Buffer, countOctets: number): SignatureInfo | undefined {
  const type = octets[1];
  const hashed = readArea(octets, 4, countOctets);
  if (type === undefined || hashed === undefined) return undefined;
  const unhashed = readArea(octets, hashed.end, countOctets);
  if (unhashed === undefined) return undefined;
  const issuer =
    hashed.fingerprint ?? hashed.keyId ?? unhashed.fingerprint ?? unhashed.keyId ?? undefined;
  const { createdAt, lifetime, revocationReason, keyFlags, keyLifetime } = hashed;
  // A lifetime of 0 means that the signature does not expire (RFC 9580 section 5.2.3.18).
  const expiresAt = lifetime === 0 ? undefined : createdAt + lifetime;
  return { type, createdAt, expiresAt, issuer, revocationReason, keyFlags, keyLifetime };
}

interface Area {
  readonly end: number;
  readonly createdAt: number;
  readonly lifetime: number;
  readonly keyId: string | undefined;
  readonly fingerprint: string | undefined;
  readonly revocationReason: number | undefined;
  readonly keyFlags: number | undefined;
  readonly keyLifetime: number | undefined;
}

/** Reads the area whose length is at `at`. The first subpacket of each type is used. */
function readArea(octets: Buffer, at: number, countOctets: number): Area | undefined {
  let offset = at + countOctets;
  if (offset > octets.length) return undefined;
  const end = offset + octets.readUIntBE(at, countOctets);
  if (end > octets.length) return undefined;
  let createdAt: number | undefined;
  let lifetime: number | undefined;
  let issuerKeyId: string | undefined;
  let fingerprint: string | undefined;
  let revocationReason: number | undefined;
  let keyFlags: number | undefined;
  let keyLifetime: number | undefined;
  while (offset < end) {
    const length = readLength(octets, offset, end);
    if (length === undefined) return undefined;
    const kind = octets.readUInt8(length.next) & 0x7f;
    const content = octets.subarray(length.next + 1, length.end);
    offset = length.end;
    if (kind === SUBPACKET.createdAt) {
      if (content.length !== 4) return undefined;
      createdAt ??= content.readUInt32BE();
    } else if (kind === SUBPACKET.lifetime) {
      if (content.length !== 4) return undefined;
      lifetime ??= content.readUInt32BE();
    } else if (kind === SUBPACKET.issuerKeyId) {
      if (content.length !== 8) return undefined;
      issuerKeyId ??= hex(content);
    } else if (kind === SUBPACKET.issuerFingerprint) {
      if (content.length !== 1 + (FINGERPRINT_OCTETS[content[0] ?? 0] ?? 0)) return undefined;
      fingerprint ??= hex(content.subarray(1));
    } else if (kind === SUBPACKET.revocationReason) {
      if (content.length < 1) return undefined;
      revocationReason ??= content.readUInt8();
    } else if (kind === SUBPACKET.keyFlags) {
      keyFlags ??= content[0] ?? 0;
    } else if (kind === SUBPACKET.keyLifetime) {
      if (content.length === 4) keyLifetime ??= content.readUInt32BE();
    }
  }
  return {
    end,
    createdAt: createdAt ?? 0,
    lifetime: lifetime ?? 0,
    keyId: issuerKeyId,
    fingerprint,
    revocationReason,
    keyFlags,
    keyLifetime,
  };
}

/** Reads the length of the subpacket at `at`: the offset of its type octet, and its end. */
function readLength(
  octets: Buffer,
  at: number,
  limit: number,
): { next: number; end: number } | undefined {
  const first = octets.readUInt8(at);
  const next = at + (first < 192 ? 1 : first < 255 ? 2 : 5);
  if (next >= limit) return undefined;
  let length = first;
  if (first === 255) length = octets.readUInt32BE(at + 1);
  else if (first >= 192) length = ((first - 192) << 8) + octets.readUInt8(at + 1) + 192;
  const end = next + length;
  return length === 0 || end > limit ? undefined : { next, end };
}

function hex(octets: Buffer): string {
  return octets.toString("hex").toUpperCase();
}
