/**
 * A gateway on an SQLite that does not do what it is told; KXTORTURE_LIE says which lie. `normal`
 * runs with synchronous=NORMAL and reports FULL, so that the gateway starts; the others report what
 * they are, and the gateway must refuse to start on them.
 */
import Database from "better-sqlite3";

const lie = process.env.KXTORTURE_LIE ?? "";
delete process.env.KXTORTURE_LIE;

const pragma = Database.prototype.pragma;
Database.prototype.pragma = function lying(source: string, options?: Database.PragmaOptions) {
  if (lie === "normal" && source === "synchronous = FULL") {
    return pragma.call(this, "synchronous = NORMAL");
  }
  if (lie === "normal" && source === "synchronous") return 2;
  if (lie === "half-synchronous" && source === "synchronous") return 1;
  if (lie === "no-wal" && source === "journal_mode") return "delete";
  return pragma.call(this, source, options);
};

const prepare = Database.prototype.prepare;
Database.prototype.prepare = function lying(this: Database.Database, source: string) {
  const wanted = lie === "old" && source.includes("sqlite_version()");
  return prepare.call(this, wanted ? "SELECT '3.51.2'" : source);
} as typeof prepare;

await import("../../../src/main.js");
