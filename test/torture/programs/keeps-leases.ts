/**
 * A gateway that is wrong on purpose: it is not told that its session at the shared database ended,
 * so it goes on as the holder of its leases beside the next one. Never shipped.
 */
import { PostgresStore } from "../../../src/cluster/postgres-store.js";

const { listen } = PostgresStore.prototype;
PostgresStore.prototype.listen = function (listener) {
  return listen.call(this, { ...listener, lost: () => {} });
};

await import("../../../src/main.js");
