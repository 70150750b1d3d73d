/** The KX peer that reads a log: what it asks for, and each fault that it has to find. */
import { expect, test } from "vitest";
import type { Announcement, Message } from "../../src/kx/messages.js";
import { type KxLink, KxReader } from "../support/kx-reader.js";
import { made } from "./material.js";

const MADE = [1, 2, 3, 4, 5].map((n) => made("reader", n));

function line(number: number, n = number): Announcement {
  const { hash, fingerprint } = MADE[n - 1]?.update ?? made("other", n).update;
  return { number, hash, fingerprint };
}

/** A reader, and connections on which it hears what the test says. */
function stage() {
  const reader = new KxReader();
  const open = () => {
    const asked: string[] = [];
    const link: KxLink = {
      ask: (question) => {
        const { command } = question;
        asked.push(
          command === "LIST" ? `${question.low}-${question.high}` : `update ${question.number}`,
        );
        return asked.at(-1) ?? "";
      },
    };
    reader.opened(link);
    const tag = "0001";
    const hear = (message: Message) => reader.heard(link, message);
    const ihave = (inReplyTo: string | undefined, ...announcements: Announcement[]) => {
      hear({ command: "IHAVE", tag, inReplyTo, announcements });
    };
    const body = (number: number, n = number) => {
      const armor = Buffer.from(MADE[n - 1]?.armor ?? "", "latin1");
      const inReplyTo = `update ${number}`;
      hear({ command: "UPDATE", tag, inReplyTo, announcement: line(number), armor });
    };
    return { asked, ihave, hear, body, close: () => reader.closed(link) };
  };
  return { reader, open };
}

const ENTRIES = new Map(MADE.map(({ update }, index) => [index + 1, update.hash]));

test("lists from its cursor, asks for every body, and has all in the end", () => {
  const { reader, open } = stage();
  const first = open();
  first.ihave(undefined, line(2));
  first.ihave("1-2", line(1), line(2));
  first.ihave(undefined, line(3));
  first.body(1);
  expect(reader.missing(ENTRIES)).toEqual([
    "2 numbers are not known as they are",
    "4 bodies did not come",
  ]);
  first.close();
  const second = open();
  second.ihave(undefined, line(4));
  second.ihave("3-4", line(3), line(4));
  second.ihave(undefined, line(5));
  for (const number of [2, 3, 4, 5]) second.body(number);
  expect(first.asked).toEqual(["1-2", "update 1", "update 2", "update 3"]);
  expect(second.asked).toEqual(["3-4", ...[2, 3, 4, 5].map((number) => `update ${number}`)]);
  expect(reader.missing(ENTRIES)).toEqual([]);
  expect(reader.missing(new Map([...ENTRIES].slice(1)))).toEqual([
    "1 numbers were announced and are not there",
  ]);
  expect([reader.faults, reader.greetings, reader.cursor]).toEqual([[], 2, 5]);
});

type Connection = ReturnType<ReturnType<typeof stage>["open"]>;

test.each<[string, (connection: Connection) => void]>([
  ["2 is not in the list from 1 to 3", ({ ihave }) => ihave("1-3", line(1), line(3))],
  ["announced 5 where 4 comes next", ({ ihave }) => ihave(undefined, line(5))],
  ["announced 3 where 4 comes next", ({ ihave }) => ihave(undefined, line(3))],
  ["number 4 has the update of 3", ({ ihave }) => ihave(undefined, line(4, 3))],
  ["the body of 3 is another", ({ body }) => body(3, 2)],
  [
    "ERROR 500 gone, number 3",
    ({ hear }) => {
      hear({ command: "ERROR", tag: "0001", inReplyTo: "update 3", code: 500, text: "gone" });
    },
  ],
])("finds: %s", (fault, happens) => {
  const { reader, open } = stage();
  const connection = open();
  connection.ihave(undefined, line(3));
  if (!fault.includes("list")) connection.ihave("1-3", line(1), line(2), line(3));
  expect(reader.faults).toEqual([]);
  happens(connection);
  expect(reader.faults).toEqual([fault]);
});

test("finds another update at its cursor on the next connection", () => {
  const { reader, open } = stage();
  const first = open();
  first.ihave(undefined, line(1));
  first.ihave("1-1", line(1));
  first.close();
  const second = open();
  second.ihave(undefined, line(1, 2));
  second.ihave("1-1", line(1, 2));
  expect(reader.faults).toEqual(["number 1 has two updates"]);
});

test("finds a log that is behind its cursor, and asks nothing of it", () => {
  const { reader, open } = stage();
  const first = open();
  first.ihave(undefined, line(2));
  first.ihave("1-2", line(1), line(2));
  first.close();
  const second = open();
  second.ihave(undefined, line(1));
  expect(reader.faults).toEqual(["greeted with 1, the cursor is 2"]);
});
