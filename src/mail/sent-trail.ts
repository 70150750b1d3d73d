/**
 * The trail of a mail: the X-KeyServer-Sent addresses of the sites that already have the update
 * (thesis 2.1). Addresses are read in all spellings that servers and relays produce. pksd compares
 * them as text, so a plain address keeps its spelling; any other spelling is written as a plain
 * address. `mail-address.ts` decides whether two addresses are equal.
 *
 * A trail only saves mail. It does not prove that an update is known, since a sender lists only
 * itself and the earlier hops; duplicates are recognised by their hash. Address literals and
 * quoted local parts are dropped: no keyserver writes them, and pksd could not match them.
 */
import { addressKey, distinctAddresses, isSameAddress, plainAddress } from "../mail-address.js";

/**
 * Most addresses in one trail. The network of mail keyservers never had a hundred sites, so more
 * indicate a padded trail. This also limits the head of our mails to about 70 kB.
 */
export const MAX_TRAIL = 256;

/**
 * The addresses of raw X-KeyServer-Sent values (unfolded or not), in order, each once in its first
 * spelling. Addresses that have no plain form are dropped, and of more than MAX_TRAIL the first
 * ones: the last one is the sender. A mail is not refused for its trail, which is a hint.
 */
export function parseTrail(values: readonly string[]): string[] {
  return distinctAddresses(values.flatMap(addressesIn)).slice(-MAX_TRAIL);
}

/** Whether the site of `address` already has the update. */
export function inTrail(trail: readonly string[], address: string): boolean {
  const wanted = addressKey(address);
  return trail.some((entry) => entry === address || addressKey(entry) === wanted);
}

/**
 * The trail to send: the received one, then our own address, once and at the end. Above MAX_TRAIL
 * the newest of the received entries are dropped, since the next hop must see our address.
 */
export function grownTrail(trail: readonly string[], ours: string): string[] {
  const others = distinctAddresses(trail).filter((entry) => !isSameAddress(entry, ours));
  return [...others.slice(0, MAX_TRAIL - 1), ours];
}

/**
 * Merges two trails, the entries of `a` first. Above MAX_TRAIL the last entries are dropped, which
 * costs at most a redundant mail.
 */
export function mergeTrails(a: readonly string[], b: readonly string[]): string[] {
  return distinctAddresses([...a, ...b]).slice(0, MAX_TRAIL);
}

/**
 * The addresses of one address-list header value, as plain addresses in order. An address may be
 * bare, in angle brackets after a display name, have a quoted local part, or be in quotes as a
 * whole, as SKS writes its own. `value` is UTF-8 bytes as Latin-1. Time is linear.
 */
export function addressesIn(value: string): string[] {
  const found: string[] = [];
  let bare = "";
  let quoted: string | undefined;
  let angled: string | undefined;
  const finishEntry = () => {
    const rest = bare.trim();
    const inQuotes = quoted === undefined ? rest : quotedAddress(quoted, rest);
    const candidate = utf8((angled ?? inQuotes).trim());
    const address = candidate === undefined ? undefined : plainAddress(candidate);
    if (address !== undefined) found.push(address);
    bare = "";
    quoted = undefined;
    angled = undefined;
  };
  let at = 0;
  while (at < value.length) {
    const char = value.charAt(at);
    if (char === '"') {
      const end = endOfQuotes(value, at);
      quoted = (quoted ?? "") + value.slice(at + 1, end).replaceAll(/\\(.)/gs, "$1");
      at = end;
    } else if (char === "(") {
      at = endOfComment(value, at);
    } else if (char === "<") {
      const close = value.indexOf(">", at);
      const end = close === -1 ? value.length : close;
      angled ??= value.slice(at + 1, end);
      at = end;
    } else if (char === "," || char === ";") {
      finishEntry();
    } else {
      bare += char;
    }
    at += 1;
  }
  finishEntry();
  return found;
}

/**
 * The address of an entry with a quoted string and the text `rest` outside of it. The quoted string
 * is a local part before "@domain", or the whole from_addr of SKS, "Name <address>", when its
 * configuration has quotes.
 */
function quotedAddress(quoted: string, rest: string): string {
  if (rest.startsWith("@")) return quoted.includes("@") ? "" : `${quoted}${rest}`;
  return rest === "" ? (/<([^<>]*)>$/.exec(quoted.trim())?.[1] ?? quoted) : "";
}

/** Decodes Latin-1 characters as the UTF-8 bytes that they are; undefined for invalid UTF-8. */
function utf8(text: string): string | undefined {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  const decoded = Buffer.from(text, "latin1").toString("utf8");
  return decoded.includes("\ufffd") ? undefined : decoded;
}

/** The index of the closing quote of the quoted string at `start`, or the end of the value. */
function endOfQuotes(value: string, start: number): number {
  for (let at = start + 1; at < value.length; at += 1) {
    if (value[at] === '"') return at;
    if (value[at] === "\\") at += 1;
  }
  return value.length;
}

/** The index of the closing parenthesis of the comment at `start`, or the end of the value. */
function endOfComment(value: string, start: number): number {
  let depth = 0;
  for (let at = start; at < value.length; at += 1) {
    if (value[at] === "(") depth += 1;
    else if (value[at] === "\\") at += 1;
    else if (value[at] === ")") {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return value.length;
}
