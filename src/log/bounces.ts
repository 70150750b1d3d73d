/**
 * Stores returned mails from their arrival until the site's lane has processed them. The
 * consequences for an update are in `exceptions.ts`. Also stores the secret that authenticates the
 * gateway's marks in bounce addresses. This file does not depend on the format of a bounce.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

/** A mail of the gateway that was returned. */
export interface Bounce {
  readonly site: string;
  /** The mail held the updates from `first` to `seq`. The two are equal for a single update. */
  readonly first: Seq;
  readonly seq: Seq;
  /** Whether the content or the destination caused the failure. */
  readonly about: "update" | "site";
  /** SMTP reply code. */
  readonly code: number;
  /** The text of the remote server. */
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export class Bounces {
  readonly #connection: Connection;
  readonly #wake: () => void;
  #secret: Uint8Array | undefined;
  readonly #getSecret: Database.Statement<[], Buffer>;
  readonly #note: Database.Statement<[string, number, number, string, number, string, number]>;
  readonly #fresh: Database.Statement<[string], Bounce>;
  readonly #dismiss: Database.Statement<[string, number]>;

  /** `wake` is called after a bounce is recorded. */
  constructor(connection: Connection, wake: () => void) {
    const { db } = connection;
    this.#connection = connection;
    this.#wake = wake;
    this.#getSecret = db.prepare<[], Buffer>("SELECT bytes FROM secret").pluck();
    this.#note = db.prepare(`
      INSERT INTO bounces (site, seq, first, about, code, text, at)
      VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (site, seq) DO UPDATE SET
        first = min(first, excluded.first), about = excluded.about, code = excluded.code,
        text = excluded.text, at = excluded.at`);
    this.#fresh = db.prepare(`
      SELECT site, first, seq, about, code, text, at FROM bounces
      WHERE site = ? ORDER BY seq LIMIT 1`);
    this.#dismiss = db.prepare("DELETE FROM bounces WHERE site = ? AND seq = ?");
  }

  /** 32 bytes, constant for the life of the log. Throws `Trouble` if they cannot be read. */
  get secret(): Uint8Array {
    this.#secret ??= this.#connection.read(() => this.#getSecret.get());
    if (this.#secret === undefined) throw new Error("the secret of the log is missing");
    return this.#secret;
  }

  /** Reads the secret again: it is that of the site now. */
  refresh(): void {
    this.#secret = undefined;
  }

  /**
   * Records a bounce and wakes the doors. A later bounce of the same mail, or of another mail that
   * ends with the same update, replaces an unprocessed one, but the range of updates is merged.
   */
  note(bounce: Bounce): void {
    const { site, seq, first, about, code, text, at } = bounce;
    this.#connection.write(() => this.#note.run(site, seq, first, about, code, text, at));
    this.#wake();
  }

  /** Returns the oldest bounce of the site that the lane has not processed. */
  fresh(site: string): Bounce | undefined {
    return this.#connection.read(() => this.#fresh.get(site));
  }

  /** Removes a processed bounce. The writes of `work` are committed in the same transaction. */
  dismiss({ site, seq }: Bounce, work: () => void = () => {}): void {
    this.#connection.write(() => {
      this.#dismiss.run(site, seq);
      work();
    });
  }
}
