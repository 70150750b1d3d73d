/**
 * Chance that can be repeated: a small generator from a seed (mulberry32). The seed of a run is in
 * the test's name or message, so that a failure can be played again with KXGW_SEED.
 */

/** Numbers in [0, 1), the same for the same seed. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed of this run: KXGW_SEED, one and the same in CI, or a new one each time. */
export const SEED = Number(process.env.KXGW_SEED ?? (process.env.CI ? 1 : Date.now() % 1_000_000));
