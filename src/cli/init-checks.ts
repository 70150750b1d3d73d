/**
 * The checks of `kxgw init`, one for each kind of answer: what would stop the gateway or its mail
 * later is named while the operator can still correct it. Each resolves with what is wrong and what
 * to write, or with undefined. They open sockets on this host and connect to the relay and the
 * local keyserver; they send no mail and change nothing.
 */
import { constants, existsSync, statSync } from "node:fs";
import { access } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, resolve } from "node:path";
import {
  parseKeyserver,
  parseMailAddress,
  parseRelay,
  redactedRelay,
} from "../config/addresses.js";
import { parseEndpoint } from "../config/units.js";
import type { ServerKind } from "../server-kinds.js";
import { probeRelay } from "./online.js";
import { listenRemedy } from "./output.js";

/** What is wrong, or undefined. */
export type Fault = string | undefined;

/** A keyserver of this host answers at once. */
const HKP_MS = 3000;
/** The page of statistics names its software in the first lines. */
const STATS_CHARS = 4096;

export function addressFault(text: string): Fault {
  const reading = parseMailAddress(text);
  return "fault" in reading ? reading.fault : undefined;
}

/** Whether the gateway could listen at `text` now; `taken` are its other listeners. */
export async function listenerFault(text: string, taken: readonly string[]): Promise<Fault> {
  const reading = parseEndpoint(text);
  if ("fault" in reading) return reading.fault;
  const { host, port } = reading.value;
  if (port !== 0 && taken.includes(text)) return `${text} is another listener of the gateway`;
  return await new Promise((settle) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      settle(`cannot listen on ${text}: ${error.message}. ${listenRemedy(error.code)}`);
    });
    server.listen(port, host, () => server.close(() => settle(undefined)));
  });
}

/** Whether a mail server greets at the URL of a relay. */
export async function relayFault(url: string): Promise<Fault> {
  const reading = parseRelay(url);
  if ("fault" in reading) return reading.fault;
  const { ok, words, remedy } = await probeRelay(url);
  return ok ? undefined : `${redactedRelay(url)}: ${words}. ${remedy}`;
}

/** A keyserver that answers HKP, and its software if it says so. */
export interface Keyserver {
  readonly kind: ServerKind | undefined;
  /** As it names itself; empty if it does not. */
  readonly name: string;
}

/** Asks a keyserver for its statistics. */
export async function askKeyserver(text: string): Promise<Keyserver | { readonly fault: string }> {
  const reading = parseKeyserver(text);
  if ("fault" in reading) return reading;
  const base = reading.value;
  const fault = (why: string) => ({ fault: `${redactedRelay(base)} answers no HKP: ${why}` });
  try {
    const signal = AbortSignal.timeout(HKP_MS);
    const response = await fetch(`${base}/pks/lookup?op=stats`, { redirect: "manual", signal });
    const page = (await response.text()).slice(0, STATS_CHARS);
    if (response.status >= 500) return fault(`status ${response.status}`);
    const server = response.headers.get("server") ?? "";
    return softwareOf(`${server} ${page}`, server);
  } catch (error) {
    const { cause } = error as Error;
    return fault(messageOf(cause instanceof Error ? cause : error));
  }
}

/** SKS is "sks_www/1.1.6", pksd "pks_www/0.9.6"; Hockeypuck and onak name themselves. */
function softwareOf(text: string, server: string): Keyserver {
  const name = server.replace(/[^\x20-\x7e]/g, "").slice(0, 80);
  if (/hockeypuck/i.test(text)) return { kind: "hockeypuck", name: name || "Hockeypuck" };
  if (/\bsks_www\b|\bSKS\b/.test(text)) return { kind: "sks", name: name || "SKS" };
  if (/\bpks_www\b|\bpksd\b/.test(text)) return { kind: "pksd", name: name || "pksd" };
  if (/\bonak\b/i.test(text)) return { kind: "onak", name: name || "onak" };
  return { kind: undefined, name };
}

/** Whether a file could be made at `path`, in its directory or in one that can be made. */
export async function fileFault(path: string): Promise<Fault> {
  if (path.trim() === "") return "write the name of a file";
  const target = resolve(path);
  if (existsSync(target) && statSync(target).isDirectory()) return `${target} is a directory`;
  let directory = dirname(target);
  while (!existsSync(directory)) directory = dirname(directory);
  try {
    if (!statSync(directory).isDirectory()) return `${directory} is not a directory`;
    await access(directory, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return `cannot write to ${directory}: ${messageOf(error)}`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
