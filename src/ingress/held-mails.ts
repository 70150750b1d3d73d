/**
 * Messages while they come in and are read, so that memory is bounded however many sessions send
 * mails of the largest size. The first part of a message stays in memory; what is longer goes to a
 * file beside the log, the one directory that is sure to be writable. The file is unlinked as soon
 * as it is open, so that a crash leaves nothing. Of long messages one is read back at a time; the
 * clients take turns.
 *
 * A message that no room is left for is dropped while it is read on, and `bytes` then rejects with
 * `Trouble`: the sender keeps it.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Trouble } from "../errors.js";

const MIB = 1024 ** 2;

export const HELD_LIMITS = {
  /** Of one message in memory; nearly every mail is smaller. 200 sessions make 50 MiB. */
  memoryBytes: 256 * 1024,
  /** Of all messages in files: 32 of the largest size. */
  fileBytes: 1024 * MIB,
  /** Of that for one client, which may be a relay of several neighbours. */
  clientBytes: 512 * MIB,
  /** Of that for all who are no neighbours; they send reports about our mails, which are small. */
  strangerBytes: 64 * MIB,
} as const;

export type HeldLimits = { readonly [name in keyof typeof HELD_LIMITS]: number };

export class HeldMails {
  readonly directory: string;
  readonly limits: HeldLimits;
  /** Bytes in files by client; all strangers are one. */
  readonly #used = new Map<string, number>();
  readonly #turns = new Turns();

  constructor(directory: string, limits: HeldLimits = HELD_LIMITS) {
    this.directory = directory;
    this.limits = limits;
  }

  /** Room for one message of the client with this address; `release` has to follow. */
  open(client: string, isStranger: boolean): HeldMail {
    return new HeldMail(this, isStranger ? STRANGERS : client);
  }

  /** Bytes that are in files now. */
  get fileBytes(): number {
    return [...this.#used.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Whether there is room for so many bytes more. */
  reserve(client: string, bytes: number): boolean {
    const { fileBytes, clientBytes, strangerBytes } = this.limits;
    const own = (this.#used.get(client) ?? 0) + bytes;
    const share = client === STRANGERS ? strangerBytes : clientBytes;
    if (own > share || this.fileBytes + bytes > fileBytes) return false;
    this.#used.set(client, own);
    return true;
  }

  free(client: string, bytes: number): void {
    const left = (this.#used.get(client) ?? 0) - bytes;
    if (left > 0) this.#used.set(client, left);
    else this.#used.delete(client);
  }

  /** Resolves, when it is the client's turn, with the way to end the turn. */
  turn(client: string): Promise<() => void> {
    return this.#turns.take(client);
  }

  /** A file that has no name any more. */
  async file(): Promise<FileHandle> {
    files += 1;
    const path = join(this.directory, `.kxgw-mail-${process.pid}-${files}`);
    // In a container the process before, which may have been killed right here, had our number.
    await rm(path, { force: true });
    const file = await open(path, "wx+", 0o600);
    await rm(path, { force: true });
    return file;
  }
}

/** How many were opened; a reload makes another `HeldMails` while the former one is still used. */
let files = 0;

/** Stands for all who are no neighbours. */
const STRANGERS = "strangers";

export class HeldMail {
  readonly #mails: HeldMails;
  readonly #client: string;
  #chunks: Uint8Array[] = [];
  /** Bytes in memory. */
  #size = 0;
  #file: FileHandle | undefined;
  #written = 0;
  #trouble: Trouble | undefined;
  #endTurn: (() => void) | undefined;

  constructor(mails: HeldMails, client: string) {
    this.#mails = mails;
    this.#client = client;
  }

  async add(chunk: Uint8Array): Promise<void> {
    if (this.#trouble !== undefined) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size <= this.#mails.limits.memoryBytes) return;
    if (this.#mails.reserve(this.#client, this.#size)) return await this.#spill();
    const full = "there is no room for another large mail at the moment";
    await this.#give(
      new Trouble("disk-full", full, "Large mails come in faster than they are read."),
    );
  }

  /** Forgets what came, for nobody will read it. */
  async drop(): Promise<void> {
    this.#chunks = [];
    this.#size = 0;
    this.#mails.free(this.#client, this.#written);
    this.#written = 0;
    const file = this.#file;
    this.#file = undefined;
    // A file system over a network may tell of a full disk here; nobody needs the file any more.
    await file?.close().catch(() => {});
  }

  /** The whole message; a long one when it is its turn. Rejects with `Trouble`. */
  async bytes(): Promise<Uint8Array> {
    if (this.#trouble !== undefined) throw this.#trouble;
    if (this.#file === undefined) return Buffer.concat(this.#chunks);
    this.#endTurn = await this.#mails.turn(this.#client);
    const whole = Buffer.allocUnsafe(this.#written + this.#size);
    try {
      for (let at = 0; at < this.#written; ) {
        const length = Math.min(MIB, this.#written - at);
        const { bytesRead } = await this.#file.read(whole, at, length, at);
        if (bytesRead === 0) throw new Error("the file is shorter than what was written");
        at += bytesRead;
      }
    } catch (error) {
      throw asTrouble(error);
    }
    let at = this.#written;
    for (const chunk of this.#chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }

  /** Ends the turn and gives back what it took. May be called at any time, and again. */
  async release(): Promise<void> {
    await this.drop();
    this.#endTurn?.();
    this.#endTurn = undefined;
  }

  async #spill(): Promise<void> {
    const bytes = Buffer.concat(this.#chunks);
    const at = this.#written;
    this.#written += bytes.length;
    this.#chunks = [];
    this.#size = 0;
    try {
      this.#file ??= await this.#mails.file();
      for (let done = 0; done < bytes.length; ) {
        const left = bytes.length - done;
        done += (await this.#file.write(bytes, done, left, at + done)).bytesWritten;
      }
    } catch (error) {
      await this.#give(asTrouble(error));
    }
  }

  async #give(trouble: Trouble): Promise<void> {
    this.#trouble = trouble;
    await this.drop();
  }
}

/** One at a time; whoever waits longest of the client that was served least recently is next. */
class Turns {
  readonly #waiting = new Map<string, (() => void)[]>();
  #isTaken = false;

  async take(client: string): Promise<() => void> {
    if (this.#isTaken) {
      await new Promise<void>((resolve) => {
        const queue = this.#waiting.get(client);
        if (queue === undefined) this.#waiting.set(client, [resolve]);
        else queue.push(resolve);
      });
    }
    this.#isTaken = true;
    return () => this.#next();
  }

  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#isTaken = false;
      return;
    }
    const [client, queue] = first;
    const resolve = queue.shift();
    // Behind the others, if it has more.
    this.#waiting.delete(client);
    if (queue.length > 0) this.#waiting.set(client, queue);
    resolve?.();
  }
}

function asTrouble(error: unknown): Trouble {
  const { code, message } = error as NodeJS.ErrnoException;
  const remedy = "Mails above 256 KiB are held beside the log while they come in.";
  if (code === "ENOSPC" || code === "EDQUOT") return new Trouble("disk-full", message, remedy);
  return new Trouble("unusable", `a large mail could not be held: ${message}`, remedy);
}
