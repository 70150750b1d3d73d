/**
 * `kxgw demo`: the whole way, seen once. Two gateway processes that peer over KX, a legacy site on
 * either side, real keys: mail into A, KX to B, mail out to the other site. Everything is on
 * loopback, on free ports, in a temporary directory, and is gone afterwards. Exits non-zero with
 * the reason when a key does not arrive whole.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { GatewayProcess } from "../demo/process.js";
import { keysIn, LegacySite } from "../demo/site.js";
import { EXIT } from "../errors.js";
import type { TransferableKey } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import type { Output } from "./output.js";

const KEYS = fileURLToPath(new URL("../../test/fixtures/keys", import.meta.url));
const DEADLINE_MS = 25_000;
/** After the last delivery: long enough for an echo or a second copy to show. */
const QUIET_MS = 500;

const OLD = "pgp-public-keys@old.example.net";
const FAR = "pgp-public-keys@far.example.net";
const SITE_A = "pgp-public-keys@a.kx.example.org";
const SITE_B = "pgp-public-keys@b.kx.example.org";

interface Result {
  readonly keys: number;
  readonly arrived: number;
  readonly hashes: Record<string, string>;
  readonly milliseconds: { readonly least: number; readonly median: number; readonly most: number };
  readonly mailBytesIn: number;
  readonly mailBytesOut: number;
  readonly mailsOut: number;
  readonly kxBytes: number;
  readonly duplicatesOffered: number;
  readonly duplicatesSuppressed: number;
  readonly mailsAfterDuplicates: number;
}

/** Runs the demo; resolves with the exit code. */
export async function demoCommand(
  options: { readonly json: boolean },
  out: Output,
): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-demo-"));
  const old = new LegacySite(OLD);
  const far = new LegacySite(FAR);
  const gateways: GatewayProcess[] = [];
  const say = (text: string) => out.stderr(`${text}\n`);
  try {
    const result = await tour({ directory, old, far, gateways, say });
    out.stdout(options.json ? `${JSON.stringify(result)}\n` : report(result));
    return EXIT.ok;
  } catch (error) {
    out.stderr(`kxgw demo: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.software;
  } finally {
    await Promise.all(gateways.map((gateway) => gateway.end()));
    await Promise.all([old.stop(), far.stop()]);
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Stage {
  readonly directory: string;
  readonly old: LegacySite;
  readonly far: LegacySite;
  readonly gateways: GatewayProcess[];
  readonly say: (text: string) => void;
}

async function tour({ directory, old, far, gateways, say }: Stage): Promise<Result> {
  await old.start();
  const farPort = await far.start();
  const kxPort = await freePort();
  say("starting two gateways and two legacy sites on loopback ...");
  const start = async (name: string, lines: readonly string[]) => {
    const file = join(directory, `${name}.toml`);
    writeFileSync(file, lines.join("\n"));
    const gateway = await GatewayProcess.start(file);
    gateways.push(gateway);
    return gateway;
  };
  const a = await start("a", [
    ...common(SITE_A, "a.db"),
    `[kx]\nlisten = ["127.0.0.1:${kxPort}"]`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
    '[[peer]]\nname = "b"\nkx = "127.0.0.1:1"\nvia = "kx"',
  ]);
  const b = await start("b", [
    ...common(SITE_B, "b.db"),
    '[kx]\nlisten = ["127.0.0.1:0"]',
    `[outbound]\nrelay = "smtp://127.0.0.1:${farPort}"\nbounce = "pgp-bounces@b.kx.example.org"`,
    `[[peer]]\nname = "far"\nmail = "${FAR}"\naccept_from = ["127.0.0.1"]`,
    `[[peer]]\nname = "a"\nkx = "127.0.0.1:${kxPort}"\ndial = true\nvia = "kx"`,
  ]);
  await b.event("peer-connected");
  old.syncSites = [{ address: SITE_A, port: a.port("smtp") }];

  const fixtures = readdirSync(KEYS).map((name) => readFileSync(join(KEYS, name)));
  const keys = fixtures.flatMap((armored) => keysIn([armored]));
  say(`submitting ${keys.length} real keys at ${OLD} ...`);
  const submittedAt = new Map<string, number>();
  for (const armored of fixtures) {
    for (const { fingerprint } of keysIn([armored]))
      submittedAt.set(fingerprint, performance.now());
    await old.submit(armored);
  }
  await arrival(far, keys, say);
  const mailBytesIn = old.bytesOut;
  const mailsOut = far.received.length;
  const mailBytesOut = far.bytesIn;

  say("submitting all of them once more ...");
  for (const armored of fixtures) await old.submit(armored);
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  const totals = (await a.status()).totals as { duplicates: number };
  const peers = (await a.status()).neighbours as {
    peer?: { bytesIn: number; bytesOut: number };
  }[];
  const kxBytes = peers.reduce(
    (sum, { peer }) => sum + (peer === undefined ? 0 : peer.bytesIn + peer.bytesOut),
    0,
  );
  const duplicatesSuppressed = totals.duplicates;
  const mailsAfterDuplicates = far.received.length - mailsOut;
  if (duplicatesSuppressed !== keys.length || mailsAfterDuplicates !== 0) {
    throw new Error(
      `of ${keys.length} duplicates ${duplicatesSuppressed} were suppressed and ` +
        `${mailsAfterDuplicates} mails went out for them`,
    );
  }
  const times = far.received
    .flatMap(({ fingerprints, at }) => fingerprints.map((one) => at - (submittedAt.get(one) ?? at)))
    .sort((x, y) => x - y);
  const quantile = (share: number) =>
    Math.round(times[Math.floor((times.length - 1) * share)] ?? 0);
  return {
    keys: keys.length,
    arrived: far.hashes().size,
    hashes: Object.fromEntries(far.hashes()),
    milliseconds: { least: quantile(0), median: quantile(0.5), most: quantile(1) },
    mailBytesIn,
    mailBytesOut,
    mailsOut,
    kxBytes,
    duplicatesOffered: keys.length,
    duplicatesSuppressed,
    mailsAfterDuplicates,
  };
}

/** Waits until the site holds every packet of every key, which its update hash shows. */
async function arrival(
  site: LegacySite,
  keys: readonly TransferableKey[],
  say: (text: string) => void,
): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  let told = -1;
  for (;;) {
    const held = site.hashes();
    const missing = keys.filter((key) => held.get(key.fingerprint) !== updateHash(key).hash);
    const arrived = keys.length - missing.length;
    if (arrived !== told) say(`  ${arrived} of ${keys.length} arrived at ${site.address}`);
    told = arrived;
    if (missing.length === 0) return;
    if (performance.now() > deadline) {
      const names = missing.map(({ fingerprint }) => fingerprint).join(", ");
      throw new Error(`${missing.length} keys did not arrive whole at ${site.address}: ${names}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function common(site: string, log: string): string[] {
  return [
    `[site]\naddress = "${site}"`,
    `[log]\npath = "${log}"`,
    '[smtp]\nlisten = ["127.0.0.1:0"]',
    '[admin]\nlisten = "127.0.0.1:0"',
  ];
}

/** A port that is free now; the gateway that is told of it binds it at once. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address !== null ? address.port : 0;
}

function report(result: Result): string {
  const { milliseconds: ms, hashes } = result;
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
  return [
    "",
    ...Object.entries(hashes).map(([fingerprint, hash]) => `  ${fingerprint}  ${hash}`),
    "",
    `updates       ${result.arrived} of ${result.keys} arrived whole`,
    `mail to mail  ${ms.median} ms median (${ms.least} to ${ms.most} ms)`,
    `by mail       ${kib(result.mailBytesIn)} in, ${kib(result.mailBytesOut)} out in ${result.mailsOut} mails`,
    `by KX         ${kib(result.kxBytes)} both ways`,
    `duplicates    ${result.duplicatesSuppressed} of ${result.duplicatesOffered} suppressed, ${result.mailsAfterDuplicates} mails caused by them`,
    "",
  ].join("\n");
}
