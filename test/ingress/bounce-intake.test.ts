/**
 * Mail to the bounce address: what is left in the log for the site's lane, what only the operator
 * hears, and that nobody is answered and nobody can make it up.
 */
import { describe, expect, test } from "vitest";
import type { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { verpSender } from "../../src/mail/verp.js";
import { mail } from "../mail/fixtures.js";
import { SAMPLES } from "../mail/reports.js";
import { BOUNCE, NEIGHBOUR, type OpenDoor, openDoor, SITE, STRANGER } from "./door.js";

const FAILED = SAMPLES.find(({ name }) => name === "Postfix: no such user")?.raw ?? "";

/** Where a bounce of the updates from `first` to `last` to `site` comes in. */
function marked({ log }: OpenDoor, first = 7, last = first, site = "old"): string {
  return verpSender(BOUNCE, site, first, last, log.bounces.secret);
}

async function bounced(door: OpenDoor, recipients: readonly string[], raw: string | Uint8Array) {
  const client = await door.client(STRANGER);
  const replies = await client.transact("", recipients, raw);
  return replies.at(-1);
}

describe("what is left in the log", () => {
  test.each(SAMPLES)("$name", async ({ raw, kind, status }) => {
    const door = await openDoor();
    expect(await bounced(door, [marked(door)], raw)).toBe("250 2.0.0 Noted.");
    expect(door.log.counts().entries).toBe(0);
    if (kind === "answer") {
      expect(door.diagnostics.all("reply-swallowed")).toEqual([{ neighbour: "old" }]);
      expect(door.diagnostics.all("bounce")).toEqual([]);
    } else {
      // A mail that is late or was delivered has not come back.
      const [event, other] = ["bounce", "delivery-noted"] as const;
      const [said, unsaid] = kind === "noted" ? [other, event] : [event, other];
      expect(door.diagnostics.all(said)).toMatchObject([
        {
          ...{ neighbour: "old", seq: 7, ...(status === undefined ? {} : { status }) },
          ...(kind === "noted" ? {} : { reason: kind }),
        },
      ]);
      expect(door.diagnostics.all(unsaid)).toEqual([]);
    }
    const noted = door.log.bounces.fresh("old");
    if (kind === "update" || kind === "site") {
      expect(noted).toMatchObject({ site: "old", first: 7, seq: 7, about: kind });
    } else expect(noted).toBeUndefined();
  });

  test("the name of the site and the address in any letters", async () => {
    const door = await openDoor();
    await bounced(door, [marked(door).toUpperCase()], FAILED);
    expect(door.log.bounces.fresh("old")).toMatchObject({ site: "old", seq: 7 });
  });

  test("all updates of a mail that held several", async () => {
    const door = await openDoor();
    await bounced(door, [marked(door, 7, 106)], FAILED);
    expect(door.log.bounces.fresh("old")).toMatchObject({ first: 7, seq: 106 });
  });

  test("a report with our whole mail in it, too large to keep: its address is enough", async () => {
    const door = await openDoor();
    const raw = `${FAILED}${"x".repeat(70)}\n`.padEnd(220 * 1024, "y\n");
    expect(await bounced(door, [marked(door)], raw)).toBe("250 2.0.0 Noted.");
    expect(door.log.bounces.fresh("old")).toMatchObject({ seq: 7, about: "site" });
  });

  test("nothing while the disk is full: the sender keeps it", async () => {
    const door = await openDoor();
    const address = marked(door);
    const note: BounceIntake["take"] = () => {
      throw new Error("no space");
    };
    Object.defineProperty(door.log.bounces, "note", { value: note });
    expect(await bounced(door, [address], FAILED)).toMatch(/^451 4\.3\.0 /);
  });
});

describe("what only the operator hears", () => {
  test.each([
    ["no mark", () => BOUNCE, "unmarked"],
    ["a mark that somebody made up", () => BOUNCE.replace("@", "+old=7=0123456789@"), "forged"],
    ["a site that is none of ours", (door: OpenDoor) => marked(door, 7, 7, "other"), "forged"],
    [
      "a mark of ours, changed",
      (door: OpenDoor) => marked(door).replace("old=7", "old=8"),
      "forged",
    ],
  ])("%s", async (_, address, reason) => {
    const door = await openDoor();
    expect(await bounced(door, [address(door)], FAILED)).toBe("250 2.0.0 Noted.");
    expect(door.diagnostics.all("bounce")).toMatchObject([{ reason, neighbour: undefined }]);
    expect(door.log.bounces.fresh("old")).toBeUndefined();
  });
});

describe("at the site's address, from a neighbour", () => {
  test.each(SAMPLES)("$name: swallowed for what it is, or refused", async ({ raw }) => {
    const door = await openDoor();
    const client = await door.client();
    const reply = (await client.transact("", [SITE], raw)).at(-1) ?? "";
    const isSwallowed = reply === "250 2.0.0 Noted.";
    if (!isSwallowed) expect(reply).toMatch(/^550 5\.6\.0 /);
    expect(door.diagnostics.all("reply-swallowed")).toHaveLength(isSwallowed ? 1 : 0);
    expect(door.diagnostics.all("mail-refused")).toHaveLength(isSwallowed ? 0 : 1);
    const marks = "multipart/report|Auto-Submitted: auto-rep|Precedence: |X-Auto|: Your command";
    if (isSwallowed) expect(`${raw}`).toMatch(new RegExp(marks, "i"));
    expect(door.log.counts().entries).toBe(0);
  });

  test("a report that holds an update, under the subject of one, is a report", async () => {
    const door = await openDoor();
    const client = await door.client();
    const raw =
      "From: MAILER-DAEMON@pks.example.net\nSubject: incremental\nMIME-Version: 1.0\n" +
      'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n' +
      "--b\n\nNo such user.\n--b\nContent-Type: message/delivery-status\n\n" +
      "Reporting-MTA: dns; pks.example.net\n\nAction: failed\nStatus: 5.1.1\n\n" +
      `--b\nContent-Type: message/rfc822\n\n${mail("pksd-delta").toString()}\n--b--\n`;
    expect((await client.transact("", [SITE], raw)).at(-1)).toBe("250 2.0.0 Noted.");
    expect(door.diagnostics.all("reply-swallowed")).toEqual([{ neighbour: "old" }]);
    expect(door.log.counts().entries).toBe(0);
  });
});

describe("in the session", () => {
  test("a bounce is never taken for an update, even when it is one", async () => {
    const door = await openDoor();
    expect(await bounced(door, [marked(door)], mail("pksd-delta"))).toBe("250 2.0.0 Noted.");
    expect(door.log.counts().entries).toBe(0);
  });

  test("anybody may bring one, with the null sender only", async () => {
    const door = await openDoor();
    const client = await door.client(STRANGER);
    expect(await client.say(`MAIL FROM:<postmaster@far.example>`)).toMatch(/^550 5\.7\.1 /);
    expect(await client.say("MAIL FROM:<>")).toMatch(/^250 /);
    expect(await client.say(`RCPT TO:<${SITE}>`)).toMatch(/^550 5\.7\.1 /);
    expect(await client.say(`RCPT TO:<${NEIGHBOUR}>`)).toMatch(/^550 5\.7\.1 /);
    expect(await client.say(`RCPT TO:<${marked(door)}>`)).toMatch(/^250 /);
  });

  test("one report to several of our addresses counts for each of them", async () => {
    const door = await openDoor();
    await bounced(door, [marked(door, 7), marked(door, 8), marked(door, 8)], FAILED);
    expect(door.diagnostics.all("bounce")).toMatchObject([{ seq: 7 }, { seq: 8 }]);
  });
});
