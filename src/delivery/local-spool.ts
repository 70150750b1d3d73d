/**
 * Writes mails as files to the spool directory of the local keyserver: pksd's mail_dir, which
 * pks-queue-run.sh empties, or SKS's messages directory. Both servers read every file they find. A
 * file is therefore written and synced under a temporary name and then renamed. Its name is derived
 * from the update, so that a repetition after a crash replaces the file instead of adding one.
 *
 * Both servers remove a file after reading it. The removal is the only proof: pksdctl exits with 0
 * even if pksd is dead and its socket still exists. SKS moves an unusable file to the directory
 * failed_messages. pksd records the result for a mail that it has read only in its own log.
 */
import { open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../clock.js";
import type { Envelope } from "../outmail.js";
import type { KeyCompletion } from "./completion.js";
import {
  type DeliveryMethod,
  deliverMail,
  mailParts,
  type Outgoing,
  type Pack,
  type Part,
} from "./delivery-method.js";
import { type LocalMail, LocalMailPack, localMails, MAIL_NAME } from "./local-mail.js";
import { Program } from "./local-program.js";
import type { Outcome } from "./relay.js";

/** World-readable: the server runs as another user, and keys are public. */
const FILE_MODE = 0o644;

/** The directory for files that SKS cannot use, a sibling of its messages directory. */
const FAILED = "failed_messages";

export interface SpoolTimes {
  /** Interval between checks whether a file still exists. */
  readonly lookMs: number;
  /** Delay after which `notify` is run again and `waiting` is called. */
  readonly againMs: number;
  /** Delay after which the attempt has failed. */
  readonly takenMs: number;
}

/** SKS polls every 10 s. pks-queue-run.sh takes a file in 3 s, after the files already queued. */
export const SPOOL_TIMES: SpoolTimes = { lookMs: 100, againMs: 20_000, takenMs: 60_000 };

export interface SpoolPlace {
  readonly directory: string;
  /** Maps a mail name to a file name that the server recognises. */
  readonly fileName: (name: string) => string;
  /**
   * Command run after each file, with "{}" replaced by its path: pksdctl, if pks-queue-run.sh is
   * not used.
   */
  readonly notify: readonly string[] | undefined;
  /** Called if a file written `ms` milliseconds ago still exists. */
  readonly waiting?: (path: string, ms: number) => void;
}

export const pksdName = (name: string): string => `pks-mail.${name}`;
export const sksName = (name: string): string => `msg-${name}.ready`;

/** The files that the gateway wrote: others in a spool are of other programs, or no mails. */
export const OWN_FILES = {
  pksd: new RegExp(`^pks-mail\\.${MAIL_NAME}$`),
  sks: new RegExp(`^msg-${MAIL_NAME}\\.ready$`),
} as const;

export interface SpoolComponents {
  readonly clock: Clock;
  readonly times?: SpoolTimes;
  readonly completion?: Pick<KeyCompletion, "learn"> | undefined;
}

export class SpoolDelivery implements DeliveryMethod {
  readonly #place: SpoolPlace;
  readonly #envelope: Envelope;
  readonly #clock: Clock;
  readonly #times: SpoolTimes;
  readonly #completion: Pick<KeyCompletion, "learn"> | undefined;
  readonly #program = new Program();
  #wait = new AbortController();

  constructor(
    place: SpoolPlace,
    envelope: Envelope,
    { clock, times = SPOOL_TIMES, completion }: SpoolComponents,
  ) {
    this.#place = place;
    this.#envelope = envelope;
    this.#clock = clock;
    this.#times = times;
    this.#completion = completion;
  }

  parts(update: Outgoing, date: number): Part[] {
    const made = (skeleton: Uint8Array | undefined) =>
      localMails({ ...update, skeleton }, this.#envelope, date);
    const partOf = (mail: LocalMail) => this.#part(mail);
    return mailParts(update, this.#envelope.kind, this.#completion, made, partOf);
  }

  pack(date: number): Pack {
    const pack = new LocalMailPack(this.#envelope, date);
    return { add: (update) => pack.add(update), part: () => this.#part(pack.mail()) };
  }

  /** Ends the wait for a server that has not taken its file. */
  stopConnecting(): void {
    this.#wait.abort();
  }

  close(): void {
    this.#program.close();
    this.#wait.abort();
  }

  #part({ name, text, incomplete, oversized }: LocalMail): Part {
    const leave = () => this.#leave(name, text);
    const deliver = () => deliverMail({ incomplete }, this.#envelope.kind, leave);
    return { bytes: text.length, incomplete, oversized, deliver };
  }

  async #leave(name: string, text: Buffer): Promise<Outcome> {
    const { directory, fileName } = this.#place;
    const file = fileName(name);
    this.#wait = new AbortController();
    try {
      const node = await writeWhole(directory, `.kxgw-${name}.tmp`, join(directory, file), text);
      return (await this.#notify(file)) ?? (await this.#taken(file, node));
    } catch (error) {
      // A full disk or a missing directory is not a refusal of this mail.
      return later(error instanceof Error ? error.message : String(error));
    }
  }

  /** Notifies the server of a file. Returns undefined on success. */
  async #notify(file: string): Promise<Outcome | undefined> {
    const { directory, notify } = this.#place;
    if (notify === undefined) return undefined;
    const path = join(directory, file);
    const command = notify.map((word) => word.replaceAll("{}", path));
    const outcome = await this.#program.run(command, new Uint8Array(0));
    if (outcome.kind === "delivered") return undefined;
    // Temporary for any exit code: the command has not read the mail.
    return outcome.kind === "refused" ? later(outcome.words) : outcome;
  }

  /** Waits until the server has removed the file with this inode. */
  async #taken(file: string, node: bigint): Promise<Outcome> {
    const { directory, waiting } = this.#place;
    const { lookMs, againMs, takenMs } = this.#times;
    const { signal } = this.#wait;
    const path = join(directory, file);
    const start = this.#clock.monotonic();
    let nextAt = againMs;
    while ((await nodeOf(path)) === node) {
      const waited = this.#clock.monotonic() - start;
      if (waited >= takenMs) {
        const seconds = Math.round(takenMs / 1000);
        return later(`${path} is still there after ${seconds} s: the keyserver has not taken it`);
      }
      if (waited >= nextAt) {
        if (nextAt === againMs) waiting?.(path, Math.round(waited));
        nextAt += againMs;
        const failure = await this.#notify(file);
        if (failure !== undefined) return failure;
      }
      await sleep(lookMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return later(`${path} is still there`);
    }
    const failed = join(dirname(directory), FAILED, file);
    if ((await nodeOf(failed)) === node) {
      const words = `the keyserver could not use it and moved it to ${failed}`;
      return { kind: "refused", code: 0, words, isOfKey: true };
    }
    return { kind: "delivered", how: "collected", reply: `the keyserver took ${path}` };
  }
}

function later(words: string): Outcome {
  return { kind: "temporary", about: "neighbour", code: undefined, words };
}

/** Returns the inode of a file, or undefined if it does not exist. Throws other system errors. */
async function nodeOf(path: string): Promise<bigint | undefined> {
  try {
    return (await stat(path, { bigint: true })).ino;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Writes the file and returns its inode. */
async function writeWhole(
  directory: string,
  temporaryName: string,
  path: string,
  bytes: Buffer,
): Promise<bigint> {
  const temporary = join(directory, temporaryName);
  const file = await open(temporary, "w", FILE_MODE);
  let node: bigint;
  try {
    await file.writeFile(bytes);
    await file.chmod(FILE_MODE);
    await file.sync();
    node = (await file.stat({ bigint: true })).ino;
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const parent = await open(directory, "r");
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
  return node;
}
