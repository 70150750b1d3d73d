/**
 * Mails of ours that came back, from their arrival until the site's lane has looked at them; what
 * follows for an update is in `exceptions.ts`. And the secret that tells our marks on bounce
 * addresses from those of others. It does not know what a bounce looks like.
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

export class Bounces {
  readonly #connection: Connection;
  readonly #wake: () => void;
  #secret: Uint8Array | undefined;
  readonly #getSecret: Database.Statement<[], Buffer>;
  readonly #note: Database.Statement<[string, number, number, string, number, string, number]>;
  readonly #fresh: Database.Statement<[string], Bounce>;
  readonly #dismiss: Database.Statement<[string, number]>;

  /** `wake` is called after a bounce was noted. */
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
  fresh(site: string): Bounce | undefined {
    return this.#connection.read(() => this.#fresh.get(site));
  }

  /** The lane has looked at the bounce; `work` writes what follows from it, with it or not. */
  dismiss({ site, seq }: Bounce, work: () => void = () => {}): void {
    this.#connection.write(() => {
      this.#dismiss.run(site, seq);
      work();
    });
  }
}
