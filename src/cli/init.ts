/**
 * `kxgw init`: writes a first config from options, or from answers on a terminal. It detects the
 * mail server and the keyserver of this host. The text passes `kxgw check` before it is
 * written, and each line has a comment. It never overwrites a file. Listeners are on
 * loopback; the operator opens the public ports.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { parseMailAddress } from "../config/addresses.js";
import { parseConfig } from "../config/load.js";
import { tomlList, tomlString } from "../config/toml-string.js";
import { parseEndpoint } from "../config/units.js";
import { ConfigFaults, EXIT } from "../errors.js";
import { domainOf } from "../mail-address.js";
import { configSummary } from "./check.js";
import { run } from "./daemon.js";
import type { LocalServer, Places } from "./local-server.js";
import {
  findServers,
  listens,
  obstacle,
  serverOf,
  THIS_HOST,
  whereLooked,
} from "./local-server.js";
import type { Output } from "./output.js";
import { faultLine } from "./output.js";

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
  /** NAME=ADDRESS[@NETWORK ...] of sites: NAME=user@host,192.0.2.1 */
  readonly mailPeers: readonly string[];
  /** NAME=HOST:PORT of KX peers that we dial. */
  readonly kxPeers: readonly string[];
}

/** Asks the operator; an empty answer selects the preset. */
type Question = (text: string, preset?: string) => Promise<string>;

/** Writes `file`; 73 if it exists, 64 if an option is missing or invalid. */
export async function initCommand(
  file: string,
  options: InitOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
  terminal: NodeJS.ReadStream,
  places: Places = THIS_HOST,
): Promise<number> {
  return await run(out, async () => {
    const path = resolve(file);
    if (existsSync(path)) {
      out.stderr(`kxgw: ${file} exists already and was not changed\n`);
      return EXIT.cannotCreate;
    }
    const lines = terminal.isTTY
      ? createInterface({ input: terminal, output: process.stderr })
      : undefined;
    const question: Question | undefined =
      lines &&
      (async (text, preset = "") => {
        const shown = preset === "" ? "" : ` [${preset}]`;
        return (await lines.question(`${text}${shown}: `)).trim() || preset;
      });
    try {
      const server = await besideUs(options, out, question, places);
      const asked = await complete(options, server, question, out);
      const text = configText(asked, server);
      const config = parseConfig(text, path, dirname(path), env);
      mkdirSync(dirname(path), { recursive: true });
      mkdirSync(dirname(config.log.path), { recursive: true });
      writeFileSync(path, text, { flag: "wx", mode: 0o640 });
      out.stdout(`${file}: written\n${configSummary(config)}\nStart it: kxgw serve -c ${file}\n`);
      if (server !== undefined) out.stdout(neighboursOf(server));
      return EXIT.ok;
    } catch (error) {
      if (error instanceof Slip) out.stderr(`kxgw: ${error.message}\n`);
      else if (!(error instanceof ConfigFaults)) throw error;
      else for (const fault of error.faults) out.stderr(`${faultLine(file, fault)}\n`);
      return EXIT.usage;
    } finally {
      lines?.close();
    }
  });
}

/** An invalid option or answer; the message says what is valid. */
class Slip extends Error {}

/** The local keyserver that the operator chooses; undefined without a choice. */
async function besideUs(
  { local }: InitOptions,
  out: Output,
  question: Question | undefined,
  places: Places,
): Promise<LocalServer | undefined> {
  if (local === "none") return undefined;
  const found = local === undefined || local === "auto" ? await findServers(places) : [local];
  let [word] = found;
  const flags = found.map((one) => `--local ${one}`).join(" or ");
  if (word === undefined) {
    if (local === undefined) return undefined;
    out.stderr(`No keyserver was found on this host. Searched: ${whereLooked(places)}\n`);
    return undefined;
  }
  if (local === undefined && question === undefined) {
    out.stderr(`A keyserver was found on this host. To deliver to it as well: ${flags}\n`);
    return undefined;
  }
  if (local === undefined) {
    out.stderr(`Found on this host: ${found.join(", ")}\n`);
    word = await question?.("Local keyserver that receives all updates, or none", word);
    if (word === undefined || word === "none") return undefined;
  } else if (found.length > 1) {
    throw new Slip(`several keyservers were found on this host; choose one: ${flags}`);
  }
  try {
    return serverOf(word);
  } catch (error) {
    throw new Slip(`${obstacle(error)}; or use --local none`);
  }
}

/** A note about the sites of the keyserver, which `init` does not take over. */
function neighboursOf({ word, neighbours }: LocalServer): string {
  if (neighbours === 0) return "";
  const [kind, path] = [word.replace(/:.*/, ""), word.replace(/^\w+:/, "")];
  const sites = neighbours === 1 ? "a site" : `${neighbours} sites`;
  return `${kind} mails to ${sites}; to include them: kxgw config migrate ${path}\n`;
}

type Complete = InitOptions & { readonly site: string };

/** The options, completed from the files of the keyserver and the answers. Throws `Slip`. */
async function complete(
  options: InitOptions,
  server: LocalServer | undefined,
  question: Question | undefined,
  out: Output,
): Promise<Complete> {
  const relay = options.relay ?? ((await listens(25)) ? "smtp://127.0.0.1:25" : undefined);
  if (question !== undefined) return { ...(await askFor(options, server, question, out)), relay };
  const site = options.site ?? server?.site;
  if (site === undefined) {
    throw new Slip(
      'the mail address is missing: kxgw init --site "pgp-public-keys@ks.example.org"',
    );
  }
  return { ...options, site, contact: options.contact ?? server?.contact, relay };
}

async function askFor(
  options: InitOptions,
  server: LocalServer | undefined,
  question: Question,
  out: Output,
): Promise<Complete> {
  let site = options.site;
  while (site === undefined || "fault" in parseMailAddress(site)) {
    const text = "Mail address of the gateway, to which other keyservers send updates";
    site = await question(text, server?.site);
  }
  const contact =
    options.contact ?? (await question("Mail address of the operator", server?.contact ?? site));
  const mailPeers = [...options.mailPeers];
  const kxPeers = [...options.kxPeers];
  if (mailPeers.length + kxPeers.length === 0) {
    out.stderr("Neighbours; an empty answer ends each list.\n");
    for (;;) {
      const peer = await question("Site by mail, NAME=ADDRESS,IP");
      if (peer === "") break;
      mailPeers.push(peer);
    }
    for (;;) {
      const peer = await question("KX peer, NAME=HOST:PORT");
      if (peer === "") break;
      kxPeers.push(peer);
    }
  }
  return { ...options, site, contact, mailPeers, kxPeers };
}

const TITLE =
  "# Configuration of the KX gateway, written by kxgw init. Validate it with kxgw check.";

const NO_RELAY = `
# Nothing listens on 127.0.0.1:25, so no mail is sent yet:
# [outbound]
# relay = "smtp://127.0.0.1:25"`;

/** The file. Throws `Slip`. */
function configText(given: Complete, server: LocalServer | undefined): string {
  const { site, contact, relay, observe, smtp, kx, admin } = given;
  const quoted = tomlString;
  const sections = [
    `mode = ${quoted(observe ? "observe" : "bridge")}   # observe: nothing is sent`,
    `[site]\naddress = ${quoted(site)}   # other keyservers send updates to it`,
    `contact = ${quoted(contact ?? site)}   # From of our mails`,
    `\n[log]\npath = ${quoted(given.log ?? "updates.db")}   # relative to this file`,
    `\n[smtp]   # incoming mail\nlisten = [${quoted(smtp)}]   # 0.0.0.0:25 for an MX`,
    `\n[kx]   # KX\nlisten = [${quoted(kx)}]   # 0.0.0.0:11373 for other hosts`,
    relay === undefined
      ? NO_RELAY
      : `\n[outbound]   # outgoing mail\nrelay = ${quoted(relay)}\n` +
        `bounce = ${quoted(`pgp-bounces@${domainOf(site)}`)}`,
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
