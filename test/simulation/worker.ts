/**
 * A worker of a batch: gets portions of seeds, runs their worlds, gives back the outcomes. Nothing
 * of a world is shared with another.
 */
import { parentPort } from "node:worker_threads";
import type { Portion } from "./batch.js";
import { optionsOf } from "./options.js";
import { type Outcome, runWorld } from "./world.js";

parentPort?.on("message", ({ from, count, size }: Portion) => {
  const outcomes: Outcome[] = [];
  for (let seed = from; seed < from + count; seed += 1) {
    outcomes.push(runWorld(optionsOf(seed, size)));
  }
  parentPort?.postMessage(outcomes);
});
