/**
 * A draft as the text of a configuration: every line says where it comes from, and what was not
 * taken over is listed on top, so that nothing of the old file gets lost unseen. It begins in
 * observe mode, in which nothing is sent. A directive's name comes from a stranger's file and is
 * quoted like one; its value appears only where it was understood.
 */

import { quoted } from "../config/quote.js";
import { tomlList, tomlString } from "../config/toml-string.js";
import { formatEndpoint } from "../config/units.js";
import { plainHost } from "../ip-address.js";
import { domainOf } from "../mail-address.js";
import type { Draft, Found, FoundEndpoint, Left, Section } from "./draft.js";

/** Stands for an address that nothing tells; nobody has it (RFC 2606). */
const NO_ADDRESS = "pgp-public-keys@keyserver.invalid";

/** Hockeypuck sends over HKP alone, and its own port is taken. */
const HKP = [
  "\n[hkp]   # where Hockeypuck posts what users submit to it",
  'listen = ["127.0.0.1:11372"]',
];

/** A peer's name has to fit in a table and a metric. */
const NAME_LENGTH = 32;

/** The lines of a section between its header and the next one. */
export function settingLines(draft: Draft, section: Section): string[] {
  return draft.settings[section].map(({ key, toml, remark, isProposal }) =>
    line(`${isProposal ? "# " : ""}${key} = ${toml}`, remark),
  );
}

/** The lines of [local], with the address of the keyserver that the site has been so far. */
export function localLines(draft: Draft): string[] {
  const lines = settingLines(draft, "local");
  const isThere = draft.settings.local.every(({ toml }) => toml !== '"none"');
  if (draft.site === undefined || !isThere) return lines;
  const remark = "what it writes into trails; what it has is not delivered to it";
  return [...lines, line(`address = ${tomlString(draft.site.value)}`, remark)];
}

/** What was not taken over, in words: `FILE:LINE: NAME: why`. */
export function leftLine({ place, key, kind, why }: Left): string {
  return `${place}: ${name(key)}: ${kind === "unneeded" ? "not needed: " : ""}${why}`;
}

/** The whole file. */
export function render(draft: Draft): string {
  const { kind, files, left, advice } = draft;
  const head = [
    `Configuration of the KX gateway, made by kxgw config migrate from ${kind}'s`,
    ...files.map((file) => `  ${quoted(file)}`),
    '"kxgw check" says whether it is in order. Nothing is sent in observe mode.',
    ...(left.length === 0 ? [] : ["", "Not taken over:"]),
    ...left.map((one) => `  ${leftLine(one)}`),
    "",
    ...advice,
  ];
  return `${[
    ...head.map((text) => (text === "" ? "#" : `# ${plain(text)}`)),
    "",
    line('mode = "observe"', '"bridge" when what it would send looks right'),
    ...siteLines(draft),
    "\n[log]",
    line('path = "updates.db"', "beside this file; a service has /var/lib/kxgw/updates.db"),
    "\n[smtp]   # mail in",
    line('listen = ["127.0.0.1:2525"]', 'and "lmtp:/run/kxgw/lmtp.sock" for kxgw ingest and LMTP'),
    "\n[kx]   # KX in and out",
    ...kxLines(draft),
    "\n[outbound]   # mail out",
    ...outboundLines(draft),
    `\n[local]   # ${kind}, the keyserver beside us`,
    ...localLines(draft),
    ...policyLines(draft),
    "\n[admin]   # status page and metrics",
    'listen = "127.0.0.1:9627"',
    ...peerLines(draft),
  ].join("\n")}\n`;
}

function siteLines({ ours, contact }: Draft): string[] {
  const missing = "# NOBODY'S ADDRESS: the files do not tell ours, write it here.";
  return [
    "\n[site]",
    ...(ours === undefined ? [missing] : []),
    line(`address = ${tomlString(ours?.value ?? NO_ADDRESS)}`, origin(ours)),
    contact === undefined
      ? line(`# contact = ${tomlString("you@example.org")}`, "by default site.address")
      : line(`contact = ${tomlString(contact.value)}`, origin(contact)),
  ];
}

function kxLines(draft: Draft): string[] {
  const lines = settingLines(draft, "kx");
  if (lines.length > 0) return lines;
  return [line('listen = ["127.0.0.1:11373"]', "0.0.0.0:11373 for peers elsewhere")];
}

function outboundLines(draft: Draft): string[] {
  const hasRelay = draft.settings.outbound.some(({ key }) => key === "relay");
  const relay = line('relay = "smtp://127.0.0.1:25"', "the mail server of this host");
  return [...(hasRelay ? [] : [relay]), ...settingLines(draft, "outbound")];
}

function policyLines(draft: Draft): string[] {
  const { blocked } = draft;
  const lines = settingLines(draft, "policy");
  if (blocked.length > 0) {
    lines.push(
      line(`# blocklist = ${tomlString("blocklist.txt")}`, "with these lines in that file:"),
      ...blocked.map(({ value, place }) => `#   ${value} blocked by ${draft.kind} (${place})`),
    );
  }
  return lines.length === 0 ? [] : ["\n[policy]   # what is not carried", ...lines];
}

function peerLines(draft: Draft): string[] {
  const names = new Set<string>([draft.kind]);
  const { kxPeers } = draft;
  const joined = new Set<FoundEndpoint>();
  const lines = draft.peers.flatMap((peer) => {
    const domain = domainOf(peer.value);
    const kx = kxPeers.find((one) => isHost(one, domain) && !joined.has(one));
    if (kx !== undefined) joined.add(kx);
    const mx = `where its mail comes from: ask, or begin with  host -t MX ${domain}`;
    return [
      "\n[[peer]]",
      `name = ${tomlString(nameFor(domain, names))}`,
      line(`mail = ${tomlString(peer.value)}`, origin(peer)),
      line('# accept_from = ["192.0.2.1"]', mx),
      ...(kx === undefined
        ? [line(`# kx = ${tomlString(`${domain}:11373`)}`, "once it runs a gateway, too")]
        : [...dialLines(kx), line('via = "both"', 'as it was; "auto" keeps mail for the worst')]),
      ...draft.repairs.filter(({ value }) => hostOf(value) === domain).map(repairLine),
    ];
  });
  const others = kxPeers
    .filter((one) => !joined.has(one))
    .flatMap((one) => [
      "\n[[peer]]",
      `name = ${tomlString(nameFor(one.endpoint.host, names))}`,
      ...dialLines(one),
    ]);
  return [...lines, ...others, ...besideLines(draft), ...otherRepairs(draft)];
}

/** A peer that spoke KX, and that our pksd dialled. */
function dialLines(found: FoundEndpoint): string[] {
  const { endpoint, place, key } = found;
  return [
    line(`kx = ${tomlString(formatEndpoint(endpoint))}`, `${place} ${key}`),
    line("dial = true", "one of the two sides is enough"),
  ];
}

function isHost({ endpoint }: FoundEndpoint, domain: string): boolean {
  return plainHost(endpoint.host) === plainHost(domain);
}

/** The keyserver beside us has news of its own, which come from this host. */
export function besideLines(draft: Draft): string[] {
  return [
    ...(draft.kind === "hockeypuck" ? HKP : []),
    `\n# What users submit to ${draft.kind} comes from this host.`,
    "[[peer]]",
    `name = ${tomlString(draft.kind)}`,
    `accept_from = ${tomlList(["127.0.0.1", "::1"])}`,
  ];
}

/** Keyservers that answer over HKP and are no neighbour by mail under that name. */
function otherRepairs({ repairs, peers }: Draft): string[] {
  const domains = peers.map(({ value }) => domainOf(value));
  const others = repairs.filter(({ value }) => !domains.includes(hostOf(value)));
  if (others.length === 0) return [];
  return [
    "\n# Keyservers that can be asked for a key that got lost, for the [[peer]] of each:",
    ...others.map(repairLine),
  ];
}

function repairLine(found: Found): string {
  return line(`# repair = ${tomlString(found.value)}`, origin(found));
}

/** The host of an HKP address. */
function hostOf(url: string): string {
  return url.replace(/^hkps?:\/\//, "").replace(/:\d+\/?$/, "");
}

/** A name of its own: the domain with "-" for every dot. */
function nameFor(domain: string, names: Set<string>): string {
  const base = domain.replace(/[^A-Za-z0-9_-]/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  const stem = base === "" ? "site" : base;
  let chosen = stem.slice(0, NAME_LENGTH);
  for (let count = 2; names.has(chosen); count++) {
    chosen = `${stem.slice(0, NAME_LENGTH - 1 - String(count).length)}-${count}`;
  }
  names.add(chosen);
  return chosen;
}

function origin(found: Found | undefined): string {
  return found === undefined ? "" : `${found.place} ${name(found.key)}`.trim();
}

function line(text: string, remark: string): string {
  return remark === "" ? text : `${text}   # ${plain(remark)}`;
}

/** A directive's name as it may be shown. */
function name(key: string): string {
  return /^[\w.:-]{1,60}$/.test(key) ? key : quoted(key);
}

/** File names stand in remarks, and may hold anything. */
function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}]/gu, "?");
}
