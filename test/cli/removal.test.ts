/**
 * kxgw block, unblock and forget: what they refuse to take, what they say, with a gateway and
 * without one; that a date is kept, and that a hard revocation passes where it may.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { removalCommand } from "../../src/cli/removal.js";
import { systemClock } from "../../src/clock.js";
import { loadConfig } from "../../src/config/load.js";
import { LegacySite } from "../../src/demo/site.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { RemovalVerb } from "../../src/removal.js";
import { armoredKeys, control, FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { made } from "../e2e/material.js";
import { freePort } from "../support/ports.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { captured } from "./captured.js";

const FPR = "4D64FEC119C2029067D6E791F8D2585B8783D481";
const DAY_MS = 86_400_000;
const [ONE = ""] = armoredKeys();

/** The commands on a config in `directory`; what they print comes back with their exit code. */
function commands(directory: string, config: string) {
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, config);
  return async (verb: RemovalVerb, fingerprint: string, given: object = {}) => {
    const out = captured();
    const none = { reason: undefined, until: undefined, allowRevocation: false };
    const options = { file, json: false, ...none, ...given };
    const words = fingerprint === "" ? [] : fingerprint.split(" ");
    const code = await removalCommand(verb, words, options, out, {});
    return { code, said: out.text + out.errors };
  };
}

const why = { reason: "asked" };

it("say what is wrong with a key, a reason or a date, and exit with 64", async () => {
  const directory = scratch();
  const say = commands(directory, HEAD);
  const wrong = async (fingerprint: string, given: object) => {
    const { code, said } = await say("block", fingerprint, given);
    expect(code).toBe(64);
    return said;
  };
  expect(await wrong("F8D2585B8783D481", why)).toMatch(/is a key ID.*of the primary key, 40 hex/);
  expect(await wrong("Erika", why)).toContain("is not a fingerprint");
  expect(await wrong(FPR, {})).toContain("add --reason");
  expect(await wrong("", why)).toContain("is not a fingerprint");
  expect(await wrong(FPR, { reason: "two\nlines" })).toContain("must be one line");
  expect(await wrong(FPR, { ...why, until: "soon" })).toContain("is not a date");
  expect(await wrong(FPR, { ...why, until: "2020-01-01" })).toContain("2020-01-01 is in the past");
  // Nothing of it made a log.
  expect(() => UpdateLog.open(join(directory, "updates.db"), { readonly: true })).toThrow();
});

it("write into the log while no gateway runs, and list what is blocked", async () => {
  const directory = scratch();
  const list = `${"A".repeat(40)} spam\n${"B".repeat(40)} old until=2020-01-01\n`;
  writeFileSync(join(directory, "list.txt"), list);
  const say = commands(directory, `${HEAD}[policy]\nblocklist = "list.txt"\n`);
  const groups = FPR.toLowerCase()
    .replace(/(.{4})/g, "$1 ")
    .trim();
  const blocked = await say("block", groups, { ...why, until: "2099-01-31", json: true });
  expect(blocked.code).toBe(0);
  expect(JSON.parse(blocked.said)).toEqual({
    done: true,
    words:
      `${FPR} is blocked until 2099-01-31T00:00:00.000Z. The log holds no update of it: check ` +
      "that this is the fingerprint of the primary key.",
  });
  const shown = (await say("block", "")).said.split("\n");
  expect(shown).toEqual([
    expect.stringMatching(/^FINGERPRINT +UNTIL +REVOCATIONS +BY +SINCE +REASON$/),
    expect.stringMatching(/^4D64\w+ +2099-01-31T00:00Z +blocked +command +20\S+Z +asked$/),
    expect.stringMatching(/^A{40} +unlimited +blocked +list +- +spam$/),
    "",
  ]);
  const [first] = (await say("block", "", { json: true })).said.split("\n");
  expect(JSON.parse(first ?? "")).toMatchObject({ fingerprint: FPR, by: "command" });
  expect((await say("unblock", FPR, why)).code).toBe(0);
  expect(await say("unblock", FPR, why)).toMatchObject({
    code: 66,
    said: `${FPR} is not blocked.\n`,
  });
  expect((await say("unblock", "A".repeat(40), why)).said).toMatch(
    /is in the list .*list\.txt: remove it there/,
  );
  expect(await say("forget", FPR, why)).toMatchObject({ code: 66 });
});

it("a block ends at its date, and the running gateway holds to it", async () => {
  const directory = scratch();
  const time = { shift: 0 };
  const clock = { ...systemClock, now: () => Date.now() + time.shift };
  const running = await startGateway(HEAD + FEEDER, { directory, clock });
  const say = commands(directory, HEAD + FEEDER);
  const until = new Date(Date.now() + DAY_MS).toISOString();
  expect((await say("block", FPR, { ...why, until })).code).toBe(0);
  const armor = keyFile();
  await expect(running.mail(armor)).rejects.toThrow(/550 5\.7\.1/);
  time.shift = DAY_MS + 1000;
  expect(await running.mail(armor)).toMatch(/^250 /);
  expect((await say("block", FPR, why)).said).toMatch(
    /1 update in the log will not be sent any more/,
  );
  expect((await say("forget", FPR, why)).said).toMatch(
    /^1 update of the key forgotten\. The key is blo/,
  );
  const told = running.reports.filter(({ event }) => /^(blocked|forgotten)$/.test(event));
  expect(told.map(({ fields }) => [fields.fingerprint, fields.words])).toEqual(
    Array.from({ length: 3 }, () => [FPR, "asked"]),
  );
  const answer = await control(running.logPath, `/keys/${FPR}/burn?reason=x`, "POST");
  expect(answer.code).toBe(404);
  const bad = await control(running.logPath, "/keys/8783D481/block?reason=x", "POST");
  expect([bad.code, bad.body]).toEqual([409, expect.stringContaining("is a key ID")]);
});

it("a hard revocation passes where it may, and leaves without the user id", async () => {
  const FAR = "pgp-public-keys@far.example.net";
  const far = new LegacySite(FAR);
  const port = await far.start();
  onTestFinished(() => far.stop());
  const config =
    `${HEAD}${FEEDER}[outbound]\nrelay = "smtp://127.0.0.1:${port}"\n` +
    `[[peer]]\nname = "far"\nmail = "${FAR}"\n`;
  const directory = scratch();
  const running = await startGateway(config, { directory });
  const say = commands(directory, config);
  const armorOf = (name: string) => {
    const mail = readFileSync(new URL(`../fixtures/mails/${name}`, import.meta.url), "latin1");
    return mail.slice(mail.indexOf("-----BEGIN"));
  };
  await running.mail(armorOf("onak-revocation-1-key.eml"));
  await until(() => far.received.length === 1);
  const [fingerprint = ""] = far.received[0]?.fingerprints ?? [];
  const before = far.hashes().get(fingerprint);
  const allowed = { ...why, allowRevocation: true };
  expect((await say("block", fingerprint, allowed)).said).toContain("; hard revocations pass.");
  await expect(running.mail(`${ONE}\n`)).resolves.toMatch(/^250 /);
  expect(await running.mail(armorOf("onak-revocation-2-no-user-id.eml"))).toMatch(/^250 /);
  await until(() => far.received.length === 3);
  expect(far.received[2]?.fingerprints).toEqual([fingerprint]);
  expect(far.hashes().get(fingerprint)).not.toBe(before);
  // Without a block the mail would be completed with the user id that is remembered.
  expect(running.reports.some(({ event }) => event === "incomplete")).toBe(true);
});

/** The armored key of FPR. */
function keyFile(): string {
  const name = "../fixtures/keys/role-F8D2585B8783D481.asc";
  return readFileSync(new URL(name, import.meta.url), "latin1");
}

const kx = (name: string, more: string) =>
  `${HEAD}[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "${name}"\n${more}`;

it("a reload with a longer list of keys to carry fetches what was declined", async () => {
  const a = await startGateway(`${kx("b", 'kx = "127.0.0.2:1"\n')}${FEEDER}`);
  const keys = [made("carried", 1, 1000), made("declined", 1, 1000)];
  for (const { armor } of keys) await a.mail(armor);
  const port = a.gateway.listening.kx[0]?.port;
  const directory = scratch();
  const list = (count: number) => {
    const names = keys.slice(0, count).map(({ fingerprint }) => `${fingerprint}\n`);
    writeFileSync(join(directory, "keys.txt"), names.join(""));
  };
  list(1);
  const config = kx("a", `kx = "127.0.0.1:${port}"\ndial = true\n`)
    .replace("[kx]\n", '[kx]\nsource = "127.0.0.2"\n')
    .replace("[kx]", '[policy]\ncarry = "keys.txt"\n[kx]');
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, config);
  // The lists of keys are read with the file.
  const b = await startGateway(HEAD, { directory });
  expect(await b.gateway.reload(loadConfig(file, {}))).toBe(true);
  const count = (event: string) => b.reports.filter((one) => one.event === event).length;
  await until(() => count("accepted") === 1 && count("update-declined") > 0);
  list(2);
  expect(await b.gateway.reload(loadConfig(file, {}))).toBe(true);
  await until(() => count("accepted") === 2);
  const before = count("update-declined");
  expect(await b.gateway.reload(loadConfig(file, {}))).toBe(true);
  expect(count("update-declined")).toBe(before);
});

it.each(["running", "stopped"])(
  "unblock of a %s gateway lets a KX peer have what it withheld",
  async (how) => {
    const directory = scratch();
    const listen = `127.0.0.1:${await freePort()}`;
    const config = `${kx("b", 'kx = "127.0.0.2:1"\n')}${FEEDER}`.replace(
      '[kx]\nlisten = ["127.0.0.1:0"]',
      `[kx]\nlisten = ["${listen}"]`,
    );
    const say = commands(directory, config);
    const a = await startGateway(config, { directory });
    const [first = "", second = ""] = [made("withheld", 1, 1000), made("sent", 1, 1000)].map(
      ({ armor }) => armor,
    );
    const { fingerprint } = made("withheld", 1, 1000);
    await a.mail(first);
    expect((await say("block", fingerprint, why)).code).toBe(0);
    await a.mail(second);
    const b = await startGateway(
      kx("a", `kx = "${listen}"\ndial = true\n`).replace(
        "[kx]\n",
        '[kx]\nsource = "127.0.0.2"\nreconnect = "1s"\n',
      ),
    );
    const held = () => b.reports.filter(({ event }) => event === "accepted").length;
    await until(() => held() === 1);
    if (how === "stopped") await a.stop();
    const { code, said } = await say("unblock", fingerprint, why);
    expect(code).toBe(0);
    expect(said).toContain("What was withheld from neighbours is sent to them");
    if (how === "stopped") await startGateway(config, { directory });
    await until(() => held() === 2);
    const names = b.reports.filter(({ event }) => event === "accepted").map((one) => one.fields);
    expect(names.map((fields) => fields.fingerprint)).toContain(fingerprint);
  },
);
