/**
 * A database that cannot be the site's is refused in one line that says what, where and what to do,
 * and nothing in it is changed.
 *
 * Needs: /usr/lib/postgresql.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { PostgresSettings } from "../../src/cluster/postgres-store.js";
import { Trouble } from "../../src/errors.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { ROOT } from "../e2e/stage.js";
import { arrival } from "../log/material.js";
import { scratch } from "../support/scratch.js";
import { Postgres } from "../system/postgres.js";
import { opened, SITE } from "./stage.js";

let server: Postgres;
beforeAll(async () => {
  server = await Postgres.start();
});
afterAll(() => server.remove());

let count = 0;
/** A new database, with what `text` makes in it; its URL for `user`. */
function database(text = "", user = "kxgw"): { readonly name: string; readonly url: string } {
  count += 1;
  const name = `refused${count}`;
  server.sql(`CREATE DATABASE ${name}`);
  if (text !== "") server.sql(text, name);
  return { name, url: `postgres://${user}@127.0.0.1:${server.port}/${name}` };
}

/** All that is in a database: its relations, and the rows of the gateway's tables. */
function contentOf(name: string): string {
  const relations = server.sql(
    "SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    name,
  );
  const tables = relations.split("\n").filter((one) => /^(kxgw_\w*s|kxgw_head)$/.test(one));
  return [relations, ...tables.map((one) => server.sql(`SELECT * FROM ${one}`, name))].join("\n");
}

/** The trouble of opening; fails if the database was changed or accepted. */
async function refusal(
  { name, url }: { readonly name?: string; readonly url: string },
  more: Partial<PostgresSettings> = {},
): Promise<Trouble> {
  const before = name === undefined ? "" : contentOf(name);
  const found = await opened(url, "one", more).then(
    () => new Error("the database was accepted"),
    (error: unknown) => error,
  );
  if (!(found instanceof Trouble)) throw found;
  expect(name === undefined ? "" : contentOf(name)).toBe(before);
  expect(found.message).not.toContain("\n");
  expect(found.remedy).toMatch(/^[A-Z].*\.$/);
  return found;
}

/** A database of the gateway `SITE`. */
async function ofGateway(): Promise<{ readonly name: string; readonly url: string }> {
  const made = database();
  await (await opened(made.url)).close();
  return made;
}

describe("is refused:", () => {
  it("no server at the address", async () => {
    const { kind, message } = await refusal({ url: "postgres://kxgw@127.0.0.1:1/kxgw" });
    expect(kind).toBe("away");
    expect(message).toMatch(/127\.0\.0\.1:1\/kxgw.*ECONNREFUSED/);
  });

  it("a database that does not exist", async () => {
    const url = `postgres://kxgw@127.0.0.1:${server.port}/nothing`;
    const { kind, message } = await refusal({ url });
    expect(kind).toBe("unusable");
    expect(message).toContain('database "nothing" does not exist');
  });

  it("a user that does not exist", async () => {
    const url = `postgres://nobody@127.0.0.1:${server.port}/kxgw`;
    const { kind, message } = await refusal({ url });
    expect(kind).toBe("unusable");
    expect(message).toContain('role "nobody" does not exist');
  });

  it("the database of another program", async () => {
    const { kind, message } = await refusal(database("CREATE TABLE keys (rfingerprint text)"));
    expect(kind).toBe("unusable");
    expect(message).toContain("is the database of another program (it has keys)");
  });

  it("an empty database, for a command that creates none", async () => {
    const { message } = await refusal(database(), { mayCreate: false });
    expect(message).toContain("has no tables of a gateway");
  });

  it("an empty database, by a gateway whose file is a log of its own", () => {
    const { name, url } = database();
    const directory = scratch();
    const log = UpdateLog.open(join(directory, "log"));
    log.append([arrival(1)]);
    log.close();
    const file = join(directory, "kxgw.toml");
    writeFileSync(file, `[site]\naddress = "${SITE}"\n[log]\npath = "log"\nshared = "${url}"\n`);
    const args = [join(ROOT, "dist/main.js"), "serve", "-c", file];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(`${stdout}${stderr}`).toContain("is a log of its own");
    expect(status).toBe(78);
    expect(contentOf(name).trim()).toBe("");
  });

  it("a user who may not create tables", async () => {
    server.sql("CREATE ROLE guest LOGIN");
    // So it is by default since PostgreSQL 15.
    const revoked = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    const { kind, message } = await refusal(database(revoked, "guest"));
    expect(kind).toBe("read-only");
    expect(message).toContain("does not let the user create tables in the schema public");
  });

  it("a user who may only read, or not even that", async () => {
    server.sql("CREATE ROLE reader LOGIN");
    const { name, url } = await ofGateway();
    const other = url.replace("kxgw@", "reader@");
    const unseen = await refusal({ name, url: other });
    expect(unseen.kind).toBe("read-only");
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name);
    const { kind, message, remedy } = await refusal({ name, url: other });
    expect(kind).toBe("read-only");
    expect(message).toContain("does not let the user write the tables");
    expect(remedy).toContain('"reader"');
  });

  it("a read-only database", async () => {
    const { name, url } = await ofGateway();
    server.sql(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
    const { kind, message } = await refusal({ name, url });
    expect(kind).toBe("read-only");
    expect(message).toContain("is read-only");
  });

  it("the database of another site, so that two sites do not share a schema", async () => {
    const made = await ofGateway();
    const { kind, message } = await refusal(made, { site: "keys@other.example.net" });
    expect(kind).toBe("not-ours");
    expect(message).toContain(`belongs to the site ${SITE}, not to keys@other.example.net`);
  });

  it("tables of another version", async () => {
    const { name, url } = await ofGateway();
    server.sql("UPDATE kxgw_head SET version = 99", name);
    const { kind, message } = await refusal({ name, url });
    expect(kind).toBe("not-ours");
    expect(message).toContain("has tables of version 99; this gateway knows 1");
  });

  it("an encoding that cannot hold every text", async () => {
    const name = "latin";
    server.sql(`CREATE DATABASE ${name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`);
    const url = `postgres://kxgw@127.0.0.1:${server.port}/${name}`;
    const { message } = await refusal({ name, url });
    expect(message).toContain("has the encoding LATIN1, not UTF8");
  });

  it("a server that does not flush what it commits", async () => {
    const unsafe = await Postgres.start({ settings: ["fsync = off"] });
    onTestFinished(() => unsafe.remove());
    expect((await refusal({ url: unsafe.url })).message).toContain("fsync = off");
  });

  it("a standby", async () => {
    const standby = await Postgres.start();
    onTestFinished(() => standby.remove());
    await standby.stop();
    // A server in recovery that waits for a primary.
    execFileSync("touch", [`${standby.directory}/standby.signal`]);
    await standby.restart();
    const { kind, message, remedy } = await refusal({ url: standby.url });
    expect(kind).toBe("read-only");
    expect(message).toContain("is a standby");
    expect(remedy).toContain("primary");
    // With the primary beside it, the standby is passed over.
    const both = `postgres://kxgw@127.0.0.1:${standby.port},127.0.0.1:${server.port}/kxgw`;
    const store = await opened(both);
    expect(store.state().session?.server).toContain(`:${server.port}/`);
  });

  it("a clock that differs from that of the database", async () => {
    const worker = new URL("./clock-ahead.mjs", import.meta.url);
    const { message } = await refusal({ url: server.url }, { worker });
    expect(message).toMatch(/has a clock that is 1(19|20|21) s behind the clock of this host/);
  });

  it("a password that is wrong, and TLS that is not there", async () => {
    const url = `postgres://kxgw:secret-word@127.0.0.1:${server.port}/kxgw?sslmode=verify-full`;
    const { kind, message, remedy } = await refusal({ url });
    expect(kind).toBe("unusable");
    expect(message).toContain("does not support SSL");
    expect(`${message}${remedy}`).not.toContain("secret-word");
  });
});
