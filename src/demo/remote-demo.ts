/**
 * The demo with gateways and a keyserver that run already, such as those of docker-compose.yml:
 * real keys are mailed to the gateway at one end and requested, over HKP, from the keyserver at the
 * other. Then all of them are sent again, and the gateway must know them. It starts nothing. The
 * keys stay in the keyserver, so that a second run finds them known.
 */
import { createTransport } from "nodemailer";
import type { Endpoint } from "../config/config.js";
import { composeIncremental } from "../mail/compose.js";
import { assembleKey, keyComponents } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import type { SampleKey, Spread } from "./sample-keys.js";
import { readSampleKeys, spread } from "./sample-keys.js";
import { keysIn } from "./site.js";

/** Our address as a site; the gateway identifies us by our IP address. */
const TOURIST = "pgp-public-keys@tour.example.net";
/** Time without an arrival after which the demo fails; SKS reads mails every ten seconds. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 250;
const ANSWER_MS = 10_000;

/** Start and end of the demo. */
export interface Stations {
  readonly smtp: Endpoint;
  /** The site address of the gateway at the start. */
  readonly site: string;
  /** HTTP URL of the keyserver at the end. */
  readonly keyserver: string;
}

/** The result. Times are from the submission of a key until the keyserver has it. */
export interface RemoteDemo {
  readonly keys: number;
  /** Of these, new to the first gateway. */
  readonly news: number;
  readonly milliseconds: Spread;
  readonly duplicatesOffered: number;
  readonly duplicatesKnown: number;
}

/** Runs the demo and passes its progress to `say`. Rejects with the reason if a key is missing. */
export async function remoteDemo(
  stations: Stations,
  say: (text: string) => void,
  stop: AbortSignal,
): Promise<RemoteDemo> {
  const sampleKeys = readSampleKeys();
  const { host, port } = stations.smtp;
  say(`mailing ${sampleKeys.length} real keys to ${stations.site} ...`);
  const sentAt = new Map<string, number>();
  let news = 0;
  for (const exhibit of sampleKeys) {
    stop.throwIfAborted();
    sentAt.set(exhibit.fingerprint, performance.now());
    if (await isNews(exhibit, stations, host, port)) news += 1;
  }
  const times = await arrivals(sampleKeys, sentAt, stations, say, stop);
  say("mailing all of them once more ...");
  let known = 0;
  for (const exhibit of sampleKeys) {
    stop.throwIfAborted();
    if (!(await isNews(exhibit, stations, host, port))) known += 1;
  }
  if (known !== sampleKeys.length) {
    throw new Error(`of ${sampleKeys.length} duplicates the gateway knew ${known}`);
  }
  return {
    ...{ keys: sampleKeys.length, news, milliseconds: spread(times) },
    ...{ duplicatesOffered: sampleKeys.length, duplicatesKnown: known },
  };
}

/** Mails a key, and returns from the reply whether the gateway knew it. */
async function isNews(
  { armored, fingerprint }: SampleKey,
  { site }: Stations,
  host: string,
  port: number,
): Promise<boolean> {
  const raw = composeIncremental({
    ...{ to: site, from: TOURIST, site: TOURIST, trail: [], date: Date.now() },
    messageId: `<${fingerprint}.${Date.now()}@tour.example.net>`,
    armor: Buffer.from(armored).toString("latin1"),
  });
  const transport = createTransport({ host, port, ignoreTLS: true });
  const envelope = { from: TOURIST, to: site };
  const { response } = await transport.sendMail({ raw: Buffer.from(raw), envelope });
  transport.close();
  return !response.includes("0 new");
}

/** Waits until the keyserver has every packet of every key; returns the time of each. */
async function arrivals(
  sampleKeys: readonly SampleKey[],
  sentAt: ReadonlyMap<string, number>,
  { keyserver }: Stations,
  say: (text: string) => void,
  stop: AbortSignal,
): Promise<number[]> {
  const times = new Map<string, number>();
  let toldAt = performance.now();
  for (;;) {
    const before = times.size;
    for (const exhibit of sampleKeys) {
      stop.throwIfAborted();
      const { fingerprint } = exhibit;
      if (times.has(fingerprint) || !(await isThere(exhibit, keyserver))) continue;
      times.set(fingerprint, performance.now() - (sentAt.get(fingerprint) ?? 0));
    }
    if (times.size > before) {
      say(`  ${times.size} of ${sampleKeys.length} arrived at ${keyserver}`);
      toldAt = performance.now();
    }
    if (times.size === sampleKeys.length) return [...times.values()];
    if (performance.now() - toldAt > PATIENCE_MS) {
      const missing = sampleKeys.filter((one) => !times.has(one.fingerprint));
      const names = missing.map(({ fingerprint }) => fingerprint).join(", ");
      throw new Error(`did not arrive complete at ${keyserver}: ${names}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Whether the keyserver has all packets of a key; it may have more. */
async function isThere({ key, fingerprint }: SampleKey, keyserver: string): Promise<boolean> {
  const url = `${keyserver}/pks/lookup?op=get&options=mr&search=0x${fingerprint}`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
  const armored = Buffer.from(await answer.arrayBuffer());
  const held = answer.ok
    ? keysIn([armored]).find((one) => one.fingerprint === fingerprint)
    : undefined;
  if (held === undefined) return false;
  const merged = assembleKey([...keyComponents(held), ...keyComponents(key)]);
  return updateHash(merged).hash === updateHash(held).hash;
}
