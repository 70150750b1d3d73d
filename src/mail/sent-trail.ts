/**
 * The trail of a mail: the X-KeyServer-Sent addresses, that is, the sites that already have what it
 * holds (thesis 2.1). Reads them in every spelling that servers and relays produce, and grows and
 * merges them. pksd compares the addresses as text, so an address keeps the spelling it came in;
 * two that differ only in case are one site.
 *
 * A trail is a hint that spares mail and never the proof that something is known: a sender lists
 * only itself and the earlier hops, so duplicates are told by their content, elsewhere. Knows no
 * mail server and no configuration. Quoted local parts and address literals are not plain
 * addresses here and are dropped: no keyserver writes them and pksd could not match them.
 */
import { Refusal } from "../errors.js";

/**
 * Addresses in one trail. The whole network of mail keyservers never had a hundred sites, so more
 * means that a mail runs in a circle. It also bounds our own head, to some 70 kB at the very worst.
 */
export const MAX_TRAIL = 256;

/** Bytes of an address: RFC 5321 4.5.3.1.3 allows a path of 256 with its angle brackets. */
const MAX_ADDRESS_BYTES = 254;

const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const PLAIN_ADDRESS = new RegExp(`^${ATOM}(?:\\.${ATOM})*@[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]+)*$`);

/**
 * Whether `text` is a plain address, local-part@domain in ASCII without quotes, comments or blanks
 * and of at most 254 bytes: safe to write into a header line and into an SMTP envelope.
 */
export function isAddress(text: string): boolean {
  return text.length <= MAX_ADDRESS_BYTES && PLAIN_ADDRESS.test(text);
}

/**
 * The addresses of raw X-KeyServer-Sent values (unfolded or not), in order, first spelling kept,
 * each once. What is not a plain address is dropped.
 * Throws Refusal 'bad-mail' above MAX_TRAIL entries, repeats counted: they are how a circle looks.
 */
export function parseTrail(values: readonly string[]): string[] {
  const addresses = values.flatMap(addressesIn);
  if (addresses.length > MAX_TRAIL) {
    throw new Refusal(
      "bad-mail",
      `The mail names more than ${MAX_TRAIL} sites in X-KeyServer-Sent: it runs in a circle.`,
    );
  }
  return distinct(addresses);
}

/** Whether the site of `address` already has the update. */
export function inTrail(trail: readonly string[], address: string): boolean {
  const wanted = address.toLowerCase();
  return trail.some((entry) => entry.toLowerCase() === wanted);
}

/**
 * The trail that we send: what came, then ourselves, once and last. A full trail loses its newest
 * entries to make room for us, for ours is the one that the next hop has to see.
 */
export function grownTrail(trail: readonly string[], ours: string): string[] {
  const mine = ours.toLowerCase();
  const others = distinct(trail).filter((entry) => entry.toLowerCase() !== mine);
  return [...others.slice(0, MAX_TRAIL - 1), ours];
}

/**
 * Both trails as one, those of `a` first. Never throws: above MAX_TRAIL the newest are left out,
 * which costs a superfluous mail and nothing else.
 */
export function mergeTrails(a: readonly string[], b: readonly string[]): string[] {
  return distinct([...a, ...b]).slice(0, MAX_TRAIL);
}

/**
 * The plain addresses of one address-list header value, in order: bare, in angle brackets behind a
 * display name, or all of that in quotes as SKS writes its own. Linear in the length of the value.
 */
export function addressesIn(value: string): string[] {
  const found: string[] = [];
  let bare = "";
  let quoted: string | undefined;
  let angled: string | undefined;
  const finishEntry = () => {
    const inQuotes = bare.trim() === "" ? quoted && addressInQuotes(quoted) : undefined;
    const candidate = (angled ?? inQuotes ?? (quoted === undefined ? bare : "")).trim();
    if (isAddress(candidate)) found.push(candidate);
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

/** SKS writes its whole from_addr in quotes, "Name <address>", when its config has it so. */
function addressInQuotes(quoted: string): string {
  return /<([^<>]*)>$/.exec(quoted.trim())?.[1] ?? quoted;
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

/** The addresses without repeats in any case, first spelling kept. */
function distinct(addresses: readonly string[]): string[] {
  const bySite = new Map<string, string>();
  for (const address of addresses) {
    const site = address.toLowerCase();
    if (!bySite.has(site)) bySite.set(site, address);
  }
  return [...bySite.values()];
}
