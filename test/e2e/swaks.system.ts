/**
 * A mail by hand, as an operator sends one: by swaks, with the options that the docs and the hint
 * of `npm start` name.
 * Needs: swaks.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { made, OLD, SITE } from "./material.js";
import { kxgw, logOf, run, spawn, start } from "./stage.js";
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

it("is fed as its hint says: that config, that swaks", async () => {
  const directory = scratch();
  const first = spawn(undefined, { directory, env: FREE });
  await first.event("ready");
  await first.end();
  const hint = first.errors;

  const config = /^ {2}\[site\][\s\S]*?(?=\n\n)/m.exec(hint)?.[0].replace(/^ {2}/gm, "") ?? "";
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, `${config}\n`);
  expect((await kxgw(["check", "-c", file])).code).toBe(0);
  writeFileSync(file, `${config}\n`.replace(/:(2525|9627)"/g, ':0"'));
  const gateway = await start(file);

  const key = made("hint", 1);
  writeFileSync(join(directory, "key.asc"), key.armor);
  const [, command = ""] = /(swaks [\s\S]*)$/.exec(hint) ?? [];
  const server = `--server 127.0.0.1:${gateway.port("smtp")}`;
  const typed = command.replace(/--server \S+/, server);
  const { code, stdout } = await run("sh", ["-c", typed], { directory });
  expect([code, stdout]).toEqual([0, expect.stringContaining("250 2.0.0 Stored 1 new")]);
  expect((await logOf(file)).map(({ hash }) => hash)).toEqual([key.hash]);
});
