/**
 * What was lost and is to be fetched again: one row a key, and one a neighbour that is asked for
 * all that changed lately. Rooms that miss something say so here (`want`), the repair door asks
 * around, and an answer that comes by mail is left here for it (`answered`). Rows outlive a
 * restart; a row goes when the key is here or nobody is left to ask.
 *
 * It does not know who can be asked or how. Limit: beyond `MOST_REPAIRS` rows no more are taken,
 * and of what one neighbour announced and nobody delivers no more than there is room left, so that
 * one that announces what it does not have leaves room for the others. Whoever wanted what is not
 * taken has to tell the operator.
 */
import type Database from "better-sqlite3";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";
import type { Retention } from "./retention.js";

/** At one request a second a keyserver answers these in three hours. */
export const MOST_REPAIRS = 10_000;

const FULL = `${MOST_REPAIRS} repairs wait already`;

/** The problem that is reported when the limit is reached. */
export const TOO_MANY_REPAIRS = `${FULL}, or this neighbour has used its share`;

/**
 * Why something is fetched again: nobody who announced it has it, it expired before a site took
 * it, a peer no longer lists its numbers, or the operator wants it.
 */
export type RepairReason = "lost" | "expired" | "gap" | "backfill";

/** What is missing: a key, or what changed at a neighbour. */
export interface Missing {
  /** The key; undefined for all that changed in the last `days` days at the only neighbour. */
  readonly fingerprint: Fingerprint | undefined;
  /** 0 for as many as hashes are remembered. */
  readonly days?: number;
  readonly why: RepairReason;
  /** The update that was lost, where there is one. */
  readonly hash?: UpdateHash | undefined;
  /** Who should have it, likeliest first. */
  readonly neighbours: readonly string[];
  /** The site that has to get it. */
  readonly site?: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What a keyserver said to a question. */
export interface RepairAnswer {
  /**
   * `taken`: the keys are in the log. `absent`: it has not got it. `refused`: policy does not
   * carry it. `failed`: it could not say, or said something else.
   */
  readonly kind: "taken" | "absent" | "refused" | "failed";
  readonly words: string;
  /** Keys that were new, and keys that were known. */
  readonly appended: number;
  readonly known: number;
}

/** One row: what is missing, whom it is to be had from, and how far that is. */
export interface Repair {
  /** Name of the row: the fingerprint, or "LAST neighbour". */
  readonly what: string;
  readonly fingerprint: Fingerprint | undefined;
  readonly days: number;
  readonly why: RepairReason;
  readonly hash: UpdateHash | undefined;
  readonly neighbours: readonly string[];
  readonly sites: readonly string[];
  readonly wantedAt: number;
  /** Who is asked next or was asked by mail; empty when that is to be decided. */
  readonly source: string;
  /** Failed attempts at this source. */
  readonly attempts: number;
  /** When it is asked again, milliseconds since 1970. */
  readonly nextAt: number;
  /** When it was asked by mail, 0 for never. */
  readonly askedAt: number;
  /** Who was asked in vain, each with its words: "old: has not got it". */
  readonly refused: Readonly<Record<string, string>>;
  readonly answer: RepairAnswer | undefined;
}

interface Row extends Omit<Repair, "fingerprint" | "hash" | "answer"> {
  readonly hash: Buffer | null;
  readonly answer: string;
}
type RawRow = {
  readonly [K in keyof Row]: K extends "neighbours" | "sites" | "refused" ? string : Row[K];
};
type Values = (string | number | Buffer | null)[];

const ROW = `
  SELECT what, why, hash, days, neighbours, sites, wanted_at AS wantedAt, source, attempts,
         next_at AS nextAt, asked_at AS askedAt, refused, answer
  FROM repairs`;

/** Name of the row that asks a neighbour for all that changed. */
export function lastOf(neighbour: string): string {
  return `LAST ${neighbour}`;
}

export class Repairs {
  readonly #connection: Connection;
  readonly #retention: Retention;
  readonly #wake: () => void;
  /** Of the rows, once it was asked for: there is one writer. */
  #count: number | undefined;
  /** How many rows wait for what each neighbour announced first, and is lost. */
  #lostOf: Map<string, number> | undefined;
  readonly #announcers: Database.Statement<[], { name: string | null; count: number }>;
  readonly #get: Database.Statement<[string], RawRow>;
  readonly #next: Database.Statement<[string], RawRow>;
  readonly #answered: Database.Statement<[string], RawRow>;
  readonly #save: Database.Statement<Values>;
  readonly #unassign: Database.Statement<[string]>;
  readonly #forget: Database.Statement<[string]>;
  readonly #counts: Database.Statement<[], { source: string; count: number }>;
  readonly #restore: Database.Statement<[number, number, Uint8Array]>;
  readonly #again: Database.Statement<[string, number, number]>;

  /** `wake` is called when there is something new to do. */
  constructor(connection: Connection, retention: Retention, wake: () => void) {
    const { db } = connection;
    this.#connection = connection;
    this.#retention = retention;
    this.#wake = wake;
    this.#get = db.prepare(`${ROW} WHERE what = ?`);
    this.#next = db.prepare(`${ROW} WHERE source = ? ORDER BY next_at LIMIT 1`);
    this.#answered = db.prepare(`${ROW} WHERE source = ? AND answer <> '' LIMIT 1`);
    this.#save = db.prepare(`
      INSERT OR REPLACE INTO repairs (what, why, hash, days, neighbours, sites, wanted_at, source,
                                      attempts, next_at, asked_at, refused, answer)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#unassign = db.prepare(`
      UPDATE repairs SET source = '', attempts = 0, asked_at = 0, answer = ''
      WHERE source NOT IN (SELECT value FROM json_each(?))`);
    this.#forget = db.prepare("DELETE FROM repairs WHERE what = ?");
    this.#counts = db.prepare("SELECT source, count(*) AS count FROM repairs GROUP BY source");
    this.#announcers = db.prepare(`
      SELECT json_extract(neighbours, '$[0]') AS name, count(*) AS count
      FROM repairs WHERE why = 'lost' GROUP BY name`);
    this.#restore = db.prepare(`
      INSERT OR IGNORE INTO bodies (seq, received_at, body) VALUES (?, ?, ?)`);
    this.#again = db.prepare(`
      INSERT INTO exceptions (site, seq, fingerprint, state, reason, code, text, tries, at, next_at)
      SELECT ?, seq, fingerprint, 'waiting', 'expired', 0, '', 0, ?, 0 FROM updates WHERE seq = ?
      ON CONFLICT (site, seq) DO UPDATE SET state = 'waiting', next_at = 0`);
  }

  /**
   * Notes what is missing and wakes the doors; what is missing already only learns who else has it
   * and who else needs it. False when there is no room. Throws `Trouble`.
   */
  want(missing: Missing): boolean {
    const { fingerprint, days = 0, why, hash, at, site } = missing;
    const what = fingerprint ?? lastOf(missing.neighbours[0] ?? "");
    const known = this.get(what);
    const room = MOST_REPAIRS - this.count();
    const announcer = announcerOf(missing);
    const itsRows = announcer === undefined ? 0 : (this.#shares().get(announcer) ?? 0);
    if (known === undefined && itsRows >= room) return false;
    const neighbours = [...new Set([...(known?.neighbours ?? []), ...missing.neighbours])];
    const sites = [...new Set([...(known?.sites ?? []), ...(site === undefined ? [] : [site])])];
    const fresh = { source: "", attempts: 0, nextAt: at, askedAt: 0, refused: {} };
    const given = { what, fingerprint, days, why, hash, neighbours, sites, wantedAt: at };
    const isNew = known === undefined || why === "backfill";
    const row: Repair = isNew
      ? { ...given, ...fresh, answer: undefined }
      : { ...known, neighbours, sites };
    this.save(row);
    if (known === undefined) this.#counted(row, 1);
    this.#wake();
    return true;
  }

  get(what: string): Repair | undefined {
    return toRepair(this.#connection.read(() => this.#get.get(what)));
  }

  /** What is to be asked of `source` before anything else, due or not; "" for what has none. */
  next(source: string): Repair | undefined {
    return toRepair(this.#connection.read(() => this.#next.get(source)));
  }

  /** Something that `source` has answered by mail. */
  nextAnswered(source: string): Repair | undefined {
    return toRepair(this.#connection.read(() => this.#answered.get(source)));
  }

  /** Stores a row that is there as it is now. */
  save(row: Repair): void {
    const { what, why, hash, days, wantedAt, source, attempts, nextAt, askedAt, answer } = row;
    const lists = [row.neighbours, row.sites].map((list) => JSON.stringify(list));
    const name = hash === undefined ? null : Buffer.from(hash, "hex");
    const refused = JSON.stringify(row.refused);
    const said = answer === undefined ? "" : JSON.stringify(answer);
    this.#connection.write(() =>
      this.#save.run(
        ...[what, why, name, days, ...lists, wantedAt, source, attempts, nextAt, askedAt],
        ...[refused, said],
      ),
    );
  }

  /** Leaves the answer to a question for the door that asked it, and wakes it. */
  answered(what: string, answer: RepairAnswer): void {
    const row = this.get(what);
    if (row === undefined) return;
    this.save({ ...row, answer });
    this.#wake();
  }

  /** What waits for somebody who is not among `sources` waits for a decision again. */
  keepSources(sources: readonly string[]): void {
    const names = JSON.stringify(["", ...sources]);
    this.#connection.write(() => this.#unassign.run(names));
  }

  forget(what: string): void {
    const row = this.get(what);
    if (row === undefined) return;
    this.#connection.write(() => this.#forget.run(what));
    this.#counted(row, -1);
  }

  #counted(row: Repair, by: number): void {
    if (this.#count !== undefined) this.#count += by;
    const announcer = announcerOf(row);
    if (announcer === undefined || this.#lostOf === undefined) return;
    this.#lostOf.set(announcer, (this.#lostOf.get(announcer) ?? 0) + by);
  }

  #shares(): Map<string, number> {
    this.#lostOf ??= new Map(
      this.#connection
        .read(() => this.#announcers.all())
        .map(({ name, count }) => [name ?? "", count]),
    );
    return this.#lostOf;
  }

  /** How many rows there are. */
  count(): number {
    this.#count ??= this.counts().reduce((sum, { count }) => sum + count, 0);
    return this.#count;
  }

  /** How many rows wait for each source; "" for those that have none yet. */
  counts(): { readonly source: string; readonly count: number }[] {
    return this.#connection.read(() => this.#counts.all());
  }

  /** Gives `body` back to an entry that has lost it, and has `sites` sent the entry again. */
  again(seq: Seq, body: Uint8Array, sites: readonly string[], at: number): void {
    this.#connection.write(() => {
      const { changes } = this.#restore.run(seq, at, body);
      if (changes > 0) this.#retention.count(0, 1, body.length);
      for (const site of sites) this.#again.run(site, at, seq);
    });
    if (sites.length > 0) this.#wake();
  }
}

/** Who is answerable for a row: the neighbour that announced what nobody delivers. */
function announcerOf({ why, neighbours }: Pick<Missing, "why" | "neighbours">): string | undefined {
  return why === "lost" ? neighbours[0] : undefined;
}

function toRepair(row: RawRow | undefined): Repair | undefined {
  if (row === undefined) return undefined;
  const isKey = !row.what.startsWith("LAST ");
  return {
    ...row,
    fingerprint: isKey ? (row.what as Fingerprint) : undefined,
    hash: row.hash === null ? undefined : (row.hash.toString("hex") as UpdateHash),
    neighbours: JSON.parse(row.neighbours) as string[],
    sites: JSON.parse(row.sites) as string[],
    refused: JSON.parse(row.refused) as Record<string, string>,
    answer: row.answer === "" ? undefined : (JSON.parse(row.answer) as RepairAnswer),
  };
}
