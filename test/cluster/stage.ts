/** A shared store over a private PostgreSQL, run by the thread of the build. */
import { onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.js";
import { type PostgresSettings, PostgresStore } from "../../src/cluster/postgres-store.js";
import type { SharedDatabase } from "../../src/config/config.js";
import { parseShared } from "../../src/config/shared-database.js";

export const SITE = "pgp-public-keys@kx.example.org";

/** The worker cannot be a TypeScript source. */
export const WORKER = new URL("../../dist/cluster/worker.js", import.meta.url);

export function databaseAt(url: string): SharedDatabase {
  const reading = parseShared(url);
  if ("fault" in reading) throw new Error(reading.fault);
  return reading.value;
}

/** Opens a store that is closed when the running test is finished. */
export async function opened(
  url: string,
  node = "one",
  more: Partial<PostgresSettings> = {},
): Promise<PostgresStore> {
  const database = databaseAt(url);
  const settings = { database, site: SITE, node, version: "1.0.0", worker: WORKER, ...more };
  const store = await PostgresStore.open(settings, systemClock);
  onTestFinished(() => store.close());
  return store;
}
