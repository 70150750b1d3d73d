/** The HKP door over real HTTP: who may post, what is stored, how bad requests are answered. */
import { connect } from "node:net";
import { generateKey } from "openpgp";
import { describe, expect, test } from "vitest";
import { fullLog } from "../support/full-log.js";
import { pause } from "../support/until.js";
import { FORM, form, hkpDoor, KEY, OTHER } from "./hkp-door.js";

describe("a key", () => {
  test("is stored once, from a neighbour, and answered as Hockeypuck does", async () => {
    const { post, entries } = await hkpDoor();
    const first = await post(form(KEY));
    expect(first.status).toBe(200);
    expect(first.headers["content-type"]).toBe("application/json");
    const [entry] = entries();
    const fingerprint = entry?.fingerprint.toLowerCase();
    expect(JSON.parse(first.body)).toEqual({
      ...{ inserted: [{ version: 4, fingerprint }], updated: [], ignored: [], invalid: [] },
    });
    expect(entry?.origin).toEqual({ neighbour: "pks", transport: "hkp" });
    const again = JSON.parse((await post(form(KEY))).body);
    expect(again).toMatchObject({ inserted: [], ignored: [{ fingerprint }] });
    expect(entries()).toHaveLength(1);
  });

  test("has the trail that PKS-Recipients and PKS-Sender say, and the sender's own", async () => {
    const { post, log, entries } = await hkpDoor();
    const headers = {
      "PKS-Sender": "Keys <keymaster@ks.example.com>",
      "PKS-From": "https://ks.example.com",
      "PKS-Recipients": 'https://a.example, mailto:"pks"@b.example.,MAILTO:pks@c.example, x y',
    };
    expect((await post(form(KEY), {}, headers)).status).toBe(200);
    expect(entries().flatMap(({ seq }) => log.trails.get(seq))).toEqual([
      ...["pks@b.example", "pks@c.example", "keymaster@ks.example.com"],
      "pgp-public-keys@pks.example.net",
    ]);
  });

  test("has sites in its trail that are named by their HKP addresses", async () => {
    const local = '[local]\ntype = "hkp"\nurl = "http://ks.example.com:11371"\n';
    const peer = '[[peer]]\nname = "far"\nmail = "pks@far.example"\nrepair = "hkps://far.example"';
    const { post, log, entries } = await hkpDoor(`${local}address = "pks@ks.example.com"\n${peer}`);
    const headers = { "PKS-From": "hkps://KS.example.com", "PKS-Recipients": "hkp://[, https:///" };
    expect((await post(form(KEY), {}, headers)).status).toBe(200);
    const others = {
      "PKS-Recipients": "mailto:a@b.example, hkp://ks.example.com:11371, hkp://far.example:1",
    };
    expect((await post(form(OTHER), {}, others)).status).toBe(200);
    const site = "pgp-public-keys@pks.example.net";
    expect(entries().map(({ seq }) => log.trails.get(seq))).toEqual([
      ["pks@ks.example.com", site],
      ["a@b.example", "pks@ks.example.com", "pks@far.example", site],
    ]);
  });

  test("is taken from anybody when the operator says so", async () => {
    const closed = await hkpDoor();
    expect(await closed.post(form(KEY), { from: "127.0.0.3" })).toMatchObject({
      status: 403,
      body: "this address is not a neighbour of this keyserver\n",
    });
    const open = await hkpDoor("open = true");
    expect((await open.post(form(KEY), { from: "127.0.0.3" })).status).toBe(200);
    expect(open.entries().map(({ origin }) => origin.neighbour)).toEqual([undefined]);
  });
});

describe("a bad request", () => {
  const oneLine = expect.stringMatching(/^[^\n]{5,120}\n$/);

  test.each([
    ["no keytext", "options=mr", 400],
    ["an empty keytext", form(""), 400],
    ["two keytexts", form(KEY, OTHER), 400],
    ["nothing", "", 400],
    ["no armor", form("hello"), 422],
    ["half of it", form(KEY.slice(0, 700)), 422],
    ["two keys", form(KEY + OTHER), 422],
    ["another key and junk beside it", form(KEY + OTHER.slice(0, 700)), 422],
    ["bytes", Buffer.from([0x99, 0x00, 0xff]), 400],
    ["a bad escape", "keytext=%ZZ%", 422],
  ])("is answered in one line: %s", async (_, body, status) => {
    const { post, entries } = await hkpDoor();
    expect(await post(body)).toMatchObject({ status, body: oneLine });
    expect(entries()).toEqual([]);
  });

  test("with a secret key, which is not kept or shown anywhere", async () => {
    const { post, entries, diagnostics } = await hkpDoor();
    const { privateKey } = await generateKey({ userIDs: { name: "A" }, format: "armored" });
    const answer = await post(form(privateKey));
    expect(answer).toMatchObject({ status: 422, body: oneLine });
    expect(entries()).toEqual([]);
    expect(diagnostics.all("mail-refused")).toMatchObject([{ reason: "secret-key" }]);
    expect(JSON.stringify(diagnostics.events)).not.toContain(privateKey.slice(100, 160));
  });

  test("of another kind", async () => {
    const { post } = await hkpDoor();
    const json = { "Content-Type": "application/json" };
    expect(await post(form(KEY), {}, json)).toMatchObject({ status: 400, body: oneLine });
    const get = await post("", { method: "GET" });
    expect(get).toMatchObject({ status: 405, body: oneLine, headers: { allow: "POST" } });
    const lookup = await post("", { method: "GET", path: "/pks/lookup?op=get&search=0x1" });
    expect(lookup.status).toBe(404);
    expect((await post(form(KEY), { path: "/pks/add?options=mr" })).status).toBe(200);
  });

  test.each([
    ["10 MiB", 10 * 1024 ** 2],
    ["40 MiB", 40 * 1024 ** 2],
  ])("of %s is refused and hurts nobody", async (_, size) => {
    const { post, entries } = await hkpDoor();
    const body = `keytext=${"a".repeat(size)}`;
    // Far too much is cut off, and then the client may not come to read the answer.
    const answer = await post(body).catch((error: NodeJS.ErrnoException) => error.code);
    if (typeof answer === "string") expect(answer).toMatch(/^(EPIPE|ECONNRESET)$/);
    else expect(answer).toMatchObject({ status: 413, body: oneLine });
    if (size < 16 * 1024 ** 2) expect(answer).toMatchObject({ status: 413 });
    expect((await post(form(KEY))).status).toBe(200);
    expect(entries()).toHaveLength(1);
  });
});

test("a client that leaves in the middle is forgotten", async () => {
  const { post, port, entries, diagnostics } = await hkpDoor();
  for (const head of ["", `Content-Type: ${FORM}\r\nContent-Length: 5000\r\n\r\nkeytext=`]) {
    const socket = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" });
    socket.write(`POST /pks/add HTTP/1.1\r\nHost: x\r\n${head}`);
    // The door is to read it before the client leaves.
    await pause(50);
    socket.destroy();
  }
  expect((await post(form(KEY))).status).toBe(200);
  expect(entries()).toHaveLength(1);
  expect(diagnostics.events.map(({ event }) => event)).toEqual(["accepted"]);
});

test("a log in trouble is 503 with a time to come back, never stored", async () => {
  const { post, diagnostics } = await hkpDoor("", { wrap: fullLog });
  const answer = await post(form(KEY));
  expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "60" } });
  expect(answer.body).not.toContain("/var");
  expect(diagnostics.all("mail-deferred")).toMatchObject([{ kind: "disk-full" }]);
});
