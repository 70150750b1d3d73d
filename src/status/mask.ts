/**
 * Masks addresses on a public page: the owner can recognise them, but they are not usable. It works
 * on any text, because replies of mail servers quote addresses too. The operator's own words about
 * a key are left out, since they may name a person. Limits: a host name looks like any word with
 * dots, so that file names are masked as well; one without a dot looks like any word, and is masked
 * only in an address.
 */
import { type EventName, kindOf } from "../diagnostics.js";

const MAIL = /([A-Za-z0-9!#$%&'*+/=?^_`{|}~-])[^\s@<>"(),;:]*@([A-Za-z0-9.-]+)/g;
const IPV4 = /\b(\d{1,3})\.\d{1,3}\.\d{1,3}\.\d{1,3}\b/g;
const IPV6 = /(?<![\w:])([0-9A-Fa-f]{1,4}):(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])/g;
const HOST = /\b[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*\.([A-Za-z]{2,})\b/g;

/** `text` with every mail address, IP address and host name in it masked. */
export function masked(text: string): string {
  return text
    .replace(MAIL, (_, first: string, host: string) => `${first}***@${maskedHost(host)}`)
    .replace(IPV6, "$1:***")
    .replace(IPV4, "$1.***")
    .replace(HOST, (host) => maskedHost(host));
}

function maskedHost(host: string): string {
  if (!host.includes(".")) return "***";
  return `***.${host.slice(host.lastIndexOf(".") + 1)}`;
}

/** Fields that never contain an address; any other text is masked. */
const PLAIN = new Set(["name", "event", "time", "version", "hash", "fingerprint"]);

/** The text of a report as a public page shows it; null for the operator's own words. */
export function maskedWords(event: EventName, words: string | null): string | null {
  return words === null || kindOf(event).isPrivate ? null : masked(words);
}

/**
 * A plain value with all texts in it masked; what is a name or a number stays. Of an event, an
 * object with `event` and `words`, the operator's own words are left out.
 */
export function maskedDeep<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (key, inner) => {
    if (typeof inner === "string") return PLAIN.has(key) ? inner : masked(inner);
    const isReport = typeof inner?.event === "string" && typeof inner.words === "string";
    return isReport ? { ...inner, words: maskedWords(inner.event, inner.words) } : inner;
  }) as T;
}
