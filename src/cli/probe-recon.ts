/**
 * The recon part of `kxgw check --online`: a server lets itself be followed, and its HKP address
 * answers hashquery. One session is begun and left at the first node, so nothing is stored on
 * either side. What the server says, or does not say, comes with what to do about it.
 */
import { connect } from "node:net";
import { systemClock } from "../clock.js";
import type { ReconServerSettings } from "../config/config.js";
import { brokenRemedy, refusalRemedy } from "../following/remedy.js";
import { askForKeys } from "../intake/hashquery-client.js";
import { ReconSession, type SessionOutput } from "../recon/session.js";
import type { ReconConfig } from "../recon/wire.js";
import { grouped } from "../text.js";
import type { Finding } from "./finding.js";
import { PROBE_MS } from "./finding.js";

/** An MD5 of no key. */
const NO_KEY = Buffer.alloc(16, 0xff);
const ANSWER_OCTETS = 64 * 1024;

/** Checks both addresses of a server. */
export async function probeRecon(server: ReconServerSettings): Promise<Finding[]> {
  return await Promise.all([probeSession(server), probeHashquery(server)]);
}

async function probeSession({ name, server }: ReconServerSettings): Promise<Finding> {
  const what = `${name} by recon`;
  const { config, keys, end } = await begin(server);
  if (keys !== undefined) {
    const filters = config?.filters ? `, filters ${config.filters.slice(0, 200)}` : "";
    const words = `lets itself be followed, ${grouped(keys)} keys${filters}`;
    return { ok: true, what, words, remedy: "" };
  }
  const { why, words } = end ?? { why: "slow", words: `no answer within ${PROBE_MS / 1000} s` };
  if (why === "busy") return { ok: true, what, words: `is at work: ${words}`, remedy: "" };
  if (why === "refused") {
    return { ok: false, what, words: `refuses: ${words}`, remedy: refusalRemedy(words) };
  }
  return { ok: false, what, words, remedy: brokenRemedy(words) };
}

async function probeHashquery({ name, hkp }: ReconServerSettings): Promise<Finding> {
  const what = `${name}, keys from ${hkp}`;
  const limits = { requestMs: PROBE_MS, octets: ANSWER_OCTETS };
  const result = await askForKeys(hkp, [NO_KEY], limits, new AbortController().signal);
  if (result.kind === "answer") return { ok: true, what, words: "answers hashquery", remedy: "" };
  const words = result.kind === "failed" ? result.words : "answers with too much";
  const remedy = "Set hkp to the HKP address of the same server.";
  return { ok: false, what, words, remedy };
}

type End = Extract<SessionOutput, { kind: "end" }>;

/** A session up to its first node or its end. */
async function begin(endpoint: ReconServerSettings["server"]): Promise<{
  readonly config: ReconConfig | undefined;
  readonly keys: number | undefined;
  readonly end: End | undefined;
}> {
  return await new Promise((resolve) => {
    const now = () => systemClock.monotonic();
    const session = new ReconSession(() => undefined, now());
    const socket = connect(endpoint);
    let config: ReconConfig | undefined;
    const finish = (end?: End) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ config, keys: session.size, end });
    };
    const perform = (outputs: readonly SessionOutput[]) => {
      for (const output of outputs) {
        if (output.kind === "config") config = output.config;
        else if (output.kind === "send") socket.write(output.octets);
        else if (output.kind === "end") return finish(output);
      }
      if (session.size !== undefined) finish();
    };
    const timer = setTimeout(() => finish(), PROBE_MS);
    socket.on("data", (octets) => perform(session.received(octets, now())));
    socket.on("error", (error) => perform(session.closed(wordsOf(error))));
    socket.on("close", () => perform(session.closed()));
  });
}

function wordsOf(error: Error): string {
  const { code = "" } = error as NodeJS.ErrnoException;
  return error.message === "" ? code : error.message;
}
