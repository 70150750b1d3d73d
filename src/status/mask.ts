/**
 * Masks addresses on a public page: the owner can recognise them,
 * but they are not usable. It works on any text, because replies of mail servers
 * quote addresses too. Limit: a bare host name looks like any word with dots,
 * so that file names are masked as well.
 */

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
  return `***.${host.slice(host.lastIndexOf(".") + 1)}`;
}

/** Fields that never contain an address; any other text is masked. */
const PLAIN = new Set(["name", "event", "time", "version", "hash", "fingerprint"]);

/** A plain value with all texts in it masked; what is a name or a number stays. */
export function maskedDeep<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (key, inner) =>
    typeof inner === "string" && !PLAIN.has(key) ? masked(inner) : inner,
  ) as T;
}
