/**
 * The questions of `kxgw init` on a terminal. An answer is checked at once, and asked for again
 * with the reason when it is wrong; a flag that is wrong is asked for as well. A listener that is
 * free is not asked for. Control-C, Escape and the end of the input end it (`Interrupted`). It
 * writes no file.
 */
import { dirname, isAbsolute, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { isCancel, log, select, text } from "@clack/prompts";
import { parseConfig } from "../config/load.js";
import { ConfigFaults } from "../errors.js";
import {
  addressFault,
  askKeyserver,
  type Fault,
  fileFault,
  listenerFault,
  relayFault,
} from "./init-checks.js";
import { type Complete, configText, type InitOptions, Slip, USUAL_RELAY } from "./init-text.js";
import type { LocalServer, Places } from "./local-server.js";
import { findServers, listens, obstacle, serverOf } from "./local-server.js";

/** The operator ended the questions. */
export class Interrupted extends Error {}

/** A terminal: what is typed, and where questions are shown. */
export interface Terminal {
  readonly input: Readable;
  readonly output: Writable;
}

type Check = (answer: string) => Fault | Promise<Fault>;

const CONTROL_C = 0x03;
const CONTROL_D = 0x04;

class Questions {
  readonly #terminal: Terminal;
  readonly #stop = new AbortController();
  readonly #end = () => this.#stop.abort();
  /** The library takes no key during a check, and never the end of the input. */
  readonly #typed = (bytes: Buffer) => {
    if (bytes.includes(CONTROL_C) || bytes.includes(CONTROL_D)) this.#end();
  };

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.input.on("data", this.#typed).on("end", this.#end).on("close", this.#end);
  }

  close(): void {
    const { input } = this.#terminal;
    input.off("data", this.#typed).off("end", this.#end).off("close", this.#end);
  }

  get #common() {
    return { ...this.#terminal, signal: this.#stop.signal };
  }

  /** An answer that passes `check`; an empty one is `preset`. `given` is used if it passes. */
  async text(
    message: string,
    check: Check,
    { given, preset = "" }: { readonly given?: string | undefined; readonly preset?: string } = {},
  ): Promise<string> {
    if (given !== undefined) {
      const fault = await check(given);
      if (fault === undefined) return given;
      this.warn(fault);
    }
    const validate = async (answer: string | undefined) => await check(answer?.trim() || preset);
    const shown = preset === "" ? {} : { placeholder: preset, defaultValue: preset };
    const answer = await text({ ...this.#common, message, ...shown, validate });
    if (isCancel(answer)) throw new Interrupted();
    return answer.trim() || preset;
  }

  async choose(
    message: string,
    options: { value: string; label: string; hint?: string }[],
    initialValue: string,
  ): Promise<string> {
    const answer = await select({ ...this.#common, message, options, initialValue });
    if (isCancel(answer)) throw new Interrupted();
    return answer;
  }

  say(words: string): void {
    log.info(words, { output: this.#terminal.output });
  }

  warn(words: string): void {
    log.warn(words, { output: this.#terminal.output });
  }
}

export interface Answers {
  readonly complete: Complete;
  readonly server: LocalServer | undefined;
}

/** Asks for what the options do not say. Rejects with `Interrupted`; `path` is the config's. */
export async function askFor(
  options: InitOptions,
  path: string,
  terminal: Terminal,
  places: Places,
): Promise<Answers> {
  const questions = new Questions(terminal);
  try {
    return await ask(options, path, questions, places);
  } finally {
    questions.close();
  }
}

async function ask(
  options: InitOptions,
  path: string,
  questions: Questions,
  places: Places,
): Promise<Answers> {
  const server = await localServer(options.local, questions, places);
  for (const sample of server?.samples ?? []) questions.warn(sample);
  const observe = options.observe || (await isObserver(server, questions, places));
  const site = await questions.text(
    "Mail address of the gateway, to which other keyservers send updates",
    addressFault,
    { given: options.site, preset: server?.site ?? "" },
  );
  const contact = await questions.text("Mail address of the operator", addressFault, {
    given: options.contact,
    preset: server?.contact ?? site,
  });
  const file = await logFile(options.log, path, questions);
  const listeners = await freeListeners(options, questions);
  const relay = await usableRelay(options.relay, questions);
  const sofar = { ...options, observe, site, contact, log: file, ...listeners, relay };
  return { complete: await neighbours(sofar, server, questions), server };
}

/** The keyserver beside the gateway: the flag, or one of those that were found. */
async function localServer(
  given: string | undefined,
  questions: Questions,
  places: Places,
): Promise<LocalServer | undefined> {
  if (given === "none") return undefined;
  const found = given === undefined || given === "auto" ? await findServers(places) : [];
  if (given === undefined && found.length === 0) return undefined;
  let word = given === "auto" ? found[0] : given;
  if (given === undefined || (given === "auto" && found.length !== 1)) {
    word = await questions.choose(
      "A keyserver on this host, which gets all updates",
      [
        ...found.map((one) => ({ value: one, label: one, hint: "found on this host" })),
        { value: "other", label: "another", hint: "KIND:PATH of its files, or hkp:URL" },
        { value: "none", label: "none" },
      ],
      found[0] ?? "other",
    );
    if (word === "none") return undefined;
  }
  let server: LocalServer | undefined;
  const check = async (one: string) => {
    const answer = await localOf(one);
    if (typeof answer === "string") return answer;
    server = answer;
    return undefined;
  };
  const wanted = word === "other" ? undefined : word;
  const shape = "Keyserver: pksd:FILE, onak:FILE, sks:DIRECTORY, hockeypuck:FILE or hkp:URL";
  await questions.text(shape, check, { given: wanted });
  if (server !== undefined && server.software !== "") questions.say(server.software);
  return server;
}

/** The keyserver that a word names, if its files can be read or it answers; else what is wrong. */
async function localOf(word: string): Promise<LocalServer | string> {
  try {
    const server = serverOf(word);
    if (!word.startsWith("hkp:")) return server;
    const answer = await askKeyserver(word.slice("hkp:".length));
    if ("fault" in answer) return `${answer.fault}. Start the keyserver, or correct the address.`;
    const { kind, name } = answer;
    const lines = kind === undefined ? [] : [`kind = "${kind}"   # as it says itself`];
    const software = `The keyserver answers${name === "" ? "" : ` as ${name}`}.`;
    return { ...server, lines: [...server.lines, ...lines], software };
  } catch (error) {
    return obstacle(error);
  }
}

/** Beside a keyserver that serves users already, observe mode is proposed. */
async function isObserver(
  server: LocalServer | undefined,
  questions: Questions,
  { hkpPort }: Places,
): Promise<boolean> {
  const isLive = server !== undefined && (server.software !== "" || (await listens(hkpPort)));
  if (!isLive) return false;
  const mode = await questions.choose(
    "A keyserver runs here. What may the gateway do at first?",
    [
      { value: "observe", label: "observe", hint: "send nothing, and show what would be sent" },
      { value: "bridge", label: "bridge", hint: "send at once" },
    ],
    "observe",
  );
  return mode === "observe";
}

async function logFile(
  given: string | undefined,
  path: string,
  questions: Questions,
): Promise<string> {
  const check = (file: string) => fileFault(resolve(dirname(path), file));
  // A service keeps its config in /etc, and may write to its own directory only.
  const preset = path.startsWith("/etc/") ? "/var/lib/kxgw/updates.db" : "updates.db";
  const where = isAbsolute(preset) ? "" : `, relative to ${dirname(path)}`;
  return await questions.text(`Update log, a file on a local disk${where}`, check, {
    ...{ given, preset },
  });
}

/** The listeners. One that is free is not asked for. */
async function freeListeners(
  { smtp, kx, admin }: InitOptions,
  questions: Questions,
): Promise<Pick<InitOptions, "smtp" | "kx" | "admin">> {
  const taken: string[] = [];
  const free = async (what: string, given: string) => {
    const answer = await questions.text(
      `Address for ${what}, HOST:PORT`,
      (one) => {
        return listenerFault(one, taken);
      },
      { given },
    );
    taken.push(answer);
    return answer;
  };
  return {
    smtp: await free("incoming mail", smtp),
    kx: await free("incoming KX connections", kx),
    admin: await free("the status page", admin),
  };
}

/** The mail server for outgoing mail, which has to greet; undefined for none. */
async function usableRelay(
  given: string | undefined,
  questions: Questions,
): Promise<string | undefined> {
  const check = async (url: string) => (url === "none" ? undefined : await relayFault(url));
  const preset = (await relayFault(USUAL_RELAY)) === undefined ? USUAL_RELAY : "none";
  const question = "Mail server for outgoing mail, smtp://HOST:PORT or smtps://..., or none";
  const answer = await questions.text(question, check, { given, preset });
  return answer === "none" ? undefined : answer;
}

/** The neighbours, one by one; each is checked as part of the config so far. */
async function neighbours(
  sofar: Complete,
  server: LocalServer | undefined,
  questions: Questions,
): Promise<Complete> {
  if (sofar.mailPeers.length + sofar.kxPeers.length > 0) {
    const fault = configFault(sofar, server);
    if (fault !== undefined) throw new Slip(fault);
    return sofar;
  }
  let complete = sofar;
  questions.say("Neighbours: an empty answer ends each list.");
  const list = async (message: string, key: "mailPeers" | "kxPeers") => {
    const added = (peer: string) => ({ ...complete, [key]: [...complete[key], peer] });
    for (;;) {
      const check = (one: string) => (one === "" ? undefined : configFault(added(one), server));
      const peer = await questions.text(message, check);
      if (peer === "") return;
      complete = added(peer);
    }
  };
  await list("Keyserver by mail: NAME=ADDRESS,IP (the IP that its mail comes from)", "mailPeers");
  await list("KX peer: NAME=HOST:PORT", "kxPeers");
  return complete;
}

/** The first fault of the config that these answers make. */
function configFault(answers: Complete, server: LocalServer | undefined): Fault {
  try {
    parseConfig(configText(answers, server), "kxgw.toml", "/", {});
    return undefined;
  } catch (error) {
    if (error instanceof Slip) return error.message;
    if (error instanceof ConfigFaults) return error.faults[0]?.message;
    throw error;
  }
}
