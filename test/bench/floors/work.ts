/**
 * The work that no gateway can leave out, written as directly as Node allows: decode the base64 of
 * an armored block, compare its CRC-24, name the octets by MD5 and SHA-256, store them in one table
 * with one index, and commit a group with one fsync. Left out: packets, fingerprints, trails,
 * policy, every form of armor but the one that the bench sends, errors, limits, and log lines.
 */
import { createHash } from "node:crypto";
import Database from "better-sqlite3";

const HEAD_END = Buffer.from("\r\n\r\n");
const CHECKSUM = Buffer.from("\r\n=");
const TABLE = Int32Array.from({ length: 256 }, (_, octet) => {
  let crc = octet << 16;
  for (let bit = 0; bit < 8; bit++) {
    crc <<= 1;
    if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb;
  }
  return crc & 0xffffff;
});

export interface Named {
  readonly hash: Buffer;
  readonly digest: Buffer;
  readonly body: Buffer;
}

/** The one armored block that ends `text`, with CRLF; throws when its checksum is another. */
export function decode(text: Buffer): Named {
  const armor = text.indexOf("-----BEGIN");
  const from = text.indexOf(HEAD_END, armor) + HEAD_END.length;
  const end = text.lastIndexOf(CHECKSUM);
  if (armor < 0 || from < HEAD_END.length || end < from) throw new Error("no armored block");
  const body = Buffer.from(text.toString("latin1", from, end), "base64");
  const sum = Buffer.from(text.toString("latin1", end + 3, end + 7), "base64");
  if (crc24(body) !== sum.readUIntBE(0, 3)) throw new Error("another checksum");
  const hash = createHash("md5").update(body).digest();
  return { hash, digest: createHash("sha256").update(body).digest(), body };
}

function crc24(data: Uint8Array): number {
  let crc = 0xb704ce;
  for (let at = 0; at < data.length; at++) {
    crc = ((crc << 8) ^ (TABLE[((crc >> 16) ^ (data[at] ?? 0)) & 0xff] ?? 0)) & 0xffffff;
  }
  return crc;
}

/** One table, durable at each commit. */
export class FloorStore {
  readonly #db: Database.Database;
  readonly #insert: Database.Statement<[Buffer, Buffer, Buffer]>;
  readonly #look: Database.Statement<[Buffer], number>;

  constructor(file: string) {
    this.#db = new Database(file);
    this.#db.pragma("journal_mode = WAL");
    this.#db.pragma("synchronous = FULL");
    this.#db.exec(`CREATE TABLE IF NOT EXISTS log
      (seq INTEGER PRIMARY KEY, hash BLOB UNIQUE, digest BLOB, body BLOB)`);
    this.#insert = this.#db.prepare("INSERT INTO log (hash, digest, body) VALUES (?, ?, ?)");
    this.#look = this.#db.prepare<[Buffer], number>("SELECT seq FROM log WHERE hash = ?").pluck();
  }

  /** Stores them in one transaction with one fsync. */
  add(group: readonly Named[]): void {
    this.#db.exec("BEGIN IMMEDIATE");
    for (const { hash, digest, body } of group) this.#insert.run(hash, digest, body);
    this.#db.exec("COMMIT");
  }

  has(hash: Buffer): boolean {
    return this.#look.get(hash) !== undefined;
  }

  close(): void {
    this.#db.close();
  }
}

/** What a floor's file holds, read beside it: the check that the floor did its work. */
export function storedIn(file: string): { readonly rows: number; readonly octets: number } {
  const db = new Database(file, { readonly: true });
  const row = db.prepare("SELECT count(*) AS rows, total(length(body)) AS octets FROM log").get();
  db.close();
  return row as { rows: number; octets: number };
}
