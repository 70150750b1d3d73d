/**
 * What docs/operations.md says of backups and of moving, by its commands: a backup of a running
 * gateway put in the place of a lost log, and a log and config taken to another directory. Nothing
 * that was in the backup is lost, and peers give the rest.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import type { LegacySite } from "../../src/demo/site.js";
import { scratch } from "../support/scratch.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { kxgw, logOf, start } from "./stage.js";
import { FAR, SITE_B, world } from "./world.js";

const keys = Array.from({ length: 8 }, (_, n) => made("restore", n + 1));
const hashesOf = (from: number, to: number) => keys.slice(from - 1, to).map(({ hash }) => hash);

/** Mails key `n` of ours to a gateway, as a neighbour of it. */
async function submit(gateway: GatewayProcess, n: number, from = OLD, to = SITE): Promise<void> {
  const client = await SmtpClient.connect(gateway.port("smtp"));
  const mail = mailOf(keys[n - 1]?.armor ?? "").replaceAll(SITE, to);
  const { code } = await client.deliver(mail.replaceAll(OLD, from), { from, to });
  expect(code).toBe(250);
  client.close();
}

/** Waits until the log of a running gateway has these updates and no others, in any order. */
async function holds(gateway: GatewayProcess, file: string, hashes: readonly string[]) {
  const entries = async () => ((await gateway.status()).log as { entries: number }).entries;
  await until(
    async () => (await entries()) >= hashes.length,
    () => `${hashes.length} updates in ${file}`,
  );
  expect((await logOf(file)).map(({ hash }) => hash).sort()).toEqual([...hashes].sort());
}

/** How often each of our keys came to a site, those that came at all. */
function timesAt(site: LegacySite): number[] {
  const prints = site.received.flatMap(({ fingerprints }) => fingerprints);
  return keys
    .map(({ fingerprint }) => prints.filter((one) => one === fingerprint).length)
    .filter((times) => times > 0);
}

it("a backup in the place of a lost log: its updates are there, peers give the rest", async () => {
  const { a, b, old, far, fileA, fileB } = await world();
  for (const n of [1, 2, 3]) await submit(a, n);
  await holds(b, fileB, hashesOf(1, 3));
  const copy = join(scratch(), "kxgw.db");
  const backup = await kxgw(["db", "backup", copy, "-c", fileA]);
  expect([backup.code, backup.stdout]).toEqual([0, expect.stringContaining("entries   3")]);

  // What the backup does not have: two from mail at A, one from B.
  for (const n of [4, 5]) await submit(a, n);
  await submit(b, 6, FAR, SITE_B);
  await holds(a, fileA, hashesOf(1, 6));
  await holds(b, fileB, hashesOf(1, 6));
  await until(
    () => old.received.length === 1 && far.received.length === 5,
    () => "the mails",
  );
  await a.end("SIGKILL");
  const log = join(dirname(fileA), "updates.db");
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${log}${suffix}`, { force: true });
  cpSync(copy, log);

  const again = await start(fileA);
  await holds(again, fileA, hashesOf(1, 6));
  expect((await logOf(fileA)).slice(0, 3).map(({ hash }) => hash)).toEqual(hashesOf(1, 3));
  await b.event("peer-reset");
  // The numbers 4 to 6 mean other updates now; a new one still finds its way.
  await submit(again, 7);
  await holds(b, fileB, hashesOf(1, 7));
  await until(
    () => timesAt(far).length === 6,
    () => "the mail of update 7",
  );
  expect(timesAt(far)).toEqual([1, 1, 1, 1, 1, 1]);
  // What came after the backup is mailed once more to our own sites: nobody knows who has it.
  await until(
    () => timesAt(old).length === 3,
    () => "updates 4 to 6",
  );
  expect(timesAt(old)).toEqual([1, 1, 2]);
  expect((await kxgw(["db", "check", "-c", fileA])).code).toBe(0);
});

it("a move to another directory and port: peers see the same log, and go on in it", async () => {
  const { a, b, far, fileA, fileB } = await world();
  for (const n of [1, 2]) await submit(a, n);
  await holds(b, fileB, hashesOf(1, 2));
  await until(
    () => timesAt(far).length === 2,
    () => "two mails",
  );
  expect(await a.end()).toBe(0);

  const home = scratch();
  const moved = join(home, "kxgw.toml");
  writeFileSync(moved, readFileSync(fileA, "utf8"));
  const backup = await kxgw(["db", "backup", join(home, "updates.db"), "-c", fileA]);
  expect(backup.code).toBe(0);
  rmSync(dirname(fileA), { recursive: true });
  await submit(b, 3, FAR, SITE_B);

  const there = await start(moved);
  expect(there.port("smtp")).not.toBe(a.port("smtp"));
  await submit(there, 4);
  await holds(there, moved, hashesOf(1, 4));
  await holds(b, fileB, hashesOf(1, 4));
  await until(
    () => timesAt(far).length === 3,
    () => "the mail of update 4",
  );
  expect(timesAt(far)).toEqual([1, 1, 1]);
  // Who took what and when has come along.
  const trace = await kxgw(["trace", hashesOf(1, 1)[0] ?? "", "-c", moved, "--json"]);
  const journey = JSON.parse(trace.stdout);
  const stage = journey.stages.find((one: { neighbour: string }) => one.neighbour === "b");
  expect(stage).toMatchObject({
    words: expect.stringMatching(/^fetched it over KX/),
    time: expect.stringMatching(/^20/),
  });
  for (const gateway of [b, there]) {
    expect(gateway.events.filter(({ event }) => event === "peer-reset")).toEqual([]);
  }
});
