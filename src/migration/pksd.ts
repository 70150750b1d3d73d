/**
 * pksd.conf (pksd.conf(5), pks 0.9.6) as ours: the gateway takes over the address of the site, and
 * pksd becomes the keyserver beside it, which gets its mails where pks-queue-run.sh finds them.
 */
import { tomlList, tomlString } from "../config/toml-string.js";
import type { Directive } from "./directive.js";
import type { Draft, Unneeded } from "./draft.js";
import { directoryOf, lastOf, mailProgram } from "./draft.js";

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
};

const KNOWN = ["this_site", "syncsite", "maintainer_email", "mail_delivery_client", "mail_dir"];

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
        break;
      default:
        draft.leaveRest(directive, UNNEEDED, [...KNOWN, "pks_bin_dir", "socket_name"]);
    }
  }
  local(directives, draft);
  const ours = draft.ours?.value ?? "OUR ADDRESS";
  draft.advice.push(
    `In pksd.conf one line "syncsite ${ours}" takes the place of all syncsite lines, once the ` +
      "gateway bridges: what users submit to pksd goes to the gateway then, and it to the others.",
  );
}

function local(directives: readonly Directive[], draft: Draft): void {
  const mailDir = lastOf(directives, "mail_dir");
  const bin = lastOf(directives, "pks_bin_dir");
  const socket = lastOf(directives, "socket_name");
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
