/**
 * Three gateways of one site over PostgreSQL with a synchronous standby, under load: one is killed
 * (-9) at a random moment, every sixth time the network between the one that sends and the database
 * is cut without a word, every twelfth time the primary is killed and the standby promoted. After
 * each: every update that was answered 250 is in the database, numbers have no gap and keep their
 * updates, and at most one mail was repeated for each time that the lane was taken over. Two KX
 * peers read the log meanwhile, one that is dialled and one that goes from gateway to gateway; they
 * notice reconnects and nothing else. At the end all copies are equal, and the site and both peers
 * have everything. Controls: a gateway that answers before the commit, one that keeps its leases,
 * one that does not announce every number, a database with a number that is missing.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, goesOn } from "../check.js";
import { ClusterStage, entriesIn, type Node } from "../cluster-stage.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";

const LONGEST_LOAD_MS = 400;
/** After the fault, so that mail goes through what is left. */
const REST_MS = 300;
const CUTS_EVERY = 6;
const FAILOVERS_EVERY = 12;
/** Longer than a session lives without a word, so that the lane is taken over. */
const CUT_MS = 12_000;
const SETTLE_MS = 120_000;
const READ_MS = 30_000;
const CONTROL_RUNS = 4;

type Fault = "kill" | "cut" | "failover";

/** What was promised, and how the database keeps it. */
class Promises {
  readonly acknowledged = new Set<string>();
  readonly faults: string[] = [];
  lost = 0;
  repeats = 0;
  #before = new Map<number, string>();

  get kept(): number {
    return this.#before.size;
  }

  /** Compares with the updates by their numbers. */
  audit(entries: ReadonlyMap<number, string>): void {
    const hashes = new Set(entries.values());
    if (hashes.size !== entries.size) this.faults.push("an update has two numbers");
    for (let number = 1; number <= entries.size; number += 1) {
      if (!entries.has(number)) this.faults.push(`number ${number} is missing`);
    }
    for (const [number, hash] of this.#before) {
      if (entries.get(number) !== hash) this.faults.push(`number ${number} has another update`);
    }
    this.#before = new Map(entries);
    this.lost = [...this.acknowledged].filter((hash) => !hashes.has(hash)).length;
  }
}

interface Run {
  readonly context: Context;
  readonly stage: ClusterStage;
  readonly promises: Promises;
  readonly n: { next: number };
  readonly done: Record<Fault, number>;
}

export const cluster: Check = {
  name: "cluster",
  rows: [],
  promise: "three gateways on one database: kills, cuts and a failover lose and repeat nothing",
  runs: 100,
  share: 8,
  async run(context) {
    const { directory, build } = context;
    const run = begun(context, await ClusterStage.make(directory, build));
    const { stage, promises, done } = run;
    const faults: string[] = [];
    const beganAt = performance.now();
    let runs = 0;
    try {
      while (goesOn(context, runs, 3)) {
        runs += 1;
        await once(run, faultOf(runs, context));
        if (promises.lost + promises.faults.length > 0) break;
        if (stage.readers.some(({ faults }) => faults.length > 0)) break;
        if (runs % 10 === 0) context.say(`${runs} faults, ${promises.kept} updates`);
      }
      faults.push(...(await settle(run)), ...promises.faults.slice(0, 5));
      const takeovers = stage.takes - 1;
      if (promises.lost > 0) faults.push(`${promises.lost} acknowledged updates are not there`);
      if (stage.sink.repeats > takeovers) {
        faults.push(`${stage.sink.repeats} mails repeated in ${takeovers} takeovers`);
      }
    } finally {
      await stage.end();
    }
    const seconds = Math.round((performance.now() - beganAt) / 1000);
    const controls = await provoke(context);
    return {
      faults,
      figures:
        `${done.kill} gateways killed, ${done.cut} cut off, ${done.failover} failovers in ` +
        `${seconds} s; ${promises.acknowledged.size} answered 250, ${promises.lost} lost, ` +
        `${promises.kept} numbers without a gap; ${stage.sink.received.size} updates mailed, ` +
        `${stage.sink.repeats} mails repeated in ${stage.takes - 1} takeovers; two KX peers with ` +
        `${stage.readers.map(({ greetings }) => greetings).join(" and ")} connections read ` +
        `${stage.readers.map(({ bodies }) => bodies.size).join(" and ")} updates in order`,
      control: controls,
    };
  },
};

function begun(context: Context, stage: ClusterStage): Run {
  const done = { kill: 0, cut: 0, failover: 0 };
  return { context, stage, promises: new Promises(), n: { next: 0 }, done };
}

function faultOf(run: number, { runs }: Context): Fault {
  // In small, one of each.
  if (run % FAILOVERS_EVERY === 0 || (runs <= 3 && run === 3)) return "failover";
  return run % CUTS_EVERY === 0 || (runs <= 3 && run === 2) ? "cut" : "kill";
}

/** Load, a fault, and what is true after it. */
async function once(run: Run, fault: Fault): Promise<void> {
  const { context, stage, promises, done } = run;
  const { random } = context;
  const sender = await stage.sender();
  const load = { on: true };
  const clients = stage.nodes.map((node) => sendMails(run, node, load));
  clients.push(offerUpdates(run, load));
  await pause(random() * LONGEST_LOAD_MS);
  // Not to a gateway whose database is about to go: its copy may be behind.
  if (fault !== "failover") stage.moveVisitor();
  // The one that sends is the one that matters most.
  const victim = random() < 0.5 ? sender : (stage.nodes[Math.floor(random() * 3)] ?? sender);
  if (fault === "kill") await stage.kill(victim);
  else if (fault === "failover") await stage.failOver();
  else {
    sender.wire.freeze();
    await stage.sender(sender);
    await pause(random() * (CUT_MS / 4));
    sender.wire.thaw();
  }
  await pause(REST_MS);
  load.on = false;
  await Promise.all(clients);
  if (fault === "kill") await stage.restart(victim);
  done[fault] += 1;
  promises.audit(stage.entries());
}

/** One client: mail after mail on one connection, again where the gateway said "later". */
async function sendMails(run: Run, node: Node, load: { readonly on: boolean }): Promise<void> {
  const { context, promises, n } = run;
  const { seed } = context;
  while (load.on) {
    let client: SmtpClient | undefined;
    try {
      client = await SmtpClient.connect(node.process.port("smtp"));
      while (load.on) {
        n.next += 1;
        const key = made(seed, n.next, (n.next * 397) % 3000);
        const mail = incremental([key.armor], `${seed}.${n.next}`);
        const { code } = await client.deliver(mail, SITE_ADDRESS);
        if (code === 250) promises.acknowledged.add(key.update.hash);
      }
    } catch {
      // The gateway was killed; nothing was promised.
      if (load.on) await pause(100);
    } finally {
      client?.close();
    }
  }
}

/** A last mail: what came from a KX peer is announced to it at once only with news of others. */
async function sendLast(run: Run): Promise<void> {
  const { acknowledged } = run.promises;
  const [node] = run.stage.nodes;
  const before = acknowledged.size;
  const load = { on: true };
  const client = node && sendMails(run, node, load);
  await holdsWithin(() => acknowledged.size > before, SETTLE_MS);
  load.on = false;
  await client;
}

async function offerUpdates(run: Run, load: { readonly on: boolean }): Promise<void> {
  const { context, stage, n } = run;
  while (load.on) {
    n.next += 1;
    stage.peer.add(made(context.seed, n.next, (n.next * 131) % 3000));
    await pause(40);
  }
}

/** Lets all finish in peace, and says what is missing then. */
async function settle(run: Run): Promise<string[]> {
  const { stage, promises } = run;
  const { peer, sink, nodes } = stage;
  const faults: string[] = [];
  const hasAll = () => {
    promises.audit(stage.entries());
    const here = new Set(stage.entries().values());
    return peer.updates.every(({ update }) => here.has(update.hash));
  };
  if (!(await holdsWithin(hasAll, SETTLE_MS, 500))) faults.push("not all of the KX peer is here");
  await sendLast(run);
  promises.audit(stage.entries());
  const isMailed = () => sink.received.size >= promises.kept;
  if (!(await holdsWithin(isMailed, SETTLE_MS, 200))) {
    faults.push(`${sink.received.size} of ${promises.kept} updates were mailed`);
  }
  const entries = stage.entries();
  for (const [at, reader] of stage.readers.entries()) {
    const hasRead = () => reader.faults.length > 0 || reader.missing(entries).length === 0;
    await holdsWithin(hasRead, READ_MS, 200);
    const found = [...reader.faults, ...reader.missing(entries)];
    faults.push(...found.slice(0, 5).map((fault) => `KX peer ${at + 1}: ${fault}`));
  }
  for (const { log } of nodes) {
    const isEqual = () => sameEntries(entriesIn(log), entries);
    if (!(await holdsWithin(isEqual, 20_000, 500))) faults.push(`${log} is not the database`);
  }
  return faults;
}

function sameEntries(a: ReadonlyMap<number, string>, b: ReadonlyMap<number, string>): boolean {
  return a.size === b.size && [...a].every(([number, hash]) => b.get(number) === hash);
}

/** Gateways that are wrong on purpose, and a database that is. */
async function provoke(context: Context): Promise<{ caught: boolean; figures: string }> {
  const hasty = await withProgram(context, "ack-before-commit", async (run) => {
    for (let n = 0; n < CONTROL_RUNS && run.promises.lost === 0; n += 1) await once(run, "kill");
    return run.promises.lost;
  });
  const skipped = await withProgram(context, "skips-a-number", async (run) => {
    const { readers } = run.stage;
    const found = () => readers.reduce((sum, { faults }) => sum + faults.length, 0);
    for (let n = 0; n < CONTROL_RUNS && found() === 0; n += 1) await once(run, "kill");
    return found();
  });
  let gaps = 0;
  const repeats = await withProgram(context, "keeps-leases", async (run) => {
    const { stage, promises } = run;
    for (let n = 0; n < CONTROL_RUNS && stage.sink.repeats < stage.takes; n += 1) {
      await once(run, "cut");
      await pause(2000);
    }
    const entries = stage.entries();
    entries.delete(2);
    promises.audit(entries);
    gaps = promises.faults.length;
    return stage.sink.repeats - (stage.takes - 1);
  });
  return {
    caught: hasty > 0 && skipped > 0 && repeats > 0 && gaps > 0,
    figures:
      `ack before commit: ${hasty} lost; leases kept after the session: ${repeats} repeats too ` +
      `many; a number not announced: ${skipped} faults; a number taken out of the database: ` +
      `${gaps} faults`,
  };
}

async function withProgram(
  context: Context,
  program: string,
  work: (run: Run) => Promise<number>,
): Promise<number> {
  const directory = join(context.directory, program);
  mkdirSync(directory);
  const stage = await ClusterStage.make(directory, context.build, program);
  try {
    return await work(begun(context, stage));
  } finally {
    await stage.end();
  }
}
