/**
 * What the operator wants of KX peers when bodies are fetched from them: `fetch_rate` and
 * `quiet_hours` of the config, as the fetch tracker takes them. Peers without either are not in it.
 */
import type { Config } from "../config/config.js";
import type { FetchPolicy } from "../kx/fetch-policy.js";

export function fetchPolicyOf({
  neighbours,
}: Pick<Config, "neighbours">): Map<string, FetchPolicy> {
  return new Map(
    neighbours
      .filter(({ fetchRate, quietHours }) => fetchRate !== undefined || quietHours !== undefined)
      .map(({ name, fetchRate: rate, quietHours }) => [name, { rate, quietHours }]),
  );
}
