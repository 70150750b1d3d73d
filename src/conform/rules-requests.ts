/**
 * Rules of LIST, GETUPDATE, UPDATE, IHAVE, ERROR and CLOSE, in KX/1.0. A server with an empty log
 * is held to those of them that need no update.
 */

import { Refusal } from "../errors.js";
import type { Announcement } from "../kx/messages.js";
import { MAX_NUMBER } from "../kx/messages.js";
import { readArmor } from "../openpgp/armor.js";
import { readKeys } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import { type Conversation, Deviation, quotes, Skipped, shown } from "./conversation.js";
import type { Rule } from "./rule.js";
import type { Subject } from "./subject.js";
import type { Heard } from "./wire.js";

/** A number that is far above the newest one. */
const AHEAD = 1_000_000;
/** As many lines are listed for rules that want several. */
const WINDOW = 20;
/** More requests than the server may send ERRORs in a minute. */
const MANY = 30;
/** Bad messages of which the last one ends the connection. */
const BAD = 10;
/** Ranges that a LIST may have. */
const RANGES = 1000;
const NO_HASH = "00000000000000000000000000000000";

export const REQUEST_RULES: readonly Rule[] = [
  {
    id: "list.one",
    text: "LIST of the newest number gets one IHAVE that quotes its tag and has that update.",
    source: "thesis A.2.1, A.2.2",
    async play(subject) {
      const line = await subject.greeted();
      const newest = subject.newestOf(line);
      mustBe(await line.list(String(newest.number)), [newest]);
    },
  },
  {
    id: "list.range",
    text: "A range is listed in ascending order, each number once and none outside of it.",
    source: "thesis A.2.1; Numbers",
    async play(subject) {
      const line = await subject.greeted();
      const { number } = subject.newestOf(line);
      const low = Math.max(0, number - WINDOW);
      mustAscend(await line.list(`${low}-${number}`), low, number);
    },
  },
  {
    id: "list.open-end",
    text: "A range without an end goes to the newest update.",
    source: "thesis A.2.1; Messages",
    async play(subject) {
      const line = await subject.greeted();
      const newest = subject.newestOf(line);
      const [first] = await line.list(`${newest.number}-`);
      mustBe(first === undefined ? [] : [first], [newest]);
    },
  },
  {
    id: "list.open-beginning",
    text: "A range without a beginning is read.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      mustAscend(await line.list("-1"), 0, 1);
    },
  },
  {
    id: "list.nothing",
    text: "A range in which there is nothing gets an IHAVE without a line.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      const low = ahead(line);
      const listed = await line.list(`${low}-${low + 9}`);
      if (listed.length > 0) throw new Deviation(`${listed.length} lines came for numbers ahead`);
    },
  },
  {
    id: "list.several",
    text: "Several ranges are answered by one IHAVE, which has each number once.",
    source: "thesis A.2.1; Messages",
    async play(subject) {
      const line = await subject.greeted();
      const { number } = subject.newestOf(line);
      const low = Math.max(0, number - WINDOW);
      const once = await line.list(`${low}-${number}`);
      mustBe(await line.list(`${low}-${number}`, String(number), `${low}-${number}`), once);
      await line.quiet("One LIST with several ranges");
    },
  },
  {
    id: "list.most-ranges",
    text: "A LIST of 1000 ranges is answered.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      await line.list(...Array.from({ length: RANGES }, () => "1"));
    },
  },
  {
    id: "list.too-many-ranges",
    text: "A LIST of more than 1000 ranges is malformed: ERROR 500.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      await refused(line, "LIST", ...Array.from({ length: RANGES + 1 }, () => "1"));
    },
  },
  ...(
    [
      ["list.no-range", "LIST without a range", []],
      ["list.not-a-range", "LIST with a line that is no range", ["1", "twelve"]],
      ["list.number-too-large", "LIST of a number of more than 31 bits", [String(MAX_NUMBER + 1)]],
    ] as const
  ).map(([id, what, data]) => ({
    id,
    text: `${what} gets ERROR 500 and no IHAVE, and the connection continues.`,
    source: "Messages; Numbers",
    async play(subject: Subject) {
      await refused(await subject.greeted(), "LIST", ...data);
    },
  })),
  {
    id: "get.newest",
    text: "GETUPDATE of the newest number gets one UPDATE, with the tag and as announced.",
    source: "thesis A.2.3, A.2.4; Retention",
    async play(subject) {
      const line = await subject.greeted();
      const newest = subject.newestOf(line);
      const answer = await get(line, newest.number);
      if (isUnavailable(answer, newest.number)) {
        throw new Skipped("the newest update is not available; it may be blocked");
      }
      mustCarry(answer, newest);
      await line.quiet("An answered GETUPDATE");
    },
  },
  {
    id: "get.oldest",
    text: "GETUPDATE of an older number gets its UPDATE, or ERROR 500 when its body has expired.",
    source: "Messages; Retention",
    async play(subject) {
      const line = await subject.greeted();
      const { number } = subject.newestOf(line);
      const [oldest] = await line.list(`${Math.max(0, number - WINDOW)}-${number}`);
      if (oldest === undefined || oldest.number === number) {
        throw new Skipped("the server lists one update only");
      }
      const answer = await get(line, oldest.number);
      if (!isUnavailable(answer, oldest.number)) mustCarry(answer, oldest);
    },
  },
  {
    id: "get.armor",
    text: "The key is one armor block of 64 columns with its CRC-24.",
    source: "thesis A.2.4; The update hash",
    async play(subject) {
      const line = await subject.greeted();
      const answer = await get(line, subject.newestOf(line).number);
      if (answer.command !== "UPDATE") throw new Skipped("the newest update is not available");
      mustBeArmor(answer.lines.slice(2));
    },
  },
  {
    id: "get.unknown",
    text: 'GETUPDATE of a number ahead gets ERROR 500 "<n> update not available".',
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      const number = ahead(line);
      const tag = line.send("GETUPDATE", String(number));
      const error = await line.refusal(tag, 500);
      if (!isUnavailable(error, number)) {
        throw new Deviation(
          `the text "${number} update not available" was due, not ${shown(error)}`,
        );
      }
      await line.quiet("An answered GETUPDATE");
    },
  },
  {
    id: "get.several",
    text: "GETUPDATE of several numbers gets one answer for each, and each quotes the tag.",
    source: "thesis A.2.3; Messages",
    async play(subject) {
      const line = await subject.greeted();
      const first = ahead(line);
      const numbers = [first, first + 1, line.newest?.number ?? first + 2];
      const tag = line.send("GETUPDATE", ...numbers.map(String));
      for (const number of numbers) {
        await line.wait(`the answer for ${number}`, (one) => {
          const isUpdate = one.command === "UPDATE" && one.lines[1]?.startsWith(`${number} `);
          return quotes(tag)(one) && (isUpdate === true || isUnavailable(one, number));
        });
      }
      await line.quiet("A GETUPDATE with an answer for each number");
    },
  },
  {
    id: "get.many-unknown",
    text: 'Answers "not available" are not limited to 20 a minute, as other ERRORs are.',
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      const first = ahead(line);
      const numbers = Array.from({ length: MANY }, (_, n) => first + n);
      const tag = line.send("GETUPDATE", ...numbers.map(String));
      for (const number of numbers) {
        await line.wait(`the answer for ${number}`, (one) => {
          return quotes(tag)(one) && isUnavailable(one, number);
        });
      }
    },
  },
  {
    id: "get.not-a-number",
    text: "GETUPDATE with a line that is no number gets ERROR 500, and the connection continues.",
    source: "Messages",
    async play(subject) {
      await refused(await subject.greeted(), "GETUPDATE", "1", "1-2");
    },
  },
  {
    id: "get.no-number",
    text: "GETUPDATE without a number gets ERROR 500, and the connection continues.",
    source: "Messages",
    async play(subject) {
      await refused(await subject.greeted(), "GETUPDATE");
    },
  },
  {
    id: "update.not-asked-for",
    text: "An UPDATE that was not asked for is dropped without an answer.",
    source: "Messages; Fetching",
    async play(subject) {
      const line = await subject.greeted();
      const armor = ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", "mQ!!", "-----END-----"];
      line.send("UPDATE", "zzzz", `1 ${NO_HASH}`, ...armor);
      await line.quiet("An UPDATE that was not asked for");
    },
  },
  {
    id: "update.no-announcement",
    text: "An UPDATE whose second line is no announcement gets ERROR 500.",
    source: "thesis A.2.4; Messages",
    async play(subject) {
      await refused(await subject.greeted(), "UPDATE", "zzzz", "1 not-hexadecimal", "mQ==");
    },
  },
  {
    id: "ihave.malformed",
    text: "An IHAVE with one malformed line gets ERROR 500, and no line of it counts.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      await refused(line, "IHAVE", "NOTIFY", `1 ${NO_HASH}`, `2 ${NO_HASH.slice(1)}x`);
      if (line.asked.length > 0) throw new Deviation(`the server asked for ${line.asked.join()}`);
    },
  },
  {
    id: "ihave.not-asked-for",
    text: "A listing that was not asked for gets no answer, and no line of it counts.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      line.send("IHAVE", "zzzz", `1 ${NO_HASH}`);
      await line.quiet("A listing that was not asked for");
      if (line.asked.length > 0) throw new Deviation(`the server asked for ${line.asked.join()}`);
    },
  },
  {
    id: "error.no-answer",
    text: "A well-formed ERROR gets no answer, and the connection continues.",
    source: "thesis A.2.6; Messages",
    async play(subject) {
      const line = await subject.greeted();
      line.send("ERROR", "zzzz", "500", "a test of conformance");
      line.send("ERROR", "NOTIFY", "501", "a test of conformance");
      await line.quiet("An ERROR");
    },
  },
  {
    id: "error.malformed",
    text: "A malformed ERROR gets ERROR 501, and the connection continues.",
    source: "thesis A.2.6; Messages",
    async play(subject) {
      const line = await subject.greeted();
      await line.refusal(line.send("ERROR", "zzzz", "what"), 501);
      await line.stillAnswers();
    },
  },
  {
    id: "error.tenth",
    text: "The tenth malformed message ends the connection, and the ninth does not.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      for (let n = 1; n < BAD; n += 1) await line.refusal(line.send("LIST", "x"), 500);
      await line.stillAnswers();
      line.send("LIST", "x");
      await line.closed();
    },
  },
  {
    id: "close.answer",
    text: "CLOSE is answered by CLOSE with its tag, and then the connection ends.",
    source: "thesis A.2.7",
    async play(subject) {
      const line = await subject.greeted();
      const tag = line.send("CLOSE");
      await line.wait(`CLOSE ${tag}`, ({ command, lines }) => {
        return command === "CLOSE" && lines[0] === tag;
      });
      await line.closed();
    },
  },
  {
    id: "close.last",
    text: "What was asked before CLOSE is answered first. The reply to CLOSE is the last message.",
    source: "Conversation 5",
    async play(subject) {
      const line = await subject.greeted();
      line.raw("lst1\r\nLIST\r\n1\r\n.\r\nget1\r\nGETUPDATE\r\n1\r\n.\r\nbye1\r\nCLOSE\r\n.\r\n");
      await line.closed();
      const order = line.all.flatMap(({ lines: [first = ""] }) => {
        return ["lst1", "get1", "bye1"].includes(first) ? [first] : [];
      });
      if (order.join(" ") !== "lst1 get1 bye1") {
        throw new Deviation(`the answers lst1 get1 bye1 were due; there came: ${order.join(" ")}`);
      }
    },
  },
  {
    id: "close.fin",
    text: "When our side is closed without CLOSE, the server closes its own.",
    source: "Conversation 5",
    async play(subject) {
      const line = await subject.greeted();
      await line.stillAnswers();
      line.finish();
      await line.closed();
    },
  },
  {
    id: "connection.second",
    text: "A second connection of a peer is greeted, and both are usable.",
    source: "Conversation, Both sides may dial",
    async play(subject) {
      const first = await subject.greeted();
      const second = await subject.greeted();
      await second.stillAnswers();
      await first.stillAnswers();
    },
  },
];

/** Sends a malformed message: ERROR 500, nothing else, and the connection continues. */
async function refused(line: Conversation, command: string, ...data: readonly string[]) {
  await line.refusal(line.send(command, ...data), 500);
  await line.quiet(`A refused ${command}`);
}

/** A number that the server has not given out. */
export function ahead(line: Conversation): number {
  return ((line.newest?.number ?? 0) + AHEAD) % (MAX_NUMBER + 1);
}

/** The answer to a GETUPDATE of one number. */
export async function get(line: Conversation, number: number): Promise<Heard> {
  const tag = line.send("GETUPDATE", String(number));
  return await line.wait(`the answer to GETUPDATE ${number}`, quotes(tag));
}

export function isUnavailable({ command, lines }: Heard, number: number): boolean {
  return command === "ERROR" && lines[1] === "500" && lines[2] === `${number} update not available`;
}

function words(announcements: readonly Announcement[]): string {
  return announcements.map(({ number, hash }) => `${number} ${hash}`).join(", ") || "no line";
}

function mustBe(listed: readonly Announcement[], due: readonly Announcement[]): void {
  if (words(listed) === words(due)) return;
  throw new Deviation(`${words(due)} was due; the server listed ${words(listed)}`.slice(0, 300));
}

function mustAscend(listed: readonly Announcement[], low: number, high: number): void {
  let before = low - 1;
  for (const { number } of listed) {
    if (number > before && number <= high) before = number;
    else throw new Deviation(`${number} was listed after ${before} for ${low}-${high}`);
  }
}

/** The UPDATE has the announced update, by its recomputed hash and fingerprint. */
function mustCarry(heard: Heard, { number, fingerprint, hash }: Announcement): void {
  if (heard.command !== "UPDATE") throw new Deviation(`UPDATE was due, not ${shown(heard)}`);
  const [, line = "", ...armor] = heard.lines;
  const named = line.split(" ");
  if (named[0] !== String(number) || named.at(-1) !== hash) {
    throw new Deviation(`the UPDATE names "${line}", not ${number} with ${hash}`);
  }
  const blocks = readArmor(Buffer.from(`${armor.join("\n")}\n`, "latin1"));
  const [block, ...others] = blocks;
  if (block === undefined || block instanceof Refusal || others.length > 0) {
    const why = block instanceof Refusal ? block.message : `${blocks.length} armor blocks`;
    throw new Deviation(`one armor block was due: ${why}`);
  }
  mustBeKey(block.data, { fingerprint, hash });
}

/** The packets are one key with the announced hash, fingerprint, and SHA-256 if it is known. */
export function mustBeKey(
  packets: Uint8Array,
  { fingerprint, hash, digest }: Omit<Announcement, "number">,
): void {
  const [key, ...more] = readKeys(packets);
  if (key === undefined || key instanceof Refusal || more.length > 0) {
    throw new Deviation(
      `one key was due: ${key instanceof Refusal ? key.message : more.length + 1}`,
    );
  }
  const { hash: computed, digest: sha256 } = updateHash(key);
  if (computed !== hash) throw new Deviation(`the hash of the key is ${computed}, not ${hash}`);
  if (digest !== undefined && sha256 !== digest) {
    throw new Deviation(`the SHA-256 of the key is ${sha256}, not ${digest}`);
  }
  if (fingerprint !== undefined && key.fingerprint !== fingerprint) {
    throw new Deviation(`the fingerprint of the key is ${key.fingerprint}, not ${fingerprint}`);
  }
}

function mustBeArmor(lines: readonly string[]): void {
  const end = lines.indexOf("-----END PGP PUBLIC KEY BLOCK-----");
  if (lines[0] !== "-----BEGIN PGP PUBLIC KEY BLOCK-----" || end !== lines.length - 1) {
    throw new Deviation("the data from the third line on is not one armor block");
  }
  const data = lines.slice(lines.indexOf("") + 1, -2);
  const wide = data.find((one) => one.length > 64);
  if (wide !== undefined) throw new Deviation(`a line of the armor has ${wide.length} columns`);
  if (!/^=[A-Za-z0-9+/]{4}$/.test(lines.at(-2) ?? "")) throw new Deviation("the CRC-24 is missing");
}
