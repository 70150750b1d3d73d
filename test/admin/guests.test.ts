/**
 * Who is answered at [admin]: a request that names this host, and a probe whatever else is open.
 */
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { hostname } from "node:os";
import { describe, expect, onTestFinished, test } from "vitest";
import { ADMIN_LIMITS } from "../../src/admin/admin-door.js";
import { Guests } from "../../src/admin/guests.js";
import { LIVE_LIMITS } from "../../src/admin/live.js";
import { soon } from "../support/soon.js";
import { control, FEEDER, HEAD, startGateway } from "./gateway.js";

const NAMES = 'names = ["KX.example.org", "ops.example.net"]\n';
const CONFIG = HEAD.replace("[admin]\n", `[admin]\n${NAMES}`) + FEEDER;

interface Answer {
  readonly code: number;
  readonly body: string;
}

/** GET `path` from an address, by a name; the code is 0 when the connection is closed. */
function get(base: string, path: string, host?: string, from = "127.0.0.1"): Promise<Answer> {
  return new Promise((resolve) => {
    const port = new URL(base).port;
    const headers = host === undefined ? {} : { Host: host };
    const asked = request(
      { host: "127.0.0.1", port, path, headers, localAddress: from, agent: false },
      (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => {
          body += chunk.toString();
        });
        response.on("end", () => resolve({ code: response.statusCode ?? 0, body }));
      },
    );
    asked.on("error", () => resolve({ code: 0, body: "" }));
    asked.end();
  });
}

/** A connection that says `text`, and what it hears. */
function talk(base: string, text: string, from = "127.0.0.1") {
  const socket = connect({
    host: "127.0.0.1",
    port: Number(new URL(base).port),
    localAddress: from,
  });
  const state = { heard: "", isClosed: false };
  socket.on("data", (bytes) => {
    state.heard += bytes.toString("latin1");
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    state.isClosed = true;
  });
  onTestFinished(() => void socket.destroy());
  if (text !== "") socket.write(text);
  return state;
}

describe("the host that a request names", () => {
  test.each([
    "127.0.0.1",
    "127.0.0.1:9627",
    "192.0.2.7:9627",
    "[::1]:9627",
    "[2001:db8::7]",
    "localhost",
    "LOCALHOST.:80",
    "kx.example.org",
    "Kx.Example.Org:9627",
    "ops.example.net.",
    hostname(),
  ])("%s is ours", async (host) => {
    const { base } = await startGateway(CONFIG);
    for (const path of ["/", "/status.json", "/metrics", "/livez", "/readyz"]) {
      expect([path, (await get(base, path, host)).code]).toEqual([path, 200]);
    }
  });

  test.each([
    "rebound.example",
    "127.0.0.1.rebound.example",
    "localhost.rebound.example:9627",
    "kx.example.org.rebound.example",
    "1.2.3",
    "[::1].rebound.example",
  ])("%s is not", async (host) => {
    const { base } = await startGateway(CONFIG);
    for (const path of ["/", "/status.json", "/metrics", "/events", "/update/x", "/livez"]) {
      const { code, body } = await get(base, path, host);
      expect([path, code]).toEqual([path, 421]);
      expect(body).toMatch(/^This server is not .*names of \[admin\]\.\n$/);
      expect(body).not.toContain("pgp-public-keys");
    }
  });

  test("in the target goes before the header; without either no browser is asking", async () => {
    const { base, logPath } = await startGateway(CONFIG);
    const lines = [
      ["GET http://rebound.example/status.json HTTP/1.1\r\nHost: localhost", 421],
      ["GET //rebound.example/status.json HTTP/1.1\r\nHost: localhost", 421],
      ["GET http://kx.example.org/livez HTTP/1.1\r\nHost: kx.example.org", 200],
      ["GET /livez HTTP/1.0", 200],
    ] as const;
    for (const [line, code] of lines) {
      const client = talk(base, `${line}\r\nConnection: close\r\n\r\n`);
      await soon(() => client.isClosed).toBe(true);
      expect([line, Number(client.heard.slice(9, 12))]).toEqual([line, code]);
    }
    expect((await control(logPath, "/livez")).code).toBe(200);
  });

  test("is not put into the answer as it is", async () => {
    const { base } = await startGateway(CONFIG);
    const { body } = await get(base, "/", "<script>.example");
    expect(body).toContain("This server is not ?script?.example.");
  });
});

describe("room for probes", () => {
  const STREAM = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const probes = async (base: string, from: string) => {
    for (const path of ["/livez", "/readyz", "/metrics"]) {
      expect([from, path, (await get(base, path, undefined, from)).code]).toEqual([
        from,
        path,
        200,
      ]);
    }
  };

  test("is left by live streams: ten of an address, twenty in all", async () => {
    const { base } = await startGateway(CONFIG);
    const streams = (from: string) => Array.from({ length: 12 }, () => talk(base, STREAM, from));
    const count = (all: { readonly heard: string }[], code: number) =>
      all.filter(({ heard }) => heard.startsWith(`HTTP/1.1 ${code} `)).length;
    const first = streams("127.0.0.1");
    await soon(() => [count(first, 200), count(first, 503)]).toEqual([10, 2]);
    const second = streams("127.0.0.2");
    await soon(() => [count(second, 200), count(second, 503)]).toEqual([10, 2]);
    const third = streams("127.0.0.3");
    await soon(() => [count(third, 200), count(third, 503)]).toEqual([0, 12]);
    for (const from of ["127.0.0.1", "127.0.0.2", "127.0.0.4"]) await probes(base, from);
    expect(count([...first, ...second], 200)).toBe(20);
  });

  test("is left by connections on which nothing is asked, of one address and of many", async () => {
    const { base } = await startGateway(CONFIG);
    const crowd = Array.from({ length: 200 }, (_, n) =>
      talk(base, n % 2 === 0 ? "" : "GET / HTTP/1.1\r\n", `127.0.1.${1 + Math.floor(n / 4)}`),
    );
    const alone = Array.from({ length: 100 }, () => talk(base, "", "127.0.0.1"));
    await soon(
      () => [...crowd, ...alone].filter(({ isClosed }) => isClosed).length,
    ).toBeGreaterThanOrEqual(250);
    for (const from of ["127.0.0.1", "127.0.0.9", "127.0.1.1"]) await probes(base, from);
  });

  test("comes back when a request is not complete in time", { timeout: 30_000 }, async () => {
    const { base } = await startGateway(CONFIG);
    const half = talk(base, "GET /livez HTTP/1.1\r\nX-Slow: ");
    await expect.poll(() => half.isClosed, { timeout: ADMIN_LIMITS.requestMs + 10_000 }).toBe(true);
    expect(half.heard).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe("guests", () => {
  const limits = { connections: 4, perAddress: 3, streams: 2, streamsPerAddress: 2 };

  /** A socket as far as it is asked. */
  function fake(address: string) {
    const state = { remoteAddress: address, isGone: false };
    const socket = {
      ...{ remoteAddress: address, once: () => socket },
      destroy: () => {
        state.isGone = true;
      },
    } as unknown as Socket;
    return { socket, state };
  }

  test("go in their order: who asks nothing, then streams, and the newest only at the end", () => {
    const guests = new Guests(limits);
    const [a, b, c, d, e, f, g] = ["1", "2", "3", "4", "5", "6", "7"].map(fake);
    if (!a || !b || !c || !d || !e || !f || !g) throw new Error("no guests");
    for (const { socket } of [a, b, c, d]) guests.enter(socket);
    guests.turn(a.socket, "asking");
    expect(guests.stream(a.socket)).toBe(true);
    guests.turn(b.socket, "asking");
    const gone = () => [a, b, c, d, e, f, g].map(({ state }) => state.isGone);
    guests.enter(e.socket);
    expect(gone()).toEqual([false, false, true, false, false, false, false]);
    guests.turn(d.socket, "asking");
    guests.turn(e.socket, "asking");
    guests.enter(f.socket);
    expect(gone()).toEqual([true, false, true, false, false, false, false]);
    guests.turn(f.socket, "asking");
    guests.enter(g.socket);
    expect(gone()).toEqual([true, false, true, false, false, false, true]);
  });

  test("of one address share its room, and streams have less", () => {
    const guests = new Guests(limits);
    const [a, b, c, d] = ["1", "1", "1", "1"].map(fake);
    if (!a || !b || !c || !d) throw new Error("no guests");
    for (const { socket } of [a, b, c]) guests.enter(socket);
    expect([a, b, c].map(({ socket }) => guests.stream(socket))).toEqual([true, true, false]);
    guests.turn(c.socket, "asking");
    guests.enter(d.socket);
    expect([a, b, c, d].map(({ state }) => state.isGone)).toEqual([true, false, false, false]);
  });

  test("have streams that leave room", () => {
    expect(LIVE_LIMITS.clients).toBeLessThan(ADMIN_LIMITS.connections);
    expect(LIVE_LIMITS.perAddress).toBeLessThan(ADMIN_LIMITS.perAddress);
    expect(ADMIN_LIMITS.perAddress).toBeLessThan(ADMIN_LIMITS.connections);
  });
});
