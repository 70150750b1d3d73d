/**
 * The check of the keyserver beside the gateway, for `kxgw peers test [local]`, `kxgw doctor` and
 * `kxgw check --online`: it answers HKP, its spool can be written and is emptied, or its program
 * can be run. It sends no update and changes nothing.
 */
import { access, constants, opendir, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { redactedRelay } from "../config/addresses.js";
import type { LocalDelivery } from "../config/config.js";
import { OWN_FILES } from "../delivery/local-spool.js";
import { several, span } from "../text.js";
import { type Finding, PROBE_MS } from "./finding.js";

/** The lane's own limit for a file: SKS looks every 10 s, pks-queue-run.sh sooner. */
const SPOOL_MS = 60_000;
/** Files that are looked at; more than these are not emptied for certain. */
const MOST_FILES = 1000;

export async function probeLocal(local: LocalDelivery): Promise<Finding> {
  switch (local.type) {
    case "hkp":
      return await probeHkp(local.url);
    case "pksd":
    case "sks":
      return await probeSpool(local.directory, local.type);
    case "command":
      return await probeCommand(local.command[0] ?? "");
    default:
      return local satisfies never;
  }
}

async function probeHkp(url: string): Promise<Finding> {
  const what = `[local] at ${redactedRelay(url)}`;
  const remedy = "Start the keyserver, and check local.url.";
  try {
    const signal = AbortSignal.timeout(PROBE_MS);
    const response = await fetch(`${url}/pks/lookup?op=stats`, { redirect: "manual", signal });
    await response.body?.cancel();
    const { status } = response;
    if (status < 500) return { ok: true, what, words: `answers HKP (${status})`, remedy: "" };
    return { ok: false, what, words: `answers ${status} ${response.statusText}`.trim(), remedy };
  } catch (error) {
    return { ok: false, what, words: reasonOf(error), remedy };
  }
}

/** Whether the gateway may write to the spool, and whether the keyserver empties it. */
export async function probeSpool(
  directory: string,
  type: keyof typeof OWN_FILES,
): Promise<Finding> {
  const what = `[local] spool ${directory}`;
  try {
    await access(directory, constants.W_OK | constants.X_OK);
    const { files, oldest, isMore } = await waitingFiles(directory, OWN_FILES[type]);
    const waited = oldest === undefined ? 0 : Date.now() - oldest;
    if (waited > SPOOL_MS || isMore) {
      const many = `${isMore ? "more than " : ""}${several(files, "file")}`;
      const words = `is not emptied: ${many}, the oldest for ${span(waited)}`;
      const reader = type === "sks" ? "SKS" : "pksd and pks-queue-run.sh, or set local.notify";
      return { ok: false, what, words, remedy: `Start ${reader}. Nothing is lost meanwhile.` };
    }
    const words = files === 0 ? "is empty" : `has ${several(files, "new file")}`;
    return { ok: true, what, words, remedy: "" };
  } catch (error) {
    const remedy = "Create it, or let the gateway's user write to it; check local.directory.";
    return { ok: false, what, words: reasonOf(error), remedy };
  }
}

/** Mails of the gateway in the spool, at most `MOST_FILES`, and the time of the oldest. */
async function waitingFiles(directory: string, pattern: RegExp) {
  let files = 0;
  let oldest: number | undefined;
  for await (const { name } of await opendir(directory)) {
    if (!pattern.test(name)) continue;
    if (files >= MOST_FILES) return { files, oldest, isMore: true };
    const found = await stat(join(directory, name)).catch(() => undefined);
    // The server took it in between.
    if (found?.isFile() !== true) continue;
    files += 1;
    oldest = Math.min(oldest ?? found.mtimeMs, found.mtimeMs);
  }
  return { files, oldest, isMore: false };
}

async function probeCommand(name: string): Promise<Finding> {
  const what = `[local] program ${name}`;
  const directories = name.includes("/") ? [""] : (process.env.PATH ?? "").split(delimiter);
  for (const directory of directories) {
    const path = directory === "" ? name : join(directory, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return { ok: true, what, words: "can be run", remedy: "" };
  }
  return { ok: false, what, words: "cannot be run", remedy: "Check local.command." };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== ""
    ? error.cause.message
    : error.message;
}
