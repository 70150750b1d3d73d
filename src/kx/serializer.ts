/**
 * Writes KX messages as bytes, for `parser.ts` to read: CRLF, upper-case commands, and a line with
 * a single dot only at the end. `openpgp/armor.ts` writes the armor and never writes such a line.
 * The text of an ERROR is made printable here. With the feature "octets" the data of IHAVE and
 * UPDATE is octets, with their length in the command line.
 */
import type { Announcement, Features, Message, NumberRange } from "./messages.js";
import { NO_FEATURES } from "./messages.js";
import { deflatedPart, joined, writeAnnouncements, writeDeliveries } from "./octets.js";
import type { KeyRange } from "./reconcile.js";

/** Longest ERROR text. It must fit the line limit of the peer. */
const ERROR_TEXT_CHARS = 200;

/** The bytes of one message, in the form that both sides use. */
export function serialize(message: Message, features: Features = NO_FEATURES): Uint8Array {
  if (message.command === "DELIVERY") {
    const octets = writeDeliveries(message.deliveries);
    return counted(message.tag, `UPDATE ${octets.length}`, message.inReplyTo, octets);
  }
  if (message.command === "IHAVE" && features.octets) {
    const octets = writeAnnouncements(message.announcements, features.sha256);
    const { tag, inReplyTo = "" } = message;
    return counted(tag, `IHAVE ${octets.length}`, inReplyTo, octets);
  }
  const text = data(message, features.sha256);
  return Buffer.from(`${message.tag}\r\n${message.command}\r\n${text}.\r\n`, "latin1");
}

/** A part of a listing: bytes for `serializeListing`, and their length before compression. */
export interface ListingPart {
  readonly bytes: Uint8Array;
  readonly length: number;
}

export function serializePart(
  announcements: readonly Announcement[],
  { octets, sha256 }: Features,
): ListingPart {
  if (octets) {
    const whole = writeAnnouncements(announcements, sha256);
    return { bytes: deflatedPart(whole), length: whole.length };
  }
  const text = announcements.map((one) => `${announcementLine(one, sha256)}\r\n`).join("");
  return { bytes: Buffer.from(text, "latin1"), length: text.length };
}

/** An IHAVE that answers a LIST, from parts of `serializePart`. */
export function serializeListing(
  tag: string,
  inReplyTo: string,
  parts: readonly ListingPart[],
  { octets: isOctets }: Features = NO_FEATURES,
): Uint8Array {
  const all = parts.map(({ bytes }) => bytes);
  if (!isOctets) {
    const head = Buffer.from(`${tag}\r\nIHAVE\r\n${inReplyTo}\r\n`, "latin1");
    return Buffer.concat([head, ...all, Buffer.from(".\r\n", "latin1")]);
  }
  const octets = joined(all);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return counted(tag, `IHAVE ${octets.length} ${length}`, inReplyTo, octets);
}

/** A message of octets. */
function counted(tag: string, command: string, first: string, octets: Uint8Array): Uint8Array {
  const head = Buffer.from(`${tag}\r\n${command}\r\n${first}\r\n`, "latin1");
  return Buffer.concat([head, octets, Buffer.from(".\r\n", "latin1")]);
}

/** The data line of an announcement, without its line end; with the SHA-256 if `hasDigest`. */
export function announcementLine(announcement: Announcement, hasDigest = false): string {
  const { number, hash, digest } = announcement;
  const fingerprint = announcement.fingerprint === undefined ? "" : `${announcement.fingerprint} `;
  return `${number} ${fingerprint}${hash}${hasDigest ? ` ${digest}` : ""}`;
}

function data(message: Exclude<Message, { command: "DELIVERY" }>, hasDigest: boolean): string {
  switch (message.command) {
    case "HELO":
      return `${message.version}\r\n`;
    case "IHAVE": {
      const rest = message.announcements.map((one) => `${announcementLine(one, hasDigest)}\r\n`);
      return `${message.inReplyTo ?? "NOTIFY"}\r\n${rest.join("")}`;
    }
    case "LIST":
      return message.ranges.map((range) => `${rangeText(range)}\r\n`).join("");
    case "GETUPDATE":
      return message.numbers.map((number) => `${number}\r\n`).join("");
    case "UPDATE": {
      const line = announcementLine(message.announcement, hasDigest);
      const armor = Buffer.from(message.armor).toString("latin1").replace(/\r?\n/g, "\r\n");
      return `${message.inReplyTo}\r\n${line}\r\n${armor}${armor.endsWith("\n") ? "" : "\r\n"}`;
    }
    case "ERROR":
      return (
        `${message.inReplyTo ?? "NOTIFY"}\r\n${message.code}\r\n` + `${printable(message.text)}\r\n`
      );
    case "CLOSE":
      return message.inReplyTo === undefined ? "" : `${message.inReplyTo}\r\n`;
    case "OPEN": {
      const log = message.log === undefined ? "" : `log ${message.log}\r\n`;
      return `${log}features ${message.features.join(" ")}\r\n`;
    }
    case "DONE": {
      const ranges = message.without.map((range) => `${rangeText(range)}\r\n`);
      return `${message.number}\r\n${ranges.join("")}`;
    }
    case "RANGE":
      return message.ranges.map(keyRangeLine).join("");
    case "ITEMS": {
      const keys = message.keys.map(({ fingerprint, digest }) => `${fingerprint} ${digest}\r\n`);
      const lines = [...message.ranges.map(keyRangeLine), ...keys];
      return `${message.inReplyTo ?? "NOTIFY"}\r\n${lines.join("")}`;
    }
    default:
      return message satisfies never;
  }
}

function keyRangeLine({ prefix, count, hash }: KeyRange): string {
  return `${prefix === "" ? "-" : prefix} ${count} ${hash}\r\n`;
}

function rangeText(range: NumberRange): string {
  if (range.low !== undefined && range.low === range.high) return String(range.low);
  return `${range.low ?? ""}-${range.high ?? ""}`;
}

function printable(text: string): string {
  const clean = text
    .replace(/[^\x20-\x7e]+/g, " ")
    .slice(0, ERROR_TEXT_CHARS)
    .trim();
  return clean === "" || clean === "." ? "error" : clean;
}
