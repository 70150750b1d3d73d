/**
 * What mail systems sent back after they had taken it: one row a site and update, written when the
 * bounce comes in and worked off by the site's lane. `fresh` rows are news to the lane, `waiting`
 * rows are to be sent again; a row that is neither counts how often the update has come back. And
 * the secret that tells our marks on bounce addresses from those of others.
 *
 * It does not know what a bounce looks like or when an update is given up.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

/** A mail of ours that came back. */
export interface Bounce {
  readonly site: string;
  /** The mail held the updates from `first` to `seq`, or this one alone. */
  readonly first: Seq;
  readonly seq: Seq;
  /** Whether it was refused for what it is, or for where it went. */
  readonly about: "update" | "site";
  /** SMTP reply code. */
  readonly code: number;
  /** The other side's words. */
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface Returned extends Bounce {
  /** How often it came back before this bounce. */
  readonly tries: number;
  /** When it came back before, milliseconds since 1970; 0 for never. */
  readonly lastAt: number;
  /** Where the lane stood then. */
  readonly cursor: number;
  /** Whether it has not been sent since. */
  readonly waiting: boolean;
}

type Row = Omit<Returned, "waiting"> & { readonly waiting: 0 | 1 };
type Retry = [
  site: string,
  seq: number,
  first: number,
  text: string,
  at: number,
  lastAt: number,
  cursor: number,
];

export class Bounces {
  readonly #connection: Connection;
  readonly #wake: () => void;
  #secret: Uint8Array | undefined;
  readonly #getSecret: Database.Statement<[], Buffer>;
  readonly #note: Database.Statement<[string, number, number, string, number, string, number]>;
  readonly #fresh: Database.Statement<[string], Row>;
  readonly #waiting: Database.Statement<[string], number>;
  readonly #isWaiting: Database.Statement<[string, number]>;
  readonly #countWaiting: Database.Statement<[string], number>;
  readonly #latest: Database.Statement<[string, number], number>;
  readonly #putBack: Database.Statement<Retry>;
  readonly #sent: Database.Statement<[string, number]>;
  readonly #known: Database.Statement<[string, number]>;
  readonly #forget: Database.Statement<[string, number]>;

  /** `wake` is called after a bounce was noted. */
  constructor(connection: Connection, wake: () => void) {
    const { db } = connection;
    this.#connection = connection;
    this.#wake = wake;
    this.#getSecret = db.prepare<[], Buffer>("SELECT bytes FROM secret").pluck();
    this.#note = db.prepare(`
      INSERT INTO returned (site, seq, first, about, code, text, at, fresh, waiting, tries,
                            last_at, cursor)
      VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, 0, 0, 0)
      ON CONFLICT (site, seq) DO UPDATE SET
        first = iif(fresh = 1, min(first, excluded.first), excluded.first),
        about = excluded.about, code = excluded.code,
        text = excluded.text, at = excluded.at, fresh = 1`);
    this.#fresh = db.prepare(`
      SELECT site, first, seq, about, code, text, at, tries, last_at AS lastAt, cursor, waiting
      FROM returned WHERE site = ? AND fresh = 1 ORDER BY seq LIMIT 1`);
    this.#waiting = db.prepare<[string], number>(
      "SELECT seq FROM returned WHERE site = ? AND waiting = 1 ORDER BY seq LIMIT 1",
    );
    this.#waiting.pluck();
    this.#isWaiting = db.prepare(
      "SELECT 1 FROM returned WHERE site = ? AND seq = ? AND waiting = 1",
    );
    this.#countWaiting = db.prepare<[string], number>(
      "SELECT count(*) FROM returned WHERE site = ? AND waiting = 1",
    );
    this.#countWaiting.pluck();
    this.#latest = db.prepare<[string, number], number>(
      "SELECT at FROM returned WHERE site = ? AND seq <> ? ORDER BY at DESC LIMIT 1",
    );
    this.#latest.pluck();
    this.#putBack = db.prepare(`
      INSERT INTO returned (site, seq, first, about, code, text, at, fresh, waiting, tries,
                            last_at, cursor)
      VALUES (?, ?, ?, 'site', 0, ?, ?, 0, 1, 1, ?, ?)
      ON CONFLICT (site, seq) DO UPDATE SET
        first = seq, fresh = 0, waiting = 1, tries = tries + 1, last_at = excluded.last_at,
        cursor = excluded.cursor`);
    this.#sent = db.prepare("UPDATE returned SET waiting = 0 WHERE site = ? AND seq = ?");
    this.#known = db.prepare("UPDATE returned SET fresh = 0 WHERE site = ? AND seq = ?");
    this.#forget = db.prepare("DELETE FROM returned WHERE site = ? AND seq = ?");
  }

  /** 32 bytes, the same for the life of the log. Throws `Trouble` when they cannot be read. */
  get secret(): Uint8Array {
    this.#secret ??= this.#connection.read(() => this.#getSecret.get());
    if (this.#secret === undefined) throw new Error("the secret of the log is missing");
    return this.#secret;
  }

  /**
   * Notes a bounce and wakes the doors. One of the same mail or of another one that ends with the
   * same update replaces it when nobody has looked at it yet, but for the updates that it is about.
   */
  note(bounce: Bounce): void {
    const { site, seq, first, about, code, text, at } = bounce;
    this.#connection.write(() => this.#note.run(site, seq, first, about, code, text, at));
    this.#wake();
  }

  /** The oldest bounce of the site that the lane has not looked at. */
  fresh(site: string): Returned | undefined {
    const row = this.#connection.read(() => this.#fresh.get(site));
    return row && { ...row, waiting: row.waiting === 1 };
  }

  /** The oldest update that is to be sent again. */
  nextWaiting(site: string): Seq | undefined {
    return this.#connection.read(() => this.#waiting.get(site)) as Seq | undefined;
  }

  /** Whether an update is to be sent again. */
  isWaiting(site: string, seq: Seq): boolean {
    return this.#connection.read(() => this.#isWaiting.get(site, seq)) !== undefined;
  }

  /** How many updates are to be sent again. */
  waiting(site: string): number {
    return this.#connection.read(() => this.#countWaiting.get(site)) ?? 0;
  }

  /** When another update than `seq` came back last, milliseconds since 1970; 0 for never. */
  latestBeside(site: string, seq: Seq): number {
    return this.#connection.read(() => this.#latest.get(site, seq)) ?? 0;
  }

  /**
   * The lane has looked at `bounce`: the updates `seqs` of that mail are to be sent again, each on
   * its own. `cursor` is where the lane stands.
   */
  putBack(bounce: Bounce, seqs: readonly Seq[], cursor: number): void {
    const { site, text, at } = bounce;
    this.#connection.write(() => {
      this.#known.run(site, bounce.seq);
      for (const seq of seqs) this.#putBack.run(site, seq, seq, text, at, at, cursor);
    });
  }

  /** It was sent again, and may come back again. */
  sent(site: string, seq: Seq): void {
    this.#connection.write(() => this.#sent.run(site, seq));
  }

  /** The lane has looked at the bounce, and nothing follows from it. */
  dismiss(site: string, seq: Seq): void {
    this.#connection.write(() => this.#known.run(site, seq));
  }

  /** The update is done with: given up, or at the site by another way. */
  forget(site: string, seq: Seq): void {
    this.#connection.write(() => this.#forget.run(site, seq));
  }
}
