/**
 * Mail addresses: what is one, how it is written plainly, and when two are the same. Every room
 * that compares addresses asks here: envelope, configuration, trails, bounces, PKS headers.
 *
 * Two addresses are the same in any case of their ASCII letters. RFC 5321 section 2.4 leaves the
 * case of a local part to its host; keyservers compare trails without it. Quotes that a local part
 * does not need, a dot at the end of a domain, and the spelling of an internationalised domain
 * (RFC 5890) make no difference either. Limit: "[192.0.2.1]" is compared as text.
 */
import { domainToASCII } from "node:url";

/** Bytes of an address: RFC 5321 4.5.3.1.3 allows a path of 256 with its angle brackets. */
const MAX_ADDRESS_BYTES = 254;

const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const DOT_ATOM = new RegExp(`^${ATOM}(?:\\.${ATOM})*$`);
const DOMAIN = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
const LITERAL = /^\[[!-Z^-~]+\]$/;
/** A domain before it is read as an internationalised one: no character that a URL would decode. */
const UNICODE_DOMAIN = /^[A-Za-z0-9_.\u0080-\u{10ffff}-]+$/u;
/** The dots of IDNA (RFC 3490 section 3.1). */
const DOTS = /[.\u3002\uff0e\uff61]/;
const FINAL_DOT = /[.\u3002\uff0e\uff61]$/;
/** Control characters, and characters that are not visible. */
const UNSAFE = /[\p{Cc}\u200b\u2060\ufeff]/u;
const QUOTED = /^"((?:[^"\\]|\\.)*)"$/s;
/** More than a dot-atom: many mail systems write "a..b@" and "a.@" without quotes. */
const UNQUOTED = /^[^\s"(),:;<>@[\\\]]+$/;

/** Keys that were computed: the same few sites are in all trails. */
const KEYS = new Map<string, string>();
const MAX_KEYS = 2000;

/** The halves of an address. */
export interface AddressParts {
  /** Without quotes, in the case in which it was written. */
  readonly local: string;
  /** In lower case and in ASCII, without a dot at its end. */
  readonly domain: string;
}

/**
 * Whether `text` is a plain address, local-part@domain in ASCII without quotes, comments or blanks
 * and of at most 254 bytes: safe to write into a header line and into an SMTP envelope.
 */
export function isAddress(text: string): boolean {
  const at = text.lastIndexOf("@");
  if (at < 1 || text.length > MAX_ADDRESS_BYTES) return false;
  return DOT_ATOM.test(text.slice(0, at)) && DOMAIN.test(text.slice(at + 1));
}

/** Reads an address in any spelling; undefined when it is none. */
export function addressParts(text: string): AddressParts | undefined {
  const at = text.lastIndexOf("@");
  if (at < 1 || UNSAFE.test(text)) return undefined;
  const written = text.slice(0, at);
  const quoted = QUOTED.exec(written)?.[1];
  if (quoted === undefined && !UNQUOTED.test(written)) return undefined;
  const domain = canonicalDomain(text.slice(at + 1));
  if (domain === undefined) return undefined;
  return { local: quoted?.replaceAll(/\\(.)/gs, "$1") ?? written, domain };
}

/** `text` as a plain address; undefined when it is none, or cannot be written plainly. */
export function plainAddress(text: string): string | undefined {
  if (isAddress(text)) return text;
  const parts = addressParts(text);
  const plain = parts && `${parts.local}@${parts.domain}`;
  return plain !== undefined && isAddress(plain) ? plain : undefined;
}

/**
 * One form for all spellings of an address, for comparisons and as a key of maps; `text` itself
 * when it is no address.
 */
export function addressKey(text: string): string {
  if (text.length > MAX_ADDRESS_BYTES) return computedKey(text);
  let key = KEYS.get(text);
  if (key === undefined) {
    key = computedKey(text);
    if (KEYS.size >= MAX_KEYS) KEYS.clear();
    KEYS.set(text, key);
  }
  return key;
}

function computedKey(text: string): string {
  const parts = addressParts(text);
  if (parts === undefined) return text;
  const local = lowerCase(parts.local);
  const isPlain = local !== "" && UNQUOTED.test(local);
  return `${isPlain ? local : `"${local.replaceAll(/["\\]/g, "\\$&")}"`}@${parts.domain}`;
}

/** Whether both are one address. Undefined equals no address. */
export function isSameAddress(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a === b || addressKey(a) === addressKey(b);
}

/** The addresses in order, each once, in the spelling that came first. */
export function distinctAddresses(addresses: readonly string[]): string[] {
  const bySite = new Map<string, string>();
  for (const address of addresses) {
    const key = addressKey(address);
    if (!bySite.has(key)) bySite.set(key, address);
  }
  return [...bySite.values()];
}

/** The part of a plain address behind the "@", as it is written. */
export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf("@") + 1);
}

function canonicalDomain(text: string): string | undefined {
  if (LITERAL.test(text)) return lowerCase(text);
  if (!UNICODE_DOMAIN.test(text)) return undefined;
  const labels = text.replace(FINAL_DOT, "").split(DOTS);
  const name = labels.map(canonicalLabel).join(".");
  return DOMAIN.test(name) ? name : undefined;
}

/** One label as DNS has it; empty when it is none. Its neighbours may be odd ones. */
function canonicalLabel(text: string): string {
  // A name that ends in digits would be read as an IP address.
  const isAscii = /^[ -~]*$/.test(text);
  return lowerCase(isAscii ? text : domainToASCII(`${text}.x`).slice(0, -2));
}

/** ASCII letters only: a Kelvin sign is no k. */
function lowerCase(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
