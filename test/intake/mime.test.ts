/**
 * Every shape that a relay may give a key mail: the exact bytes come through, or the mail is
 * refused; never a silent change (faults row 9). The short way for plain mails is held to
 * mailparser's, and structures made to hurt are bounded (row 39).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { admit } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import { decodedParts, parsedParts, plainBody } from "../../src/intake/mime.js";
import { readHead } from "../../src/mail/head.js";
import { NEIGHBOUR, openDoor, SITE } from "../ingress/door.js";
import { bytes, fixture, keyArmor, keyNames, mail, mailNames } from "../mail/fixtures.js";

const ARMOR = keyArmor(keyNames[0] ?? "");
const [WANTED] = admit([bytes(ARMOR)]).updates;
const HEAD = `To: ${SITE}\nFrom: ${NEIGHBOUR}\nSubject: INCREMENTAL\n`;

const base64 = (text: string, encoding: BufferEncoding = "latin1") =>
  `${(
    Buffer.from(text, encoding)
      .toString("base64")
      .match(/.{1,76}/g) ?? []
  ).join("\n")}\n`;
const quotedPrintable = (text: string) =>
  text
    .replaceAll(/[=\t]/g, (char) => `=${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("+", "=2B")
    .replaceAll(/^(.{40})(?=.)/gm, "$1=\n");
/** RFC 3676: a blank at the end of a line says that it goes on. */
const flowed = (text: string) => text.replaceAll(/^([A-Za-z0-9+/]{30})/gm, "$1 \n");
const html = (text: string) => `<html><body><pre>\n${text}</pre></body></html>\n`;
const parts = (type: string, ...each: readonly string[]) =>
  `Content-Type: multipart/${type}; boundary="=_b"\nMIME-Version: 1.0\n\nA preamble.\n` +
  `${each.map((part) => `--=_b\n${part}\n`).join("")}--=_b--\nAn epilogue.\n`;
const text = (body: string) => `Content-Type: text/plain; charset=us-ascii\n\n${body}`;
const keys = (body: string) => `Content-Type: application/pgp-keys\n\n${body}`;
const FOOTER = text("To leave this list, write to nobody.\n");

/** The mail behind HEAD, and whether the key comes through. */
const SHAPES: readonly [string, string, "exact" | "refused"][] = [
  ["application/pgp-keys", `MIME-Version: 1.0\n${keys(ARMOR)}`, "exact"],
  ["text/plain", `MIME-Version: 1.0\n${text(ARMOR)}`, "exact"],
  ["no MIME-Version, no type", `\n${ARMOR}`, "exact"],
  ["no MIME-Version, but a type", keys(ARMOR), "exact"],
  ["an unknown type", `Content-Type: application/x-keys\n\n${ARMOR}`, "exact"],
  [
    "format=flowed",
    `MIME-Version: 1.0\nContent-Type: text/plain; format=flowed; delsp=yes\n\n${flowed(ARMOR)}`,
    "exact",
  ],
  [
    "quoted-printable",
    `Content-Transfer-Encoding: quoted-printable\n${text(quotedPrintable(ARMOR))}`,
    "exact",
  ],
  ["base64", `Content-Transfer-Encoding: base64\n${keys(base64(ARMOR))}`, "exact"],
  [
    "base64 with CRLF inside",
    `Content-Transfer-Encoding: BASE64\n${text(base64(ARMOR.replaceAll("\n", "\r\n")))}`,
    "exact",
  ],
  [
    "utf-16",
    `Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n` +
      base64(ARMOR, "utf16le"),
    "refused",
  ],
  ["a charset nobody knows", `Content-Type: text/plain; charset=x-mars\n\n${ARMOR}`, "exact"],
  ["html", `Content-Type: text/html\n\n${html(ARMOR)}`, "exact"],
  [
    "html with its lines broken by tags",
    `Content-Type: text/html\n\n${html(ARMOR.replaceAll("\n", "<br>\n"))}`,
    "refused",
  ],
  [
    "an attachment",
    parts(
      "mixed",
      text("See below.\n"),
      `Content-Disposition: attachment; filename="key.asc"\n${keys(ARMOR)}`,
    ),
    "exact",
  ],
  [
    "an attachment in base64 by its name alone",
    `Content-Disposition: attachment; filename=key.asc\nContent-Transfer-Encoding: base64\n\n` +
      base64(ARMOR),
    "exact",
  ],
  [
    "message/rfc822",
    `Content-Type: message/rfc822\n\nFrom: a@b.example\nSubject: x\n\n${ARMOR}`,
    "exact",
  ],
  [
    "message/rfc822 in a multipart",
    parts("mixed", `Content-Type: message/rfc822\n\nSubject: x\n\n${ARMOR}`, FOOTER),
    "exact",
  ],
  [
    "two Content-Types",
    `Content-Type: application/pgp-keys\nContent-Type: text/html\n\n${ARMOR}`,
    "exact",
  ],
  [
    "two encodings",
    `Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\n${ARMOR}`,
    "exact",
  ],
  ["multipart/mixed with a footer", parts("mixed", keys(ARMOR), FOOTER), "exact"],
  [
    "multipart/signed",
    parts("signed", keys(ARMOR), "Content-Type: application/pgp-signature\n\nnone\n"),
    "exact",
  ],
  ["multipart/alternative", parts("alternative", text(ARMOR), FOOTER), "exact"],
  ["a folded, quoted type", `Content-Type:\n "text/plain";\n charset="utf-8"\n\n${ARMOR}`, "exact"],
  ["quoted as in an answer", `\n${ARMOR.replaceAll(/^/gm, "> ")}`, "refused"],
  ["a multipart without its boundary", `Content-Type: multipart/mixed\n\n${ARMOR}`, "refused"],
];

describe("the exact bytes, or refused", () => {
  test.each(SHAPES)("%s", async (_, shape, expected) => {
    const door = await openDoor();
    const client = await door.client();
    const answer = (await client.transact(NEIGHBOUR, [SITE], HEAD + shape)).at(-1);
    if (expected === "refused") {
      expect(answer).toMatch(/^550 5\.6\.0 /);
      expect(door.diagnostics.all("mail-refused")).toHaveLength(1);
      expect(door.bodies()).toEqual([]);
    } else {
      expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
      expect(Buffer.compare(door.bodies()[0] ?? bytes(""), WANTED?.body ?? bytes(""))).toBe(0);
    }
  });
});

describe("the short way and mailparser agree", () => {
  async function both(message: Uint8Array) {
    const { fields, bodyStart } = readHead(message);
    const plain = plainBody(message, fields, bodyStart);
    return { plain, parsed: await parsedParts(message) };
  }

  test.each(mailNames)("%s", async (name) => {
    for (const lineEnd of ["\n", "\r\n"]) {
      const raw = Buffer.from(fixture(`mails/${name}`)).toString("latin1");
      const { plain, parsed } = await both(bytes(raw.replaceAll("\n", lineEnd)));
      expect(plain).toBeDefined();
      expect(parsed.map((part) => Buffer.from(part).toString("latin1"))).toEqual([
        Buffer.from(plain ?? []).toString("latin1"),
      ]);
    }
  });

  test("any head and body of a plain mail", async () => {
    const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/);
    const value = fc.stringMatching(/^[ -~]{0,40}$/);
    const field = fc.tuple(fc.constant("X-"), token, value).map(([x, n, v]) => `${x}${n}: ${v}`);
    const mime = fc.subarray([
      "MIME-Version: 1.0",
      "Content-Disposition: inline",
      "Content-Transfer-Encoding: 7bit",
      "content-transfer-encoding:  8BIT ",
      "Content-Type: text/plain; charset=utf-16",
      "CONTENT-TYPE: application/pgp-keys ; x=(y",
      "Content-Type: text/plain; format=flowed",
      "Content-Type: text/plain;charset=koi8-r",
      "Content-Type: text/html",
    ]);
    const line = fc.oneof(
      fc.stringMatching(/^[ -~\x80-\xff]{0,70}$/),
      fc.constantFrom("", ".", "--", "--b", "-----BEGIN PGP PUBLIC KEY BLOCK-----", "\0", "a\rb"),
    );
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 4 }),
        mime,
        fc.array(line, { maxLength: 12 }),
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        async (fields, extra, body, lineEnd, isEnded) => {
          const lines = ["Subject: incremental", ...fields, ...extra, "", ...body];
          const raw = lines.join(lineEnd) + (isEnded ? lineEnd : "");
          const { plain, parsed } = await both(bytes(raw));
          if (plain === undefined) return;
          compared += 1;
          expect(Buffer.concat(parsed).toString("latin1")).toBe(
            Buffer.from(plain).toString("latin1"),
          );
        },
      ),
      { numRuns: 1500 },
    );
    expect(compared).toBeGreaterThan(300);
  });
});

describe("structures made to hurt are bounded", () => {
  const nested = (depth: number) => {
    let raw = `${HEAD}Content-Type: multipart/mixed; boundary=b0\n\n`;
    for (let level = 0; level < depth; level += 1) {
      raw += `--b${level}\nContent-Type: multipart/mixed; boundary=b${level + 1}\n\n`;
    }
    return `${raw}--b${depth}\n${text(ARMOR)}\n`;
  };
  const cases: readonly [string, () => string][] = [
    ["multipart, 50 deep", () => nested(50)],
    ["multipart, 999 deep", () => nested(999)],
    ["multipart, 5000 deep", () => nested(5000)],
    ["40,000 header lines", () => `${HEAD}${"X-A: b\n".repeat(40_000)}\n${ARMOR}`],
    ["one header of 1 MiB", () => `${HEAD}X-A: ${"b".repeat(2 ** 20)}\n\n${ARMOR}`],
    [
      "30,000 addresses in To",
      () => `To: ${"a@b.example, ".repeat(30_000)}c@d.example\n${HEAD}\n${ARMOR}`,
    ],
    [
      "5,000 addresses in To",
      () => `To: ${"a@b.example, ".repeat(5000)}c@d.example\n${HEAD}${parts("mixed", text(ARMOR))}`,
    ],
    ["50,000 brackets", () => `To: ${"(".repeat(50_000)}\n${HEAD}${parts("mixed", text(ARMOR))}`],
    [
      "5,000 groups",
      () => `To: ${"a:b@c.example;".repeat(5000)}\n${HEAD}${parts("mixed", text(ARMOR))}`,
    ],
    ["2,000 parts", () => HEAD + parts("mixed", ...Array<string>(2000).fill(text("x\n")))],
    ["150 parts", () => HEAD + parts("mixed", ...Array<string>(150).fill(text("x\n")))],
    [
      "nested messages",
      () => `${HEAD}${"Content-Type: message/rfc822\n\nSubject: x\n".repeat(2000)}\n${ARMOR}`,
    ],
    ["a boundary in every line", () => HEAD + parts("mixed", "--=_b\n".repeat(50_000))],
    [
      "2 MiB of =",
      () => `${HEAD}Content-Transfer-Encoding: quoted-printable\n\n${"=".repeat(2 ** 21)}`,
    ],
  ];

  test.each(cases)("%s", async (_, build) => {
    const message = bytes(build());
    const before = performance.now();
    let found = 0;
    try {
      const { fields, bodyStart } = readHead(message);
      found = (await decodedParts(message, fields, bodyStart)).length;
    } catch (error) {
      expect(error).toBeInstanceOf(Refusal);
      expect(error).toMatchObject({ reason: "bad-mail" });
    }
    expect(found).toBeLessThanOrEqual(100);
    // Measured: at most 300 ms; the machine may be busy.
    expect(performance.now() - before).toBeLessThan(5000);
  });

  test("the shallow ones are read, the deep ones refused", async () => {
    const count = async (raw: string) => {
      const message = bytes(raw);
      const { fields, bodyStart } = readHead(message);
      return (await decodedParts(message, fields, bodyStart)).length;
    };
    expect(await count(nested(50))).toBe(1);
    await expect(count(nested(5000))).rejects.toMatchObject({ reason: "bad-mail" });
    const many = HEAD + parts("mixed", ...Array<string>(150).fill(text("x\n")));
    await expect(count(many)).rejects.toMatchObject({ reason: "bad-mail" });
  });
});

test("a mail of the corpus in a mail of a list keeps its bytes", async () => {
  const inner = Buffer.from(mail("pksd-delta")).toString("latin1");
  const [wanted] = admit([bytes(inner)]).updates;
  const door = await openDoor();
  const client = await door.client();
  const raw = HEAD + parts("digest", `Content-Type: message/rfc822\n\n${inner}`, FOOTER);
  expect((await client.transact(NEIGHBOUR, [SITE], raw)).at(-1)).toMatch(/^250 /);
  expect(Buffer.compare(door.bodies()[0] ?? bytes(""), wanted?.body ?? bytes(""))).toBe(0);
});
