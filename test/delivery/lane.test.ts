/**
 * A lane before a real relay and a real log file: what it sends, what it leaves out, how it tries
 * again, what it remembers over a restart, and that it delays nobody else.
 */
import { cpSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { parseVerp } from "../../src/mail/verp.js";
import { ADDRESS, directory, hashes, SITE, updates, world } from "./stage.js";

/** The line of a mail that names it. */
const messageId = (raw: string | undefined) => /^Message-ID: .*$/m.exec(raw ?? "")?.[0];

describe("what is sent", () => {
  test("every update once, in order, over one connection", async () => {
    const { add, lane, relay, log, heard, diagnostics } = await world();
    const served = lane();
    const wanted = updates.map(({ hash }) => hash);
    updates.slice(0, 10).map((_, n) => add(n));
    served.start();
    await heard("sent", 10);
    updates.slice(10).map((_, n) => add(n + 10));
    await heard("sent", updates.length);
    expect(hashes(relay)).toEqual(wanted);
    expect(relay.connections).toBe(1);
    expect(log.lanes.get("old")).toMatchObject({ cursor: updates.length, part: 0, attempt: 0 });
    expect(served.status()).toMatchObject({ name: "old", backlog: 0, nextAt: 0 });
    expect(diagnostics.all("sent")[0]).toMatchObject({ seq: 1, neighbour: "old", mails: 1 });
  });

  test("to the one recipient, from the marked bounce address, with the trail grown", async () => {
    const { add, lane, relay, heard, log } = await world();
    lane().start();
    add(0, { trail: ["pgp@first.example"] });
    await heard("sent");
    const [mail] = relay.taken;
    expect(mail).toMatchObject({ to: [ADDRESS] });
    const mark = parseVerp("pgp-bounces@kx.example.org", mail?.from ?? "", log.bounces.secret);
    expect(mark).toEqual({ site: "old", first: 1, last: 1, isSealed: true });
    expect(mail?.raw.match(/^X-KeyServer-Sent: .*$/gm)).toEqual([
      "X-KeyServer-Sent: pgp@first.example",
      `X-KeyServer-Sent: ${SITE}`,
    ]);
  });

  test("without a bounce address, from the contact", async () => {
    const { add, lane, relay, heard } = await world();
    lane({ bounce: undefined }).start();
    add(0);
    await heard("sent");
    expect(relay.taken[0]?.from).toBe("keymaster@example.org");
  });

  test("a new site gets what comes from now on", async () => {
    const { add, lane, relay, heard } = await world();
    add(0);
    lane().start();
    add(1);
    await heard("sent");
    expect(hashes(relay)).toEqual([updates[1]?.hash]);
  });
});

describe("what is left out", () => {
  test("never to a site in the trail, never back to where it came from", async () => {
    const { add, lane, relay, heard, log } = await world();
    lane().start();
    add(0, { trail: ["x@y.example", ADDRESS.toUpperCase()] });
    add(1, { neighbour: "old" });
    add(2, { neighbour: "other" });
    await heard("sent");
    expect(hashes(relay)).toEqual([updates[2]?.hash]);
    await heard("suppressed", 2);
    expect(log.lanes.get("old")?.cursor).toBe(3);
  });

  test("once it was tried, only the site itself says that it has it", async () => {
    const { add, lane, relay, heard, log } = await world(undefined, [400]);
    let isDown = true;
    relay.answer = (phase) => (phase === "greeting" && isDown ? "421 Down" : undefined);
    lane().start();
    add(0);
    add(1);
    await heard("stalled");
    add(0, { neighbour: "third", trail: [ADDRESS] });
    add(2, { neighbour: "third", trail: [ADDRESS] });
    add(1, { neighbour: "old", trail: [ADDRESS] });
    isDown = false;
    await heard("sent", 2);
    expect(hashes(relay)).toEqual([updates[0]?.hash, updates[2]?.hash]);
    await heard("suppressed");
    expect(log.lanes.get("old")).toMatchObject({ cursor: 3, attempt: 0, nextAt: 0 });
  });

  test("observe mode sends nothing and says what it would", async () => {
    const { add, lane, relay, heard, diagnostics, log } = await world();
    lane({ observing: true }).start();
    add(0);
    add(1, { trail: [ADDRESS] });
    add(2);
    await heard("would-send", 2);
    expect(diagnostics.all("would-send")).toMatchObject([{ seq: 1, mails: 1 }, { seq: 3 }]);
    expect(relay.connections).toBe(0);
    expect(log.lanes.get("old")?.cursor).toBe(3);
  });

  test("an update whose body has expired is told of and passed over", async () => {
    const { add, lane, relay, heard, log } = await world();
    const served = lane();
    add(0);
    add(1);
    const limits = { retainMs: 0, rememberMs: 3_600_000 };
    log.retention.expire(Date.now() + 1, limits, 100);
    served.start();
    await heard("sent");
    expect(hashes(relay)).toEqual([updates[1]?.hash]);
    await heard("body-expired");
  });
});

describe("how it tries again", () => {
  test("by the schedule, in order, and the operator hears when it has run out", async () => {
    const { add, lane, relay, heard, diagnostics, log } = await world(undefined, [30, 60, 120]);
    let failures = 4;
    relay.answer = (phase) => {
      if (phase !== "rcpt" || failures === 0) return undefined;
      failures -= 1;
      return "450 4.2.1 Busy";
    };
    lane().start();
    add(0);
    add(1);
    await heard("sent", 2);
    expect(hashes(relay)).toEqual([updates[0]?.hash, updates[1]?.hash]);
    const waits = [...diagnostics.all("retry"), ...diagnostics.all("stalled")];
    expect(waits.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
    for (const [index, base] of [30, 60, 120, 120].entries()) {
      expect(waits[index]?.waitMs).toBeGreaterThanOrEqual(base);
      expect(waits[index]?.waitMs).toBeLessThanOrEqual(base * 1.2);
    }
    expect(log.lanes.get("old")).toMatchObject({
      attempt: 0,
      nextAt: 0,
      lastError: expect.stringContaining("Busy"),
    });
  });

  test.each(["greeting", "ehlo", "mail", "rcpt", "data", "dot"] as const)(
    "trouble at %s of any kind is got over",
    async (at) => {
      const { add, lane, relay, heard, diagnostics } = await world(undefined, [10]);
      const answers = ["451 4.3.0 Later", "421 4.3.2 Down", "silence", "hang up", "reset"] as const;
      let next = 0;
      relay.answer = (phase) => {
        if (phase !== at || next === answers.length) return undefined;
        next += 1;
        return answers[next - 1];
      };
      lane().start();
      add(0);
      await heard("sent");
      expect(hashes(relay)).toEqual([updates[0]?.hash]);
      // A 4xx to EHLO is answered with HELO, as RFC 5321 section 3.2 would have it.
      const expected = at === "ehlo" ? answers.length - 1 : answers.length;
      const events = ["stalled", "retry", "set-aside"] as const;
      const failures = events.flatMap((event) => diagnostics.all(event));
      expect(failures).toHaveLength(expected);
      expect(diagnostics.all("undelivered")).toEqual([]);
    },
  );

  test("what was read and refused is recorded and passed over", async () => {
    const { add, lane, relay, heard, log, diagnostics } = await world();
    relay.answer = (phase) =>
      phase === "dot" && relay.seen.length === 1 ? "554 5.7.1 Bad key" : undefined;
    lane().start();
    add(0, { trail: ["a@first.example"] });
    add(1);
    await heard("sent");
    expect(hashes(relay)).toEqual([updates[1]?.hash]);
    expect(log.exceptions.list("old", "refused", 10)).toMatchObject([
      { site: "old", seq: 1, code: 554 },
    ]);
    expect(diagnostics.all("undelivered")).toMatchObject([{ seq: 1, code: 554 }]);
    expect(diagnostics.all("sent")).toMatchObject([{ seq: 2 }]);
  });

  test.each(["550 5.1.1 No such user", "554 5.7.1 Relay denied"])(
    "a refused recipient is the site's trouble, not the update's: %s",
    async (answer) => {
      const { add, lane, relay, heard, log } = await world(undefined, [20]);
      relay.answer = (phase) => (phase === "rcpt" ? answer : undefined);
      lane().start();
      add(0);
      await heard("stalled", 3);
      expect(log.lanes.get("old")?.cursor).toBe(0);
      expect(log.exceptions.list("old", "refused", 10)).toEqual([]);
      relay.answer = () => undefined;
      await heard("sent");
    },
  );
});

describe("over a restart", () => {
  test("a crash between the relay's 250 and our note repeats that mail and no other", async () => {
    const before = await world();
    const copy = directory();
    const lane = before.lane();
    // Of different trails, so that each is a mail of its own.
    for (let n = 0; n < 6; n += 1) before.add(n, { trail: [`site${n}@far.example`] });
    let mails = 0;
    before.relay.answer = (phase) => {
      // The disk as it is at the moment of the 250, that is, as a crash would leave it.
      if (phase === "dot") mails += 1;
      if (phase === "dot" && mails === 4) cpSync(before.path, copy, { recursive: true });
      return undefined;
    };
    lane.start();
    await before.heard("sent", 6);

    const after = await world(copy);
    after.lane().start();
    await after.heard("sent", 3);
    await sleep(50);
    expect(hashes(after.relay)).toEqual(updates.slice(3, 6).map(({ hash }) => hash));
    expect(messageId(after.relay.taken[0]?.raw)).toBe(messageId(before.relay.taken[3]?.raw));
  });

  test("an update of several mails goes on where it stopped", async () => {
    const path = directory();
    const first = await world(path, [60_000]);
    const lane = first.lane({ maxMailBytes: 3000 });
    first.relay.answer = (phase) =>
      phase === "mail" && first.relay.taken.length === 2 ? "451 Later" : undefined;
    lane.start();
    const large = updates.findIndex(({ body }) => body.length > 8000);
    first.add(large);
    await first.relay.until(() => first.relay.taken.length === 2);
    await first.heard("stalled");
    await lane.stop();
    const state = first.log.lanes.get("old");
    expect(state).toMatchObject({ cursor: 0, part: 2, attempt: 1 });
    // The minute of waiting is over.
    if (state !== undefined) first.log.lanes.save("old", { ...state, nextAt: 1 });
    first.log.close();

    const second = await world(path);
    second.lane({ maxMailBytes: 3000 }).start();
    await second.heard("sent");
    const ids = [...first.relay.taken, ...second.relay.taken].map(
      ({ raw }) => /^Message-ID: <[^.]+\.(\d+\.\d+)@/m.exec(raw)?.[1],
    );
    expect(ids).toEqual(ids.map((_, index) => `1.${index + 1}`));
    expect(ids.length).toBeGreaterThan(3);
  });
});
