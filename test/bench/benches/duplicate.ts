/**
 * Duplicates: what it costs a gateway to hear of an update that it holds. By mail it comes again
 * from the same sender with one more site in its trail, as over another path, beside a new one.
 * Over KX it is announced, one by one every 20 ms, beside a floor that reads the line and looks it
 * up.
 */
import { join } from "node:path";
import type { Update } from "../../../src/update.js";
import { KxPeer } from "../../support/kx-peer.js";
import { pause, until } from "../../support/until.js";
import {
  atMost,
  type Bench,
  type Context,
  type Figure,
  type Goal,
  median,
  type Outcome,
  ratios,
  rotated,
} from "../bench.js";
import { FloorProcess } from "../floor-process.js";
import { FloorStore } from "../floors/work.js";
import { canCount, fsyncsIn } from "../fsyncs.js";
import { Gateways, OLD } from "../gateways.js";
import { deliverAll, WARM_UP } from "../mailing.js";
import { mailOf, shuffled } from "../material.js";
import { cpuUs, meter } from "../processes.js";
import type { Side } from "../sides.js";

/** Lines in a notice, as our own announcer writes them under load. */
const LINES = 500;
const SPACING_MS = 20;
const WARM_SPACING_MS = 2;
/** V8 makes its heap small again in the first 10 s without much work, which costs some 50 ms. */
const COLLECTED_MS = 15_000;
/** Longer than what is gathered for a second takes to be written. */
const SETTLE_MS = 2500;
const OTHER = "pgp-public-keys@other.example.net";

export const duplicate: Bench = {
  name: "duplicate",
  question: "What does a duplicate mail cost, and the announcement of a known update?",
  run,
};

const KNOWN = { known: 40_000, warmLone: 4000, lone: 250 };
const SIZES = { ...KNOWN, warmUp: WARM_UP, mails: 500, counted: 300 };
const QUICK = { known: 2000, warmLone: 50, lone: 20, warmUp: 100, mails: 50, counted: 30 };

type Costs = Record<"fresh" | "again" | "freshBytes" | "againBytes", number[]>;

async function run(context: Context): Promise<Outcome> {
  const { sides } = context;
  const mails = await byMail(context);
  const counts = canCount() ? await Promise.all(sides.map((one) => fsyncs(context, one))) : [];
  const lines = await overKx(context);
  const figures: Figure[] = [];
  const goals: Goal[] = [];
  const kB = (values: readonly number[]) => values.map((bytes) => bytes / 1000);
  for (const [n, { label }] of sides.entries()) {
    const [costs, count, line] = [mails[n], counts[n], lines.sides[n]];
    if (costs === undefined || line === undefined) continue;
    const share = ratios(costs.again, costs.fresh);
    const alone = ratios(line.lone, lines.floor);
    figures.push(
      { name: `CPU, duplicate : new mail${label}`, unit: "", values: share },
      { name: `CPU of a duplicate mail${label}`, unit: "us", values: costs.again },
      { name: `CPU of a new mail${label}`, unit: "us", values: costs.fresh },
      { name: `written for a duplicate mail${label}`, unit: "kB", values: kB(costs.againBytes) },
      { name: `written for a new mail${label}`, unit: "kB", values: kB(costs.freshBytes) },
      ...(count === undefined
        ? []
        : [
            { name: `fsyncs of a duplicate mail${label}`, unit: "", values: [count.again] },
            { name: `fsyncs of a new mail${label}`, unit: "", values: [count.fresh] },
          ]),
      { name: `lone announcement, ours : floor${label}`, unit: "", values: alone },
      { name: `CPU of a lone announcement${label}`, unit: "us", values: line.lone },
      { name: `CPU of an announcement, ${LINES} a message${label}`, unit: "us", values: line.many },
    );
    if (label !== "") continue;
    if (count !== undefined) {
      goals.push(atMost("a duplicate mail costs no fsync", count.again, 0.02));
    }
    goals.push(
      atMost("at most 0.2 kB written for it", median(costs.againBytes) / 1000, 0.2, " kB"),
      atMost("at most 0.6 of the CPU of a new mail", median(share), 0.6),
      atMost("a lone announcement at most twice the floor", median(alone), 2),
    );
  }
  figures.push({ name: "CPU of a lone announcement, floor", unit: "us", values: lines.floor });
  const { known, warmUp, mails: count, warmLone, lone } = sizesOf(context);
  return {
    input:
      `${warmUp} mails as warm-up; a turn is ${count} new mails and the same again, ` +
      `one at a time; ${known} known updates, ` +
      `and a turn is ${lone} of them announced ${SPACING_MS} ms apart, after ${warmLone} alone ` +
      `as warm-up and ${COLLECTED_MS / 1000} s of rest`,
    figures,
    goals,
  };
}

function sizesOf({ quick }: Context) {
  return quick ? QUICK : SIZES;
}

const PEER = `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`;

/** A duplicate mail beside a new one, for each side by turns. */
async function byMail(context: Context): Promise<Costs[]> {
  const { material, runs, say, sides } = context;
  const { warmUp, mails: count } = sizesOf(context);
  const updates = material.updates(warmUp + runs * count);
  const gateways = new Gateways(context);
  try {
    const targets: { pid: number; port: number; costs: Costs }[] = [];
    for (const side of sides) {
      const { pid, port } = await startPlain(gateways, side);
      await deliverAll(
        port,
        updates.slice(0, warmUp).map((update, n) => mailOf(update, `warm.${n}`)),
      );
      const costs = { fresh: [], again: [], freshBytes: [], againBytes: [] };
      targets.push({ pid, port, costs });
    }
    // The code of duplicates has to be warm too.
    const known = shuffled(updates.slice(0, warmUp), 2).slice(0, warmUp / 2);
    for (const { port } of targets) await deliverAll(port, known.map(again));
    for (let turn = 0; turn < runs; turn++) {
      const part = updates.slice(warmUp + turn * count, warmUp + (turn + 1) * count);
      const fresh = part.map((update, n) => mailOf(update, `new.${turn}.${n}`));
      const repeated = shuffled(part, 3).map(again);
      for (const { pid, port, costs } of rotated(targets, turn)) {
        for (const [mails, cpu, bytes] of [
          [fresh, costs.fresh, costs.freshBytes],
          [repeated, costs.again, costs.againBytes],
        ] as const) {
          const spent = meter(pid);
          await deliverAll(port, mails, 1);
          // What was gathered is part of what they cost.
          await pause(SETTLE_MS);
          const one = spent(mails.length);
          cpu.push(one.cpu);
          bytes.push(one.bytes);
        }
        say(`new ${costs.fresh.at(-1)?.toFixed(0)}, again ${costs.again.at(-1)?.toFixed(0)} us`);
      }
    }
    return targets.map(({ costs }) => costs);
  } finally {
    await gateways.end();
  }
}

/** A mail that comes a second time, with one more site that has it. */
function again(update: Parameters<typeof mailOf>[0], n: number): string {
  return mailOf(update, `again.${n}`, [OTHER]);
}

async function startPlain(gateways: Gateways, side: Side, fsyncs?: string) {
  const traced = fsyncs === undefined ? {} : { fsyncs };
  const gateway = await gateways.start(side, { name: "plain", lines: [PEER], ...traced });
  return { pid: gateway.pid, port: gateway.port("smtp") };
}

/** Fsyncs of a new and of a duplicate mail, in a run of its own under strace. */
async function fsyncs(context: Context, side: Side): Promise<{ fresh: number; again: number }> {
  const { material, directory } = context;
  const { counted } = sizesOf(context);
  const updates = material.updates(counted);
  const file = join(directory, `fsyncs${side.label}`);
  const gateways = new Gateways(context);
  try {
    const { port } = await startPlain(gateways, side, file);
    const count = async (mails: readonly string[]) => {
      const before = fsyncsIn(file);
      await deliverAll(port, mails, 1);
      await pause(SETTLE_MS);
      return (fsyncsIn(file) - before) / mails.length;
    };
    const fresh = await count(updates.map((update, n) => mailOf(update, `new.${n}`)));
    return { fresh, again: await count(updates.map(again)) };
  } finally {
    await gateways.end();
  }
}

/** Announces updates one by one. */
async function announceEach(peer: KxPeer, updates: readonly Update[], spacingMs: number) {
  const began = performance.now();
  for (const [n, update] of updates.entries()) {
    peer.announce([update], 1);
    await pause(Math.max(0, began + (n + 1) * spacingMs - performance.now()));
  }
}

/** Announcements of known updates: to the gateways and to the floor, by turns. */
async function overKx(context: Context) {
  const { material, runs, say, sides, directory, build } = context;
  const { known, warmLone, lone } = sizesOf(context);
  const updates = material.updates(known);
  const file = join(directory, "announced.db");
  const store = new FloorStore(file);
  store.add(
    updates.map(({ hash, digest, body }) => {
      return {
        hash: Buffer.from(hash, "hex"),
        digest: Buffer.from(digest, "hex"),
        body: Buffer.from(body),
      };
    }),
  );
  store.close();
  const gateways = new Gateways(context);
  const peers: KxPeer[] = [];
  const [floorPeer, floorLone]: [KxPeer, number[]] = [new KxPeer(), []];
  let floor: FloorProcess | undefined;
  try {
    floor = FloorProcess.start(build, "announce", [String(await floorPeer.start()), file]);
    const targets = [{ peer: floorPeer, pid: floor.pid, lone: floorLone, many: [] as number[] }];
    peers.push(floorPeer);
    for (const side of sides) {
      const peer = new KxPeer();
      peers.push(peer);
      const port = await peer.start();
      const lines = [
        '[kx]\nlisten = ["127.0.0.1:0"]',
        `[[peer]]\nname = "kx"\nkx = "127.0.0.1:${port}"\ndial = true\nvia = "kx"`,
      ];
      const { pid } = await gateways.start(side, { name: "known", updates, lines });
      targets.push({ peer, pid, lone: [], many: [] });
    }
    await until(() => peers.every(({ connected }) => connected));
    let announced = 0;
    for (const { peer } of targets) {
      peer.announce(updates, LINES);
      if (peer !== floorPeer) await peer.list(1, 1);
    }
    announced += updates.length;
    for (let turn = 0; turn < runs; turn++) {
      for (const { peer, pid, many } of targets.slice(1)) {
        await pause(500);
        const before = cpuUs(pid);
        peer.announce(updates, LINES);
        // The answer to a question behind them says that all of them were read.
        await peer.list(1, 1);
        many.push((cpuUs(pid) - before) / updates.length);
      }
    }
    // The code of short messages has to be warm too; then V8 collects the garbage of all that.
    const warm = shuffled(updates, 3).slice(0, warmLone);
    for (const { peer } of targets) await announceEach(peer, warm, WARM_SPACING_MS);
    announced += warm.length;
    await pause(COLLECTED_MS);
    for (let turn = 0; turn < runs; turn++) {
      const some = shuffled(updates, 10 + turn).slice(0, lone);
      for (const { peer, pid, lone: spent } of rotated(targets, turn)) {
        await pause(1500);
        const before = cpuUs(pid);
        await announceEach(peer, some, SPACING_MS);
        spent.push((cpuUs(pid) - before) / some.length);
        if (peer !== floorPeer && (await peer.list(1, 1)) === undefined) {
          throw new Error("the gateway does not answer");
        }
      }
      announced += some.length;
      say(`alone ${targets.map((one) => one.lone.at(-1)?.toFixed(0)).join(", ")} us`);
    }
    const found = Number(await floor.end());
    if (found !== announced) throw new Error(`the floor found ${found} of ${announced}`);
    return { floor: floorLone, sides: targets.slice(1) };
  } finally {
    floor?.stop();
    await gateways.end();
    await Promise.all(peers.map((peer) => peer.stop()));
  }
}
