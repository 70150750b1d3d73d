/**
 * Catch-up: an empty gateway fetches everything that another has, over loopback. Both are real
 * processes; what each side spends is held against the roofline, and the fetching side must not
 * grow with what it fetches.
 */

import { pause } from "../../support/until.js";
import { atLeast, atMost, type Bench, type Context, median, type Outcome } from "../bench.js";
import { Gateways, held } from "../gateways.js";
import { cpuUs, residentBytes } from "../processes.js";

const MIB = 1024 * 1024;
const PATIENCE_MS = 300_000;

export const catchUp: Bench = {
  name: "catch-up",
  question: "What does it cost an empty gateway to fetch everything, and the other to serve it?",
  run,
};

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say } = context;
  const updates = material.updates(quick ? 3000 : 100_000);
  const taken: Record<"limit" | "fetch" | "serve" | "rate" | "resident" | "grown", number[]> = {
    limit: [],
    fetch: [],
    serve: [],
    rate: [],
    resident: [],
    grown: [],
  };
  const gateways = new Gateways(context);
  for (let turn = 0; turn < runs; turn++) {
    // A limit is the least of several: cold code and a busy machine only add to it.
    taken.limit.push(Math.min(...[1, 2, 3].map(() => context.roofline().totalUs)));
    try {
      const full = await gateways.start({
        name: "full",
        updates,
        lines: [
          '[kx]\nlisten = ["127.0.0.1:0"]',
          '[[peer]]\nname = "empty"\nkx = "127.0.0.1:1"\nvia = "kx"',
        ],
      });
      const empty = await gateways.start({
        name: "empty",
        lines: [
          '[kx]\nlisten = ["127.0.0.1:0"]',
          `[[peer]]\nname = "full"\nkx = "127.0.0.1:${full.port("kx")}"\ndial = true\nvia = "kx"`,
        ],
      });
      const [before, at] = [cpuUs(full.pid), performance.now()];
      let half = 0;
      for (let count = 0; count < updates.length; count = await held(empty)) {
        if (half === 0 && count > updates.length / 2) half = residentBytes(empty.pid);
        if (performance.now() - at > PATIENCE_MS) throw new Error("the catch-up does not end");
        await pause(100);
      }
      const seconds = (performance.now() - at) / 1000;
      taken.fetch.push(cpuUs(empty.pid) / updates.length);
      taken.serve.push((cpuUs(full.pid) - before) / updates.length);
      taken.rate.push(updates.length / seconds);
      const end = residentBytes(empty.pid);
      taken.resident.push(end / MIB);
      taken.grown.push((100 * (end - half)) / half);
      say(`${seconds.toFixed(1)} s, ${taken.fetch.at(-1)?.toFixed(0)} us to fetch one`);
    } finally {
      await gateways.end();
    }
  }
  const share = (values: readonly number[]) => {
    return values.map((one, turn) => (100 * (taken.limit[turn] ?? Number.NaN)) / one);
  };
  return {
    input: `${updates.length} updates`,
    figures: [
      {
        name: "CPU of fetching an update, start of the process included",
        unit: "us",
        values: taken.fetch,
      },
      { name: "CPU of serving an update", unit: "us", values: taken.serve },
      { name: "roofline : fetching side", unit: "%", values: share(taken.fetch) },
      { name: "roofline : serving side", unit: "%", values: share(taken.serve) },
      { name: "resident at the end, fetching side", unit: "MiB", values: taken.resident },
      { name: "grown in the second half", unit: "%", values: taken.grown },
      { name: "updates a second", unit: "", values: taken.rate },
    ],
    goals: [
      atLeast("fetching reaches 50 % of the roofline", median(share(taken.fetch)), 50, " %"),
      atLeast("serving reaches 50 % of the roofline", median(share(taken.serve)), 50, " %"),
      atMost("flat memory: at most 10 % more in the second half", median(taken.grown), 10, " %"),
    ],
  };
}
