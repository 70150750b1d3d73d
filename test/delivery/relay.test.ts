/**
 * One mail to a relay that answers anything in any phase: what it comes to, that a connection is
 * kept for the next mail, and that a kept connection which has died costs nothing.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Outcome, TransportLimits } from "../../src/delivery/relay.js";
import { outcomeOf, SmtpRelay, TRANSPORT_LIMITS } from "../../src/delivery/relay.js";
import { fixture } from "../mail/fixtures.js";
import type { Answer, Phase } from "./relay.js";
import { Relay } from "./relay.js";

const RAW = fixture("composed-incremental.eml");
const FROM = "pgp-bounces+old=1@kx.example.org";
const TO = "pgp-public-keys@pks.example.net";
const PHASES: readonly Phase[] = ["greeting", "ehlo", "mail", "rcpt", "data", "dot"];

function transportTo(relay: Relay, limits: Partial<TransportLimits> = {}): SmtpRelay {
  const transport = new SmtpRelay(relay.url, "kx.example.org", {
    ...TRANSPORT_LIMITS,
    ...limits,
  });
  onTestFinished(() => transport.close());
  return transport;
}

async function outcome(
  phase: Phase,
  answer: Answer,
  limits: Partial<TransportLimits> = {},
): Promise<Outcome> {
  const relay = await Relay.start();
  relay.answer = (at) => (at === phase ? answer : undefined);
  return await transportTo(relay, limits).deliver(RAW, FROM, TO);
}

test("delivered: the very bytes, the envelope that was asked for, one recipient", async () => {
  const relay = await Relay.start();
  const raw = Buffer.from("To: a@b.example\r\n\r\n.one dot\r\n..two\r\n.\r\nend\r\n");
  expect(await transportTo(relay).deliver(raw, FROM, TO)).toEqual({
    kind: "delivered",
    how: "relayed",
    reply: "250 2.0.0 Queued",
  });
  expect(relay.taken).toMatchObject([{ from: FROM, to: [TO], raw: raw.toString("latin1") }]);
  expect(relay.commands).toEqual([
    "EHLO kx.example.org",
    `MAIL FROM:<${FROM}>`,
    `RCPT TO:<${TO}>`,
    "DATA",
  ]);
});

describe("each answer in each phase", () => {
  test.each(PHASES)("%s: 4xx is temporary, with the code", async (phase) => {
    const result = await outcome(phase, "451 4.7.1 Greylisted");
    const about = phase === "dot" ? "update" : "neighbour";
    expect(result).toMatchObject({ kind: "temporary", about, code: 451 });
    expect(result).toMatchObject({ words: expect.stringContaining("Greylisted") });
  });

  test.each(PHASES)("%s: 421 is temporary, with the code", async (phase) => {
    expect(await outcome(phase, "421 4.3.2 Going down")).toMatchObject({
      kind: "temporary",
      about: "neighbour",
      code: 421,
    });
  });

  test.each(PHASES)("%s: 5xx is final only when the mail was read", async (phase) => {
    expect(await outcome(phase, "554 5.7.1 No")).toMatchObject({
      kind: phase === "dot" ? "refused" : "temporary",
      code: 554,
    });
  });

  test("mail: a refusal of the size is the mail's, one of a full mailbox is not", async () => {
    for (const reply of ["552 Too large", "552 5.3.4 Too large", "554 5.3.4 Too large"]) {
      expect(await outcome("mail", reply)).toMatchObject({ kind: "refused" });
    }
    for (const [phase, reply] of [
      ["mail", "552 5.2.2 Full"],
      ["rcpt", "552 5.3.4 Too large"],
      ["mail", "452 4.3.1 Full"],
    ] as const) {
      expect(await outcome(phase, reply)).toMatchObject({ kind: "temporary", about: "neighbour" });
    }
  });

  test("dot: 503 says that the session is out of step, not that the mail is bad", async () => {
    expect(await outcome("dot", "503 5.5.1 Eh")).toMatchObject({ kind: "temporary", code: 503 });
  });

  test.each(PHASES)("%s: silence is temporary, after a while", async (phase) => {
    const limits = { greetingMs: 150, silenceMs: 150 };
    expect(await outcome(phase, "silence", limits)).toMatchObject({
      kind: "temporary",
      code: undefined,
    });
  });

  test.each(PHASES)("%s: hanging up and resetting are temporary", async (phase) => {
    for (const answer of ["hang up", "reset"] as const) {
      const about = phase === "dot" ? "update" : "neighbour";
      const result = { kind: "temporary", about, code: undefined };
      expect(await outcome(phase, answer)).toMatchObject(result);
    }
  });

  test.each(PHASES)("%s: a reply that is none is temporary", async (phase) => {
    expect(await outcome(phase, "Hello?", { silenceMs: 300 })).toMatchObject({ kind: "temporary" });
  });

  test("a relay that trickles its reply is not waited for for ever", async () => {
    const relay = await Relay.start();
    const lines = "250-x\r\n".repeat(5);
    relay.answer = (at) => (at === "dot" ? lines.trimEnd() : undefined);
    const started = performance.now();
    const result = await transportTo(relay, { attemptMs: 300 }).deliver(RAW, FROM, TO);
    expect(result).toMatchObject({
      kind: "temporary",
      words: expect.stringContaining("broken off"),
    });
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test("nobody listens", async () => {
    const relay = await Relay.start();
    const transport = transportTo(relay);
    await relay.stop();
    expect(await transport.deliver(RAW, FROM, TO)).toMatchObject({
      kind: "temporary",
      words: expect.stringContaining("ECONNREFUSED"),
    });
  });
});

describe("one connection for many mails", () => {
  test("is kept, and given up when idle", async () => {
    const relay = await Relay.start();
    const transport = transportTo(relay, { idleMs: 150 });
    for (let i = 0; i < 20; i += 1) {
      expect(await transport.deliver(RAW, FROM, TO)).toMatchObject({ kind: "delivered" });
    }
    expect(relay.connections).toBe(1);
    for (let i = 0; i < 500 && relay.open > 0; i += 1) await sleep(10);
    expect(relay.open).toBe(0);
    expect(relay.commands.at(-1)).toBe("QUIT");
    expect(await transport.deliver(RAW, FROM, TO)).toMatchObject({ kind: "delivered" });
    expect(relay.connections).toBe(2);
  });

  test.each(["cut before", "421 at MAIL", "hang up at MAIL", "reset at the dot"])(
    "%s: the mail goes out on a new one, at once",
    async (how) => {
      const relay = await Relay.start();
      const transport = transportTo(relay);
      await transport.deliver(RAW, FROM, TO);
      let isDead = true;
      if (how === "cut before") relay.cut();
      else {
        relay.answer = (phase) => {
          const isAt = phase === (how.endsWith("MAIL") ? "mail" : "dot");
          if (!isAt || !isDead) return undefined;
          isDead = false;
          return how.startsWith("421") ? "421 4.4.2 Idle" : (how.split(" at")[0] as Answer);
        };
      }
      expect(await transport.deliver(RAW, FROM, TO)).toMatchObject({ kind: "delivered" });
      expect(relay.connections).toBe(2);
      expect(relay.taken).toHaveLength(2);
    },
  );

  test("a new connection that fails is not tried twice", async () => {
    const relay = await Relay.start();
    relay.answer = (phase) => (phase === "mail" ? "421 4.3.2 Busy" : undefined);
    const transport = transportTo(relay);
    await transport.deliver(RAW, FROM, TO);
    expect(relay.connections).toBe(1);
  });

  test("what was refused leaves no half transaction behind", async () => {
    const relay = await Relay.start();
    const transport = transportTo(relay);
    await transport.deliver(RAW, FROM, TO);
    relay.answer = (phase) => (phase === "rcpt" ? "450 4.2.1 Later" : undefined);
    expect(await transport.deliver(RAW, FROM, TO)).toMatchObject({ kind: "temporary", code: 450 });
    relay.answer = () => undefined;
    expect(await transport.deliver(RAW, FROM, TO)).toMatchObject({ kind: "delivered" });
    expect(relay.taken).toHaveLength(2);
  });

  test("closing breaks off what is under way, and it is not tried again", async () => {
    const relay = await Relay.start();
    const transport = transportTo(relay);
    await transport.deliver(RAW, FROM, TO);
    relay.answer = (phase) => (phase === "dot" ? "silence" : undefined);
    const delivery = transport.deliver(RAW, FROM, TO);
    await relay.until(() => relay.seen.length === 2);
    transport.close();
    expect(await delivery).toMatchObject({ kind: "temporary" });
    expect(relay.connections).toBe(1);
  });
});

test("words of a relay are one printable line", () => {
  const error = Object.assign(new Error("No\r\n\0\x1b[31m way\x7f é".repeat(100)), {
    code: "EMESSAGE",
    responseCode: 550,
  });
  const result = outcomeOf(error);
  expect(result).toMatchObject({ kind: "refused", code: 550 });
  expect("words" in result && result.words).toMatch(/^[ -~]{1,300}$/);
  expect(outcomeOf("what")).toMatchObject({
    kind: "temporary",
    about: "neighbour",
    words: "unknown",
  });
});
