/**
 * What the operator wants of KX peers when bodies are fetched from them: `fetch_rate` and
 * `quiet_hours` of the config, as the fetch tracker takes them. Peers without either are not in it.
 */
import type { Config } from "../config/config.js";
import type { FetchManners } from "../kx/fetch-manners.js";

export function mannersOf({ neighbours }: Config): Map<string, FetchManners> {
  return new Map(
    neighbours
      .filter(({ fetchRate, quietHours }) => fetchRate !== undefined || quietHours !== undefined)
      .map(({ name, fetchRate: rate, quietHours }) => [name, { rate, quietHours }]),
  );
}
