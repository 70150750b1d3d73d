/**
 * A dump of the database, taken while two gateways run, and restored into another one: their copies
 * are ahead of it, or of another history when it has overtaken them, and are refused. Without its
 * copy each gateway loads the restored log and goes on.
 *
 * Needs: /usr/lib/postgresql.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { logOf, start } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";
import { expectNumbered, oneLog, post, pump, refused, stage } from "./site.js";

function removeCopy(file: string): void {
  for (const end of ["", "-wal", "-shm"]) {
    rmSync(join(dirname(file), `updates.db${end}`), { force: true });
  }
}

it("refuses copies of the database that was lost, and loads those that were removed", async () => {
  const { server, files } = await stage();
  const [one, two] = [await start(files[0]), await start(files[1])];
  const dumped = new Set<string>();
  await pump(one, "dumped", dumped, (count) => count === 20);
  const dump = join(scratch(), "kxgw.dump");
  server.dump(dump);
  await pump(two, "lost", new Set(), (count) => count === 5);
  await oneLog(files, 25);
  for (const gateway of [one, two]) expect(await gateway.end("SIGTERM")).toBe(0);
  const url = server.restore(dump, "restored");
  for (const file of files) {
    writeFileSync(file, readFileSync(file, "utf8").replace(server.url, url));
  }
  const before = await logOf(files[1]);

  for (const { code, what, remedy } of await Promise.all(files.map((file) => refused(file)))) {
    expect(code).toBe(78);
    expect(what).toMatch(/updates\.db: the copy is at position \d+ and the database only at \d+/);
    expect(remedy).toContain("move the file away");
  }
  removeCopy(files[0]);
  const again = await start(files[0]);
  expect(again.events.some(({ event }) => event === "copy-loaded")).toBe(true);
  const loaded = await logOf(files[0]);
  expect(new Set(loaded.map(({ fingerprint }) => fingerprint))).toEqual(dumped);

  // The restored database overtakes the position of the copy that was forgotten.
  await pump(again, "after", new Set(), (count) => count === 40);
  const { code, what } = await refused(files[1]);
  expect([code, what]).toEqual([78, expect.stringContaining("another commit")]);
  expect(await logOf(files[1])).toEqual(before);
  removeCopy(files[1]);
  const last = await start(files[1]);
  expect((await post(last, "last")).code).toBe(250);
  const log = await oneLog(files, 61);
  expectNumbered(log);
  expect(log.slice(0, 20)).toEqual(before.slice(0, 20));
});
