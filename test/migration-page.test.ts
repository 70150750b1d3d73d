/**
 * docs/migration.md, run: its `sh` blocks in order on a site with a pksd's spool and neighbours
 * behind a relay; what it configures in steps 3 and 4, put in force beside a real neighbour, with
 * the `console` blocks behind it. `test/interop/migration.interop.ts` runs its lines for Postfix.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { expect, it } from "vitest";
import { parseConfig } from "../src/config/load.js";
import { Relay } from "./delivery/relay.js";
import { base, run, spawn } from "./e2e/stage.js";
import { blocks, installIn, page, ROOT, steps, walk } from "./support/page.js";
import { freePort } from "./support/ports.js";
import { scratch } from "./support/scratch.js";
import { until } from "./support/until.js";

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

/** Each `toml` block that says `via`, with the commands of the `console` block behind it. */
function viaSteps(): { readonly toml: string; readonly commands: string }[] {
  const all = [...PAGE.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  return all.flatMap(([, kind, toml = ""], index) => {
    if (kind !== "toml" || !toml.includes("via = ")) return [];
    const [, next, commands = ""] = all[index + 1] ?? [];
    return [{ toml, commands: next === "console" ? commands.replaceAll(/^\$ /gm, "") : "" }];
  });
}

it("steps 3 and 4 work as they are written, with a neighbour that runs a gateway", {
  timeout: 90_000,
}, async () => {
  const relay = await Relay.start();
  const [ours, theirs] = [await freePort(), await freePort()];
  const outbound = `[outbound]\nrelay = "smtp://127.0.0.1:${relay.port}"\n`;
  const kx = (port: number) => `[kx]\nlisten = ["127.0.0.1:${port}"]\nreconnect = "100ms"\n`;
  const peer = `[[peer]]\nname = "us"\nmail = "${SITE}"\nvia = "both"\nkx = "127.0.0.1:${ours}"\n`;
  const other = join(scratch(), "other.toml");
  writeFileSync(other, base(OLD) + kx(theirs) + outbound + peer);
  const neighbour = spawn(other);
  await neighbour.event("ready");

  const home = scratch();
  installIn(home);
  const file = join(home, "kxgw.toml");
  const feeder = '[[peer]]\nname = "feeder"\naccept_from = ["127.0.0.2"]\n';
  const configure = (toml: string) =>
    writeFileSync(
      file,
      base(SITE) +
        kx(ours) +
        outbound +
        feeder +
        toml.replace(/keys[.]example[.]net:\d+/, `127.0.0.1:${theirs}`),
    );
  configure("");
  const gateway = spawn(file);
  await gateway.event("ready");
  const systemctl = `#!/bin/sh\n[ "$*" = "reload kxgw" ] && kill -HUP ${gateway.pid}\n`;
  writeFileSync(join(home, "bin", "systemctl"), systemctl);
  chmodSync(join(home, "bin", "systemctl"), 0o755);

  const keys = readdirSync(join(ROOT, "test/fixtures/keys")).sort();
  const seen: unknown[] = [];
  for (const [index, { toml, commands }] of viaSteps().entries()) {
    configure(toml);
    // It listens on other ports after each reload, as `ready` says.
    const reloads = gateway.events.filter(({ event }) => event === "ready").length;
    const shown = "kxgw peers show keys-example-net --json";
    const waits = `until ${shown} | grep -q '"connected":true'; do sleep 0.1; done`;
    const script = (commands === "" ? "systemctl reload kxgw\n" : commands)
      .replaceAll("/etc/kxgw/kxgw.toml", file)
      // The names of the relay and of the site are not in any DNS here.
      .replace(/^(kxgw (?:check --online|peers test).*)$/gm, "$1 || [ $? = 69 ]")
      .replace(/^(systemctl reload kxgw)$/m, `$1\n${waits}`);
    const env = `export PATH="${join(home, "bin")}:$PATH" HOME="${home}"; cd "${home}"`;
    const { code, stdout, stderr } = await run("bash", ["-euc", `${env}\n${script}`]);
    expect([code, stderr], `${script}\n${stdout}`).toEqual([0, ""]);
    if (commands.includes("peers test")) {
      expect(stdout.match(/^ok {4}keys-example-net by KX at .*: speaks KX/gm)).toHaveLength(2);
    }
    await until(
      () => gateway.events.filter(({ event }) => event === "ready").length > reloads,
      "it is reloaded",
    );
    const key = readFileSync(join(ROOT, "test/fixtures/keys", keys[index] ?? ""), "latin1");
    const raw = `Subject: INCREMENTAL\n\n${key}`;
    const mail = { host: "127.0.0.1", port: gateway.port("smtp"), localAddress: "127.0.0.2" };
    const transport = createTransport({ ...mail, ignoreTLS: true });
    await transport.sendMail({ envelope: { from: "a@b.example", to: SITE }, raw });
    transport.close();
    const arrived = () => neighbour.events.filter(({ event }) => event === "accepted");
    await until(() => arrived().length === index + 1, "the neighbour has it", 20_000);
    const { neighbours } = (await gateway.status()) as { neighbours: { path: string }[] };
    const via = arrived()[index]?.via;
    seen.push([/via = "(\w+)"/.exec(toml)?.[1], neighbours.at(-1)?.path, via, relay.taken.length]);
  }
  // "both" mails it as well; the two others do not.
  expect(seen).toEqual([
    ...[
      ["both", "both", "kx", 1],
      ["auto", "kx", "kx", 1],
      ["kx", "kx", "kx", 1],
    ],
  ]);
});
