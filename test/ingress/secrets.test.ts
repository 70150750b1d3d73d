/**
 * Secret keys by mail: refused, and not a byte of them on disk or in a report (faults row 14). The
 * same search finds what was stored, so that it would find a secret too.
 */
import { generateKey } from "openpgp";
import { beforeAll, describe, expect, test } from "vitest";
import { keyArmor, keyNames } from "../mail/fixtures.js";
import { keysOf, TAG, walk } from "../mail/oracles/packets.js";
import { armored, firstBlock } from "../mail/oracles/raw-mail.js";
import { leftBehind, NEIGHBOUR, type OpenDoor, openDoor, SITE } from "./door.js";

const SECRET_TAGS = [5, 7];
const PUBLIC = keyArmor(keyNames[0] ?? "");

/** A secret key as armor, its packets, and pieces of its secret parts in every spelling. */
interface Secret {
  readonly armor: string;
  readonly packets: Uint8Array;
  readonly needles: readonly string[];
}
let secret: Secret;

beforeAll(async () => {
  const { privateKey } = await generateKey({
    userIDs: [{ name: "Test", email: "test@site.example" }],
    format: "object",
  });
  const armor = privateKey.armor();
  const packets = privateKey.write();
  const needles = (walk(packets) ?? [])
    .filter(({ tag }) => SECRET_TAGS.includes(tag))
    .flatMap(({ body }) => {
      // The last bytes are a checksum; before them is the secret scalar.
      const piece = Buffer.from(body).subarray(-26, -2);
      return [piece.toString("latin1"), piece.toString("hex"), piece.toString("base64")];
    });
  const lines = armor.split("\n").filter((line) => line.length === 60 || line.length === 64);
  secret = { armor, packets, needles: [...needles, ...lines] };
});

function traces(door: OpenDoor): string[] {
  const haystack = leftBehind(door);
  return secret.needles.filter((needle) => haystack.includes(needle));
}

async function send(door: OpenDoor, body: string): Promise<string | undefined> {
  const client = await door.client();
  const raw = `From: ${NEIGHBOUR}\nSubject: incremental\n\n${body}`;
  return (await client.transact(NEIGHBOUR, [SITE], raw)).at(-1);
}

describe("refused, and gone", () => {
  test("an armored PRIVATE KEY BLOCK", async () => {
    const door = await openDoor();
    expect(await send(door, secret.armor)).toMatch(/^550 5\.6\.0 .*secret key/);
    expect(door.diagnostics.all("mail-refused")).toMatchObject([{ reason: "secret-key" }]);
    expect(door.log.counts().entries).toBe(0);
    expect(traces(door)).toEqual([]);
  });

  test("secret packets inside a PUBLIC KEY BLOCK", async () => {
    const door = await openDoor();
    expect(await send(door, armored([secret.packets]))).toMatch(/^550 5\.6\.0 .*secret key/);
    expect(door.log.counts().entries).toBe(0);
    expect(traces(door)).toEqual([]);
  });

  test.each([
    ["a PRIVATE block behind it", () => PUBLIC + secret.armor],
    ["a PRIVATE block before it", () => secret.armor + PUBLIC],
    [
      "secret packets behind it in its block",
      () => armored([firstBlock(PUBLIC)?.packets ?? new Uint8Array(), secret.packets]),
    ],
  ])("a public key with %s: only the public one is stored", async (_, body) => {
    const door = await openDoor();
    const answer = await send(door, body());
    const isJoined = door.log.counts().entries === 0;
    // In one block a secret primary key belongs to no public key, or spoils the one before it.
    if (isJoined) expect(answer).toMatch(/^550 5\.6\.0 .*secret key/);
    else expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
    expect(traces(door)).toEqual([]);
  });

  test("a secret subkey in a public key", async () => {
    const door = await openDoor();
    const [key = []] = keysOf(walk(firstBlock(PUBLIC)?.packets ?? new Uint8Array()) ?? []);
    const subkey = (walk(secret.packets) ?? []).filter(({ tag }) => tag === 7);
    const joined = armored([...key, ...subkey].map(({ bytes }) => bytes));
    expect(await send(door, joined)).toMatch(/^550 5\.6\.0 .*secret key/);
    expect(door.log.counts().entries).toBe(0);
    expect(traces(door)).toEqual([]);
  });
});

test("the search finds what is stored", async () => {
  const door = await openDoor();
  await send(door, PUBLIC);
  const packets = walk(firstBlock(PUBLIC)?.packets ?? new Uint8Array()) ?? [];
  const body = packets.find(({ tag }) => tag === TAG.key)?.body ?? new Uint8Array();
  expect(leftBehind(door)).toContain(Buffer.from(body).toString("latin1"));
  expect(secret.needles.length).toBeGreaterThanOrEqual(6);
});
