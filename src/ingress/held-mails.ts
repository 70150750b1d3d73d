/**
 * Stores messages while they are received and read. Memory is bounded even if every session sends a
 * mail of the largest size: a message above `memoryBytes` is written to a file in the directory of
 * the log, which is always writable. The file is unlinked as soon as it is open, so a crash leaves
 * no files. Long messages are read back one at a time, and the clients take turns.
 *
 * If there is no room for a message, its bytes are dropped while it is received, and `bytes`
 * rejects with `Trouble`. The sender then keeps the message.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Trouble } from "../errors.js";

const MIB = 1024 ** 2;

export const HELD_LIMITS = {
  /** Bytes of one message in memory. Most mails are smaller. 200 sessions use 50 MiB. */
  memoryBytes: 256 * 1024,
  /** Bytes of all messages in files: 32 messages of the largest size. */
  fileBytes: 1024 * MIB,
  /** The share of one client, which may be a relay of several neighbours. */
  clientBytes: 512 * MIB,
  /** The share of all strangers. They send delivery reports, which are small. */
  strangerBytes: 64 * MIB,
} as const;

export type HeldLimits = { readonly [name in keyof typeof HELD_LIMITS]: number };

export class HeldMails {
  readonly directory: string;
  readonly limits: HeldLimits;
  /** Bytes in files by client. All strangers count as one client. */
  readonly #used = new Map<string, number>();
  readonly #turns = new Turns();

  constructor(directory: string, limits: HeldLimits = HELD_LIMITS) {
    this.directory = directory;
    this.limits = limits;
  }

  /** Opens a store for one message of this client. The caller must call `release` at the end. */
  open(client: string, isStranger: boolean): HeldMail {
    return new HeldMail(this, isStranger ? STRANGERS : client);
  }

  /** Bytes in files now. */
  get fileBytes(): number {
    return [...this.#used.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Reserves `bytes` more in files. Returns false, and reserves nothing, if there is no room. */
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

  /** Resolves when it is the client's turn, with a function that ends the turn. */
  turn(client: string): Promise<() => void> {
    return this.#turns.take(client);
  }

  /** Opens a new file and removes its name. */
  async file(): Promise<FileHandle> {
    files += 1;
    const path = join(this.directory, `.kxgw-mail-${process.pid}-${files}`);
    // In a container a previous process that was killed here may have had the same process id.
    await rm(path, { force: true });
    const file = await open(path, "wx+", 0o600);
    await rm(path, { force: true });
    return file;
  }
}

/** Number of files opened. Global, because two `HeldMails` exist for a time after a reload. */
let files = 0;

/** Name for all clients that are not neighbours. */
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
    const full = "no room for another large mail at the moment";
    await this.#give(
      new Trouble("disk-full", full, "Large mails arrive faster than they are processed."),
    );
  }

  /** Drops the bytes received so far. */
  async drop(): Promise<void> {
    this.#chunks = [];
    this.#size = 0;
    this.#mails.free(this.#client, this.#written);
    this.#written = 0;
    const file = this.#file;
    this.#file = undefined;
    // A network file system may report a full disk here. The file is not needed any more.
    await file?.close().catch(() => {});
  }

  /** The whole message. A long message waits for its turn. Rejects with `Trouble`. */
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

  /** Ends the turn and frees memory and file. May be called at any time, also repeatedly. */
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

/** One turn at a time. Next is the oldest waiter of the client that was served least recently. */
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
    // Moves the client behind the others.
    this.#waiting.delete(client);
    if (queue.length > 0) this.#waiting.set(client, queue);
    resolve?.();
  }
}

function asTrouble(error: unknown): Trouble {
  const { code, message } = error as NodeJS.ErrnoException;
  const remedy =
    "Mails above 256 KiB are stored in the directory of the log while they are received.";
  if (code === "ENOSPC" || code === "EDQUOT") return new Trouble("disk-full", message, remedy);
  return new Trouble("unusable", `a large mail could not be stored: ${message}`, remedy);
}
