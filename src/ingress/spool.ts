/**
 * The spool door: mails that somebody else's pipe leaves as files, so that no mail server has to be
 * changed: pks-mail.sh (`pks-mail.*`), sks_add_mail (`*.ready`), onak-mail.pl (`*.onak`).
 *  1. A file is read when size and time have been the same for one interval, because pks-mail.sh
 *     writes where it is found; and it is removed after the commit, never before.
 *  2. What is refused (no mail, no key, half of one) is moved aside into `refused/`. What cannot be
 *     read or moved, or comes faster than `accept_rate`, stays. Each is told once.
 *  3. While the log is in trouble everything stays where it is and is tried again.
 *  4. Links, pipes and directories are not touched: a spool is written to by others.
 * Known limit: no address vouches for a file, so a mail has to name a neighbour as its author.
 */
import { constants, type Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { lstat, mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, TooFast, Trouble } from "../errors.js";
import { headerValues, readHead } from "../mail/head.js";
import { addressesIn } from "../mail/sent-trail.js";
import type { MailIntake } from "./mail-intake.js";
import { KnownSenders } from "./neighbours.js";

const NAMES = /^pks-mail\.|\.(ready|onak)$/;
const REFUSED = "refused";
/** Files taken from a directory in one round, so that a full one keeps no other waiting long. */
const ROUND = 200;

/** A file as it was seen: its name, and whether it has changed since. */
interface Seen {
  readonly name: string;
  readonly size: number;
  readonly stamp: string;
  readonly modifiedMs: number;
}

export class SpoolDoor {
  readonly #directories: readonly Directory[];
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(
    config: Config,
    spool: NonNullable<Config["spool"]>,
    intake: MailIntake,
    diagnostics: Diagnostics,
  ) {
    const maxBytes = config.smtp?.maxSizeBytes ?? 32 * 1024 ** 2;
    const senders = new KnownSenders(config.neighbours);
    this.#everyMs = spool.everyMs;
    this.#directories = spool.watch.map(
      (path) => new Directory(path, { intake, senders, diagnostics, maxBytes }),
    );
  }

  start(): void {
    this.#timer = setTimeout(() => {
      this.#round = this.#lookAll();
    }, 0);
  }

  /** Finishes the file under way and ends. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    await this.#round;
  }

  async #lookAll(): Promise<void> {
    for (const directory of this.#directories) await directory.look(() => this.#stopping);
    if (this.#stopping) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#lookAll();
    }, this.#everyMs);
  }
}

interface Tools {
  readonly intake: MailIntake;
  readonly senders: KnownSenders;
  readonly diagnostics: Diagnostics;
  readonly maxBytes: number;
}

class Directory {
  readonly #path: string;
  readonly #tools: Tools;
  /** Files of the last look by name, and how they were. */
  #before = new Map<string, string>();
  /** Files that stay where they are, by name, and how they were when that was told. */
  readonly #leftAlone = new Map<string, string>();
  /** Files that came too fast, by name, and the turn in which that was found last. */
  readonly #putOff = new Map<string, number>();
  #turn = 0;
  /** Whether the directory cannot be read, which has been told. */
  #isStuck = false;
  /** Whether the log is in trouble, which has been told. */
  #isDeferred = false;

  constructor(path: string, tools: Tools) {
    this.#path = path;
    this.#tools = tools;
  }

  /** Takes what has come to rest since the last look, until `isOver`. */
  async look(isOver: () => boolean): Promise<void> {
    const files = await this.#list();
    if (files === undefined) return;
    const settled = files.filter(({ name, stamp }) => this.#before.get(name) === stamp);
    this.#before = new Map(files.map(({ name, stamp }) => [name, stamp]));
    for (const known of [this.#leftAlone, this.#putOff]) {
      for (const name of known.keys()) if (!this.#before.has(name)) known.delete(name);
    }
    // Put off files come last, so that a heap of one neighbour's keeps nobody else waiting.
    const turn = ({ name }: Seen) => this.#putOff.get(name) ?? 0;
    const waiting = settled.filter((one) => this.#isNew(one));
    for (const file of waiting.sort((a, b) => turn(a) - turn(b)).slice(0, ROUND)) {
      if (isOver() || !(await this.#take(file))) return;
    }
  }

  #isNew({ name, stamp }: Seen): boolean {
    return this.#leftAlone.get(name) !== stamp;
  }

  /** The mail files, oldest first; undefined, told once, when the directory cannot be read. */
  async #list(): Promise<Seen[] | undefined> {
    try {
      const entries = await readdir(this.#path, { withFileTypes: true });
      const names = entries.filter((entry) => entry.isFile() && NAMES.test(entry.name));
      const files = await Promise.all(names.map(({ name }) => this.#see(name)));
      this.#isStuck = false;
      return files
        .filter((file) => file !== undefined)
        .sort((a, b) => a.modifiedMs - b.modifiedMs || (a.name < b.name ? -1 : 1));
    } catch (error) {
      if (!this.#isStuck) this.#reportStuck(this.#path, error);
      this.#isStuck = true;
      return undefined;
    }
  }

  async #see(name: string): Promise<Seen | undefined> {
    try {
      return seen(name, await lstat(join(this.#path, name)));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Takes one file; false when the log is in trouble and the others need not be tried. */
  async #take(file: Seen): Promise<boolean> {
    const { diagnostics } = this.#tools;
    try {
      const message = await this.#read(file);
      if (message === undefined) return true;
      await this.#admit(message);
      this.#isDeferred = false;
      await this.#remove(file);
    } catch (error) {
      if (error instanceof TooFast) this.#wait(file, error);
      else if (error instanceof Refusal) await this.#moveAside(file, error);
      else if (error instanceof Trouble) {
        const { kind, message: problem, remedy } = error;
        const fields = { client: "spool", kind, problem, remedy };
        if (!this.#isDeferred) diagnostics.report("mail-deferred", fields);
        this.#isDeferred = true;
        return false;
      } else throw error;
    }
    return true;
  }

  /** The bytes of a file; undefined when it has vanished, changes, or may not be read. */
  async #read(file: Seen): Promise<Uint8Array | undefined> {
    const { maxBytes } = this.#tools;
    if (file.size > maxBytes) {
      throw new Refusal("too-large", `The message exceeds the limit of ${maxBytes} bytes.`);
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
    const { intake, senders } = this.#tools;
    await intake.take(message, senders.all, envelopeSender(message), true);
  }

  /** After the commit. What cannot be removed would come again and again, as a duplicate. */
  async #remove(file: Seen): Promise<void> {
    try {
      await unlink(join(this.#path, file.name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#leaveAlone(file, error);
    }
  }

  async #moveAside(file: Seen, { reason, message: problem }: Refusal): Promise<void> {
    const from = join(this.#path, file.name);
    this.#tools.diagnostics.report("mail-refused", {
      client: "spool",
      reason,
      problem,
      file: from,
    });
    try {
      await mkdir(join(this.#path, REFUSED), { recursive: true });
      // A pipe uses its names again.
      const name = `${file.name}.${Math.trunc(file.modifiedMs)}`;
      await rename(from, join(this.#path, REFUSED, name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#leaveAlone(file, error);
    }
  }

  #wait({ name }: Seen, { neighbour, reason, waitMs }: TooFast): void {
    if (!this.#putOff.has(name)) {
      const fields = { neighbour, client: "spool", reason, waitMs };
      this.#tools.diagnostics.report("too-fast", fields);
    }
    this.#turn += 1;
    this.#putOff.set(name, this.#turn);
  }

  #leaveAlone({ name, stamp }: Seen, error: unknown): void {
    this.#leftAlone.set(name, stamp);
    this.#reportStuck(join(this.#path, name), error);
  }

  #reportStuck(file: string, error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    this.#tools.diagnostics.report("spool-stuck", { file, problem });
  }
}

/** The time of change moves with the permissions, too: whoever mends those need do no more. */
function seen(name: string, { ino, size, mtimeMs, ctimeMs }: Stats): Seen {
  return { name, size, modifiedMs: mtimeMs, stamp: `${ino} ${size} ${ctimeMs}` };
}

/** Who the mail server says it is from: in the mailbox line or in Return-Path. */
function envelopeSender(message: Uint8Array): string {
  const first = Buffer.from(message.subarray(0, 1000)).toString("latin1");
  const fromLine = /^>?From (\S+) /.exec(first)?.[1];
  if (fromLine !== undefined) return fromLine;
  return headerValues(readHead(message).fields, "Return-Path").flatMap(addressesIn)[0] ?? "";
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
