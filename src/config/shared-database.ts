/**
 * `log.shared`: the address of the PostgreSQL database that the gateways of one site share, as
 * "postgres://user@host/database". Several hosts, separated by commas, are a primary and its
 * standbys. Outside the own host the server is verified over TLS unless `sslmode=disable` is
 * written. Nothing of the text is quoted in faults, because it may contain a password.
 */
import { isIP } from "node:net";
import { plainHost } from "../ip-address.js";
import type { Endpoint, SharedDatabase } from "./config.js";
import type { Reading } from "./units.js";
import { formatEndpoint, isHostname } from "./units.js";

const DEFAULT_PORT = 5432;
const MOST_HOSTS = 8;
const EXAMPLE = 'write "postgres://user@host/database"';

/** Reads `log.shared`. */
export function parseShared(text: string): Reading<SharedDatabase> {
  const parts = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^/?#@]*)\/([^/?#]*)(?:\?([^#]*))?$/.exec(
    text,
  );
  if (parts === null) return { fault: `is not a postgres:// URL: ${EXAMPLE}` };
  if (/[\s\p{Cc}]/u.test(text)) return { fault: `has a space or control character: ${EXAMPLE}` };
  const [, login = "", places = "", database = "", query = ""] = parts;
  const [user, password] = login.split(/:(.*)/s).map(decoded);
  if (user === undefined || user === "") return { fault: `has no user: ${EXAMPLE}` };
  const name = decoded(database);
  if (name === undefined || name === "") return { fault: `has no database: ${EXAMPLE}` };
  const settings = new URLSearchParams(query);
  const strange = [...settings.keys()].find((key) => !KEYS.includes(key));
  if (strange !== undefined) {
    return { fault: `has an unknown parameter after "?": the known ones are ${KEYS.join(", ")}` };
  }
  const hosts = hostsOf(settings.get("host") ?? places);
  if (typeof hosts === "string") return { fault: hosts };
  const tls = tlsOf(hosts, settings);
  if (typeof tls === "string") return { fault: tls };
  return { value: { hosts, database: name, user, password, tls } };
}

const KEYS = ["host", "sslmode", "sslrootcert"];

/** The hosts, or a fault. */
function hostsOf(places: string): Endpoint[] | string {
  const hosts: Endpoint[] = [];
  for (const place of places.split(",")) {
    if (place.startsWith("/")) {
      hosts.push({ host: place, port: DEFAULT_PORT });
      continue;
    }
    const [, bracketed, plain = "", digits] =
      /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{0,5}))?$/.exec(place) ?? [];
    const host = bracketed ?? plain;
    if (digits === "") return "has a colon without a port: write HOST:PORT or HOST";
    const port = digits === undefined ? DEFAULT_PORT : Number(digits);
    if (isIP(host) === 0 && !isHostname(host)) return `has no host: ${EXAMPLE}`;
    if (port < 1 || port > 65_535) return "has a port that is not between 1 and 65535";
    hosts.push({ host, port });
  }
  return hosts.length > MOST_HOSTS ? `has more than ${MOST_HOSTS} hosts` : hosts;
}

/** The TLS settings, or a fault. */
function tlsOf(
  hosts: readonly Endpoint[],
  settings: URLSearchParams,
): SharedDatabase["tls"] | string {
  const ca = settings.get("sslrootcert") ?? undefined;
  const mode =
    settings.get("sslmode") ?? (ca !== undefined || !isHere(hosts) ? VERIFIED : "disable");
  if (mode === VERIFIED) return { ca };
  if (mode !== "disable") {
    return `has an sslmode that does not verify the server: write sslmode=${VERIFIED}`;
  }
  return ca === undefined ? undefined : "has an sslrootcert, which sslmode=disable does not use";
}

const VERIFIED = "verify-full";

function isHere(hosts: readonly Endpoint[]): boolean {
  return hosts.every(({ host }) => /^\/|^localhost$|^127\.|^::1$/.test(plainHost(host)));
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The database for output: hosts and name, without user and password. */
export function formatShared({ hosts, database }: SharedDatabase): string {
  const places = hosts.map((one) => (one.host.startsWith("/") ? one.host : formatEndpoint(one)));
  return `${places.join(",")}/${database}`;
}
