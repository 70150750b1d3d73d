/**
 * `check --online` and `doctor --online` refuse for `log.shared` what `serve` refuses, and change
 * neither the database nor the copy.
 *
 * Needs: /usr/lib/postgresql.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { ROOT } from "../e2e/stage.js";
import { arrival } from "../log/material.js";
import { scratch } from "../support/scratch.js";
import { Postgres } from "../system/postgres.js";

test("what serve refuses is refused, and nothing is changed", async () => {
  const server = await Postgres.start();
  onTestFinished(() => server.remove());
  const directory = scratch();
  const [path, file] = [join(directory, "log"), join(directory, "kxgw.toml")];
  const log = UpdateLog.open(path);
  log.append([arrival(1)]);
  log.close();
  const site = '[site]\naddress = "pgp-public-keys@kx.example.org"\n';
  writeFileSync(file, `${site}[log]\npath = "log"\nshared = "${server.url}"\n`);
  const run = (...words: string[]) => {
    const args = [join(ROOT, "dist/main.js"), ...words, "-c", file];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    return { code: status, out: `${stdout}${stderr}` };
  };
  const head = () => server.sql("SELECT * FROM kxgw_head");
  /** Fails unless all three refuse with these words. */
  const refused = (words: RegExp) => {
    expect(run("serve")).toMatchObject({ code: 78, out: expect.stringMatching(words) });
    const before = [readFileSync(path, "latin1"), head()];
    for (const command of ["check", "doctor"]) {
      expect(run(command, "--online").out).toMatch(words);
    }
    expect([readFileSync(path, "latin1"), head()]).toEqual(before);
  };
  const move = (to: string) => expect(run("db", "move", `--to-${to}`)).toMatchObject({ code: 0 });

  move("shared");
  expect(run("check", "--online").out).toMatch(/ok.*shared database/);
  server.sql("UPDATE kxgw_head SET position = 1");
  refused(/the copy is at position 3 and the database only at 1/);
  server.sql("UPDATE kxgw_head SET position = 3");
  server.sql("UPDATE kxgw_commits SET mark = gen_random_uuid()");
  refused(/position 3 of the copy is another commit/);
  server.sql('UPDATE kxgw_rows SET data = \'{"name": {"hex": "00"}}\' WHERE tbl = \'log_name\'');
  refused(/is a copy of another log/);
  server.sql("DELETE FROM kxgw_rows WHERE tbl = 'log_name'");
  refused(/has a part of a log, or one that was moved out/);
  rmSync(path);
  const own = UpdateLog.open(path);
  own.append([arrival(2)]);
  own.close();
  refused(/is a log of its own/);
});
