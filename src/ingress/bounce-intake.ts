/**
 * Takes one mail to the bounce address. `mail/delivery-report.ts` reads what the mail says, and the
 * mark in the address says which site and which updates it is about. Both are written to the log,
 * where the lane of the site reads them. The mail is never answered, and no update is taken from
 * it. Anybody can send a bounce, so one with a missing or forged mark is reported and nothing else.
 */
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal } from "../errors.js";
import { typedParts } from "../intake/mime.js";
import type { UpdateLog } from "../log/update-log.js";
import { type BounceVerdict, judgeBounce } from "../mail/delivery-report.js";
import { readHead } from "../mail/head.js";
import { parseVerp } from "../mail/verp.js";
import { distinctAddresses } from "../mail-address.js";
import type { Seq } from "../update.js";

/** The verdict on a bounce that cannot be read: only its address counts. */
const UNREADABLE: BounceVerdict = { kind: "site", status: undefined, code: 550, words: "" };

/** What a `BounceIntake` works with. */
export interface BounceComponents {
  readonly log: Pick<UpdateLog, "entry"> & {
    readonly bounces: Pick<UpdateLog["bounces"], "secret" | "note">;
    readonly lanes: Pick<UpdateLog["lanes"], "nameNow">;
  };
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export interface BounceSettings {
  /** The bounce address; undefined when none is configured. */
  readonly bounce: string | undefined;
  readonly neighbours: readonly Pick<Neighbour, "name">[];
}

export class BounceIntake {
  readonly #bounce: string;
  /** Names of the sites by the name in lower case. */
  readonly #sites: ReadonlyMap<string, string>;
  readonly #log: BounceComponents["log"];
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;

  constructor({ log, clock, diagnostics }: BounceComponents, settings: BounceSettings) {
    this.#bounce = settings.bounce ?? "";
    this.#sites = new Map(settings.neighbours.map(({ name }) => [name.toLowerCase(), name]));
    this.#log = log;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /**
   * Takes the mail `message` (undefined if it was too large to be kept) to `recipients`, each the
   * bounce address with any mark. Resolves when the result is on disk. Rejects with `Trouble` if it
   * could not be stored; the sender then keeps the mail.
   */
  async take(message: Uint8Array | undefined, recipients: readonly string[]): Promise<void> {
    const verdict = message === undefined ? UNREADABLE : await this.#judge(message);
    for (const recipient of distinctAddresses(recipients)) this.note(recipient, verdict);
  }

  async #judge(message: Uint8Array): Promise<BounceVerdict> {
    try {
      return judgeBounce(readHead(message).fields, await typedParts(message));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return UNREADABLE;
    }
  }

  /** The site of that name in lower case, or the one that had it when the mail left. */
  #siteOf(name: string): string | undefined {
    const now = this.#sites.get(name) ?? this.#log.lanes.nameNow(name);
    return now && this.#sites.get(now.toLowerCase());
  }

  /** Writes the verdict on a mail to `recipient` to the log. Throws `Trouble`. */
  note(recipient: string, { kind, status, code, words }: BounceVerdict): void {
    const mark = parseVerp(this.#bounce, recipient, this.#log.bounces.secret);
    const site = mark && this.#siteOf(mark.site.toLowerCase());
    const ours = mark?.isSealed === true && site !== undefined ? { ...mark, site } : undefined;
    if (kind === "answer") {
      this.#diagnostics.report("reply-swallowed", { neighbour: ours?.site });
      return;
    }
    const seq = ours?.last as Seq | undefined;
    const hash = seq === undefined ? undefined : this.#log.entry(seq)?.hash;
    const about = { seq, hash, neighbour: ours?.site, status, words };
    if (kind === "noted") return this.#diagnostics.report("delivery-noted", about);
    const reason = ours === undefined ? (mark === undefined ? "unmarked" : "forged") : kind;
    if (ours !== undefined && seq !== undefined) {
      const at = this.#clock.now();
      const range = { first: ours.first as Seq, seq };
      this.#log.bounces.note({ site: ours.site, ...range, about: kind, code, text: words, at });
    }
    this.#diagnostics.report("bounce", { ...about, reason });
  }
}
