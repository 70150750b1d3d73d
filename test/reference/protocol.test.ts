/**
 * The examples in docs/protocol.md, which second implementations begin with: each side's octets are
 * what our parser reads and our serializer writes, in the order in which a session may say them,
 * its UPDATE holds the key that its announcement names, and the machine of reconciliation says what
 * its example says.
 */
import { expect, it } from "vitest";
import { admit, updateOf } from "../../src/admit.js";
import { type Message, NO_FEATURES } from "../../src/kx/messages.js";
import { PARSER_LIMITS, Parser } from "../../src/kx/parser.js";
import { SUM_WORDS, stateOf } from "../../src/kx/range-sum.js";
import { answerRanges, Reconciler } from "../../src/kx/reconcile.js";
import { serialize } from "../../src/kx/serializer.js";
import { Session } from "../../src/kx/session.js";
import { readKeys } from "../../src/openpgp/key.js";
import { ArraySet } from "../kx/key-sets.js";
import { blocks, page } from "../support/page.js";

const [TALK = "", TALK_11 = "", COMPARED = ""] = blocks(page("protocol.md"), "kx");

/** What a side says, as it is on the wire. */
function said(side: "A" | "B", talk = TALK): string {
  const lines = talk.split("\n").filter((line) => line.startsWith(side));
  return lines.map((line) => `${line.slice(2)}\r\n`).join("");
}

function messagesOf(side: "A" | "B", talk = TALK): Message[] {
  const parser = new Parser(PARSER_LIMITS, talk !== TALK);
  if (talk === COMPARED) parser.push(Buffer.from("KX11\r\nHELO\r\n1.0\r\n.\r\n"));
  return parser.push(Buffer.from(said(side, talk), "latin1")).map((one) => {
    if (["malformed", "oversized", "unframed"].includes(one.command)) throw new Error(one.command);
    return one as Message;
  });
}

/** The same with the features sha256 and octets: lines with `=` are octets in hex. */
const [TALK_OCTETS = ""] = blocks(page("protocol.md"), "kx-octets");
const FEATURES = { ...NO_FEATURES, receipt: true, sha256: true, octets: true };

function saidInOctets(side: "A" | "B"): Buffer {
  const lines = TALK_OCTETS.split("\n").filter((line) => line.startsWith(side));
  const parts = lines.map((line) => {
    const text = line.slice(2);
    return text.startsWith("= ") ? Buffer.from(text.slice(2), "hex") : Buffer.from(`${text}\r\n`);
  });
  return Buffer.concat(parts);
}

function octetMessagesOf(side: "A" | "B"): Message[] {
  const parser = new Parser(PARSER_LIMITS, true);
  parser.features = FEATURES;
  // The parser knows OPEN and DONE after a HELO with the tag of KX/1.1.
  parser.push(Buffer.from("KX11\r\nHELO\r\n1.0\r\n.\r\n"));
  return parser.push(saidInOctets(side)).map((one) => {
    if (["malformed", "oversized", "unframed"].includes(one.command)) throw new Error(one.command);
    return one as Message;
  });
}

it("has examples of octets that the parser reads and the serializer writes", () => {
  expect(octetMessagesOf("A").map(({ command }) => command)).toEqual(["LIST", "GETUPDATE", "DONE"]);
  const [notice, listing, answer] = octetMessagesOf("B");
  if (notice?.command !== "IHAVE" || listing?.command !== "IHAVE") throw new Error("no IHAVE");
  if (answer?.command !== "DELIVERY") throw new Error("no UPDATE");
  expect(listing.announcements).toEqual(notice.announcements);
  for (const [side, messages] of [
    ["A", octetMessagesOf("A")],
    ["B", [notice, answer]],
  ] as const) {
    for (const message of messages) {
      // The listing is compressed, which another zlib may do otherwise.
      expect(saidInOctets(side).includes(Buffer.from(serialize(message, FEATURES)))).toBe(true);
    }
  }
  const [gone, sent] = answer.deliveries;
  expect(gone).toEqual({ number: 42, packets: undefined });
  const [key] = readKeys(sent?.packets ?? new Uint8Array());
  if (key === undefined || key instanceof Error) throw new Error("the update is no key");
  const { hash, digest, fingerprint } = updateOf(key);
  expect(notice.announcements).toEqual([{ number: 43, fingerprint, hash, digest }]);
});

it.each([
  ["A", "1.0", TALK],
  ["B", "1.0", TALK],
  ["A", "1.1", TALK_11],
  ["B", "1.1", TALK_11],
  ["A", "1.1, comparing", COMPARED],
  ["B", "1.1, comparing", COMPARED],
] as const)("%s in KX/%s: every octet is what we would write", (side, _, talk) => {
  const bytes = Buffer.concat(messagesOf(side, talk).map((message) => serialize(message))).toString(
    "latin1",
  );
  expect(bytes).toBe(said(side, talk));
  expect(bytes.length).toBeGreaterThan(50);
});

it("opens a session of KX/1.1 on both sides, as a session writes it", () => {
  const [, , opening] = messagesOf("A", TALK_11);
  if (opening?.command !== "OPEN") throw new Error("the third message is no OPEN");
  const session = new Session(0, { log: opening.log, features: opening.features });
  const outputs = [...session.start(), ...session.received(Buffer.from(said("B", TALK_11)), 1)];
  expect(outputs.map(({ type }) => type)).toEqual(["send", "greet", "established", "done"]);
  expect(outputs.at(-1)).toMatchObject({ number: 7, without: [{ low: 3, high: 4 }] });
});

it("compares two sets as the machine does, from the keys alone", () => {
  const [question, told] = messagesOf("A", COMPARED);
  const [answer] = messagesOf("B", COMPARED);
  if (question?.command !== "RANGE" || told?.command !== "ITEMS" || answer?.command !== "ITEMS") {
    throw new Error("another message");
  }
  const there = new ArraySet(answer.keys);
  const here = new ArraySet([...answer.keys.slice(0, 1), ...told.keys]);
  const run = new Reconciler(here, true);
  expect(run.next()).toEqual(question.ranges);
  const { ranges, keys } = answerRanges(there, question.ranges);
  expect({ ranges, keys }).toEqual({ ranges: answer.ranges, keys: answer.keys });
  expect(run.answered(answer)).toEqual({ wanted: answer.keys.slice(1), told: told.keys });
});

it("has the hash of a range without keys", () => {
  const { hash } = stateOf(0, new Uint32Array(SUM_WORDS));
  expect(page("protocol.md")).toContain(`the hash \`${hash}\``);
});

it("has every message, and the answers quote the tags of what they answer", () => {
  const all = [...messagesOf("A"), ...messagesOf("B")];
  expect([...new Set(all.map(({ command }) => command))].sort()).toEqual(
    ["CLOSE", "ERROR", "GETUPDATE", "HELO", "IHAVE", "LIST", "UPDATE"].sort(),
  );
  const asked = messagesOf("A").map(({ tag }) => tag);
  for (const one of messagesOf("B")) {
    if (!("inReplyTo" in one) || one.inReplyTo === undefined) continue;
    expect(asked).toContain(one.inReplyTo);
  }
});

it("has an update whose hash and fingerprint are the announced ones", () => {
  const update = messagesOf("B").find((one) => one.command === "UPDATE");
  const [key] = admit([update?.armor ?? new Uint8Array()]).updates;
  expect(update?.announcement).toEqual({
    ...{ number: 43, fingerprint: key?.fingerprint, hash: key?.hash },
  });
});
