/**
 * Whether a request is meant for this door, by the host that it names. A page of another site can
 * have its own name point to our address (DNS rebinding), and a browser would then let it read what
 * we answer; but the request still names that site. An IP address is nobody's name, and localhost
 * is this host's, so that probes and scrapes by address need no setting. Pure.
 */
import { isIP } from "node:net";

/** The names, each once, as they are compared. */
export function ownNames(names: readonly string[]): ReadonlySet<string> {
  return new Set(["localhost", ...names].map(plain));
}

/** `host` is that of the request, with or without a port; a client without one is no browser. */
export function isOwn(host: string | undefined, names: ReadonlySet<string>): boolean {
  if (host === undefined) return true;
  const name = plain(host.replace(/:\d*$/, ""));
  return names.has(name) || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

/** What somebody is told who came to another name. */
export function notOwn(host: string): string {
  const shown = host.replace(/[^\w.:[\]-]/g, "?").slice(0, 100);
  return `This is not ${shown}. Ask for an address, or write its name into names of [admin].`;
}

function plain(name: string): string {
  return name.trim().toLowerCase().replace(/\.$/, "");
}
