/**
 * Checks the database of `log.shared`, and the copy of it, as a gateway does at its start, with the
 * same refusals but for a `log.node` that is in use. It creates no tables, takes no lease and does
 * not load the copy.
 */

import { systemClock } from "../clock.js";
import { nodeName } from "../cluster/cluster.js";
import { PostgresStore } from "../cluster/postgres-store.js";
import type { Config } from "../config/config.js";
import { formatShared } from "../config/shared-database.js";
import { Trouble } from "../errors.js";
import { assertCopy } from "../log/connection.js";
import { assertFollows } from "../log/shared-history.js";
import { VERSION } from "../version.js";
import type { Finding } from "./finding.js";

/** The finding about the database; none if the log is not shared. */
export async function probeShared({ log, site }: Config): Promise<Finding[]> {
  if (log.shared === undefined) return [];
  const what = `shared database ${formatShared(log.shared)}`;
  const settings = { database: log.shared, site: site.address, node: nodeName(log) };
  let store: PostgresStore | undefined;
  try {
    // Before the database is asked: a gateway that runs takes the copy further meanwhile.
    const copy = assertCopy(log.path);
    const given = { ...settings, version: VERSION, mayCreate: false, isNode: false };
    store = await PostgresStore.open(given, systemClock);
    assertFollows(copy, log.path, store);
    return [{ ok: true, what, words: store.state().session?.server ?? "", remedy: "" }];
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    return [{ ok: false, what, words: error.message, remedy: error.remedy }];
  } finally {
    await store?.close();
  }
}
