/**
 * The tour through gateways and a keyserver that run already, such as those of docker-compose.yml:
 * real keys are mailed to the gateway at one end and looked for, over HKP, in the keyserver at the
 * other. Then all of them once more, which the gateway has to know. Starts nothing. What it sends
 * stays where it arrives; sent a second time, the keys are known from the start.
 */
import { createTransport } from "nodemailer";
import type { Endpoint } from "../config/config.js";
import { composeIncremental } from "../mail/compose.js";
import { assembleKey, keyComponents } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import type { SampleKey, Spread } from "./sample-keys.js";
import { readSampleKeys, spread } from "./sample-keys.js";
import { keysIn } from "./site.js";

/** Our name as a site, which the gateway needs in no list: it knows us by our address. */
const TOURIST = "pgp-public-keys@tour.example.net";
/** So long may nothing arrive before we give up; SKS looks for mails every ten seconds. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 250;
const ANSWER_MS = 10_000;

/** Where the tour begins and ends. */
export interface Stations {
  readonly smtp: Endpoint;
  /** The site address of the gateway there. */
  readonly site: string;
  /** http URL of the keyserver at the other end. */
  readonly keyserver: string;
}

/** What travelled. Times are from the submission of a key to when it was seen. */
export interface RemoteDemo {
  readonly keys: number;
  /** Of these, new to the first gateway. */
  readonly news: number;
  readonly milliseconds: Spread;
  readonly duplicatesOffered: number;
  readonly duplicatesKnown: number;
}

/** Goes the way, telling its progress to `say`. Rejects with the reason when a key is missing. */
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

/** Mails a key, and tells from the reply whether the gateway had it. */
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

/** Waits until the keyserver holds every packet of every key; how long each took. */
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
      throw new Error(`did not arrive whole at ${keyserver}: ${names}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Whether the keyserver has all of a key, which may be more than what we sent. */
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
