/** The gate: what becomes an update, what is refused and why, and that an announced one is that. */
import { describe, expect, test } from "vitest";
import { admit, admittingAnnounced, type Cut } from "../src/admit.js";
import { Refusal } from "../src/errors.js";
import { assembleKey } from "../src/openpgp/key.js";
import { finish } from "../src/steps.js";
import type { Update, UpdateHash } from "../src/update.js";
import { bytes, keyArmor, keyNames, mail } from "./mail/fixtures.js";
import { packet } from "./mail/oracles/packets.js";
import { armored, firstBlock } from "./mail/oracles/raw-mail.js";
import { vectors } from "./openpgp/material.js";

const armors = keyNames.map(keyArmor);
const packets = armors.map((armor) => firstBlock(armor)?.packets ?? new Uint8Array());
const [first = "", second = ""] = armors;
const all = armors.flatMap((armor) => admit([bytes(armor)]).updates);

const reasons = (refusals: readonly Refusal[]) => refusals.map(({ reason }) => reason);

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("admit", () => {
  test("every vector is named by its hash and its fingerprint", () => {
    for (const { name, hash, fingerprint, packets_base64 } of vectors) {
      const { updates } = admit([bytes(armored([Buffer.from(packets_base64, "base64")]))]);
      expect(
        updates.map((each) => each.hash),
        name,
      ).toEqual([hash]);
      expect(updates[0]?.fingerprint, name).toBe(fingerprint.toUpperCase());
      expect(updates[0]?.digest).toMatch(/^[0-9a-f]{64}$/);
    }
  });

  test("one update a key: in one block, in several blocks, in several texts", () => {
    const wanted = all.map(({ hash }) => hash).sort();
    for (const texts of [[armored(packets)], [armors.join("\nand\n")], armors]) {
      const { updates, refusals } = admit(texts.map(bytes));
      expect(updates.map(({ hash }) => hash).sort()).toEqual(wanted);
      expect(refusals).toEqual([]);
    }
  });

  test("equal ones once", () => {
    expect(admit([bytes(first + second + first), bytes(first)]).updates).toHaveLength(2);
  });

  test("what is stored gives the same update again", () => {
    for (const update of all) {
      const again = admit([bytes(armored([update.body]))]).updates;
      expect(again).toEqual([update]);
    }
  });

  test("a bad block among good ones", () => {
    const broken = second.replace(/^=(....)$/m, "=AAAA");
    const { updates, refusals } = admit([bytes(first + broken)]);
    expect(updates).toHaveLength(1);
    expect(reasons(refusals)).toEqual(["bad-crc"]);
  });

  test.each<[string, readonly string[], readonly string[]]>([
    ["nothing", [], ["no-key"]],
    ["no armor", ["hello"], ["no-key"]],
    ["an empty block", [armored([])], ["no-key"]],
    ["a message", [first.replaceAll("PUBLIC KEY BLOCK", "MESSAGE")], ["not-key-material"]],
    ["a signature alone", [armored([packet(2, bytes("xxxx"), "old")])], ["not-key-material"]],
    ["a secret block", [first.replaceAll("PUBLIC KEY", "PRIVATE KEY")], ["secret-key"]],
    [
      "a secret packet in a public block",
      [armored([packet(5, bytes("xxxxxxxx"), "old")])],
      ["secret-key"],
    ],
    [
      "a packet that is cut off",
      [armored([packets[0]?.subarray(0, -1) ?? bytes("")])],
      ["bad-packet"],
    ],
  ])("%s is refused", (_, texts, expected) => {
    const { updates, refusals } = admit(texts.map(bytes));
    expect(updates).toEqual([]);
    expect(reasons(refusals)).toEqual(expected);
    for (const { message } of refusals) expect(message).toMatch(/^[ -~]{5,200}$/);
  });

  test("what the key says of itself comes with it, where it says anything", () => {
    for (const update of all) expect(update.selfSigned).toBeDefined();
    const raw = mail("onak-revocation-2-no-user-id");
    expect(admit([raw]).updates.map(({ selfSigned }) => selfSigned)).toEqual([undefined]);
  });

  test("what a key says of itself is learnt from all of it, when it is cut to its news", () => {
    const [whole] = admit([bytes(first)]).updates;
    const cut: Cut = function* ({ primary: { packet } }) {
      yield;
      return assembleKey([{ packet, signatures: [] }]);
    };
    const [update] = admit([bytes(first)], { cut }).updates;
    expect(update?.body.length).toBeLessThan(whole?.body.length ?? 0);
    expect(update?.selfSigned).toEqual(whole?.selfSigned);
    // Of a key that is known whole, too.
    const known: Cut = function* () {
      yield;
      return undefined;
    };
    expect(admit([bytes(first)], { cut: known }).updates).toEqual([whole]);
  });
});

describe("a key that the log has", () => {
  const [whole] = admit([bytes(first)]).updates;
  const cut: Cut = () => {
    throw new Error("it is cut");
  };
  const isHeld = ({ hash, digest }: Pick<Update, "hash" | "digest">) =>
    hash === whole?.hash && digest === whole?.digest;

  test("is not cut to its news, and is made whole when the log has it no more", () => {
    const [held, ...more] = admit([bytes(first)], { cut, isHeld }).updates;
    expect(more).toEqual([]);
    expect(held?.isHeld).toBe(true);
    expect({ ...held, isHeld: undefined }).toEqual({ ...whole, isHeld: undefined });
  });

  test("is judged as any other key", () => {
    const judge = () => new Refusal("blocked", "It is blocked.");
    const { updates, refusals } = admit([bytes(first)], { cut, isHeld, judge });
    expect(updates).toEqual([]);
    expect(reasons(refusals)).toEqual(["blocked"]);
  });

  test("does not hide another key", () => {
    expect(admit([bytes(second)], { isHeld }).updates).toEqual(admit([bytes(second)]).updates);
  });
});

describe("admittingAnnounced", () => {
  const body = (text: Uint8Array) => ({ bytes: text, isArmored: true });
  const [update, other] = all as [Update, Update];
  const armor = bytes(first);

  test("the announced one", () => {
    const { hash, fingerprint } = update;
    const digest = update.digest;
    const taken = { name: { hash, digest }, update, loss: undefined };
    const bodies = [
      { bytes: armor, isArmored: true },
      { bytes: update.body, isArmored: false },
    ];
    for (const body of bodies) {
      for (const announced of [
        { hash, fingerprint },
        { hash, fingerprint: undefined },
        { hash, digest, fingerprint },
      ]) {
        expect(finish(admittingAnnounced(body, announced))).toEqual(taken);
      }
    }
  });

  test.each<[string, Uint8Array, UpdateHash, string | undefined, string]>([
    ["another key", bytes(second), update.hash, undefined, "hash-mismatch"],
    ["another fingerprint", armor, update.hash, other.fingerprint, "hash-mismatch"],
    ["two keys", bytes(first + second), update.hash, undefined, "several-keys"],
    [
      "the key and a bad block",
      bytes(first + first.replace(/^=/m, "=%")),
      update.hash,
      undefined,
      "bad-armor",
    ],
    ["no key", bytes("hello"), update.hash, undefined, "no-key"],
  ])("%s", (_, text, hash, fingerprint, reason) => {
    const error = thrown(() => finish(admittingAnnounced(body(text), { hash, fingerprint })));
    expect(error).toBeInstanceOf(Refusal);
    expect(error).toMatchObject({ reason });
  });
});
