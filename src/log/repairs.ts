/**
 * Lost updates that are to be fetched again: one row per key, and one row per neighbour that is
 * asked for all its recent changes. `want` adds a row. The repair door asks the neighbours;
 * `answered` stores an answer that comes by mail. Rows outlive a restart. A row is deleted when the
 * key was received or no neighbour is left to ask.
 *
 * Limit: at most `MOST_REPAIRS` rows. Rows for updates that one neighbour announced and nobody
 * delivers, and for keys that it says to have, may use at most half of the space that the other
 * rows leave, so that a neighbour that names what it does not have leaves space for others. The
 * caller of `want` reports a row that was not added.
 */
import type Database from "better-sqlite3";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";
import type { Gathering } from "./gathering.js";

/** At one request per second a keyserver answers these in three hours. */
export const MOST_REPAIRS = 10_000;

const FULL = `${MOST_REPAIRS} repairs wait already`;

/** The problem that is reported when the limit is reached. */
export const TOO_MANY_REPAIRS = `${FULL}, or this neighbour has used its share`;

/**
 * Why a key is fetched again. `lost`: no peer that announced the update delivers it. `expired`: its
 * body expired before a site accepted it. `gap`: a peer no longer lists numbers that were not read.
 * `backfill`: the operator ordered it. `reconcile`: the peer says that it has other packets of the
 * key; only its keyserver is asked.
 */
export type RepairReason = "lost" | "expired" | "gap" | "backfill" | "reconcile";

/** A key to fetch, or the recent changes of a neighbour. */
export interface Missing {
  /** The key; undefined for all changes of the last `days` days at the only neighbour. */
  readonly fingerprint: Fingerprint | undefined;
  /** 0 for the time that hashes are kept. */
  readonly days?: number;
  readonly why: RepairReason;
  /** The lost update, if there is one. */
  readonly hash?: UpdateHash | undefined;
  /** Neighbours that should have the key, the most likely first. */
  readonly neighbours: readonly string[];
  /** The site that still needs the update. */
  readonly site?: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** The answer of a keyserver. */
export interface RepairAnswer {
  /**
   * `taken`: the keys are in the log. `absent`: it does not have the key. `refused`: policy does
   * not carry the key. `failed`: no answer, or another one.
   */
  readonly kind: "taken" | "absent" | "refused" | "failed";
  readonly words: string;
  /** Number of new keys, and of known ones. */
  readonly appended: number;
  readonly known: number;
}

/** One row: what is missing, where it can be fetched, and the state of the fetch. */
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
  /** The neighbour that is asked next or was asked by mail; empty if none is chosen yet. */
  readonly source: string;
  /** Failed attempts with this source. */
  readonly attempts: number;
  /** Time of the next attempt, milliseconds since 1970. */
  readonly nextAt: number;
  /** When it was asked by mail, milliseconds since 1970; 0 for never. */
  readonly askedAt: number;
  /** The sources that did not deliver it, each with its answer. */
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

/** Name of the row for the recent changes of a neighbour. */
export function lastOf(neighbour: string): string {
  return `LAST ${neighbour}`;
}

export interface RepairsComponents {
  readonly connection: Connection;
  readonly gathering: Pick<Gathering, "count">;
  /** Called when a row or an answer was added. */
  readonly wake: () => void;
}

export class Repairs {
  readonly #connection: Connection;
  readonly #gathering: RepairsComponents["gathering"];
  readonly #wake: () => void;
  /** Number of rows; a cache, since the log has one writer. */
  #count: number | undefined;
  /** Number of rows in the share of each neighbour. */
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

  constructor({ connection, gathering, wake }: RepairsComponents) {
    const { db } = connection;
    this.#connection = connection;
    this.#gathering = gathering;
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
      FROM repairs WHERE why IN ('lost', 'reconcile') GROUP BY name`);
    this.#restore = db.prepare(`
      INSERT OR IGNORE INTO bodies (seq, received_at, body) VALUES (?, ?, ?)`);
    this.#again = db.prepare(`
      INSERT INTO exceptions (site, seq, fingerprint, state, reason, code, text, tries, at, next_at)
      SELECT ?, seq, fingerprint, 'waiting', 'expired', 0, '', 0, ?, 0 FROM updates WHERE seq = ?
      ON CONFLICT (site, seq) DO UPDATE SET state = 'waiting', next_at = 0`);
  }

  /**
   * Adds a row and wakes the doors. If there is a row already, its neighbours and sites are
   * extended. Returns false if there is no space. Throws `Trouble`.
   */
  want(missing: Missing): boolean {
    const isAdded = this.#connection.write(() => this.#want(missing));
    if (isAdded) this.#wake();
    return isAdded;
  }

  #want(missing: Missing): boolean {
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
    // A lost update is sought at more keyservers than a difference.
    const isReplaced = known?.why === "reconcile" && why !== "reconcile";
    const isNew = known === undefined || why === "backfill" || isReplaced;
    const row: Repair = isNew
      ? { ...given, ...fresh, answer: undefined }
      : { ...known, neighbours, sites };
    if (isReplaced) this.#counted(known, -1);
    this.save(row);
    if (known === undefined || isReplaced) this.#counted(row, 1);
    return true;
  }

  /** Adds rows in one transaction; for each, whether there was space. Throws `Trouble`. */
  wantAll(missing: readonly Missing[]): boolean[] {
    const added = this.#connection.write(() => missing.map((one) => this.#want(one)));
    if (added.includes(true)) this.#wake();
    return added;
  }

  get(what: string): Repair | undefined {
    return toRepair(this.#connection.read(() => this.#get.get(what)));
  }

  /** The row with the earliest `nextAt` of a source, due or not; "" for rows without a source. */
  next(source: string): Repair | undefined {
    return toRepair(this.#connection.read(() => this.#next.get(source)));
  }

  /** A row for which `source` has answered by mail. */
  nextAnswered(source: string): Repair | undefined {
    return toRepair(this.#connection.read(() => this.#answered.get(source)));
  }

  /** Replaces a row. */
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

  /** Stores the answer to a question by mail, and wakes the doors. */
  answered(what: string, answer: RepairAnswer): void {
    const isKnown = this.#connection.write(() => {
      const row = this.get(what);
      if (row !== undefined) this.save({ ...row, answer });
      return row !== undefined;
    });
    if (isKnown) this.#wake();
  }

  /** Clears the source of each row whose source is not among `sources`. */
  keepSources(sources: readonly string[]): void {
    const names = JSON.stringify(["", ...sources]);
    this.#connection.write(() => this.#unassign.run(names));
  }

  forget(what: string): void {
    this.#connection.write(() => {
      const row = this.get(what);
      if (row === undefined) return;
      this.#forget.run(what);
      this.#counted(row, -1);
    });
  }

  /** Counts the rows again at the next call: other gateways have changed some. */
  refresh(): void {
    this.#count = undefined;
    this.#lostOf = undefined;
  }

  #counted(row: Repair, by: number): void {
    this.#connection.onRollback(() => this.refresh());
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

  /** Number of rows. */
  count(): number {
    this.#count ??= this.counts().reduce((sum, { count }) => sum + count, 0);
    return this.#count;
  }

  /** Number of rows by source; "" for rows without a source. */
  counts(): { readonly source: string; readonly count: number }[] {
    return this.#connection.read(() => this.#counts.all());
  }

  /** Restores the body of an entry, and queues the entry for `sites` again. */
  again(seq: Seq, body: Uint8Array, sites: readonly string[], at: number): void {
    this.#connection.write(() => {
      const { changes } = this.#restore.run(seq, at, body);
      if (changes > 0) this.#gathering.count(0, 1, body.length);
      for (const site of sites) this.#again.run(site, at, seq);
    });
    if (sites.length > 0) this.#wake();
  }
}

/** The neighbour whose share a row counts in: the one that announced it, or says to have it. */
function announcerOf({ why, neighbours }: Pick<Missing, "why" | "neighbours">): string | undefined {
  return why === "lost" || why === "reconcile" ? neighbours[0] : undefined;
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
