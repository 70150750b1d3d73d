/**
 * Checks the database of `log.shared` as a gateway does at its start, with the same refusals. It
 * creates no tables and takes no lease.
 */

import { systemClock } from "../clock.js";
import { nodeName } from "../cluster/cluster.js";
import { PostgresStore } from "../cluster/postgres-store.js";
import type { Config } from "../config/config.js";
import { formatShared } from "../config/shared-database.js";
import { Trouble } from "../errors.js";
import { VERSION } from "../version.js";
import type { Finding } from "./finding.js";

/** The finding about the database; none if the log is not shared. */
export async function probeShared({ log, site }: Config): Promise<Finding[]> {
  if (log.shared === undefined) return [];
  const what = `shared database ${formatShared(log.shared)}`;
  const settings = { database: log.shared, site: site.address, node: nodeName(log) };
  try {
    const given = { ...settings, version: VERSION, mayCreate: false };
    const store = await PostgresStore.open(given, systemClock);
    const words = store.state().session?.server ?? "";
    await store.close();
    return [{ ok: true, what, words, remedy: "" }];
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    return [{ ok: false, what, words: error.message, remedy: error.remedy }];
  }
}
