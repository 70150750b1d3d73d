/**
 * Before the suite: the neighbours get installed and a file for the ledger made. After it: the
 * table of who sent what to whom is printed.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installNeighbours } from "./debian.js";
import { table } from "./ledger.js";

export function setup(): () => void {
  const versions = installNeighbours();
  const directory = mkdtempSync(join(tmpdir(), "kxgw-ledger-"));
  const file = join(directory, "rows.jsonl");
  process.env.INTEROP_LEDGER = file;
  return () => {
    process.stdout.write(`\nWho sent what to whom (${versions.join(", ")}):\n\n${table(file)}\n`);
    rmSync(directory, { recursive: true, force: true });
  };
}
