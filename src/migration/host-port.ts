/**
 * Hosts with a port as the files of other keyservers write them: `HOST PORT` (membership of SKS),
 * `HOST:PORT` or `HOST` alone, an IPv6 address with or without brackets.
 */
import type { Endpoint } from "../config/config.js";
import { parseEndpoint } from "../config/units.js";

/** The endpoint in `text`, by default with the port `preset`; never port 0. */
export function hostPort(text: string, preset: number): Endpoint | undefined {
  const [first = "", second, ...rest] = text.trim().split(/\s+/);
  if (rest.length > 0) return undefined;
  const whole = parseEndpoint(first);
  if (second === undefined && "value" in whole) return dialable(whole.value);
  const bare = first.replace(/^\[(.*)\]$/, "$1");
  const host = bare.includes(":") ? `[${bare}]` : bare;
  const reading = parseEndpoint(`${host}:${second ?? preset}`);
  return "value" in reading ? dialable(reading.value) : undefined;
}

function dialable(endpoint: Endpoint): Endpoint | undefined {
  return endpoint.port === 0 ? undefined : endpoint;
}
