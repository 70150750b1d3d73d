/**
 * Memory over a million updates (row 44): one gateway takes them by mail, fifty keys a mail, and a
 * tenth of them by KX, while a KX peer hears every announcement. Its resident size is read from
 * outside; what counts is how fast it still grows in the second half, the first half being what
 * SQLite's page cache and the heap take once. Only a long run says anything.
 */

import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin } from "../../support/until.js";
import { residentMib } from "../burden.js";
import { type Check, type Context, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const KEYS_A_MAIL = 50;
const CLIENTS = 4;
/** Below this many updates the slope is mostly the warm-up. */
const LEAST_UPDATES = 300_000;
const MOST_MIB_A_MILLION = 24;

export const flatMemory: Check = {
  name: "memory",
  rows: [44],
  promise: "memory does not grow with the number of updates",
  runs: 1_000_000,
  share: 2,
  async run(context) {
    const { directory, build } = context;
    const world = await World.make({ directory, build, peer: true });
    const gateway = await world.start();
    const samples: { updates: number; mib: number }[] = [];
    const count = { next: 0, done: 0 };
    const began = performance.now();
    const timer = setInterval(() => {
      samples.push({ updates: count.done, mib: residentMib(gateway.pid) });
      gateway.events.length = 0;
    }, 500);
    try {
      await holdsWithin(() => world.peer?.connected === true, 10_000);
      const port = gateway.port("smtp");
      await Promise.all(Array.from({ length: CLIENTS }, () => feed(context, world, port, count)));
    } finally {
      clearInterval(timer);
      await gateway.end();
      await world.end();
    }
    const seconds = (performance.now() - began) / 1000;
    const slope = slopeOf(samples);
    const most = Math.max(0, ...samples.map(({ mib }) => mib));
    const long = count.done >= LEAST_UPDATES;
    const judged = long
      ? `${slope.toFixed(1)} MiB a million updates in the second half`
      : `too short to judge the slope (needs ${LEAST_UPDATES})`;
    return {
      faults:
        long && slope > MOST_MIB_A_MILLION ? [`grows by ${slope.toFixed(1)} MiB a million`] : [],
      figures:
        `${count.done} updates, ${Math.round(count.done / seconds)} a second; ` +
        `resident at most ${Math.round(most)} MiB; ${judged}`,
    };
  },
};

async function feed(
  context: Context,
  world: World,
  port: number,
  count: { next: number; done: number },
): Promise<void> {
  const client = await SmtpClient.connect(port);
  while (goesOn(context, count.next)) {
    const armor = Array.from({ length: KEYS_A_MAIL }, () => {
      count.next += 1;
      return made(context.seed, count.next).armor;
    });
    for (let n = 0; n < KEYS_A_MAIL / 10; n += 1) {
      count.next += 1;
      world.peer?.add(made(context.seed, count.next));
    }
    const reply = await client.deliver(incremental(armor, `flat.${count.next}`), SITE_ADDRESS);
    if (reply.code !== 250) throw new Error(reply.text);
    count.done += KEYS_A_MAIL + KEYS_A_MAIL / 10;
    if (world.peer !== undefined) world.peer.heard.length = 0;
  }
  client.close();
}

/** MiB a million updates over the second half, by least squares. */
function slopeOf(samples: readonly { updates: number; mib: number }[]): number {
  const half = samples.slice(Math.floor(samples.length / 2));
  const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const x = mean(half.map(({ updates }) => updates));
  const y = mean(half.map(({ mib }) => mib));
  const above = half.reduce((sum, { updates, mib }) => sum + (updates - x) * (mib - y), 0);
  const below = half.reduce((sum, { updates }) => sum + (updates - x) ** 2, 0);
  return below === 0 ? 0 : (above / below) * 1e6;
}
