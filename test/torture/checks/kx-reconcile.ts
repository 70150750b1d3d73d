/**
 * Hostile peers of KX/1.1 beside honest work (row 48): floods of RANGE, of ITEMS with keys that do
 * not exist and of ITEMS that nobody asked for, a log with another name at each connection,
 * receipts for numbers that do not exist, and OPEN at the wrong time. Each costs its sender a limit
 * and the others nothing. Control: questions within the rate are all answered at once.
 */
import Database from "better-sqlite3";
import { indexPath, KeyIndex } from "../../../src/log/key-index.js";
import type { Seq } from "../../../src/update.js";
import { KxVisitor } from "../../support/kx-visitor.js";
import { holdsWithin, pause } from "../../support/until.js";
import { Burden, whileAttacked } from "../burden.js";
import { type Check, type Context, goesOn } from "../check.js";
import { type KxStage, kxStage, rudeAddress } from "../kx-stage.js";
import { made } from "../material.js";
import { OctetsPeer } from "../octets-peer.js";

const KEYS = 20_000;
const HASH = "0".repeat(32);
/** `RECONCILING_LIMITS`: answers at once and a second, keys that are fetched in a day. */
const ANSWERS = { atOnce: 40, aSecond: 4 };
const FETCHED = 5000;
const TOLD = 1000;
const MOST_NOTICES = 200;
const MOST_LOGS = 100;
const MOST_DONES = 20_000;
/** How long questions are asked for. */
const FLOOD_MS = 4000;
const MOST_LINES = 20;
const MOST_WAIT_MS = 2000;
const MOST_GROWTH_MIB = 128;

export const kxReconcile: Check = {
  name: "reconcile",
  rows: [48],
  promise: "hostile peers of KX/1.1 cost their limits, and others nothing",
  runs: 20_000,
  share: 1,
  async run(context) {
    const repair = 'repair = "hkp://127.0.0.1:1"\n';
    const stage = await kxStage(context, 6, 100, context.directory, repair);
    fill(indexPath(stage.world.log));
    const faults: string[] = [];
    const figures: string[] = [];
    try {
      const control = await withinRate(stage);
      const before = await whileAttacked(stage.peer, pause(1000));
      for (const part of [questions, invented, names, receipts, openings]) {
        const burden = new Burden(stage.gateway.pid);
        const attack = part(context, stage, faults);
        const waits = await whileAttacked(stage.peer, attack);
        const { grewMib, cpu } = burden.end();
        const told = await attack;
        if (grewMib > MOST_GROWTH_MIB) faults.push(`${told}: grew by ${grewMib} MiB`);
        if (waits.unanswered > 0)
          faults.push(`${told}: ${waits.unanswered} honest requests failed`);
        if (waits.p99 > before.p99 + MOST_WAIT_MS)
          faults.push(`${told}: others wait ${waits.p99} ms`);
        const cost = `processor ${cpu.toFixed(1)} s, +${grewMib} MiB, others p99 ${waits.p99} ms`;
        figures.push(`${told} (${cost})`);
      }
      const one = made(context.seed, 5);
      stage.peer.add(one);
      const came = () => stage.gateway.events.some(({ hash }) => hash === one.update.hash);
      if (!(await holdsWithin(came, 20_000))) faults.push("honest work does not go on");
      return { faults, figures: figures.join("; "), control };
    } finally {
      await stage.end();
    }
  },
};

function fill(path: string): void {
  const index = KeyIndex.create(`${path}-new`, Date.now(), { seq: 0 as Seq | 0, name: HASH });
  index.apply(
    Array.from({ length: KEYS }, (_, n) => ({
      fingerprint: Buffer.from(fingerprint(n), "hex"),
      digest: Buffer.alloc(16, n),
    })),
  );
  index.replace(path);
}

/** Spread over all ranges. */
function fingerprint(n: number): string {
  const spread = (Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, "0");
  return `${spread}${n.toString(16)}`.padEnd(40, "0").toUpperCase();
}

function question(tag: string): string {
  const ranges = Array.from({ length: 128 }, (_, n) => {
    return `${n.toString(16).padStart(2, "0").toUpperCase()} 1 ${HASH}`;
  });
  return `${tag}|RANGE|${ranges.join("|")}|.|`;
}

async function withinRate({ port }: KxStage) {
  const peer = new OctetsPeer({ port, from: rudeAddress(5) });
  await peer.opened;
  const tags = Array.from({ length: 10 }, () => peer.tag());
  for (const tag of tags) await peer.say(question(tag));
  const answered = () => tags.filter((tag) => peer.answers("ITEMS", tag).length === 1).length;
  await holdsWithin(() => answered() === tags.length, 10_000);
  const count = answered();
  peer.socket.destroy();
  const figures = `${count} of ${tags.length} questions within the rate answered`;
  return { caught: count === tags.length, figures };
}

/** As many questions as the gateway reads. */
async function questions(context: Context, { port }: KxStage, faults: string[]): Promise<string> {
  const peer = new OctetsPeer({ port, from: rudeAddress(0) });
  await peer.opened;
  const began = performance.now();
  let asked = 0;
  const flood = (async () => {
    for (; goesOn(context, asked) && !peer.isClosed; asked += 1)
      await peer.say(question(peer.tag()));
  })();
  // On a busy machine the first answers take longer.
  const isFast = () => peer.answers("ITEMS").length >= ANSWERS.atOnce;
  await Promise.all([pause(FLOOD_MS), holdsWithin(isFast, 20_000)]);
  const seconds = (performance.now() - began) / 1000;
  const answered = peer.answers("ITEMS").length;
  peer.socket.destroy();
  await flood;
  const most = ANSWERS.atOnce + ANSWERS.aSecond * seconds + 1;
  if (answered < ANSWERS.atOnce) faults.push(`${answered} questions were answered`);
  if (answered > most) faults.push(`${answered} questions were answered in ${seconds} s`);
  return `${asked} RANGEs of 128 ranges in ${seconds.toFixed(1)} s, ${answered} answered`;
}

/** Keys that nobody has, and answers to questions that nobody asked. */
async function invented(context: Context, stage: KxStage, faults: string[]): Promise<string> {
  const peer = new OctetsPeer({ port: stage.port, from: rudeAddress(1) });
  await peer.opened;
  let notices = 0;
  for (; notices < MOST_NOTICES && goesOn(context, notices); notices += 1) {
    const keys = Array.from({ length: TOLD }, (_, n) => {
      return `${fingerprint(1_000_000 + notices * TOLD + n)} ${HASH}`;
    });
    await peer.say(`${peer.tag()}|ITEMS|NOTIFY|${keys.join("|")}|.|`);
    await pause(0);
  }
  const tag = peer.tag();
  await peer.say(`${tag}|LIST|1|.|`);
  if (!(await holdsWithin(() => peer.answers("IHAVE", tag).length > 0, 60_000))) {
    faults.push("ITEMS NOTIFY end the connection");
  }
  for (let n = 0; n < 10; n += 1) await peer.say(`${peer.tag()}|ITEMS|zzzz|- 1 ${HASH}|.|`);
  if (!(await holdsWithin(() => peer.isClosed, 20_000))) faults.push("ten ITEMS unasked are fine");
  const wanted = repairsIn(stage.world.log);
  if (wanted > FETCHED) faults.push(`${wanted} invented keys are to be fetched`);
  return `${notices * TOLD} invented keys in ITEMS NOTIFY, ${wanted} in the queue of repairs`;
}

function repairsIn(path: string): number {
  const db = new Database(path, { readonly: true });
  try {
    return Number(db.prepare("SELECT count(*) FROM repairs").pluck().get());
  } finally {
    db.close();
  }
}

/** Another log at each connection. */
async function names(context: Context, { port }: KxStage, faults: string[]): Promise<string> {
  let [logs, lists, windows] = [0, 0, 0];
  const updates = [made(context.seed, 2), made(context.seed, 3)];
  for (; logs < MOST_LOGS && goesOn(context, logs); logs += 1) {
    const peer = new OctetsPeer({
      ...{ port, from: rudeAddress(2), updates },
      give: (self, tag, numbers) => {
        for (const number of numbers) {
          const one = updates[number - 1];
          if (one !== undefined) self.write(self.frame(tag, number, one));
        }
      },
    });
    if (!(await peer.opened)) {
      faults.push(`connection ${logs + 1} was refused`);
      break;
    }
    const tag = peer.tag();
    await peer.say(`${tag}|LIST|1|.|`);
    await holdsWithin(() => peer.answers("IHAVE", tag).length > 0, 10_000);
    // The first log is read to its end, so that there is a cursor to be dropped.
    const isRead = () => peer.answers("DONE").length > 0;
    if (logs === 0 && !(await holdsWithin(isRead, 10_000))) faults.push("no receipt came");
    const asked = peer.answers("LIST").length;
    lists += asked;
    if (asked > 0) windows += 1;
    peer.socket.destroy();
    await peer.closed;
  }
  // A log is listed anew at most once in ten minutes.
  if (windows > 3) faults.push(`the log was listed on ${windows} of ${logs} connections`);
  return `${logs} logs of other names in turn, listed on ${windows} connections (${lists} LISTs)`;
}

async function receipts(context: Context, { port, gateway }: KxStage, faults: string[]) {
  const peer = new OctetsPeer({ port, from: rudeAddress(3) });
  await peer.opened;
  const before = complaintsOf(gateway.events);
  let dones = 0;
  for (; dones < MOST_DONES && goesOn(context, dones); dones += 1) {
    await peer.say(`${peer.tag()}|DONE|${2_147_483_647 - dones}|-|.|`);
  }
  const tag = peer.tag();
  await peer.say(`${tag}|LIST|1|.|`);
  if (!(await holdsWithin(() => peer.answers("IHAVE", tag).length > 0, 60_000))) {
    faults.push("receipts end the connection");
  }
  if (peer.answers("ERROR").length > 0) faults.push("a receipt got an answer");
  peer.socket.destroy();
  const lines = complaintsOf(gateway.events) - before;
  if (lines === 0 || lines > MOST_LINES) faults.push(`${lines} lines about false receipts`);
  return `${dones} DONEs of numbers that do not exist, ${lines} lines`;
}

function complaintsOf(events: readonly { readonly event?: unknown }[]): number {
  return events.filter(({ event }) => event === "peer-complaint").length;
}

const HELO = "KX11|HELO|1.0|.|";
const NEWEST = "a001|IHAVE|NOTIFY|.|";
const OPEN = "a002|OPEN|features receipt|.|";
/** What is said, what is heard, and whether the connection ends. */
const TALKS: readonly (readonly [string, string, string, boolean])[] = [
  ["before HELO", OPEN, "551", true],
  ["in place of IHAVE", `${HELO}${OPEN}`, "551", true],
  ["twice", `${HELO}${NEWEST}${OPEN}${OPEN}`, "551", false],
  ["ten times", `${HELO}${NEWEST}${OPEN.repeat(11)}`, "551", true],
  ["of two logs", `${HELO}${NEWEST}a003|OPEN|log ${HASH}|log ${HASH}|.|`, "500", false],
  ["without the tag", `aaaa|HELO|1.0|.|${NEWEST}${OPEN}`, "500", false],
  ["after CLOSE", `${HELO}${NEWEST}a004|CLOSE|.|${OPEN}`, "CLOSE", true],
];

async function openings(_context: Context, { port }: KxStage, faults: string[]): Promise<string> {
  for (const [when, said, heard, isEnd] of TALKS) {
    const visitor = await KxVisitor.open(port, rudeAddress(4));
    await visitor.say(said);
    const isAnswered = () => visitor.text.includes(`\r\n${heard}\r\n`);
    if (!(await holdsWithin(isAnswered, 10_000))) faults.push(`OPEN ${when}: no ${heard}`);
    if (isEnd) await holdsWithin(() => visitor.isClosed, 10_000);
    else {
      await visitor.say("z999|LIST|1|.|");
      await holdsWithin(() => visitor.text.includes("\r\nz999\r\n"), 10_000);
    }
    if (visitor.isClosed !== isEnd) faults.push(`OPEN ${when}: ${isEnd ? "goes on" : "ends"}`);
    visitor.socket.destroy();
    await visitor.closed;
  }
  return `OPEN at ${TALKS.length} wrong times`;
}
