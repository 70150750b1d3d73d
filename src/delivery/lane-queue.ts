/**
 * What a lane delivers next, from the log and by its delivery method: the parts of an update, or
 * several updates that wait and go as one part. Does not decide when, or whether.
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

/** A site whose next update has waited this long is behind. */
const BEHIND_MS = 60_000;
/** Entries read at once; those that the site has cost nothing but reading. */
const PAGE = 200;

/** Several updates in one part. */
export interface Bundle {
  /** In the order of the log. */
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
  /** What may leave; without it everything. */
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

  /** Why nobody gets the update any more, undefined when the site may. */
  withholds(entry: Entry): Withheld | undefined {
    return this.#rules.withholds(entry);
  }

  /** Whether the site needs nothing of the update, of which it has the first `part` parts. */
  skips(entry: Entry, part: number): boolean {
    // An update that is half sent is finished, whoever else has told of it since.
    return (
      this.withholds(entry) !== undefined ||
      (part === 0 && this.#log.pending.has(this.#site, entry))
    );
  }

  /** Whether the skeleton of the key is another one than `known` by now. */
  isStale(known: Uint8Array | undefined, { fingerprint }: Entry): boolean {
    const skeleton = this.#log.skeletons.get(fingerprint);
    if (skeleton === undefined || known === undefined) return skeleton !== known;
    return !Buffer.from(known).equals(skeleton);
  }

  /** What comes after `cursor` in the log, at most `limit` entries. */
  after(cursor: number, limit = PAGE): Entry[] {
    return this.#log.range((cursor + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, limit);
  }

  /** Whether the key is blocked at present. */
  isBlocked(fingerprint: Fingerprint): boolean {
    return this.#rules.blockOn(fingerprint) !== undefined;
  }

  /**
   * The parts of an update, undefined when its body is gone; or those of `offered`, which came
   * again of its key.
   */
  parts(entry: Entry, offered?: Uint8Array): Part[] | undefined {
    const update = this.#outgoing(entry, offered);
    return update && this.#method.parts(update, this.#clock.now());
  }

  /**
   * The updates from `page[0]` on that go in one part; undefined when that one goes alone. Updates
   * go together when the site is behind: they waited while something failed, at `failedAt`, or
   * for longer than `BEHIND_MS`.
   */
  load(page: readonly Entry[], failedAt: number): Bundle | undefined {
    const pack = this.#method.pack?.(this.#clock.now());
    const waitingSince = page[0]?.receivedAt ?? Infinity;
    const isBehind = waitingSince <= Math.max(failedAt, this.#clock.now() - BEHIND_MS);
    if (pack === undefined || page.length < 2 || !isBehind) return undefined;
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
    // Mails of another content need Message-IDs of their own.
    const hash = offered === undefined ? name : hashOf(offered, name);
    // A revocation that leaves although its key is blocked must not bring the user id along.
    const isBlocked = this.isBlocked(fingerprint);
    const skeleton = isBlocked ? undefined : this.#log.skeletons.get(fingerprint);
    // A server may drop a mail whose trail names it; what others claimed of it may stand there.
    const { address } = this.#site;
    const trail = this.#log.trails.get(seq).filter((one) => !isSameAddress(one, address));
    return { seq, hash, fingerprint, body, skeleton, trail };
  }
}

/** The name of a body as an update of its own. */
function hashOf(body: Uint8Array, otherwise: UpdateHash): UpdateHash {
  const [key] = readKeys(body);
  return key === undefined || key instanceof Refusal ? otherwise : updateHash(key).hash;
}
