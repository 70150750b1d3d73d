/**
 * What 250 means at the SMTP door: the log has the keys, or had them, or the mail is an answer that
 * says so itself. Mails of real servers and inputs that once failed, mangled in many ways; and what
 * of a mail is kept when a part of it cannot be.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { PolicySettings } from "../../src/config/config.js";
import { readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import { Policy } from "../../src/policy.js";
import { DEFAULT_POLICY } from "../config/example.js";
import { NEIGHBOUR, type OpenDoor, openDoor, SITE } from "./door.js";

const FOLDERS = ["test/fixtures/mails", "test/fixtures/cases"];
const MAILS = FOLDERS.flatMap((folder) =>
  readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "latin1")] as const),
);
const STORED = /^250 2\.0\.0 Stored (\d+) new, (\d+) known\.$/;

function theCase(name: string): string {
  return readFileSync(join("test/fixtures/cases", `${name}.eml`), "latin1");
}

/** RFC 3834, a delivery report, pksd's own words, or "Re:" from a responder that marks itself. */
function isProvenAnswer(mail: string): boolean {
  const [head = ""] = mail.split(/\r?\n\r?\n/);
  const has = (field: RegExp) => field.test(head);
  return (
    has(/^auto-submitted\s*:\s*auto-(replied|notified)/im) ||
    has(/^content-type\s*:\s*multipart\/report/im) ||
    has(/^subject\s*:\s*your command/im) ||
    (has(/^subject\s*:\s*(re:|automatic|out of)/im) &&
      has(/^(auto-submitted|precedence|x-auto(reply|respond))/im))
  );
}

type Mangle = (mail: string, at: number) => string;
const field =
  (line: string): Mangle =>
  (mail) =>
    `${line}\n${mail}`;
const body =
  (change: (text: string, at: number) => string): Mangle =>
  (mail, at) => {
    const start = mail.indexOf("\n\n") + 2;
    return mail.slice(0, start) + change(mail.slice(start), at);
  };
const MANGLES: readonly Mangle[] = [
  (mail) => mail,
  ...["auto-generated", "auto-replied", "auto-notified", "no", "x-unheard-of"].map((word) =>
    field(`Auto-Submitted: ${word}`),
  ),
  field("Precedence: bulk"),
  field("X-Autoreply: yes"),
  field("Content-Transfer-Encoding: base64"),
  (mail) => mail.replace(/^subject: /im, "Subject: Re: "),
  (mail) => mail.replace(/^subject: .*/im, "Subject: Your command, ADD"),
  (mail) => mail.replace(/^subject: .*\n/im, ""),
  (mail) => mail.replace(/^content-type: .*/im, "Content-Type: multipart/report; boundary=x"),
  body((text) => text.replaceAll(/^/gm, "  ")),
  body((text) => text.replaceAll(/^(?!-)/gm, "\t ")),
  body((text) => text.replaceAll(/^(?=.)/gm, "> ")),
  body((text) => text.replaceAll("\n", " \n")),
  body((text) => text.replace(/\n(?==....\n)/, "")),
  body((text) => text.replaceAll(/^=....\n/gm, "")),
  body((text) => text.replaceAll("\n", "\n\n")),
  body((text) => text.replaceAll(/-----/g, "----")),
  body(() => ""),
  body((text, at) => text.slice(0, at % text.length)),
  body((text, at) => text.slice(at % text.length)),
  body((text, at) => `${text.slice(0, at % text.length)}\0${text.slice(at % text.length)}`),
  body((text, at) => `${text.slice(0, at % text.length)}A${text.slice((at % text.length) + 1)}`),
  body((text) => text + text),
  body((text) => text.replaceAll("PUBLIC KEY BLOCK", "MESSAGE")),
  body((text) => text.replaceAll("PUBLIC KEY", "PRIVATE KEY")),
];

test("250 is said only for what is kept, for whatever comes", async () => {
  const door = await openDoor();
  const client = await door.client();
  const answers = { stored: 0, replies: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...MAILS),
      fc.array(fc.constantFrom(...MANGLES), { minLength: 1, maxLength: 3 }),
      fc.nat(5000),
      async ([, mail], mangles, at) => {
        const mangled = mangles.reduce((text, mangle) => mangle(text, at), mail);
        const before = door.log.counts().entries;
        const told = door.diagnostics.all("reply-swallowed").length;
        const [, , answer = ""] = await client.transact(
          NEIGHBOUR,
          [SITE],
          Buffer.from(mangled, "latin1"),
        );
        const grown = door.log.counts().entries - before;
        const stored = STORED.exec(answer);
        if (stored !== null) {
          expect(grown).toBe(Number(stored[1]));
          expect(Number(stored[1]) + Number(stored[2])).toBeGreaterThan(0);
          answers.stored += 1;
        } else if (answer.startsWith("250")) {
          expect(isProvenAnswer(mangled)).toBe(true);
          expect(door.diagnostics.all("reply-swallowed")).toHaveLength(told + 1);
          answers.replies += 1;
        } else {
          expect(answer).toMatch(/^55\d 5\.\d\.\d [A-Za-z].{10,}/);
          expect(grown).toBe(0);
          answers.refused += 1;
        }
      },
    ),
    { numRuns: 400, examples: MANGLES.map((one) => [MAILS[0] ?? ["", ""], [one], 700]) },
  );
  for (const count of Object.values(answers)) expect(count).toBeGreaterThan(20);
});

/** A door with that policy, and what it answered to the case. */
async function answerTo(name: string, change: Partial<PolicySettings> = {}) {
  const records = {
    body: () => undefined,
    removals: { block: () => undefined, isForgotten: () => false, knows: () => true },
  };
  const policy = new Policy({ ...DEFAULT_POLICY, ...change }, records, { now: () => 0 });
  const rules = { judge: policy.judge.bind(policy), pruning: policy.pruning };
  const door = await openDoor({}, undefined, undefined, "", rules);
  const client = await door.client();
  const send = async (mail: string) =>
    (await client.transact(NEIGHBOUR, [SITE], Buffer.from(mail, "latin1"))).at(-1);
  return { door, send, answer: await send(theCase(name)) };
}

function keysOf({ bodies }: OpenDoor): TransferableKey[] {
  return bodies()
    .flatMap((one) => readKeys(one))
    .flatMap((key) => (key instanceof Error ? [] : [key]));
}

const ALICE = "6D25DDF2DADEE1E18FC2C80EA37A4779542E0265";

test("armor with a blank before each line is read", async () => {
  const { answer, door } = await answerTo("armor-leading-blank");
  expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
  expect(keysOf(door)).toMatchObject([{ fingerprint: ALICE }]);
});

test("an update that says auto-generated and holds nothing readable is refused", async () => {
  const { answer, door } = await answerTo("auto-generated-indented-armor");
  expect(answer).toMatch(/^550 5\.6\.0 The mail has no ASCII-armored/);
  expect(door.diagnostics.all("reply-swallowed")).toEqual([]);
});

test("of three keys the second cannot be read: two are kept, the report names it", async () => {
  const { answer, door } = await answerTo("three-keys-second-unreadable");
  expect(answer).toBe("250 2.0.0 Stored 2 new, 0 known.");
  const names = keysOf(door).map(({ userIds }) => String(userIds[0]?.packet.body));
  expect(names.map((one) => Buffer.from(one.split(",").map(Number)).toString())).toEqual([
    "alice test <alice@example.org>",
    "carol test <carol@example.org>",
  ]);
  expect(door.diagnostics.all("key-refused")).toMatchObject([
    { reason: "bad-packet", fingerprint: "B68BC2607EA2D4FC53FBD8AFB386465BB040A352" },
  ]);
});

test.each([
  ["revocation-beside-user-id-of-2049-octets", {}, "policy-size"],
  ["revocation-beside-photo-refused-by-policy", { attributes: "refuse" }, "policy-attribute"],
] as const)("%s: the revocation goes on", async (name, change, reason) => {
  const { answer, door, send } = await answerTo(name, change);
  expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
  const [key, ...more] = keysOf(door);
  expect(more).toEqual([]);
  expect(key?.fingerprint).toBe(ALICE);
  expect(key?.primary.signatures).toHaveLength(1);
  expect(key?.userIds.map(({ packet: { body } }) => body.length)).toEqual([30]);
  expect(door.diagnostics.all("pruned")).toMatchObject([
    { fingerprint: ALICE, packets: 1, reason },
  ]);
  expect(door.diagnostics.all("key-refused")).toEqual([]);
  expect(await send(theCase(name))).toBe("250 2.0.0 Stored 0 new, 1 known.");
});

test("of an update with too many packets the revocation goes on, the rest does not", async () => {
  const name = "revocation-beside-photo-refused-by-policy";
  const { answer, door } = await answerTo(name, { maxPackets: 3 });
  expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
  const [key] = keysOf(door);
  expect([key?.primary.signatures.length, key?.userIds.length]).toEqual([1, 0]);
  expect(door.diagnostics.all("pruned")).toMatchObject([{ reason: "policy-packets" }]);
});

test("a key of which nothing is left is refused", async () => {
  const { answer, door } = await answerTo("armor-leading-blank", { maxUserIdBytes: 10 });
  expect(answer).toMatch(/^552 5\.3\.4 The user id of 30 bytes is over the limit of 10\./);
  expect(door.log.counts().entries).toBe(0);
});
