/**
 * The example in docs/protocol.md, which second implementations begin with: each side's octets are
 * what our parser reads and our serializer writes, in the order in which a session may say them,
 * and its UPDATE holds the key that its announcement names.
 */
import { expect, it } from "vitest";
import { admit } from "../../src/admit.js";
import type { Message } from "../../src/kx/messages.js";
import { Parser } from "../../src/kx/parser.js";
import { serialize } from "../../src/kx/serializer.js";
import { blocks, page } from "../support/page.js";

const [TALK = ""] = blocks(page("protocol.md"), "kx");

/** What a side says, as it is on the wire. */
function said(side: "A" | "B"): string {
  const lines = TALK.split("\n").filter((line) => line.startsWith(side));
  return lines.map((line) => `${line.slice(2)}\r\n`).join("");
}

function messagesOf(side: "A" | "B"): Message[] {
  return new Parser().push(Buffer.from(said(side), "latin1")).map((one) => {
    if (["malformed", "oversized", "unframed"].includes(one.command)) throw new Error(one.command);
    return one as Message;
  });
}

it.each(["A", "B"] as const)("%s: every octet is what we would write", (side) => {
  const bytes = Buffer.concat(messagesOf(side).map(serialize)).toString("latin1");
  expect(bytes).toBe(said(side));
  expect(bytes.length).toBeGreaterThan(50);
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
