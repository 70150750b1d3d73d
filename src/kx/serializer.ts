/**
 * KX messages to bytes, the other half of `parser.ts`: CRLF always, upper-case commands, no line
 * that is a lone dot unless it ends the message. Armor is written by us (`openpgp/armor.ts`), so
 * it has no such line; the text of an ERROR is made printable here.
 */
import type { Announcement, Message, NumberRange } from "./messages.js";

/** Longest ERROR text; a person reads it, and a peer's line cap must hold it. */
const ERROR_TEXT_CHARS = 200;

/** The bytes of one message. */
export function serialize(message: Message): Uint8Array {
  return Buffer.from(`${message.tag}\r\n${message.command}\r\n${data(message)}.\r\n`, "latin1");
}

/** The lines of announcements as they stand in an IHAVE. */
export function serializeLines(announcements: readonly Announcement[]): Uint8Array {
  const text = announcements.map((one) => `${announcementLine(one)}\r\n`).join("");
  return Buffer.from(text, "latin1");
}

/** An IHAVE in answer to a LIST, of lines that are serialized. */
export function serializeListing(
  tag: string,
  inReplyTo: string,
  lines: readonly Uint8Array[],
): Uint8Array {
  const head = Buffer.from(`${tag}\r\nIHAVE\r\n${inReplyTo}\r\n`, "latin1");
  return Buffer.concat([head, ...lines, Buffer.from(".\r\n", "latin1")]);
}

/** The data line of an announcement, without line end. */
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
    default:
      return message satisfies never;
  }
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
