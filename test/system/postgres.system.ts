/**
 * The server that other system tests stand on: what it has committed outlives a kill.
 *
 * Needs: /usr/lib/postgresql.
 */
import { expect, onTestFinished, test } from "vitest";
import { Postgres } from "./postgres.js";

test("what was committed is there after a stop and after a kill", async () => {
  const server = await Postgres.start({ settings: ["max_connections = 10"] });
  onTestFinished(() => server.remove());
  server.sql("CREATE TABLE one (n int); INSERT INTO one VALUES (1)");
  await server.kill();
  expect(() => server.sql("SELECT 1")).toThrow(/refused/);
  await server.restart();
  server.sql("INSERT INTO one VALUES (2)");
  await server.restart();
  expect(server.sql("SELECT n FROM one ORDER BY n")).toBe("1\n2");
});
