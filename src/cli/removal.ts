/**
 * `kxgw block|unblock|forget FINGERPRINT --reason TEXT`, and `kxgw block` alone, which lists the
 * blocks. The running gateway carries out the order. If none runs the order is written into the
 * log, which the next start reads; not into the copy of a shared log.
 */
import { dirname, resolve } from "node:path";
import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { RemovalOrder, RemovalOutcome, RemovalVerb } from "../removal.js";
import { carryOut, pathOf, readOrder } from "../removal.js";
import { ask, openForOrder, run, withLog } from "./daemon.js";
import type { Output } from "./output.js";
import { table } from "./table.js";

export interface RemovalOptions {
  readonly file: string;
  readonly json: boolean;
  readonly reason: string | undefined;
  readonly until: string | undefined;
  readonly allowRevocation: boolean;
}

/**
 * Carries out the order, or lists the blocks for "block" without a fingerprint. `words` are the
 * parts of the fingerprint. 64 for an invalid fingerprint, a missing reason or a past date, 66 if
 * there was nothing to do, 69 if it failed.
 */
export async function removalCommand(
  verb: RemovalVerb,
  words: readonly string[],
  options: RemovalOptions,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(options.file, env);
    const { reason, until, allowRevocation, json } = options;
    const isList = verb === "block" && words.length === 0 && reason === undefined;
    if (isList) return list(config, json, out);
    const given = { fingerprint: words.join(""), reason, until, allowRevocation };
    const order = readOrder(verb, given, systemClock.now());
    if ("fault" in order) {
      out.stderr(`kxgw: ${order.fault}\n`);
      return EXIT.usage;
    }
    const outcome = await obeyed(config, order.value, out);
    if (json) out.stdout(`${JSON.stringify(outcome)}\n`);
    else (outcome.done ? out.stdout : out.stderr)(`${outcome.words}\n`);
    return outcome.done ? EXIT.ok : outcome.missing ? EXIT.noInput : EXIT.unavailable;
  });
}

async function obeyed(config: Config, order: RemovalOrder, out: Output): Promise<RemovalOutcome> {
  const reply = await ask(config, pathOf(order), "POST");
  if (reply !== undefined) return outcomeOf(reply.body);
  // A large log is rebuilt through a temporary file of the same size, in the same directory,
  // which is known to be writable. SQLite reads the variable when the first log is opened.
  process.env.SQLITE_TMPDIR ??= dirname(resolve(config.log.path));
  const log = openForOrder(config, out);
  try {
    const { policy } = config;
    const quiet = { diagnostics: { report: () => {} }, rebuildBytes: Number.POSITIVE_INFINITY };
    const listAgain = () => log.cursors.forgetAll();
    return carryOut(order, { policy, log, clock: systemClock, ...quiet, listAgain });
  } finally {
    log.close();
  }
}

/** The outcome of a reply; an error reply is plain text. */
function outcomeOf(body: string): RemovalOutcome {
  if (body.startsWith("{")) return JSON.parse(body) as RemovalOutcome;
  return { done: false, words: `kxgw: the gateway replied: ${body.trim()}` };
}

interface Listed {
  readonly fingerprint: string;
  readonly until: string | null;
  readonly revocations: "pass" | "blocked";
  readonly by: "command" | "list";
  readonly since: string | null;
  readonly reason: string;
}

/** The blocks in force: by commands, the latest first, then by the list of the config. */
function list(config: Config, json: boolean, out: Output): number {
  const now = systemClock.now();
  const stored = withLog(config, ({ log }) => log.removals.blocks());
  const listed = [...config.policy.blocks].map(([fingerprint, one]) => {
    return { fingerprint, ...one, at: undefined };
  });
  const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  const all = [...stored, ...listed]
    .filter(({ until }) => until === undefined || until > now)
    .map((one): Listed => {
      const { fingerprint, until, allowRevocation, at, reason } = one;
      const revocations = allowRevocation ? "pass" : "blocked";
      const by = at === undefined ? "list" : "command";
      return { fingerprint, until: iso(until), revocations, by, since: iso(at), reason };
    });
  if (json) for (const one of all) out.stdout(`${JSON.stringify(one)}\n`);
  else if (all.length === 0) out.stdout("No key is blocked.\n");
  else out.stdout(table(COLUMNS, all.map(cells)));
  return EXIT.ok;
}

const COLUMNS = ["fingerprint", "until", "revocations", "by", "since", "reason"].map((title) => ({
  title,
}));

function cells({ fingerprint, until, revocations, by, since, reason }: Listed): string[] {
  const day = (iso: string | null, none: string) => iso?.slice(0, 16).concat("Z") ?? none;
  return [fingerprint, day(until, "unlimited"), revocations, by, day(since, "-"), reason];
}
