/**
 * A gateway whose log may grow to KXTORTURE_PAGES pages only, as on a full disk, until SIGUSR2
 * gives it room: for machines on which the torture run may not mount a small file system.
 */
import Database from "better-sqlite3";

const pages = Number(process.env.KXTORTURE_PAGES ?? 100);
delete process.env.KXTORTURE_PAGES;

const pragma = Database.prototype.pragma;
Database.prototype.pragma = function small(source: string, options?: Database.PragmaOptions) {
  if (source === "synchronous = FULL") {
    pragma.call(this, `max_page_count = ${pages}`);
    process.on("SIGUSR2", () => void pragma.call(this, "max_page_count = 1000000"));
  }
  return pragma.call(this, source, options);
};

await import("../../../src/main.js");
