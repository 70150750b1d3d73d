/**
 * Stores the progress of each site: one lane for each site, with its position in the log and the
 * state of its retries. A lane is saved after each part of a delivery, so that a crash repeats one
 * mail at most. The row has the site's address. The address identifies a neighbour that was renamed
 * in the configuration, and maps a claim in a trail to the site. `delivery/` defines deliveries and
 * retries, and passes the values to store.
 */
import type Database from "better-sqlite3";
import { addressKey } from "../mail-address.js";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

export interface LaneRow {
  /** Every entry up to this one is delivered or an exception; 0 before the first. */
  readonly cursor: Seq | 0;
  /** Number of mails of the next update that are already delivered. */
  readonly part: number;
  /** Number of failed attempts at the next mail. */
  readonly attempt: number;
  /** When to retry, milliseconds since 1970; 0 if no retry is pending. */
  readonly nextAt: number;
  /** The text of the last error. Empty if there was none. */
  readonly lastError: string;
  /** Milliseconds since 1970, 0 for never. */
  readonly lastErrorAt: number;
  /** Milliseconds since 1970, 0 for never. */
  readonly lastSuccessAt: number;
  /**
   * Number of consecutive updates that failed, and that were refused, without a success in between.
   */
  readonly failed: number;
  readonly refused: number;
  /**
   * When the first of these failed or was refused, milliseconds since 1970; 0 if there are none.
   */
  readonly badSince: number;
}

/** A lane of the log and its site. */
export interface LaneOwner {
  readonly site: string;
  /** The site's address in trails. Null if it has none, or if it is not known yet. */
  readonly address: string | null;
  readonly cursor: number;
  readonly lastSuccessAt: number;
}

/** The site that opens a lane. */
export interface Opener {
  readonly address?: string | undefined;
  /** Names of all configured sites. */
  readonly names?: readonly string[] | undefined;
  /** Called if the lane had another name. */
  readonly onRename?: (former: string) => void;
}

type LaneParameters = [
  ...[string, number, number, number, number, string, number, number],
  ...[number, number, number],
];

export class Lanes {
  readonly #connection: Connection;
  /** The updates that the lanes are delivering now. */
  readonly #trying = new Map<string, ReadonlySet<Seq>>();
  readonly #get: Database.Statement<[string], LaneRow>;
  readonly #save: Database.Statement<LaneParameters>;
  readonly #create: Database.Statement<[string]>;
  readonly #setAddress: Database.Statement<[string | null, string, string | null]>;
  readonly #owners: Database.Statement<[], LaneOwner>;
  readonly #addressed: Database.Statement<[], { site: string; address: string; failing: 0 | 1 }>;
  readonly #rename: readonly Database.Statement<[string, string]>[];
  readonly #formerly: Database.Statement<[string, string]>;
  readonly #nameNow: Database.Statement<[string], string>;
  readonly #renameOrigin: Database.Statement<[string, string, number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#get = db.prepare(`
      SELECT cursor, part, attempt, next_at AS nextAt, last_error AS lastError,
             last_error_at AS lastErrorAt, last_success_at AS lastSuccessAt,
             failed, refused, bad_since AS badSince
      FROM lanes WHERE site = ?`);
    this.#save = db.prepare(`
      INSERT INTO lanes (site, cursor, part, attempt, next_at, last_error, last_error_at,
                         last_success_at, failed, refused, bad_since)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (site) DO UPDATE SET
        cursor = excluded.cursor, part = excluded.part, attempt = excluded.attempt,
        next_at = excluded.next_at, last_error = excluded.last_error,
        last_error_at = excluded.last_error_at, last_success_at = excluded.last_success_at,
        failed = excluded.failed, refused = excluded.refused, bad_since = excluded.bad_since`);
    this.#create = db.prepare(`
      INSERT OR IGNORE INTO lanes (site, cursor, part, attempt, next_at, last_error, last_error_at,
                                   last_success_at)
      SELECT ?, coalesce(max(seq), 0), 0, 0, 0, '', 0, 0 FROM updates`);
    this.#setAddress = db.prepare(
      "UPDATE lanes SET address = ? WHERE site = ? AND address IS NOT ?",
    );
    this.#owners = db.prepare(`
      SELECT site, address, cursor, last_success_at AS lastSuccessAt FROM lanes
      ORDER BY last_success_at DESC, cursor DESC`);
    this.#addressed = db.prepare(`
      SELECT site, address, attempt > 0 AS failing
      FROM lanes WHERE address IS NOT NULL`);
    this.#rename = [
      "UPDATE lanes SET site = ? WHERE site = ?",
      "UPDATE OR REPLACE exceptions SET site = ? WHERE site = ?",
      "UPDATE OR REPLACE offers SET site = ? WHERE site = ?",
      "UPDATE OR REPLACE bounces SET site = ? WHERE site = ?",
      "UPDATE OR REPLACE sendings SET neighbour = ? WHERE neighbour = ?",
      "UPDATE former_names SET site = ? WHERE site = ?",
    ].map((sql) => db.prepare<[string, string]>(sql));
    this.#formerly = db.prepare("INSERT OR REPLACE INTO former_names (name, site) VALUES (?, ?)");
    this.#nameNow = db.prepare<[string], string>("SELECT site FROM former_names WHERE name = ?");
    this.#nameNow.pluck();
    this.#renameOrigin = db.prepare(
      "UPDATE updates SET neighbour = ? WHERE neighbour = ? AND seq > ?",
    );
  }

  get(site: string): LaneRow | undefined {
    return this.#connection.read(() => this.#get.get(site));
  }

  /**
   * Returns the stored lane. Otherwise, if a lane has the same address and its name is no longer
   * configured, that lane is renamed with all its exceptions. Otherwise a new lane is created at
   * the newest entry: a new site gets updates from now on.
   */
  open(site: string, { address, names = [], onRename }: Opener = {}): LaneRow {
    let former: LaneOwner | undefined;
    const row =
      this.get(site) ??
      this.#connection.write(() => {
        // Another gateway of the site may have opened it meanwhile.
        const stored = this.#get.get(site);
        former = stored === undefined ? this.#former(address, names) : undefined;
        if (stored !== undefined) return stored;
        if (former === undefined) this.#create.run(site);
        else {
          for (const statement of this.#rename) statement.run(site, former.site);
          this.#renameOrigin.run(site, former.site, former.cursor);
          this.#formerly.run(former.site.toLowerCase(), site);
        }
        return this.#get.get(site);
      });
    if (row === undefined) throw new Error("a lane that was just created is missing");
    if (former !== undefined) onRename?.(former.site);
    if (address !== undefined) {
      const isOther = this.#addresses().get(site) !== address;
      if (isOther) this.#connection.write(() => this.#setAddress.run(address, site, address));
    }
    return row;
  }

  /**
   * Notes that a new site gets updates from the newest entry on: another gateway may open its lane
   * later. Nothing happens when the lane is stored, maybe under a former name.
   */
  begin(site: string, { address, names = [] }: Omit<Opener, "onRename">): void {
    if (this.get(site) !== undefined || this.#former(address, names) !== undefined) return;
    this.#connection.write(() => {
      this.#create.run(site);
      this.#setAddress.run(address ?? null, site, address ?? null);
    });
  }

  /** Returns the lane of a site with that address under a name that is not configured. */
  #former(address: string | undefined, names: readonly string[]): LaneOwner | undefined {
    if (address === undefined || names.length === 0) return undefined;
    const key = addressKey(address);
    return this.unowned(names).find((lane) => lane.address && addressKey(lane.address) === key);
  }

  /**
   * Returns the current name of a renamed site; `former` is case-insensitive. Its mails may still
   * bounce.
   */
  nameNow(former: string): string | undefined {
    return this.#connection.read(() => this.#nameNow.get(former.toLowerCase()));
  }

  /** Returns the lanes of sites not in `names`, the configured names. */
  unowned(names: readonly string[]): LaneOwner[] {
    const owned = new Set(names);
    return this.#connection.read(() => this.#owners.all()).filter(({ site }) => !owned.has(site));
  }

  #addresses(): Map<string, string> {
    const rows = this.#connection.read(() => this.#addressed.all());
    return new Map(rows.map(({ site, address }) => [site, address]));
  }

  /** The sites that have a lane and an address, and whether their lanes are currently failing. */
  addressed(): { readonly site: string; readonly address: string; readonly isFailing: boolean }[] {
    const rows = this.#connection.read(() => this.#addressed.all());
    return rows.map(({ failing, ...row }) => ({ ...row, isFailing: failing === 1 }));
  }

  /** Sets the updates that a lane is delivering. If omitted, there are none. */
  tries(site: string, seqs: readonly Seq[] = []): void {
    if (seqs.length === 0) this.#trying.delete(site);
    else this.#trying.set(site, new Set(seqs));
  }

  /** Whether the lane of a site is delivering an update now. */
  isTrying(site: string, seq: Seq): boolean {
    return this.#trying.get(site)?.has(seq) === true;
  }

  /**
   * Runs `work` once in one transaction, so that all lanes that are saved in it cost one fsync.
   * Throws `Trouble`; nothing was stored then, also if `work` has caught the failure of one lane.
   */
  together(work: () => void): void {
    this.#connection.write(work, { once: true });
  }

  /** Stores the lane. The writes of `also` are committed in the same transaction. */
  save(site: string, lane: LaneRow, also?: () => void): void {
    const { cursor, part, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = lane;
    const { failed, refused, badSince } = lane;
    this.#connection.write(() => {
      also?.();
      this.#save.run(
        ...([site, cursor, part, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt] as const),
        ...([failed, refused, badSince] as const),
      );
    });
  }
}
