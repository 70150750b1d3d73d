/**
 * Around the interop tests: a file for the ledger is made before them, and the table of who sent
 * what to whom printed behind them.
 * Needs: root, /usr/sbin/sks, /usr/bin/onak, /usr/sbin/postfix, gpg, sq,
 * /usr/share/keyrings/debian-keyring.gpg, libidn.so.12, libgnutls-dane.so.0, libnsl.so.2,
 * libevent-2.1.so.7.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installedVersion } from "./debian.js";
import { table } from "./ledger.js";

const NEIGHBOURS = ["sks", "onak", "postfix", "gnupg", "sq", "debian-keyring"] as const;

export function setup(): () => void {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-ledger-"));
  const file = join(directory, "rows.jsonl");
  process.env.INTEROP_LEDGER = file;
  return () => {
    if (existsSync(file)) {
      const versions = NEIGHBOURS.map((name) => `${name} ${installedVersion(name)}`);
      process.stdout.write(`\nWho sent what to whom (${versions.join(", ")}):\n\n${table(file)}\n`);
    }
    rmSync(directory, { recursive: true, force: true });
  };
}
