/**
 * Where a message ends (faults row 7; CVE-2023-51764 and its kin): only at CRLF.CRLF, however the
 * bytes come cut out of the network. Each payload holds something that another server takes for the
 * end, and a command behind it; it must stay one message, byte for byte, and no command may run.
 */
import { expect, test } from "vitest";
import { type Intake, MailIntake } from "../../src/ingress/mail-intake.js";
import { bytes, text } from "../mail/fixtures.js";
import type { SmtpClient } from "../support/smtp-client.js";
import { pause } from "../support/until.js";
import { NEIGHBOUR, type OpenDoor, openDoor, SITE } from "./door.js";

/** What stands in the message, and what is to be made of it when that is not the same. */
const PAYLOADS: readonly [string, string, string?][] = [
  ["LF . LF", "\n.\n"],
  ["LF . CRLF", "\n.\r\n"],
  ["CRLF . LF", "\r\n.\n"],
  ["CR . CRLF", "\r.\r\n"],
  ["CR . CR", "\r.\r"],
  ["CRLF . CR", "\r\n.\r"],
  ["CRLF . CR NUL LF", "\r\n.\r\0\n"],
  ["CRLF NUL . CRLF", "\r\n\0.\r\n"],
  ["CRLF . NUL CRLF", "\r\n.\0\r\n"],
  ["CR CR LF . CR CR LF", "\r\r\n.\r\r\n"],
  ["LF CR . CRLF", "\n\r.\r\n"],
  ["LF . . CRLF", "\n..\r\n", "\n.\r\n"],
  ["CRLF . . CRLF", "\r\n..\r\n", "\r\n.\r\n"],
  ["CRLF . . . CRLF", "\r\n...\r\n", "\r\n..\r\n"],
  ["CRLF . blank CRLF", "\r\n. \r\n"],
];
const COMMAND = "NOOP\r\n";
const END = ".\r\n";

const seen: string[] = [];
class Watching extends MailIntake {
  override take(message: Uint8Array): Promise<Intake> {
    seen.push(text(message));
    return Promise.resolve({ kind: "reply" });
  }
}

const lanes = 40;
async function open(): Promise<{ door: OpenDoor; clients: SmtpClient[] }> {
  const door = await openDoor({ perNeighbour: 100 }, undefined, Watching);
  const clients = await Promise.all(Array.from({ length: lanes }, () => door.client()));
  return { door, clients };
}

/** Sends one message in these pieces; anything but one reply to it shows in the next RSET. */
async function deliver(client: SmtpClient, pieces: readonly string[]): Promise<void> {
  await client.say(`MAIL FROM:<${NEIGHBOUR}>`);
  await client.say(`RCPT TO:<${SITE}>`);
  await client.say("DATA");
  for (const piece of pieces) {
    client.write(piece);
    // Long enough for the other end of the loopback to read it by itself.
    if (pieces.length > 1) await pause(1);
  }
  expect(await client.answer()).toBe("250 2.0.0 Noted.");
  expect(await client.say("RSET")).toMatch(/^250 .*Flushed/);
}

/** All ways to cut `wire` at `cuts` of the places from `from` on. */
function splits(wire: string, from: number, cuts: number): string[][] {
  if (cuts === 0) return [[wire]];
  const found: string[][] = [];
  for (let at = from; at < wire.length; at += 1) {
    for (const rest of splits(wire.slice(at), 1, cuts - 1)) {
      found.push([wire.slice(0, at), ...rest]);
    }
  }
  return found;
}

async function all(clients: readonly SmtpClient[], messages: readonly string[][]): Promise<void> {
  await Promise.all(
    clients.map(async (client, lane) => {
      for (let at = lane; at < messages.length; at += clients.length) {
        await deliver(client, messages[at] ?? []);
      }
    }),
  );
}

test.each(PAYLOADS)("%s: whole, in every two pieces, bytewise", async (_, sent, meant = sent) => {
  const { clients } = await open();
  const front = "S: x\r\n\r\nA";
  const wire = `${front}${sent}${COMMAND}${END}`;
  const ways = [...splits(wire, 1, 0), ...splits(wire, 1, 1), wire.split("")];
  seen.length = 0;
  await all(clients, ways);
  expect(new Set(seen)).toEqual(new Set([`${front}${meant}${COMMAND}`]));
  expect(seen).toHaveLength(ways.length);
});

test.each(PAYLOADS)("%s: in every three pieces", async (_, sent, meant = sent) => {
  const { clients } = await open();
  const wire = `S: x\r\n\r\nA${sent}N\r\n${END}`;
  const ways = splits(wire, 8, 2);
  seen.length = 0;
  await all(clients, ways);
  expect(new Set(seen)).toEqual(new Set([`S: x\r\n\r\nA${meant}N\r\n`]));
  expect(seen).toHaveLength(ways.length);
});

test.each([
  ["nothing at all", ".\r\n", ""],
  ["a stuffed dot first", "..\r\n.\r\n", ".\r\n"],
  ["a stuffed dot first, and no more", "..a\r\n.\r\n", ".a\r\n"],
  ["a dot and a word first", ".a\r\n.\r\n", ".a\r\n"],
])("a message of %s", async (_, wire, meant) => {
  const { clients } = await open();
  seen.length = 0;
  const ways = [...splits(wire, 1, 0), ...splits(wire, 1, 1), ...splits(wire, 1, 2), [...wire]];
  await all(clients, ways);
  expect(new Set(seen)).toEqual(new Set([meant]));
});

test("what follows the real end is a command, as pipelining has it", async () => {
  const { clients } = await open();
  const [client] = clients;
  await client?.say(`MAIL FROM:<${NEIGHBOUR}>`);
  await client?.say(`RCPT TO:<${SITE}>`);
  await client?.say("DATA");
  client?.write(bytes(`S: x\r\n\r\nA\r\n.\r\n${COMMAND}`));
  expect(await client?.answer()).toBe("250 2.0.0 Noted.");
  expect(await client?.answer()).toMatch(/^250 /);
});

test("the payloads have teeth: servers that take other line ends would run the command", () => {
  const lenient = [/\r?\n\.\r?\n/, /\r\.\r/, /[\r\n]\0?\.[\0 ]?\r?[\0]?\n/, /\n\r?\.\r/];
  const fooled = PAYLOADS.filter(([, sent]) => lenient.some((end) => end.test(`A${sent}NOOP`)));
  expect(fooled.length).toBeGreaterThanOrEqual(10);
});
