/**
 * The trail of a mail: the X-KeyServer-Sent addresses, that is, the sites that already have what it
 * holds (thesis 2.1). Reads them in every spelling that servers and relays produce, and grows and
 * merges them. pksd compares the addresses as text, so a plain address keeps the spelling it came
 * in; any other spelling is written plainly. When two are one site, `mail-address.ts` says.
 *
 * A trail is a hint that spares mail and never the proof that something is known: a sender lists
 * only itself and the earlier hops, so duplicates are told by their content, elsewhere. Knows no
 * mail server and no configuration. Address literals, and local parts that need their quotes, are
 * dropped: no keyserver writes them and pksd could not match them.
 */
import { addressKey, distinctAddresses, isSameAddress, plainAddress } from "../mail-address.js";

/**
 * Addresses in one trail. The whole network of mail keyservers never had a hundred sites, so more
 * means that a trail is padded. It also bounds our own head, to some 70 kB at the very worst.
 */
export const MAX_TRAIL = 256;

/**
 * The addresses of raw X-KeyServer-Sent values (unfolded or not), in order, first spelling kept,
 * each once. What cannot be written as a plain address is dropped, and of more than `MAX_TRAIL`
 * the first ones: the last one is the sender. A mail is not refused for its trail, which is a hint.
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
 * The trail that we send: what came, then ourselves, once and last. A full trail loses its newest
 * entries to make room for us, for ours is the one that the next hop has to see.
 */
export function grownTrail(trail: readonly string[], ours: string): string[] {
  const others = distinctAddresses(trail).filter((entry) => !isSameAddress(entry, ours));
  return [...others.slice(0, MAX_TRAIL - 1), ours];
}

/**
 * Both trails as one, those of `a` first. Never throws: above MAX_TRAIL the newest are left out,
 * which costs a superfluous mail and nothing else.
 */
export function mergeTrails(a: readonly string[], b: readonly string[]): string[] {
  return distinctAddresses([...a, ...b]).slice(0, MAX_TRAIL);
}

/**
 * The addresses of one address-list header value, written plainly and in order: bare, in angle
 * brackets behind a display name, with a quoted local part, or all of that in quotes as SKS writes
 * its own. Linear in the length of the value, which is UTF-8 shown as Latin-1.
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
 * The address of an entry that has a quoted text and `rest` outside of it: a local part before
 * "@domain", or the whole from_addr of SKS, "Name <address>", when its config has it in quotes.
 */
function quotedAddress(quoted: string, rest: string): string {
  if (rest.startsWith("@")) return quoted.includes("@") ? "" : `${quoted}${rest}`;
  return rest === "" ? (/<([^<>]*)>$/.exec(quoted.trim())?.[1] ?? quoted) : "";
}

/** Bytes that are shown as Latin-1 as the UTF-8 that they are; undefined when they are none. */
function utf8(text: string): string | undefined {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  const decoded = Buffer.from(text, "latin1").toString("utf8");
  return decoded.includes("\ufffd") ? undefined : decoded;
}

/** Index of the closing quote of the quoted string at `start`, or the end of the value. */
function endOfQuotes(value: string, start: number): number {
  for (let at = start + 1; at < value.length; at += 1) {
    if (value[at] === '"') return at;
    if (value[at] === "\\") at += 1;
  }
  return value.length;
}

/** Index of the bracket that closes the comment at `start`, or the end of the value. */
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
