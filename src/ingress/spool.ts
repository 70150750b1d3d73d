/**
 * The spool door reads mails that the pipe of another keyserver writes as files, so that the mail
 * server needs no change: pks-mail.sh (`pks-mail.*`), sks_add_mail (`*.ready`), onak-mail.pl
 * (`*.onak`).
 *  1. A file is read when size and time have not changed for one interval, because pks-mail.sh
 *     writes files in place. It is removed after the commit, never before.
 *  2. A refused file is moved to `refused/`. A file that cannot be read or moved, or that is over
 *     `accept_rate`, stays and is reported once. While the log fails, all files stay.
 *  3. Links, pipes and directories are ignored, because other users may write to a spool.
 *  4. Each directory has its own loop, which takes the oldest files first, in portions.
 * Limit: a file has no client address, so a mail must name a neighbour as its author.
 */
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.js";
import type { Config } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, TooFast, Trouble } from "../errors.js";
import { KnownSenders } from "../intake/senders.js";
import { headerValues, readHead } from "../mail/head.js";
import { addressesIn } from "../mail/sent-trail.js";
import type { MailIntake } from "./mail-intake.js";
import { codeOf, Foremost, filesIn, olderFirst, type Seen, seen } from "./spool-files.js";
import { RefusedFiles } from "./spool-refused.js";

const NAMES = /^pks-mail\.|\.(ready|onak)$/;

export const SPOOL_LIMITS = {
  /** Files whose changes are watched, from one scan of the directory to the next. */
  watched: 4000,
  /** Files taken before the directory is scanned again, half of those that are watched. */
  taken: 2000,
  /** Files in a row that are over a rate, after which a scan ends. Each was read in vain. */
  putOff: 200,
  /** Notes about files that stay. Beyond, the oldest is dropped and its file is tried again. */
  notes: 50_000,
} as const;

/** A file that stays: its stamp, its place behind others, and the last scan that found it. */
interface Note {
  readonly stamp: string;
  readonly turn: number;
  look: number;
}

/** What a `SpoolDoor` works with. */
export interface SpoolComponents {
  readonly intake: Pick<MailIntake, "take">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export interface SpoolSettings extends Pick<Config, "neighbours" | "smtp"> {
  readonly spool: NonNullable<Config["spool"]>;
}

export class SpoolDoor {
  readonly #directories: readonly Directory[];
  readonly #everyMs: number;
  readonly #stop = new AbortController();
  #loops: readonly Promise<void>[] = [];

  constructor({ intake, clock, diagnostics }: SpoolComponents, settings: SpoolSettings) {
    const { spool, smtp, neighbours } = settings;
    const maxBytes = smtp?.maxSizeBytes ?? 32 * 1024 ** 2;
    const senders = new KnownSenders(neighbours);
    this.#everyMs = spool.everyMs;
    this.#directories = spool.watch.map((path) => {
      const kept = { spool: path, keepMs: spool.keepRefusedMs };
      const refused = new RefusedFiles({ clock, diagnostics }, kept);
      return new Directory({ intake, senders, diagnostics, refused }, { path, maxBytes });
    });
  }

  start(): void {
    this.#loops = this.#directories.map((directory) => this.#watch(directory));
  }

  /** Finishes the file in progress and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  async #watch(directory: Directory): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await directory.look(() => signal.aborted);
      await pause(this.#everyMs, signal);
    }
  }
}

interface DirectoryComponents {
  readonly intake: SpoolComponents["intake"];
  readonly senders: KnownSenders;
  readonly diagnostics: Diagnostics;
  readonly refused: RefusedFiles;
}

/** The outcome of one file: finished, over a rate, or the log failed. */
type Outcome = "done" | "put-off" | "trouble";

class Directory {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #components: DirectoryComponents;
  /** Stamps of the watched files in the last scan, by name. */
  #before: ReadonlyMap<string, string> = new Map();
  /** Files that cannot be used and stay until they change. */
  readonly #leftAlone = new Map<string, Note>();
  /** Files over a rate, numbered in the order in which they were last tried. */
  readonly #putOff = new Map<string, Note>();
  #look = 0;
  #turn = 0;
  /** Whether the directory cannot be read; this was reported. */
  #isStuck = false;
  /** Whether the log fails; this was reported. */
  #isDeferred = false;

  /** A mail above `maxBytes` is refused. */
  constructor(
    components: DirectoryComponents,
    { path, maxBytes }: { readonly path: string; readonly maxBytes: number },
  ) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#components = components;
  }

  /** Takes the files that have not changed since the last scan, until `isOver`. */
  async look(isOver: () => boolean): Promise<void> {
    const files = await this.#watched(isOver);
    if (files === undefined) return;
    const settled = files.filter(({ name, stamp }) => this.#before.get(name) === stamp);
    this.#before = new Map(files.map(({ name, stamp }) => [name, stamp]));
    let putOff = 0;
    for (const file of settled.slice(0, SPOOL_LIMITS.taken)) {
      if (isOver()) return;
      const outcome = await this.#take(file);
      putOff = outcome === "put-off" ? putOff + 1 : 0;
      if (outcome === "trouble" || putOff >= SPOOL_LIMITS.putOff) break;
    }
    await this.#sweep();
  }

  /**
   * The mail files that may be taken next: oldest first, and those over a rate behind all others,
   * so that the files of one neighbour do not delay the others. Undefined after `isOver`, or if the
   * directory cannot be read, which is reported once.
   */
  async #watched(isOver: () => boolean): Promise<readonly Seen[] | undefined> {
    this.#look += 1;
    const first = new Foremost(SPOOL_LIMITS.watched, (a: Seen, b: Seen) => {
      return this.#turnOf(a) - this.#turnOf(b) || olderFirst(a, b);
    });
    try {
      for await (const batch of filesIn(this.#path, (name) => NAMES.test(name))) {
        if (isOver()) return undefined;
        for (const file of batch) if (!this.#stays(file)) first.add(file);
      }
    } catch (error) {
      if (!this.#isStuck) this.#reportStuck(this.#path, error);
      this.#isStuck = true;
      return undefined;
    }
    this.#isStuck = false;
    for (const notes of [this.#leftAlone, this.#putOff]) {
      for (const [name, { look }] of notes) if (look !== this.#look) notes.delete(name);
    }
    return first.finish().kept;
  }

  #turnOf({ name }: Seen): number {
    return this.#putOff.get(name)?.turn ?? 0;
  }

  /** Whether a file cannot be used. Marks the notes about it as current. */
  #stays({ name, stamp }: Seen): boolean {
    const putOff = this.#putOff.get(name);
    if (putOff !== undefined) putOff.look = this.#look;
    const leftAlone = this.#leftAlone.get(name);
    if (leftAlone === undefined) return false;
    leftAlone.look = this.#look;
    return leftAlone.stamp === stamp;
  }

  async #sweep(): Promise<void> {
    try {
      await this.#components.refused.sweep();
    } catch (error) {
      this.#reportStuck(this.#path, error);
    }
  }

  /** Takes one file. */
  async #take(file: Seen): Promise<Outcome> {
    const { diagnostics } = this.#components;
    try {
      const message = await this.#read(file);
      if (message === undefined) return "done";
      await this.#admit(message);
      this.#isDeferred = false;
      await this.#remove(file);
    } catch (error) {
      if (error instanceof TooFast) {
        this.#wait(file, error);
        return "put-off";
      }
      if (error instanceof Refusal) await this.#moveAside(file, error);
      else if (error instanceof Trouble) {
        const { kind, message: problem, remedy } = error;
        const fields = { client: "spool", kind, problem, remedy };
        if (!this.#isDeferred) diagnostics.report("mail-deferred", fields);
        this.#isDeferred = true;
        return "trouble";
      } else throw error;
    }
    return "done";
  }

  /** The bytes of a file. Undefined if it is gone, was changed, or cannot be read. */
  async #read(file: Seen): Promise<Uint8Array | undefined> {
    if (file.size > this.#maxBytes) {
      const limit = `the limit of ${this.#maxBytes} bytes`;
      throw new Refusal("too-large", `The message exceeds ${limit}.`);
    }
    let handle: FileHandle | undefined;
    try {
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      handle = await open(join(this.#path, file.name), flags);
      const bytes = await handle.readFile();
      return seen(file.name, await handle.stat()).stamp === file.stamp ? bytes : undefined;
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#leaveAlone(file, error);
      return undefined;
    } finally {
      await handle?.close();
    }
  }

  async #admit(message: Uint8Array): Promise<void> {
    const { intake, senders } = this.#components;
    await intake.take(message, senders.all, envelopeSender(message), true);
  }

  /** Removes a file after the commit. A file that cannot be removed is not read again. */
  async #remove(file: Seen): Promise<void> {
    try {
      await unlink(join(this.#path, file.name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#leaveAlone(file, error);
    }
  }

  async #moveAside(file: Seen, { reason, message: problem }: Refusal): Promise<void> {
    const from = join(this.#path, file.name);
    this.#components.diagnostics.report("mail-refused", {
      client: "spool",
      reason,
      problem,
      file: from,
    });
    try {
      await this.#components.refused.take(from, file);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#leaveAlone(file, error);
    }
  }

  #wait({ name, stamp }: Seen, { neighbour, reason, waitMs }: TooFast): void {
    if (!this.#putOff.has(name)) {
      const fields = { neighbour, client: "spool", reason, waitMs };
      this.#components.diagnostics.report("too-fast", fields);
    }
    this.#turn += 1;
    note(this.#putOff, name, { stamp, turn: this.#turn, look: this.#look });
  }

  #leaveAlone({ name, stamp }: Seen, error: unknown): void {
    note(this.#leftAlone, name, { stamp, turn: 0, look: this.#look });
    this.#reportStuck(join(this.#path, name), error);
  }

  #reportStuck(file: string, error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    this.#components.diagnostics.report("spool-stuck", { file, problem });
  }
}

/** Stores a note as the latest one. */
function note(notes: Map<string, Note>, name: string, what: Note): void {
  notes.delete(name);
  notes.set(name, what);
  const [oldest] = notes.size > SPOOL_LIMITS.notes ? notes.keys() : [];
  if (oldest !== undefined) notes.delete(oldest);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal.aborted) done();
    else signal.addEventListener("abort", done);
  });
}

/** The envelope sender that the mail server wrote: in the mailbox line or in Return-Path. */
function envelopeSender(message: Uint8Array): string {
  const first = Buffer.from(message.subarray(0, 1000)).toString("latin1");
  const fromLine = /^>?From (\S+) /.exec(first)?.[1];
  if (fromLine !== undefined) return fromLine;
  return headerValues(readHead(message).fields, "Return-Path").flatMap(addressesIn)[0] ?? "";
}
