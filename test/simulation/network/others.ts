/**
 * The two ways that were proposed beside mail, on the same load. Multicast with issuer and serial
 * numbers (thesis 2.2; Baumer, ALMI): one copy over each edge of a tree, and a table with an entry
 * for every issuer, which neighbours in the tree compare now and then. Set reconciliation (2.3;
 * SKS): now and then a server and one of its neighbours find out what they do not share, at a cost
 * that grows with the difference, and fetch it.
 */
import { EventQueue, type Happening } from "./events.js";
import { Measures, type Result } from "./measure.js";
import type { Topology } from "./topology.js";
import { armorBytes } from "./wire.js";
import type { Birth } from "./workload.js";

export interface OtherOptions {
  readonly topology: Topology;
  readonly births: readonly Birth[];
  readonly dice: () => number;
  readonly outage?: { readonly server: number; readonly from: number; readonly to: number };
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LATENCY = { leastMs: 20, meanMs: 60 } as const;
/** An issuer's name and its highest serial number; what heads an update. */
const ENTRY_BYTES = 28;
/** Tables are compared so often, beside after an outage. */
const COMPARE_MS = HOUR_MS;
const RECON = {
  /** SKS reconciles once a minute on average. */
  everyMs: 60_000,
  /** Both directions together, when nothing differs. */
  bareBytes: 400,
  /** What one element of difference costs: evaluations of the polynomial and the hash. */
  elementBytes: 2 * 17 + 16,
  headBytes: 150,
} as const;

const BIRTH = 0;
const DELIVERY = 1;
const AWAY = 2;
const BACK = 3;
const RECONCILE = 4;

/** One copy to everybody over a tree of shortest ways from server 0. */
export function multicast(options: OtherOptions): Result {
  const { topology, births, dice, outage } = options;
  const tree = spanningTree(topology);
  const servers = tree.length;
  const measures = new Measures(servers, births.length);
  const queue = new EventQueue();
  let away = -1;
  begin(queue, measures, options);
  const pass = (server: number, update: number, from: number, at: number) => {
    if (measures.holds(server, update)) return;
    measures.held(server, update, at);
    for (const to of tree[server] ?? []) {
      if (to === from || to === away) continue;
      const bytes = ENTRY_BYTES + armorBytes(births[update]?.size ?? 0);
      measures.sent(server, to, bytes);
      measures.copies += 1;
      queue.push(at + latency(dice), DELIVERY, to, update, server);
    }
  };
  const next: Happening = { at: 0, kind: 0, a: 0, b: 0, c: 0 };
  while (queue.take(next)) {
    measures.events += 1;
    const { at, kind, a, b, c } = next;
    if (kind === AWAY) away = a;
    else if (kind === BACK) {
      away = -1;
      for (const to of tree[a] ?? []) catchUp(measures, births, tree, [a, to], at, outage, pass);
    } else if (a === away) {
      if (kind === BIRTH) queue.push(outage?.to ?? at, BIRTH, a, b, 0);
    } else pass(a, b, kind === BIRTH ? -1 : c, at);
  }
  const span = (births.at(-1)?.at ?? 0) + HOUR_MS;
  for (const [server, others] of tree.entries()) {
    for (const to of others) measures.sent(server, to, (span / COMPARE_MS) * servers * ENTRY_BYTES);
  }
  return measures.result(servers * ENTRY_BYTES, outage?.server);
}

/** Two servers compare their tables and give each other what is missing, and pass it on. */
function catchUp(
  measures: Measures,
  births: readonly Birth[],
  tree: readonly (readonly number[])[],
  [one, two]: readonly [number, number],
  at: number,
  outage: OtherOptions["outage"],
  pass: (server: number, update: number, from: number, at: number) => void,
): void {
  measures.sent(one, two, 2 * tree.length * ENTRY_BYTES);
  for (let update = 0; update < births.length; update++) {
    const [has, lacks] = measures.holds(one, update) ? [one, two] : [two, one];
    if (!measures.holds(has, update) || measures.holds(lacks, update)) continue;
    const bytes = ENTRY_BYTES + armorBytes(births[update]?.size ?? 0);
    measures.sent(has, lacks, bytes);
    measures.copies += 1;
    if (lacks === outage?.server) {
      measures.burstCopies += 1;
      measures.burstBytes += bytes;
    }
    pass(lacks, update, has, at);
  }
}

/** Every server reconciles with a neighbour chosen at random, once a minute on average. */
export function reconciliation(options: OtherOptions): Result {
  const { topology, births, dice, outage } = options;
  const servers = topology.neighbours.length;
  const measures = new Measures(servers, births.length);
  const queue = new EventQueue();
  begin(queue, measures, options);
  const end = Math.max(births.at(-1)?.at ?? 0, outage?.to ?? 0) + DAY_MS / 4;
  const pause = () => -RECON.everyMs * Math.log(1 - dice());
  for (let server = 0; server < servers; server++) queue.push(pause(), RECONCILE, server, 0, 0);
  // What not everybody who is there has: everything else differs nowhere.
  const moving = new Map<number, number>();
  let away = -1;
  const hold = (server: number, update: number, at: number) => {
    measures.held(server, update, at);
    const left = (moving.get(update) ?? servers - (away < 0 ? 0 : 1)) - 1;
    if (left > 0) moving.set(update, left);
    else moving.delete(update);
  };
  const give = (has: number, lacks: number, update: number, at: number) => {
    const bytes = RECON.headBytes + armorBytes(births[update]?.size ?? 0);
    measures.sent(has, lacks, bytes);
    measures.copies += 1;
    if (lacks === outage?.server && at >= outage.to && at < outage.to + HOUR_MS) {
      measures.burstCopies += 1;
      measures.burstBytes += bytes;
    }
    hold(lacks, update, at);
  };
  const next: Happening = { at: 0, kind: 0, a: 0, b: 0, c: 0 };
  while (queue.take(next)) {
    measures.events += 1;
    const { at, kind, a, b } = next;
    if (kind === AWAY) away = a;
    else if (kind === BACK) {
      away = -1;
      for (let update = 0; update < births.length; update++) {
        const { at: bornAt, server } = births[update] ?? { at: at + 1, server: a };
        // What was to be published at the server itself is born only now.
        if (bornAt <= at && server !== a && !measures.holds(a, update))
          moving.set(update, (moving.get(update) ?? 0) + 1);
      }
    } else if (kind === BIRTH) {
      if (a === away) queue.push(outage?.to ?? at, BIRTH, a, b, 0);
      else hold(a, b, at);
    } else {
      if (at < end) queue.push(at + pause(), RECONCILE, a, 0, 0);
      const others = topology.neighbours[a] ?? [];
      const other = others[Math.floor(dice() * others.length)] ?? a;
      if (a === away || other === away || other === a) continue;
      measures.sent(a, other, RECON.bareBytes);
      for (const update of [...moving.keys()]) {
        const [mine, theirs] = [measures.holds(a, update), measures.holds(other, update)];
        if (mine === theirs) continue;
        measures.sent(a, other, RECON.elementBytes);
        give(mine ? a : other, mine ? other : a, update, at);
      }
    }
  }
  return measures.result(0, outage?.server);
}

function begin(queue: EventQueue, measures: Measures, { births, outage }: OtherOptions): void {
  for (const [update, { at, server }] of births.entries()) {
    queue.push(at, BIRTH, server, update, 0);
    measures.bornAt[update] = at;
  }
  if (outage === undefined) return;
  queue.push(outage.from, AWAY, outage.server, 0, 0);
  queue.push(outage.to, BACK, outage.server, 0, 0);
}

function latency(dice: () => number): number {
  return LATENCY.leastMs - LATENCY.meanMs * Math.log(1 - dice());
}

function spanningTree({ neighbours }: Topology): number[][] {
  const tree = neighbours.map((): number[] => []);
  const seen = new Set([0]);
  for (const server of seen) {
    for (const other of neighbours[server] ?? []) {
      if (seen.has(other)) continue;
      seen.add(other);
      tree[server]?.push(other);
      tree[other]?.push(server);
    }
  }
  return tree;
}
