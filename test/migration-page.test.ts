/**
 * docs/migration.md, held to its word: its `sh` blocks are run in order on a site with a pksd's
 * spool and neighbours behind a relay, and its pieces of configuration pass the check. The commands
 * that this page and others name are there, with the options that are given to them.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../src/config/load.js";
import { Relay } from "./delivery/relay.js";
import { blocks, installIn, PROGRAM, page, ROOT, steps, walk } from "./support/page.js";
import { freePort } from "./support/ports.js";
import { scratch } from "./support/scratch.js";

const PAGE = page("migration.md");
const SITE = "pgp-public-keys@pks.example.org";
const OLD = "pgp-public-keys@keys.example.net";

/** Mails a key as the neighbour does; throws unless it is taken. */
const SEND = `
  import { readFileSync } from "node:fs";
  import nodemailer from "${createRequire(import.meta.url).resolve("nodemailer")}";
  const [at, file] = process.argv.slice(2);
  const [host, port] = at.split(":");
  const sent = await nodemailer.createTransport({ host, port, ignoreTLS: true }).sendMail({
    envelope: { from: "${OLD}", to: "${SITE}" },
    raw: "Subject: INCREMENTAL\\nX-KeyServer-Sent: ${OLD}\\n\\n" + readFileSync(file, "latin1"),
  });
  if (!sent.response.startsWith("250 2.0.0")) throw new Error(sent.response);
`;

it("its first two steps work as they are written", { timeout: 60_000 }, async () => {
  const home = scratch();
  installIn(home);
  const spool = join(home, "spool");
  const taken = join(home, "taken");
  for (const directory of [spool, taken]) mkdirSync(directory);
  const pksd = readFileSync(join(ROOT, "test/fixtures/configs/pksd/pksd.conf"), "utf8");
  writeFileSync(join(home, "pksd.conf"), pksd.replace("/var/spool/pks/incoming", spool));
  writeFileSync(join(home, "send.mjs"), SEND);
  const relay = await Relay.start();
  const smtp = `127.0.0.1:${await freePort()}`;
  const env = {
    KXGW_SMTP__LISTEN: smtp,
    KXGW_KX__LISTEN: "127.0.0.1:0",
    KXGW_ADMIN__LISTEN: "127.0.0.1:0",
    KXGW_OUTBOUND__RELAY: `smtp://127.0.0.1:${relay.port}`,
  };
  /** A neighbour mails a key, of which both others are to get to know. */
  const mailed = (key: string, event: string, meanwhile = "") =>
    `"${process.execPath}" send.mjs ${smtp} ${ROOT}test/fixtures/keys/${key}.asc\n` +
    meanwhile +
    waitFor(event, 2);
  // What pks-queue-run.sh does.
  const collect = `until mv ${spool}/pks-mail.* ${taken}/ 2>/dev/null; do sleep 0.05; done\n`;
  const waitFor = (event: string, times: number) =>
    `until [ "$(grep -c '"event":"${event}"' kxgw.log)" -ge ${times} ]; do sleep 0.05; done\n`;
  const all = steps(PAGE).map(({ script, wanted }) => {
    let text = script.replaceAll("/etc/pks/pksd.conf", join(home, "pksd.conf"));
    if (text.includes("kxgw health")) {
      text += mailed("role-4D270D06F42584E6", "would-send");
    }
    if (text.includes("kill -HUP")) {
      text += waitFor("reloaded", 1) + mailed("role-6FB2A1C265FFB764", "sent", collect);
    }
    return { script: text, wanted };
  });
  expect(all.length).toBeGreaterThanOrEqual(6);
  await walk(all, home, home, env);
  // One of both keys, for the other was only observed: to the other neighbour, and into the spool.
  expect(relay.taken.map(({ to }) => to)).toEqual([["pgp-public-keys@pks.example.com"]]);
  expect(relay.taken[0]?.raw).toContain(`X-KeyServer-Sent: ${OLD}\r\nX-KeyServer-Sent: ${SITE}`);
  expect(readdirSync(taken)).toHaveLength(1);
  expect(readdirSync(spool)).toEqual([]);
});

it("what it wants in the config passes the check", () => {
  const snippets = blocks(PAGE, "toml");
  expect(snippets.length).toBeGreaterThanOrEqual(4);
  for (const snippet of snippets) {
    const missing = ["[smtp]", "[kx]", "[outbound]"].filter((name) => !snippet.includes(name));
    const text = `[site]\naddress = "${SITE}"\n[log]\n${missing.join("\n")}\n${snippet}`;
    expect(() => parseConfig(text, "kxgw.toml", "/srv", {}), snippet).not.toThrow();
  }
});

it.each([
  ...["migration.md", "install.md", "neighbours.md", "operations.md"],
  ...["paths.md", "repair.md", "removal.md"],
])("%s names commands that are there", (name) => {
  const table = execFileSync(process.execPath, [PROGRAM, "completion", "bash"], {
    encoding: "utf8",
  });
  const options = new Map(
    [...table.matchAll(/^ {4}"([a-z ]*)"\) words="(.*)" ;;$/gm)].map(([, command, words = ""]) => [
      command,
      words.split(" "),
    ]),
  );
  const text = page(name).replaceAll("\\\n", " ");
  let named = 0;
  const commands = /(?:^|[`&;|] ?|\$ |"\|\/usr\/bin\/)kxgw ([a-z]+(?![\w.])[^|&"`\n]*)/gm;
  for (const [line, said = ""] of text.matchAll(commands)) {
    const words = said.trim().split(/\s+/);
    const group = `${words[0]} ${words[1]}`;
    const command = options.has(group) ? group : words[0];
    const known = options.get(command);
    expect(known, `${line}: no such command`).toBeDefined();
    const given = words.filter((word) => /^--?[a-z]/.test(word));
    expect(known, line).toEqual(expect.arrayContaining(given));
    named += 1;
  }
  expect(named).toBeGreaterThan(2);
});
