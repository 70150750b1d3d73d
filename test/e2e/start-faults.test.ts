/**
 * What keeps a gateway from starting: each fault is named in words that say what to do, with the
 * exit code that service managers act upon, and a start that failed has changed nothing.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import { expect, it, onTestFinished } from "vitest";
import { freePort } from "../support/ports.js";
import { scratch } from "../support/scratch.js";
import { SITE } from "./material.js";
import { base, configFile, kxgw, start } from "./stage.js";

it("a config with faults: all of them, by line and key, 78", async () => {
  const text = `${base(SITE)}lisen = "x"\n[kx]\nreconnect = "soon"\n[smpt]\n`;
  const file = configFile(text);
  for (const command of ["serve", "check"]) {
    const { code, stdout, stderr } = await kxgw([command, "-c", file]);
    expect([code, stdout]).toEqual([78, ""]);
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/kxgw\.toml:10:1: admin\.lisen: .*did you mean listen\?/);
    expect(lines[1]).toMatch(/kxgw\.toml:12:1: kx\.reconnect: "soon"/);
    expect(lines[2]).toMatch(/kxgw\.toml:13:\d+: smpt: .*did you mean smtp\?/);
  }
});

it("no config file, and one that is no TOML: 78", async () => {
  const missing = await kxgw(["serve", "-c", "/nonexistent/kxgw.toml"]);
  expect([missing.code, missing.stdout]).toEqual([78, ""]);
  expect(missing.stderr).toMatch(/^\/nonexistent\/kxgw\.toml: .*no such file/);
  const broken = await kxgw(["serve", "-c", configFile("[site\n")]);
  expect([broken.code, broken.stderr]).toEqual([78, expect.stringMatching(/:1:\d+: not TOML/)]);
});

it("the database of another program is refused and left as it is: 78", async () => {
  const file = configFile(base(SITE));
  const path = join(dirname(file), "updates.db");
  const other = new Database(path);
  other.exec("CREATE TABLE mail (id INTEGER)");
  other.close();
  const before = readFileSync(path);
  for (const args of [
    ["serve", "-c", file],
    ["log", "-c", file],
  ]) {
    const { code, stdout, stderr } = await kxgw(args);
    expect([code, stdout]).toEqual([78, ""]);
    expect(stderr).toMatch(/updates\.db: .*another program.*\n {6}\S.+\n$/);
  }
  expect(readFileSync(path).equals(before)).toBe(true);
});

it("a file that is no database, and one from the future: 78", async () => {
  const file = configFile(base(SITE));
  const path = join(dirname(file), "updates.db");
  writeFileSync(path, "Dear diary, ".repeat(1000));
  const diary = await kxgw(["serve", "-c", file]);
  expect([diary.code, diary.stderr]).toEqual([78, expect.stringContaining("is not a database")]);

  const later = configFile(base(SITE));
  expect(await (await start(later)).end()).toBe(0);
  const db = new Database(join(dirname(later), "updates.db"));
  db.pragma("user_version = 1000");
  db.close();
  const future = await kxgw(["serve", "-c", later]);
  expect([future.code, future.stderr]).toEqual([78, expect.stringContaining("version 1000")]);
});

it("a log that cannot be opened or is damaged: 74", async () => {
  const file = configFile(base(SITE).replace("updates.db", "no/such/place/updates.db"));
  const nowhere = await kxgw(["serve", "-c", file]);
  expect([nowhere.code, nowhere.stderr]).toEqual([74, expect.stringContaining("does not exist")]);

  const directory = configFile(base(SITE));
  mkdirSync(join(dirname(directory), "updates.db"));
  const folder = await kxgw(["serve", "-c", directory]);
  expect([folder.code, folder.stderr]).toEqual([74, expect.stringContaining("cannot be opened")]);

  const damaged = configFile(base(SITE));
  expect(await (await start(damaged)).end()).toBe(0);
  const path = join(dirname(damaged), "updates.db");
  writeFileSync(path, readFileSync(path).subarray(0, 8192));
  const half = await kxgw(["serve", "-c", damaged]);
  expect([half.code, half.stderr]).toEqual([74, expect.stringContaining("damaged")]);
});

it("a second instance is refused and the first one stays: 69", async () => {
  const file = configFile(base(SITE));
  const first = await start(file);
  const { code, stdout, stderr } = await kxgw(["serve", "-c", file]);
  expect([code, stdout]).toEqual([69, ""]);
  expect(stderr).toMatch(/another kxgw serves this log\n {6}Stop the other gateway/);
  const { status } = await fetch(`http://127.0.0.1:${first.port("admin")}/readyz`);
  expect(status).toBe(200);
  expect((await kxgw(["log", "-c", file])).code).toBe(0);
});

it("an address that is taken, and one that is not ours: 69", async () => {
  const port = await freePort();
  const taker = createServer();
  await new Promise<void>((resolve) => taker.listen(port, "127.0.0.1", resolve));
  onTestFinished(() => void taker.close());
  const taken = base(SITE).replace('["127.0.0.1:0"]', `["127.0.0.1:${port}"]`);
  const busy = await kxgw(["serve", "-c", configFile(taken)]);
  expect([busy.code, busy.stderr]).toEqual([69, expect.stringMatching(/listen.*EADDRINUSE/)]);
  expect(busy.stderr).toContain("Another program uses this address");

  const foreign = base(SITE).replace('["127.0.0.1:0"]', '["192.0.2.1:2525"]');
  const away = await kxgw(["serve", "-c", configFile(foreign)]);
  expect([away.code, away.stderr]).toEqual([
    69,
    expect.stringContaining("does not have this address"),
  ]);
});

it("a Unix socket that cannot be made: the hint speaks of its directory, 69", async () => {
  const directory = scratch();
  const file = join(directory, "file");
  writeFileSync(file, "no socket");
  const long = join(directory, "x".repeat(120));
  const cases: [string, string][] = [
    [join(directory, "none/l.sock"), `The directory ${join(directory, "none")} does not exist.`],
    ["/proc/l.sock", "must be able to create files in the directory /proc;"],
    [file, `Another program listens on ${file}, or it is no socket.`],
    [long, `The path has ${long.length} bytes and may have 107`],
  ];
  for (const [path, words] of cases) {
    const config = configFile(base(SITE).replace('"127.0.0.1:0"', `"lmtp:${path}"`));
    const { code, stderr } = await kxgw(["serve", "-c", config]);
    expect([path, code]).toEqual([path, 69]);
    expect(stderr).toContain("kxgw: cannot listen: listen ");
    expect(stderr).toContain(words);
    expect(stderr).not.toContain("1024");
  }
  expect(readFileSync(file, "utf8")).toBe("no socket");
});
