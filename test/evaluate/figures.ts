/**
 * What the evaluation measures: rounds in which the mail path and the KX path take the same updates
 * in turn, and a small traced run of each for what only a tracer sees. Every round is a sample of
 * its own, so that a load on the machine falls on both paths.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Update } from "../../src/update.js";
import type { Material } from "../bench/material.js";
import { pause } from "../support/until.js";
import { KxPath } from "./kx-path.js";
import { MailPath } from "./mail-path.js";
import { repeatCount, repeatsOf, spreadOut } from "./material.js";
import { perOne, type Sample } from "./sample.js";
import { type Calls, callsIn, traceInto } from "./trace.js";

export interface Sizes {
  readonly rounds: number;
  /** New updates in a round. */
  readonly updates: number;
  /** New updates before the first round, for each path; a program that has just begun is slow. */
  readonly warmUp: { readonly mail: number; readonly kx: number };
  /** New updates in the traced run. */
  readonly traced: number;
  /** How long a receive cursor is waited for: it is stored a minute late. */
  readonly cursorMs: number;
  /** How long the second gateway is watched while nothing happens. */
  readonly idleMs: number;
}

/** Cost of one update, or of one offer of a known one. */
export interface Round {
  readonly mailNew: Sample;
  readonly mailKnown: Sample;
  /** The keyserver's own gateway. */
  readonly kxNew: Sample;
  /** The gateway before it, which took the update by mail. */
  readonly firstNew: Sample;
  readonly kxKnown: Sample;
  /** The same announcements, 500 a message. */
  readonly kxKnownAtOnce: Sample;
  /** CPU of the second gateway in a second in which nothing happens, microseconds. */
  readonly kxIdleUs: number;
}

export interface Traced {
  readonly mailNew: Calls;
  readonly mailKnown: Calls;
  readonly kxNew: Calls;
  readonly firstNew: Calls;
  readonly kxKnown: Calls;
}

/** What happens while a server is down for so many updates. */
export interface Outage {
  readonly updates: number;
  /** Mails that wait in the sender's queue for the one that is down. */
  readonly mailsWaiting: number;
  /** Bytes that the gateways exchanged when it was back. */
  readonly kxBytes: number;
  readonly kxConnections: number;
}

export interface Figures {
  readonly rounds: readonly Round[];
  readonly traced: Traced;
  readonly outage: Outage;
  /** New updates in all rounds, how many of them onak mailed on, and the offers after them. */
  readonly updates: number;
  readonly forwarded: number;
  readonly repeats: number;
  /** Bodies that the second gateway asked for although it had them. */
  readonly askedInVain: number;
  /** What our relays counted on the second's connections, and what it counted itself. */
  readonly wire: { readonly relays: number; readonly gateway: number };
}

/** How often the burst of known announcements is said: one costs less than can be measured. */
const BURSTS = 10;

export interface Setting {
  readonly directory: string;
  /** The built program. */
  readonly program: string;
  readonly material: Material;
  readonly sizes: Sizes;
  readonly say: (text: string) => void;
}

export async function measure(setting: Setting): Promise<Figures> {
  const { sizes, material, say } = setting;
  const { rounds, updates, warmUp, traced } = sizes;
  const wanted = warmUp.kx + rounds * updates + 2 * traced + 1;
  const all = spreadOut(material, wanted);
  if (all.length < wanted) throw new Error(`there are only ${all.length} updates, not ${wanted}`);
  const take = (count: number) => all.splice(0, count);
  say("a traced run of each, for processes and fsyncs");
  const calls = await traceBoth(setting, take(traced));
  say("and the same things untraced");
  return { ...(await rate(setting, take, warmUp.kx)), traced: calls };
}

async function rate(setting: Setting, take: (count: number) => Update[], warm: number) {
  const { directory, program, sizes, say } = setting;
  const mail = await MailPath.start(join(directory, "mail"));
  try {
    const kx = await KxPath.start(join(directory, "kx"), { program });
    try {
      const first = take(warm);
      await kx.offerNew(first);
      await kx.offerKnown(repeatsOf(first));
      await kx.offerKnownAtOnce(repeatsOf(first));
      await mail.offerNew(first.slice(0, sizes.warmUp.mail));
      await mail.offerKnown(repeatsOf(first.slice(0, sizes.warmUp.mail)));
      const before = mail.forwarded;
      const rounds: Round[] = [];
      for (let n = 0; n < sizes.rounds; n++) {
        rounds.push(await roundOf(mail, kx, take(sizes.updates), sizes.idleMs));
        say(`round ${n + 1} of ${sizes.rounds}: ${inWords(rounds.at(-1))}`);
      }
      const { asked, bytes } = await kx.counted();
      const relays = kx.wireBytes;
      const forwarded = (mail.forwarded - before) / 4;
      const updates = sizes.rounds * sizes.updates;
      const repeats = sizes.rounds * repeatCount(sizes.updates);
      const outage = await goDown(mail, kx, take(sizes.traced));
      const wire = { relays, gateway: bytes };
      return { rounds, outage, updates, forwarded, repeats, askedInVain: asked, wire };
    } finally {
      await kx.stop();
    }
  } finally {
    await mail.stop();
  }
}

async function roundOf(
  mail: MailPath,
  kx: KxPath,
  updates: readonly Update[],
  idleMs: number,
): Promise<Round> {
  const repeats = repeatsOf(updates);
  const of = async (look: () => Sample, work: () => Promise<void>, count: number) => {
    const before = look();
    await work();
    return perOne(before, look(), count);
  };
  const ofMail = () => mail.sample();
  const ofSecond = () => kx.sampleSecond();
  const ofFirst = () => kx.sampleFirst();
  const mailNew = await of(ofMail, () => mail.offerNew(updates), updates.length);
  const firstBefore = ofFirst();
  const kxNew = await of(ofSecond, () => kx.offerNew(updates), updates.length);
  const firstNew = perOne(firstBefore, ofFirst(), updates.length);
  // What was put off is done before it is the turn of the next figure.
  await pause(1500);
  const mailKnown = await of(ofMail, () => mail.offerKnown(repeats), repeats.length);
  const kxKnown = await of(ofSecond, () => kx.offerKnown(repeats), repeats.length);
  await pause(1500);
  const many = Array.from({ length: BURSTS }, () => repeats).flat();
  const kxKnownAtOnce = await of(ofSecond, () => kx.offerKnownAtOnce(many), many.length);
  await pause(1500);
  const idle = await of(ofSecond, () => pause(idleMs), idleMs / 1000);
  return { mailNew, mailKnown, kxNew, firstNew, kxKnown, kxKnownAtOnce, kxIdleUs: idle.cpuUs };
}

async function traceBoth(
  { directory, program, sizes }: Setting,
  updates: readonly Update[],
): Promise<Traced> {
  const traces = join(directory, "traces");
  mkdirSync(traces);
  const file = (name: string) => join(traces, name);
  const during = async (name: string, work: () => Promise<void>, count: number): Promise<Calls> => {
    const before = callsIn([file(name)]);
    await work();
    return perOne(before, callsIn([file(name)]), count);
  };
  const [warm, rest] = [updates.slice(0, 1), updates.slice(1)];
  const repeats = repeatsOf(rest);
  const mail = await MailPath.start(join(directory, "traced-mail"), traceInto(file("mail")));
  const mailCalls = await (async () => {
    await mail.offerNew(warm);
    const mailNew = await during("mail", () => mail.offerNew(rest), rest.length);
    const mailKnown = await during("mail", () => mail.offerKnown(repeats), repeats.length);
    return { mailNew, mailKnown };
  })().finally(() => mail.stop());
  const under = (name: string) => traceInto(file(name));
  const kx = await KxPath.start(join(directory, "traced-kx"), { program, under });
  const kxCalls = await (async () => {
    await kx.offerNew(warm);
    await pause(1500);
    const oneByOne = async () => {
      for (const update of rest) await kx.offerNew([update]);
      await pause(1500);
    };
    const before = callsIn([file("first")]);
    const kxNew = await during("second", oneByOne, rest.length);
    const firstNew = perOne(before, callsIn([file("first")]), rest.length);
    const known = async () => {
      await kx.offerKnown(repeats);
      await pause(sizes.cursorMs);
    };
    const kxKnown = await during("second", known, repeats.length);
    return { kxNew, firstNew, kxKnown };
  })().finally(() => kx.stop());
  return { ...mailCalls, ...kxCalls };
}

/** One neighbour of the mail path takes nothing, and the second gateway is down. */
async function goDown(mail: MailPath, kx: KxPath, updates: readonly Update[]): Promise<Outage> {
  const mailsWaiting = await mail.offerNewWhileDown("n5", updates);
  await kx.stopSecond();
  const before = kx.between;
  await kx.mail(updates);
  await kx.startSecond(updates.length);
  const after = kx.between;
  return {
    updates: updates.length,
    mailsWaiting,
    kxBytes: after.bytes - before.bytes,
    kxConnections: after.connections - before.connections,
  };
}

function inWords(round: Round | undefined): string {
  if (round === undefined) return "";
  const us = (value: Sample) => `${value.cpuUs.toFixed(0)} us`;
  const { mailNew, mailKnown, kxNew, kxKnown, kxKnownAtOnce } = round;
  const [news, known] = [`${us(mailNew)} : ${us(kxNew)}`, `${us(mailKnown)} : ${us(kxKnown)}`];
  return `new ${news}, known ${known}, at once ${kxKnownAtOnce.cpuUs.toFixed(1)} us`;
}
