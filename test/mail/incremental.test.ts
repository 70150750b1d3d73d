/** Every mail of the corpus understood, every other mail told apart with a helpful sentence. */
import { describe, expect, test } from "vitest";
import { readHead } from "../../src/mail/head.js";
import { type IncrementalMail, type ReplyMail, recognise } from "../../src/mail/incremental.js";
import { bytes, mail, mailNames, text } from "./fixtures.js";
import * as hockeypuck from "./oracles/hockeypuck.js";

const ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n";

/** A mail of one undecoded part, as the door hands it over. */
function understand(raw: Uint8Array): IncrementalMail | ReplyMail {
  const { fields, bodyStart } = readHead(raw);
  return recognise(fields, [raw.subarray(bodyStart)]);
}

function withHead(...lines: string[]): IncrementalMail | ReplyMail {
  return understand(bytes(`${lines.join("\n")}\n\n${ARMOR}`));
}

const PKS = "pgp-public-keys@pks.example.net";
const ONAK = "pgp-public-keys@onak.example.org";
const SKS = "pgp-public-keys@sks.example.com";
const KJSL = "pgp-public-keys@kjsl.example.com";
const KX = "pgp-public-keys@kx.example.org";
const PKS_ADMIN = "pgp-keyserver-admin@pks.example.net";
const ONAK_ADMIN = "pgp-keyserver-admin@onak.example.org";

const CORPUS: Record<string, { command: string; trail: string[]; from: string | undefined }> = {
  "hockeypuck-shape-add": { command: "add", trail: [], from: undefined },
  "onak-delta": { command: "incremental", trail: [KJSL, ONAK], from: ONAK_ADMIN },
  "onak-dsa-subkey": { command: "incremental", trail: [ONAK], from: ONAK_ADMIN },
  "onak-new": { command: "incremental", trail: [PKS, ONAK], from: ONAK_ADMIN },
  "onak-revocation-1-key": { command: "incremental", trail: [KX, ONAK], from: ONAK_ADMIN },
  "onak-revocation-2-no-user-id": { command: "incremental", trail: [KX, ONAK], from: ONAK_ADMIN },
  "onak-subkey-1-key": { command: "incremental", trail: [KX, ONAK], from: ONAK_ADMIN },
  "onak-subkey-2-no-user-id": { command: "incremental", trail: [KX, ONAK], from: ONAK_ADMIN },
  "pksd-delta": { command: "incremental", trail: [KJSL, PKS], from: PKS_ADMIN },
  "pksd-multi-key": { command: "incremental", trail: [PKS], from: PKS_ADMIN },
  "pksd-new-1DB114E0": { command: "incremental", trail: [PKS], from: PKS_ADMIN },
  "pksd-new-rsa4096": { command: "incremental", trail: [PKS], from: PKS_ADMIN },
  "pksd-two-hops": {
    command: "incremental",
    trail: ["pgp-public-keys@a.example.com", "pgp-public-keys@b.example.com", PKS],
    from: PKS_ADMIN,
  },
  "sks-merged-whole-key": { command: "incremental", trail: [SKS], from: SKS },
  "sks-new-eddsa": { command: "incremental", trail: [SKS], from: SKS },
};

describe("the corpus", () => {
  test("is all listed here", () => {
    expect(mailNames).toEqual(Object.keys(CORPUS).map((name) => `${name}.eml`));
  });

  describe.each(["LF", "CRLF"])("with %s", (ends) => {
    test.each(Object.entries(CORPUS))("%s is understood", (name, expected) => {
      const lf = mail(name);
      const raw = ends === "LF" ? lf : bytes(text(lf).replaceAll("\n", "\r\n"));
      const understood = understand(raw);
      expect(understood).toMatchObject({ ...expected, messageId: undefined });
      const armor = understood.command === "reply" ? [] : understood.armor;
      expect(armor).toHaveLength(1);
      const block = Buffer.concat([bytes("\n\n"), ...armor]);
      const keys = name === "pksd-multi-key" ? 3 : 1;
      expect(hockeypuck.read(new Uint8Array(block)).accepted).toHaveLength(keys);
    });
  });
});

describe("the subject", () => {
  test.each([
    ["incremental", "incremental"],
    ["INCREMENTAL", "incremental"],
    ["Incremental update of keys", "incremental"],
    ["ADD", "add"],
    ["add: my key", "add"],
  ])("%j is taken", (subject, command) => {
    expect(withHead(`Subject: ${subject}`)).toMatchObject({ command });
  });

  test("is found folded, and in any spelling of its name", () => {
    expect(withHead("SUBJECT:\n\tincremental")).toMatchObject({ command: "incremental" });
  });

  test.each(["ADDRESS change", "incrementally", "my key", "", "=?utf-8?q?incremental?="])(
    "%j is refused",
    (subject) => {
      expect(() => withHead(`Subject: ${subject}`)).toThrow(
        expect.objectContaining({ reason: "bad-mail", message: expect.stringMatching(/ADD/) }),
      );
    },
  );

  test("must be there", () => {
    expect(() => withHead("From: a@b")).toThrow(
      expect.objectContaining({ reason: "bad-mail", message: expect.stringMatching(/no subject/) }),
    );
  });

  test.each([
    "HELP",
    "help de",
    "INDEX foo",
    "VERBOSE INDEX foo",
    "GET 0x1234",
    "MGET a",
    "LAST 3",
  ])("%j is pointed to a keyserver", (subject) => {
    expect(() => withHead(`Subject: ${subject}`)).toThrow(
      expect.objectContaining({ reason: "bad-mail", message: expect.stringMatching(/HKP/) }),
    );
  });
});

describe("replies", () => {
  test.each([
    [["Subject: Your command, ADD"]],
    [["Subject: Your command, ADD, failed"]],
    [["Subject: Your command, LAST 3"]],
    [["Subject: away", "Auto-Submitted: auto-replied"]],
    [["Subject: Re: incremental", "Auto-Submitted: auto-replied (vacation)"]],
    [['Auto-Submitted: AUTO-REPLIED; owner-email="a@b"']],
    [["Subject: Re: incremental", "Auto-Submitted: auto-generated"]],
    [["Subject: Automatic reply: incremental", "Precedence: bulk"]],
    [["Subject: Out of office", "X-Autoreply: yes"]],
    [["Subject: failure notice", "Content-Type: multipart/report; boundary=x"]],
    [["Subject: INCREMENTAL", "Content-Type: multipart/report; boundary=x"]],
  ])("%j is one", (head) => {
    expect(withHead(...head)).toEqual({ command: "reply" });
  });

  test("an update stays one under Precedence: list and Auto-Submitted", () => {
    for (const keyword of ["auto-generated", "auto-replied", "no"]) {
      expect(
        withHead("Subject: incremental", "Precedence: list", `Auto-Submitted: ${keyword}`),
      ).toMatchObject({ command: "incremental" });
    }
  });

  test("an answer that keeps our subject but holds no key is one", () => {
    const answer = "Subject: incremental\nAuto-Submitted: auto-replied\n\nI am away.\n";
    expect(understand(bytes(answer))).toEqual({ command: "reply" });
  });

  test("mass mail of no kind of ours is refused, not swallowed", () => {
    for (const mark of ["Precedence: bulk", "Auto-Submitted: auto-generated", "X-Autoreply: yes"]) {
      expect(() => withHead("Subject: daily report", mark)).toThrow(
        expect.objectContaining({ reason: "bad-mail" }),
      );
    }
  });

  test("a person who answers is told, not swallowed", () => {
    expect(() => withHead("Subject: Re: incremental")).toThrow(
      expect.objectContaining({ reason: "bad-mail" }),
    );
    expect(() => withHead("Subject: Re: incremental", "Auto-Submitted: no")).toThrow(
      expect.objectContaining({ reason: "bad-mail" }),
    );
  });
});

describe("the parts and fields", () => {
  const { fields } = readHead(bytes("Subject: incremental\n\n"));

  test("keeps the parts with armor, in order", () => {
    const parts = ["hello", ARMOR, `two\r\n${ARMOR}`, "x -----BEGIN PGP", `\n\n${ARMOR}`].map(
      bytes,
    );
    const understood = recognise(fields, parts);
    expect(understood).toMatchObject({ armor: [parts[1], parts[2], parts[4]] });
  });

  test("looks past a quoted begin line", () => {
    const part = bytes(`> -----BEGIN PGP\n${ARMOR}`);
    expect(recognise(fields, [part])).toMatchObject({ armor: [part] });
  });

  test.each([
    [[]],
    [["hello"]],
    [["> -----BEGIN PGP PUBLIC KEY BLOCK-----"]],
    [["----BEGIN PGP"]],
    [[`  ${ARMOR}`, `\r${ARMOR}`]],
  ])("refuses %j as no key", (parts) => {
    expect(() => recognise(fields, parts.map(bytes))).toThrow(
      expect.objectContaining({ name: "Refusal", reason: "no-key" }),
    );
  });

  test("reads trail, sender and Message-ID as relays leave them", () => {
    expect(
      withHead(
        "message-id: <1.2@a.example>",
        'from: "Admin, PGP" <admin@a.example>',
        "Subject: incremental",
        "x-keyserver-sent:",
        '\t"one@a.example"',
        "X-Keyserver-Sent: <two@a.example>, three@a.example",
        "X-KEYSERVER-SENT: ONE@a.example",
      ),
    ).toMatchObject({
      trail: ["one@a.example", "two@a.example", "three@a.example"],
      from: "admin@a.example",
      messageId: "<1.2@a.example>",
    });
  });

  test("leaves out a sender and a Message-ID that could not be written again", () => {
    expect(withHead("Subject: add", "From: a\0@b", "Message-ID: <a\x01@b>")).toMatchObject({
      from: undefined,
      messageId: undefined,
    });
  });

  test("cuts a trail that is padded", () => {
    const padded = Array.from({ length: 300 }, (_, n) => `X-KeyServer-Sent: a${n}@b.example`);
    const { trail } = withHead("Subject: incremental", ...padded) as { trail: readonly string[] };
    expect([trail.length, trail.at(-1)]).toEqual([256, "a299@b.example"]);
  });
});
