/**
 * The types of values in a configuration: texts with a parser, lists,
 * words, sizes, counts. Each reports what is wrong with a value and shows a valid one. The keys
 * are in `schema.ts`.
 */

import { z } from "zod";
import {
  parseIpAddress,
  parseKeyserver,
  parseMailAddress,
  parseNetwork,
  parseRelay,
} from "./addresses.js";
import type { Endpoint, RepairWay } from "./config.js";
import { quoted } from "./quote.js";
import { parseShared } from "./shared-database.js";
import type { Reading } from "./units.js";
import {
  formatEndpoint,
  isHostname,
  parseDuration,
  parseEndpoint,
  parseRate,
  parseSchedule,
  parseSize,
} from "./units.js";

/** A keyserver must serve an update for 72 hours after the announcement (thesis 3.1). */
const MIN_RETAIN_MS = 72 * 3_600_000;

/** A smaller mail cannot contain an ordinary key. */
const MIN_MAX_MAIL_BYTES = 16 * 1024;

/**
 * A text in quotes that `reader` accepts; `example` is shown if the value is not a text. Both it
 * and the type go into the JSON schema, and so into the reference page.
 */
export function text<T>(example: string, reader: (text: string) => Reading<T>) {
  const error = (issue: { readonly input?: unknown }) =>
    issue.input === undefined
      ? `is missing: write it in quotes, as "${example}"`
      : `is not a text: write it in quotes, as "${example}"`;
  const written = z.string({ error }).meta({ title: nameOf(reader), examples: [example] });
  return written.transform((value, context): T => {
    const reading = reader(value);
    if ("value" in reading) return reading.value;
    context.addIssue({ code: "custom", message: reading.fault });
    return z.NEVER;
  });
}

/** The name of the type that a reader accepts; "text" for all that are not listed. */
function nameOf(reader: unknown): string {
  switch (reader) {
    case parseDuration:
    case retain:
      return "duration";
    case parseSize:
    case maxMail:
      return "size";
    case parseSchedule:
      return "schedule";
    case parseRate:
      return "rate";
    case parseEndpoint:
      return "host:port";
    case parsePath:
      return "path";
    case parseMailAddress:
      return "mail address";
    case parseNetwork:
      return "address or range";
    case parseIpAddress:
      return "address";
    case parseHostname:
      return "host name";
    case parseRelay:
    case parseKeyserver:
    case parseShared:
      return "URL";
    default:
      return "text";
  }
}

export function list<T extends z.ZodType>(example: string, element: T) {
  return z.array(element, { error: `is not a list: write it in brackets, as ["${example}"]` });
}

export function word<const T extends string>(
  words: readonly [T, ...T[]],
  hint: (word: string) => string,
) {
  const all = words.map((known) => `"${known}"`).join(" or ");
  return z.enum(words, {
    error: ({ input }) =>
      typeof input === "string"
        ? `${quoted(input)} is not known: write ${all}${hint(input)}`
        : `is not a text: write ${all}`,
  });
}

/** A reader with a minimum. */
function atLeast(
  reader: (text: string) => Reading<number>,
  least: number,
  fault: (text: string) => string,
) {
  return (value: string): Reading<number> => {
    const reading = reader(value);
    return "value" in reading && reading.value < least ? { fault: fault(quoted(value)) } : reading;
  };
}

export function parsePath(value: string): Reading<string> {
  if (value === ":memory:")
    return { fault: "a log in memory loses updates: write the name of a file" };
  if (value.trim() === "") return { fault: 'is empty: write the name of a file, as "updates.db"' };
  if (value.includes("\0")) return { fault: "a file name must not contain NUL" };
  return { value };
}

export function parseHostname(value: string): Reading<string> {
  if (isHostname(value)) return { value };
  return { fault: `${quoted(value)} is not a host name: write one, as "kx.example.org"` };
}

export function parseWord(value: string): Reading<string> {
  if (value !== "" && !value.includes("\0")) return { value };
  return { fault: "is empty or contains NUL: write a program or an argument" };
}

export function parseName(value: string): Reading<string> {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/.test(value)) return { value };
  const hint = 'write 1 to 32 letters, digits, "_" and "-", a letter or digit first';
  return { fault: `${quoted(value)} is not a valid name: ${hint}` };
}

/** A listener for mail: TCP, LMTP on a Unix socket, or TCP sockets that systemd opened. */
type MailListener = Endpoint | { readonly socket: string } | { readonly inherited: string };

export function parseMailListener(value: string): Reading<MailListener> {
  if (value.startsWith("systemd:")) return parseInherited(value);
  if (!value.startsWith("lmtp:")) return parseEndpoint(value);
  const socket = parsePath(value.slice("lmtp:".length));
  return "fault" in socket ? socket : { value: { socket: socket.value } };
}

/** "systemd:NAME" after FileDescriptorName= of a socket unit. */
function parseInherited(value: string): Reading<MailListener> {
  const name = value.slice("systemd:".length);
  if (/^[A-Za-z0-9@._-]{1,255}$/.test(name)) return { value: { inherited: name } };
  const hint = 'write its FileDescriptorName, as "systemd:smtp"';
  return { fault: `${quoted(value)} is not the name of a socket of systemd: ${hint}` };
}

export function parseMode(value: string): Reading<number> {
  if (/^0?[0-7]{3}$/.test(value)) return { value: Number.parseInt(value, 8) };
  return { fault: `${quoted(value)} is not a mode: write it in octal, as "0660"` };
}

/** "host:port", or "kxs://host:port" for TLS. */
export function parseKxEndpoint(value: string): Reading<Endpoint & { readonly secure: boolean }> {
  const secure = value.startsWith("kxs://");
  const reading = parseEndpoint(secure ? value.slice("kxs://".length) : value);
  return "fault" in reading ? reading : { value: { ...reading.value, secure } };
}

/** "host:port" of a server. */
export function parseDialled(value: string): Reading<Endpoint> {
  const reading = parseEndpoint(value);
  if ("fault" in reading || reading.value.port !== 0) return reading;
  return { fault: "port 0 cannot be dialled: write the port that the server listens on" };
}

/** "mail", or "hkp://host[:port]" or "hkps://host[:port]" with the ports 11371 and 443. */
export function parseRepair(value: string): Reading<RepairWay> {
  if (value === "mail") return { value: { type: "mail" } };
  const [, scheme = "", rest = ""] = /^(hkps?):\/\/([^/]+)\/?$/.exec(value) ?? [];
  const isSecure = scheme === "hkps";
  const hasPort = /:\d+$/.test(rest) && !rest.endsWith("]");
  const reading = parseEndpoint(hasPort ? rest : `${rest}:${isSecure ? 443 : 11371}`);
  if (rest === "" || "fault" in reading) {
    const hint = 'write "hkp://host:port", "hkps://host" or "mail"';
    return { fault: `${quoted(value)} is not the address of a keyserver: ${hint}` };
  }
  const url = `${isSecure ? "https" : "http"}://${formatEndpoint(reading.value)}`;
  return { value: { type: "hkp", url } };
}

/** A certificate's SHA-256 as openssl prints it, with or without colons. */
export function parsePin(value: string): Reading<string> {
  const digits = value
    .replace(/^sha256:/i, "")
    .replaceAll(":", "")
    .toUpperCase();
  if (/^[0-9A-F]{64}$/.test(digits)) return { value: digits };
  const how = "openssl x509 -noout -fingerprint -sha256 -in FILE";
  return { fault: `${quoted(value)} is not 64 hex digits: copy the output of "${how}"` };
}

export const retain = atLeast(
  parseDuration,
  MIN_RETAIN_MS,
  (value) => `${value} is less than the minimum of 72h: write 72h or more`,
);
/** More often is of no use: servers take up changes every few seconds. */
export const pollPeriod = atLeast(
  parseDuration,
  1000,
  (value) => `${value} is less than the minimum of 1s: write 1s or more`,
);
export const maxMail = atLeast(
  parseSize,
  MIN_MAX_MAIL_BYTES,
  (value) => `${value} is less than the minimum of 16KiB: write 16KiB or more`,
);

export const mailAddress = () => text("pgp-public-keys@ks.example.org", parseMailAddress);
export const endpoint = (example: string) => text(example, parseEndpoint);
export const schedule = (example: string) => text(example, parseSchedule);

export const certificate = {
  cert: text("kx.pem", parsePath).describe("The certificate with its chain, PEM."),
  key: text("kx.key", parsePath).describe("The private key, PEM."),
};

export const size = (preset: string) => text(preset, parseSize).prefault(preset);
export const count = (preset: number) =>
  z
    .int({ error: `is not an integer: write one without quotes, as ${preset}` })
    .min(1, { error: "is less than 1: write 1 or more" })
    .default(preset);
