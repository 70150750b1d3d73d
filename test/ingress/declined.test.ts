/**
 * What the gateway declines, as a sender reads it. By mail through the real relay client, and
 * through a relay that bounces: the reply is about the update and not about the site. By HKP from a
 * neighbour's keyserver: each key of a request has its own result.
 */
import { describe, expect, test } from "vitest";
import { admit, MAX_KEYS } from "../../src/admit.js";
import { outcomeOf, SmtpRelay } from "../../src/delivery/relay.js";
import { REFUSALS, Refusal, type RefusalReason } from "../../src/errors.js";
import { typedParts } from "../../src/intake/mime.js";
import { judgeBounce } from "../../src/mail/delivery-report.js";
import { readHead } from "../../src/mail/head.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import type { TransferableKey } from "../../src/openpgp/key.js";
import { encodePackets, TAG } from "../../src/openpgp/packet.js";
import { postfix } from "../mail/bounce-shapes.js";
import { bytes } from "../mail/fixtures.js";
import { fullLog } from "../support/full-log.js";
import { NEIGHBOUR, openDoor, SITE } from "./door.js";
import { form, hkpDoor, KEY, KEYS, OTHER } from "./hkp-door.js";

const LETTER = bytes(`From: ${NEIGHBOUR}\r\nSubject: incremental\r\n\r\n${KEY}`);

/** Reasons by which a key is declined and not a mail or a sender. */
const DECLINED = (Object.keys(REFUSALS) as RefusalReason[]).filter(
  (reason) => "isDeclined" in REFUSALS[reason],
);

/** What the relay client makes of the door's reply to the mail with KEY, and the reply. */
async function handedOver(port: number) {
  const relay = new SmtpRelay(`smtp://127.0.0.1:${port}`, "pks.example.net");
  try {
    return await relay.deliver(LETTER, NEIGHBOUR, SITE);
  } finally {
    relay.close();
  }
}

/** What a gateway makes of a bounce by Postfix with this reply in it. */
async function bounced(reply: string) {
  const status = reply.split(" ")[1] ?? "";
  const raw = bytes(postfix("failed", status, `smtp; ${reply}`));
  return judgeBounce(readHead(raw).fields, await typedParts(raw));
}

describe("by mail", () => {
  test.each(DECLINED)("%s is about the update, directly and in a bounce", async (reason) => {
    const judge = ({ fingerprint }: TransferableKey) =>
      new Refusal(reason, `This gateway does not carry the key ${fingerprint}.`);
    const { port } = await openDoor({}, undefined, undefined, "", { judge });
    const outcome = await handedOver(port);
    const [code, status] = REFUSALS[reason].smtp;
    expect(outcome).toMatchObject({ kind: "refused", code });
    const reply = "words" in outcome ? (/\d{3} .*/.exec(outcome.words)?.[0] ?? "") : "";
    expect(reply).toContain(`${code} ${status} `);
    expect(await bounced(reply)).toMatchObject({ kind: "update", status, code });
  });

  test("a sender that is no neighbour reads that the site is the trouble", async () => {
    const { client } = await openDoor();
    const stranger = await client("127.0.0.9");
    const reply = await stranger.say(`MAIL FROM:<${NEIGHBOUR}>`);
    expect(await bounced(reply)).toMatchObject({ kind: "site", status: "5.7.1", code: 550 });
    const refused = Object.assign(new Error(reply), { code: "EENVELOPE", responseCode: 550 });
    expect(outcomeOf(refused)).toMatchObject({ kind: "temporary", code: 550 });
  });
});

describe("by HKP, several keys in one request", () => {
  const AS_SERVER = { "PKS-Sender": NEIGHBOUR };
  const [one, two, third] = KEYS.map((armor) => admit([bytes(armor)]).updates[0]?.fingerprint);
  const THIRD = KEYS[2] ?? "";
  const named = (...fingerprints: (string | undefined)[]) =>
    fingerprints.map((name) => ({ version: 4, fingerprint: name?.toLowerCase() }));
  const judge = ({ fingerprint }: TransferableKey) =>
    fingerprint === two ? new Refusal("blocked", "This gateway does not carry it.") : undefined;

  test("one of them declined: the others are stored and named", async () => {
    const { post, entries, diagnostics } = await hkpDoor("", { judge });
    const all = form(KEY + OTHER + THIRD);
    const answer = await post(all, {}, AS_SERVER);
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      200,
      { inserted: named(one, third), updated: [], ignored: named(two), invalid: [] },
    ]);
    expect(entries().map(({ fingerprint }) => fingerprint)).toEqual([one, third]);
    expect(diagnostics.all("key-refused")).toMatchObject([{ fingerprint: two, reason: "blocked" }]);
    const again = await post(`${all}&options=mr`);
    expect(JSON.parse(again.body)).toEqual({
      ...{ inserted: [], updated: [], ignored: named(one, third, two), invalid: [] },
    });
  });

  test("all of one keyring, with a block that cannot be read in the middle", async () => {
    const { post, entries } = await hkpDoor();
    const rest = KEYS.slice(1).join("");
    const answer = await post(form(`${KEY}${OTHER.slice(0, 700)}\n${rest}`), {}, AS_SERVER);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ updated: [], ignored: [], invalid: [] });
    expect(JSON.parse(answer.body).inserted).toHaveLength(KEYS.length);
    expect(entries()).toHaveLength(KEYS.length);
  });

  test("none of which makes sense: one line and 422", async () => {
    const { post, entries } = await hkpDoor();
    const half = KEY.slice(0, 700);
    const answer = await post(form(half + half), {}, AS_SERVER);
    expect(answer).toMatchObject({ status: 422, body: expect.stringMatching(/^[^\n]{5,120}\n$/) });
    expect(entries()).toEqual([]);
  });

  test("a secret key among them is not kept, and the others are", async () => {
    const { post, entries } = await hkpDoor();
    const secret = KEY.replaceAll("PUBLIC KEY", "PRIVATE KEY");
    const answer = await post(form(OTHER + secret), {}, AS_SERVER);
    expect(JSON.parse(answer.body)).toMatchObject({ inserted: named(two), ignored: [] });
    expect(entries().map(({ fingerprint }) => fingerprint)).toEqual([two]);
  });

  test("more than are taken at once: 200, so that the round goes on", async () => {
    const { post, entries, diagnostics } = await hkpDoor();
    const oid = [9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1];
    const point = [1, 7, 0x40, ...Buffer.alloc(32, 5)];
    const body = Buffer.from([4, 0, 0, 0, 1, 22, ...oid, ...point]);
    const primaries = new Array(MAX_KEYS + 1).fill({ tag: TAG.publicKey, body });
    const all = form(encodeArmor(encodePackets(primaries)));
    const answer = await post(all, {}, AS_SERVER);
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      200,
      { inserted: [], updated: [], ignored: [], invalid: [] },
    ]);
    expect(entries()).toEqual([]);
    expect(diagnostics.all("mail-refused")).toMatchObject([{ reason: "too-large" }]);
    expect((await post(`${all}&options=mr`)).status).toBe(413);
  });

  test("from a person: one line, and nothing is stored", async () => {
    const { post, entries } = await hkpDoor("", { judge });
    expect(await post(form(KEY + OTHER))).toMatchObject({ status: 422 });
    expect(entries()).toEqual([]);
  });
});

describe("by HKP, a Hockeypuck that does not send PKS-Sender", () => {
  const blocks = { judge: () => new Refusal("blocked", "This gateway does not carry it.") };

  test.each(["Go-http-client/1.1", "Hockeypuck/2.4.0"])("%s", async (agent) => {
    const headers = { "User-Agent": agent };
    const { post } = await hkpDoor("", blocks);
    const answer = await post(form(KEY), {}, headers);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ inserted: [], ignored: [{ version: 4 }] });
    const full = await hkpDoor("", { wrap: fullLog });
    await expect(full.post(form(KEY), {}, headers)).rejects.toThrow(/socket hang up|ECONNRESET/);
    expect((await full.post(form(KEY), {}, { "User-Agent": "GnuPG/2.2" })).status).toBe(503);
  });

  test("above its rate: closed without an answer, and stored when it comes again", async () => {
    const peer = '[[peer]]\nname = "here"\naccept_from = ["127.0.0.4"]\naccept_rate = "1/10s"';
    const time = { ms: 0 };
    const clock = { now: () => Date.now(), monotonic: () => time.ms, random: () => 0 };
    const { post, entries } = await hkpDoor(peer, { clock });
    const send = (armor: string) =>
      post(form(armor), { from: "127.0.0.4" }, { "User-Agent": "Go-http-client/1.1" });
    expect((await send(KEY)).status).toBe(200);
    await expect(send(OTHER)).rejects.toThrow(/socket hang up|ECONNRESET/);
    expect(entries()).toHaveLength(1);
    time.ms += 10_000;
    expect((await send(OTHER)).status).toBe(200);
    expect(entries()).toHaveLength(2);
  });
});
