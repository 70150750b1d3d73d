/**
 * Parses the headers in which keyservers name the sender of a key and the servers that have it:
 * PKS-Sender, PKS-From and PKS-Recipients. Entries are mailto: addresses or HKP base addresses, of
 * which ports are ignored. A site with an unknown mail address is left out of the trail. The HKP
 * door decides whether the client is trusted.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Config } from "../config/config.js";
import { addressesIn } from "../mail/sent-trail.js";
import { plainAddress } from "../mail-address.js";

export interface PksHeaders {
  /** Mail addresses of the sites that have the key, the sender last. */
  readonly trail: readonly string[];
  /** Mail addresses that the sender claims as its own. */
  readonly authors: readonly string[];
}

/** Used for strangers, whose headers are ignored. */
export const NO_PKS_HEADERS: PksHeaders = { trail: [], authors: [] };

/** `sites` maps hosts of HKP addresses to mail addresses, see `sitesByHost`. */
export function readPksHeaders(
  headers: IncomingHttpHeaders,
  sites: ReadonlyMap<string, string>,
): PksHeaders {
  const values = (name: string) => [headers[name] ?? []].flat();
  const addresses = (name: string) =>
    values(name)
      .flatMap((value) => value.split(","))
      .flatMap((entry) => siteOf(entry.trim(), sites) ?? []);
  const authors = [...values("pks-sender").flatMap(addressesIn).slice(0, 1)];
  authors.push(...addresses("pks-from").slice(0, 1));
  return { trail: [...addresses("pks-recipients"), ...authors.toReversed()], authors };
}

/** Hosts of HKP addresses to mail addresses, of the local keyserver and of neighbours. */
export function sitesByHost({
  local,
  neighbours,
}: Pick<Config, "local" | "neighbours">): ReadonlyMap<string, string> {
  const sites = new Map<string, string>();
  const add = (url: string, address: string | undefined) => {
    if (address !== undefined) sites.set(new URL(url).hostname, address);
  };
  for (const { repair, mail } of neighbours) if (repair?.type === "hkp") add(repair.url, mail);
  if (local?.type === "hkp") add(local.url, local.address);
  return sites;
}

function siteOf(entry: string, sites: ReadonlyMap<string, string>): string | undefined {
  const [, scheme, rest = ""] = /^(mailto|hkps?|https?):(.*)$/i.exec(entry) ?? [
    undefined,
    "",
    entry,
  ];
  if (scheme === "" || scheme?.toLowerCase() === "mailto") return plainAddress(rest);
  const web = `http:${rest}`;
  return URL.canParse(web) ? sites.get(new URL(web).hostname) : undefined;
}
