/**
 * A site of two gateways on one PostgreSQL for the tests: the configuration of both, a mail site
 * and a KX peer of theirs, mail to either of them, and what has to be true of the log that they
 * share.
 */
import { expect, onTestFinished } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import type { LegacySite } from "../../src/demo/site.js";
import { made, mailOf, OLD, SITE } from "../e2e/material.js";
import { base, configFile, type LogLine, legacySite, logOf, spawn } from "../e2e/stage.js";
import { KxPeer } from "../support/kx-peer.js";
import { KxReader } from "../support/kx-reader.js";
import { SmtpClient } from "../support/smtp-client.js";
import { pause, until } from "../support/until.js";
import { Postgres } from "../system/postgres.js";

const FAR = "pgp-public-keys@far.example.net";
const ENVELOPE = { from: OLD, to: SITE };
/** A session that is cut is ended by the server after 8 s; the lease is asked for each second. */
export const TAKEOVER_MS = 30_000;

/** The address of a KX peer that dials the gateways. */
export const VISITOR = "127.0.0.2";

export interface Site {
  readonly far: LegacySite;
  /** A KX peer that the gateways dial, and what it read. */
  readonly peer: KxPeer;
  readonly reader: KxReader;
  /** The configuration files, one for each gateway. */
  readonly files: readonly [string, string];
}

/** Two gateways, each with a URL of the database. */
export async function siteOn(urls: readonly [string, string]): Promise<Site> {
  const { site: far, port } = await legacySite(FAR);
  const reader = new KxReader();
  const peer = new KxPeer(reader);
  onTestFinished(() => peer.stop());
  const kxPort = await peer.start();
  const [one, two] = urls.map((url) => {
    return `${base(SITE).replace("[smtp]", `shared = "${url}"\n[smtp]`)}[kx]
listen = ["127.0.0.1:0"]
reconnect = "1s"
[outbound]
relay = "smtp://127.0.0.1:${port}"
retry = "1s"
[[peer]]
name = "far"
mail = "${FAR}"
[[peer]]
name = "old"
accept_from = ["127.0.0.1"]
[[peer]]
name = "kx"
kx = "127.0.0.1:${kxPort}"
dial = true
[[peer]]
name = "visitor"
kx = "${VISITOR}:1"
`;
  });
  return { far, peer, reader, files: [configFile(one ?? ""), configFile(two ?? "")] };
}

/** The same on a new server. */
export async function stage(): Promise<Site & { readonly server: Postgres }> {
  const server = await Postgres.start();
  onTestFinished(() => server.remove());
  return { server, ...(await siteOn([server.url, server.url])) };
}

/** Mails keys to a gateway until `enough`; adds the fingerprints that it answered with 250. */
export async function pump(
  gateway: GatewayProcess,
  name: string,
  acknowledged: Set<string>,
  enough: (count: number) => boolean,
): Promise<void> {
  try {
    const client = await SmtpClient.connect(gateway.port("smtp"));
    for (let n = 1; !enough(n - 1); n += 1) {
      const key = made(name, n, 1000);
      const { code } = await client.deliver(mailOf(key.armor), ENVELOPE);
      if (code === 250) acknowledged.add(key.fingerprint);
      await pause(5);
    }
    client.close();
  } catch {
    // The gateway was killed; what it did not answer it did not promise.
  }
}

/** The logs of both gateways, once they are equal and hold `count` updates or more. */
export async function oneLog(files: readonly string[], count: number): Promise<LogLine[]> {
  let log: LogLine[] = [];
  await until(
    async () => {
      const [one = [], two = []] = await Promise.all(files.map((file) => logOf(file)));
      log = one;
      return JSON.stringify(one) === JSON.stringify(two) && one.length >= count;
    },
    `two equal logs of ${count} updates`,
    60_000,
  );
  return log;
}

/** Fails unless the numbers are 1, 2, 3, ... */
export function expectNumbered(log: readonly { readonly seq: number }[]): void {
  const numbers = log.map(({ seq }) => seq).sort((a, b) => a - b);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
}

/** How many mails the site got that held nothing new for it. */
export function repeated({ received }: LegacySite): number {
  const seen = new Set<string>();
  let count = 0;
  for (const { fingerprints } of received) {
    if (fingerprints.every((one) => seen.has(one))) count += 1;
    for (const one of fingerprints) seen.add(one);
  }
  return count;
}

function missing({ received }: LegacySite, wanted: Iterable<string>): string[] {
  const held = new Set(received.flatMap(({ fingerprints }) => fingerprints));
  return [...wanted].filter((one) => !held.has(one));
}

export async function arrived(far: LegacySite, wanted: Iterable<string>): Promise<void> {
  await until(
    () => missing(far, wanted).length === 0,
    () => `${missing(far, wanted).length} updates at the far site`,
    60_000,
  );
}

/** Whether a gateway holds a lease, by its events. */
export function holds({ events }: GatewayProcess, lease: string): boolean {
  const last = events.findLast((line) => line.lease === lease);
  return last?.event === "lease-taken";
}

export async function post(gateway: GatewayProcess, name: string, n = 1) {
  const client = await SmtpClient.connect(gateway.port("smtp"));
  const key = made(name, n, 1000);
  const { code, text } = await client.deliver(mailOf(key.armor), ENVELOPE);
  client.close();
  return { code, text, fingerprint: key.fingerprint };
}

/** A start that has to be refused: the exit code, what is wrong, and what to do; a line each. */
export async function refused(file: string, program?: string) {
  const gateway = spawn(file, {}, program);
  const code = await gateway.exited;
  const [what = "", remedy = "", ...others] = gateway.errors.trim().split("\n");
  expect(others).toEqual([]);
  return { code, what, remedy: remedy.trim() };
}
