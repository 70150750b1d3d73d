/**
 * What is wrong with a neighbour and what the operator does about it: the sentences of
 * `kxgw doctor`, which the page of a neighbour shows as well. Pure: from the status alone.
 */
import { EXCEPTION_LIMITS } from "../log/exceptions.js";
import { several } from "../text.js";
import { exceptionWords, isLocal, reasonWords, waitWords } from "./neighbour-view.js";
import type { Status } from "./status.js";

export interface Diagnosis {
  /** `broken`: updates do not move. `odd`: a warning. */
  readonly kind: "broken" | "odd";
  readonly problem: string;
  readonly remedy: string;
}

type NeighbourJson = Status["neighbours"][number];

/** Faults of the ways to the neighbours; one of the relay is named once. */
export function neighbourDiagnoses(status: Pick<Status, "neighbours" | "recent">): Diagnosis[] {
  const { neighbours } = status;
  const relay = relayDiagnosis(neighbours);
  const mailDown = neighbours.filter(isMailDown);
  const others = neighbours.filter((one) => !isMailDown(one));
  return [
    ...(relay === undefined ? mailDown.map(mailDiagnosis) : [relay]),
    ...others.flatMap((one) => wayDiagnoses(one, status)),
  ];
}

/** All that is to be said of one neighbour, the worst first. */
export function remediesOf(
  one: NeighbourJson,
  status: Pick<Status, "neighbours" | "recent">,
): Diagnosis[] {
  const relay = relayDiagnosis(status.neighbours);
  const found = [
    ...(isMailDown(one) ? [relay ?? mailDiagnosis(one)] : wayDiagnoses(one, status)),
    ...untakenDiagnoses(one),
    ...idleDiagnoses(one),
    ...pauseDiagnoses(one),
  ];
  return found.sort((a, b) => Number(a.kind === "odd") - Number(b.kind === "odd"));
}

/** Faults of the ways that are not those of mail. */
function wayDiagnoses(one: NeighbourJson, status: Pick<Status, "recent">): Diagnosis[] {
  if (one.site?.refusesAll) return [];
  if (one.state === "down" && one.path === "local") return [localDiagnosis(one)];
  if (one.state === "down") return [kxDiagnosis(one, status)];
  if (one.label === "elsewhere") return [];
  return one.path === "mail" && one.peer !== undefined ? [detourDiagnosis(one)] : [];
}

function usesMail({ path }: NeighbourJson): boolean {
  return path === "mail" || path === "both";
}

/** Its lane fails, for another reason than that it refuses what it gets. */
function isMailDown(one: NeighbourJson): boolean {
  const { state, site } = one;
  return usesMail(one) && state === "down" && (site?.attempt ?? 0) > 0 && !site?.refusesAll;
}

const RELAY_REMEDY =
  'Check the mail server of outbound.relay, for example with "kxgw check --online".';

/** No site at all, of two or more, accepts mail. */
function relayDiagnosis(neighbours: readonly NeighbourJson[]): Diagnosis | undefined {
  const down = neighbours.filter(isMailDown);
  if (down.length < 2 || down.length < neighbours.filter(usesMail).length) return undefined;
  const words = down[0]?.lastError?.words ?? "no answer";
  const problem = sentence(`No site accepts mail, probably because of the relay: ${words}`);
  return { kind: "broken", problem, remedy: RELAY_REMEDY };
}

function mailDiagnosis({ name, lastError, backlog }: NeighbourJson): Diagnosis {
  const kind = "broken" as const;
  const words = lastError?.words ?? "";
  const problem = sentence(`${name} accepts no mail, ${waitWords(backlog)}: ${words}`);
  if (/ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ECONNRESET|timed? ?out|Greeting/i.test(words)) {
    return { kind, problem, remedy: RELAY_REMEDY };
  }
  if (/\b5\d\d\b|user unknown|relay|denied/i.test(words)) {
    const remedy = "Check its mail address, and whether the relay may send to it.";
    return { kind, problem, remedy };
  }
  const remedy = "Its mail server refuses temporarily. The gateway retries by outbound.retry.";
  return { kind, problem, remedy };
}

function localDiagnosis({ lastError, backlog }: NeighbourJson): Diagnosis {
  const words = lastError?.words ?? "no answer";
  const problem = sentence(`The local keyserver takes no updates, ${waitWords(backlog)}: ${words}`);
  const remedy = /is still there/.test(words)
    ? "Start the keyserver and what reads its spool, pks-queue-run.sh or local.notify."
    : "Start the keyserver, and check [local] of the config.";
  return { kind: "broken", problem, remedy: `${remedy} The gateway retries by local.retry.` };
}

/** Mail is used instead of KX. */
function detourDiagnosis({ name, pathSince, lastError }: NeighbourJson): Diagnosis {
  const since = pathSince === null ? "" : ` since ${pathSince}`;
  const words = lastError?.words === undefined ? "" : `: ${lastError.words}`;
  const problem = sentence(`${name} receives mail${since}, because KX is down${words}`);
  const remedy = `No updates are lost. "kxgw peers test ${name}" checks its KX connection.`;
  return { kind: "odd", problem, remedy };
}

function kxDiagnosis(
  { name, lastError }: NeighbourJson,
  { recent }: Pick<Status, "recent">,
): Diagnosis {
  const strangers = recent.filter((one) => one.event === "peer-unknown" && !one.neighbour);
  const words = lastError?.words === undefined ? "" : `: ${lastError.words}`;
  const problem = sentence(`${name} is not connected by KX${words}`);
  const from = strangers[0]?.address ?? "an unknown address";
  const remedy =
    strangers.length > 0
      ? `A connection from ${from} was refused. If it was this peer, correct its kx.`
      : `Each side must list the other. "kxgw peers test ${name}" checks the connection.`;
  return { kind: "broken", problem, remedy };
}

/** A neighbour that nothing can be sent to. */
export function idleDiagnoses({ name, state, via, words, label }: NeighbourJson): Diagnosis[] {
  if (state !== "idle" || via !== "kx" || label === "elsewhere") return [];
  const remedy = "Add the section to the config, or remove the neighbour.";
  return [{ kind: "odd", problem: sentence(`${name} is idle: ${words}`), remedy }];
}

function pauseDiagnoses({ name, state }: NeighbourJson): Diagnosis[] {
  if (state !== "paused") return [];
  const remedy = `"kxgw peers resume ${name}" goes on. Everything is kept meanwhile.`;
  return [{ kind: "odd", problem: `${name} is paused by the operator.`, remedy }];
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
  const found = stored.neighbours.flatMap(untakenDiagnoses);
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

/** What one neighbour did not take. */
function untakenDiagnoses(one: NeighbourJson): Diagnosis[] {
  if (one.site === undefined) return [];
  const found: Diagnosis[] = [];
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
    const why = reasonWords(open.map(({ recent: count, ...rest }) => ({ ...rest, count })));
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
  return found;
}

/** Text with one full stop at its end; replies of other servers often have one. */
export function sentence(text: string): string {
  return `${text.replace(/[.\s]+$/, "")}.`;
}
