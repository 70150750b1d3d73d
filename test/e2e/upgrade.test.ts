/**
 * The upgrade from the previous release, 0.1.0: its log with a queue in it, and a configuration
 * with every key that it had, as they are. Both come from that release: test/fixtures/upgrade.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import Database from "better-sqlite3";
import { SMTPServer } from "smtp-server";
import { expect, it, onTestFinished } from "vitest";
import { keysIn } from "../../src/demo/site.js";
import { SCHEMA_VERSION } from "../../src/log/schema.js";
import { makeCertificate } from "../support/certificates.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { kxgw, logOf, ROOT, start } from "./stage.js";

const FIXTURES = join(ROOT, "test/fixtures/upgrade");
/** The keys in the log, in its order. */
const KEYS = [
  "4D64FEC119C2029067D6E791F8D2585B8783D481",
  "7F5A44454C724A65CBCD4FB14D270D06F42584E6",
  "F6CFDE3061333CE2A43FDAF0DFD993306D849617",
];
/** The times in the log are of this moment; a test that ran weeks later would find it expired. */
const WRITTEN_AT = 1_796_005_449_000;

/** A relay that asks for user and password, and the keys in the mails that it took. */
async function relay() {
  const taken: { to: string; key: string }[] = [];
  const server = new SMTPServer({
    allowInsecureAuth: true,
    disabledCommands: ["STARTTLS"],
    onAuth: ({ username, password }, _session, done) =>
      username === "kx" && password === "secret"
        ? done(null, { user: username })
        : done(new Error("wrong password")),
    onData: (stream, session, done) => {
      const parts: Buffer[] = [];
      stream.on("data", (part: Buffer) => parts.push(part));
      stream.on("end", () => {
        const to = session.envelope.rcptTo.map(({ address }) => address).join();
        const keys = keysIn([Buffer.concat(parts)]);
        taken.push(...keys.map(({ fingerprint }) => ({ to, key: fingerprint })));
        done(null);
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { taken, port: (server.server.address() as AddressInfo).port };
}

/** The directory of a gateway of 0.1.0 that was stopped a moment ago; its configuration. */
function left(port: number): string {
  const place = scratch();
  makeCertificate(place, "kx");
  writeFileSync(join(place, "relay-password"), "secret\n", { mode: 0o600 });
  writeFileSync(join(place, "blocklist.txt"), `${"0".repeat(39)}1 test\n`);
  writeFileSync(join(place, "carry.txt"), `${KEYS.join("\n")}\n`);
  for (const name of ["spool", "pksd"]) mkdirSync(join(place, name));
  const later = Date.now() - WRITTEN_AT;
  const sql = readFileSync(join(FIXTURES, "0.1.0.sql"), "utf8").replaceAll(
    /\b179600\d{7}\b/g,
    (time) => String(Number(time) + later),
  );
  const db = new Database(join(place, "updates.db"));
  db.pragma("journal_mode = WAL");
  db.exec(sql);
  db.close();
  const config = readFileSync(join(FIXTURES, "0.1.0.toml"), "utf8");
  const file = join(place, "kxgw.toml");
  writeFileSync(file, config.replace(":RELAY", `:${port}`).replace(":KEYSERVER", ":1"));
  return file;
}

it("log and configuration of 0.1.0 are taken over, and its queue is delivered", async () => {
  const { taken, port } = await relay();
  const file = left(port);
  const { code, stdout, stderr } = await kxgw(["check", "-c", file]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("mode      bridge");

  const gateway = await start(file);
  const far = "pgp-public-keys@far.example.net";
  await until(() => taken.length === 3);
  expect(taken).toEqual(KEYS.map((key) => ({ to: far, key })));
  // What 0.1.0 had left for pksd counts as delivered; the third key comes now.
  const spool = join(file, "../pksd");
  await until(() => readdirSync(spool).length === 1);
  const [name = ""] = readdirSync(spool);
  expect(keysIn([readFileSync(join(spool, name))])[0]?.fingerprint).toBe(KEYS[2]);
  expect((await logOf(file)).map(({ fingerprint }) => fingerprint)).toEqual(KEYS);
  const errors = gateway.events.filter(({ level }) => level === "error");
  expect(errors).toEqual([]);
  expect(await gateway.end()).toBe(0);

  const db = new Database(join(file, "../updates.db"), { readonly: true });
  expect(db.pragma("user_version", { simple: true })).toBe(SCHEMA_VERSION);
  db.close();
});
