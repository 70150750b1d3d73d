/**
 * Armor and keyrings as gpg and sq read them: each of many manglings of a real key is given to both
 * and to our reader. What both read without a warning we read to the same octets, and what gpg
 * imports nothing of we refuse. In a keyring with a fault no key that either of them keeps is lost,
 * but for the one in which the fault is.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Refusal } from "../../src/errors.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { realKey } from "../openpgp/material.js";

const BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END = "-----END PGP PUBLIC KEY BLOCK-----";
const { data: octets } = realKey("DFD993306D849617");
const good = encodeArmor(octets);
const [, , ...rest] = good.trimEnd().split("\n");
const lines = rest.slice(0, -2);
const crc = rest.at(-2) ?? "";
const base64 = lines.join("");
const last = lines.at(-1) ?? "";
const block = (
  body: readonly string[],
  { sum = crc as string | undefined, head = `${BEGIN}\n\n`, end = `${END}\n` } = {},
) => `${head}${[...body, ...(sum === undefined ? [] : [sum])].join("\n")}\n${end}`;
const none = { sum: undefined };
const all = (change: (line: string) => string) => block(lines.map(change));
const once = (text: string) => block([text, ...lines.slice(1)]);
const [first = ""] = lines;

const SHAPES: Readonly<Record<string, string>> = {
  plain: good,
  "blank in front": all((line) => ` ${line}`),
  "tab in front": all((line) => `\t${line}`),
  "blanks behind": all((line) => `${line}  `),
  "blank inside": all((line) => `${line.slice(0, 20)} ${line.slice(20)}`),
  "tab inside": all((line) => `${line.slice(0, 20)}\t${line.slice(20)}`),
  "blank before the checksum": block(lines, { sum: ` ${crc}` }),
  "blank inside the checksum": block(lines, { sum: `${crc.slice(0, 3)} ${crc.slice(3)}` }),
  "checksum broken": block(lines, { sum: `${crc.slice(0, 2)}\n ${crc.slice(2)}` }),
  "checksum on the data line": block([...lines.slice(0, -1), last + crc], none),
  "checksum behind a blank": block([...lines.slice(0, -1), `${last} ${crc}`], none),
  "END indented": block(lines, { end: `  ${END}\n` }),
  "all indented": good.replaceAll(/^/gm, "  "),
  "BEGIN indented": ` ${good}`,
  "BEGIN with blanks behind": block(lines, { head: `${BEGIN}  \n\n` }),
  "BEGIN with words behind": block(lines, { head: `${BEGIN} x\n\n` }),
  "one line": block([base64]),
  "one line with the checksum": block([base64 + crc], none),
  "broken by Postfix": block([base64.replace(/.{998}/g, "$&\r\n ")]),
  "broken by Postfix, CRLF": block([base64.replace(/.{998}/g, "$&\n ")]).replaceAll("\n", "\r\n"),
  "no checksum": block(lines, none),
  "wrong checksum": block(lines, { sum: "=AAAA" }),
  "short checksum": block(lines, { sum: crc.slice(0, 4) }),
  "blank lines between": all((line) => `${line}\n`),
  "blank lines of blanks between": all((line) => `${line}\n  `),
  headers: block(lines, { head: `${BEGIN}\nVersion: x\nComment: y\n\n` }),
  "indented headers": block(lines, { head: `${BEGIN}\n Version: x\n\n` }),
  "a blank line of blanks": block(lines, { head: `${BEGIN}\n \t\n` }),
  "a header that is none": block(lines, { head: `${BEGIN}\nfoo bar\n\n` }),
  CRCRLF: good.replaceAll("\n", "\r\r\n"),
  quoted: good.replaceAll(/^/gm, "> "),
  "a line lost": block(lines.slice(1)),
  "a line twice": block([first, ...lines]),
  "a character lost": once(first.slice(1)),
  "a character changed": once((first[0] === "A" ? "B" : "A") + first.slice(1)),
  "quoted-printable": block(lines.map((line) => `${line}=`)),
  "dash-escaped": good.replaceAll("-----", "- -----"),
  "lower case": good.replace("BEGIN", "begin"),
  "padding in the middle": once(`${first}==`),
  "a comment in the data": block([first, "Comment: x", ...lines.slice(1)]),
  "END on the checksum's line": `${BEGIN}\n\n${lines.join("\n")}\n${crc}${END}\n`,
  "words around": `Hello,\n\n${good}\nbye\n`,
};

function run(program: string, args: readonly string[], input: Uint8Array | string) {
  const { stdout, status } = spawnSync(program, args, { input });
  return { text: stdout.toString("latin1"), stdout, ok: status === 0 };
}

/** Runs with a home of gpg's that is gone afterwards. */
function withHome<T>(
  use: (gpg: (args: string[], input: Uint8Array | string) => ReturnType<typeof run>) => T,
): T {
  const home = mkdtempSync(join(tmpdir(), "kxgw-gpg-"));
  try {
    return use((args, input) => run("gpg", ["--homedir", home, "--batch", "-q", ...args], input));
  } finally {
    spawnSync("gpgconf", ["--homedir", home, "--kill", "all"]);
    rmSync(home, { recursive: true, force: true });
  }
}

test.each(Object.entries(SHAPES))("armor: %s", (_, text) => {
  const seen = withHome((gpg) => {
    const clean = gpg(["--dearmor"], text).ok;
    gpg(["--import"], text);
    return { clean, imported: gpg(["--with-colons", "--list-keys"], "").text.includes("\npub:") };
  });
  const ours = readArmor(Buffer.from(text, "latin1"));
  const read = ours.some(
    (one) => !(one instanceof Refusal) && Buffer.compare(one.data, octets) === 0,
  );
  if (!seen.imported) expect(read).toBe(false);
  else if (seen.clean && run("sq", ["inspect"], text).ok) expect(read).toBe(true);
  // Where they do not agree we read the same octets or none.
  else expect(ours.every((one) => one instanceof Refusal)).toBe(!read);
});

test.each([
  ["NUL", Buffer.of(0)],
  ["text", Buffer.from("hello there")],
  ["a packet of tag 0", Buffer.of(0xc0, 3, 1, 2, 3)],
  ["an unknown packet", Buffer.of(0xfc, 3, 1, 2, 3)],
  [
    "a user id of 3000 octets",
    Buffer.concat([Buffer.of(0xcd, 0xff, 0, 0, 0xb, 0xb8), Buffer.alloc(3000, 97)]),
  ],
])("a keyring with %s behind its second key", (_, fault) => {
  const ids = ["F8D2585B8783D481", "DFD993306D849617", "4D270D06F42584E6"];
  const [one, two, three] = ids.map((id) => realKey(id).data) as [Buffer, Buffer, Buffer];
  const ring = Buffer.concat([one, two, fault, three]);
  const theirs = [
    withHome((gpg) => gpg(["--with-colons", "--show-keys"], ring).text),
    run("sq", ["keyring", "list"], ring).text,
  ].join("\n");
  const ours = readKeys(ring).flatMap((key) => (key instanceof Refusal ? [] : [key.fingerprint]));
  for (const id of [ids[0], ids[2]]) {
    const isKept = ours.some((name) => name.endsWith(id ?? "-"));
    expect([id, isKept]).toEqual([id, true]);
    expect(theirs).toContain(id);
  }
});
