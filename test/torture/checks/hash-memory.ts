/**
 * Thirty days of three gateways whose clocks differ by up to an hour and of which one is offline
 * for 71 hours at a time (row 17): no gateway may accept an update a second time. A model of the
 * doors over real logs in memory: each gateway reads the others' logs from its own cursor, takes
 * what it does not remember and whose body is there, and forgets by its own clock. After an absence
 * a gateway's partners list all that it has, as KX does when a cursor is lost. Control: a memory
 * for hashes of exactly 72 h, the time that the thesis gives to bodies.
 */

import type { RetentionLimits } from "../../../src/log/retention.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq, Update } from "../../../src/update.js";
import type { Check, Context } from "../check.js";
import { made } from "../material.js";

const HOUR_MS = 3_600_000;
const DAYS = 30;
const STEP_MS = HOUR_MS / 4;
const SKEWS_MS = [-HOUR_MS, 0, HOUR_MS] as const;
/** Some date; the model has a clock of its own. */
const BEGIN_MS = 1_800_000_000_000;
const PAGE = 10_000;
/** What the gateway keeps by default, and what the control keeps. */
export const DEFAULT_LIMITS = { retainMs: 96 * HOUR_MS, rememberMs: 720 * HOUR_MS } as const;
const SHORT_LIMITS = { retainMs: 72 * HOUR_MS, rememberMs: 72 * HOUR_MS } as const;

interface Node {
  readonly log: UpdateLog;
  readonly skewMs: number;
  readonly cursors: Map<Node, number>;
  readonly accepted: Set<string>;
  offlineUntil: number;
  offlineFrom: number;
}

export interface Month {
  readonly updates: number;
  readonly accepted: number;
  /** Updates that a gateway accepted although it had accepted them before. */
  readonly zombies: number;
  /** Updates that a gateway never got although it was online while they lived. */
  readonly missed: number;
}

export const hashMemory: Check = {
  name: "zombies",
  rows: [17],
  promise: "no update comes back after it expired, whatever the clocks say",
  runs: 20,
  share: 1,
  async run(context) {
    const total = { months: 0, updates: 0, zombies: 0, missed: 0, teeth: 0 };
    while (total.months < context.runs) {
      if (total.months > 0 && performance.now() > context.endsAt) break;
      const month = simulate(context, DEFAULT_LIMITS, total.months);
      total.months += 1;
      total.updates += month.updates;
      total.zombies += month.zombies;
      total.missed += month.missed;
      if (total.teeth === 0) total.teeth = simulate(context, SHORT_LIMITS, 1000).zombies;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { months, updates, zombies, missed, teeth } = total;
    const faults = zombies + missed > 0 ? [`${zombies} zombies, ${missed} missed`] : [];
    return {
      faults,
      figures: `${months} x 30 simulated days, 3 gateways, ${updates} updates, ${zombies} zombies`,
      control: { caught: teeth > 0, figures: `hash memory of 72 h: ${teeth} zombies in 30 days` },
    };
  },
};

/** One month; `n` makes its updates different from those of other months. */
export function simulate(
  context: Pick<Context, "seed" | "random">,
  limits: RetentionLimits,
  n: number,
): Month {
  const { random, seed } = context;
  const nodes: Node[] = SKEWS_MS.map((skewMs) => ({
    log: UpdateLog.open(":memory:"),
    skewMs,
    cursors: new Map(),
    accepted: new Set(),
    offlineUntil: 0,
    offlineFrom: 0,
  }));
  const away = nodes[2];
  const counters = { updates: 0, zombies: 0 };
  const end = BEGIN_MS + DAYS * 24 * HOUR_MS;
  for (let now = BEGIN_MS; now < end; now += STEP_MS) {
    if (away !== undefined && now >= away.offlineUntil + 24 * HOUR_MS && random() < 0.02) {
      away.offlineFrom = now;
      away.offlineUntil = now + 71 * HOUR_MS;
    }
    const online = nodes.filter(({ offlineUntil }) => now >= offlineUntil);
    const origin = online[Math.floor(random() * online.length)];
    if (origin !== undefined && random() < 0.5) {
      const { update } = made(seed, n * 1_000_000 + counters.updates, 8);
      counters.updates += 1;
      accept(origin, update, now, counters);
    }
    for (const node of online) {
      const isBack = node.offlineUntil > 0 && now < node.offlineUntil + STEP_MS;
      for (const other of online) if (other !== node) pull(node, other, isBack, now, counters);
      node.log.retention.expire(now + node.skewMs, limits, PAGE);
    }
  }
  const everywhere = nodes.map(({ accepted }) => accepted.size);
  for (const { log } of nodes) log.close();
  const most = Math.max(...everywhere);
  // The node that is away at the end has not heard the last of it; the others have.
  const missed = everywhere.slice(0, 2).reduce((sum, count) => sum + most - count, 0);
  const accepted = everywhere.reduce((sum, count) => sum + count, 0);
  return { ...counters, accepted, missed };
}

/** `node` reads on in the log of `other`; from its beginning when one of them was away. */
function pull(
  node: Node,
  other: Node,
  isBack: boolean,
  now: number,
  counters: { zombies: number },
): void {
  const wasAway = isBack || (other.offlineUntil > 0 && now < other.offlineUntil + STEP_MS);
  const from = wasAway ? 0 : (node.cursors.get(other) ?? 0);
  const news = other.log.range((from + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
  for (const { seq, hash, fingerprint } of news) {
    node.cursors.set(other, seq);
    const body = node.log.has(hash) ? undefined : other.log.body(seq);
    if (body === undefined) continue;
    const digest = hash + hash;
    accept(
      node,
      { hash, digest, fingerprint, body, selfSigned: undefined, packets: [] },
      now,
      counters,
    );
  }
}

function accept(node: Node, update: Update, now: number, counters: { zombies: number }): void {
  if (node.accepted.has(update.hash)) counters.zombies += 1;
  node.accepted.add(update.hash);
  const digest = update.hash + update.hash;
  const origin = { neighbour: undefined, transport: "kx" } as const;
  const receivedAt = now + node.skewMs;
  node.log.append([{ update: { ...update, digest }, origin, trail: [], receivedAt }]);
}
