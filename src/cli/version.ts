/**
 * `kxgw version`: versions of gateway, Node, SQLite and OpenSSL for bug reports, the commit that
 * the gateway was built from, and the places where a config is searched.
 */
import { EXIT } from "../errors.js";
import { SCHEMA_VERSION } from "../log/schema.js";
import { UpdateLog } from "../log/update-log.js";
import { buildCommit, VERSION } from "../version.js";
import type { Output } from "./output.js";

/** Prints the versions; `places` are the paths where a config is searched. */
export function versionCommand(
  options: { readonly json: boolean; readonly places: readonly string[] },
  out: Output,
): number {
  const log = UpdateLog.open(":memory:");
  const sqlite = log.durability().sqliteVersion;
  log.close();
  const value = {
    kxgw: VERSION,
    commit: buildCommit() ?? "none",
    node: process.versions.node,
    log: `version ${SCHEMA_VERSION}`,
    sqlite,
    openssl: process.versions.openssl,
    platform: `${process.platform} ${process.arch}`,
    config: options.places.join(", "),
  };
  if (options.json) out.stdout(`${JSON.stringify(value)}\n`);
  else {
    for (const [name, text] of Object.entries(value)) out.stdout(`${name.padEnd(9)} ${text}\n`);
  }
  return EXIT.ok;
}
