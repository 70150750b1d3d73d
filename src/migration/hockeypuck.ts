/**
 * Converts hockeypuck.conf (Hockeypuck 2.1 to 2.3): Hockeypuck becomes the local keyserver of the
 * gateway and receives updates over HKP; the sites of its PKS list become neighbours. It accepts
 * no mail, so its From address becomes that of the site. Its recon goes on as before.
 * The password of its mail server is never copied.
 */

import type { Endpoint } from "../config/config.js";
import { tomlString } from "../config/toml-string.js";
import { parseEndpoint, parseSize } from "../config/units.js";
import type { Directive } from "./directive.js";
import type { Draft, Unneeded } from "./draft.js";
import { lastDirective } from "./draft.js";

const OWN = "for Hockeypuck only";
const RECON = "reconciliation continues beside the gateway";

const UNNEEDED: Unneeded = {
  "hkp.": OWN,
  "hkps.": OWN,
  "metrics.": OWN,
  "conflux.": RECON,
  "openpgp.db.": OWN,
  "openpgp.headers.": OWN,
  "openpgp.nworkers": OWN,
  "openpgp.enumerableDomains": OWN,
  "rateLimit.": "for Hockeypuck only; exempt the gateway, which posts each update",
  indexTemplate: OWN,
  vindexTemplate: OWN,
  statsTemplate: OWN,
  responseTemplate: OWN,
  webroot: OWN,
  logfile: OWN,
  loglevel: OWN,
  hostname: OWN,
  nodename: OWN,
  contact: "is a key, not an address; site.contact is an address",
  enableVHosts: OWN,
  reconStaleSecs: OWN,
  maxResponseLen: OWN,
  adminKeys: OWN,
  software: OWN,
  version: OWN,
};

const KNOWN = ["hkp.bind", "pks.from", "pks.to", "pks.smtp.host", "openpgp.maxKeyLength"];
const LIMITS = ["openpgp.maxPacketLength", "openpgp.blacklist"];

const DEFAULT_BIND: Directive = { key: "hkp.bind", value: ":11371", place: "Hockeypuck's default" };

const DEFAULT_RECON = ":11370";

/** Translates the directives of a hockeypuck.conf. */
export function fromHockeypuck(directives: readonly Directive[], draft: Draft): void {
  for (const directive of directives) translate(directive, draft);
  const recon = lastDirective(directives, "conflux.recon.reconAddr");
  local(lastDirective(directives, "hkp.bind"), recon, draft);
  draft.advice.push(
    'In hockeypuck.conf replace the mail sites by [hockeypuck.pks] to = ["hkp://127.0.0.1:11372"]' +
      ' when the gateway is in bridge mode with [hkp] listen = ["127.0.0.1:11372"]. ' +
      "Submissions to Hockeypuck then go to the gateway, which forwards them.",
  );
}

function translate(directive: Directive, draft: Draft): void {
  const { key } = directive;
  switch (key) {
    case "hkp.bind":
      return;
    case "pks.from":
      return draft.setSite(directive);
    case "pks.to":
      return recipient(directive, draft);
    case "pks.smtp.host":
      return relay(directive, draft);
    case "pks.smtp.id":
    case "pks.smtp.user":
    case "pks.smtp.pass":
      return draft.leave(
        directive,
        "by-hand",
        "not copied: the relay may be smtp://user:password@host, or KXGW_OUTBOUND__RELAY",
      );
    case "openpgp.maxKeyLength":
      return limit(directive, "max_update", "there for a key, here for one update of it", draft);
    case "openpgp.maxPacketLength":
      return limit(
        directive,
        "max_packet",
        "signatures, user ids and photos have other limits",
        draft,
      );
    case "openpgp.blacklist":
      return blocked(directive, draft);
    default:
      if (/^conflux\.recon\.partner\..+\.httpAddr$/.test(key)) return partner(directive, draft);
      return draft.leaveRest(directive, UNNEEDED, [...KNOWN, ...LIMITS]);
  }
}

/** An address of the PKS list: "mailto:user@host", or a keyserver with HKP or VKS. */
function recipient(directive: Directive, draft: Draft): void {
  const { value } = directive;
  if (/^mailto:/i.test(value)) {
    return draft.addPeer({ ...directive, value: value.slice("mailto:".length) });
  }
  draft.addRepair(directive, /^hkps?:/.test(value) ? value : "");
  draft.leave(directive, "by-hand", "accepts neither mail nor KX: leave it to Hockeypuck");
}

/** Another Hockeypuck or SKS with which it reconciles. */
function partner(directive: Directive, draft: Draft): void {
  if (draft.addRepair(directive, `hkp://${directive.value}`)) draft.take(directive);
  else draft.leave(directive, "by-hand", "is not of the form HOST:PORT");
}

function relay(directive: Directive, draft: Draft): void {
  const { value, place, key } = directive;
  const endpoint = parseEndpoint(/:\d+$/.test(value) ? value : `${value}:25`);
  if ("fault" in endpoint) return draft.leave(directive, "by-hand", endpoint.fault);
  draft.take(directive);
  const [host, port] = [endpoint.value.host, endpoint.value.port];
  const written = host.includes(":") ? `[${host}]` : host;
  draft.set("outbound", "relay", tomlString(`smtp://${written}:${port}`), `${place} ${key}`);
}

function limit(directive: Directive, name: string, words: string, draft: Draft): void {
  const { value, place, key } = directive;
  const size = parseSize(value);
  if ("fault" in size) return draft.leave(directive, "by-hand", "is not a size in bytes above 0");
  draft.take(directive);
  draft.set("policy", name, tomlString(value), `${place} ${key}; ${words}`);
}

function blocked(directive: Directive, draft: Draft): void {
  const fingerprint = directive.value.trim().toUpperCase().replace(/^0X/, "");
  if (!/^([0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64})$/.test(fingerprint)) {
    return draft.leave(directive, "by-hand", "one of its elements is not a full fingerprint");
  }
  draft.take(directive);
  draft.blocked.push({ ...directive, value: fingerprint });
}

/** An address that it listens on, as it is reached from this host. */
function loopbackOf(bind: string): Endpoint | undefined {
  const reading = parseEndpoint(bind.replace(/^(0\.0\.0\.0|\[::\])?:/, "127.0.0.1:"));
  return "fault" in reading || reading.value.port === 0 ? undefined : reading.value;
}

function local(given: Directive | undefined, recon: Directive | undefined, draft: Draft): void {
  const directive = given ?? DEFAULT_BIND;
  const { value, place } = directive;
  const [, address = "", port = ""] = /^(.*):(\d+)$/.exec(value) ?? [];
  const isAny = address === "" || address === "0.0.0.0" || address === "[::]";
  const host = isAny ? "127.0.0.1" : address;
  if ("fault" in parseEndpoint(`${host}:${port}`)) {
    draft.leave(directive, "by-hand", "is not an address to listen on");
    draft.set("local", "type", '"none"', "the address of Hockeypuck is not known");
    return;
  }
  if (given !== undefined) draft.take(given);
  draft.set("local", "type", '"hkp"', "updates are posted to Hockeypuck");
  draft.set("local", "kind", '"hockeypuck"', "what is sent beside an update");
  draft.set("local", "url", tomlString(`http://${host}:${port}`), `${place} bind`);
  const server = loopbackOf(recon?.value ?? DEFAULT_RECON);
  if (server !== undefined) draft.followed = { server, hkp: `http://${host}:${port}` };
}
