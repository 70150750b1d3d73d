/**
 * `kxgw doctor`: what is wrong, the likeliest cause first, each with what to do. It looks at the
 * config, the log, the running gateway's own words and the network, in that order, and goes on as
 * far as it gets; nothing is changed. Exits 0 when there is nothing to do, 69 when something is
 * down, 78 when the config is at fault.
 */

import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig, warningsOf } from "../config/load.js";
import { ConfigFaults, EXIT, Trouble } from "../errors.js";
import { CertificateEnds, EXPIRES_SOON_MS, endWords } from "../status/certificates.js";
import { freeBytes, LEAST_FREE_BYTES } from "../status/space.js";
import type { Status } from "../status/status.js";
import { several } from "../text.js";
import { ask, run, withLog } from "./daemon.js";
import { probeAll } from "./online.js";
import type { Output } from "./output.js";
import { faultLine } from "./output.js";
import { plainText } from "./table.js";

export interface Diagnosis {
  /** `broken`: updates are not moving. `odd`: worth a look. */
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
  if (diagnoses.length === 0) return "Nothing is wrong as far as can be seen from here.\n";
  return diagnoses
    .map(({ kind, problem, remedy }, index) => {
      const mark = kind === "odd" ? " (worth a look)" : "";
      return `${index + 1}. ${plainText(problem)}${mark}\n   ${plainText(remedy)}\n`;
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
    const remedy = 'Correct it there, or start from a fresh one: "kxgw init".';
    const diagnoses = error.faults.map((fault) => {
      return { kind: "broken" as const, problem: faultLine(error.file, fault), remedy };
    });
    return { diagnoses, code: EXIT.config };
  }
  const reply = await ask(config, "/status.json");
  const found = [
    ...diskDiagnoses(config),
    ...certificateDiagnoses(config),
    ...warningDiagnoses(file, config),
    ...(reply === undefined ? stoppedDiagnoses(config) : []),
    ...(reply?.code === 200 ? runningDiagnoses(JSON.parse(reply.body) as Status) : []),
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
    const remedy = "Free some, or move log.path. Senders keep their mails meanwhile.";
    return [{ kind: "broken", problem: `The disk of ${path} is full.`, remedy }];
  } catch {
    return [];
  }
}

/** Our own certificates, as the files hold them; mail goes on in plain where one has expired. */
function certificateDiagnoses(config: Config): Diagnosis[] {
  const now = systemClock.now();
  return new CertificateEnds(config).list().flatMap(({ listener, file, notAfter }): Diagnosis[] => {
    if (notAfter - now >= EXPIRES_SOON_MS) return [];
    const kind = notAfter <= now && listener === "kx" ? "broken" : "odd";
    const problem = `The certificate of ${listener}, ${file}, ${endWords(notAfter, now)}.`;
    const remedy = "Renew it in place; the gateway takes the new files at the next connection.";
    return [{ kind, problem, remedy }];
  });
}

/** Why it may not be running: the log says whether it can be opened at all. */
function stoppedDiagnoses(config: Config): Diagnosis[] {
  const remedy =
    'Start it: "systemctl start kxgw" or "kxgw serve -c FILE"; if it ends again, see ' +
    '"journalctl -u kxgw".';
  const problem = "The gateway is not running.";
  try {
    withLog(config, ({ log }) => log.counts());
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    // The first start makes the log; every other trouble with it is the likelier cause.
    if (!/does not exist|unable to open/.test(error.message)) {
      return [{ kind: "broken", problem: error.message, remedy: error.remedy }];
    }
  }
  return [{ kind: "broken", problem, remedy }];
}

/** What the running gateway knows, the causes before their effects. */
function runningDiagnoses(status: Status): Diagnosis[] {
  const { neighbours, mode, recent, site } = status;
  const found: Diagnosis[] = [];
  const broken = (problem: string, remedy: string) =>
    found.push({ kind: "broken", problem, remedy });
  const odd = (problem: string, remedy: string) => found.push({ kind: "odd", problem, remedy });
  const events = ["log-trouble", "log-replaced", "mail-deferred"];
  const trouble = recent.find(({ event }) => events.includes(event));
  if (trouble && status.verdict.state === "bad") {
    broken(
      `The update log: ${trouble.words ?? trouble.text}.`,
      "See doctor's other lines and the journal.",
    );
  }
  const { failures, trouble: fault, clockJumpedMs } = status.upkeep;
  if (failures > 1 && fault !== null) {
    broken(
      `Nothing expires, it failed ${failures} times in a row: ${fault.problem}.`,
      fault.remedy,
    );
  }
  if (clockJumpedMs !== null) {
    const hours = Math.round(clockJumpedMs / 3_600_000);
    broken(
      `The clock jumped by ${hours} hours.`,
      "Is it right now (timedatectl)? Nothing expires until it has been steady for an hour.",
    );
  }
  const byMail = neighbours.filter(({ path }) => path === "mail" || path === "both");
  const mailDown = byMail.filter(({ state, site: lane }) => state === "down" && lane?.attempt);
  if (mailDown.length > 1 && mailDown.length === byMail.length) {
    const words = mailDown[0]?.lastError?.words ?? "no answer";
    broken(`No site takes mail, so it is the relay: ${words}.`, RELAY_REMEDY);
  } else for (const one of mailDown) mailDiagnosis(one, broken);
  for (const one of neighbours) {
    if (one.state === "down" && !mailDown.includes(one)) kxDiagnosis(one, status, broken);
    else if (one.path === "mail" && one.peer !== undefined) detourDiagnosis(one, odd);
  }
  losses(status, odd);
  strangers(status, site, odd);
  for (const one of neighbours) {
    if (one.state === "idle" && one.via === "kx") {
      odd(
        `Nothing is sent to ${one.name}: ${one.words}.`,
        "Add the section, or take the neighbour out.",
      );
    }
  }
  if (neighbours.length === 0)
    odd("There are no neighbours.", "Add a [[peer]]; README has one of each kind.");
  if (mode === "observe")
    odd("Mode is observe: nothing is sent.", 'Set mode = "bridge" when you trust it.');
  return found;
}

const RELAY_REMEDY = 'Is the mail server of outbound.relay running? "kxgw check --online" asks it.';

type Tell = (problem: string, remedy: string) => unknown;
type NeighbourJson = Status["neighbours"][number];

function mailDiagnosis({ name, lastError, backlog }: NeighbourJson, tell: Tell): void {
  const words = lastError?.words ?? "";
  const problem = `${name} takes no mail, ${several(backlog, "update")} wait: ${words}.`;
  if (/ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ECONNRESET|timed? ?out|Greeting/i.test(words)) {
    return void tell(problem, RELAY_REMEDY);
  }
  if (/\b5\d\d\b|user unknown|relay|denied/i.test(words)) {
    const remedy = "Look for a slip in its mail address; may your relay send there for us?";
    return void tell(problem, remedy);
  }
  tell(problem, "Its mail server asks for patience; we try again by outbound.retry.");
}

/** KX is wanted, and mail goes. */
function detourDiagnosis({ name, pathSince, lastError }: NeighbourJson, tell: Tell): void {
  const since = pathSince === null ? "" : ` since ${pathSince}`;
  const words = lastError?.words === undefined ? "" : `: ${lastError.words}`;
  const problem = `${name} gets mail${since}, for KX with it is down${words}.`;
  tell(problem, `Nothing is lost. "kxgw peers test ${name}" shows what its KX says to us.`);
}

function kxDiagnosis({ name, lastError }: NeighbourJson, { recent }: Status, tell: Tell): void {
  const strangers = recent.filter((one) => one.event === "peer-unknown" && !one.neighbour);
  const words = lastError?.words === undefined ? "" : `: ${lastError.words}`;
  const problem = `${name} is not connected by KX${words}.`;
  if (strangers.length > 0) {
    const remedy =
      "Somebody from an unknown address was turned away; if that is it, correct its kx address.";
    return void tell(problem, remedy);
  }
  const remedy =
    'Both sides have to list each other. "kxgw peers test NAME" shows what it says to us.';
  tell(problem, remedy.replace("NAME", name));
}

/**
 * What nobody gives again; while somebody may, there is nothing to do. The counters are exact, of
 * the latest reports there are 200 of every kind together.
 */
function losses({ recent, counts, neighbours }: Status, tell: Tell): void {
  const failed = counts.filter(({ event }) => event === "repair-failed");
  const words = recent.find(({ event }) => event === "repair-failed")?.words ?? "no reason given";
  const keys = failed.filter(({ reason }) => reason === undefined);
  const behind = failed.filter(({ reason }) => reason === "gap").map(({ neighbour }) => neighbour);
  const gaps = counts.filter((one) => one.event === "peer-gap" && behind.includes(one.neighbour));
  const lost = total([...keys, ...gaps]);
  if (lost > 0) {
    const example = neighbours[0]?.name ?? "PEER";
    tell(
      `${several(lost, "update")} could not be fetched again, the last one: ${words}.`,
      'Name keyservers that have the keys: repair = "hkp://host" in their [[peer]]; then ' +
        `"kxgw backfill ${example}".`,
    );
  }
  for (const { neighbour } of failed.filter(({ reason }) => reason === "backfill")) {
    const remedy = `Ask it anew: "kxgw backfill ${neighbour}".`;
    tell(`${neighbour} did not say what changed, for which it was asked: ${words}.`, remedy);
  }
}

/** Mail that was turned away is the commonest slip of a new neighbour. */
function strangers({ recent, counts }: Status, site: string, tell: Tell): void {
  const refused = counts.filter(({ event }) => event === "mail-refused");
  const unknown = total(refused.filter(({ reason }) => reason === "unknown-sender"));
  if (unknown > 0) {
    tell(
      `${several(unknown, "mail")} from addresses that no accept_from names were refused.`,
      "If a neighbour sent them, add its address: the mail-refused lines of the journal have it.",
    );
  }
  const elsewhere = total(refused) - unknown;
  if (elsewhere > 0) {
    const last = recent.find((one) => one.event === "mail-refused" && !isStranger(one));
    tell(
      `${several(elsewhere, "mail")} of neighbours were refused, the last one: ` +
        `${last?.words ?? "see the journal"}.`,
      `Updates are taken at ${site} only, one mail an update, with a public key block.`,
    );
  }
  const unwanted = recent.find(({ event, neighbour }) => event === "peer-unknown" && neighbour);
  if (unwanted) {
    tell(
      `${unwanted.neighbour} dials us by KX and is turned away: its via is "mail".`,
      'Write via = "auto" or "both" in its [[peer]], or tell its operator that it goes by mail.',
    );
  }
}

function isStranger({ words }: Status["recent"][number]): boolean {
  return words?.includes("accept_from") === true;
}

function total(counts: readonly { readonly count: number }[]): number {
  return counts.reduce((sum, { count }) => sum + count, 0);
}

/** What is allowed in the configuration and worth a word. */
function warningDiagnoses(file: string, config: Config): Diagnosis[] {
  return warningsOf(file, config).map((warning) => {
    const remedy = "Certificates tell them apart: write kxs:// and a pin for each.";
    return { kind: "odd", problem: faultLine(file, warning), remedy };
  });
}

async function onlineDiagnoses(config: Config): Promise<Diagnosis[]> {
  const findings = await probeAll(config);
  return findings.flatMap(({ ok, what, words, remedy }) =>
    ok ? [] : [{ kind: "odd" as const, problem: `${what}: ${words}.`, remedy }],
  );
}
