/**
 * The gateway as its operator meets it: started without a config, asked for its health, fed as its
 * own hint says, ended by a signal.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { made } from "./material.js";
import { kxgw, logOf, run, scratch, spawn, start, until } from "./stage.js";

const FREE = {
  KXGW_SMTP__LISTEN: "127.0.0.1:0",
  KXGW_KX__LISTEN: "127.0.0.1:0",
  KXGW_ADMIN__LISTEN: "127.0.0.1:0",
};

it("runs without a config file, on loopback, in ./data, and says how to feed it", async () => {
  const directory = scratch();
  const gateway = spawn(undefined, { directory, env: FREE });
  const ready = await gateway.event("ready");
  expect(ready.smtp).toEqual([`127.0.0.1:${gateway.port("smtp")}`]);
  expect(ready.kx).toEqual([`127.0.0.1:${gateway.port("kx")}`]);
  expect(existsSync(join(directory, "data/updates.db"))).toBe(true);

  const url = `http://127.0.0.1:${gateway.port("admin")}`;
  await until(
    () => gateway.errors.includes(`curl ${url}/status.json`),
    () => "the hint",
  );
  for (const path of ["/livez", "/readyz"]) {
    const answer = await fetch(url + path);
    expect([answer.status, await answer.text()]).toEqual([200, "ok\n"]);
  }
  expect(await gateway.status()).toMatchObject({ mode: "bridge", log: { entries: 0 } });
  expect((await fetch(`${url}/`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${url}/nowhere`)).status).toBe(404);
  expect(await gateway.end("SIGINT")).toBe(0);
  expect(gateway.events.map(({ event }) => event)).toEqual(
    expect.arrayContaining(["ready", "stopping", "stopped"]),
  );
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

it("a wrong variable in the environment is a fault, named: 78", async () => {
  const gateway = spawn(undefined, { directory: scratch(), env: { KXGW_SMPT__LISTEN: "x" } });
  expect(await gateway.exited).toBe(78);
  expect(gateway.errors).toMatch(/KXGW_SMPT__LISTEN: .*did you mean KXGW_SMTP__LISTEN\?/i);
});
