/**
 * Stores the state of the servers that are followed by recon: the marks of the nodes of their
 * trees, the MD5s of their keys, and which of these keys are to be fetched. MD5s are stored in
 * buckets by their first 16 bits, which takes about 20 octets for each of 7 million keys; a row for
 * each MD5 would take 33. Changes are applied in the order in which a session returns them, many in
 * one transaction. This file depends on neither the protocol nor a clock.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";

/** A change of the tree, as in `recon/session.ts`. Prefixes are digits 0 and 1. */
export type ReconChange =
  | { readonly kind: "list"; readonly prefix: string; readonly md5s: readonly Uint8Array[] }
  | { readonly kind: "changed"; readonly prefix: string }
  | { readonly kind: "known"; readonly prefix: string; readonly mark: Buffer };

/**
 * How new MD5s are treated: only recorded, fetched last, or fetched soon. Until all of a tree was
 * known once, this applies to MD5s of nodes that were not listed before. An MD5 that is new in a
 * node that was listed is a change, and is fetched soon.
 */
export type Fresh = "note" | "later" | "fetch";

/** The effect of a batch of changes. */
export interface ReconDifference {
  /** Number of new MD5s. */
  readonly fresh: number;
  /** Number of MD5s that the server no longer has. */
  readonly gone: number;
}

/** The row of a server. */
export interface ReconServer {
  readonly id: number;
  /** Whether the complete tree was known at some time. MD5s that arrive after that are new keys. */
  readonly isCrawled: boolean;
}

export interface ReconCounts {
  readonly known: number;
  /**
   * Of these, the number of keys to be fetched: now (`wanted`), or when nothing else is due
   * (`later`).
   */
  readonly wanted: number;
  readonly later: number;
}

/** A key to be fetched, and the number of attempts so far. */
export interface WantedKey {
  readonly md5: Buffer;
  readonly attempts: number;
}

const MD5_OCTETS = 16;
const BUCKET_BITS = 16;
const BUCKETS = 2 ** BUCKET_BITS;
/** Maximum number of servers. Small server numbers keep the id of a bucket exact. */
const MAX_SERVERS = 1000;

export class ReconStore {
  readonly #connection: Connection;
  readonly #known: Md5Set;
  readonly #later: Md5Set;
  readonly #server: Database.Statement<[string], ServerRow>;
  readonly #servers: Database.Statement<[], { id: number; name: string }>;
  readonly #addServer: Database.Statement<[number, string]>;
  readonly #setShape: Database.Statement<[string, number]>;
  readonly #setCrawled: Database.Statement<[number]>;
  readonly #mark: Database.Statement<[number, string], Buffer>;
  readonly #wasKnown: Database.Statement<[number, string], number>;
  readonly #setMark: Database.Statement<[number, string, Buffer]>;
  readonly #voidMark: Database.Statement<[number, string]>;
  readonly #dropBelow: Database.Statement<[number, string, string]>;
  readonly #dropMarks: Database.Statement<[number]>;
  readonly #want: Database.Statement<[number, Buffer, number]>;
  readonly #unwant: Database.Statement<[number, Buffer]>;
  readonly #dropWanted: Database.Statement<[number]>;
  readonly #putOff: Database.Statement<[number, number, number, Buffer]>;
  readonly #due: Database.Statement<[number, number, number], WantedKey>;
  readonly #nextAt: Database.Statement<[number], number | null>;
  readonly #countWanted: Database.Statement<[number], number>;
  readonly #dropServer: Database.Statement<[number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#known = new Md5Set(db, "recon_known");
    this.#later = new Md5Set(db, "recon_later");
    this.#server = db.prepare("SELECT id, shape, crawled FROM recon_servers WHERE name = ?");
    this.#servers = db.prepare("SELECT id, name FROM recon_servers ORDER BY id");
    this.#addServer = db.prepare(
      "INSERT INTO recon_servers (id, name, shape, crawled) VALUES (?, ?, '', 0)",
    );
    this.#setShape = db.prepare("UPDATE recon_servers SET shape = ? WHERE id = ?");
    this.#setCrawled = db.prepare("UPDATE recon_servers SET crawled = 1 WHERE id = ?");
    this.#mark = db
      .prepare<[number, string], Buffer>(
        `SELECT mark FROM recon_nodes
         WHERE server = ? AND prefix = ? AND mark <> zeroblob(16)`,
      )
      .pluck();
    this.#wasKnown = db
      .prepare<[number, string], number>(
        "SELECT 1 FROM recon_nodes WHERE server = ? AND prefix = ?",
      )
      .pluck();
    this.#setMark = db.prepare("INSERT OR REPLACE INTO recon_nodes VALUES (?, ?, ?)");
    // The row stays, because it says that all of the node was known once.
    this.#voidMark = db.prepare(
      "UPDATE recon_nodes SET mark = zeroblob(16) WHERE server = ? AND prefix = ?",
    );
    this.#dropBelow = db.prepare(
      "DELETE FROM recon_nodes WHERE server = ? AND prefix >= ? AND prefix < ?",
    );
    this.#dropMarks = db.prepare("DELETE FROM recon_nodes WHERE server = ?");
    this.#want = db.prepare(`
      INSERT INTO recon_wanted (server, md5, attempts, next_at) VALUES (?, ?, 0, ?)
      ON CONFLICT (server, md5) DO NOTHING`);
    this.#unwant = db.prepare("DELETE FROM recon_wanted WHERE server = ? AND md5 = ?");
    this.#dropWanted = db.prepare("DELETE FROM recon_wanted WHERE server = ?");
    this.#putOff = db.prepare(`
      UPDATE recon_wanted SET attempts = attempts + ?, next_at = ? WHERE server = ? AND md5 = ?`);
    this.#due = db.prepare(`
      SELECT md5, attempts FROM recon_wanted
      WHERE server = ? AND next_at <= ? ORDER BY next_at LIMIT ?`);
    this.#nextAt = db
      .prepare<[number], number | null>("SELECT min(next_at) FROM recon_wanted WHERE server = ?")
      .pluck();
    this.#countWanted = db
      .prepare<[number], number>("SELECT count(*) FROM recon_wanted WHERE server = ?")
      .pluck();
    this.#dropServer = db.prepare("DELETE FROM recon_servers WHERE id = ?");
  }

  /** Returns the server of this name. Adds it if it does not exist. */
  server(name: string): ReconServer {
    const found = this.#connection.read(() => this.#server.get(name));
    if (found !== undefined) return { id: found.id, isCrawled: found.crawled === 1 };
    return this.#connection.write(() => {
      const used = new Set(this.#servers.all().map(({ id }) => id));
      let id = 1;
      while (used.has(id)) id += 1;
      if (id > MAX_SERVERS) throw new Error(`more than ${MAX_SERVERS} servers are followed`);
      this.#addServer.run(id, name);
      return { id, isCrawled: false };
    });
  }

  /** Deletes the data of servers with other names. */
  keepServers(names: readonly string[]): void {
    const others = this.#connection
      .read(() => this.#servers.all())
      .filter(({ name }) => !names.includes(name));
    for (const { id } of others) {
      this.#connection.write(() => {
        this.#dropMarks.run(id);
        this.#dropWanted.run(id);
        this.#known.clear(id);
        this.#later.clear(id);
        this.#dropServer.run(id);
      });
    }
  }

  /**
   * Sets the shape of a server's tree, as text. Marks of another shape are useless and are deleted.
   */
  setShape(name: string, shape: string): void {
    const row = this.#connection.read(() => this.#server.get(name));
    if (row === undefined || row.shape === shape) return;
    this.#connection.write(() => {
      this.#dropMarks.run(row.id);
      this.#setShape.run(shape, row.id);
    });
  }

  /** Records that the complete tree of the server is known. */
  setCrawled(server: number): void {
    this.#connection.write(() => this.#setCrawled.run(server));
  }

  /** The mark that identifies the stored set of a node; undefined if it is unknown or changed. */
  mark(server: number, prefix: string): Buffer | undefined {
    return this.#connection.read(() => this.#mark.get(server, prefix));
  }

  /** Stores changes in their order. `fresh` determines how new MD5s are treated. */
  apply(
    server: number,
    changes: readonly ReconChange[],
    fresh: Fresh,
    now: number,
  ): ReconDifference {
    return this.#connection.write(() => {
      const sum = { fresh: 0, gone: 0 };
      for (const change of changes) {
        if (change.kind === "changed") this.#voidMark.run(server, change.prefix);
        else if (change.kind === "known") this.#setMark.run(server, change.prefix, change.mark);
        else {
          const { added, removed } = this.#list(server, change, fresh, now);
          sum.fresh += added;
          sum.gone += removed;
        }
      }
      return sum;
    });
  }

  #list(
    server: number,
    { prefix, md5s }: { readonly prefix: string; readonly md5s: readonly Uint8Array[] },
    fresh: Fresh,
    now: number,
  ): { added: number; removed: number } {
    const { added, removed, kept } = this.#known.replace(server, prefix, md5s);
    const wasListed = removed.length + kept > 0 || this.#isBelowKnown(server, prefix);
    // Stored marks below this node describe an outdated set.
    this.#dropBelow.run(server, prefix, `${prefix}2`);
    for (const md5 of removed) this.#unwant.run(server, md5);
    this.#later.remove(server, removed);
    const treated = wasListed ? "fetch" : fresh;
    if (treated === "later") this.#later.add(server, added);
    if (treated === "fetch") for (const md5 of added) this.#want.run(server, md5, now);
    return { added: added.length, removed: removed.length };
  }

  /** Whether a node, or one above it, was whole in a session before. */
  #isBelowKnown(server: number, prefix: string): boolean {
    for (let length = prefix.length; length >= 0; length--) {
      if (this.#wasKnown.get(server, prefix.slice(0, length)) !== undefined) return true;
    }
    return false;
  }

  /** Returns the keys that are due at `now`, longest waiting first. */
  due(server: number, now: number, most: number): WantedKey[] {
    return this.#connection.read(() => this.#due.all(server, now, most));
  }

  /** Returns keys to be fetched when no others are. */
  later(server: number, most: number): WantedKey[] {
    return this.#connection.read(() =>
      this.#later.first(server, most).map((md5) => ({ md5, attempts: 0 })),
    );
  }

  /** When the next key is due. Undefined if there is none. */
  nextAt(server: number): number | undefined {
    return this.#connection.read(() => this.#nextAt.get(server)) ?? undefined;
  }

  /** Removes keys from those to be fetched. */
  settle(server: number, md5s: readonly Buffer[]): void {
    if (md5s.length === 0) return;
    this.#connection.write(() => {
      for (const md5 of md5s) this.#unwant.run(server, md5);
      this.#later.remove(server, md5s);
    });
  }

  /** Schedules keys to be fetched at `nextAt`. `attempts` is added to the attempts made. */
  putOff(server: number, md5s: readonly Buffer[], nextAt: number, attempts: number): void {
    if (md5s.length === 0) return;
    this.#connection.write(() => {
      this.#later.remove(server, md5s);
      for (const md5 of md5s) {
        this.#want.run(server, md5, nextAt);
        this.#putOff.run(attempts, nextAt, server, md5);
      }
    });
  }

  /** Counts the keys. Reads all buckets of the server, which takes a second for 7 million keys. */
  counts(server: number): ReconCounts {
    return this.#connection.read(() => ({
      known: this.#known.count(server),
      wanted: this.#countWanted.get(server) ?? 0,
      later: this.#later.count(server),
    }));
  }

  /** Number of keys to be fetched, without those of `later`. */
  waiting(server: number): number {
    return this.#connection.read(() => this.#countWanted.get(server) ?? 0);
  }

  /** Yields all known MD5s of a server, for tests and repairs. */
  *known(server: number): Generator<Buffer> {
    yield* this.#known.all(server);
  }
}

interface ServerRow {
  readonly id: number;
  readonly shape: string;
  readonly crawled: number;
}

interface Bucket {
  readonly id: number;
  readonly md5s: Buffer;
}

/** A set of MD5s for each server, in buckets. */
class Md5Set {
  readonly #range: Database.Statement<[number, number], Bucket>;
  readonly #one: Database.Statement<[number], Buffer>;
  readonly #put: Database.Statement<[number, Buffer]>;
  readonly #drop: Database.Statement<[number]>;
  readonly #dropAll: Database.Statement<[number, number]>;
  readonly #octets: Database.Statement<[number, number], number | null>;
  readonly #first: Database.Statement<[number, number], Bucket>;

  constructor(db: Database.Database, table: string) {
    this.#range = db.prepare(`SELECT id, md5s FROM ${table} WHERE id BETWEEN ? AND ?`);
    this.#one = db.prepare<[number], Buffer>(`SELECT md5s FROM ${table} WHERE id = ?`).pluck();
    this.#put = db.prepare(`INSERT OR REPLACE INTO ${table} (id, md5s) VALUES (?, ?)`);
    this.#drop = db.prepare(`DELETE FROM ${table} WHERE id = ?`);
    this.#dropAll = db.prepare(`DELETE FROM ${table} WHERE id BETWEEN ? AND ?`);
    this.#octets = db
      .prepare<[number, number], number | null>(
        `SELECT sum(length(md5s)) FROM ${table} WHERE id BETWEEN ? AND ?`,
      )
      .pluck();
    this.#first = db.prepare(
      `SELECT id, md5s FROM ${table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1`,
    );
  }

  /** Replaces the set under the prefix. Returns the added and removed MD5s, and how many stay. */
  replace(
    server: number,
    prefix: string,
    md5s: readonly Uint8Array[],
  ): { added: Buffer[]; removed: Buffer[]; kept: number } {
    const head = prefix.slice(0, BUCKET_BITS);
    const low = server * BUCKETS + Number.parseInt(head.padEnd(BUCKET_BITS, "0"), 2);
    const high = server * BUCKETS + Number.parseInt(head.padEnd(BUCKET_BITS, "1"), 2);
    const before = new Map<string, Buffer>();
    /** The MD5s of a bucket larger than the prefix that are outside the prefix. */
    const beside: Buffer[] = [];
    const ids = new Set<number>();
    for (const { id, md5s: stored } of this.#range.iterate(low, high)) {
      ids.add(id);
      for (const md5 of split(stored)) {
        if (isUnder(prefix, md5)) before.set(md5.toString("latin1"), md5);
        else beside.push(md5);
      }
    }
    const added: Buffer[] = [];
    const buckets = new Map<number, Buffer[]>();
    if (beside.length > 0) buckets.set(low, beside);
    for (const one of md5s) {
      const md5 = Buffer.from(one);
      const id = bucketOf(server, md5);
      const bucket = buckets.get(id);
      if (bucket === undefined) buckets.set(id, [md5]);
      else bucket.push(md5);
      if (!before.delete(md5.toString("latin1"))) added.push(md5);
    }
    const removed = [...before.values()];
    if (added.length + removed.length > 0) {
      const changed = new Set([...added, ...removed].map((md5) => bucketOf(server, md5)));
      for (const id of new Set([...ids, ...buckets.keys()])) {
        if (changed.has(id)) this.#write(id, buckets.get(id) ?? []);
      }
    }
    return { added, removed, kept: md5s.length - added.length };
  }

  add(server: number, md5s: readonly Buffer[]): void {
    for (const [id, more] of grouped(server, md5s)) {
      const stored = split(this.#one.get(id) ?? Buffer.alloc(0));
      const there = new Set(stored.map((md5) => md5.toString("latin1")));
      this.#write(id, [...stored, ...more.filter((md5) => !there.has(md5.toString("latin1")))]);
    }
  }

  remove(server: number, md5s: readonly Buffer[]): void {
    for (const [id, some] of grouped(server, md5s)) {
      const stored = this.#one.get(id);
      if (stored === undefined) continue;
      const going = new Set(some.map((md5) => md5.toString("latin1")));
      const rest = split(stored).filter((md5) => !going.has(md5.toString("latin1")));
      this.#write(id, rest);
    }
  }

  /** Returns up to `most` of them. */
  first(server: number, most: number): Buffer[] {
    const found: Buffer[] = [];
    let id = server * BUCKETS;
    while (found.length < most) {
      const bucket = this.#first.get(id, server * BUCKETS + BUCKETS - 1);
      if (bucket === undefined) break;
      found.push(...split(bucket.md5s));
      id = bucket.id + 1;
    }
    return found.slice(0, most);
  }

  *all(server: number): Generator<Buffer> {
    for (const { md5s } of this.#range.iterate(server * BUCKETS, (server + 1) * BUCKETS - 1)) {
      yield* split(md5s);
    }
  }

  count(server: number): number {
    const octets = this.#octets.get(server * BUCKETS, (server + 1) * BUCKETS - 1) ?? 0;
    return octets / MD5_OCTETS;
  }

  clear(server: number): void {
    this.#dropAll.run(server * BUCKETS, (server + 1) * BUCKETS - 1);
  }

  #write(id: number, md5s: readonly Buffer[]): void {
    if (md5s.length === 0) this.#drop.run(id);
    else this.#put.run(id, Buffer.concat(md5s));
  }
}

function grouped(server: number, md5s: readonly Buffer[]): Map<number, Buffer[]> {
  const groups = new Map<number, Buffer[]>();
  for (const md5 of md5s) {
    const id = bucketOf(server, md5);
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [md5]);
    else group.push(md5);
  }
  return groups;
}

function bucketOf(server: number, md5: Buffer): number {
  return server * BUCKETS + md5.readUInt16BE(0);
}

function split(md5s: Buffer): Buffer[] {
  return Array.from({ length: md5s.length / MD5_OCTETS }, (_, index) =>
    md5s.subarray(index * MD5_OCTETS, (index + 1) * MD5_OCTETS),
  );
}

/** Whether the MD5 begins with these bits. */
function isUnder(prefix: string, md5: Buffer): boolean {
  for (let bit = 0; bit < prefix.length; bit++) {
    const digit = ((md5[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1;
    if (prefix.charCodeAt(bit) - 48 !== digit) return false;
  }
  return true;
}
