/**
 * `kxgw doctor`: lists problems, the likeliest cause first, each with a remedy. It checks the
 * config, the log, the status of the running gateway and the network, in that order, as far as
 * each can be read. It changes nothing. Exits 0 without a problem, 69 if updates do not
 * move, 78 if the config is invalid.
 */

import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig, warningsOf } from "../config/load.js";
import { ConfigFaults, EXIT, Trouble } from "../errors.js";
import { EXCEPTION_LIMITS } from "../log/exceptions.js";
import { CertificateEnds, EXPIRES_SOON_MS, endWords } from "../status/certificates.js";
import { exceptionWords, isLocal, reasonWords, waitWords } from "../status/neighbour-view.js";
import { freeBytes, LEAST_FREE_BYTES } from "../status/space.js";
import { type Status, status } from "../status/status.js";
import { several } from "../text.js";
import { ask, run, withLog } from "./daemon.js";
import { probeAll } from "./online.js";
import type { Output } from "./output.js";
import { faultLine } from "./output.js";
import { probeSpool } from "./probe-local.js";
import { plainText } from "./table.js";

export interface Diagnosis {
  /** `broken`: updates do not move. `odd`: a warning. */
  readonly kind: "broken" | "odd";
  readonly problem: string;
  readonly remedy: string;
}

export async function doctorCommand(
  file: string,
  options: { readonly json: boolean; readonly online: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const { diagnoses, code } = await diagnose(file, options.online, env);
    if (options.json) out.stdout(`${JSON.stringify(diagnoses)}\n`);
    else out.stdout(doctorText(diagnoses));
    return code;
  });
}

function doctorText(diagnoses: readonly Diagnosis[]): string {
  if (diagnoses.length === 0) return "No problems found.\n";
  return diagnoses
    .map(({ kind, problem, remedy }, index) => {
      const mark = kind === "odd" ? "Warning: " : "";
      return `${index + 1}. ${mark}${plainText(problem)}\n   ${plainText(remedy)}\n`;
    })
    .join("");
}

async function diagnose(
  file: string,
  online: boolean,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly diagnoses: Diagnosis[]; readonly code: number }> {
  let config: Config;
  try {
    config = loadConfig(file, env);
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    const remedy = 'Correct the file, or write a new one with "kxgw init".';
    const diagnoses = error.faults.map((fault) => {
      return { kind: "broken" as const, problem: faultLine(error.file, fault), remedy };
    });
    return { diagnoses, code: EXIT.config };
  }
  const reply = await ask(config, "/status.json");
  const told = reply?.code === 200 ? (JSON.parse(reply.body) as Status) : undefined;
  const found = [
    ...diskDiagnoses(config),
    ...certificateDiagnoses(config),
    ...warningDiagnoses(file, config),
    ...(reply === undefined ? stoppedDiagnoses(config) : []),
    ...(told === undefined ? [] : runningDiagnoses(told)),
    ...laneDiagnoses(told ?? storedStatus(config)),
    ...(await spoolDiagnoses(config, online)),
    ...(online ? await onlineDiagnoses(config) : []),
  ];
  const diagnoses = [
    ...found.filter(({ kind }) => kind === "broken"),
    ...found.filter(({ kind }) => kind === "odd"),
  ];
  const code = diagnoses[0]?.kind === "broken" ? EXIT.unavailable : EXIT.ok;
  return { diagnoses, code };
}

function diskDiagnoses({ log: { path } }: Config): Diagnosis[] {
  try {
    if (freeBytes(path) >= LEAST_FREE_BYTES) return [];
    const remedy = "Free space, or move log.path. Senders keep their mail and retry.";
    return [{ kind: "broken", problem: `The file system of ${path} is full.`, remedy }];
  } catch {
    return [];
  }
}

/** Our certificates, read from their files. Mail continues without TLS when one has expired. */
function certificateDiagnoses(config: Config): Diagnosis[] {
  const now = systemClock.now();
  return new CertificateEnds(config).list().flatMap(({ listener, file, notAfter }): Diagnosis[] => {
    if (notAfter - now >= EXPIRES_SOON_MS) return [];
    const kind = notAfter <= now && listener === "kx" ? "broken" : "odd";
    const problem = `The certificate of ${listener}, ${file}, ${endWords(notAfter, now)}.`;
    const remedy = "Renew the files in place; the gateway uses them for the next connection.";
    return [{ kind, problem, remedy }];
  });
}

/** Why the gateway may not run: checks whether the log can be opened. */
function stoppedDiagnoses(config: Config): Diagnosis[] {
  const remedy =
    'Start it with "systemctl start kxgw" or "kxgw serve -c FILE". If it exits again, see ' +
    '"journalctl -u kxgw".';
  const problem = "The gateway is not running.";
  try {
    withLog(config, ({ log }) => log.counts());
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    // The first start creates the log; any other fault of the log is the likelier cause.
    if (!/does not exist|unable to open/.test(error.message)) {
      return [{ kind: "broken", problem: error.message, remedy: error.remedy }];
    }
  }
  return [{ kind: "broken", problem, remedy }];
}

/** Problems that the running gateway reports, causes before their effects. */
function runningDiagnoses(status: Status): Diagnosis[] {
  const { neighbours, mode, recent, site } = status;
  const found: Diagnosis[] = [];
  const broken = (problem: string, remedy: string) =>
    found.push({ kind: "broken", problem, remedy });
  const odd = (problem: string, remedy: string) => found.push({ kind: "odd", problem, remedy });
  const events = ["log-trouble", "log-replaced", "mail-deferred"];
  const trouble = recent.find(({ event }) => events.includes(event));
  if (trouble && status.verdict.state === "bad") {
    const words = sentence(`The update log: ${trouble.words ?? trouble.text}`);
    broken(words, "See the other lines and the journal.");
  }
  const { failures, trouble: fault, clockJumpedMs } = status.upkeep;
  if (failures > 1 && fault !== null) {
    broken(sentence(`Expiry failed ${failures} times in a row: ${fault.problem}`), fault.remedy);
  }
  if (clockJumpedMs !== null) {
    const hours = Math.round(clockJumpedMs / 3_600_000);
    broken(
      `The clock jumped by ${hours} hours.`,
      "Check it with timedatectl. Nothing expires until the clock is stable for an hour.",
    );
  }
  const byMail = neighbours.filter(({ path }) => path === "mail" || path === "both");
  const mailDown = byMail.filter(({ state, site: lane }) => {
    return state === "down" && lane?.attempt && !lane.refusesAll;
  });
  if (mailDown.length > 1 && mailDown.length === byMail.length) {
    const words = mailDown[0]?.lastError?.words ?? "no answer";
    broken(sentence(`No site accepts mail, probably because of the relay: ${words}`), RELAY_REMEDY);
  } else for (const one of mailDown) mailDiagnosis(one, broken);
  for (const one of neighbours.filter(({ site: lane }) => !lane?.refusesAll)) {
    if (one.state === "down" && one.path === "local") localDiagnosis(one, broken);
    else if (one.state === "down" && !mailDown.includes(one)) kxDiagnosis(one, status, broken);
    else if (one.path === "mail" && one.peer !== undefined) detourDiagnosis(one, odd);
  }
  for (const { server, problem, remedy } of status.recon) {
    if (problem === null) continue;
    broken(sentence(`${server} is not followed by recon: ${problem}`), remedy ?? "");
  }
  losses(status, odd);
  strangers(status, site, odd);
  for (const one of neighbours) {
    if (one.state === "idle" && one.via === "kx") {
      odd(
        sentence(`${one.name} is idle: ${one.words}`),
        "Add the section to the config, or remove the neighbour.",
      );
    }
  }
  if (neighbours.length === 0)
    odd("No neighbours are configured.", "Add a [[peer]]; README has an example of each kind.");
  if (mode === "observe")
    odd("The mode is observe: nothing is sent.", 'Set mode = "bridge" to send.');
  return found;
}

/** The status out of the log, if it can be read. */
function storedStatus(config: Config): Status | undefined {
  try {
    return withLog(config, (sources) => status(sources));
  } catch (error) {
    if (error instanceof Trouble) return undefined;
    throw error;
  }
}

/** A neighbour of which so many updates became exceptions in 24 hours has a fault of its own. */
const GROWS = 20;
/** A site with more than this share of the rows that it may have loses the oldest soon. */
const NEARLY_FULL = 0.8;

/** What neighbours did not take, and lanes without a neighbour. */
export function laneDiagnoses(
  stored: Pick<Status, "neighbours" | "unowned"> | undefined,
): Diagnosis[] {
  if (stored === undefined) return [];
  const found: Diagnosis[] = [];
  for (const one of stored.neighbours) {
    if (one.site === undefined) continue;
    const { name } = one;
    const { reasons, refusesAll, exceptions } = one.site;
    const list = `"kxgw queue ls ${name}" shows each with its answer`;
    const last = one.lastError === null ? "" : `: ${one.lastError.words}`;
    if (refusesAll) {
      const problem = sentence(`${name} refuses every update${last}`);
      const remedy =
        `${list}. Ask its operator; if it is another kind of server, set kind in its [[peer]]. ` +
        "One update is tried at a time, and when one is taken the refused ones are sent again.";
      found.push({ kind: "broken", problem, remedy });
    }
    const open = reasons.filter(({ state }) => state !== "withheld");
    const recent = open.reduce((sum, each) => sum + each.recent, 0);
    if (recent >= GROWS && !refusesAll) {
      const why = reasonWords(open.map(({ recent: count, ...one }) => ({ ...one, count })));
      const words = `${name} did not take ${several(recent, "update")} of the last 24 hours`;
      const remedy = `${list}; "kxgw queue retry ${name} all" sends them again.`;
      found.push({ kind: "odd", problem: sentence(`${words} (${why})${last}`), remedy });
    }
    const rows = exceptions.waiting + exceptions.refused + exceptions.withheld;
    const isNearlyFull =
      rows > NEARLY_FULL * EXCEPTION_LIMITS.rows ||
      exceptions.waiting > NEARLY_FULL * EXCEPTION_LIMITS.waiting;
    if (isNearlyFull) {
      const words = `${name} did not take ${several(rows, "update")}`;
      const problem = `${words}: soon the oldest are no longer remembered.`;
      found.push({ kind: "odd", problem, remedy: `${list}. Remove the cause, then retry all.` });
    }
  }
  for (const { name, address, backlog, exceptions } of stored.unowned) {
    const at = address === null ? "" : ` (${address})`;
    const not = exceptionWords(exceptions);
    const words = [waitWords(backlog), not].filter(Boolean).join(", ");
    const remedy = isLocal(name)
      ? "Configure [local] again to deliver them. Without it this ends when the log forgets them."
      : "Add the neighbour again, under any name with the same mail address, to send them. If it " +
        "is gone for good, this ends when the log forgets them (log.remember).";
    const problem = `The queue of ${name}${at} has no neighbour in the config: ${words}.`;
    found.push({ kind: "odd", problem, remedy });
  }
  return found;
}

/** Whether the local keyserver empties its spool; `--online` tests every kind of `[local]`. */
async function spoolDiagnoses({ local }: Config, online: boolean): Promise<Diagnosis[]> {
  if (online || (local?.type !== "pksd" && local?.type !== "sks")) return [];
  const { ok, what, words, remedy } = await probeSpool(local.directory, local.type);
  return ok ? [] : [{ kind: "broken", problem: sentence(`${what}: ${words}`), remedy }];
}

const RELAY_REMEDY =
  'Check the mail server of outbound.relay, for example with "kxgw check --online".';

type Tell = (problem: string, remedy: string) => unknown;
type NeighbourJson = Status["neighbours"][number];

function mailDiagnosis({ name, lastError, backlog }: NeighbourJson, tell: Tell): void {
  const words = lastError?.words ?? "";
  const problem = sentence(`${name} accepts no mail, ${several(backlog, "update")} wait: ${words}`);
  if (/ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ECONNRESET|timed? ?out|Greeting/i.test(words)) {
    return void tell(problem, RELAY_REMEDY);
  }
  if (/\b5\d\d\b|user unknown|relay|denied/i.test(words)) {
    const remedy = "Check its mail address, and whether the relay may send to it.";
    return void tell(problem, remedy);
  }
  tell(problem, "Its mail server refuses temporarily. The gateway retries by outbound.retry.");
}

function localDiagnosis({ lastError, backlog }: NeighbourJson, tell: Tell): void {
  const words = lastError?.words ?? "no answer";
  const waiting = `${several(backlog, "update")} ${backlog === 1 ? "waits" : "wait"}`;
  const problem = sentence(`The local keyserver takes no updates, ${waiting}: ${words}`);
  const remedy = /is still there/.test(words)
    ? "Start the keyserver and what reads its spool, pks-queue-run.sh or local.notify."
    : "Start the keyserver, and check [local] of the config.";
  tell(problem, `${remedy} The gateway retries by local.retry.`);
}

/** Mail is used instead of KX. */
function detourDiagnosis({ name, pathSince, lastError }: NeighbourJson, tell: Tell): void {
  const since = pathSince === null ? "" : ` since ${pathSince}`;
  const words = lastError?.words === undefined ? "" : `: ${lastError.words}`;
  const problem = sentence(`${name} receives mail${since}, because KX is down${words}`);
  tell(problem, `No updates are lost. "kxgw peers test ${name}" checks its KX connection.`);
}

function kxDiagnosis({ name, lastError }: NeighbourJson, { recent }: Status, tell: Tell): void {
  const strangers = recent.filter((one) => one.event === "peer-unknown" && !one.neighbour);
  const words = lastError?.words === undefined ? "" : `: ${lastError.words}`;
  const problem = sentence(`${name} is not connected by KX${words}`);
  if (strangers.length > 0) {
    const from = strangers[0]?.address ?? "an unknown address";
    const remedy = `A connection from ${from} was refused. If it was this peer, correct its kx.`;
    return void tell(problem, remedy);
  }
  const remedy = 'Each side must list the other. "kxgw peers test NAME" checks the connection.';
  tell(problem, remedy.replace("NAME", name));
}

/**
 * Updates that no keyserver returned. Repairs that are still running are no problem. The counters
 * are exact; of the latest events only 200 are kept.
 */
function losses({ recent, counts, neighbours }: Status, tell: Tell): void {
  const failed = counts.filter(({ event, count7d }) => event === "repair-failed" && count7d > 0);
  const words = recent.find(({ event }) => event === "repair-failed")?.words ?? "no reason given";
  const keys = failed.filter(({ reason }) => reason === undefined);
  const behind = failed.filter(({ reason }) => reason === "gap").map(({ neighbour }) => neighbour);
  const gaps = counts.filter((one) => one.event === "peer-gap" && behind.includes(one.neighbour));
  const lost = total([...keys, ...gaps]);
  if (lost > 0) {
    const example = neighbours[0]?.name ?? "PEER";
    tell(
      sentence(`${several(lost, "update")} could not be fetched again; last error: ${words}`),
      'Configure keyservers that have the keys, repair = "hkp://host" in their [[peer]], and run ' +
        `"kxgw backfill ${example}".`,
    );
  }
  for (const { neighbour } of failed.filter(({ reason }) => reason === "backfill")) {
    const remedy = `Ask again: "kxgw backfill ${neighbour}".`;
    tell(sentence(`${neighbour} did not answer the question for its changes: ${words}`), remedy);
  }
}

/** Refused mail, the most frequent configuration error of a new neighbour. */
function strangers({ recent, counts }: Status, site: string, tell: Tell): void {
  const refused = counts.filter(({ event }) => event === "mail-refused");
  const unknown = total(refused.filter(({ reason }) => reason === "unknown-sender"));
  if (unknown > 0) {
    tell(
      `${several(unknown, "mail")} from addresses in no accept_from refused.`,
      "If a neighbour sent them, add its address; mail-refused in the journal has its network.",
    );
    const like = recent.find(({ event, resembles }) => event === "mail-refused" && resembles);
    if (like?.address) {
      tell(
        `Mail from ${like.address} was refused, and it names the domain of ${like.resembles}.`,
        `If it is a mail server of ${like.resembles}, add "${like.address}" to its accept_from.`,
      );
    }
  }
  const elsewhere = total(refused) - unknown;
  if (elsewhere > 0) {
    const last = recent.find((one) => one.event === "mail-refused" && !isStranger(one));
    tell(
      sentence(
        `${several(elsewhere, "mail")} from neighbours refused; last error: ` +
          `${last?.words ?? "see the journal"}`,
      ),
      `Updates are accepted for ${site} only, as mails with a public key block.`,
    );
  }
  const unwanted = recent.find(({ event, neighbour }) => event === "peer-unknown" && neighbour);
  if (unwanted) {
    tell(
      `KX connections from ${unwanted.neighbour} are refused, because its via is "mail".`,
      'Set via = "auto" or "both" in its [[peer]], or tell its operator that mail is used.',
    );
  }
}

function isStranger({ words }: Status["recent"][number]): boolean {
  return words?.includes("accept_from") === true;
}

/** Text with one full stop at its end; replies of other servers often have one. */
function sentence(text: string): string {
  return `${text.replace(/[.\s]+$/, "")}.`;
}

/** Of the last seven days: what is older was seen, and must not warn for ever. */
function total(counts: readonly { readonly count7d: number }[]): number {
  return counts.reduce((sum, { count7d }) => sum + count7d, 0);
}

/** Warnings about a valid configuration. */
function warningDiagnoses(file: string, config: Config): Diagnosis[] {
  return warningsOf(file, config).map((warning) => {
    const remedy = "Use kxs:// with a pin for each.";
    return { kind: "odd", problem: faultLine(file, warning), remedy };
  });
}

async function onlineDiagnoses(config: Config): Promise<Diagnosis[]> {
  const findings = await probeAll(config);
  return findings.flatMap(({ ok, what, words, remedy }) =>
    ok ? [] : [{ kind: "odd" as const, problem: sentence(`${what}: ${words}`), remedy }],
  );
}
