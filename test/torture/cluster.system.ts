/**
 * Three gateways on one database in small: a kill, a cut and a failover; the hundred are those of
 * `npm run torture -- --only cluster --runs 100`.
 * Needs: /usr/lib/postgresql.
 */
import { expect, test } from "vitest";
import { cluster } from "./checks/cluster.js";
import { compile, expectHeld } from "./short.js";

test("kills, cuts and a failover lose nothing that was acknowledged", {
  timeout: 600_000,
}, async () => {
  const { figures } = await expectHeld(cluster, 3, compile("cluster"));
  expect(figures).toMatch(/^1 gateways killed, 1 cut off, 1 failovers in /);
});
