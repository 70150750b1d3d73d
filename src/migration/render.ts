/**
 * Prints a draft as a configuration: every line has its origin, and what was not
 * converted is listed on top, so that nothing of the old file is lost silently. It begins in
 * observe mode, in which nothing is sent. The names of directives are quoted;
 * their values appear only if they are valid.
 */

import { quoted } from "../config/quote.js";
import { tomlList, tomlString } from "../config/toml-string.js";
import { formatEndpoint } from "../config/units.js";
import { plainHost } from "../ip-address.js";
import { domainOf } from "../mail-address.js";
import type { Draft, Found, FoundEndpoint, Left, Section } from "./draft.js";

/** A placeholder for an unknown address (RFC 2606). */
const NO_ADDRESS = "pgp-public-keys@keyserver.invalid";

/** Hockeypuck sends over HKP only, and its own port is in use. */
const HKP = [
  "\n[hkp]   # Hockeypuck posts submissions of users to it",
  'listen = ["127.0.0.1:11372"]',
];

/** The name of a peer must fit in a table and a metric. */
const NAME_LENGTH = 32;

/** The lines of a section between its header and the next one. */
function settingLines(draft: Draft, section: Section): string[] {
  return draft.settings[section].map(({ key, toml, remark, isProposal }) =>
    line(`${isProposal ? "# " : ""}${key} = ${toml}`, remark),
  );
}

/** The lines of [local], with the address of the keyserver that the site has been so far. */
export function localLines(draft: Draft): string[] {
  const lines = settingLines(draft, "local");
  const isThere = draft.settings.local.every(({ toml }) => toml !== '"none"');
  if (draft.site === undefined || !isThere) return lines;
  const remark = "its address in trails; updates with it are not delivered to it";
  return [...lines, line(`address = ${tomlString(draft.site.value)}`, remark)];
}

/** What was not converted: `FILE:LINE: NAME: why`. */
export function leftLine({ place, key, kind, why }: Left): string {
  return `${place}: ${name(key)}: ${kind === "unneeded" ? "not needed: " : ""}${why}`;
}

/** The whole file. */
export function render(draft: Draft): string {
  const { kind, files, left, advice } = draft;
  const head = [
    `Configuration of the KX gateway, converted by kxgw config migrate from ${kind}:`,
    ...files.map((file) => `  ${quoted(file)}`),
    'Validate it with "kxgw check". Nothing is sent in observe mode.',
    ...(left.length === 0 ? [] : ["", "Not converted:"]),
    ...left.map((one) => `  ${leftLine(one)}`),
    "",
    ...advice,
  ];
  return `${[
    ...head.map((text) => (text === "" ? "#" : `# ${plain(text)}`)),
    "",
    line('mode = "observe"', 'set "bridge" when the updates that it would send are right'),
    ...siteLines(draft),
    "\n[log]",
    line('path = "updates.db"', "relative to this file; for a service /var/lib/kxgw/updates.db"),
    "\n[smtp]   # incoming mail",
    line('listen = ["127.0.0.1:2525"]', 'and "lmtp:/run/kxgw/lmtp.sock" for kxgw ingest and LMTP'),
    "\n[kx]   # KX peers",
    ...kxLines(draft),
    "\n[outbound]   # outgoing mail",
    ...outboundLines(draft),
    `\n[local]   # ${kind}, the local keyserver`,
    ...localLines(draft),
    ...policyLines(draft),
    "\n[admin]   # status page and metrics",
    'listen = "127.0.0.1:9627"',
    ...peerLines(draft),
  ].join("\n")}\n`;
}

function siteLines({ ours, contact }: Draft): string[] {
  const missing = "# PLACEHOLDER: the files do not contain our address, write it here.";
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
  return [line('listen = ["127.0.0.1:11373"]', "0.0.0.0:11373 for other hosts")];
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
    const mx = `hosts that deliver its mail: ask, or begin with  host -t MX ${domain}`;
    return [
      "\n[[peer]]",
      `name = ${tomlString(nameFor(domain, names))}`,
      line(`mail = ${tomlString(peer.value)}`, origin(peer)),
      line('# accept_from = ["192.0.2.1"]', mx),
      ...(kx === undefined
        ? [line(`# kx = ${tomlString(`${domain}:11373`)}`, "when it runs a gateway, too")]
        : [
            ...dialLines(kx),
            line('via = "both"', 'as before; "auto" uses mail only while KX is down'),
          ]),
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

/** A KX peer that pksd dialled. */
function dialLines(found: FoundEndpoint): string[] {
  const { endpoint, place, key } = found;
  return [
    line(`kx = ${tomlString(formatEndpoint(endpoint))}`, `${place} ${key}`),
    line("dial = true", "one of the two sides is sufficient"),
  ];
}

function isHost({ endpoint }: FoundEndpoint, domain: string): boolean {
  return plainHost(endpoint.host) === plainHost(domain);
}

/** The local keyserver as a neighbour: it sends its own submissions from this host. */
export function besideLines(draft: Draft): string[] {
  return [
    ...(draft.kind === "hockeypuck" ? HKP : []),
    `\n# Submissions to ${draft.kind} come from this host.`,
    "[[peer]]",
    `name = ${tomlString(draft.kind)}`,
    `accept_from = ${tomlList(["127.0.0.1", "::1"])}`,
    ...reconLines(draft),
  ];
}

/** A proposal to follow the keyserver: what reaches it by reconciliation comes in as well. */
function reconLines({ followed, kind }: Draft): string[] {
  if (followed === undefined) return [];
  const allow =
    kind === "sks"
      ? 'SKS needs the line "127.0.0.1 1" in its membership file'
      : "Hockeypuck lets this host in";
  return [
    "\n# To receive what reaches it by reconciliation as well (docs/neighbours.md):",
    "# [[recon]]",
    line(`# server = ${tomlString(formatEndpoint(followed.server))}`, allow),
    line(`# hkp = ${tomlString(followed.hkp)}`, "its keys are fetched there"),
  ];
}

/** Keyservers with HKP that are not mail neighbours under that name. */
function otherRepairs({ repairs, peers }: Draft): string[] {
  const domains = peers.map(({ value }) => domainOf(value));
  const others = repairs.filter(({ value }) => !domains.includes(hostOf(value)));
  if (others.length === 0) return [];
  return [
    "\n# Keyservers that can be asked for a lost key, for the [[peer]] of each:",
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

/** A unique name: the domain with "-" for each dot. */
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

/** The name of a directive, quoted if necessary. */
function name(key: string): string {
  return /^[\w.:-]{1,60}$/.test(key) ? key : quoted(key);
}

/** File names in comments may contain any character. */
function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}]/gu, "?");
}
