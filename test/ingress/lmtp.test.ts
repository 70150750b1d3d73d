/** LMTP on a Unix socket: who may speak for whom, sockets left behind, `kxgw ingest` over it. */
import { spawn } from "node:child_process";
import { existsSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ingestCommand } from "../../src/cli/ingest.js";
import { SMTP_LIMITS } from "../../src/ingress/limits.js";
import { SmtpDoor } from "../../src/ingress/smtp.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import { fullLog } from "../support/full-log.js";
import { SmtpClient } from "../support/smtp-client.js";
import { type Bench, bench, fixture, SITE, stopped } from "./ways.js";

const PKS = "pgp-public-keys@pks.example.net";

type Wrap = (log: UpdateLog) => UpdateLog;

async function socketDoor(
  wrap?: Wrap,
  more = "",
): Promise<
  Bench & { readonly door: SmtpDoor; readonly path: string; readonly configFile: string }
> {
  const sections =
    '[smtp]\nlisten = ["lmtp:lmtp.sock"]\nsocket_mode = "0600"\nmax_size = "200KiB"\n';
  const beside = bench(() => sections + more, wrap);
  const { config, directory, intake, bounces, diagnostics } = beside;
  if (config.smtp === undefined) throw new Error("no smtp section");
  const limits = { ...SMTP_LIMITS, closeMs: 500 };
  const door = stopped(
    new SmtpDoor({ intake, bounces, diagnostics }, { ...config, smtp: config.smtp, limits }),
  );
  expect(await door.start()).toEqual([]);
  const configFile = join(directory, "kxgw.toml");
  const site = `[site]\naddress = "${SITE}"\n[log]\n`;
  writeFileSync(configFile, site + sections);
  return { ...beside, door, path: join(directory, "lmtp.sock"), configFile };
}

/** The replies to a mail whose client the mail server says is at `address`. */
async function deliver(path: string, raw: Buffer, from: string, address?: string): Promise<string> {
  const client = await SmtpClient.openSocket(path);
  onTestFinished(() => void client.socket.destroy());
  expect(await client.answer()).toMatch(/^220 .* LMTP/);
  await client.say("LHLO mx.example");
  if (address !== undefined) expect(await client.say(`XFORWARD ADDR=${address}`)).toMatch(/^250/);
  for (const line of [`MAIL FROM:<${from}>`, `RCPT TO:<${SITE}>`]) {
    const reply = await client.say(line);
    if (!reply.startsWith("250")) return reply;
  }
  await client.say("DATA");
  const text = raw.toString("latin1").replaceAll(/\r?\n/g, "\r\n").replaceAll(/^\./gm, "..");
  return await client.say(`${text}\r\n.`);
}

describe("who may deliver over a socket", () => {
  test("a mail that names a neighbour as its author", async () => {
    const { path, entries } = await socketDoor();
    expect(await deliver(path, fixture("pksd-delta.eml"), "x@y.example")).toMatch(/^250 2\.0\.0/);
    expect(await deliver(path, fixture("hockeypuck-shape-add.eml"), PKS)).toMatch(/^250 2\.0\.0/);
    expect(entries().map(({ origin }) => origin.neighbour)).toEqual(["pks", "pks"]);
  });

  test("no other mail", async () => {
    const { path, entries, diagnostics } = await socketDoor();
    const reply = await deliver(path, fixture("sks-new-eddsa.eml"), "x@y.example");
    expect(reply).toMatch(/^550 5\.7\.1 The mail names no neighbour/);
    expect(entries()).toEqual([]);
    expect(diagnostics.all("mail-refused")).toMatchObject([{ reason: "unknown-sender" }]);
  });

  test("an address that the mail server tells decides as it does over TCP", async () => {
    const { path, entries } = await socketDoor();
    const mail = fixture("sks-new-eddsa.eml");
    expect(await deliver(path, mail, "x@y.example", "198.51.100.1")).toMatch(/^550 5\.7\.1/);
    expect(await deliver(path, fixture("pksd-delta.eml"), PKS, "198.51.100.1")).toMatch(/^550/);
    expect(await deliver(path, mail, "x@y.example", "192.0.2.1")).toMatch(/^250 2\.0\.0/);
    expect(await deliver(path, mail, "x@y.example", "127.0.0.1")).toMatch(/^550 5\.7\.1/);
    expect(entries().map(({ origin }) => origin.neighbour)).toEqual(["pks"]);
  });

  test("nobody to any other recipient", async () => {
    const { path } = await socketDoor();
    const client = await SmtpClient.openSocket(path);
    onTestFinished(() => void client.socket.destroy());
    await client.answer();
    await client.say("LHLO mx.example");
    await client.say(`MAIL FROM:<${PKS}>`);
    expect(await client.say("RCPT TO:<a@b.example>")).toMatch(/^550 5\.7\.1/);
  });
});

describe("the replies to a message", () => {
  const BOUNCE = "pgp-bounces@kx.example.org";

  /** A session whose envelope is `recipients`, after 354. */
  async function ready(recipients: readonly string[], sender = PKS, wrap?: Wrap) {
    const door = await socketDoor(wrap, `[outbound]\nbounce = "${BOUNCE}"\n`);
    const client = await SmtpClient.openSocket(door.path);
    onTestFinished(() => void client.socket.destroy());
    await client.answer();
    await client.say("LHLO mx.example");
    await client.say(`MAIL FROM:<${sender}>`);
    for (const recipient of recipients) await client.say(`RCPT TO:<${recipient}>`);
    expect(await client.say("DATA")).toMatch(/^354/);
    /** Each reply up to that of the command that comes next. */
    const repliesTo = async (raw: Uint8Array | string) => {
      const replies = [await client.message(raw)];
      client.write("NOOP\r\n");
      while (!/ OK$/.test(replies.at(-1) ?? "")) replies.push(await client.answer());
      return replies.slice(0, -1);
    };
    return { ...door, client, repliesTo };
  }

  test.each([
    ["one", [SITE]],
    ["the same twice", [SITE, SITE]],
    ["the same in other letters", [SITE, SITE.toUpperCase(), SITE]],
    ["with a refused one between", [SITE, "a@b.example", SITE]],
  ])("one for each accepted recipient: %s", async (_, recipients) => {
    const { repliesTo, entries } = await ready(recipients);
    const accepted = recipients.filter((recipient) => recipient !== "a@b.example");
    const stored = accepted.map(() => "250 2.0.0 Stored 1 new, 0 known.");
    expect(await repliesTo(fixture("pksd-delta.eml"))).toEqual(stored);
    expect(entries()).toHaveLength(1);
  });

  test("one for each, also when the message is refused or cannot be stored", async () => {
    const refused = await ready([SITE, SITE]);
    const words = /^550 5\.6\.0 The subject is not a key update/;
    expect(await refused.repliesTo(`From: ${PKS}\nSubject: hello\n\n`)).toEqual([
      expect.stringMatching(words),
      expect.stringMatching(words),
    ]);
    const failed = await ready([SITE, SITE], PKS, fullLog);
    const later = expect.stringMatching(/^452 4\.3\.1 /);
    expect(await failed.repliesTo(fixture("pksd-delta.eml"))).toEqual([later, later]);
  });

  test("one for each when a large message cannot be held", async () => {
    const beside = bench(() => '[smtp]\nlisten = ["lmtp:lmtp.sock"]\n');
    const { config, directory, intake, bounces, diagnostics } = beside;
    if (config.smtp === undefined) throw new Error("no smtp section");
    const elsewhere = { ...config, log: { ...config.log, path: "/nonexistent/updates.db" } };
    await stopped(
      new SmtpDoor({ intake, bounces, diagnostics }, { ...elsewhere, smtp: config.smtp }),
    ).start();
    const client = await SmtpClient.openSocket(join(directory, "lmtp.sock"));
    onTestFinished(() => void client.socket.destroy());
    await client.answer();
    await client.say("LHLO mx.example");
    await client.say(`MAIL FROM:<${PKS}>`);
    for (const recipient of [SITE, SITE]) await client.say(`RCPT TO:<${recipient}>`);
    await client.say("DATA");
    client.write(`${"x".repeat(70).concat("\r\n").repeat(8000)}.\r\n`);
    expect(await client.answer()).toMatch(/^451 4\.3\.0 /);
    expect(await client.answer()).toMatch(/^451 4\.3\.0 /);
    expect(await client.say("NOOP")).toMatch(/^250 /);
    expect(diagnostics.all("mail-deferred")).toHaveLength(1);
  });

  test("one for each when the message is far too large", async () => {
    const { client } = await ready([SITE, SITE]);
    client.write(Buffer.alloc(1_000_000, "abc\r\n"));
    expect(await client.answer()).toMatch(/^552 5\.3\.4 /);
    expect(await client.answer()).toMatch(/^552 5\.3\.4 /);
    expect(await client.answer()).toBe("");
  });

  test("each recipient has its own", async () => {
    const update = await ready([SITE, BOUNCE]);
    expect(await update.repliesTo(fixture("pksd-delta.eml"))).toEqual([
      "250 2.0.0 Stored 1 new, 0 known.",
      "250 2.0.0 Noted.",
    ]);
    const bounce = await ready([BOUNCE, SITE, BOUNCE], "");
    expect(await bounce.repliesTo("From: a@b.example\nSubject: gone\n\nNo such user.\n")).toEqual([
      "250 2.0.0 Noted.",
      expect.stringMatching(/^550 5\.6\.0 /),
      "250 2.0.0 Noted.",
    ]);
    expect(bounce.diagnostics.all("bounce")).toHaveLength(1);
  });

  test("no recipient above the limit, the same one either", async () => {
    const { client } = await ready([SITE]);
    client.write(".\r\n");
    await client.answer();
    await client.say(`MAIL FROM:<${PKS}>`);
    const replies: string[] = [];
    for (let i = 0; i < 101; i += 1) replies.push(await client.say(`RCPT TO:<${SITE}>`));
    expect(replies.filter((reply) => reply.startsWith("250"))).toHaveLength(100);
    expect(replies.at(-1)).toMatch(/^452 /);
  });
});

describe("the socket", () => {
  test("has the mode that it should, and is gone afterwards", async () => {
    const { path, door } = await socketDoor();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await door.stop();
    expect(existsSync(path)).toBe(false);
  });

  test("takes the place of one that a killed process left", async () => {
    const beside = bench(() => '[smtp]\nlisten = ["lmtp:lmtp.sock"]\n');
    const path = join(beside.directory, "lmtp.sock");
    const listen = `listen(${JSON.stringify(path)}, () => console.log(1))`;
    const code = `require("node:net").createServer().${listen}`;
    const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(existsSync(path)).toBe(true);
    const { config, intake, bounces, diagnostics } = beside;
    if (config.smtp === undefined) throw new Error("no smtp section");
    await stopped(
      new SmtpDoor({ intake, bounces, diagnostics }, { ...config, smtp: config.smtp }),
    ).start();
    expect(await deliver(path, fixture("pksd-delta.eml"), PKS)).toMatch(/^250/);
  });

  test.each(["somebody listens there", "a link is there"])("not where %s", async (what) => {
    const beside = bench(() => '[smtp]\nlisten = ["lmtp:lmtp.sock"]\n');
    const path = join(beside.directory, "lmtp.sock");
    if (what === "a link is there") symlinkSync("/etc/passwd", path);
    else {
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(path, resolve));
      onTestFinished(() => void other.close());
    }
    const { config, intake, bounces, diagnostics } = beside;
    if (config.smtp === undefined) throw new Error("no smtp section");
    const door = stopped(
      new SmtpDoor({ intake, bounces, diagnostics }, { ...config, smtp: config.smtp }),
    );
    await expect(door.start()).rejects.toThrow("EADDRINUSE");
    expect(existsSync(path)).toBe(true);
  });
});

describe("kxgw ingest", () => {
  async function ingest(
    configFile: string,
    mail: Buffer | string,
    env: Record<string, string> = {},
  ): Promise<{ readonly code: number; readonly words: string }> {
    const file = `${configFile}.eml`;
    writeFileSync(file, mail);
    let words = "";
    const out = {
      stdout: () => {},
      stderr: (text: string) => {
        words += text;
      },
    };
    const code = await ingestCommand(configFile, file, out, env);
    return { code, words };
  }

  test("0 when it is stored, also with the mailbox line of a pipe", async () => {
    const { configFile, entries } = await socketDoor();
    const mail = fixture("hockeypuck-shape-add.eml");
    const line = `From ${PKS}  Mon Nov 23 11:00:00 2026\nReturn-Path: <${PKS}>\n`;
    expect(await ingest(configFile, line + mail)).toEqual({ code: 0, words: "" });
    const other = fixture("pksd-multi-key.eml");
    const env = { SENDER: "x@y.example", CLIENT_ADDRESS: "192.0.2.1" };
    expect(await ingest(configFile, other, env)).toEqual({ code: 0, words: "" });
    expect(entries().length).toBeGreaterThan(2);
  });

  test.each([
    ["SENDER of Postfix", "", { SENDER: "MAILER-DAEMON" }],
    ["Return-Path", "Return-Path: <>\n", {}],
    ["a mailbox line", "From MAILER-DAEMON Mon Nov 23 11:00:00 2026\nReturn-Path: <>\n", {}],
  ])("the null sender by %s is judged by the mail", async (_, head, env) => {
    const { configFile, entries } = await socketDoor();
    expect(await ingest(configFile, head + fixture("pksd-delta.eml"), env)).toMatchObject({
      code: 0,
    });
    const other = await ingest(configFile, head + fixture("sks-new-eddsa.eml"), env);
    expect(other).toMatchObject({ code: 77 });
    expect(entries().map(({ origin }) => origin.neighbour)).toEqual(["pks"]);
  });

  test("75 when it cannot be stored, whyever", async () => {
    const { configFile } = await socketDoor(fullLog);
    const mail = fixture("pksd-delta.eml");
    expect(await ingest(configFile, mail)).toMatchObject({
      code: 75,
      words: expect.stringContaining("4.3.1"),
    });
    writeFileSync(configFile, "[site\n");
    expect(await ingest(configFile, mail)).toMatchObject({ code: 75 });
    writeFileSync(configFile, `[site]\naddress = "${SITE}"\n[log]\n`);
    expect(await ingest(configFile, mail)).toMatchObject({
      code: 75,
      words: expect.stringContaining("no LMTP socket is configured"),
    });
    writeFileSync(configFile, `[site]\naddress = "${SITE}"\n[log]\n[smtp]\nlisten = ["lmtp:x"]\n`);
    expect(await ingest(configFile, mail)).toMatchObject({
      code: 75,
      words: expect.stringContaining("the gateway is not running"),
    });
  });

  test("65 when the mail is refused, 77 when its sender is", async () => {
    const { configFile } = await socketDoor();
    const noKey = "From: x@y.example\nSubject: incremental\n\nhello\n";
    expect(await ingest(configFile, noKey, { SENDER: PKS })).toMatchObject({ code: 65 });
    const huge = Buffer.concat([fixture("pksd-delta.eml"), Buffer.alloc(300_000, "x\n")]);
    expect(await ingest(configFile, huge, { SENDER: PKS })).toMatchObject({ code: 65 });
    expect(await ingest(configFile, `${"x:\n".repeat(2000)}\n`)).toMatchObject({ code: 65 });
    const stranger = fixture("sks-new-eddsa.eml");
    expect(await ingest(configFile, stranger)).toMatchObject({ code: 77 });
    const env = { CLIENT_ADDRESS: "198.51.100.1" };
    expect(await ingest(configFile, stranger, env)).toMatchObject({ code: 77 });
  });
});
