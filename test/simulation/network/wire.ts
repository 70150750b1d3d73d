/**
 * What a message weighs on the wire, from the real serializers: mails as `mail/compose.ts` writes
 * them, KX messages as `kx/serializer.ts` does. Octets of the payload, without TCP and IP.
 */
import { announcementLine, serialize } from "../../../src/kx/serializer.js";
import { composeIncremental } from "../../../src/mail/compose.js";
import { encodeArmor } from "../../../src/openpgp/armor.js";
import type { UpdateHash } from "../../../src/update.js";

const FINGERPRINT = "0".repeat(40);
const HASH = "0".repeat(32) as UpdateHash;
const SITE = "pgp-public-keys@keyserver.example.net";
const CRLF = 2;

const armors = new Map<number, number>();

/** The armored text of so many octets of packets, with CRLF. */
export function armorBytes(size: number): number {
  let bytes = armors.get(size);
  if (bytes === undefined) {
    const text = encodeArmor(new Uint8Array(size));
    bytes = text.length + (text.match(/\n/g)?.length ?? 0);
    armors.set(size, bytes);
  }
  return bytes;
}

const EMPTY_MAIL = mailWithTrail(0);
const TRAIL_LINE = mailWithTrail(1) - EMPTY_MAIL;

/** An incremental mail whose trail names so many sites before the sender. */
export function mailBytes(size: number, trail: number): number {
  return EMPTY_MAIL + trail * TRAIL_LINE + armorBytes(size);
}

/** The frame of an IHAVE NOTIFY, without its lines. */
export const NOTICE_FRAME = serialize({
  command: "IHAVE",
  tag: "0000",
  inReplyTo: undefined,
  announcements: [],
}).length;

/** One line of an IHAVE. */
export function lineBytes(number: number): number {
  const announcement = { number, fingerprint: FINGERPRINT, hash: HASH };
  return announcementLine(announcement).length + CRLF;
}

/** GETUPDATE for one number. */
export function getBytes(number: number): number {
  return serialize({ command: "GETUPDATE", tag: "0000", numbers: [number] }).length;
}

const UPDATE_FRAME =
  serialize({
    command: "UPDATE",
    tag: "0000",
    inReplyTo: "0000",
    announcement: { number: 0, fingerprint: FINGERPRINT, hash: HASH },
    armor: new Uint8Array(),
  }).length -
  lineBytes(0) -
  CRLF;

/** The UPDATE that brings it. */
export function updateBytes(number: number, size: number): number {
  return UPDATE_FRAME + lineBytes(number) + armorBytes(size);
}

/** LIST from a number on, and the frame of its answer. */
export function listBytes(low: number): number {
  const question = { low, high: low + 999 };
  return serialize({ command: "LIST", tag: "0000", ranges: [question] }).length + NOTICE_FRAME;
}

function mailWithTrail(sites: number): number {
  const envelope = { to: SITE, from: SITE, site: SITE, date: 0, messageId: `<${HASH}.1.p1@x>` };
  const trail = Array.from({ length: sites }, () => SITE.replace("keyserver", "otherserve"));
  const mail = composeIncremental({ ...envelope, trail, armor: encodeArmor(new Uint8Array(1)) });
  return mail.length - armorBytes(1);
}
