/**
 * Converts sksconf, mailsync and membership (SKS 1.1.6): the gateway gets the address that SKS
 * sent from, and SKS becomes its local keyserver. It receives mails in its messages directory and
 * not by HKP, because SKS mails updates from HKP to its sites, and those from mail not.
 */

import type { Endpoint } from "../config/config.js";
import { tomlString } from "../config/toml-string.js";
import { formatEndpoint, parseEndpoint } from "../config/units.js";
import type { Directive } from "./directive.js";
import type { Draft, Unneeded } from "./draft.js";
import { directoryOf, lastDirective, mailProgram } from "./draft.js";
import { hostPort } from "./host-port.js";

const OWN = "for SKS only";
const TUNING = ["cache", "pagesize", "keyid_pagesize", "meta_pagesize", "subkeyid_pagesize"];
const MORE_TUNING = ["time_pagesize", "tqueue_pagesize", "word_pagesize", "ptree_pagesize"];
const RECON = ["recon_port", "recon_address", "gossip_interval", "dontgossip", "prob", "mbar"];
const REST = [
  ...["debug", "debuglevel", "q", "seed", "nodename", "d", "n", "baseport", "hkp_address"],
  ...["hkp_port", "use_port_80", "stdoutlog", "diskptree", "nodiskptree", "max_ptree_nodes"],
  ...["max_internal_matches", "max_matches", "max_uid_fetches", "ptree_cache", "stat_hour"],
  ...["recon_sync_interval", "db_sync_interval", "checkpoint_interval", "initial_stat"],
  ...["recon_checkpoint_interval", "ptree_thresh_mult", "recon_thresh_mult", "max_recover"],
  ...["http_fetch_size", "wserver_timeout", "reconciliation_timeout", "command_timeout"],
  ...["reconciliation_config_timeout", "missing_keys_timeout", "dump_new_only"],
  ...["max_outstanding_recon_requests", "membership_reload_interval", "disable_log_diffs"],
];

const UNNEEDED: Unneeded = {
  ...Object.fromEntries([...TUNING, ...MORE_TUNING, ...REST].map((key) => [key, OWN])),
  ...Object.fromEntries(RECON.map((key) => [key, "reconciliation continues beside the gateway"])),
  server_contact: "is a key, not an address; site.contact is an address",
};

const KNOWN = ["from_addr", "hostname", "sendmail_cmd", "basedir", "disable_mailsync"];

/** HKP is on the port after that of reconciliation, unless configured otherwise. */
const RECON_PORT = 11370;

/** Translates the directives of all the files; `directory` is where sksconf is, absolute. */
export function fromSks(directives: readonly Directive[], draft: Draft, directory: string): void {
  for (const directive of directives) {
    switch (directive.key) {
      case "from_addr":
        draft.setSite(directive);
        break;
      case "sendmail_cmd":
        mailProgram(draft, directive);
        break;
      case "mailsync":
        draft.addPeer(directive);
        break;
      case "membership":
        member(directive, draft);
        break;
      case "basedir":
      case "hostname":
        break;
      case "disable_mailsync":
        draft.leave(
          directive,
          "by-hand",
          "SKS sends no mail; remove it, or its submissions are not forwarded",
        );
        break;
      default:
        draft.leaveRest(directive, UNNEEDED, KNOWN);
    }
  }
  ownAddress(lastDirective(directives, "hostname"), draft);
  local(directives, draft, directory);
  draft.followed = followed(directives);
  const ours = draft.ours?.value ?? "OUR ADDRESS";
  draft.advice.push(
    `In the mailsync file of SKS replace all addresses by the line "${ours}" when the gateway ` +
      "is in bridge mode. Submissions to SKS then go to the gateway, which forwards them.",
  );
}

/** Its recon address, with HKP on the port behind it unless configured otherwise. */
function followed(directives: readonly Directive[]): Draft["followed"] {
  const value = (key: string) => lastDirective(directives, key)?.value;
  const recon = endpointOf(value("recon_address"), value("recon_port") ?? `${RECON_PORT}`);
  const hkp = endpointOf(value("hkp_address"), value("hkp_port") ?? `${RECON_PORT + 1}`);
  if (recon === undefined || hkp === undefined) return undefined;
  return { server: recon, hkp: `http://${formatEndpoint(hkp)}` };
}

/** Of the addresses that SKS listens on the first counts. */
function endpointOf(addresses = "", port: string): Endpoint | undefined {
  const [first = ""] = addresses.replace(/"/g, "").split(/[\s,]+/);
  const host = ["", "0.0.0.0", "::"].includes(first) ? "127.0.0.1" : first;
  const reading = parseEndpoint(`${host.includes(":") ? `[${host}]` : host}:${port}`);
  return "fault" in reading || reading.value.port === 0 ? undefined : reading.value;
}

/** Without from_addr SKS sends from pgp-public-keys at its host name. */
function ownAddress(hostname: Directive | undefined, draft: Draft): void {
  if (hostname === undefined) return;
  if (draft.site !== undefined) draft.leave(hostname, "unneeded", OWN);
  else draft.setSite({ ...hostname, value: `pgp-public-keys@${hostname.value}` });
}

function local(directives: readonly Directive[], draft: Draft, directory: string): void {
  const basedir = lastDirective(directives, "basedir");
  const base = directoryOf(draft, basedir);
  // The Debian build has its spool outside of its basedir.
  const isDebian = base === undefined && /^\/etc(\/|$)/.test(directory);
  const spool = base ?? (isDebian ? "/var/spool/sks" : directory);
  const origin = isDebian
    ? "the directory of the Debian package"
    : (basedir?.place ?? "next to sksconf");
  draft.set(
    "local",
    "type",
    '"sks"',
    "mails are written for SKS, which reads them every ten seconds",
  );
  draft.set(
    "local",
    "directory",
    tomlString(`${spool}/messages`),
    `${origin}; check that it exists`,
  );
}

/** `host port`: a reconciliation partner of SKS, which usually has an HKP port. */
function member(directive: Directive, draft: Draft): void {
  const endpoint = hostPort(directive.value, RECON_PORT);
  const url = endpoint && `hkp://${formatEndpoint({ ...endpoint, port: endpoint.port + 1 })}`;
  if (url !== undefined && draft.addRepair(directive, url)) draft.take(directive);
  else draft.leave(directive, "by-hand", "is not of the form HOST PORT");
}
