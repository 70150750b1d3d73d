/**
 * `kxgw init`: the first config, from flags or from a few questions on a terminal. What it writes
 * passes `kxgw check` before it is written, and says beside each line what it is for. It never
 * writes over a file. It starts on loopback; the ports that strangers reach are opened by hand.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { domainOf, parseMailAddress } from "../config/addresses.js";
import { parseConfig } from "../config/load.js";
import { parseEndpoint } from "../config/units.js";
import { ConfigFaults, EXIT } from "../errors.js";
import { configSummary } from "./check.js";
import { run } from "./daemon.js";
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
  /** NAME=ADDRESS[@NETWORK ...] of sites: NAME=user@host,192.0.2.1 */
  readonly mailPeers: readonly string[];
  /** NAME=HOST:PORT of KX peers that we dial. */
  readonly kxPeers: readonly string[];
}

/** Writes `file`; 73 when it is there already, 64 when something is missing or cannot be read. */
export async function initCommand(
  file: string,
  options: InitOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
  terminal: NodeJS.ReadStream,
): Promise<number> {
  return await run(out, async () => {
    const path = resolve(file);
    if (existsSync(path)) {
      out.stderr(`kxgw: ${file} is there already; it is left as it is\n`);
      return EXIT.cannotCreate;
    }
    const asked = terminal.isTTY ? await askFor(options, terminal, out) : options;
    if (asked.site === undefined) {
      out.stderr('kxgw: say who we are: kxgw init --site "pgp-public-keys@ks.example.org"\n');
      return EXIT.usage;
    }
    const relay = asked.relay ?? (await answers(25)) ?? undefined;
    const text = configText({ ...asked, site: asked.site, relay });
    if (text instanceof Error) {
      out.stderr(`kxgw: ${text.message}\n`);
      return EXIT.usage;
    }
    try {
      const config = parseConfig(text, path, dirname(path), env);
      mkdirSync(dirname(path), { recursive: true });
      mkdirSync(dirname(config.log.path), { recursive: true });
      writeFileSync(path, text, { flag: "wx", mode: 0o640 });
      out.stdout(`${file}: written\n${configSummary(config)}\nStart it: kxgw serve -c ${file}\n`);
      return EXIT.ok;
    } catch (error) {
      if (!(error instanceof ConfigFaults)) throw error;
      for (const fault of error.faults) out.stderr(`${faultLine(file, fault)}\n`);
      return EXIT.usage;
    }
  });
}

/** "smtp://127.0.0.1:PORT" when something answers there. */
async function answers(port: number): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: 1000 });
    const end = (found: boolean) => {
      socket.destroy();
      resolve(found ? `smtp://127.0.0.1:${port}` : undefined);
    };
    socket.on("connect", () => end(true));
    socket.on("error", () => end(false));
    socket.on("timeout", () => end(false));
  });
}

async function askFor(
  options: InitOptions,
  terminal: NodeJS.ReadStream,
  out: Output,
): Promise<InitOptions> {
  const lines = createInterface({ input: terminal, output: process.stderr });
  const question = async (text: string, preset = "") => {
    const answer = (await lines.question(`${text}${preset === "" ? "" : ` [${preset}]`}: `)).trim();
    return answer === "" ? preset : answer;
  };
  try {
    let site = options.site;
    while (site === undefined || "fault" in parseMailAddress(site)) {
      site = await question("Our mail address, which other keyservers mail their updates to");
    }
    const contact = options.contact ?? (await question("Your own mail address", site));
    const mailPeers = [...options.mailPeers];
    const kxPeers = [...options.kxPeers];
    if (mailPeers.length + kxPeers.length === 0) {
      out.stderr("Neighbours, an empty answer ends each list.\n");
      for (;;) {
        const peer = await question("A site by mail, NAME=ADDRESS,IP");
        if (peer === "") break;
        mailPeers.push(peer);
      }
      for (;;) {
        const peer = await question("A KX peer, NAME=HOST:PORT");
        if (peer === "") break;
        kxPeers.push(peer);
      }
    }
    return { ...options, site, contact, mailPeers, kxPeers };
  } finally {
    lines.close();
  }
}

const TITLE =
  "# Configuration of the KX gateway, made by kxgw init; kxgw check says whether it is in order.";

const NO_RELAY = `
# Nothing listens on 127.0.0.1:25, so no mail goes out yet:
# [outbound]
# relay = "smtp://127.0.0.1:25"`;

/** The file, or what is wrong with an option. */
function configText(given: InitOptions & { readonly site: string }): string | Error {
  const { site, contact, relay, observe, smtp, kx, admin } = given;
  const quoted = (text: string) => JSON.stringify(text);
  const sections = [
    `mode = ${quoted(observe ? "observe" : "bridge")}   # observe: everything but sending`,
    `[site]\naddress = ${quoted(site)}   # other keyservers mail their updates here`,
    `contact = ${quoted(contact ?? site)}   # From of our mails`,
    `\n[log]\npath = ${quoted(given.log ?? "updates.db")}   # beside this file`,
    `\n[smtp]   # mail in\nlisten = [${quoted(smtp)}]   # 0.0.0.0:25 makes us the MX`,
    `\n[kx]   # KX in and out\nlisten = [${quoted(kx)}]   # 0.0.0.0:11373 for peers elsewhere`,
    relay === undefined
      ? NO_RELAY
      : `\n[outbound]   # mail out\nrelay = ${quoted(relay)}\n` +
        `bounce = ${quoted(`pgp-bounces@${domainOf(site)}`)}`,
    `\n[admin]   # status page and metrics\nlisten = ${quoted(admin)}`,
  ];
  for (const text of given.mailPeers) {
    const [, name, mail, from] = /^([^=]+)=([^,]+)(?:,(.+))?$/.exec(text) ?? [];
    if (name === undefined || mail === undefined) {
      return new Error(
        `${quoted(text)} is no site: write NAME=ADDRESS,IP, as old=pgp@pks.example.net,192.0.2.7`,
      );
    }
    const accept = (from ?? "").split(",").filter((part) => part !== "");
    const list = accept.map(quoted).join(", ");
    sections.push(
      `\n[[peer]]\nname = ${quoted(name)}\nmail = ${quoted(mail)}\n` +
        `accept_from = [${list}]   # who delivers its mail`,
    );
  }
  for (const text of given.kxPeers) {
    const [, name, endpoint] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || endpoint === undefined || "fault" in parseEndpoint(endpoint)) {
      return new Error(
        `${quoted(text)} is no KX peer: write NAME=HOST:PORT, as new=kx.example.net:11373`,
      );
    }
    sections.push(`\n[[peer]]\nname = ${quoted(name)}\nkx = ${quoted(endpoint)}\ndial = true`);
  }
  return `${TITLE}\n${sections.join("\n")}\n`;
}
