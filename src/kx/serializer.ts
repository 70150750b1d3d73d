/**
 * Writes KX messages as bytes, for `parser.ts` to read: CRLF, upper-case commands, and a line with
 * a single dot only at the end. `openpgp/armor.ts` writes the armor and never writes such a line.
 * The text of an ERROR is made printable here.
 */
import type { Announcement, Message, NumberRange } from "./messages.js";
import type { KeyRange } from "./reconcile.js";

/** Longest ERROR text. It must fit the line limit of the peer. */
const ERROR_TEXT_CHARS = 200;

/** The bytes of one message. */
export function serialize(message: Message): Uint8Array {
  return Buffer.from(`${message.tag}\r\n${message.command}\r\n${data(message)}.\r\n`, "latin1");
}

/** Announcements as the lines of an IHAVE. */
export function serializeLines(announcements: readonly Announcement[]): Uint8Array {
  const text = announcements.map((one) => `${announcementLine(one)}\r\n`).join("");
  return Buffer.from(text, "latin1");
}

/** An IHAVE that answers a LIST, from lines of `serializeLines`. */
export function serializeListing(
  tag: string,
  inReplyTo: string,
  lines: readonly Uint8Array[],
): Uint8Array {
  const head = Buffer.from(`${tag}\r\nIHAVE\r\n${inReplyTo}\r\n`, "latin1");
  return Buffer.concat([head, ...lines, Buffer.from(".\r\n", "latin1")]);
}

/** The data line of an announcement, without its line end. */
export function announcementLine(announcement: Announcement): string {
  const fingerprint = announcement.fingerprint === undefined ? "" : `${announcement.fingerprint} `;
  return `${announcement.number} ${fingerprint}${announcement.hash}`;
}

function data(message: Message): string {
  switch (message.command) {
    case "HELO":
      return `${message.version}\r\n`;
    case "IHAVE": {
      const rest = message.announcements.map((one) => `${announcementLine(one)}\r\n`);
      return `${message.inReplyTo ?? "NOTIFY"}\r\n${rest.join("")}`;
    }
    case "LIST":
      return message.ranges.map((range) => `${rangeText(range)}\r\n`).join("");
    case "GETUPDATE":
      return message.numbers.map((number) => `${number}\r\n`).join("");
    case "UPDATE": {
      const line = announcementLine(message.announcement);
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
