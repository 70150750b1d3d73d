/**
 * Every answer of the SMTP door with its code and enhanced code (design: mail, "Answers"), through
 * a real socket to a real log: who may write to whom, what is refused and why, what is told to the
 * operator, and that nothing is acknowledged that is not stored.
 */
import { describe, expect, test } from "vitest";
import { Trouble, type TroubleKind } from "../../src/errors.js";
import { verpSender } from "../../src/mail/verp.js";
import type { Seq } from "../../src/update.js";
import { fixture, keyArmor, keyNames, mail, mailNames } from "../mail/fixtures.js";
import { SAMPLES } from "../mail/reports.js";
import { BOUNCE, NEIGHBOUR, openDoor, SITE, STRANGER } from "./door.js";

const KEY = keyArmor(keyNames[0] ?? "");
const OTHER_KEY = keyArmor(keyNames[1] ?? "");

function incremental(body: string, head = ""): string {
  return `To: ${SITE}\nFrom: ${NEIGHBOUR}\nSubject: incremental\n${head}\n${body}`;
}

describe("what is taken", () => {
  test.each(mailNames)("%s", async (name) => {
    const door = await openDoor();
    const client = await door.client();
    const raw = fixture(`mails/${name}`);
    const [, , answer] = await client.transact(NEIGHBOUR, [SITE], raw);
    const keys = door.log.counts().entries;
    expect(answer).toBe(`250 2.0.0 Stored ${keys} new, 0 known.`);
    expect(keys).toBe(name === "pksd-multi-key.eml" ? 3 : 1);
    const [, , again] = await client.transact(NEIGHBOUR, [SITE], raw);
    expect(again).toBe(`250 2.0.0 Stored 0 new, ${keys} known.`);
    expect(door.log.counts().entries).toBe(keys);
    expect(door.diagnostics.all("accepted")).toHaveLength(keys);
    expect(door.diagnostics.all("duplicate")).toHaveLength(keys);
  });

  test("what is stored says where it came from and who has it", async () => {
    const door = await openDoor();
    const client = await door.client();
    await client.transact(NEIGHBOUR, [SITE.toUpperCase()], mail("pksd-two-hops"));
    const entry = door.log.entry(1 as never);
    expect(entry?.origin).toEqual({ neighbour: "old", transport: "mail" });
    expect(door.log.trails.get(1 as never)).toContain(NEIGHBOUR);
    expect(door.diagnostics.all("accepted")).toMatchObject([{ seq: 1, neighbour: "old" }]);
  });

  test("Hockeypuck's ADD without any other header is the neighbour's that connects", async () => {
    const door = await openDoor();
    const client = await door.client();
    const raw = mail("hockeypuck-shape-add");
    const [, , answer] = await client.transact("hockeypuck@localhost", [SITE], raw);
    expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
    expect(door.log.entry(1 as never)?.origin.neighbour).toBe("old");
    expect(door.log.trails.get(1 as never)).toEqual([NEIGHBOUR]);
  });

  test("a duplicate's trail is added to the entry that is there", async () => {
    const door = await openDoor();
    const client = await door.client();
    await client.transact(NEIGHBOUR, [SITE], incremental(KEY));
    const again = incremental(KEY, "X-KeyServer-Sent: pgp@third.example\n");
    await client.transact(NEIGHBOUR, [SITE], again);
    expect(door.log.trails.get(1 as never)).toEqual([NEIGHBOUR, "pgp@third.example"]);
  });

  test("several keys of which one is bad: 250, and the operator hears", async () => {
    const door = await openDoor();
    const client = await door.client();
    const broken = OTHER_KEY.replace(/^=(....)$/m, "=AAAA");
    const [, , answer] = await client.transact(NEIGHBOUR, [SITE], incremental(KEY + broken));
    expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
    expect(door.diagnostics.all("key-refused")).toMatchObject([
      { neighbour: "old", reason: "bad-crc" },
    ]);
  });

  test.each([
    "Subject: Your command, ADD",
    "Subject: Out of office\nAuto-Submitted: auto-replied",
    "Subject: incremental\nAuto-Submitted: auto-replied",
  ])("a reply is swallowed: %s", async (head) => {
    const door = await openDoor();
    const client = await door.client();
    const raw = `From: ${NEIGHBOUR}\n${head}\n\nKey block added.\n`;
    expect((await client.transact(NEIGHBOUR, [SITE], raw)).at(-1)).toBe("250 2.0.0 Noted.");
    expect(door.log.counts().entries).toBe(0);
    expect(door.diagnostics.all("reply-swallowed")).toHaveLength(1);
  });
});

describe("who may write to whom", () => {
  test("an unknown address, at MAIL", async () => {
    const door = await openDoor();
    const client = await door.client(STRANGER);
    expect(await client.say("MAIL FROM:<someone@elsewhere.example>")).toMatch(/^550 5\.7\.1 /);
    expect(door.diagnostics.all("mail-refused")).toMatchObject([
      { reason: "unknown-sender", client: "127.0.0.0/24" },
    ]);
    expect(JSON.stringify(door.diagnostics.events)).not.toContain(STRANGER);
  });

  test("an unknown address with a neighbour's domain is told in full", async () => {
    const door = await openDoor();
    const client = await door.client(STRANGER);
    expect(await client.say(`MAIL FROM:<${NEIGHBOUR}>`)).toMatch(/^550 5\.7\.1 /);
    expect(door.diagnostics.all("mail-refused")).toMatchObject([
      { reason: "unknown-sender", resembles: "old", address: STRANGER },
    ]);
  });

  test.each([
    "someone@kx.example.org",
    "pgp-public-keys@other.example",
    "pgp-public-keys%pks.example.net@kx.example.org",
    "postmaster",
  ])("never a relay: %s", async (recipient) => {
    const door = await openDoor();
    const client = await door.client();
    await client.say(`MAIL FROM:<${NEIGHBOUR}>`);
    expect(await client.say(`RCPT TO:<${recipient}>`)).toMatch(/^550 5\.7\.1 /);
    expect(await client.say("DATA")).toMatch(/^503 /);
    expect(door.diagnostics.all("mail-refused")).toMatchObject([{ reason: "unknown-recipient" }]);
  });

  // pksd and onak mail with sendmail -fmailer-daemon, which Postfix turns into the null sender.
  test("a neighbour with the null sender", async () => {
    const door = await openDoor();
    const client = await door.client();
    const replies = await client.transact("", [SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toBe("250 2.0.0 Stored 1 new, 0 known.");
    expect(door.log.entry(1 as never)?.origin.neighbour).toBe("old");
    const hello = "From: a@b.example\nSubject: hello\n\nHello.\n";
    expect((await client.transact("", [SITE], hello)).at(-1)).toMatch(/^550 5\.6\.0 /);
  });

  test("a stranger with the null sender to the bounce address, and not to the site", async () => {
    const door = await openDoor();
    const client = await door.client(STRANGER);
    await client.say("MAIL FROM:<>");
    expect(await client.say(`RCPT TO:<${SITE}>`)).toMatch(/^550 5\.7\.1 .*not a neighbour/);
    expect(await client.say(`RCPT TO:<${BOUNCE}>`)).toMatch(/^250 /);
    expect(door.diagnostics.all("mail-refused")).toMatchObject([{ reason: "unknown-sender" }]);
  });

  test("a bounce that comes to both is noted, and is no update", async () => {
    const door = await openDoor();
    const client = await door.client();
    const raw = SAMPLES.find(({ name }) => name === "Postfix: no such user")?.raw ?? "";
    const marked = verpSender(BOUNCE, "old", 7, 7, door.log.bounces.secret);
    for (const recipients of [
      [SITE, marked],
      [marked, SITE],
    ]) {
      expect((await client.transact("", recipients, raw)).at(-1)).toBe("250 2.0.0 Noted.");
    }
    expect(door.diagnostics.all("bounce")).toMatchObject([{ seq: 7 }, { seq: 7 }]);
    expect(door.log.counts().entries).toBe(0);
  });

  test("an update that goes to the site and to the bounce address is an update", async () => {
    const door = await openDoor();
    const client = await door.client();
    const replies = await client.transact(NEIGHBOUR, [BOUNCE, SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toMatch(/^250 2\.0\.0 Stored 1 new/);
  });
});

describe("what is refused", () => {
  const CASES: readonly [string, string, RegExp, string][] = [
    ["no armor", incremental("Hello.\n"), /^550 5\.6\.0 .*no ASCII-armored/, "no-key"],
    ["an empty body", incremental(""), /^550 5\.6\.0 /, "no-key"],
    [
      "broken base64",
      incremental(KEY.replace(/^[A-Za-z0-9+/]{8}/m, "%%%%%%%%")),
      /^550 5\.6\.0 .*not base64/,
      "bad-armor",
    ],
    [
      "armor without an end",
      incremental(KEY.split("-----END")[0] ?? ""),
      /^550 5\.6\.0 .*no END line/,
      "bad-armor",
    ],
    [
      "a wrong CRC",
      incremental(KEY.replace(/^=(....)$/m, "=AAAA")),
      /^550 5\.6\.0 .*checksum/,
      "bad-crc",
    ],
    [
      "a message, no key",
      incremental(KEY.replaceAll("PUBLIC KEY BLOCK", "MESSAGE")),
      /^550 5\.6\.0 /,
      "not-key-material",
    ],
    [
      "a command of pksd",
      `From: ${NEIGHBOUR}\nSubject: LAST 3\n\n`,
      /^550 5\.6\.0 .*HKP/,
      "bad-mail",
    ],
    [
      "another subject",
      `From: ${NEIGHBOUR}\nSubject: hello\n\n${KEY}`,
      /^550 5\.6\.0 /,
      "bad-mail",
    ],
    ["no subject", `From: ${NEIGHBOUR}\n\n${KEY}`, /^550 5\.6\.0 /, "bad-mail"],
  ];

  test.each(CASES)("%s", async (_, raw, answer, reason) => {
    const door = await openDoor();
    const client = await door.client();
    expect((await client.transact(NEIGHBOUR, [SITE], raw)).at(-1)).toMatch(answer);
    expect(door.log.counts().entries).toBe(0);
    expect(door.diagnostics.all("mail-refused")).toMatchObject([{ neighbour: "old", reason }]);
    const replies = await client.transact(NEIGHBOUR, [SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toMatch(/^250 /);
  });
});

test("a padded trail of 300 sites is cut, and the mail is taken", async () => {
  const door = await openDoor();
  const client = await door.client();
  const trail = Array.from({ length: 300 }, (_, n) => `X-KeyServer-Sent: pgp@a${n}.example\n`);
  const raw = incremental(KEY, trail.join(""));
  expect((await client.transact(NEIGHBOUR, [SITE], raw)).at(-1)).toMatch(/^250 /);
  const kept = door.log.trails.get(1 as Seq);
  expect(kept.length).toBeLessThanOrEqual(256);
  expect(kept).toContain("pgp@a299.example");
});

describe("size", () => {
  const LIMIT = 200 * 1024;

  test("declared: 552 at MAIL", async () => {
    const door = await openDoor();
    const client = await door.client();
    expect(client.heard).toContain(`SIZE ${LIMIT}`);
    const at = await client.say(`MAIL FROM:<${NEIGHBOUR}> SIZE=${LIMIT + 1}`);
    expect(at).toMatch(/^552 5\.3\.4 /);
    expect(await client.say(`MAIL FROM:<${NEIGHBOUR}> SIZE=${LIMIT}`)).toMatch(/^250 /);
  });

  test.each([
    ["undeclared", ""],
    ["declared too low", " SIZE=100"],
  ])("%s: 552 after the message, which is not stored", async (_, parameter) => {
    const door = await openDoor();
    const client = await door.client();
    await client.say(`MAIL FROM:<${NEIGHBOUR}>${parameter}`);
    await client.say(`RCPT TO:<${SITE}>`);
    await client.say("DATA");
    const head = incremental(KEY, `X-Filler: ${"x".repeat(70)}\n`.repeat(900));
    expect(await client.message(head + "y".repeat(70).concat("\n").repeat(2200))).toMatch(
      /^552 5\.3\.4 The message exceeds the limit of 204800 bytes/,
    );
    expect(door.diagnostics.all("mail-refused")).toMatchObject([{ reason: "too-large" }]);
    expect(door.log.counts().entries).toBe(0);
    const replies = await client.transact(NEIGHBOUR, [SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toMatch(/^250 /);
  });

  test("to the last byte of the limit: 250", async () => {
    const door = await openDoor();
    const client = await door.client();
    const raw = incremental(KEY).replaceAll("\n", "\r\n");
    const filler = `${"z".repeat(LIMIT - raw.length - 2)}\r\n`;
    const replies = await client.transact(NEIGHBOUR, [SITE], raw + filler);
    expect(replies.at(-1)).toMatch(/^250 /);
    const more = await client.transact(NEIGHBOUR, [SITE], `${raw}z${filler}`);
    expect(more.at(-1)).toMatch(/^552 5\.3\.4 /);
  });

  test("far above: cut off", async () => {
    const door = await openDoor();
    const client = await door.client();
    await client.say(`MAIL FROM:<${NEIGHBOUR}>`);
    await client.say(`RCPT TO:<${SITE}>`);
    await client.say("DATA");
    client.write(Buffer.alloc(5 * LIMIT, "abc\r\n"));
    expect(await client.answer()).toMatch(/^552 5\.3\.4 /);
    client.socket.end();
    await client.closed;
    expect(door.log.counts().entries).toBe(0);
  });
});

describe("what is our fault", () => {
  test.each<[TroubleKind, string]>([
    ["disk-full", "452 4.3.1 "],
    ["read-only", "451 4.3.0 "],
    ["busy", "451 4.3.0 "],
    ["corrupt", "451 4.3.0 "],
    ["unusable", "451 4.3.0 "],
  ])("%s: %s, and 250 when it is over", async (kind, answer) => {
    let isBroken = true;
    const door = await openDoor({}, (log) =>
      spoiled(log, () => {
        if (isBroken) throw new Trouble(kind, "/var/log.db: broken", "do something");
      }),
    );
    const client = await door.client();
    const raw = mail("pksd-delta");
    const first = (await client.transact(NEIGHBOUR, [SITE], raw)).at(-1) ?? "";
    expect(first.startsWith(answer)).toBe(true);
    expect(first).not.toContain("/var");
    expect(door.diagnostics.all("mail-deferred")).toMatchObject([
      { kind, problem: "/var/log.db: broken", remedy: "do something" },
    ]);
    isBroken = false;
    const replies = await client.transact(NEIGHBOUR, [SITE], raw);
    expect(replies.at(-1)).toBe("250 2.0.0 Stored 1 new, 0 known.");
  });

  test("a bug of ours: 451, and the operator hears", async () => {
    const door = await openDoor({}, (log) =>
      spoiled(log, () => {
        throw new TypeError("oops");
      }),
    );
    const client = await door.client();
    const replies = await client.transact(NEIGHBOUR, [SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toMatch(/^451 4\.3\.0 /);
    expect(door.diagnostics.all("mail-deferred")).toMatchObject([{ kind: "bug" }]);
  });

  /** The log, with something that happens before each append. */
  function spoiled<T extends object>(log: T, before: () => void): T {
    return new Proxy(log, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "append") before();
          return Reflect.apply(value, target, args);
        };
      },
    });
  }
});

describe("the session", () => {
  test("capabilities, and nothing of AUTH or STARTTLS", async () => {
    const door = await openDoor();
    const { heard } = await door.client();
    expect(heard).toMatch(/^220 kx\.example\.org ESMTP KX gateway\r\n250-/);
    for (const word of ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 204800"]) {
      expect(heard).toContain(word);
    }
    expect(heard).not.toMatch(/AUTH|STARTTLS|SMTPUTF8|DSN/);
  });

  test.each(["AUTH PLAIN AAAA", "STARTTLS", "WIZ x", "SHELL", "KILL", "XCLIENT ADDR=1.2.3.4"])(
    "%s is not known",
    async (command) => {
      const door = await openDoor();
      const client = await door.client();
      expect(await client.say(command)).toMatch(/^5\d\d /);
    },
  );

  test("the greeting does not wait for early talkers", async () => {
    const door = await openDoor();
    const waits: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      const start = performance.now();
      const client = await door.client();
      waits.push(performance.now() - start);
      await client.quit();
    }
    expect(Math.min(...waits)).toBeLessThan(90);
  });

  test("several mails in one pipelined session", async () => {
    const door = await openDoor();
    const client = await door.client();
    const envelope = `MAIL FROM:<${NEIGHBOUR}>\r\nRCPT TO:<${SITE}>\r\nDATA\r\n`;
    for (const name of ["pksd-delta", "onak-new", "onak-revocation-1-key"]) {
      client.write(envelope);
      for (const code of ["250", "250", "354"]) expect(await client.answer()).toContain(code);
      expect(await client.message(mail(name))).toMatch(/^250 2\.0\.0 Stored 1 new/);
    }
  });
});
