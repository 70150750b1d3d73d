/**
 * Determines what a lane delivers next, from the log and the delivery method: the parts of one
 * update, or several waiting updates as one part. The lane decides when to deliver and whether to.
 */
import type { Clock } from "../clock.js";
import { Refusal } from "../errors.js";
import type { Site } from "../log/pending.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { isSameAddress } from "../mail-address.js";
import { readKeys } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import { CARRY_ALL, type Rules, type Withheld } from "../policy.js";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";
import type { DeliveryMethod, Outgoing, Part } from "./delivery-method.js";

/** A site is behind if its next update has waited this long. */
const BEHIND_MS = 60_000;
/**
 * Number of entries read at once. For entries that the site does not need, reading is the only
 * cost.
 */
const PAGE = 200;

/** Several updates in one part. */
export interface Bundle {
  /** In log order. */
  readonly entries: readonly [Entry, ...Entry[]];
  readonly last: Entry;
  /** Entries between them that the site does not need. */
  readonly passed: readonly Entry[];
  readonly part: Part;
}

export interface QueueComponents {
  readonly log: Pick<UpdateLog, "body" | "pending" | "range" | "skeletons" | "trails">;
  readonly method: DeliveryMethod;
  readonly clock: Clock;
}

export interface QueueSettings extends Site {
  /** Decides which updates may be sent. If undefined, all may. */
  readonly rules?: Rules | undefined;
}

export class LaneQueue {
  readonly #site: Site;
  readonly #rules: Rules;
  readonly #log: QueueComponents["log"];
  readonly #method: DeliveryMethod;
  readonly #clock: Clock;

  constructor({ log, method, clock }: QueueComponents, settings: QueueSettings) {
    this.#site = { name: settings.name, address: settings.address };
    this.#rules = settings.rules ?? CARRY_ALL;
    this.#log = log;
    this.#method = method;
    this.#clock = clock;
  }

  /** Returns why the update is sent to no site any more, or undefined if it may be sent. */
  withholds(entry: Entry): Withheld | undefined {
    return this.#rules.withholds(entry);
  }

  /**
   * Whether the site needs nothing more of the update. `part` is the number of parts already
   * delivered.
   */
  skips(entry: Entry, part: number): boolean {
    // A partly sent update is finished, even if it has been received from another source since.
    return (
      this.withholds(entry) !== undefined ||
      (part === 0 && this.#log.pending.has(this.#site, entry))
    );
  }

  /** Whether the current skeleton of the key differs from `known`. */
  isStale(known: Uint8Array | undefined, { fingerprint }: Entry): boolean {
    const skeleton = this.#log.skeletons.get(fingerprint);
    if (skeleton === undefined || known === undefined) return skeleton !== known;
    return !Buffer.from(known).equals(skeleton);
  }

  /** Returns the entries after `cursor` in the log, at most `limit`. */
  after(cursor: number, limit = PAGE): Entry[] {
    return this.#log.range((cursor + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, limit);
  }

  /** Whether the key is currently blocked. */
  isBlocked(fingerprint: Fingerprint): boolean {
    return this.#rules.blockOn(fingerprint) !== undefined;
  }

  /**
   * Returns the parts of an update, or undefined if its body has expired. If `offered` is given,
   * returns the parts of that later form of the key instead.
   */
  parts(entry: Entry, offered?: Uint8Array): Part[] | undefined {
    const update = this.#outgoing(entry, offered);
    return update && this.#method.parts(update, this.#clock.now());
  }

  /**
   * Returns the updates from `next` on that are sent as one part, or undefined if `next` is sent
   * alone. Updates are combined if the site is behind: they were waiting when a delivery failed
   * (`failedAt`), or have waited for longer than `BEHIND_MS`.
   */
  load(next: Entry, failedAt: number): Bundle | undefined {
    const now = this.#clock.now();
    const isBehind = next.receivedAt <= Math.max(failedAt, now - BEHIND_MS);
    const pack = isBehind ? this.#method.pack?.(now) : undefined;
    if (pack === undefined) return undefined;
    const page = this.after(next.seq - 1);
    const entries: Entry[] = [];
    const passed: Entry[] = [];
    for (const entry of page) {
      if (entries.length > 0 && this.skips(entry, 0)) {
        passed.push(entry);
        continue;
      }
      const update = this.#outgoing(entry);
      if (update === undefined || !pack.add(update)) break;
      entries.push(entry);
    }
    const [first, ...more] = entries;
    const last = more.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const between = passed.filter(({ seq }) => seq < last.seq);
    const part = pack.part();
    return { entries: [first, ...more], last, passed: between, part };
  }

  #outgoing({ seq, hash: name, fingerprint }: Entry, offered?: Uint8Array): Outgoing | undefined {
    const body = offered ?? this.#log.body(seq);
    if (body === undefined) return undefined;
    // A mail with different content needs a Message-ID of its own.
    const hash = offered === undefined ? name : hashOf(offered, name);
    // A revocation of a blocked key may be sent, but must not carry the key's user id.
    const isBlocked = this.isBlocked(fingerprint);
    const skeleton = isBlocked ? undefined : this.#log.skeletons.get(fingerprint);
    // A server may drop a mail whose trail names it. Another site's claim may have put it into the
    // trail.
    const { address } = this.#site;
    const trail = this.#log.trails.get(seq).filter((one) => !isSameAddress(one, address));
    return { seq, hash, fingerprint, body, skeleton, trail };
  }
}

/** The hash of a body as an update of its own. */
function hashOf(body: Uint8Array, otherwise: UpdateHash): UpdateHash {
  const [key] = readKeys(body);
  return key === undefined || key instanceof Refusal ? otherwise : updateHash(key).hash;
}
