/** A shared store over a private PostgreSQL, run by the thread of the build. */
import { onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseShared, type SharedDatabase } from "../../src/config/shared-database.js";
import { type PostgresSettings, PostgresStore } from "../../src/shared/postgres-store.js";

export const SITE = "pgp-public-keys@kx.example.org";

/** The worker cannot be a TypeScript source. */
export const WORKER = new URL("../../dist/shared/worker.js", import.meta.url);

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
