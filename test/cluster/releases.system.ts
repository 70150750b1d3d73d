/**
 * Two releases at one database, of which one knows another version of the tables: a copy of the
 * build in which only that number differs. Each says in one line what is wrong, and neither writes
 * into tables of the other.
 *
 * Needs: /usr/lib/postgresql.
 */
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SHARED_VERSION } from "../../src/cluster/tables.js";
import { made } from "../e2e/material.js";
import { kxgw, logOf, ROOT, start } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { arrived, expectNumbered, post, refused, stage, TAKEOVER_MS } from "./site.js";

const NEXT = SHARED_VERSION + 1;

/** The program of a release with tables of the next version. */
function nextRelease(): string {
  const directory = scratch();
  for (const name of ["dist", "package.json"]) {
    cpSync(join(ROOT, name), join(directory, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
  const file = join(directory, "dist/cluster/tables.js");
  const text = readFileSync(file, "utf8");
  const changed = text.replace(/SHARED_VERSION = \d+;/, `SHARED_VERSION = ${NEXT};`);
  expect(changed).not.toBe(text);
  writeFileSync(file, changed);
  return join(directory, "dist/main.js");
}

it("refuses tables of another version, also those that change under a gateway", async () => {
  const { server, far, files } = await stage();
  const program = nextRelease();
  const old = await start(files[0]);
  const first = await post(old, "first");
  await arrived(far, [first.fingerprint]);
  const early = await refused(files[1], program);
  expect(early.code).toBe(78);
  expect(early.what).toMatch(
    new RegExp(`^kxgw: .* has tables of version ${SHARED_VERSION}; this gateway knows ${NEXT}$`),
  );
  expect((await post(old, "second")).code).toBe(250);

  // The tables are upgraded, and the older gateway was not stopped.
  const position = () => server.sql("SELECT position FROM kxgw_head");
  server.sql(`UPDATE kxgw_head SET version = ${NEXT}`);
  const before = position();
  expect((await post(old, "third")).code).toBe(451);
  const { problem, remedy } = await old.event("database-refused");
  expect(problem).toContain(`has tables of version ${NEXT}; this gateway knows ${SHARED_VERSION}`);
  expect(remedy).toBe("Install the version of the gateway that the others run.");
  expect(position()).toBe(before);
  expect((await post(old, "third")).code).toBe(451);
  const { code, stdout } = await kxgw(["doctor", "-c", files[0]]);
  expect([code, stdout]).toEqual([69, expect.stringContaining(`tables of version ${NEXT}`)]);
  const next = await start(files[1], program);
  await until(
    () => next.events.some(({ event, lease }) => event === "lease-taken" && lease === "lane:far"),
    "the takeover",
    TAKEOVER_MS,
  );
  expect((await post(next, "third")).code).toBe(250);
  await arrived(far, [made("third", 1, 1000).fingerprint]);
  await old.end("SIGTERM");
  const late = await refused(files[0]);
  expect(late.code).toBe(78);
  expect(late.what).toContain(`has tables of version ${NEXT}; this gateway knows`);
  const log = await logOf(files[1]);
  expectNumbered(log);
  expect(log).toHaveLength(3);
});
