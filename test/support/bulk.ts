/**
 * What a log has beside the entries that a test or a bench has inserted by SQL: their keys and
 * dates. The totals are the caller's, who knows what it inserted.
 */
import type Database from "better-sqlite3";
import { HASHES_PER_RANGE, STRETCH_MS } from "../../src/log/schema.js";

export function indexEntries(db: Database.Database): void {
  db.exec(`
    INSERT INTO keys SELECT fingerprint, seq FROM updates ORDER BY fingerprint, seq;
    INSERT INTO hashes SELECT hash, seq FROM updates ORDER BY hash, seq;
    INSERT INTO dates SELECT seq, at FROM (
      SELECT seq, received_at AS at,
        lag(received_at / ${STRETCH_MS}) OVER (ORDER BY seq) IS NOT received_at / ${STRETCH_MS}
          AS begins
      FROM updates) WHERE begins;
    UPDATE totals SET upto = (SELECT max(seq) FROM updates),
      hashed = (SELECT max(seq) FROM updates) / ${HASHES_PER_RANGE};`);
}
