/**
 * docs/tls.md, run: its `sh` blocks in order, between a gateway with the page's configuration and a
 * neighbour that runs one too. Both show certificates that the page's lines made.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { HEAD, startGateway } from "./admin/gateway.js";
import { makeCertificate } from "./support/certificates.js";
import { blocks, installIn, page, steps, walk } from "./support/page.js";
import { freePort } from "./support/ports.js";
import { scratch } from "./support/scratch.js";

const PAGE = page("tls.md");
/** The pin that stands in the page. */
const SAMPLE = /pin = "[0-9A-F]{64}"/;

it("docs/tls.md works as it is written", { timeout: 60_000 }, async () => {
  const home = scratch();
  installIn(home);
  const [smtp, kx] = [await freePort(), await freePort()];
  const all = steps(PAGE).map(({ script, wanted }) => {
    return { script: script.replaceAll("127.0.0.1:2525", `127.0.0.1:${smtp}`), wanted };
  });
  const first = all.findIndex(({ script }) => script.includes("kxgw"));
  expect(first).toBe(2);
  await walk(all.slice(0, first), home, home);
  const own = new X509Certificate(readFileSync(join(home, "kx.pem")));
  expect(own.checkHost("kx.example.org")).toBe("kx.example.org");

  // The neighbour has our pin, and we have its.
  const there = scratch();
  const pin = makeCertificate(there, "other");
  const port = await freePort();
  const tls = `tls = { cert = "${there}/other.pem", key = "${there}/other.key" }\n`;
  const us = `name = "us"\nkx = "kxs://127.0.0.1:${kx}"\npin = "${own.fingerprint256}"\n`;
  const { reports } = await startGateway(
    `${HEAD}[kx]\nlisten = ["127.0.0.1:${port}"]\n${tls}[[peer]]\n${us}`,
  );
  const pieces = blocks(PAGE, "toml");
  const [pinned = ""] = pieces.filter((piece) => SAMPLE.test(piece));
  const [starttls = ""] = pieces.filter((piece) => piece.startsWith("[smtp]"));
  const config =
    '[site]\naddress = "pgp-public-keys@kx.example.org"\n[log]\n' +
    starttls.replace("127.0.0.1:2525", `127.0.0.1:${smtp}`) +
    pinned
      .replace("0.0.0.0:11373", `127.0.0.1:${kx}`)
      .replace("keys.example.net:11373", `127.0.0.1:${port}`)
      .replace(SAMPLE, `pin = "${pin}"`);
  writeFileSync(join(home, "kxgw.toml"), config);
  const untilConnected = `until grep -q '"event":"peer-connected"' kxgw.log; do sleep 0.05; done\n`;
  const rest = all.slice(first).map(({ script, wanted }) => {
    return { script: script.includes("kxgw serve") ? script + untilConnected : script, wanted };
  });
  await walk(rest, home, home);
  expect(reports.map(({ event }) => event)).toContain("peer-connected");
  expect(reports.map(({ event }) => event)).not.toContain("peer-untrusted");
});

it("has each message of a failed handshake that the program prints", () => {
  const source = readFileSync(new URL("../src/cli/probe-kx.ts", import.meta.url), "utf8");
  const text = source.replaceAll(/" \+\s*"/g, "");
  const [, table = ""] = PAGE.split("## When it fails");
  const messages = [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, message = ""]) => message);
  expect(messages).toHaveLength(6);
  for (const message of messages) {
    for (const part of message.split("...")) expect(text, message).toContain(part.trim());
  }
});
