/**
 * Addresses in the configurations that come with keyserver software, before anybody edited them:
 * onak.ini of Debian has the address of onak's author, others have names that nobody can have. A
 * site that took one would answer under the name of another.
 */
import { domainOf } from "../mail-address.js";

/** Domains of samples, with all names below them. */
const DOMAINS = [
  // onak.ini of onak 0.6 and its Debian package: this_site and maintainer_email.
  "the.earth.li",
  // sksconf of Debian, and sampleConfig/sksconf.typical and sksconf.minimal of SKS 1.1.6.
  "this.server.example.net",
  "example.tld",
  "keyserver.foo.bar",
  // Names that documents use most (RFC 2606 section 3).
  "example.com",
];

/** Whether a mail address is a sample: of one of these domains, or of a host without a domain. */
export function isSample(address: string): boolean {
  const domain = domainOf(address).toLowerCase();
  // "localhost", "your-site"
  if (!domain.includes(".")) return true;
  return DOMAINS.some((sample) => domain === sample || domain.endsWith(`.${sample}`));
}
