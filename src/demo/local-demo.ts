/**
 * The local demo: two gateway processes that peer over KX, with a legacy site on each side and
 * real keys. Mail to A, KX to B, mail to the other site; then the same keys again, which must
 * cause no mail. Everything is on loopback, on free ports, and is stopped at the end. It
 * returns figures, which the caller prints. It fails if a key does not arrive complete.
 */
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { GatewayProcess } from "./process.js";
import type { SampleKey, Spread } from "./sample-keys.js";
import { readSampleKeys, spread } from "./sample-keys.js";
import { LegacySite } from "./site.js";

/** Time without an arrival after which the demo fails. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 50;
/** Time after the duplicates in which an unwanted copy would arrive. */
const QUIET_MS = 500;

const OLD = "pgp-public-keys@old.example.net";
const FAR = "pgp-public-keys@far.example.net";
const SITE_A = "pgp-public-keys@a.kx.example.org";
const SITE_B = "pgp-public-keys@b.kx.example.org";

/** The result. Times are from the submission of a key to its mail at the other site. */
export interface DemoJourney {
  readonly keys: number;
  /** Keys that arrived complete at the other site. */
  readonly arrived: number;
  /** Their update hashes by fingerprint. */
  readonly hashes: Readonly<Record<string, string>>;
  readonly milliseconds: Spread;
  readonly mailBytesIn: number;
  readonly mailBytesOut: number;
  readonly mailsOut: number;
  /** Both directions, all of the protocol. */
  readonly kxBytes: number;
  readonly duplicatesOffered: number;
  readonly duplicatesSuppressed: number;
  readonly mailsAfterDuplicates: number;
}

/**
 * Runs the demo with configs and logs in `directory`; `say` receives the progress. Rejects with
 * the reason if something is missing at the end, or with that of `stop` if it is aborted;
 * in every case all processes have been stopped.
 */
export async function localDemo(
  directory: string,
  say: (text: string) => void,
  stop: AbortSignal,
): Promise<DemoJourney> {
  const old = new LegacySite(OLD);
  const far = new LegacySite(FAR);
  const gateways: GatewayProcess[] = [];
  const launch = async (name: string, lines: readonly string[]) => {
    stop.throwIfAborted();
    const file = join(directory, `${name}.toml`);
    writeFileSync(file, lines.join("\n"));
    const gateway = GatewayProcess.spawn(file);
    gateways.push(gateway);
    await gateway.event("ready");
    return gateway;
  };
  try {
    const sampleKeys = readSampleKeys();
    say("starting two gateways and two legacy sites on loopback ...");
    await old.start();
    const [a] = await launchPair(launch, await far.start());
    old.syncSites = [{ address: SITE_A, port: a.port("smtp") }];

    say(`submitting ${sampleKeys.length} real keys at ${OLD} ...`);
    const submittedAt = await submit(old, sampleKeys, stop);
    await arrival(far, sampleKeys, say, stop);
    const mailBytesIn = old.bytesOut;
    const mailsOut = far.received.length;
    const mailBytesOut = far.bytesIn;

    say("submitting all of them once more ...");
    await submit(old, sampleKeys, stop);
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    const { kxBytes, duplicates } = readStatus(await a.status());
    const mailsAfterDuplicates = far.received.length - mailsOut;
    if (duplicates !== sampleKeys.length || mailsAfterDuplicates !== 0) {
      throw new Error(
        `of ${sampleKeys.length} duplicates ${duplicates} were suppressed and ` +
          `${mailsAfterDuplicates} mails went out for them`,
      );
    }
    const times = far.received.flatMap(({ fingerprints, at }) =>
      fingerprints.map((one) => at - (submittedAt.get(one) ?? at)),
    );
    return {
      keys: sampleKeys.length,
      arrived: far.hashes().size,
      hashes: Object.fromEntries(far.hashes()),
      milliseconds: spread(times),
      mailBytesIn,
      mailBytesOut,
      mailsOut,
      kxBytes,
      duplicatesOffered: sampleKeys.length,
      duplicatesSuppressed: duplicates,
      mailsAfterDuplicates,
    };
  } finally {
    await Promise.all(gateways.map((gateway) => gateway.end()));
    await Promise.all([old.stop(), far.stop()]);
  }
}

type Launch = (name: string, lines: readonly string[]) => Promise<GatewayProcess>;

/** Gateway A, which receives the mail, and B, which dials it and mails to the other site. */
async function launchPair(launch: Launch, farPort: number) {
  const kxPort = await freePort();
  const a = await launch("a", [
    ...common(SITE_A, "a.db"),
    `[kx]\nlisten = ["127.0.0.1:${kxPort}"]`,
    `[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]`,
    '[[peer]]\nname = "b"\nkx = "127.0.0.1:1"\nvia = "kx"',
  ]);
  const b = await launch("b", [
    ...common(SITE_B, "b.db"),
    '[kx]\nlisten = ["127.0.0.1:0"]',
    `[outbound]\nrelay = "smtp://127.0.0.1:${farPort}"\nbounce = "pgp-bounces@b.kx.example.org"`,
    `[[peer]]\nname = "far"\nmail = "${FAR}"`,
    `[[peer]]\nname = "a"\nkx = "127.0.0.1:${kxPort}"\ndial = true\nvia = "kx"`,
  ]);
  await b.event("peer-connected");
  return [a, b] as const;
}

function common(site: string, log: string): string[] {
  return [
    `[site]\naddress = "${site}"`,
    `[log]\npath = "${log}"`,
    '[smtp]\nlisten = ["127.0.0.1:0"]',
    '[admin]\nlisten = "127.0.0.1:0"',
  ];
}

/** Submits all keys, one after the other; resolves with the time of each. */
async function submit(site: LegacySite, sampleKeys: readonly SampleKey[], stop: AbortSignal) {
  const submittedAt = new Map<string, number>();
  for (const { fingerprint, armored } of sampleKeys) {
    stop.throwIfAborted();
    submittedAt.set(fingerprint, performance.now());
    await site.submit(armored);
  }
  return submittedAt;
}

/** Waits until the site has every packet of every key, by their update hashes. */
async function arrival(
  site: LegacySite,
  sampleKeys: readonly SampleKey[],
  say: (text: string) => void,
  stop: AbortSignal,
): Promise<void> {
  let told = -1;
  let toldAt = 0;
  for (;;) {
    stop.throwIfAborted();
    const held = site.hashes();
    const missing = sampleKeys.filter(({ fingerprint, hash }) => held.get(fingerprint) !== hash);
    const arrived = sampleKeys.length - missing.length;
    if (arrived !== told) {
      say(`  ${arrived} of ${sampleKeys.length} arrived at ${site.address}`);
      told = arrived;
      toldAt = performance.now();
    }
    if (missing.length === 0) return;
    if (performance.now() - toldAt > PATIENCE_MS) {
      const names = missing.map(({ fingerprint }) => fingerprint).join(", ");
      const what = missing.length === 1 ? "a key" : `${missing.length} keys`;
      throw new Error(`${what} did not arrive complete at ${site.address}: ${names}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function readStatus(status: Readonly<Record<string, unknown>>) {
  const { totals, neighbours } = status as {
    totals: { duplicates: number };
    neighbours: { peer?: { bytesIn: number; bytesOut: number } }[];
  };
  const peers = neighbours.flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
  const kxBytes = peers.reduce((sum, { bytesIn, bytesOut }) => sum + bytesIn + bytesOut, 0);
  return { kxBytes, duplicates: totals.duplicates };
}

/** A free port, which the gateway binds at once. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address !== null ? address.port : 0;
}
