/**
 * Latency: from the submission of a mail at one gateway to its arrival at a site behind another,
 * with KX between them; idle, when nothing moved for a second before, and under a steady load. A
 * time is no promise; what counts is the ratio to another checkout, by turns.
 */

import type { Update } from "../../../src/update.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { pause, until } from "../../support/until.js";
import { MailSink } from "../../torture/mail-sink.js";
import {
  atMost,
  type Bench,
  type Context,
  type Figure,
  type Goal,
  median,
  type Outcome,
  quantile,
  ratios,
  rotated,
} from "../bench.js";
import { Gateways, OLD, SITE } from "../gateways.js";
import { deliverAll, WARM_UP } from "../mailing.js";
import { mailOf } from "../material.js";
import type { Side } from "../sides.js";

const FAR = "pgp-public-keys@far.example.net";
const LOAD_EVERY_MS = 20;
const IDLE_EVERY_MS = 1100;
const PATIENCE_MS = 120_000;

export const latency: Bench = {
  name: "latency",
  question: "How long is a mail on its way through two gateways?",
  run,
};

const SIZES = { warmUp: WARM_UP, idle: 10, loaded: 300 };
const QUICK = { warmUp: 100, idle: 2, loaded: 30 };

/** Two gateways and the site behind them, and the values of each turn. */
interface Path {
  submit(everyMs: number, updates: readonly Update[]): Promise<number[]>;
  warm(updates: readonly Update[]): Promise<void>;
  readonly taken: Record<"idle" | "idle99" | "loaded" | "loaded99", number[]>;
}

async function run(context: Context): Promise<Outcome> {
  const { material, quick, say, runs, sides } = context;
  const { warmUp, idle, loaded } = quick ? QUICK : SIZES;
  const updates = material.updates(warmUp + runs * (idle + loaded));
  const gateways = new Gateways(context);
  const sinks: MailSink[] = [];
  const paths: Path[] = [];
  try {
    for (const side of sides) {
      const sink = new MailSink();
      sinks.push(sink);
      paths.push(await path(gateways, sink, side));
    }
    for (const one of paths) await one.warm(updates.slice(0, warmUp));
    for (let turn = 0; turn < runs; turn++) {
      const from = warmUp + turn * (idle + loaded);
      for (const { submit, taken } of rotated(paths, turn)) {
        await pause(IDLE_EVERY_MS);
        const quiet = await submit(IDLE_EVERY_MS, updates.slice(from, from + idle));
        const busy = await submit(LOAD_EVERY_MS, updates.slice(from + idle, from + idle + loaded));
        taken.idle.push(quantile(quiet, 0.5));
        taken.idle99.push(quantile(quiet, 0.99));
        taken.loaded.push(quantile(busy, 0.5));
        taken.loaded99.push(quantile(busy, 0.99));
      }
      const last = paths.map(({ taken: { idle, loaded } }) => {
        return `${idle.at(-1)?.toFixed(1)} and ${loaded.at(-1)?.toFixed(1)}`;
      });
      say(`p50 idle and under load ${last.join(", ")} ms`);
    }
  } finally {
    await gateways.end();
    await Promise.all(sinks.map((sink) => sink.stop()));
  }
  const figures = sides.flatMap(({ label }, n): Figure[] => {
    const taken = paths[n]?.taken;
    if (taken === undefined) return [];
    return [
      { name: `idle, p50${label}`, unit: "ms", values: taken.idle },
      { name: `idle, longest of a turn${label}`, unit: "ms", values: taken.idle99 },
      { name: `under load, p50${label}`, unit: "ms", values: taken.loaded },
      { name: `under load, p99${label}`, unit: "ms", values: taken.loaded99 },
    ];
  });
  const goals: Goal[] = [];
  const [before, now] = [paths.length > 1 ? paths[0]?.taken : undefined, paths.at(-1)?.taken];
  if (before !== undefined && now !== undefined) {
    for (const [which, values, old] of [
      ["idle", now.idle, before.idle],
      ["under load", now.loaded, before.loaded],
    ] as const) {
      const share = ratios(values, old);
      figures.push({ name: `now : before, ${which}, p50`, unit: "", values: share });
      goals.push(atMost(`p50 ${which} no worse than before, within 10 %`, median(share), 1.1));
    }
  }
  return {
    input:
      `${warmUp} mails as warm-up; a turn is ${idle} mails ${IDLE_EVERY_MS} ms apart ` +
      `and ${loaded} mails ${LOAD_EVERY_MS} ms apart`,
    figures,
    goals,
  };
}

async function path(gateways: Gateways, sink: MailSink, side: Side): Promise<Path> {
  const relay = `smtp://127.0.0.1:${await sink.start()}`;
  const b = await gateways.start(side, {
    name: "b",
    site: "pgp-public-keys@b.kx.example.org",
    lines: [
      '[kx]\nlisten = ["127.0.0.1:0"]',
      `[outbound]\nrelay = "${relay}"`,
      '[[peer]]\nname = "a"\nkx = "127.0.0.1:1"\nvia = "kx"',
      `[[peer]]\nname = "far"\nmail = "${FAR}"`,
    ],
  });
  const a = await gateways.start(side, {
    name: "a",
    lines: [
      '[kx]\nlisten = ["127.0.0.1:0"]',
      `[[peer]]\nname = "b"\nkx = "127.0.0.1:${b.port("kx")}"\ndial = true\nvia = "kx"`,
      `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
    ],
  });
  await a.event("peer-connected");
  const sent = new Map<string, number>();
  const took: number[] = [];
  sink.onMail = (hash) => {
    const at = sent.get(hash);
    if (at !== undefined) took.push(performance.now() - at);
  };
  const arrive = (count: number) =>
    until(
      () => took.length >= count,
      () => `${count - took.length} mails that did not arrive`,
      PATIENCE_MS,
    );
  const submit = async (everyMs: number, updates: readonly Update[]): Promise<number[]> => {
    took.length = 0;
    const client = await SmtpClient.connect(a.port("smtp"));
    const began = performance.now();
    for (const [n, update] of updates.entries()) {
      sent.set(update.hash, performance.now());
      await client.deliver(mailOf(update, `latency.${update.hash}`), SITE);
      await pause(Math.max(0, began + (n + 1) * everyMs - performance.now()));
    }
    await arrive(updates.length);
    client.close();
    return [...took];
  };
  const warm = async (updates: readonly Update[]): Promise<void> => {
    took.length = 0;
    for (const { hash } of updates) sent.set(hash, 0);
    await deliverAll(
      a.port("smtp"),
      updates.map((update) => mailOf(update, `warm.${update.hash}`)),
    );
    await arrive(updates.length);
  };
  return { submit, warm, taken: { idle: [], idle99: [], loaded: [], loaded99: [] } };
}
