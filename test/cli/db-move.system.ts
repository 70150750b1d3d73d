/**
 * `kxgw db move` between a file and a real PostgreSQL.
 *
 * Needs: /usr/lib/postgresql.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { ROOT } from "../e2e/stage.js";
import { arrival } from "../log/material.js";
import { scratch } from "../support/scratch.js";
import { Postgres } from "../system/postgres.js";

test("a log is moved into the database and back, and refused where it is already", async () => {
  const server = await Postgres.start();
  onTestFinished(() => server.remove());
  const directory = scratch();
  const [path, file] = [join(directory, "log"), join(directory, "kxgw.toml")];
  const log = UpdateLog.open(path);
  log.append(Array.from({ length: 500 }, (_, n) => arrival(n + 1)));
  log.close();
  const site = '[site]\naddress = "pgp-public-keys@kx.example.org"\n';
  writeFileSync(file, `${site}[log]\npath = "log"\nshared = "${server.url}?sslmode=disable"\n`);
  const run = (to: "shared" | "local") => {
    const args = [join(ROOT, "dist/main.js"), "db", "move", `--to-${to}`, "-c", file];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    return { code: status, out: stdout, err: stderr };
  };
  expect(run("shared")).toMatchObject({ code: 0, out: /newest {4}500\n/ });
  expect(server.sql("SELECT count(*) FROM kxgw_rows WHERE tbl = 'updates'")).toBe("500");
  expect(() => UpdateLog.open(path)).toThrow(/log.shared is not set/);
  expect(run("shared")).toMatchObject({
    code: 78,
    err: expect.stringMatching(/in a database already/),
  });
  expect(run("local")).toMatchObject({ code: 0, out: /newest {4}500\n/ });
  const back = UpdateLog.open(path);
  expect(back.append([arrival(501)])).toMatchObject([{ seq: 501 }]);
  back.close();
});
