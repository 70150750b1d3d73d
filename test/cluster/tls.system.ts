/**
 * TLS to the database: a server with a certificate of a CA that openssl made, which takes only TLS
 * and passwords. The right CA works. Another CA, another name, a wrong password or no TLS is
 * refused in one line.
 *
 * Needs: /usr/lib/postgresql.
 */
import { execFileSync } from "node:child_process";
import { chownSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Trouble } from "../../src/errors.js";
import { SITE } from "../e2e/material.js";
import { base, configFile } from "../e2e/stage.js";
import { until } from "../support/until.js";
import { Postgres } from "../system/postgres.js";
import { refused } from "./site.js";
import { opened } from "./stage.js";

const PASSWORD = "secret-word";

let server: Postgres;
let directory: string;
/** The path of a file of the certificates. */
const at = (name: string) => join(directory, name);

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function makeCa(name: string): void {
  const out = ["-keyout", `${name}.key`, "-out", `${name}.pem`];
  openssl("req", "-x509", ...KEY, ...out, "-days", "2", "-subj", `/CN=${name}`);
}

/** A certificate for the names, in the form of openssl. */
function makeCertificate(name: string, ca: string, names: string): void {
  openssl("req", ...KEY, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
  writeFileSync(at(`${name}.ext`), `subjectAltName = ${names}\n`);
  const signer = ["-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-CAcreateserial"];
  const out = ["-out", `${name}.pem`, "-days", "2", "-extfile", `${name}.ext`];
  openssl("x509", "-req", "-in", `${name}.csr`, ...signer, ...out);
}

/** The server shows this certificate from now on. */
async function show(name: string): Promise<void> {
  const { uid, gid } = statSync(server.directory);
  for (const end of ["key", "pem"]) chownSync(at(`${name}.${end}`), uid, gid);
  server.sql(`ALTER SYSTEM SET ssl_cert_file = '${at(`${name}.pem`)}'`);
  server.sql(`ALTER SYSTEM SET ssl_key_file = '${at(`${name}.key`)}'`);
  server.sql("ALTER SYSTEM SET ssl = on");
  server.sql("SELECT pg_reload_conf()");
  await until(() => server.sql("SHOW ssl_cert_file") === at(`${name}.pem`));
}

beforeAll(async () => {
  server = await Postgres.start();
  directory = server.directory;
  makeCa("right");
  makeCa("wrong");
  makeCertificate("here", "right", "DNS:localhost, IP:127.0.0.1");
  makeCertificate("elsewhere", "right", "DNS:db.example.org");
  // The default only since PostgreSQL 14.
  const scram = "SET password_encryption = 'scram-sha-256'";
  server.sql(`${scram}; CREATE ROLE guest LOGIN PASSWORD '${PASSWORD}'`);
  server.sql("ALTER DATABASE kxgw OWNER TO guest");
  server.sql("ALTER SCHEMA public OWNER TO guest");
  const lines = [
    "host all kxgw 127.0.0.1/32 trust",
    "hostssl kxgw guest 127.0.0.1/32 scram-sha-256",
    "",
  ];
  writeFileSync(join(server.directory, "pg_hba.conf"), lines.join("\n"));
  await show("here");
});
afterAll(() => server.remove());

interface Way {
  readonly host?: string;
  readonly password?: string;
  readonly query: string;
}

function urlOf({ host = "127.0.0.1", password = PASSWORD, query }: Way): string {
  return `postgres://guest:${password}@${host}:${server.port}/kxgw?${query}`;
}

const verified = (ca: string) => `sslmode=verify-full&sslrootcert=${at(`${ca}.pem`)}`;

/** The trouble of opening, in one line that does not tell the password. */
async function refusal(way: Way): Promise<Trouble> {
  const found = await opened(urlOf(way)).then(
    () => new Error("the server was accepted"),
    (error: unknown) => error,
  );
  if (!(found instanceof Trouble)) throw found;
  expect(found.message).not.toContain("\n");
  expect(`${found.message}${found.remedy}`).not.toContain(way.password ?? PASSWORD);
  expect(found.kind).toBe("unusable");
  return found;
}

it("verifies the server by its CA, and its name or address", async () => {
  for (const host of ["127.0.0.1", "localhost"]) {
    const store = await opened(urlOf({ host, query: verified("right") }), host);
    expect(store.changes(0, 1000).newest.position).toBe(0);
  }
  const sessions = `SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
    WHERE application_name = 'kxgw'`;
  expect(server.sql(sessions)).toBe("guest|t\nguest|t");
});

it("refuses a CA that did not sign, and that of the system", async () => {
  for (const query of [verified("wrong"), "sslmode=verify-full"]) {
    const { message, remedy } = await refusal({ query });
    expect(message).toMatch(/unable to (verify|get)|self-signed certificate/);
    expect(remedy).toContain("sslrootcert=FILE");
  }
});

it("refuses the certificate of another host", async () => {
  await show("elsewhere");
  const { message, remedy } = await refusal({ host: "localhost", query: verified("right") });
  expect(message).toMatch(/does not match certificate's altnames.*db\.example\.org/);
  expect(remedy).toContain("its host as in its certificate");
  // As an operator sees it.
  const shared = urlOf({ query: verified("right") });
  const file = configFile(base(SITE).replace("[smtp]", `shared = "${shared}"\n[smtp]`));
  const { code, what } = await refused(file);
  expect([code, what]).toEqual([74, expect.stringContaining("does not match certificate's altn")]);
  expect(what).not.toContain(PASSWORD);
  await show("here");
});

it("refuses a wrong password, and a server that does not take it without TLS", async () => {
  const wrong = await refusal({ password: "other-word", query: verified("right") });
  expect(wrong.message).toContain('password authentication failed for user "guest"');
  const plain = await refusal({ query: "sslmode=disable" });
  expect(plain.message).toMatch(/no pg_hba\.conf entry .*(no encryption|SSL off)/);
});
