/**
 * Converts pksd.conf (pksd.conf(5), pks 0.9.6): the gateway gets the address of the site, and
 * pksd becomes its local keyserver, with mails in the directory that pks-queue-run.sh reads, and
 * with lookups at its www_port. For a pksd with the KX patch of 2003 (thesis, appendix B.3) it
 * converts the KX settings as well: the address of tcp_syncaddr and tcp_syncport, and a KX peer for
 * each tcp_syncsite.
 */
import { tomlList, tomlString } from "../config/toml-string.js";
import { formatEndpoint } from "../config/units.js";
import { plainIp } from "../ip-address.js";
import type { Directive } from "./directive.js";
import type { Draft, Unneeded } from "./draft.js";
import { directoryOf, lastDirective, mailProgram } from "./draft.js";
import { hostPort } from "./host-port.js";

const DATABASE = "pksd keeps its own database";
const WEB = "pksd continues to answer on the web; a gateway answers no searches";
const ANSWERS = "for answers of pksd to mails; a gateway sends none";

const UNNEEDED: Unneeded = {
  db_dir: DATABASE,
  www_dir: WEB,
  www_addr: WEB,
  www_readonly: WEB,
  mail_intro_file: ANSWERS,
  help_dir: ANSWERS,
  default_language: ANSWERS,
  max_last: "pksd continues to answer LAST up to this, which also limits a backfill from it",
  max_last_reply_keys: ANSWERS,
  max_reply_keys: ANSWERS,
  chroot_dir: "for pksd only; mail_dir is not relative to it",
  pid_dir: "for pksd only",
  pksd_uid: "for pksd only; the user of the gateway must be able to write into mail_dir",
  debug: "for pksd only",
  sync_db_dir: "the gateway keeps announced updates in its own log",
  log_terminal: "the gateway writes its log to standard output, or to the journal as a service",
};

const KNOWN = [
  ...["this_site", "syncsite", "maintainer_email", "mail_delivery_client", "mail_dir"],
  ...["tcp_syncaddr", "tcp_syncport", "tcp_syncsite", "www_port"],
];

/** Our own choice: the thesis defines no port. */
const KX_PORT = 11373;

/** Translates the directives of a pksd.conf. */
export function fromPksd(directives: readonly Directive[], draft: Draft): void {
  for (const directive of directives) {
    switch (directive.key) {
      case "this_site":
        draft.setSite(directive);
        break;
      case "maintainer_email":
        draft.setContact(directive);
        break;
      case "syncsite":
        draft.addPeer(directive);
        break;
      case "mail_delivery_client":
        mailProgram(draft, directive);
        break;
      case "mail_dir":
      case "pks_bin_dir":
      case "socket_name":
      case "tcp_syncaddr":
      case "tcp_syncport":
      case "tcp_syncsite":
      case "www_port":
        break;
      default:
        draft.leaveRest(directive, UNNEEDED, [...KNOWN, "pks_bin_dir", "socket_name"]);
    }
  }
  local(directives, draft);
  keyExchange(directives, draft);
  const ours = draft.ours?.value ?? "OUR ADDRESS";
  draft.advice.push(
    `In pksd.conf replace all syncsite lines by one line "syncsite ${ours}" when the gateway ` +
      "is in bridge mode. Submissions to pksd then go to the gateway, which forwards them.",
  );
}

/** Listener and peers of the patched pksd; all of them use one port for KX. */
function keyExchange(directives: readonly Directive[], draft: Draft): void {
  const address = lastDirective(directives, "tcp_syncaddr");
  const port = lastDirective(directives, "tcp_syncport");
  const given = [address, port].filter((one) => one !== undefined);
  for (const one of directives) {
    const isOverruled = /^tcp_sync(addr|port)$/.test(one.key) && !given.includes(one);
    if (isOverruled) draft.leave(one, "by-hand", "is overridden by a later one");
  }
  const preset = port !== undefined && /^\d{1,5}$/.test(port.value) ? Number(port.value) : KX_PORT;
  const own = `${address?.value ?? "0.0.0.0"} ${port?.value ?? KX_PORT}`;
  const listen = given.length === 0 ? undefined : hostPort(own, KX_PORT);
  if (listen !== undefined) {
    for (const one of given) draft.take(one);
    const origin = given.map(({ place, key }) => `${place} ${key}`).join(", ");
    draft.set("kx", "listen", tomlList([formatEndpoint(listen)]), origin);
    draft.advice.push(
      `Remove tcp_sync* from pksd.conf before the gateway starts: both would listen on ` +
        `${formatEndpoint(listen)}, and a KX peer identifies its neighbour by the address.`,
    );
  } else {
    for (const one of given) draft.leave(one, "by-hand", "is not an address and port to listen on");
  }
  for (const site of directives.filter(({ key }) => key === "tcp_syncsite")) {
    const endpoint = hostPort(site.value, preset === 0 ? KX_PORT : preset);
    if (endpoint !== undefined) draft.addKxPeer(site, endpoint);
    else draft.leave(site, "by-hand", "is not of the form HOST, HOST PORT or HOST:PORT");
  }
}

function local(directives: readonly Directive[], draft: Draft): void {
  const mailDir = lastDirective(directives, "mail_dir");
  const bin = lastDirective(directives, "pks_bin_dir");
  const socket = lastDirective(directives, "socket_name");
  for (const directive of [bin, socket]) {
    if (directive !== undefined) draft.take(directive);
  }
  const directory = directoryOf(draft, mailDir);
  const isThere = mailDir !== undefined && directory !== undefined;
  const url = lookups(directives, draft, isThere);
  if (!isThere) {
    draft.set("local", "type", '"none"', "mail_dir is missing: nothing is delivered to pksd yet");
    return;
  }
  draft.set("local", "type", '"pksd"', "mails are written for pks-queue-run.sh");
  draft.set("local", "directory", tomlString(directory), `${mailDir.place} mail_dir`);
  if (url !== undefined) draft.set("local", "url", tomlString(url.value), url.remark);
  if (bin === undefined || socket === undefined) return;
  const command = tomlList([`${bin.value}/pksdctl`, socket.value, "mail {}"]);
  const remark = `if pks-queue-run.sh does not run; ${bin.place} pks_bin_dir, ${socket.place}`;
  draft.propose("local", "notify", command, `${remark} socket_name`);
}

/** The URL at which pksd answers lookups of keys, from www_port. The last one is used. */
function lookups(directives: readonly Directive[], draft: Draft, isThere: boolean) {
  const port = lastDirective(directives, "www_port");
  for (const one of directives) {
    if (one.key === "www_port" && one !== port) {
      draft.leave(one, "by-hand", "is overridden by a later one");
    }
  }
  if (port === undefined) return undefined;
  if (!isThere) {
    draft.leave(port, "unneeded", WEB);
    return undefined;
  }
  const number = /^\d{1,5}$/.test(port.value) ? Number(port.value) : 0;
  if (number < 1 || number > 65_535) {
    draft.leave(port, "by-hand", "is not a port from 1 to 65535");
    return undefined;
  }
  draft.take(port);
  // With www_addr pksd listens on that address alone.
  const own = plainIp(lastDirective(directives, "www_addr")?.value ?? "");
  const host = own === undefined || /^(0\.0\.0\.0|::)$/.test(own) ? "127.0.0.1" : own;
  const value = `http://${formatEndpoint({ host, port: number })}`;
  return { value, remark: `${port.place} www_port; keys are looked up there` };
}
