/**
 * The HKP door among strangers who are many, slow, fast or lying: neighbours get in, slots come
 * back, memory is bounded, and nobody but a neighbour says who has an update.
 */

import { describe, expect, onTestFinished, test } from "vitest";
import { LegacySite } from "../../src/demo/site.js";
import { isOverShare } from "../../src/ingress/shares.js";
import { StrangerRates } from "../../src/ingress/stranger-rates.js";
import { clientHost, clientNetwork } from "../../src/ip-address.js";
import { startGateway } from "../admin/gateway.js";
import { soon } from "../support/soon.js";
import { until } from "../support/until.js";
import {
  FORM,
  form,
  hkpDoor,
  KEY,
  KEYS,
  NEIGHBOUR,
  OTHER,
  type Raw,
  STRANGER,
  sendTo,
} from "./hkp-door.js";

const HEAD = `POST /pks/add HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\n`;
/** Deadlines that a test can wait for. */
const IMPATIENT = { headersMs: 600, graceMs: 600, dataMs: 2000 };

describe("half a request", () => {
  test("of a thousand strangers keeps no neighbour out, and each other only", async () => {
    const { post, open, diagnostics } = await hkpDoor("open = true");
    const before = process.memoryUsage.rss();
    const crowd: Raw[] = [];
    for (let n = 0; n < 1000; n += 1) {
      const one = open(`127.0.1.${1 + Math.floor(n / 5)}`);
      one.socket.write(n % 2 === 0 ? HEAD.slice(0, 40) : `${HEAD}Content-Length: 4000000\r\n\r\n`);
      crowd.push(one);
    }
    await until(() => diagnostics.all("hkp-limited").length >= 900);
    for (const key of KEYS.slice(0, 5)) expect((await post(form(key))).status).toBe(200);
    const turnedAway = crowd.filter(({ heard }) => heard().startsWith("HTTP/1.1 503 "));
    expect(turnedAway.length).toBeGreaterThan(800);
    expect(turnedAway[0]?.heard()).toMatch(/Retry-After: 10\r\n.*too many connections/s);
    const refused = await post(form(OTHER), { from: STRANGER }).catch(() => undefined);
    expect(refused?.status ?? 503).toBe(503);
    expect((process.memoryUsage.rss() - before) / 2 ** 20).toBeLessThan(150);
    expect(diagnostics.all("hkp-limited")[0]).toEqual({
      ...{ neighbour: undefined, client: "127.0.1.0/24", reason: "too many connections" },
    });
  });

  test("of one address takes ten slots and no more", async () => {
    const { open, post, diagnostics } = await hkpDoor("open = true");
    const crowd = Array.from({ length: 12 }, () => open("127.0.0.4"));
    for (const { socket } of crowd) socket.write(HEAD);
    await until(() => diagnostics.all("hkp-limited").length === 2);
    expect((await post(form(KEY), { from: STRANGER })).status).toBe(200);
    for (const { socket } of crowd) socket.destroy();
    const again = () => post(form(OTHER), { from: "127.0.0.4" }).then(({ status }) => status);
    await soon(() => again().catch(() => 0)).toBe(200);
  });

  test.each([
    ["whose head trickles", `${HEAD}X-Slow: `],
    ["whose body trickles", `${HEAD}Content-Length: 10000\r\n\r\nkeytext=`],
    ["whose body comes in small chunks", `${HEAD}Transfer-Encoding: chunked\r\n\r\n`],
    ["that says nothing", ""],
  ])("%s is ended with 408, and its slot comes back", async (_, text) => {
    const { open, diagnostics } = await hkpDoor("open = true", { limits: IMPATIENT });
    const { socket, closed } = open();
    const began = performance.now();
    if (text !== "") socket.write(text);
    const piece = text.includes("chunked") ? "1\r\na\r\n" : "a";
    const trickle = setInterval(() => text !== "" && socket.write(piece), 50);
    onTestFinished(() => clearInterval(trickle));
    expect(await closed).toMatch(/^HTTP\/1\.1 408 /);
    expect(performance.now() - began).toBeLessThan(5000);
    const isBody = text.includes("\r\n\r\n");
    expect(diagnostics.all("hkp-limited")).toMatchObject(isBody ? [{ reason: "too-slow" }] : []);
  });

  test("at 600 bytes a second for longer than the grace is taken", async () => {
    const { open, entries } = await hkpDoor("open = true", { limits: IMPATIENT });
    const body = form(KEY).padEnd(1200, " ").slice(0, 1_000_000);
    const { socket, closed } = open();
    socket.write(`${HEAD}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n`);
    const step = Math.ceil(body.length / 15);
    let at = 0;
    const steady = setInterval(() => {
      socket.write(body.slice(at, at + step));
      at += step;
      if (at >= body.length) clearInterval(steady);
    }, 80);
    onTestFinished(() => clearInterval(steady));
    expect(await closed).toMatch(/^HTTP\/1\.1 200 /);
    expect(entries()).toHaveLength(1);
  });
});

test("bodies of strangers are held up to a total, which neighbours do not feel", async () => {
  const limits = { strangerBytes: 200_000 };
  const { open, post, diagnostics } = await hkpDoor('open = true\nmax_size = "200000"', { limits });
  const first = open();
  const second = open();
  first.socket.write(`${HEAD}Content-Length: 190000\r\n\r\nkeytext=${"a".repeat(150_000)}`);
  second.socket.write(`${HEAD}Content-Length: 190000\r\n\r\nkeytext=${"a".repeat(150_000)}`);
  // Whichever of them comes last has no room.
  const closed = await Promise.race([first.closed, second.closed]);
  expect(closed).toMatch(/^HTTP\/1\.1 503 .*Retry-After: 5/s);
  expect(diagnostics.all("hkp-limited")).toMatchObject([{ reason: "too many at once" }]);
  expect((await post(form(KEY))).status).toBe(200);
  for (const { socket } of [first, second]) socket.destroy();
  const again = () => post(form(OTHER), { from: STRANGER }).then(({ status }) => status);
  await soon(again).toBe(200);
});

describe("a rate for strangers", () => {
  test("is counted by network and never for neighbours", async () => {
    const { post, entries, diagnostics } = await hkpDoor('open = true\nstranger_rate = "3/1h"', {
      stats: () => ({ software: "x" }),
    });
    const status = async (from: string, path = "/pks/add", method = "POST") =>
      (await post(method === "GET" ? "" : form(KEY), { from, path, method })).status;
    for (const from of [STRANGER, "127.0.0.4"]) expect(await status(from)).toBe(200);
    expect(await status(STRANGER, "/pks/lookup?op=stats", "GET")).toBe(200);
    const limited = await post(form(OTHER), { from: "127.0.0.5" });
    expect(limited).toMatchObject({ status: 429, headers: { "retry-after": "1200" } });
    expect(limited.body).toMatch(/^Too fast: at most 3\/1h from 127\.0\.0\.0\/24, try again in /);
    expect(await status(STRANGER, "/pks/lookup?op=stats", "GET")).toBe(429);
    expect(await status("127.0.1.1")).toBe(200);
    for (let n = 0; n < 10; n += 1) expect(await status(NEIGHBOUR)).toBe(200);
    expect(entries()).toHaveLength(1);
    expect(diagnostics.all("hkp-limited")).toMatchObject([
      ...[{ client: "127.0.0.0/24", reason: "too-fast" }, { reason: "too-fast" }],
    ]);
  });

  test("bounds all networks together, and what is remembered of them", () => {
    let now = 0;
    const clock = { now: () => now, monotonic: () => now, random: () => 0.5 };
    const rates = new StrangerRates(
      { clock },
      { rate: { count: 5, periodMs: 60_000 }, networks: 10 },
    );
    const tries = (from: number, count: number) => {
      let taken = 0;
      for (let n = from; n < from + count; n += 1) {
        try {
          rates.take(`10.${n >> 8}.${n & 255}.1`);
          taken += 1;
        } catch {
          // It was told to wait.
        }
      }
      return taken;
    };
    expect(tries(0, 1000)).toBe(50);
    let most = 0;
    for (let minute = 1; minute < 200; minute += 1) {
      now += 60_000;
      expect(tries(minute * 100, 300)).toBe(50);
      most = Math.max(most, rates.size);
    }
    expect(most).toBeLessThanOrEqual(200);
  });
});

test("PKS- headers of a stranger keep an update from nobody; those of a neighbour do", async () => {
  const site = new LegacySite("pgp-public-keys@a.example");
  onTestFinished(() => site.stop());
  const port = await site.start();
  const peers = ["a", "b", "c"].map(
    (name) =>
      `[[peer]]\nname = "${name}"\nmail = "pgp-public-keys@${name}.example"\n` +
      (name === "c" ? 'accept_from = ["127.0.0.2"]\n' : ""),
  );
  const { gateway } = await startGateway(
    `[site]\naddress = "pgp-public-keys@kx.example.org"\n[log]\n` +
      '[hkp]\nlisten = ["127.0.0.1:0"]\nopen = true\n' +
      `[outbound]\nrelay = "smtp://127.0.0.1:${port}"\n${peers.join("")}`,
  );
  const hkp = gateway.listening.hkp[0]?.port ?? 0;
  const recipients = ["a", "b", "c"].map((name) => `mailto:pgp-public-keys@${name}.example`);
  const headers = {
    "PKS-Recipients": recipients.join(", "),
    "PKS-Sender": "pgp-public-keys@a.example",
    "PKS-From": "mailto:pgp-public-keys@b.example",
  };
  const mailedTo = () =>
    site.received
      .map(({ raw }) => /^To: .*@(\w)\.example/m.exec(Buffer.from(raw).toString("latin1"))?.[1])
      .sort();
  expect((await sendTo(hkp, form(KEY), { from: STRANGER }, headers)).status).toBe(200);
  await until(() => site.received.length === 3);
  expect(mailedTo()).toEqual(["a", "b", "c"]);
  // The same words of a neighbour are believed: nobody is left to be mailed.
  expect((await sendTo(hkp, form(OTHER), { from: NEIGHBOUR }, headers)).status).toBe(200);
  expect((await sendTo(hkp, form(KEYS[2] ?? ""), { from: STRANGER })).status).toBe(200);
  await until(() => site.received.length === 6);
  const last = new Set(site.received.slice(3).map(({ fingerprints }) => fingerprints.join()));
  expect(last.size).toBe(1);
});

describe("shares", () => {
  const limits = { sessions: 20, strangers: 10, perNeighbour: 5, perStranger: 3 };
  const many = (count: number, isStranger: boolean, client = (n: number) => `${n}`) =>
    Array.from({ length: count }, (_, n) => ({ client: client(n), isStranger }));
  const [stranger] = many(1, true, () => "new");
  const [neighbour] = many(1, false, () => "new");
  const isOver = (others: typeof open, visitor = stranger) => {
    if (visitor === undefined) throw new Error("nobody");
    return isOverShare([...others, visitor], visitor, limits);
  };
  const open = many(0, true);

  test.each([
    ["a stranger among nine others", many(9, true), stranger, false],
    ["a stranger among ten", many(10, true), stranger, true],
    ["a neighbour among ten strangers", many(10, true), neighbour, false],
    ["the third of an address", many(2, true, () => "new"), stranger, false],
    ["the fourth of an address", many(3, true, () => "new"), stranger, true],
    ["the fifth of a neighbour", many(4, false, () => "new"), neighbour, false],
    ["the sixth of a neighbour", many(5, false, () => "new"), neighbour, true],
    ["anybody when all slots are taken", many(20, false), neighbour, true],
  ])("%s", (_, others, visitor, expected) => {
    expect(isOver(others, visitor)).toBe(expected);
  });
});

test.each([
  ["192.0.2.7", "192.0.2.7", "192.0.2.0/24"],
  ["::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0/24"],
  ["2001:db8::1", "2001:db8::/64", "2001:db8::/48"],
  ["2001:DB8:01:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"],
  ["::1", "::/64", "::/48"],
  ["fe80::1%eth0", "fe80::/64", "fe80::/48"],
  ["2001:db8:1:2::", "2001:db8:1:2::/64", "2001:db8:1::/48"],
  ["", "local", "local"],
])("%s counts as %s, and is told as %s", (address, client, network) => {
  expect([clientHost(address), clientNetwork(address)]).toEqual([client, network]);
});
