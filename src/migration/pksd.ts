/**
 * pksd.conf (pksd.conf(5), pks 0.9.6) as ours: the gateway takes over the address of the site, and
 * pksd becomes the keyserver beside it, which gets its mails where pks-queue-run.sh finds them. Of
 * the pksd with the KX patch of 2003 (thesis, appendix B.3) it takes over the KX side as well: the
 * address of tcp_syncaddr and tcp_syncport, and a KX peer for each tcp_syncsite.
 */
import { tomlList, tomlString } from "../config/toml-string.js";
import { formatEndpoint } from "../config/units.js";
import type { Directive } from "./directive.js";
import type { Draft, Unneeded } from "./draft.js";
import { directoryOf, lastDirective, mailProgram } from "./draft.js";
import { hostPort } from "./host-port.js";

const DATABASE = "pksd keeps its own database";
const WEB = "pksd goes on answering on the web; a gateway answers no searches";
const ANSWERS = "is for pksd's answers to mails; a gateway answers none";

const UNNEEDED: Unneeded = {
  db_dir: DATABASE,
  www_dir: WEB,
  www_port: WEB,
  www_addr: WEB,
  www_readonly: WEB,
  mail_intro_file: ANSWERS,
  help_dir: ANSWERS,
  default_language: ANSWERS,
  max_last: "pksd goes on answering LAST up to this, which is what a backfill from it can ask for",
  max_last_reply_keys: ANSWERS,
  max_reply_keys: ANSWERS,
  chroot_dir: "pksd's own; mail_dir is read outside of it",
  pid_dir: "pksd's own",
  pksd_uid: "pksd's own; let the gateway's user write into mail_dir",
  debug: "pksd's own",
  sync_db_dir: "the gateway keeps the updates that it announces in its own log",
  log_terminal: "the gateway writes its log to standard output, or to the journal as a service",
};

const KNOWN = [
  ...["this_site", "syncsite", "maintainer_email", "mail_delivery_client", "mail_dir"],
  ...["tcp_syncaddr", "tcp_syncport", "tcp_syncsite"],
];

/** Our own: the thesis names no port. */
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
        break;
      default:
        draft.leaveRest(directive, UNNEEDED, [...KNOWN, "pks_bin_dir", "socket_name"]);
    }
  }
  local(directives, draft);
  keyExchange(directives, draft);
  const ours = draft.ours?.value ?? "OUR ADDRESS";
  draft.advice.push(
    `In pksd.conf one line "syncsite ${ours}" takes the place of all syncsite lines, once the ` +
      "gateway bridges: what users submit to pksd goes to the gateway then, and it to the others.",
  );
}

/** Where the patched pksd listens, and whom it peers with; all of them speak KX on one port. */
function keyExchange(directives: readonly Directive[], draft: Draft): void {
  const address = lastDirective(directives, "tcp_syncaddr");
  const port = lastDirective(directives, "tcp_syncport");
  const given = [address, port].filter((one) => one !== undefined);
  for (const one of directives) {
    const isOverruled = /^tcp_sync(addr|port)$/.test(one.key) && !given.includes(one);
    if (isOverruled) draft.leave(one, "by-hand", "is said again, and the last one counts");
  }
  const preset = port !== undefined && /^\d{1,5}$/.test(port.value) ? Number(port.value) : KX_PORT;
  const own = `${address?.value ?? "0.0.0.0"} ${port?.value ?? KX_PORT}`;
  const listen = given.length === 0 ? undefined : hostPort(own, KX_PORT);
  if (listen !== undefined) {
    for (const one of given) draft.take(one);
    const origin = given.map(({ place, key }) => `${place} ${key}`).join(", ");
    draft.set("kx", "listen", tomlList([formatEndpoint(listen)]), origin);
    draft.advice.push(
      `Take tcp_sync* out of pksd.conf before the gateway starts: both would listen at ` +
        `${formatEndpoint(listen)}, and a KX peer knows its neighbour by the address.`,
    );
  } else {
    for (const one of given) draft.leave(one, "by-hand", "is no address and port to listen on");
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
  if (mailDir === undefined || directory === undefined) {
    draft.set("local", "type", '"none"', "no mail_dir is given: nothing is delivered to pksd yet");
    return;
  }
  draft.set("local", "type", '"pksd"', "mails are left for pks-queue-run.sh");
  draft.set("local", "directory", tomlString(directory), `${mailDir.place} mail_dir`);
  if (bin === undefined || socket === undefined) return;
  const command = tomlList([`${bin.value}/pksdctl`, socket.value, "mail {}"]);
  const remark = `where no pks-queue-run.sh runs; ${bin.place} pks_bin_dir, ${socket.place}`;
  draft.propose("local", "notify", command, `${remark} socket_name`);
}
