/**
 * The oracles against the measured facts: corpus mails as they are, and altered one property at a
 * time, each row of "What they refuse" a test here. An oracle that takes everything is worthless.
 */
import { describe, expect, test } from "vitest";
import { bytes, keyArmor, mail, text } from "./fixtures.js";
import * as cks from "./oracles/cks.js";
import * as hockeypuck from "./oracles/hockeypuck.js";
import * as onak from "./oracles/onak.js";
import { keysOf, packet, walk } from "./oracles/packets.js";
import * as pksd from "./oracles/pksd.js";
import { armored, bytesOf, firstBlock } from "./oracles/raw-mail.js";
import * as sks from "./oracles/sks.js";

const SERVERS = { pksd, onak, sks, cks, hockeypuck };
type Server = keyof typeof SERVERS;
type Counts = readonly [pksd: number, onak: number, sks: number, cks: number, hockeypuck: number];

const HEAD = text(mail("pksd-new-rsa4096")).split("-----BEGIN")[0] ?? "";
const RSA = keyPackets("role-CBF8D6FD518E17E1.asc");
const DSA = keyPackets("role-B5D0C804ADB11277.asc");
const EDDSA = keyPackets("role-F8D2585B8783D481.asc");
/** A made-up v6 primary key with a user id: enough for a walker that knows versions. */
const V6 = new Uint8Array([
  ...packet(6, new Uint8Array([6, 0, 0, 0, 0, 27, 0, 0, 0, 32, ...new Uint8Array(32)]), "new"),
  ...packet(13, bytes("six"), "new"),
]);

function keyPackets(name: string) {
  const packets = walk(firstBlock(keyArmor(name))?.packets ?? new Uint8Array()) ?? [];
  return keysOf(packets)[0] ?? [];
}

function taken(raw: Uint8Array): Counts {
  const count = (server: Server) => SERVERS[server].read(raw).accepted.length;
  return [count("pksd"), count("onak"), count("sks"), count("cks"), count("hockeypuck")];
}

function mailOf(body: string): Uint8Array {
  return bytes(HEAD + body);
}

function changed(name: string, pattern: string | RegExp, replacement: string): Uint8Array {
  const before = text(mail(name));
  const after = before.replace(pattern, replacement);
  expect(after).not.toBe(before);
  return bytes(after);
}

describe("the corpus, as each server takes it", () => {
  test.each<[string, Counts]>([
    ["pksd-delta", [1, 1, 1, 1, 1]],
    ["pksd-multi-key", [3, 3, 3, 3, 3]],
    ["pksd-new-1DB114E0", [1, 1, 1, 1, 1]],
    ["pksd-new-rsa4096", [1, 1, 1, 1, 1]],
    ["pksd-two-hops", [1, 1, 1, 1, 1]],
    ["sks-merged-whole-key", [1, 1, 1, 1, 1]],
    ["sks-new-eddsa", [0, 1, 1, 1, 1]],
    ["onak-delta", [1, 1, 1, 0, 1]],
    ["onak-dsa-subkey", [1, 1, 1, 0, 1]],
    ["onak-new", [0, 1, 1, 0, 1]],
    ["onak-revocation-1-key", [1, 1, 1, 0, 1]],
    ["onak-subkey-1-key", [1, 1, 1, 0, 1]],
    ["onak-revocation-2-no-user-id", [0, 0, 1, 0, 1]],
    ["onak-subkey-2-no-user-id", [0, 0, 1, 0, 1]],
    ["hockeypuck-shape-add", [0, 1, 1, 0, 1]],
  ])("%s", (name, counts) => {
    expect(taken(mail(name))).toEqual(counts);
  });

  test("why the mails without a user id are refused", () => {
    for (const name of ["onak-revocation-2-no-user-id", "onak-subkey-2-no-user-id"]) {
      expect(pksd.read(mail(name)).refused).toEqual(["no user id"]);
      expect(onak.read(mail(name)).refused).toEqual(["no user id"]);
    }
  });

  test("fingerprints are those of the keys", () => {
    const fingerprint = "7EA391D72477203B58C04FBCB5D0C804ADB11277";
    expect(pksd.read(mailOf(armored([bytesOf(DSA)]))).accepted).toEqual([fingerprint]);
    expect(pksd.read(mail("pksd-new-1DB114E0")).accepted[0]).toMatch(/1DB114E0$/);
  });
});

describe("one property altered at a time", () => {
  const rsa = bytesOf(RSA);
  const dsa = bytesOf(DSA);
  const eddsa = bytesOf(EDDSA);
  const renewed = RSA.map(({ tag, body }) => packet(tag, body, "new"));
  const [rsaKey = new Uint8Array(), rsaUserId = new Uint8Array()] = RSA.map((each) => each.bytes);

  test.each<[string, Uint8Array, Counts]>([
    ["as it is", mailOf(armored([rsa])), [1, 1, 1, 1, 1]],
    ["new-format packet headers", mailOf(armored(renewed)), [0, 1, 1, 1, 1]],
    [
      "one packet with a new-format header",
      mailOf(armored([rsa, renewed[2] ?? rsa])),
      [0, 1, 1, 1, 1],
    ],
    ["no CRC-24 line", mailOf(armored([rsa], "no crc")), [0, 1, 0, 1, 1]],
    ["a wrong CRC-24", changed("pksd-delta", /^=2DmW$/m, "=2DmX"), [0, 0, 0, 0, 0]],
    ["several keys in one block", mailOf(armored([rsa, dsa])), [2, 2, 2, 2, 2]],
    ["a second armor block", mailOf(armored([rsa]) + armored([dsa])), [1, 1, 1, 1, 1]],
    ["RSA, EdDSA, RSA", mailOf(armored([rsa, eddsa, dsa])), [2, 3, 3, 3, 3]],
    ["v4, v6, v4", mailOf(armored([rsa, V6, dsa])), [2, 1, 1, 3, 3]],
    [
      "tag 60 in a key",
      mailOf(armored([rsa, packet(60, rsa.subarray(0, 9), "new")])),
      [0, 1, 0, 1, 1],
    ],
    [
      "tag 60 in the first of two",
      mailOf(armored([rsa, packet(60, dsa.subarray(0, 9), "new"), dsa])),
      [1, 2, 1, 2, 2],
    ],
    [
      "a user attribute",
      mailOf(armored([rsa, packet(17, rsa.subarray(0, 9), "new")])),
      [0, 1, 1, 1, 1],
    ],
    ["key and user id alone", mailOf(armored([rsaKey, rsaUserId])), [1, 1, 1, 1, 1]],
    ["key alone", mailOf(armored([rsaKey])), [0, 0, 1, 1, 1]],
    ["no From", changed("pksd-delta", /^From: .*\n/m, ""), [0, 1, 1, 0, 1]],
    ["From before To", changed("pksd-delta", /^(To: .*\n)(From: .*\n)/, "$2$1"), [1, 1, 1, 0, 1]],
    [
      "another subject",
      changed("pksd-delta", "Subject: incremental", "Subject: keys"),
      [0, 0, 1, 1, 1],
    ],
    [
      "a subject with a tail",
      changed("pksd-delta", "incremental", "Incremental!"),
      [1, 0, 1, 1, 1],
    ],
    ["CRLF in the file", bytes(text(mail("pksd-delta")).replaceAll("\n", "\r\n")), [1, 0, 1, 1, 1]],
    ["base64 of it all", mailOf(Buffer.from(armored([rsa])).toString("base64")), [0, 0, 0, 0, 0]],
    ["packets that end early", mailOf(armored([rsa.subarray(0, -1)])), [0, 0, 0, 0, 0]],
    ["no armor", mailOf("hello\n"), [0, 0, 0, 0, 0]],
    [
      "128,000 bytes and more",
      mailOf(armored([rsa, ...Array(150).fill(dsa)])),
      [151, 151, 151, 0, 151],
    ],
  ])("%s", (_, raw, counts) => {
    expect(taken(raw)).toEqual(counts);
  });
});

test("a user attribute is named as the reason", () => {
  const attribute = packet(17, new Uint8Array(9), "new");
  const raw = mailOf(armored([bytesOf(RSA), attribute]));
  expect(pksd.read(raw).refused).toEqual(["user attribute"]);
});

describe("the loop check", () => {
  const LINE = /X-KeyServer-Sent: pgp-public-keys@pks\.example\.net/;
  const SITE = "pgp-public-keys@pks.example.net";

  function seen(raw: Uint8Array, address = SITE) {
    return Object.fromEntries(
      Object.entries(SERVERS).map(([name, server]) => [name, server.read(raw).seenTrail(address)]),
    );
  }
  const all = { pksd: true, onak: true, cks: true, sks: false, hockeypuck: false };

  test("as pksd writes it", () => {
    expect(seen(mail("pksd-delta"))).toEqual(all);
    expect(seen(mail("pksd-delta"), "pgp-public-keys@kjsl.example.com")).toEqual(all);
    expect(seen(mail("pksd-delta"), "keys@pks.example.net")).toMatchObject({
      pksd: false,
      onak: false,
      cks: false,
    });
  });

  test.each([
    [
      "the address in other letters",
      `X-KeyServer-Sent: ${SITE.toUpperCase()}`,
      [true, false, false],
    ],
    ["the field in other letters", `X-Keyserver-Sent: ${SITE}`, [true, true, false]],
    ["folded", `X-KeyServer-Sent:\n ${SITE}`, [false, false, false]],
    ["two blanks", `X-KeyServer-Sent:  ${SITE}`, [false, true, false]],
    ["quoted", `X-KeyServer-Sent: "${SITE}"`, [false, false, false]],
    ["a list", `X-KeyServer-Sent: ${SITE}, b@x.example`, [false, false, false]],
    ["none", "X-Other: yes", [false, false, false]],
  ])("%s", (_, line, [byPksd, byOnak, byCks]) => {
    const raw = changed("pksd-delta", LINE, line);
    expect(seen(raw)).toEqual({ ...all, pksd: byPksd, onak: byOnak, cks: byCks });
    expect(pksd.read(raw).accepted).toHaveLength(1);
  });
});
