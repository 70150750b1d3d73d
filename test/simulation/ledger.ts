/**
 * What is known of one gateway from outside, over all its crashes, and the invariants of faults.md
 * section 2 that are held against it after each step: numbers grow by one and are never reused,
 * stored is what was announced and acknowledged, a hash is the computed one, nothing comes back,
 * announcements leave no gap, no cursor passes what is unresolved, one request a hash.
 */
import { updateOf } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import type { Receipt } from "../../src/kx/messages.js";
import { hasNumber } from "../../src/kx/receipts.js";
import type { ReceiveCursor } from "../../src/log/cursors.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import { readKeys } from "../../src/openpgp/key.js";
import type { Seq, UpdateHash } from "../../src/update.js";
import { contentOf } from "./material.js";
import { carries, type PolicyName } from "./policies.js";

/** An invariant does not hold: the world ends here. */
export class Violation extends Error {
  readonly invariant: string;
  constructor(invariant: string, text: string) {
    super(`${invariant}: ${text}`);
    this.invariant = invariant;
  }
}

export interface Known {
  readonly hash: UpdateHash;
  /** When it was stored, in time of the world. */
  readonly at: number;
}

/** What the engine grants itself, and a second for the steps of the clock. */
const PROGRESS_MS = 10_000 + 1000;
const REQUEST_MS = 120_000 + 1000;

/**
 * How often one update may be handed over for one site: answers that are lost, mails that come
 * back and crashes repeat some; a schedule and what comes again of its key add some an hour.
 */
const MAILS_AN_UPDATE = 20;
const MAILS_AN_HOUR = 5;

interface Request {
  readonly at: number;
  readonly peer: string;
}

export class Ledger {
  readonly name: string;
  readonly policy: PolicyName;
  /** Every entry that was ever in the log, by its number. */
  entries = new Map<number, Known>();
  /** The same of logs that are gone with their disks, the latest first. */
  readonly former: ReadonlyMap<number, Known>[] = [];
  /** When each update was stored, by its hash. */
  readonly stored = new Map<UpdateHash, number>();
  /** Numbers under which the log has what a former one had there: by them it passes for that. */
  readonly coincided = new Set<number>();
  /** Every position in the log of a peer that was stored, by the peer. */
  readonly passed = new Map<string, Set<number>>();
  /** Pieces of keys that it has ever stored. */
  readonly content = new Set<string>();
  /** The pieces of each update that it has ever stored, by its hash. */
  readonly pieces = new Map<UpdateHash, readonly string[]>();
  /** The number of the entry that brought a piece first. */
  readonly order = new Map<string, number>();
  /** Each key, and whether its first entry shows a subkey of version 4. */
  readonly subkeyFirst = new Map<string, boolean>();
  /** Updates that it reported as gone, lost or refused: behind it without being stored. */
  readonly givenUp: Set<string>;
  /** Sites with keys that they may miss, as the operator was told: "site fingerprint". */
  readonly excused: Set<string>;
  /** The same of those whose body expired before a site took it: only a repair brings them. */
  readonly expired: Set<string>;
  /** Sites that have an update, by its hash, as far as the gateway was told and said "stored". */
  readonly told = new Map<UpdateHash, Set<string>>();
  /** What was added to `told` since the log has last written what it gathers of trails. */
  readonly #unsettled: (readonly [UpdateHash, string])[] = [];
  readonly #uncarried: ReadonlySet<string>;
  readonly #handed = new Map<string, { readonly count: number; readonly since: number }>();
  readonly #cursors = new Map<string, number>();
  readonly #requests = new Map<UpdateHash, Request>();
  readonly #progress = new Map<string, number>();
  readonly #isCopy: boolean;
  #newest = 0;

  /**
   * `uncarried` are the keys that some operator has blocked or removed so far. `told` is what the
   * operator of a cluster was told by any of its nodes; the log is a copy then.
   */
  constructor(
    name: string,
    uncarried: ReadonlySet<string> = new Set(),
    policy: PolicyName = "all",
    told?: Pick<Ledger, "givenUp" | "excused" | "expired">,
  ) {
    this.name = name;
    this.policy = policy;
    this.#uncarried = uncarried;
    this.#isCopy = told !== undefined;
    this.givenUp = told?.givenUp ?? new Set();
    this.excused = told?.excused ?? new Set();
    this.expired = told?.expired ?? new Set();
  }

  /** Whether an update may be passed over, since an operator does not want its key. */
  isUncarried(hash: UpdateHash): boolean {
    return this.#uncarried.has(this.pieces.get(hash)?.[0]?.split("/")[0] ?? "");
  }

  get newest(): number {
    return this.#newest;
  }

  /** The log is gone, and all that it knew: it begins anew, and so does its numbering. */
  lost(): void {
    this.former.unshift(this.entries);
    this.entries = new Map();
    for (const memory of [this.stored, this.content, this.givenUp, this.told]) memory.clear();
    for (const memory of [this.order, this.subkeyFirst]) memory.clear();
    this.#cursors.clear();
    this.passed.clear();
    this.#newest = 0;
  }

  /** The process was killed: what was gathered of trails is lost, and may be mailed once more. */
  killed(): void {
    for (const [hash, address] of this.#unsettled.splice(0)) this.told.get(hash)?.delete(address);
  }

  /** Looks at what a step has put into the log. */
  look(log: UpdateLog, now: number): void {
    if (log.trails.gathered === 0) this.#unsettled.length = 0;
    const newest = log.newest();
    if (newest === this.#newest) return;
    if (newest < this.#newest) {
      throw new Violation(
        "stored is stored",
        `${this.name} went back to ${newest} after ${this.#newest}`,
      );
    }
    for (const { seq, hash } of log.range((this.#newest + 1) as Seq, newest as Seq, 100_000)) {
      if (seq !== this.#newest + 1) {
        throw new Violation("numbers grow by one", `${this.name}: ${seq} after ${this.#newest}`);
      }
      this.#newest = seq;
      // A copy that was lost, or has lost its newest commits, gets the same again.
      if (this.#isCopy && this.entries.get(seq)?.hash === hash) continue;
      if (this.entries.has(seq)) {
        const before = this.entries.get(seq)?.hash;
        throw new Violation("no number is given twice", `${this.name}: ${seq} was ${before}`);
      }
      if (this.stored.has(hash)) {
        throw new Violation("nothing comes back", `${this.name} took ${hash} again as ${seq}`);
      }
      this.entries.set(seq, { hash, at: now });
      if (this.former.some((log) => log.get(seq)?.hash === hash)) this.coincided.add(seq);
      this.stored.set(hash, now);
      this.#requests.delete(hash);
      this.#examine(seq, hash, log.body(seq));
    }
  }

  #examine(seq: Seq, hash: UpdateHash, body: Uint8Array | undefined): void {
    // A restored log may lack the body of what was forgotten before its backup was made.
    const before = body === undefined ? this.pieces.get(hash) : undefined;
    if (before !== undefined) return this.#credit(seq, before);
    const [key] = body === undefined ? [] : readKeys(body);
    if (key === undefined || key instanceof Refusal || updateOf(key).hash !== hash) {
      throw new Violation(
        "a hash is the computed one",
        `${this.name}: entry ${seq} is not ${hash}`,
      );
    }
    const pieces = contentOf(key);
    if (pieces.every((piece) => this.content.has(piece))) {
      const text = `${this.name}: entry ${seq} has no packet that is not in an earlier one`;
      throw new Violation("only news is appended", text);
    }
    this.pieces.set(hash, pieces);
    if (!this.subkeyFirst.has(key.fingerprint)) {
      // A pksd drops a subkey of another version, so the first entry may show one in vain.
      const hasSubkey = key.subkeys.some(({ packet }) => packet.body[0] === 4);
      this.subkeyFirst.set(key.fingerprint, hasSubkey);
    }
    this.#credit(seq, pieces);
  }

  #credit(seq: Seq, pieces: readonly string[]): void {
    for (const piece of pieces) {
      this.content.add(piece);
      if (!this.order.has(piece)) this.order.set(piece, seq);
    }
  }

  /** Whether every packet that is carried of an update of `theirs` is stored here somewhere. */
  holds(hash: UpdateHash, theirs: Ledger): boolean {
    return this.stored.has(hash) || this.lacking(hash, theirs)?.length === 0;
  }

  /** What is carried and not stored of an update of `theirs`; undefined for one unknown there. */
  lacking(hash: UpdateHash, theirs: Ledger): string[] | undefined {
    const pieces = theirs.pieces.get(hash);
    return pieces?.filter((piece) => !this.content.has(piece) && carries(this.policy, piece));
  }

  /** A process begins: what was promised must be there. */
  begun(log: UpdateLog, now: number): void {
    this.#requests.clear();
    this.#progress.clear();
    if (this.#isCopy) this.#newest = Math.min(this.#newest, log.newest());
    if (log.newest() < this.#newest) this.look(log, now);
    this.look(log, now);
  }

  /** Somebody was told that these are stored. */
  acknowledged(log: UpdateLog, hashes: readonly UpdateHash[]): void {
    for (const hash of hashes) {
      if (!log.has(hash) && log.variants.entriesOf(hash) === undefined) {
        throw new Violation("acknowledged is stored", `${this.name} has acknowledged ${hash}`);
      }
    }
  }

  /** Sites of a trail, or the sender, have these updates. */
  has(hashes: readonly UpdateHash[], addresses: readonly string[]): void {
    for (const hash of hashes) {
      const sites = this.told.get(hash) ?? new Set();
      for (const address of addresses) {
        const key = address.toLowerCase();
        if (!sites.has(key)) this.#unsettled.push([hash, key]);
        sites.add(key);
      }
      this.told.set(hash, sites);
    }
  }

  /** A mail with an update leaves for a site. */
  mails(hash: UpdateHash, address: string): void {
    if (this.told.get(hash)?.has(address.toLowerCase())) {
      throw new Violation(
        "never mailed to a site in the trail",
        `${this.name}: ${hash} to ${address}`,
      );
    }
  }

  /** The contents of a mail with these updates were handed over for a site, taken or not. */
  handed(hashes: readonly string[], address: string, now: number): void {
    for (const hash of hashes) {
      const name = `${hash} to ${address}`;
      const { count, since } = this.#handed.get(name) ?? { count: 0, since: now };
      this.#handed.set(name, { count: count + 1, since });
      // To a gateway that lost its disk the update is new.
      const logs = 1 + this.former.length;
      const most = logs * MAILS_AN_UPDATE + (MAILS_AN_HOUR * (now - since)) / 3_600_000;
      if (count < most) continue;
      const text = `${this.name}: ${count + 1} mails with ${name} in ${now - since} ms`;
      throw new Violation("nobody is buried", text);
    }
  }

  /** A line of an IHAVE leaves. */
  announces(number: number, hash: string): void {
    const known = this.entries.get(number);
    if (known?.hash !== hash) {
      const there = known === undefined ? "nothing" : known.hash;
      throw new Violation(
        "announced is stored",
        `${this.name} says ${number} ${hash}, has ${there}`,
      );
    }
  }

  /** A restored log has the cursor of its backup, which may be in another log by now. */
  resumed(peer: string, at: ReceiveCursor): void {
    if (this.#cursors.has(peer)) return;
    this.#cursors.set(peer, at.number);
    this.passed.set(peer, (this.passed.get(peer) ?? new Set()).add(at.number));
  }

  /**
   * A cursor in the log of `peer` was stored; undefined ledger for a peer that may lie. What is
   * older than `oldest` is not listed any more and may be missed.
   */
  moved(
    peer: string,
    at: ReceiveCursor | undefined,
    theirs: Ledger | undefined,
    oldest: number,
  ): void {
    const before = this.#cursors.get(peer) ?? 0;
    this.#cursors.set(peer, Math.max(at?.number ?? 0, at === undefined ? 0 : before));
    if (at === undefined || theirs === undefined) return;
    this.passed.set(peer, (this.passed.get(peer) ?? new Set()).add(at.number));
    const logs = [theirs.entries, ...theirs.former];
    // More than one when a new log shows the same update under that number: a cursor that is stored
    // late may belong to the former one.
    const fitting = logs.filter((log) => log.get(at.number)?.hash === at.hash);
    if (fitting.length === 0) {
      const text = `${this.name} is at ${at.number} ${at.hash} of ${peer}, which is not there`;
      throw new Violation("cursors pass nothing unresolved", text);
    }
    const missed = fitting.map((log) => this.#missed(theirs, log, before, at.number, oldest));
    if (missed.includes(undefined)) return;
    // In KX/1.0 a new log may have passed for the former one by a cursor that was not stored yet.
    const fooled = at.log === undefined ? [...theirs.coincided] : [];
    const by = Math.max(before, ...fooled.filter((number) => number <= at.number));
    if (fitting.some((log) => !this.#missed(theirs, log, by, at.number, oldest))) {
      this.passed.get(peer)?.add(by);
      return;
    }
    const text = `${this.name} is at ${at.number} of ${peer} without ${missed[0]}`;
    throw new Violation("cursors pass nothing unresolved", text);
  }

  /**
   * A receipt leaves for `peer`: all up to its number is resolved here. What came after the receipt
   * `before` on the same line is held, or is in its ranges; of what is older nothing is concluded.
   */
  receipt(peer: string, done: Receipt, before: number | undefined, theirs: Ledger): void {
    const passed = this.passed.get(peer);
    // With a cursor of KX/1.0 a new log may have passed for the former: what is below is unknown.
    const isFooled = [...theirs.coincided].some((number) => passed?.has(number) === true);
    const from = isFooled ? (before ?? done.number) : 0;
    // A receipt may be of the log that the peer had when the line began.
    const problems = [theirs.entries, ...theirs.former].map((log) => {
      const last = Math.max(0, ...log.keys());
      if (done.number > last) return `the log ends at ${last}`;
      const missed = this.#missed(theirs, log, from, done.number, 0);
      if (missed !== undefined) return `without ${missed}`;
      for (let number = (before ?? done.number) + 1; number <= done.number; number += 1) {
        const { hash } = log.get(number) ?? {};
        if (hash === undefined || theirs.isUncarried(hash)) continue;
        // What policy pruned is held in part; of what was declined nothing is held that was news.
        const news = theirs.pieces.get(hash)?.filter((one) => theirs.order.get(one) === number);
        const hasSome = news?.length === 0 || news?.some((piece) => this.content.has(piece));
        if (hasSome === true && this.holds(hash, theirs)) continue;
        if (!hasNumber(done.without, number)) return `and says that it holds ${number} ${hash}`;
      }
      return undefined;
    });
    if (problems.includes(undefined)) return;
    const text = `${this.name} tells ${peer} DONE ${done.number}, ${problems[0]}`;
    throw new Violation("a receipt is true", text);
  }

  /** The first entry of a log between two numbers that is not resolved here. */
  #missed(
    theirs: Ledger,
    log: ReadonlyMap<number, Known>,
    from: number,
    to: number,
    oldest: number,
  ): string | undefined {
    for (let number = from + 1; number <= to; number += 1) {
      const { hash, at: since } = log.get(number) ?? { hash: undefined, at: 0 };
      if (hash === undefined || this.holds(hash, theirs) || this.givenUp.has(hash)) continue;
      if (theirs.isUncarried(hash)) continue;
      if (since >= oldest) return `${number} ${hash}`;
    }
    return undefined;
  }

  /** A GETUPDATE leaves for `peer`. */
  asked(peer: string, hash: UpdateHash, now: number): void {
    const open = this.#requests.get(hash);
    if (open !== undefined) {
      const since = `${open.peer} since ${now - open.at} ms`;
      const text = `${this.name} asks ${peer} for ${hash}, and ${since}`;
      throw new Violation("one request a hash", text);
    }
    this.#requests.set(hash, { peer, at: now });
  }

  answered(peer: string, hash: UpdateHash): void {
    if (this.#requests.get(hash)?.peer === peer) this.#requests.delete(hash);
  }

  dropped(peer: string): void {
    for (const [hash, request] of this.#requests) {
      if (request.peer === peer) this.#requests.delete(hash);
    }
  }

  progressed(peer: string, now: number): void {
    this.#progress.set(peer, now);
  }

  /** No request waits for longer than it may. */
  overdue(now: number, log: UpdateLog): void {
    for (const [hash, { peer, at }] of this.#requests) {
      // It came from another peer meanwhile without news, so that no entry of the log shows it.
      if (log.variants.entriesOf(hash) !== undefined) {
        this.#requests.delete(hash);
        continue;
      }
      const moved = Math.max(at, this.#progress.get(peer) ?? 0);
      if (now - moved <= PROGRESS_MS && now - at <= REQUEST_MS) continue;
      const text = `${this.name} waits for ${hash} from ${peer} since ${now - at} ms`;
      throw new Violation("a request is given up in time", text);
    }
  }

  /** So many are asked for at each peer. */
  counted(inFlight: readonly number[]): void {
    const sum = inFlight.reduce((all, one) => all + one, 0);
    if (sum > 256 || inFlight.some((one) => one > 128)) {
      throw new Violation(
        "caps hold",
        `${this.name} has ${inFlight.join(", ")} requests in flight`,
      );
    }
  }
}
