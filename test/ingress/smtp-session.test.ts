/**
 * How sessions end: clients that leave, stall, trickle or come in crowds, and a door that closes.
 * Whatever happens, nothing is stored that was not complete, and nothing stays open. The limits
 * are shortened; what is measured is that they hold, not how fast this machine is.
 */
import { describe, expect, test } from "vitest";
import { keyArmor, keyNames, mail } from "../mail/fixtures.js";
import { onTheWire, SmtpClient } from "../support/smtp-client.js";
import { pause, quietFor, until } from "../support/until.js";
import { BOUNCE, NEIGHBOUR, type OpenDoor, openDoor, SITE, STRANGER } from "./door.js";

const RAW = mail("pksd-delta");
const WIRE = onTheWire(RAW).toString("latin1");

/** A client that has said DATA. */
async function atData(door: OpenDoor, from?: string): Promise<SmtpClient> {
  const client = await door.client(from);
  await client.say(from === undefined ? `MAIL FROM:<${NEIGHBOUR}>` : "MAIL FROM:<>");
  await client.say(from === undefined ? `RCPT TO:<${SITE}>` : `RCPT TO:<${BOUNCE}>`);
  expect(await client.say("DATA")).toMatch(/^354 /);
  return client;
}

const openSockets = () => process.getActiveResourcesInfo().filter((name) => /TCP.*Wrap/.test(name));

describe("a client that leaves", () => {
  test.each(["end", "reset"] as const)("during DATA, by %s: nothing is stored", async (how) => {
    const door = await openDoor();
    const client = await atData(door);
    client.write(WIRE.slice(0, -3));
    // The bytes are to arrive before the reset throws away what is not read yet.
    await pause(20);
    if (how === "end") client.socket.end();
    else client.socket.resetAndDestroy();
    await client.closed;
    const next = await door.client();
    expect((await next.transact(NEIGHBOUR, [SITE], RAW)).at(-1)).toMatch(/Stored 1 new/);
    expect(door.log.counts().entries).toBe(1);
  });

  test("at every byte of a session, by reset or end: stored only after the final dot", async () => {
    const door = await openDoor({ perNeighbour: 1000, sessions: 1000 });
    const key = keyArmor("role-F8D2585B8783D481.asc");
    const message = onTheWire(`From: ${NEIGHBOUR}\nSubject: add\n\n${key}`).toString("latin1");
    const session =
      `EHLO x.example\r\nMAIL FROM:<${NEIGHBOUR}>\r\nRCPT TO:<${SITE}>\r\nDATA\r\n` +
      `${message}QUIT\r\n`;
    const complete = session.length - "QUIT\r\n".length;
    const offsets = Array.from({ length: complete }, (_, offset) => offset);
    const baseline = openSockets().length;
    const cut = async (offset: number) => {
      const client = await SmtpClient.open(door.port);
      await client.answer();
      client.write(session.slice(0, offset));
      // The bytes are to arrive before the reset throws away what is not read yet.
      await pause(2);
      if (offset % 2 === 0) client.socket.resetAndDestroy();
      else client.socket.end();
      await client.closed;
    };
    for (let at = 0; at < offsets.length; at += 100) {
      await Promise.all(offsets.slice(at, at + 100).map(cut));
    }
    expect(door.log.counts().entries).toBe(0);
    await until(() => openSockets().length <= baseline);
    const client = await door.client();
    client.write(session.slice("EHLO x.example\r\n".length, complete));
    for (const _ of ["MAIL", "RCPT", "DATA"]) await client.answer();
    expect(await client.answer()).toMatch(/^250 2\.0\.0 Stored 1 new/);
  }, 60_000);

  test("between the commit and the 250: it sends again, and hears of a duplicate", async () => {
    const door = await openDoor();
    const client = await atData(door);
    client.write(WIRE);
    await until(() => door.log.counts().entries === 1);
    client.socket.resetAndDestroy();
    const next = await door.client();
    expect((await next.transact(NEIGHBOUR, [SITE], RAW)).at(-1)).toMatch(/0 new, 1 known/);
    expect(door.log.counts().entries).toBe(1);
  });
});

describe("a client that takes its time", () => {
  test("a message has a deadline as a whole, and the slot comes back", async () => {
    const door = await openDoor({ dataMs: 300, graceMs: 60_000 });
    const client = await atData(door);
    const trickle = setInterval(() => client.write("x"), 20);
    expect(await client.answer()).toMatch(/^421 4\.4\.2 /);
    clearInterval(trickle);
    client.socket.end();
    await client.closed;
    expect(door.diagnostics.all("smtp-limited")).toMatchObject([{ reason: "too-slow" }]);
  });

  test("a message must keep a pace once its grace is over", async () => {
    const door = await openDoor({ graceMs: 200, bytesPerSecond: 10_000 });
    const slow = await atData(door);
    const trickle = setInterval(() => slow.write("x".repeat(76).concat("\r\n")), 20);
    expect(await slow.answer()).toMatch(/^421 4\.4\.2 /);
    clearInterval(trickle);
    // Twice as long as the grace, and quick enough.
    const steady = await atData(door);
    const armor = keyArmor(keyNames[0] ?? "");
    const head = `From: ${NEIGHBOUR}\nSubject: add\nX-A: ${"x".repeat(60_000)}\n\n`;
    const wire = onTheWire(head + armor);
    steady.write(wire.subarray(0, 50_000));
    await pause(400);
    steady.write(wire.subarray(50_000));
    expect(await steady.answer()).toMatch(/^250 /);
  });

  test("a command must be complete in time, however busily it trickles", async () => {
    const door = await openDoor({ commandMs: 300 });
    const client = await door.client();
    const trickle = setInterval(() => client.write("N"), 20);
    expect(await client.answer()).toMatch(/^421 4\.4\.2 /);
    clearInterval(trickle);
    client.socket.end();
    await client.closed;
  });

  test("a session that goes on is not disturbed", async () => {
    const door = await openDoor({ commandMs: 300 });
    const client = await door.client();
    for (let i = 0; i < 10; i += 1) {
      expect(await client.say("NOOP")).toMatch(/^250 /);
      await pause(60);
    }
  });

  test("all slots of strangers taken: a neighbour's mail goes through as before", async () => {
    const door = await openDoor({ strangers: 30, commandMs: 60_000 });
    const addresses = ["127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"];
    const crowd = await Promise.all(
      addresses.flatMap((address) => Array.from({ length: 8 }, () => door.client(address))),
    );
    const stalled = crowd.filter(({ heard }) => heard.startsWith("220"));
    expect(stalled).toHaveLength(30);
    for (const client of stalled) client.write("MAIL FR");
    for (const name of keyNames.slice(0, 10)) {
      const client = await door.client();
      const raw = `From: ${NEIGHBOUR}\nSubject: add\n\n${keyArmor(name)}`;
      expect((await client.transact(NEIGHBOUR, [SITE], raw)).at(-1)).toMatch(/^250 /);
      await client.quit();
    }
  });
});

describe("crowds from one address", () => {
  test.each([
    ["a neighbour", undefined, { perNeighbour: 5 }],
    ["a stranger", STRANGER, { perStranger: 5 }],
  ])("%s: 421 above the limit, and again welcome below it", async (_, from, limits) => {
    const door = await openDoor(limits);
    const clients = await Promise.all(Array.from({ length: 5 }, () => door.client(from)));
    const sixth = await SmtpClient.open(door.port, from);
    expect(await sixth.answer()).toBe("421 4.7.0 Too many connections, try again later.");
    sixth.socket.end();
    await sixth.closed;
    expect(door.diagnostics.all("smtp-limited")).toHaveLength(1);
    expect((await door.client(from === undefined ? STRANGER : undefined)).heard).toMatch(/^220 /);
    await clients[0]?.quit();
    expect((await door.client(from)).heard).toMatch(/^220 /);
  });

  test("in all", async () => {
    const door = await openDoor({ sessions: 3 });
    const clients = await Promise.all([1, 2, 3, 4].map(() => door.client()));
    expect(clients.filter(({ heard }) => heard.startsWith("421 4.7.0"))).toHaveLength(1);
  });
});

describe("the door closes", () => {
  test("idle sessions hear 421 at once, and nobody new is let in", async () => {
    const door = await openDoor({ closeMs: 8000 });
    const client = await door.client();
    const stopped = door.door.stop();
    expect(await client.answer()).toMatch(/^421 4\.3\.2 /);
    client.socket.end();
    await stopped;
    await expect(SmtpClient.open(door.port)).rejects.toThrow();
  });

  test("a message under way is finished, answered 250, and stored", async () => {
    const door = await openDoor({ closeMs: 8000 });
    const client = await atData(door);
    client.write(WIRE.slice(0, 500));
    await pause(20);
    const stopped = door.door.stop();
    await quietFor(20, "a door that does not wait would cut the message off");
    client.write(WIRE.slice(500));
    expect(await client.answer()).toMatch(/^250 2\.0\.0 Stored 1 new/);
    expect(await client.answer()).toMatch(/^421 4\.3\.2 /);
    client.socket.end();
    await stopped;
    expect(door.log.counts().entries).toBe(1);
  });

  test("a message that does not end is cut off with 421", async () => {
    const door = await openDoor({ closeMs: 200 });
    const client = await atData(door);
    client.write(WIRE.slice(0, 500));
    await pause(20);
    const stopped = door.door.stop();
    expect(await client.answer()).toMatch(/^421 /);
    client.socket.end();
    await stopped;
    expect(door.log.counts().entries).toBe(0);
  });
});

test("one mail in 300 random segmentations: identical bytes", async () => {
  const door = await openDoor();
  const client = await door.client();
  let seed = 12345;
  const random = (limit: number) => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed % limit;
  };
  await client.transact(NEIGHBOUR, [SITE], RAW);
  for (let run = 0; run < 300; run += 1) {
    await client.say(`MAIL FROM:<${NEIGHBOUR}>`);
    await client.say(`RCPT TO:<${SITE}>`);
    await client.say("DATA");
    for (let at = 0; at < WIRE.length; ) {
      const size = 1 + random(run % 3 === 0 ? 40 : 700);
      client.write(WIRE.slice(at, at + size));
      at += size;
      if (random(4) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // A single changed byte would be another update, or a refusal.
    expect(await client.answer()).toBe("250 2.0.0 Stored 0 new, 1 known.");
  }
  expect(door.bodies()).toHaveLength(1);
});
