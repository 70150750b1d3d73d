/**
 * Whether a request is meant for this server, by its Host header. A page of another site can
 * let its own name resolve to our address (DNS rebinding), and a browser would then let it read our
 * answers; but the request still names that site. IP addresses and localhost are always
 * accepted, so that probes and scrapes by address need no setting. Pure.
 */
import { isIP } from "node:net";

/** The set of names in normalised form. */
export function ownNames(names: readonly string[]): ReadonlySet<string> {
  return new Set(["localhost", ...names].map(plain));
}

/** `host` is the Host header, with or without a port; browsers always send one. */
export function isOwn(host: string | undefined, names: ReadonlySet<string>): boolean {
  if (host === undefined) return true;
  const name = plain(host.replace(/:\d*$/, ""));
  return names.has(name) || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

/** The reply to a request with another host name. */
export function notOwn(host: string): string {
  const shown = host.replace(/[^\w.:[\]-]/g, "?").slice(0, 100);
  return `This server is not ${shown}. Use its IP address, or add the name to names of [admin].`;
}

function plain(name: string): string {
  return name.trim().toLowerCase().replace(/\.$/, "");
}
