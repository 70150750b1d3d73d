/**
 * Keeps the key index up to date while the gateway runs: for each update of the log it looks up the
 * key at the local keyserver and stores the digest of what is there. The log says only which keys
 * changed, since an update has the news of a key and not all of its packets.
 *
 *  1. The index has the position up to which the log is in it, so nothing is missed over a restart.
 *     The index of another log begins at the first update that this one remembers.
 *  2. A key is looked up after the update was delivered to the local keyserver, one to two periods
 *     later: a keyserver with a spool takes a mail some seconds after it was written. An update
 *     that the local lane has put aside is passed over; its key is looked up at its next update.
 *  3. A keyserver that fails is asked again at the next period. Keys are looked up one at a time.
 */
import type { Clock } from "../clock.js";
import { Refusal } from "../errors.js";
import type { IndexChange } from "../log/key-index.js";
import type { KeyIndexFile } from "../log/key-index-file.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys } from "../openpgp/key.js";
import { digestOfNames, packetNames } from "../openpgp/news.js";
import type { Fingerprint, Seq } from "../update.js";
import { lookUp } from "./repair-hkp.js";

export const KEEPER_LIMITS = {
  /** Longer than SKS takes to see a new mail. */
  everyMs: 15_000,
  /** Updates that are looked up before their digests are stored. */
  batch: 200,
  requestMs: 60_000,
  /** Largest answer. A larger key, flooded with signatures, stays in the index as it was. */
  answerBytes: 32 * 1024 * 1024,
};

export interface KeeperComponents {
  readonly log: Pick<UpdateLog, "name" | "newest" | "range">;
  readonly index: KeyIndexFile;
  readonly clock: Clock;
  readonly guard: LogGuard;
  /** Position up to which the local keyserver has been served. */
  readonly delivered: () => number;
}

export class IndexKeeper {
  readonly #components: KeeperComponents;
  readonly #url: string;
  readonly #limits: typeof KEEPER_LIMITS;
  readonly #broken = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> | undefined;
  /** What was delivered at the last period. */
  #settled = 0;

  /** `url` is that of the local keyserver, without a path. */
  constructor(components: KeeperComponents, url: string, limits = KEEPER_LIMITS) {
    this.#components = components;
    this.#url = url;
    this.#limits = limits;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#work ??= this.#period().finally(() => {
        this.#work = undefined;
      });
    }, this.#limits.everyMs);
  }

  /** Stops; keys that are being looked up are looked up again after the next start. */
  async stop(): Promise<void> {
    this.#broken.abort(new Error("The gateway stops."));
    clearInterval(this.#timer);
    await this.#work;
  }

  async #period(): Promise<void> {
    const { guard, delivered } = this.#components;
    const upTo = this.#settled;
    this.#settled = guard.run(delivered) ?? upTo;
    while (!this.#broken.signal.aborted) {
      const entries = guard.run(() => this.#next(upTo)) ?? [];
      const last = entries.at(-1);
      if (last === undefined) return;
      const changes: IndexChange[] = [];
      for (const fingerprint of new Set(entries.map((entry) => entry.fingerprint))) {
        const change = await this.#lookUp(fingerprint);
        if (change === "failed") return;
        if (change !== undefined) changes.push(change);
      }
      const isStored = guard.run(() => this.#store(changes, last.seq));
      if (isStored !== true) return;
    }
  }

  /** The updates that are not in the index yet. */
  #next(upTo: number) {
    const { log, index } = this.#components;
    const position = index.refresh()?.status();
    if (position === undefined) return [];
    const from = position.name === log.name ? position.seq + 1 : 1;
    return from > upTo ? [] : log.range(from as Seq, upTo as Seq, this.#limits.batch);
  }

  #store(changes: readonly IndexChange[], seq: Seq): boolean {
    const { log, index } = this.#components;
    index.refresh()?.apply(changes, { seq, name: log.name });
    return true;
  }

  /** The digest of a key at the keyserver; undefined if its answer is not used. */
  async #lookUp(fingerprint: Fingerprint): Promise<IndexChange | "failed" | undefined> {
    const { requestMs, answerBytes: bytes } = this.#limits;
    const limits = { requestMs, bytes };
    const found = await lookUp(this.#url, fingerprint, limits, this.#broken.signal);
    if (this.#broken.signal.aborted) return "failed";
    if (found.kind === "failed") return found.isTooLarge ? undefined : "failed";
    const name = Buffer.from(fingerprint, "hex");
    if (found.kind === "absent") return { fingerprint: name, digest: undefined };
    const digest = digestIn(found.text, fingerprint);
    return digest === undefined ? undefined : { fingerprint: name, digest };
  }
}

/** The digest of the key of that fingerprint in an armored text. */
function digestIn(text: Uint8Array, fingerprint: Fingerprint): Buffer | undefined {
  for (const block of readArmor(text)) {
    if (block instanceof Refusal) continue;
    for (const key of readKeys(block.data)) {
      if (key instanceof Refusal || key.fingerprint !== fingerprint) continue;
      return Buffer.from(digestOfNames(packetNames(key)), "hex");
    }
  }
  return undefined;
}
