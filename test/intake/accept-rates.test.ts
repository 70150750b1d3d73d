/** accept_rate: what a faster neighbour hears, by every way in, and that nothing is lost. */
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { HkpDoor } from "../../src/ingress/hkp.js";
import { MailIntake } from "../../src/ingress/mail-intake.js";
import { SmtpDoor } from "../../src/ingress/smtp.js";
import { SpoolDoor } from "../../src/ingress/spool.js";
import { AcceptRates } from "../../src/intake/accept-rates.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import { armoredKeys, HEAD as GATEWAY, startGateway } from "../admin/gateway.js";
import { bench, fixture, SITE, stopped } from "../ingress/ways.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";

const PKS = "pgp-public-keys@pks.example.net";
const SIBLING = "pgp-public-keys@sibling.example";
const BOUNCE = "pgp-bounces@kx.example.org";
const RSA = fixture("pksd-new-rsa4096.eml");
const DELTA = fixture("pksd-delta.eml");

/** The neighbour pks with `rate`, then `sections`, and doors whose rates go by a clock of ours. */
function site(rate: string, sections: string) {
  const beside = bench((directory) => {
    mkdirSync(join(directory, "spool"));
    return `accept_rate = "${rate}"\n${sections}\n`;
  });
  const { config, log, diagnostics } = beside;
  const time = { ms: 0 };
  const clock = { now: () => Date.now(), monotonic: () => time.ms, random: () => 0 };
  const rates = new AcceptRates(config.neighbours, clock);
  const keys = new KeyIntake(
    { log: log, appends: new GroupCommit(log), clock: clock, diagnostics: diagnostics },
    { rates },
  );
  const intake = new MailIntake({ keys, diagnostics });
  return { ...beside, time, intake, keys };
}

/** The neighbour pks with `rate`, and perhaps another one at its address, before an SMTP door. */
async function smtpSite(rate: string, sibling?: string) {
  const beside = site(
    rate,
    `[smtp]
listen = ["127.0.0.1:0", "lmtp:lmtp.sock"]
[outbound]
bounce = "${BOUNCE}"
[[peer]]
name = "free"
accept_from = ["127.0.0.3"]
${sibling === undefined ? "" : `[[peer]]\nname = "sibling"\nmail = "${SIBLING}"\n${sibling}`}`,
  );
  const { config, intake, bounces, diagnostics, directory } = beside;
  if (config.smtp === undefined) throw new Error("no smtp section");
  const door = stopped(
    new SmtpDoor({ intake, bounces, diagnostics }, { ...config, smtp: config.smtp }),
  );
  const [{ port } = { port: 0 }] = await door.start();
  const kept = (client: SmtpClient) => {
    onTestFinished(() => void client.socket.destroy());
    return client;
  };
  return {
    ...beside,
    client: async (from = "127.0.0.2") => kept(await SmtpClient.greeted(port, from)),
    socketClient: async () => {
      const client = kept(await SmtpClient.openSocket(join(directory, "lmtp.sock")));
      await client.answer();
      await client.say("LHLO mx.example");
      return client;
    },
  };
}

describe("over SMTP", () => {
  test("mail that comes too fast hears 450 before it is sent, and is taken later", async () => {
    const { client, time, entries, diagnostics } = await smtpSite("2/1m");
    const pks = await client();
    expect((await pks.transact(PKS, [SITE], RSA)).at(-1)).toMatch(/^250 2\.0\.0 Stored 1 new/);
    // A duplicate costs the same work.
    expect((await pks.transact(PKS, [SITE], RSA)).at(-1)).toMatch(/^250 2\.0\.0 Stored 0 new/);
    const replies = await pks.transact(PKS, [SITE], DELTA);
    expect(replies[1]).toBe("450 4.7.1 Too fast: at most 2/1m, try again in 30 s.");
    expect(replies[2]).toMatch(/^503/);
    expect(entries()).toHaveLength(1);
    expect(diagnostics.all("too-fast")).toEqual([
      { neighbour: "pks", client: "127.0.0.0/24", reason: "too-fast", waitMs: 30_000 },
    ]);
    expect(diagnostics.all("mail-refused")).toEqual([]);
    time.ms += 30_000;
    await pks.say("RSET");
    expect((await pks.transact(PKS, [SITE], DELTA)).at(-1)).toMatch(/^250 2\.0\.0 Stored 1 new/);
  });

  test("a refused mail counts, too; another neighbour and bounces go on", async () => {
    const { client } = await smtpSite("1/1h");
    const pks = await client();
    expect((await pks.transact(PKS, [SITE], "no mail")).at(-1)).toMatch(/^550 5\.6\.0/);
    expect((await pks.transact(PKS, [SITE], RSA))[1]).toMatch(/^450 4\.7\.1/);
    await pks.say("RSET");
    expect((await pks.transact("", [BOUNCE], "Subject: x\n\nreturned")).at(-1)).toMatch(/^250/);
    const free = await client("127.0.0.3");
    for (let n = 0; n < 5; n += 1) {
      expect((await free.transact("x@y.example", [SITE], RSA)).at(-1)).toMatch(/^250/);
    }
  });

  test("sessions at once get no more in than the rate says", async () => {
    const { client, diagnostics } = await smtpSite("3/1h");
    const sessions = await Promise.all(Array.from({ length: 8 }, () => client()));
    for (const session of sessions) {
      expect(await session.say(`MAIL FROM:<${PKS}>`)).toMatch(/^250/);
      expect(await session.say(`RCPT TO:<${SITE}>`)).toMatch(/^250/);
      expect(await session.say("DATA")).toMatch(/^354/);
    }
    const answers = await Promise.all(sessions.map((session) => session.message(RSA)));
    expect(answers.filter((answer) => answer.startsWith("250"))).toHaveLength(3);
    expect(answers.filter((answer) => answer.startsWith("450 4.7.1"))).toHaveLength(5);
    expect(diagnostics.all("too-fast")).toHaveLength(5);
  });
});

describe("of neighbours that share an address", () => {
  const sibling = 'accept_from = ["127.0.0.2"]\naccept_rate = "1/1h"\n';

  test("each has its own rate, told by the mail; all wait when none is left", async () => {
    const { client, entries, diagnostics } = await smtpSite("1/1h", sibling);
    const relay = await client();
    expect((await relay.transact("relay@x.example", [SITE], RSA)).at(-1)).toMatch(/^250/);
    const late = await relay.transact("relay@x.example", [SITE], DELTA);
    expect(late[1]).toMatch(/^250/);
    expect(late.at(-1)).toMatch(/^450 4\.7\.1 Too fast: at most 1\/1h/);
    const shape = fixture("hockeypuck-shape-add.eml");
    expect((await relay.transact(SIBLING, [SITE], shape)).at(-1)).toMatch(/^250 2\.0\.0 Stored 1/);
    expect((await relay.transact("relay@x.example", [SITE], DELTA))[1]).toMatch(/^450 4\.7\.1/);
    expect(entries().map(({ origin }) => origin.neighbour)).toEqual(["pks", "sibling"]);
    const told = diagnostics.all("too-fast").map(({ neighbour }) => neighbour);
    expect(told).toEqual(["pks", undefined]);
  });

  test("mail that names none of them counts all the same", async () => {
    const { client } = await smtpSite("1/1h", sibling);
    const relay = await client();
    const shape = fixture("hockeypuck-shape-add.eml");
    const codes: (string | undefined)[] = [];
    for (let n = 0; n < 3; n += 1) {
      const replies = await relay.transact("relay@x.example", [SITE], shape);
      codes.push(replies.find((reply) => reply.startsWith("450")) ?? replies.at(-1));
      await relay.say("RSET");
    }
    expect(codes.map((code) => code?.slice(0, 3))).toEqual(["250", "250", "450"]);
  });
});

test("over LMTP without an address the mail says whose it is", async () => {
  const { socketClient } = await smtpSite("1/1h");
  const socket = await socketClient();
  expect((await socket.transact("x@y.example", [SITE], RSA)).at(-1)).toMatch(/^250/);
  expect((await socket.transact("x@y.example", [SITE], DELTA)).at(-1)).toMatch(/^450 4\.7\.1/);
});

test("over HKP it is 429, with the time to wait", async () => {
  const { config, keys, diagnostics, entries, time } = site(
    "1/1d",
    '[hkp]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "here"\naccept_from = ["127.0.0.1"]\n' +
      'accept_rate = "1/10s"',
  );
  if (config.hkp === undefined) throw new Error("no hkp section");
  const door = stopped(
    new HkpDoor({ keys, diagnostics, clock: systemClock }, { ...config, hkp: config.hkp }),
  );
  const [{ port } = { port: 0 }] = await door.start();
  const [key = ""] = armoredKeys();
  const post = () =>
    fetch(`http://127.0.0.1:${port}/pks/add`, {
      method: "POST",
      body: new URLSearchParams({ keytext: key }),
    });
  expect((await post()).status).toBe(200);
  const late = await post();
  expect([late.status, late.headers.get("retry-after")]).toEqual([429, "10"]);
  expect(await late.text()).toBe("Too fast: at most 1/10s, try again in 10 s.\n");
  expect(diagnostics.all("too-fast")).toMatchObject([{ neighbour: "here", door: "hkp" }]);
  time.ms += 10_000;
  expect((await post()).status).toBe(200);
  expect(entries()).toHaveLength(1);
});

test("in a spool a file stays until its turn, told once, and keeps no other waiting", async () => {
  const { config, intake, diagnostics, directory, time, entries } = site(
    "1/1h",
    '[spool]\nwatch = ["spool"]\nevery = "20ms"',
  );
  if (config.spool === undefined) throw new Error("no spool section");
  const spool = join(directory, "spool");
  // More than are looked at in one round, all of them older than the file of the other neighbour.
  for (let n = 0; n < 250; n += 1) writeFileSync(join(spool, `pks-mail.${n}`), RSA);
  for (const name of readdirSync(spool)) utimesSync(join(spool, name), 1000, 1000);
  stopped(
    new SpoolDoor({ intake, diagnostics, clock: systemClock }, { ...config, spool: config.spool }),
  ).start();
  writeFileSync(join(spool, "x.onak"), fixture("onak-new.eml"));
  await until(() => entries().length === 2);
  await until(() => diagnostics.all("too-fast").length === 249);
  await until(() => readdirSync(spool).length === 249);
  time.ms += 3_600_000;
  await until(() => readdirSync(spool).length === 248);
  expect(diagnostics.all("too-fast")).toHaveLength(249);
});

test("a gateway counts all ways in together, and shows it in the metrics", async () => {
  const { gateway, base, mail } = await startGateway(
    `${GATEWAY}[hkp]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "old"
mail = "${PKS}"\naccept_from = ["127.0.0.1"]\naccept_rate = "1/1d"\n`,
  );
  const [key = ""] = armoredKeys();
  expect(await mail(key)).toMatch(/^250/);
  const { hkp } = gateway.listening;
  const body = new URLSearchParams({ keytext: key });
  const url = `http://127.0.0.1:${hkp[0]?.port}/pks/add`;
  expect((await fetch(url, { method: "POST", body })).status).toBe(429);
  const metrics = await (await fetch(`${base}/metrics`)).text();
  expect(metrics).toContain('kxgw_refused_total{reason="too-fast"} 1');
  expect(metrics).toMatch(/kxgw_updates_received_total\{peer="old".*result="deferred"\} 1/);
});

test("a rate means nothing to a neighbour that is on KX alone", () => {
  const text = `[site]\naddress = "${SITE}"\n[log]\n[kx]\n[[peer]]\nname = "new"
kx = "127.0.0.2:11373"\naccept_rate = "1/1s"\n`;
  expect(() => parseConfig(text, "kxgw.toml", "/", {})).toThrow("1 fault");
});
