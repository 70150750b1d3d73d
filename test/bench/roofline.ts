/**
 * The limit of the machine: what the primitives alone cost on the same updates, in one process.
 * No gateway that does its duty can be cheaper; every other figure is given as a share of this.
 */
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { encodePacket, readPackets } from "../../src/openpgp/packet.js";
import type { Update } from "../../src/update.js";
import { cpuTimer } from "../support/cpu.js";

/** CPU microseconds an update, and its parts. */
export interface Roofline {
  readonly totalUs: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly updates: number;
}

const CRC24_POLYNOMIAL = 0x1864cfb;
const TABLE = crcTable();
const BATCH = 100;

/** Measures on these updates; files go into `directory` and are removed. */
export function measureRoofline(updates: readonly Update[], directory: string): Roofline {
  const bodies = updates.map(({ body }) => Buffer.from(body));
  const texts = bodies.map((body) => body.toString("base64"));
  const parts: Record<string, number> = {};
  const measure = (name: string, work: () => void) => {
    const cpuMs = cpuTimer();
    work();
    parts[name] = (1000 * cpuMs()) / updates.length;
  };
  let sink = 0;
  measure("base64", () => {
    for (const text of texts) sink += Buffer.from(text, "base64").length;
  });
  measure("CRC-24", () => {
    for (const body of bodies) sink += crc24(body);
  });
  measure("MD5", () => {
    for (const body of bodies) sink += createHash("md5").update(body).digest().length;
  });
  measure("SHA-256", () => {
    for (const body of bodies) sink += createHash("sha256").update(body).digest().length;
  });
  measure("framing", () => {
    for (const body of bodies)
      for (const one of readPackets(body)) sink += encodePacket(one).length;
  });
  const file = join(directory, "roofline.db");
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.exec("CREATE TABLE log (seq INTEGER PRIMARY KEY, hash BLOB UNIQUE, body BLOB)");
  const insert = db.prepare("INSERT INTO log (hash, body) VALUES (?, ?)");
  const hashes = updates.map(({ hash }) => Buffer.from(hash, "hex"));
  measure("insert", () => {
    for (let from = 0; from < bodies.length; from += BATCH) {
      db.transaction(() => {
        for (let n = from; n < Math.min(from + BATCH, bodies.length); n++) {
          insert.run(hashes[n], bodies[n]);
        }
      })();
    }
  });
  const look = db.prepare("SELECT seq FROM log WHERE hash = ?").pluck();
  measure("lookup", () => {
    for (const hash of hashes) sink += Number(look.get(hash));
  });
  db.close();
  for (const end of ["", "-wal", "-shm"]) rmSync(`${file}${end}`, { force: true });
  if (sink === 0) throw new Error("nothing was done");
  const totalUs = Object.values(parts).reduce((sum, one) => sum + one, 0);
  return { totalUs, parts, updates: updates.length };
}

function crc24(data: Uint8Array): number {
  let crc = 0xb704ce;
  for (const octet of data)
    crc = ((crc << 8) ^ (TABLE[((crc >> 16) ^ octet) & 0xff] ?? 0)) & 0xffffff;
  return crc;
}

function crcTable(): Int32Array {
  return Int32Array.from({ length: 256 }, (_, octet) => {
    let crc = octet << 16;
    for (let bit = 0; bit < 8; bit++) {
      crc <<= 1;
      if ((crc & 0x1000000) !== 0) crc ^= CRC24_POLYNOMIAL;
    }
    return crc & 0xffffff;
  });
}
