/**
 * The headers in which keyservers say who sends a key and who has it already: PKS-Sender,
 * PKS-From and PKS-Recipients. Entries are mailto: addresses or HKP base addresses, of which the
 * ports do not count. Only a site whose mail address is known can stand in a trail. Whether the
 * client may say so is for the door to judge.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Config } from "../config/config.js";
import { addressesIn } from "../mail/sent-trail.js";
import { plainAddress } from "../mail-address.js";

export interface PksHeaders {
  /** Who has the key already, its sender last. */
  readonly trail: readonly string[];
  /** Who sends it, by its own words. */
  readonly authors: readonly string[];
}

/** What a client says of whom we do not know: nothing that counts. */
export const NO_PKS_HEADERS: PksHeaders = { trail: [], authors: [] };

/** `sites` are mail addresses by the host of an HKP address, as `sitesByHost` gives them. */
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

/** Mail addresses by the host of an HKP address: of the keyserver beside us and of neighbours. */
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
