/**
 * One gateway with every way in (SMTP, HKP, a spool, KX) and out (mail to a site, KX, the
 * keyserver beside it as a directory), for the tests of what is not carried on any of them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { admit } from "../../src/admit.js";
import type { Output } from "../../src/cli/output.js";
import { queueCommand } from "../../src/cli/queue.js";
import { removalCommand } from "../../src/cli/removal.js";
import { traceCommand } from "../../src/cli/trace.js";
import type { RemovalVerb } from "../../src/removal.js";
import { captured } from "../cli/captured.js";
import { KxScript } from "../support/kx-script.js";
import { SmtpClient } from "../support/smtp-client.js";
import { SpoolCollector } from "../support/spool-collector.js";
import type { Made } from "./material.js";
import { mailOf, OLD, SITE } from "./material.js";
import { base, configFile, kxgw, start } from "./stage.js";
import { FAR } from "./world.js";

/** The config; `more` stands before the peers, `relay` is the port of the site "far". */
export function configOf(relay: number, more = ""): string {
  return `${base(SITE)}[hkp]
listen = ["127.0.0.1:0"]
[spool]
watch = ["spool"]
every = "50ms"
[local]
type = "sks"
directory = "local"
[kx]
listen = ["127.0.0.1:0"]
[outbound]
relay = "smtp://127.0.0.1:${relay}"
retry = "1h*2"
${more}
[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
[[peer]]
name = "far"
mail = "${FAR}"
[[peer]]
name = "three"
kx = "127.0.0.3:11373"
via = "kx"
`;
}

/** A config file with its directories; `files` lie beside it. */
export function prepared(text: string, files: Readonly<Record<string, string>> = {}): string {
  const file = configFile(text);
  const directory = dirname(file);
  for (const name of ["spool", "local"]) mkdirSync(join(directory, name));
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(directory, name), content);
  return file;
}

async function said(command: (out: Output) => Promise<number>) {
  const out = captured();
  return { code: await command(out), text: out.text + out.errors };
}

/** A gateway on such a config file, and its ways in and out. */
export async function opened(file: string) {
  const gateway = await start(file);
  const directory = dirname(file);
  let mails = 0;
  const keyserver = new SpoolCollector(join(directory, "local"), "msg-").start();
  return {
    gateway,
    /** The SMTP reply to a mail with the key. */
    async mail({ armor }: Made): Promise<string> {
      const client = await SmtpClient.connect(gateway.port("smtp"));
      const { text } = await client.deliver(mailOf(armor), { from: OLD, to: SITE });
      client.close();
      return text;
    },
    /** The HKP answer to the key. */
    async post({ armor }: Made): Promise<string> {
      const body = new URLSearchParams({ keytext: armor });
      const url = `http://127.0.0.1:${gateway.port("hkp")}/pks/add`;
      const answer = await fetch(url, { method: "POST", body });
      return `${answer.status} ${(await answer.text()).trim()}`;
    },
    /** Leaves a mail with the key in the spool. */
    spool({ armor }: Made): void {
      mails += 1;
      writeFileSync(join(directory, "spool", `${mails}.ready`), mailOf(armor));
    },
    /** How many files of the spool were moved aside. */
    refused(): number {
      const aside = join(directory, "spool", "refused");
      return existsSync(aside) ? readdirSync(aside).length : 0;
    },
    /** Hashes of the updates that were left for the keyserver beside us. */
    local: () =>
      keyserver.taken.flatMap(({ mail }) => admit([mail]).updates.map(({ hash }) => hash)),
    peer: () => KxScript.greeted(gateway.port("kx"), "127.0.0.3"),
    /** `kxgw` on this config. */
    kxgw: (...args: string[]) => kxgw([...args, "-c", file]),
    /** The same orders from this process, which is faster. */
    remove: (verb: RemovalVerb, { fingerprint }: Made) =>
      said((out) => {
        const given = { reason: "asked by its owner", until: undefined, allowRevocation: false };
        return removalCommand(verb, [fingerprint], { file, json: false, ...given }, out, {});
      }),
    trace: (question: string) =>
      said((out) => traceCommand(question, { file, json: false }, out, {})),
    retry: (site: string) =>
      said((out) => queueCommand("retry", [site], { file, json: false }, out, {})),
    /** One value of /metrics, 0 when it is not there. */
    async metric(name: string): Promise<number> {
      const answer = await fetch(`http://127.0.0.1:${gateway.port("admin")}/metrics`);
      const line = (await answer.text()).split("\n").find((one) => one.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1) ?? 0);
    },
    /** What stands in the files of the log. */
    files: () =>
      readdirSync(directory)
        .filter((name) => /^updates\.db(-wal|-shm)?$/.test(name))
        .map((name) => readFileSync(join(directory, name)).toString("latin1"))
        .join(""),
  };
}
