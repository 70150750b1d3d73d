/**
 * Two gateways of a checkout with all corpora going through them: by SMTP and HKP into A, over KX
 * to B, out of both by mail, into a spool and by HKP. What is kept: every mail with its envelope,
 * the answers that were given, the names in /metrics and the keys of /status.json.
 *
 * One input at a time, each waited for until nothing is under way, so that numbers and mails are
 * the same in every run. The site "packed" refuses all of them for now and takes them at the end,
 * several in a mail.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import { SmtpClient } from "../support/smtp-client.js";
import { SpoolCollector } from "../support/spool-collector.js";
import { holdsWithin, pause } from "../support/until.js";
import { type Input, inputs, SITE } from "./inputs.js";
import { jsonKeys, metricNames } from "./names.js";
import { dateless, KeySink, MailSink } from "./sinks.js";

export interface Observed {
  readonly metrics: readonly string[];
  readonly status: readonly string[];
  readonly answers: readonly string[];
  /** Mails and local deliveries by receiver, in order. */
  readonly mails: ReadonlyMap<string, readonly string[]>;
}

const SETTLED_MS = 30_000;
const PACKED = "pgp-public-keys@packed.example.net";
const SITE_B = "pgp-public-keys@b.kx.example.org";
/** Lanes that take what comes at once. */
const WATCHED = ["far", "small", "old", "[local]", "beyond"];
/** Paths of the HTTP server, of which the status codes are kept. */
const PATHS = ["/", "/status.json", "/metrics", "/livez", "/readyz", "/update/1", "/nowhere"];

export async function observe(checkout: string, directory: string): Promise<Observed> {
  const program = join(checkout, "dist/main.js");
  const [mailSink, keySink] = [new MailSink(), new KeySink()];
  const ports = { relay: await mailSink.start(), keys: await keySink.start() };
  for (const name of ["a-local", "a", "b"]) mkdirSync(join(directory, name));
  const keyserver = new SpoolCollector(join(directory, "a-local"), "msg-").start();
  const fileB = join(directory, "b", "kxgw.toml");
  writeFileSync(fileB, configB(ports));
  const gateways: GatewayProcess[] = [];
  try {
    const b = await GatewayProcess.start(fileB, program);
    gateways.push(b);
    const fileA = join(directory, "a", "kxgw.toml");
    writeFileSync(fileA, configA(ports.relay, b.port("kx"), join(directory, "a-local")));
    const a = await GatewayProcess.start(fileA, program);
    gateways.push(a);
    await Promise.all([a.event("peer-connected"), b.event("peer-connected")]);
    mailSink.refuse(PACKED);

    const answers: string[] = [];
    for (const input of inputs()) {
      answers.push(`${input.name}: ${await send(a, input)}`);
      await settled(a, b, WATCHED);
    }
    for (const path of PATHS) answers.push(`GET ${path}: ${await code(a, path)}`);
    const names = { a: await metricNames(a), b: await metricNames(b) };
    const keys = { a: jsonKeys(await a.status()), b: jsonKeys(await b.status()) };

    // A site gets together what waited when it last refused.
    const refused = mailSink.refusals(PACKED);
    await holdsWithin(() => mailSink.refusals(PACKED) > refused, SETTLED_MS);
    mailSink.accept(PACKED);
    await settled(a, b, [...WATCHED, "packed"]);
    await b.end();
    await a.end();
    const mails = new Map(mailSink.byReceiver());
    mails.set("hkp-of-b", keySink.taken);
    mails.set(
      "spool-of-a",
      keyserver.taken.map(({ mail }) => dateless(mail.toString("latin1"))).sort(),
    );
    return { answers, mails, metrics: labelled(names), status: labelled(keys) };
  } finally {
    for (const gateway of gateways) await gateway.end("SIGKILL");
    await mailSink.stop();
    await keySink.stop();
    keyserver.stop();
  }
}

/** The reply that settled it: the code and, for SMTP, the enhanced code. The words may change. */
async function send(gateway: GatewayProcess, { by, text, to = SITE }: Input): Promise<string> {
  if (by === "hkp") {
    const url = `http://127.0.0.1:${gateway.port("hkp")}/pks/add`;
    const answer = await fetch(url, { method: "POST", body: new URLSearchParams(text) });
    return `${answer.status}`;
  }
  const client = await SmtpClient.connect(gateway.port("smtp"));
  try {
    const lines = text.replace(/\r?\n$/, "").split(/\r?\n/);
    const stuffed = lines.map((line) => `${line.startsWith(".") ? "." : ""}${line}\r\n`);
    const { text: reply } = await client.deliver(stuffed.join(""), to);
    return /^\d{3}(?: \d\.\d+\.\d+)?/.exec(reply)?.[0] ?? reply;
  } finally {
    client.close();
  }
}

async function code(gateway: GatewayProcess, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${gateway.port("admin")}${path}`)).status;
}

interface Status {
  readonly log: { readonly newest: number };
  readonly neighbours: readonly {
    readonly name: string;
    readonly backlog: number;
    /** Older checkouts have no exceptions. */
    readonly site?: { readonly exceptions?: { readonly waiting: number } } | null;
  }[];
}

/** Waits until B has what A has, and no lane that is watched has anything left to deliver. */
async function settled(
  a: GatewayProcess,
  b: GatewayProcess | undefined,
  watched = ["far", "small", "old", "[local]", "beyond"],
): Promise<void> {
  const deadline = performance.now() + SETTLED_MS;
  for (;;) {
    const all = (
      await Promise.all([a, ...(b === undefined ? [] : [b])].map((one) => one.status()))
    ).map((one) => one as unknown as Status);
    const newest = all.map(({ log }) => log.newest);
    const waiting = all.flatMap(({ neighbours }) =>
      neighbours.filter(
        // What the site did not take is tried again in hours.
        ({ name, backlog, site }) =>
          watched.includes(name) && backlog > (site?.exceptions?.waiting ?? 0),
      ),
    );
    if (waiting.length === 0 && new Set(newest).size === 1) return;
    if (performance.now() > deadline) {
      const names = waiting.map(({ name, backlog }) => `${name} ${backlog}`).join(", ");
      throw new Error(`not settled: newest ${newest.join(" and ")}; waiting: ${names}`);
    }
    await pause(25);
  }
}

function labelled(of: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(of).flatMap(([name, lines]) => lines.map((line) => `${name}: ${line}`));
}

function configA(relay: number, kx: number, local: string): string {
  return `[site]
address = "${SITE}"
[log]
[smtp]
listen = ["127.0.0.1:0"]
[hkp]
listen = ["127.0.0.1:0"]
[kx]
listen = []
reconnect = "1s"
[outbound]
relay = "smtp://127.0.0.1:${relay}"
bounce = "pgp-bounces@kx.example.org"
retry = "1s"
[local]
type = "sks"
directory = "${local}"
[admin]
listen = "127.0.0.1:0"
[[peer]]
name = "old"
mail = "pgp-public-keys@old.example.net"
accept_from = ["127.0.0.1"]
[[peer]]
name = "far"
mail = "pgp-public-keys@far.example.net"
[[peer]]
name = "small"
mail = "pgp-public-keys@small.example.net"
max_mail = "16KiB"
[[peer]]
name = "packed"
mail = "${PACKED}"
[[peer]]
name = "b"
kx = "127.0.0.1:${kx}"
dial = true
via = "kx"
`;
}

function configB({ relay, keys }: { readonly relay: number; readonly keys: number }): string {
  return `[site]
address = "${SITE_B}"
[log]
[kx]
listen = ["127.0.0.1:0"]
[outbound]
relay = "smtp://127.0.0.1:${relay}"
[local]
type = "hkp"
url = "http://127.0.0.1:${keys}"
[admin]
listen = "127.0.0.1:0"
[[peer]]
name = "beyond"
mail = "pgp-public-keys@beyond.example.net"
[[peer]]
name = "a"
kx = "127.0.0.1:1"
via = "kx"
`;
}
