/** The spool door on real directories: what it takes, what it leaves, what it moves aside. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { Trouble } from "../../src/errors.js";
import { SpoolDoor } from "../../src/ingress/spool.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import { pause, quietFor, until } from "../support/until.js";
import { type Bench, bench, fixture, stopped } from "./ways.js";

/** Long enough for a door that looks every 20 ms to have looked at a file several times. */
const SEVERAL_LOOKS_MS = 300;

interface Spool extends Bench {
  readonly spool: string;
  /** The mail files that are there. */
  files(): string[];
  refused(): string[];
}

function spoolDoor(wrap?: (log: UpdateLog) => UpdateLog, every = "20ms"): Spool {
  const sections = (directory: string) => {
    mkdirSync(join(directory, "spool"));
    return `[spool]\nwatch = ["spool"]\nevery = "${every}"\n`;
  };
  const beside = bench(sections, wrap);
  const { config, intake, diagnostics, directory } = beside;
  if (config.spool === undefined) throw new Error("no spool section");
  stopped(
    new SpoolDoor({ intake, diagnostics, clock: systemClock }, { ...config, spool: config.spool }),
  ).start();
  const spool = join(directory, "spool");
  const refused = join(spool, "refused");
  return {
    ...beside,
    spool,
    files: () => readdirSync(spool).filter((name) => name !== "refused"),
    refused: () => (existsSync(refused) ? readdirSync(refused) : []),
  };
}

test("the null sender says nothing about a mail", async () => {
  const { spool, files, entries, refused } = spoolDoor();
  const head = "From MAILER-DAEMON  Mon Nov 23 11:00:00 2026\nReturn-Path: <>\n";
  writeFileSync(join(spool, "pks-mail.1"), head + fixture("pksd-delta.eml"));
  writeFileSync(join(spool, "pks-mail.2"), head + fixture("sks-new-eddsa.eml"));
  await until(() => files().length === 0);
  expect(entries().map(({ origin }) => origin.neighbour)).toEqual(["pks"]);
  expect(refused()).toEqual([expect.stringMatching(/^pks-mail\.2/)]);
});

test("takes the files of each server's pipe and removes them", async () => {
  const { spool, files, entries, diagnostics } = spoolDoor();
  writeFileSync(join(spool, "pks-mail.4711"), fixture("pksd-delta.eml"));
  writeFileSync(join(spool, "msg-24272193.ready"), fixture("pksd-new-rsa4096.eml"));
  writeFileSync(join(spool, "20261123-110000-42.onak"), fixture("onak-new.eml"));
  const line = "From pgp-public-keys@pks.example.net  Mon Nov 23 11:00:00 2026\n";
  writeFileSync(join(spool, "pks-mail.4712"), line + fixture("hockeypuck-shape-add.eml"));
  writeFileSync(join(spool, "README"), "not ours");
  await until(() => files().length === 1);
  expect(files()).toEqual(["README"]);
  const from = entries().map(({ origin }) => origin.neighbour);
  expect(from.sort()).toEqual(["onak", "pks", "pks", "pks"]);
  expect(diagnostics.all("accepted")).toHaveLength(4);
});

test("does not read a file that is still being written", async () => {
  const { spool, files, entries, refused } = spoolDoor(undefined, "150ms");
  const mail = fixture("pksd-new-rsa4096.eml");
  const path = join(spool, "pks-mail.1");
  writeFileSync(path, "");
  for (let at = 0; at < mail.length; at += Math.ceil(mail.length / 12)) {
    appendFileSync(path, mail.subarray(at, at + Math.ceil(mail.length / 12)));
    await pause(50);
  }
  await until(() => files().length === 0);
  expect(refused()).toEqual([]);
  expect(entries()).toHaveLength(1);
});

test("moves aside what it refuses, told once, and keeps one of each name", async () => {
  const { spool, files, entries, refused, diagnostics } = spoolDoor();
  const half = fixture("pksd-new-rsa4096.eml").subarray(0, 900);
  writeFileSync(join(spool, "pks-mail.1"), half);
  writeFileSync(join(spool, "x.ready"), "this is no mail");
  writeFileSync(join(spool, "y.ready"), fixture("sks-new-eddsa.eml"));
  writeFileSync(join(spool, "z.onak"), Buffer.alloc(33 * 1024 ** 2, "a"));
  await until(() => files().length === 0);
  writeFileSync(join(spool, "x.ready"), "nor is this");
  await until(() => files().length === 0);
  await quietFor(SEVERAL_LOOKS_MS, "a refused file would be refused again");
  const names = refused().map((name) => name.replace(/\.\d+$/, ""));
  expect(names.sort()).toEqual(["pks-mail.1", "x.ready", "x.ready", "y.ready", "z.onak"]);
  const kept = refused().find((name) => name.startsWith("pks-mail"));
  expect(readFileSync(join(spool, "refused", kept ?? ""))).toEqual(half);
  expect(entries()).toEqual([]);
  expect(
    diagnostics
      .all("mail-refused")
      .map(({ reason }) => reason)
      .sort(),
  ).toEqual(["bad-armor", "bad-mail", "bad-mail", "too-large", "unknown-sender"]);
});

test("leaves everything while the log is in trouble, told once, and takes it then", async () => {
  let isFull = true;
  const { spool, files, entries, diagnostics } = spoolDoor(
    (log) =>
      new Proxy(log, {
        get(target, name) {
          if (name !== "append" || !isFull) {
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === "function" ? value.bind(target) : value;
          }
          return () => {
            throw new Trouble("disk-full", "no space", "make some");
          };
        },
      }),
  );
  writeFileSync(join(spool, "pks-mail.1"), fixture("pksd-delta.eml"));
  writeFileSync(join(spool, "pks-mail.2"), fixture("pksd-new-rsa4096.eml"));
  await until(() => diagnostics.all("mail-deferred").length > 0);
  await quietFor(SEVERAL_LOOKS_MS, "each look would report the full disk");
  expect(files()).toEqual(["pks-mail.1", "pks-mail.2"]);
  expect(diagnostics.all("mail-deferred")).toHaveLength(1);
  isFull = false;
  await until(() => files().length === 0);
  expect(entries()).toHaveLength(2);
});

test("touches neither links nor directories", async () => {
  const { spool, files, entries, diagnostics, directory } = spoolDoor();
  writeFileSync(join(directory, "elsewhere"), fixture("pksd-delta.eml"));
  symlinkSync(join(directory, "elsewhere"), join(spool, "pks-mail.1"));
  mkdirSync(join(spool, "pks-mail.2"));
  await quietFor(SEVERAL_LOOKS_MS, "each look would take what it finds");
  expect(files()).toEqual(["pks-mail.1", "pks-mail.2"]);
  expect(entries()).toEqual([]);
  expect(diagnostics.events).toEqual([]);
});

test("tells once that a directory is gone, and goes on when it is back", async () => {
  const { spool, files, entries, diagnostics } = spoolDoor();
  rmSync(spool, { recursive: true });
  await until(() => diagnostics.all("spool-stuck").length > 0);
  await quietFor(SEVERAL_LOOKS_MS, "each look would report the directory");
  expect(diagnostics.all("spool-stuck")).toMatchObject([{ file: spool }]);
  mkdirSync(spool);
  writeFileSync(join(spool, "pks-mail.1"), fixture("pksd-delta.eml"));
  await until(() => files().length === 0);
  expect(entries()).toHaveLength(1);
});

test("tells once what it may not read or remove", async () => {
  const { spool, directory, entries, diagnostics } = spoolDoor();
  writeFileSync(join(spool, "pks-mail.1"), fixture("pksd-delta.eml"), { mode: 0 });
  // Root may do everything, so that it has to be somebody else for a while.
  const isRoot = process.getuid?.() === 0;
  chmodSync(directory, 0o755);
  if (isRoot) process.seteuid?.(65534);
  try {
    await until(() => diagnostics.all("spool-stuck").length === 1);
    if (isRoot) process.seteuid?.(0);
    chmodSync(spool, 0o555);
    chmodSync(join(spool, "pks-mail.1"), 0o644);
    if (isRoot) process.seteuid?.(65534);
    await until(() => diagnostics.all("spool-stuck").length === 2);
    await quietFor(SEVERAL_LOOKS_MS, "each look would report the file");
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(spool, 0o755);
  }
  expect(diagnostics.all("spool-stuck")).toHaveLength(2);
  expect(entries()).toHaveLength(1);
});
