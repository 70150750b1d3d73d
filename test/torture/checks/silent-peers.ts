/**
 * Peers that announce and never deliver (row 11): P peers announce a hash, H of them have it. The
 * tracker draws at random, so that the honest one is asked after (P-H)/(H+1) silences on average,
 * whatever order the liars announced in; Bitcoin's bound is P/(H+1). Control: the first announcer
 * wins, and the liars were first.
 */
import { FETCH_LIMITS, FetchTracker } from "../../../src/kx/fetch-tracker.js";
import type { UpdateHash } from "../../../src/update.js";
import { type Check, goesOn } from "../check.js";

const HASH = "d41d8cd98f00b204e9800998ecf8427e" as UpdateHash;
/** Of the expected mean; a tenth of a period where that is small. */
const TOLERANCE = 0.1;
const LEAST_SEEDS = 400;

export const silentPeers: Check = {
  name: "silent-peers",
  rows: [11],
  promise: "peers that announce and never deliver delay an update by few periods",
  runs: 3000,
  share: 0.3,
  async run(context) {
    const faults: string[] = [];
    let [seeds, nearest, most] = [0, 0, 0];
    const sums = new Map<string, number>();
    const mixes = [2, 3, 4, 5, 6, 7, 8].flatMap((peers) =>
      Array.from({ length: peers - 1 }, (_, n) => ({ peers, honest: n + 1 })),
    );
    for (; goesOn(context, seeds, LEAST_SEEDS); seeds += 1) {
      for (const { peers, honest } of mixes) {
        const periods = silences(peers, honest, context.random);
        const key = `${peers}/${honest}`;
        sums.set(key, (sums.get(key) ?? 0) + periods);
        most = Math.max(most, periods);
        if (periods > peers - honest) faults.push(`${key}: ${periods} periods`);
      }
    }
    for (const { peers, honest } of mixes) {
      const mean = (sums.get(`${peers}/${honest}`) ?? 0) / seeds;
      const expected = (peers - honest) / (honest + 1);
      const bound = peers / (honest + 1);
      nearest = Math.max(nearest, mean / bound);
      // Four standard errors of a mean whose spread is below P/2, beside the tenth.
      const room = TOLERANCE + TOLERANCE * expected + (2 * peers) / Math.sqrt(seeds);
      const isWrong = Math.abs(mean - expected) > room || mean > bound + room;
      if (isWrong) faults.push(`${peers} peers, ${honest} honest: ${mean.toFixed(2)} periods`);
    }
    const first = silences(8, 1, () => 0);
    const expected = (8 - 1) / 2;
    return {
      faults,
      figures:
        `${mixes.length} mixes of 2 to 8 peers, ${seeds} seeds each: mean delay at most ` +
        `${nearest.toFixed(2)} of P/(H+1) periods of ${FETCH_LIMITS.progressMs / 1000} s, ` +
        `worst seed ${most} periods, never more than the number of liars`,
      control: {
        caught: first > 1.5 * expected,
        figures: `first announcer wins: 8 peers, 1 honest, ${first} periods and not ${expected}`,
      },
    };
  },
};

/** How many peers were waited for in vain until an honest one was asked; the liars come first. */
function silences(peers: number, honest: number, random: () => number): number {
  const tracker = new FetchTracker(random);
  for (let n = 0; n < peers; n += 1) tracker.announced(`peer-${n}`, 1, HASH);
  for (let period = 0; ; period += 1) {
    const outputs = tracker.advance(period * FETCH_LIMITS.progressMs);
    const asked = outputs.find(({ type }) => type === "request");
    if (asked?.type !== "request") throw new Error(`nobody is asked in period ${period}`);
    if (Number(asked.peer.slice(5)) >= peers - honest) return period;
  }
}
