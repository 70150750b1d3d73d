/**
 * The KX door on real sockets: who is let in, what a bad connection costs, how it comes back, and
 * that nothing is left of it once it has stopped.
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/clock.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { EventName, Fields } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import type { AppendPort } from "../../src/log/append-port.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { REDIAL_LIMITS } from "../../src/peering/redial.js";
import { KxDoor } from "../../src/peering/tcp.js";
import type { Update } from "../../src/update.js";
import { pause, quietFor, until } from "../support/until.js";
import { made } from "../torture/material.js";

const GREETING = "a000|HELO|1.0|.|a001|IHAVE|NOTIFY|.|".replaceAll("|", "\r\n");

function ownPort(log: UpdateLog): AppendPort {
  return new GroupCommit(log);
}

/** A door before a log in memory; `peers` is its configuration of them. */
async function openDoor(
  peers: string,
  random = systemClock.random,
  { listen = "127.0.0.1:0", reconnect = "30ms", appends = ownPort } = {},
) {
  const text = `[site]
address = "keys@kx.example.org"
[log]
[kx]
listen = ["${listen}"]
reconnect = "${reconnect}"
${peers}`;
  const config = parseConfig(text, "test.toml", "/", {});
  if (config.kx === undefined) throw new Error("no [kx]");
  const log = UpdateLog.open(":memory:");
  const events: { readonly event: EventName; readonly fields: Fields }[] = [];
  const report = (event: EventName, fields: Fields = {}) => events.push({ event, fields });
  const clock: Clock = { ...systemClock, random };
  const door = new KxDoor(
    { log, appends: appends(log), clock, diagnostics: { report } },
    { ...config, kx: config.kx },
  );
  const [bound] = await door.start();
  onTestFinished(async () => {
    await door.stop();
    log.close();
  });
  if (bound === undefined) throw new Error("not listening");
  const hold = (...updates: Update[]) => {
    const origin = { neighbour: undefined, transport: "mail" } as const;
    log.append(updates.map((update) => ({ update, origin, trail: [], receivedAt: 1 })));
  };
  const all = (event: EventName) => events.filter((one) => one.event === event);
  return { door, log, port: bound.port, hold, all };
}

function peer(name: string, address: string, dial = false): string {
  return `[[peer]]\nname = "${name}"\nkx = "${address}"\nvia = "kx"\ndial = ${dial}\n`;
}

/** A connection from an address of loopback, and all that it was told. */
function visitor(port: number, localAddress: string, host = "127.0.0.1") {
  const socket = connect({ host, port, localAddress });
  const heard: Buffer[] = [];
  const state = { isClosed: false };
  socket.on("data", (bytes) => heard.push(bytes));
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    state.isClosed = true;
  });
  onTestFinished(() => {
    socket.destroy();
  });
  return {
    socket,
    state,
    text: () => Buffer.concat(heard).toString("latin1"),
    bytes: () => heard.reduce((sum, { length }) => sum + length, 0),
  };
}

/** A listener that a test can take away and bring back on its port. */
async function listener(onSocket: (socket: Socket) => void, port = 0) {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
  onTestFinished(close);
  return { port: (server.address() as AddressInfo).port, close };
}

test("a peer whose messages take long is read on when others had their turn", async () => {
  const peers = [peer("friend", "127.0.0.2:1"), peer("flood", "127.0.0.4:1")];
  const { port, hold } = await openDoor(peers.join(""));
  const { update } = made("held", 1);
  hold(update);
  const friend = visitor(port, "127.0.0.2");
  const flood = visitor(port, "127.0.0.4");
  friend.socket.write(GREETING);
  flood.socket.write(GREETING);
  await until(() => friend.bytes() > 0 && flood.bytes() > 0);
  const asks = (tag: string) => `${tag}\r\nLIST\r\n1\r\n.\r\n`;
  let turns = 0;
  const answered = (text: string, tag: string) => text.includes(`IHAVE\r\n${tag}\r\n`);
  friend.socket.on("data", (bytes) => {
    if (!answered(bytes.toString("latin1"), "b000")) return;
    turns += 1;
    friend.socket.write(asks("b000"));
  });
  const notice = (tag: string, count: number) => {
    const lines = Array.from({ length: count }, (_, n) => {
      return `${n + 1} ${update.fingerprint} ${update.hash}`;
    });
    return `${tag}\r\nIHAVE\r\nNOTIFY\r\n${lines.join("\r\n")}\r\n.\r\n`;
  };
  let [read, before] = [0, 0];
  flood.socket.on("data", (bytes) => {
    if (answered(bytes.toString("latin1"), "b002")) before = turns - read;
  });
  friend.socket.write(asks("b000"));
  // The second notice is longer than a piece, so that the question is not in that of the first.
  flood.socket.write(notice("b001", 40_000) + notice("b003", 500) + asks("b002"), () => {
    read = turns;
  });
  await until(() => answered(flood.text(), "b002"));
  // The notice takes longer than `longMs`, so its sender waits three times as long.
  expect(before).toBeGreaterThan(20);
});

describe("an address", () => {
  test("that is no peer's is closed before a byte is sent, whatever it says", async () => {
    const { port, all } = await openDoor(peer("friend", "127.0.0.2:1"));
    const stranger = visitor(port, "127.0.0.3");
    stranger.socket.write(GREETING);
    await until(() => stranger.state.isClosed);
    expect(stranger.bytes()).toBe(0);
    expect(all("peer-unknown").map(({ fields }) => fields)).toEqual([{ address: "127.0.0.3" }]);
    expect(all("peer-connected")).toEqual([]);
  });

  test("that is no peer's costs ten lines a minute, however often it comes", async () => {
    const { port, all } = await openDoor(peer("friend", "127.0.0.2:1"));
    for (let n = 0; n < 10; n++) {
      const strangers = Array.from({ length: 10 }, () => visitor(port, "127.0.0.3"));
      await until(() => strangers.every(({ state }) => state.isClosed));
    }
    expect(all("peer-unknown").length).toBe(10);
  });

  test("of a peer is greeted, four times at once and not five", async () => {
    const { door, port } = await openDoor(peer("friend", "127.0.0.2:1"));
    const visitors = Array.from({ length: 4 }, () => visitor(port, "127.0.0.2"));
    await until(() => visitors.every(({ text }) => text().includes("HELO")));
    const fifth = visitor(port, "127.0.0.2");
    await until(() => fifth.state.isClosed);
    expect(fifth.bytes()).toBe(0);
    visitors[2]?.socket.write(GREETING);
    await until(() => door.status()[0]?.connected === true);
  });
});

describe("addresses are values:", () => {
  test.each([
    ["[::1]:0", "::1", "::1", "[0:0:0:0:0:0:0:1]:1"],
    ["[::1]:0", "::1", "::1", "[0000::0001]:1"],
    // A socket for both families reports IPv4 clients as ::ffff:127.0.0.2.
    ["[::]:0", "127.0.0.1", "127.0.0.2", "127.0.0.2:1"],
    ["[::]:0", "127.0.0.1", "127.0.0.2", "[::FFFF:127.0.0.2]:1"],
    ["127.0.0.1:0", "127.0.0.1", "127.0.0.2", "[::ffff:7f00:2]:1"],
    ["[::ffff:127.0.0.1]:0", "127.0.0.1", "127.0.0.2", "127.0.0.2:1"],
  ])("on %s, at %s, from %s, the peer %s is known", async (listen, host, from, endpoint) => {
    const given = { listen };
    const { door, port, all } = await openDoor(peer("friend", endpoint), undefined, given);
    const guest = visitor(port, from, host);
    guest.socket.write(GREETING);
    await until(() => door.status()[0]?.connected === true);
    expect(all("peer-unknown")).toEqual([]);
  });

  test("a dialled peer is reached by every spelling", async () => {
    const { port } = await listener((socket) => socket.write(GREETING));
    const { door, all } = await openDoor(peer("friend", `[::FFFF:7F00:1]:${port}`, true));
    await until(() => door.status()[0]?.connected === true);
    expect(all("peer-connected")).toMatchObject([{ fields: { neighbour: "friend" } }]);
  });

  test("another address of the same network is a stranger's", async () => {
    const { port, all } = await openDoor(peer("friend", "[::2]:1"), undefined, {
      listen: "[::1]:0",
    });
    const stranger = visitor(port, "::1", "::1");
    await until(() => stranger.state.isClosed);
    expect(all("peer-unknown").map(({ fields }) => fields.address)).toEqual(["::1"]);
  });
});

describe('a neighbour with a kx endpoint and via = "mail"', () => {
  test("is neither dialled nor taken, and the operator is told why", async () => {
    let dialled = 0;
    const { port: far } = await listener(() => {
      dialled += 1;
    });
    const quiet =
      '[[peer]]\nname = "quiet"\nmail = "keys@quiet.example"\nvia = "mail"\n' +
      `kx = "127.0.0.1:${far}"\ndial = true\n`;
    const { door, port, all } = await openDoor(quiet);
    const guest = visitor(port, "127.0.0.1");
    await until(() => guest.state.isClosed);
    expect(guest.bytes()).toBe(0);
    expect(all("peer-unknown").map(({ fields }) => fields)).toEqual([
      { address: "127.0.0.1", neighbour: "quiet", problem: expect.stringContaining("via") },
    ]);
    expect(door.status()).toEqual([]);
    expect(door.dialNow("quiet")).toBeUndefined();
    expect(dialled).toBe(0);
  });
});

describe("after a long outage", () => {
  /** A door whose peer is away until `serve`, and that would not dial for an hour. */
  async function outage() {
    const gone = await listener(() => {});
    const { port: far } = gone;
    await gone.close();
    const door = await openDoor(peer("friend", `127.0.0.1:${far}`, true), () => 0.5, {
      reconnect: "1ms, 1h",
    });
    await until(() => door.all("peer-unreachable").length === 2);
    const serve = () => listener((socket) => socket.write(GREETING), far);
    return { ...door, serve, isConnected: () => door.door.status()[0]?.connected === true };
  }

  test("an order dials at once", async () => {
    const { door, serve, isConnected, all } = await outage();
    expect(all("peer-unreachable")[1]?.fields.waitMs).toBeGreaterThan(1_000_000);
    await serve();
    expect(door.dialNow("friend")).toBe(true);
    await until(isConnected);
    expect(door.dialNow("friend")).toBe(false);
  });

  test("an order gives up a connection that hangs without a session", async () => {
    let dialled = 0;
    const { port: far } = await listener((socket) => {
      dialled += 1;
      if (dialled > 1) socket.write(GREETING);
    });
    const { door } = await openDoor(peer("friend", `127.0.0.1:${far}`, true), () => 0.5, {
      reconnect: "1h",
    });
    await until(() => dialled === 1);
    const orderedAt = performance.now();
    expect(door.dialNow("friend")).toBe(true);
    await until(() => door.status()[0]?.connected === true);
    expect(performance.now() - orderedAt).toBeLessThan(1000);
    expect(dialled).toBe(2);
  });

  test("a sign of life dials at once, and the next one only after five minutes", async () => {
    const { door, serve, isConnected, all } = await outage();
    door.showedLife("friend");
    await until(() => all("peer-unreachable").length === 4);
    await serve();
    door.showedLife("friend");
    await quietFor(200, "a second sign of life would dial at once");
    expect(isConnected()).toBe(false);
    expect(door.dialNow("friend")).toBe(true);
    await until(isConnected);
  });

  test("the peer's own connection counts as a sign of life", async () => {
    const { port, serve, isConnected, all } = await outage();
    const guest = visitor(port, "127.0.0.1");
    guest.socket.write(GREETING);
    await until(isConnected);
    await serve();
    guest.socket.resetAndDestroy();
    // Without it the next attempt would be an hour away.
    await until(() => all("peer-connected").length === 2);
    expect(all("peer-connected").map(({ fields }) => fields.dialled)).toEqual([false, true]);
  });
});

describe("a peer that goes away", () => {
  test("is dialled again until it is back", async () => {
    let port = 0;
    let greeted = 0;
    const serve = () =>
      listener((socket) => {
        socket.write(GREETING);
        socket.on("data", (bytes) => {
          if (bytes.includes("HELO")) greeted += 1;
        });
      }, port);
    const first = await serve();
    port = first.port;
    const { door, all } = await openDoor(peer("friend", `127.0.0.1:${port}`, true));
    await until(() => door.status()[0]?.connected === true);
    await first.close();
    await until(() => all("peer-unreachable").length > 2);
    expect(door.status()[0]?.connected).toBe(false);
    await serve();
    await until(() => door.status()[0]?.connected === true);
    expect(greeted).toBe(2);
  });

  test("after each burst is dialled again for the next update, not in an hour", async () => {
    let heard = 0;
    const { port } = await listener((socket) => {
      let text = "";
      socket.write(GREETING);
      socket.on("data", (bytes) => {
        text += bytes.toString("latin1");
        // Our newest update, in the greeting or as news; then it hangs up.
        if (!/^\d+ [0-9A-F]{40} /m.test(text)) return;
        heard += 1;
        socket.end();
      });
    });
    const { door, hold, all } = await openDoor(
      peer("friend", `127.0.0.1:${port}`, true),
      systemClock.random,
      { reconnect: "1h" },
    );
    await until(() => door.status()[0]?.connected === true);
    for (let n = 0; n < 3; n++) {
      const began = performance.now();
      hold(made(1, 50 + n).update);
      await until(() => heard === n + 1);
      await until(() => all("peer-disconnected").length === n + 1);
      expect(performance.now() - began).toBeLessThan(REDIAL_LIMITS.newsMs + 4000);
    }
  }, 40_000);

  test("by a reset is told as that, and not as a complaint of the peer", async () => {
    const { port, all } = await openDoor(peer("friend", "127.0.0.2:1"));
    const guest = visitor(port, "127.0.0.2");
    guest.socket.write(GREETING);
    await until(() => all("peer-connected").length === 1);
    guest.socket.resetAndDestroy();
    await until(() => all("peer-disconnected").length === 1);
    const problem = "the peer ended the connection without CLOSE (read ECONNRESET)";
    expect(all("kx-error").map(({ fields }) => fields)).toEqual([{ neighbour: "friend", problem }]);
    expect(all("peer-complaint")).toEqual([]);
  });

  test("by a reset, at any byte, leaves nothing behind", async () => {
    const { door, port, hold, all } = await openDoor(peer("friend", "127.0.0.2:1"));
    hold(made(1, 1).update);
    const said = `${GREETING}a002\r\nLIST\r\n-\r\n.\r\na003\r\nGETUPDATE\r\n1\r\n.\r\n`;
    for (let end = 0; end <= said.length; end += 3) {
      const guest = visitor(port, "127.0.0.2");
      await until(() => guest.bytes() > 0);
      guest.socket.write(said.slice(0, end));
      if (end % 2 === 0) guest.socket.resetAndDestroy();
      else guest.socket.end();
      await until(() => guest.state.isClosed);
    }
    await until(() => all("peer-disconnected").length === Math.floor(said.length / 3) + 1);
    expect(door.status()[0]).toMatchObject({ connected: false, missing: 0, inFlight: 0 });
    const guest = visitor(port, "127.0.0.2");
    guest.socket.write(said);
    await until(() => guest.text().includes("END PGP PUBLIC KEY BLOCK"));
  });
});

describe("a peer that never reads", () => {
  test("gets 4 MiB and what the kernel takes, and later all the rest", async () => {
    const { port, hold } = await openDoor(peer("friend", "127.0.0.2:1"));
    hold(made(1, 2, 100_000).update);
    const before = process.memoryUsage().rss;
    const guest = visitor(port, "127.0.0.2");
    await until(() => guest.bytes() > 0);
    guest.socket.pause();
    guest.socket.write(GREETING);
    for (let n = 0; n < 4; n++) {
      guest.socket.write(`b00${n}\r\nGETUPDATE\r\n${"1\r\n".repeat(100)}.\r\n`);
    }
    await quietFor(1000, "the door would hand all that it holds to the socket");
    expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(100);
    guest.socket.resume();
    const count = () => guest.text().split("\r\nUPDATE\r\n").length - 1;
    await expect.poll(count, { timeout: 15_000, interval: 300 }).toBe(400);
  });
});

describe("two doors that dial each other", () => {
  test("end with one connection, and nothing is lost on the way", async () => {
    // Each has to know the other's port beforehand, so one of them is dialled through a go-between.
    let behind = 0;
    const between = await listener((socket) => {
      const onwards = connect({ host: "127.0.0.1", port: behind, allowHalfOpen: true });
      onwards.on("error", () => socket.destroy());
      socket.pipe(onwards).pipe(socket);
      socket.on("close", () => onwards.destroy());
    });
    const one = await openDoor(peer("two", `127.0.0.1:${between.port}`, true), () => 0);
    const two = await openDoor(peer("one", `127.0.0.1:${one.port}`, true), () => 0.5);
    behind = two.port;
    one.hold(made(1, 10).update);
    await until(() => two.log.newest() === 1);
    for (let n = 0; n < 20; n++) {
      one.hold(made(1, 100 + n).update);
      two.hold(made(1, 200 + n).update);
      await pause(300);
    }
    await until(() => one.log.newest() === 41 && two.log.newest() === 41);
    for (const { all, door } of [one, two]) {
      expect(all("peer-reset")).toEqual([]);
      expect(all("peer-complaint")).toEqual([]);
      expect(door.status()[0]?.connected).toBe(true);
    }
  });
});

describe("an order to list everything again", () => {
  /** A door with a cursor of "friend"; what it stores waits for the gate. */
  async function ordered(gate: Promise<void>) {
    const submitted: unknown[] = [];
    const appends = (log: UpdateLog): AppendPort => {
      log.cursors.set("friend", { number: 7, hash: made(1, 1).update.hash });
      const port = ownPort(log);
      const submit: AppendPort["submit"] = async (batch) => {
        submitted.push(batch);
        await gate;
        return await port.submit(batch);
      };
      return { submit };
    };
    const opened = await openDoor(peer("friend", "127.0.0.2:1"), () => 0, { appends });
    return { ...opened, submitted, cursor: () => opened.log.cursors.get("friend")?.number };
  }

  test("is answered when the log has forgotten the cursor", async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { door, submitted, cursor } = await ordered(gate);
    const answers: unknown[] = [];
    const answer = door.backfill("friend").then((isStored) => answers.push(isStored));
    await until(() => submitted.length === 1);
    expect([answers, cursor()]).toEqual([[], 7]);
    open();
    await answer;
    expect([answers, cursor()]).toEqual([[true], undefined]);
    // Nothing is left to forget.
    expect(await door.backfill("friend")).toBe(true);
    expect(await door.backfill("foe")).toBeUndefined();
  });

  test("is answered with a warning when the log cannot store it", async () => {
    const full = new Trouble("disk-full", "no space left", "Free space.");
    const gate = Promise.reject(full);
    gate.catch(() => {});
    const { door, cursor } = await ordered(gate);
    expect(await door.backfill("friend")).toBe(false);
    expect(cursor()).toBe(7);
  });
});

describe("stop", () => {
  function handles(): string[] {
    return process.getActiveResourcesInfo().filter((name) => /TCP|Timeout/.test(name));
  }

  test("says CLOSE, leaves no socket and no timer, and no longer touches the log", async () => {
    const before = handles().length;
    const { door, log, port, hold } = await openDoor(
      peer("friend", "127.0.0.2:1") + peer("nobody", "127.0.0.1:1", true),
    );
    const guest = visitor(port, "127.0.0.2");
    guest.socket.write(GREETING);
    await until(() => door.status()[0]?.connected === true);
    hold(made(1, 3).update);
    const stopped = door.stop();
    await until(() => guest.text().includes("CLOSE"));
    const [, tag = ""] = /\r\n(.{4})\r\nCLOSE\r\n/.exec(guest.text()) ?? [];
    guest.socket.write(`a009\r\nCLOSE\r\n${tag}\r\n.\r\n`);
    guest.socket.end();
    await stopped;
    hold(made(1, 4).update);
    log.close();
    await until(() => guest.state.isClosed);
    await until(() => handles().length <= before);
    expect(tag).not.toBe("");
  });

  test("stores what is under way before it resolves, after a failure as well", async () => {
    const waiting: (() => void)[] = [];
    const appends = (log: UpdateLog): AppendPort => ({
      submit: ({ arrivals, cursor }) =>
        new Promise((resolve, reject) => {
          waiting.push(() => {
            if (waiting.length === 1) reject(new Trouble("disk-full", "full", "Free space."));
            else resolve(log.append(arrivals, ...(cursor === undefined ? [] : [cursor])));
          });
        }),
    });
    const { door, log, port, all } = await openDoor(
      peer("friend", "127.0.0.2:1"),
      systemClock.random,
      { appends },
    );
    const { hash, fingerprint, body } = made(1, 5).update;
    const line = `1 ${fingerprint} ${hash}`;
    const armor = encodeArmor(body).trimEnd().replaceAll(/\r?\n/g, "\r\n");
    const guest = visitor(port, "127.0.0.2");
    const asked = () => [...guest.text().matchAll(/(\S{4})\r\nGETUPDATE\r\n1\r\n/g)];
    const give = (nth: number) =>
      guest.socket.write(
        `a01${nth}\r\nUPDATE\r\n${asked()[nth]?.[1]}\r\n${line}\r\n${armor}\r\n.\r\n`,
      );
    guest.socket.write(`${GREETING}a002\r\nIHAVE\r\nNOTIFY\r\n${line}\r\n.\r\n`);
    await until(() => asked().length === 1);
    give(0);
    await until(() => waiting.length === 1);
    waiting[0]?.();
    // Requested again after 5 s.
    await until(() => asked().length === 2);
    expect([all("log-trouble").length, log.newest()]).toEqual([1, 0]);
    give(1);
    await until(() => waiting.length === 2);
    let isStopped = false;
    const stopped = door.stop().then(() => {
      isStopped = true;
    });
    await until(() => guest.state.isClosed);
    expect([isStopped, log.newest()]).toEqual([false, 0]);
    waiting[1]?.();
    await stopped;
    expect([log.newest(), log.cursors.get("friend")?.number]).toEqual([1, 1]);
    expect(all("accepted")).toHaveLength(1);
  });

  test("waits 2 s for a peer that does not answer, not longer", async () => {
    const { door, port } = await openDoor(peer("friend", "127.0.0.2:1"));
    const guest = visitor(port, "127.0.0.2");
    guest.socket.write(GREETING);
    await until(() => door.status()[0]?.connected === true);
    const start = performance.now();
    await door.stop();
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(1500);
    expect(took).toBeLessThan(6000);
    await until(() => guest.state.isClosed);
  });
});
