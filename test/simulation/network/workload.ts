/**
 * The load of a world: which update is born when and where, and how large it is. The thesis counts
 * 900 new updates a day (section 5); a third of them comes in bursts here, as key-signing parties
 * and imports bring them. Sizes are those of real updates, handed in by the caller.
 */
export const THESIS_UPDATES_A_DAY = 900;

const DAY_MS = 24 * 60 * 60_000;
/** Updates of a burst come this close upon each other, to one server. */
const BURST_EVERY_MS = 2000;
const BURST_LENGTH = 20;

export interface Birth {
  /** Milliseconds since the world began, ascending. */
  readonly at: number;
  readonly server: number;
  /** Octets of the packets. */
  readonly size: number;
}

/** `count` updates at `factor` times the thesis's load, on `servers` servers. */
export function births(
  count: number,
  factor: number,
  servers: number,
  sizes: readonly number[],
  dice: () => number,
): Birth[] {
  const spanMs = (count / (THESIS_UPDATES_A_DAY * factor)) * DAY_MS;
  const made: Birth[] = [];
  const size = () => sizes[Math.floor(dice() * sizes.length)] ?? 1000;
  const server = () => Math.floor(dice() * servers);
  while (made.length < count / 3) {
    const [at, where] = [dice() * spanMs, server()];
    for (let n = 0; n < BURST_LENGTH && made.length < count; n++) {
      made.push({ at: at + (n * BURST_EVERY_MS) / factor, server: where, size: size() });
    }
  }
  while (made.length < count) made.push({ at: dice() * spanMs, server: server(), size: size() });
  return made.sort((one, other) => one.at - other.at);
}

/** How long the births of a load take. */
export function spanMs(count: number, factor: number): number {
  return (count / (THESIS_UPDATES_A_DAY * factor)) * DAY_MS;
}
