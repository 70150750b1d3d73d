/**
 * The text of the config that `kxgw init` writes, from options and answers, with comments. Pure.
 * Values are quoted here and checked by the readers of the configuration.
 */
import { tomlList, tomlString } from "../config/toml-string.js";
import { parseEndpoint } from "../config/units.js";
import { domainOf } from "../mail-address.js";
import type { LocalServer } from "./local-server.js";

export interface InitOptions {
  readonly site: string | undefined;
  readonly contact: string | undefined;
  readonly log: string | undefined;
  readonly smtp: string;
  readonly kx: string;
  readonly admin: string;
  readonly relay: string | undefined;
  readonly observe: boolean;
  /** auto, none, KIND:PATH or hkp:URL. */
  readonly local: string | undefined;
  /** NAME=ADDRESS[,IP ...] of sites, as old=user@host,192.0.2.1 */
  readonly mailPeers: readonly string[];
  /** NAME=HOST:PORT of KX peers that we dial. */
  readonly kxPeers: readonly string[];
}

/** Everything that the text needs. */
export type Complete = InitOptions & { readonly site: string };

/** An invalid option or answer; the message says what is valid. */
export class Slip extends Error {}

/** The relay of most hosts: their own mail server. */
export const USUAL_RELAY = "smtp://127.0.0.1:25";

const TITLE =
  "# Configuration of the KX gateway, written by kxgw init. Validate it with kxgw check.";

const NO_RELAY = `
# Nothing listens on 127.0.0.1:25, so no mail is sent yet:
# [outbound]
# relay = "${USUAL_RELAY}"`;

/** The file. Throws `Slip`. */
export function configText(given: Complete, server: LocalServer | undefined): string {
  const { site, contact, observe, smtp, kx, admin } = given;
  const quoted = tomlString;
  const sections = [
    `mode = ${quoted(observe ? "observe" : "bridge")}   # observe: nothing is sent`,
    `[site]\naddress = ${quoted(site)}   # other keyservers send updates to it`,
    `contact = ${quoted(contact ?? site)}   # From of our mails`,
    `\n[log]\npath = ${quoted(given.log ?? "updates.db")}   # relative to this file`,
    `\n[smtp]   # incoming mail\nlisten = [${quoted(smtp)}]   # 0.0.0.0:25 for an MX`,
    `\n[kx]   # KX peers\nlisten = [${quoted(kx)}]   # 0.0.0.0:11373 for other hosts`,
    outboundText(given),
    ...(server === undefined ? [] : ["\n[local]   # local keyserver", ...server.lines]),
    `\n[admin]   # status page and metrics\nlisten = ${quoted(admin)}`,
  ];
  for (const text of given.mailPeers) {
    const [, name, mail, from] = /^([^=]+)=([^,]+)(?:,(.+))?$/.exec(text) ?? [];
    if (name === undefined || mail === undefined) {
      throw new Slip(
        `${quoted(text)} is not a site: write NAME=ADDRESS,IP, as old=pgp@ks.example.net,192.0.2.7`,
      );
    }
    const accept = (from ?? "").split(",").filter((part) => part !== "");
    sections.push(
      `\n[[peer]]\nname = ${quoted(name)}\nmail = ${quoted(mail)}\n` +
        `accept_from = ${tomlList(accept)}   # hosts that deliver its mail`,
    );
  }
  for (const text of given.kxPeers) {
    const [, name, endpoint] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || endpoint === undefined || "fault" in parseEndpoint(endpoint)) {
      throw new Slip(
        `${quoted(text)} is not a KX peer: write NAME=HOST:PORT, as new=kx.example.net:11373`,
      );
    }
    sections.push(`\n[[peer]]\nname = ${quoted(name)}\nkx = ${quoted(endpoint)}\ndial = true`);
  }
  return `${TITLE}\n${[...sections, ...(server?.beside ?? [])].join("\n")}\n`;
}

/** A site that is mailed needs a relay, although nothing may listen there yet. */
function outboundText({ site, relay, mailPeers }: Complete): string {
  if (relay === undefined && mailPeers.length === 0) return NO_RELAY;
  const note = relay === undefined ? "   # nothing listened there yet; mail waits" : "";
  return (
    `\n[outbound]   # outgoing mail\nrelay = ${tomlString(relay ?? USUAL_RELAY)}${note}\n` +
    `bounce = ${tomlString(`pgp-bounces@${domainOf(site)}`)}`
  );
}
