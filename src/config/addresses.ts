/**
 * Readers for addresses in the configuration: mail addresses, IP networks and
 * the URLs of relay and keyserver. They check the syntax and never resolve a name. Each returns
 * a value or an error message. Mail addresses have their plain form (`mail-address.ts`):
 * no quoted local part, no address literal, an internationalised domain as its A-label. Nothing of
 * a relay URL is ever quoted, because it may contain a password.
 */
import { isIP } from "node:net";
import { plainIp, plainNetwork } from "../ip-address.js";
import { isAddress, plainAddress } from "../mail-address.js";
import { quoted } from "./quote.js";
import type { Reading } from "./units.js";
import { isHostname, zoneFault } from "./units.js";

/** "user@host" as it is written; at most 254 characters, 64 of them before the "@". */
export function parseMailAddress(text: string): Reading<string> {
  const fault = (why: string) => ({
    fault: `${quoted(text)} is not a mail address: ${why}, as "pgp-public-keys@ks.example.org"`,
  });
  const at = text.lastIndexOf("@");
  if (/\p{Cc}/u.test(text)) return fault("remove the control characters");
  if (/[<>\s]/.test(text)) return fault("write it without a name, spaces and angle brackets");
  if (at < 1) return fault("write user@host");
  const plain = plainAddress(text) ?? text;
  if (plain !== text) return { fault: `${quoted(text)} is not in plain form: write "${plain}"` };
  if (!isAddress(`${text.slice(0, at)}@x`)) return fault('write a plain ASCII name before the "@"');
  if (!isHostname(text.slice(at + 1))) return fault('write a host name after the "@"');
  if (at > 64 || text.length > 254) return fault("it is too long");
  return { value: text };
}

/** "192.0.2.1", "192.0.2.0/24", "2001:db8::/32" in the spelling of `ip-address.ts`. */
export function parseNetwork(text: string): Reading<string> {
  const value = plainNetwork(text);
  if (value !== undefined) return { value };
  const hint = 'write an IP address or a range, as "192.0.2.1" or "192.0.2.0/24"';
  return { fault: `${quoted(text)} is not an IP address or a CIDR range: ${hint}` };
}

/** An IP address without a prefix in the spelling of `ip-address.ts`. */
export function parseIpAddress(text: string): Reading<string> {
  const value = plainIp(text);
  if (value === undefined) {
    return { fault: `${quoted(text)} is not an IP address: write one as "192.0.2.1"` };
  }
  const fault = zoneFault(value);
  return fault === undefined ? { value } : { fault: `${quoted(text)} ${fault}` };
}

/** "smtp://[user:password@]host[:port]" or "smtps://..." as it is written. */
export function parseRelay(text: string): Reading<string> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isMail = url?.protocol === "smtp:" || url?.protocol === "smtps:";
  const hint = 'write "smtp://127.0.0.1:25" or "smtps://user:password@host:465"';
  if (!url || !isMail) return { fault: `is not an smtp:// or smtps:// URL: ${hint}` };
  const isHost = /^\[.*\]$/.test(url.hostname) || isIP(url.hostname) || isHostname(url.hostname);
  if (!isHost) return { fault: `has no host: ${hint}` };
  if (!["", "/"].includes(url.pathname) || url.search !== "" || url.hash !== "") {
    return { fault: `has text after host and port: ${hint}` };
  }
  if (/[\s\p{Cc}]/u.test(text)) return { fault: `has a space or control character: ${hint}` };
  return { value: text };
}

/** "http://host:port" or "https://..." without a slash at its end. */
export function parseKeyserver(value: string): Reading<string> {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isWeb = url?.protocol === "http:" || url?.protocol === "https:";
  if (isWeb && url.search === "" && url.hash === "") return { value: value.replace(/\/+$/, "") };
  return { fault: `${quoted(value)} is not an HTTP URL: write one as "http://127.0.0.1:11371"` };
}

/** The relay for output: scheme, host and port, without user and password. */
export function redactedRelay(relay: string): string {
  const { protocol, host } = new URL(relay);
  return `${protocol}//${host}`;
}
