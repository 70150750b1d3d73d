/**
 * `kxgw init`: writes a first config from options, or from answers on a terminal. It detects the
 * mail server and the keyserver of this host. The text passes `kxgw check` before it is written.
 * It never overwrites a file. By default listeners are on loopback; the operator opens the ports.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseConfig } from "../config/load.js";
import { ConfigFaults, EXIT } from "../errors.js";
import { configSummary } from "./check.js";
import { run } from "./daemon.js";
import { fileFault } from "./init-checks.js";
import { type Answers, askFor, Interrupted } from "./init-questions.js";
import { configText, type InitOptions, Slip, USUAL_RELAY } from "./init-text.js";
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

/** Exit code of a shell for a program that SIGINT ended. */
const INTERRUPTED = 130;

/**
 * Writes `file`; 64 if an option is missing or invalid, 73 if the file exists, 77 if its directory
 * cannot be written, 130 if the operator ends the questions. The file is written last.
 */
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
    const fault = await fileFault(path);
    if (fault !== undefined) {
      out.stderr(`kxgw: ${fault}\n      Name another file with -c, or run it as root.\n`);
      return EXIT.noPermission;
    }
    try {
      const isDialogue = terminal.isTTY && process.stderr.isTTY;
      const { complete, server } = isDialogue
        ? await askFor(options, path, { input: terminal, output: process.stderr }, places)
        : await completed(options, out, places);
      const text = configText(complete, server);
      const config = parseConfig(text, path, dirname(path), env);
      mkdirSync(dirname(path), { recursive: true });
      mkdirSync(dirname(config.log.path), { recursive: true });
      writeFileSync(path, text, { flag: "wx", mode: 0o640 });
      out.stdout(`${file}: written\n${configSummary(config)}\nStart it: kxgw serve -c ${file}\n`);
      if (server !== undefined) out.stdout(neighboursOf(server));
      return EXIT.ok;
    } catch (error) {
      if (error instanceof Interrupted) return INTERRUPTED;
      if (error instanceof Slip) out.stderr(`kxgw: ${error.message}\n`);
      else if (!(error instanceof ConfigFaults)) throw error;
      else for (const fault of error.faults) out.stderr(`${faultLine(file, fault)}\n`);
      return EXIT.usage;
    }
  });
}

/** The options without a terminal: what is missing comes from the keyserver, or is an error. */
async function completed(options: InitOptions, out: Output, places: Places): Promise<Answers> {
  const server = await besideUs(options, out, places);
  for (const sample of server?.samples ?? []) out.stderr(`${sample}\n`);
  const relay = options.relay ?? ((await listens(25)) ? USUAL_RELAY : undefined);
  const site = options.site ?? server?.site;
  if (site === undefined) {
    throw new Slip(
      'the mail address is missing: kxgw init --site "pgp-public-keys@ks.example.org"',
    );
  }
  const contact = options.contact ?? server?.contact;
  return { complete: { ...options, site, contact, relay }, server };
}

/** The local keyserver that the flag selects; undefined without a choice. */
async function besideUs(
  { local }: InitOptions,
  out: Output,
  places: Places,
): Promise<LocalServer | undefined> {
  if (local === "none") return undefined;
  const found = local === undefined || local === "auto" ? await findServers(places) : [local];
  const [word] = found;
  const flags = found.map((one) => `--local ${one}`).join(" or ");
  if (word === undefined) {
    if (local === undefined) return undefined;
    out.stderr(`No keyserver was found on this host. Searched: ${whereLooked(places)}\n`);
    return undefined;
  }
  if (local === undefined) {
    out.stderr(`A keyserver was found on this host. To deliver to it as well: ${flags}\n`);
    return undefined;
  }
  if (found.length > 1) {
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
