/**
 * `kxgw doctor`: lists problems, the likeliest cause first, each with a remedy. It checks the
 * config, the log, the status of the running gateway and the network, in that order, as far as
 * each can be read. It changes nothing. Exits 0 without a problem, 69 if updates do not
 * move, 78 if the config is invalid.
 */

import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { loadConfig, relayFaultsOf, warningsOf } from "../config/load.js";
import type { ConfigFault } from "../errors.js";
import { ConfigFaults, EXIT, Trouble } from "../errors.js";
import { CertificateEnds, EXPIRES_SOON_MS, endWords } from "../status/certificates.js";
import { clusterDiagnoses } from "../status/cluster-remedies.js";
import type { Diagnosis } from "../status/remedies.js";
import { idleDiagnoses, laneDiagnoses, neighbourDiagnoses, sentence } from "../status/remedies.js";
import { freeBytes, LEAST_FREE_BYTES } from "../status/space.js";
import { type Status, status } from "../status/status.js";
import { several } from "../text.js";
import { ask, run, withLog } from "./daemon.js";
import { probeAll } from "./online.js";
import type { Output } from "./output.js";
import { faultLine } from "./output.js";
import { probeSpool } from "./probe-local.js";
import { plainText } from "./table.js";

export type { Diagnosis };

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
    const words = sentence(trouble.words ?? trouble.text);
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
  found.push(...clusterDiagnoses(status), ...neighbourDiagnoses(status));
  for (const { server, problem, remedy } of status.recon) {
    if (problem === null) continue;
    broken(sentence(`${server} is not followed by recon: ${problem}`), remedy ?? "");
  }
  losses(status, odd);
  strangers(status, site, odd);
  found.push(...neighbours.flatMap(idleDiagnoses));
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

/** Whether the local keyserver empties its spool; `--online` tests every kind of `[local]`. */
async function spoolDiagnoses({ local }: Config, online: boolean): Promise<Diagnosis[]> {
  if (online || (local?.type !== "pksd" && local?.type !== "sks")) return [];
  const { ok, what, words, remedy } = await probeSpool(local.directory, local.type);
  return ok ? [] : [{ kind: "broken", problem: sentence(`${what}: ${words}`), remedy }];
}

type Tell = (problem: string, remedy: string) => unknown;

/**
 * Updates that no keyserver returned. Repairs that are still running are no problem. The counters
 * are exact; of the latest events only some are kept.
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

/** Counts of the last seven days only, so that an old fault does not warn for ever. */
function total(counts: readonly { readonly count7d: number }[]): number {
  return counts.reduce((sum, { count7d }) => sum + count7d, 0);
}

/** Faults and warnings of a configuration with which the gateway starts. */
function warningDiagnoses(file: string, config: Config): Diagnosis[] {
  const remedy = "Change the file as this line says, then reload the gateway.";
  const line = (kind: Diagnosis["kind"]) => (fault: ConfigFault) => {
    return { kind, problem: faultLine(file, fault), remedy };
  };
  return [
    ...relayFaultsOf(file, config).map(line("broken")),
    ...warningsOf(file, config).map(line("odd")),
  ];
}

async function onlineDiagnoses(config: Config): Promise<Diagnosis[]> {
  const findings = await probeAll(config);
  return findings.flatMap(({ ok, what, words, remedy }) =>
    ok ? [] : [{ kind: "odd" as const, problem: sentence(`${what}: ${words}`), remedy }],
  );
}
