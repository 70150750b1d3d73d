/**
 * What goes into the gateways that are compared: the 22 keys, the mails of the corpora, both once
 * more by HKP or again, some that are refused, and the 213 vectors of the update hash. The fixtures
 * are read as text; no code of the gateway makes an input, or both records would show its faults.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../torture/material.js";

export const SITE = "pgp-public-keys@kx.example.org";

const FIXTURES = join(projectRoot(), "test/fixtures");

export interface Input {
  readonly name: string;
  readonly by: "smtp" | "hkp";
  /** A mail, or a form. */
  readonly text: string;
  readonly to?: string;
}

export function inputs(): Input[] {
  const keys = files("keys");
  const mails = files("mails");
  const [[, first = ""] = []] = keys;
  return [
    ...mails.map(([name, text]): Input => ({ name, by: "smtp", text })),
    ...keys.map(([name, text], index): Input => {
      if (index % 4 === 3) return { name: `${name} by HKP`, by: "hkp", text: form(text) };
      return { name, by: "smtp", text: incremental(text) };
    }),
    { name: "a key again", by: "smtp", text: incremental(first) },
    { name: "a key again by HKP", by: "hkp", text: form(first) },
    { name: "no key", by: "smtp", text: incremental("Hello.\n") },
    { name: "a bad CRC", by: "smtp", text: incremental(first.replace(/^=....$/m, "=AAAA")) },
    { name: "cut armor", by: "smtp", text: incremental(first.slice(0, 500)) },
    { name: "another recipient", by: "smtp", text: incremental(first), to: "who@else.example" },
    { name: "no key by HKP", by: "hkp", text: form("Hello.\n") },
    { name: "no form by HKP", by: "hkp", text: "" },
    ...vectors(),
  ];
}

/** Every vector of the update hash; most are other encodings of the 22 keys, and so known. */
function vectors(): Input[] {
  const text = readFileSync(join(FIXTURES, "update-hash.json"), "utf8");
  const all = JSON.parse(text) as { name: string; packets_base64: string }[];
  return all.map(({ name, packets_base64: packets }) => ({
    name,
    by: "smtp",
    text: incremental(armor(Buffer.from(packets, "base64"))),
  }));
}

function files(folder: string): (readonly [name: string, text: string])[] {
  return readdirSync(join(FIXTURES, folder))
    .sort()
    .map((name) => [name, readFileSync(join(FIXTURES, folder, name), "latin1")]);
}

function form(text: string): string {
  return `keytext=${encodeURIComponent(text)}`;
}

function incremental(text: string): string {
  return `To: ${SITE}
From: PGP Key Server Administrator <pgp-public-keys@old.example.net>
Subject: incremental
X-KeyServer-Sent: pgp-public-keys@old.example.net
Precedence: list
MIME-Version: 1.0
Content-type: application/pgp-keys

${text}`;
}

/** ASCII armor without the CRC, which RFC 9580 lets out. */
function armor(packets: Uint8Array): string {
  const lines = Buffer.from(packets)
    .toString("base64")
    .replaceAll(/.{1,64}/g, "$&\n");
  const [begin, end] = ["BEGIN", "END"].map((word) => `-----${word} PGP PUBLIC KEY BLOCK-----`);
  return `${begin}\n\n${lines}${end}\n`;
}
