/**
 * What strangers write into names, addresses, subjects and trails never becomes a line of ours: not
 * in a reply, not in a report, not in a mail that goes on (faults row 26).
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { outmails } from "../../src/outmail.js";
import type { Seq } from "../../src/update.js";
import { keyArmor, keyNames, text } from "../mail/fixtures.js";
import { NEIGHBOUR, openDoor, SITE } from "./door.js";

const ENVELOPE = { to: NEIGHBOUR, from: "keymaster@example.org", site: SITE, maxBytes: 128_000 };
/** The header lines of our mails, and nothing else. */
const LINE = new RegExp(
  [
    `To: ${NEIGHBOUR}`,
    "From: PGP Key Server Administrator <keymaster@example\\.org>",
    "Subject: incremental",
    "X-KeyServer-Sent: [!-~]+",
    "Precedence: list",
    "Auto-Submitted: auto-generated",
    "Date: [ -~]+",
    "Message-ID: <[!-~]+>",
    "MIME-Version: 1\\.0",
    "Content-type: application/pgp-keys",
    "Content-Transfer-Encoding: 7bit",
  ]
    .map((line) => `^${line}$`)
    .join("|"),
);

const nasty = fc
  .array(
    fc.oneof(
      fc.constantFrom("\r", "\n", "\0", "\r\n", ">", "<", '"', "\\", "(", ",", ";", ":", " ", "@"),
      fc.constantFrom("RCPT TO:<x@y.example>", "Bcc: x@y.example", "=?utf-8?q?=0D=0ABcc:_x?="),
      fc.constantFrom("\x7f", "\x1b[31m", "\x85", "\xff", "a@b.example", "keys@c.example"),
      fc.stringMatching(/^[ -~]{0,12}$/),
    ),
    { maxLength: 8 },
  )
  .map((pieces) => pieces.join(""));

test("header fields", async () => {
  const door = await openDoor();
  const client = await door.client();
  const key = keyArmor(keyNames[0] ?? "");
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(nasty, nasty, nasty, nasty, async (from, sent, id, subject) => {
      const head = [
        `From: ${from}`,
        `X-KeyServer-Sent: ${sent}`,
        `Message-ID: <${id}>`,
        `Subject: incremental ${subject}`,
      ];
      const raw = `${head.join("\n")}\n\n${key}`;
      const heard = client.heard.length;
      const answer = (await client.transact(NEIGHBOUR, [SITE], raw)).at(-1) ?? "";
      if (answer.startsWith("250")) taken += 1;
      expect(client.heard.slice(heard)).toMatch(/^(?:[245]\d\d [ -~]*\r\n|354 [ -~]*\r\n)+$/);
    }),
    { numRuns: 500 },
  );
  expect(taken).toBeGreaterThan(50);
  const [body = new Uint8Array()] = door.bodies();
  const entry = door.log.entry(1 as Seq);
  if (entry === undefined) throw new Error("nothing was stored");
  const trail = door.log.trails.get(1 as Seq).slice(0, 200);
  expect(trail.length).toBeGreaterThan(1);
  const mails = outmails({ seq: entry.seq, hash: entry.hash, body }, undefined, trail, ENVELOPE, 0);
  for (const { raw } of mails) {
    const [head = ""] = text(raw).split("\r\n\r\n");
    for (const line of head.split("\r\n")) expect(line).toMatch(LINE);
  }
  for (const { fields } of door.diagnostics.events) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(Object.values(fields).join(" ")).not.toMatch(/[\x00-\x1f\x7f-\x9f]/);
  }
});

test("commands", async () => {
  const door = await openDoor();
  let client = await door.client();
  const verbs = ["EHLO ", "HELO ", "MAIL FROM:<", "RCPT TO:<", "VRFY ", "NOOP ", "HELP ", ""];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...verbs), nasty, async (verb, argument) => {
      const line = (verb + argument).replaceAll(/[\r\n]/g, "\x0b");
      const heard = client.heard.length;
      if (/^(data|quit)\b/i.test(line)) return;
      const answer = await client.say(line);
      expect(client.heard.slice(heard)).toMatch(/^(?:\d\d\d[ -][ -~\x80-\xff]*\r\n)+$/);
      if (!answer.startsWith("421")) return;
      client.socket.destroy();
      client = await door.client();
    }),
    { numRuns: 1000 },
  );
  expect(door.log.counts().entries).toBe(0);
  for (const { event, fields } of door.diagnostics.events) {
    expect(event).toMatch(/^(mail-refused|smtp-)/);
    expect(Object.values(fields).join(" ")).toMatch(/^[ -~]*$/);
  }
});
