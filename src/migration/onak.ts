/**
 * Converts onak.ini (onak 0.6), and onak.conf of earlier releases, which is like pksd.conf.
 * The gateway gets the address of the site, and onak becomes its local keyserver: mails are
 * piped to its onak-mail.pl, which is next to the backends in the Debian package.
 */
import { tomlList, tomlString } from "../config/toml-string.js";
import type { Directive } from "./directive.js";
import type { Draft, Unneeded } from "./draft.js";
import { lastDirective, mailProgram } from "./draft.js";

const OWN = "for onak only";

const UNNEEDED: Unneeded = {
  "backend:": "onak keeps its own database",
  backend: "onak keeps its own database",
  db_dir: "onak keeps its own database",
  db_backend: "onak keeps its own database",
  pg_dbhost: "onak keeps its own database",
  pg_dbname: "onak keeps its own database",
  pg_dbuser: "onak keeps its own database",
  pg_dbpass: "onak keeps its own database",
  logfile: OWN,
  loglevel: OWN,
  use_keyd: OWN,
  sock_dir: OWN,
  bin_dir: OWN,
  mail_dir: "onak-mail.pl keeps its mails there; the gateway pipes mails to the script",
  max_reply_keys: "a gateway answers no searches",
  check_sighash: "onak continues to check; a gateway forwards all updates",
  check_packet_size: "onak continues to check; [policy] has its own limits, on by default",
  drop_v3: "onak continues to drop them; a gateway forwards them",
  require_other_sig: "onak continues to check; a gateway forwards all updates",
  verify_signatures: "onak continues to check; a gateway forwards all updates",
  default_language: OWN,
  mail_intro_file: OWN,
  help_dir: OWN,
  max_last: OWN,
  www_port: OWN,
  socket_name: OWN,
  debug: OWN,
};

/** The directives of onak.conf that have the names of pksd. */
const OLD_NAMES: Readonly<Record<string, string>> = {
  mail_delivery_client: "mta",
  pks_bin_dir: "bin_dir",
};

const KNOWN = ["this_site", "syncsite", "maintainer_email", "mta", "backends_dir", "blacklist"];

/** Translates the directives of an onak.ini. */
export function fromOnak(given: readonly Directive[], draft: Draft): void {
  const directives = given.map((directive) => {
    const key = directive.key.replace(/^(main|verification|mail)\./, "");
    return { ...directive, key: OLD_NAMES[key] ?? key };
  });
  for (const directive of directives) translate(directive, draft);
  const backends = lastDirective(directives, "backends_dir");
  const library = backends?.value.replace(/\/[^/]*\/*$/, "");
  if (backends !== undefined && library?.startsWith("/")) {
    draft.take(backends);
    const command = tomlList([`${library}/onak-mail.pl`]);
    draft.set("local", "type", '"command"', "mails are piped to onak-mail.pl");
    draft.set("local", "kind", '"onak"', "what is sent beside an update");
    draft.set(
      "local",
      "command",
      command,
      `from ${backends.place} backends_dir; check that it exists`,
    );
  } else {
    if (backends !== undefined) draft.leave(backends, "by-hand", "is not an absolute path");
    draft.set("local", "type", '"none"', "the path of onak-mail.pl is not known");
    draft.propose("local", "type", '"command"', "with the path of the script, for example:");
    draft.propose("local", "command", tomlList(["/usr/lib/onak/onak-mail.pl"]), "");
  }
  const ours = draft.ours?.value ?? "OUR ADDRESS";
  draft.advice.push(
    `In onak.ini replace all syncsite lines by one line "syncsite=${ours}" when the gateway ` +
      "is in bridge mode. Submissions to onak then go to the gateway, which forwards them.",
  );
}

function translate(directive: Directive, draft: Draft): void {
  const { key, place, value } = directive;
  switch (key) {
    case "this_site":
      return draft.setSite(directive);
    case "maintainer_email":
      return draft.setContact(directive);
    case "syncsite":
      return draft.addPeer(directive);
    case "mta":
      return mailProgram(draft, directive);
    case "backends_dir":
      return;
    case "blacklist":
      draft.take(directive);
      return draft.propose("policy", "blocklist", tomlString(value), `${place}; the same format`);
    case "update_only":
      draft.take(directive);
      if (!/^(true|yes|1)$/i.test(value)) return;
      return draft.propose(
        "policy",
        "new_keys",
        "false",
        `${place} update_only; import them first`,
      );
    default:
      // A backend that is another keyserver may be asked for a lost key.
      if (key.startsWith("backend:") && /^hkps?:/.test(value)) draft.addRepair(directive, value);
      return draft.leaveRest(directive, UNNEEDED, KNOWN);
  }
}
