/**
 * A mail by hand, as an operator sends one: by swaks, with the options that the docs and the hint
 * of `npm start` name.
 * Needs: swaks, curl.
 */
import { expect, it } from "vitest";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { made, OLD, SITE } from "./material.js";
import { run, spawn } from "./stage.js";
import { mergedHashes, world } from "./world.js";

const FREE = {
  KXGW_SMTP__LISTEN: "127.0.0.1:0",
  KXGW_KX__LISTEN: "127.0.0.1:0",
  KXGW_ADMIN__LISTEN: "127.0.0.1:0",
};

it("a mail that swaks sends goes from mail to KX to mail", async () => {
  const { far, a } = await world();
  const key = made("swaks", 1);
  const { code, stdout, stderr } = await run(
    "swaks",
    [
      ...["--server", `127.0.0.1:${a.port("smtp")}`, "--from", OLD, "--to", SITE],
      ...["--header", "Subject: INCREMENTAL", "--body", "-"],
    ],
    { input: key.armor },
  );
  expect([code, stderr, stdout]).toEqual([
    0,
    "",
    expect.stringMatching(/250 2\.0\.0 Stored 1 new/),
  ]);
  await until(
    () => far.received.length === 1,
    () => "the mail at the far site",
  );
  expect(far.hashes()).toEqual(mergedHashes([key.armor]));
});

it("npm start is fed as its hint says: every command, as it is printed", async () => {
  const directory = scratch();
  const gateway = spawn(undefined, { directory, env: FREE });
  await gateway.event("ready");
  await until(
    () => / init\n$/.test(gateway.errors),
    () => gateway.errors,
  );
  const commands = gateway.errors.match(/(?<=\n) {2}\S.*(?:\n {4}.*)*/g)?.map((one) => one.trim());
  const [swaks = "", post = "", curl = "", init = "", ...more] = commands ?? [];
  expect(more).toEqual([]);
  const typed = (command: string) => run("sh", ["-c", command], { directory });

  const first = await typed(swaks);
  expect([first.code, first.stdout]).toEqual([
    0,
    expect.stringContaining("250 2.0.0 Stored 1 new"),
  ]);
  const again = await typed(`${post} -v`);
  expect([again.code, again.stderr]).toEqual([
    0,
    expect.stringContaining("250 2.0.0 Stored 0 new, 1 known."),
  ]);
  const { stdout: status } = await typed(curl);
  expect(JSON.parse(status)).toMatchObject({ running: true, log: { entries: 1 } });
  expect(await gateway.end()).toBe(0);

  // Without a terminal init asks nothing and names the flags.
  expect(init).toMatch(/^node \S+main\.js init$/);
  expect(await typed(init)).toMatchObject({ code: 64, stderr: expect.stringContaining("--site") });
  const made = await typed(`${init} --site pgp-public-keys@kx.example.org --local none`);
  expect([made.code, made.stderr]).toEqual([0, ""]);
  // "npm start" then finds it, where every other command does.
  const own = spawn(undefined, { directory, env: FREE });
  expect(await own.event("ready")).toMatchObject({ site: "pgp-public-keys@kx.example.org" });
});
