/**
 * The names that dashboards and scripts rely on: metrics with their types and labels, and the keys
 * of a JSON value. The values are left out, since they depend on time.
 */
import type { GatewayProcess } from "../../src/demo/process.js";

/**
 * `NAME TYPE` for each metric, `NAME{labels}` for each series. The labels of what Node itself is
 * measured by come and go, so of those only the names count.
 */
export async function metricNames(gateway: GatewayProcess): Promise<string[]> {
  const answer = await fetch(`http://127.0.0.1:${gateway.port("admin")}/metrics`);
  return metricNamesOf(await answer.text());
}

export function metricNamesOf(text: string): string[] {
  const lines = text.split("\n").flatMap((line) => {
    const [, name = "", type = ""] = /^# TYPE (\S+) (\S+)/.exec(line) ?? [];
    if (name !== "") return [`${name} ${type}`];
    const [series = ""] = /^kxgw_\w+\{[^}]*\}/.exec(line) ?? [];
    return series === "" ? [] : [series];
  });
  return lines.sort();
}

/** The path of each value in JSON, with its types: `neighbours[].backlog number`. */
export function jsonKeys(value: unknown): string[] {
  const types = new Map<string, Set<string>>();
  const walk = (path: string, one: unknown): void => {
    const kind = one === null ? "null" : Array.isArray(one) ? "array" : typeof one;
    types.set(path, (types.get(path) ?? new Set()).add(kind));
    if (Array.isArray(one)) for (const item of one) walk(`${path}[]`, item);
    else if (typeof one === "object" && one !== null) {
      for (const [key, item] of Object.entries(one)) walk(`${path}.${key}`, item);
    }
  };
  walk("", value);
  return [...types].map(([path, kinds]) => `${path} ${[...kinds].sort().join("|")}`).sort();
}
