/**
 * `kxgw check FILE`: validates a configuration and prints a summary. Offline: it reads the file
 * and the environment and does not use the network. Of the update log, if there is one, it reads
 * which queues have no neighbour in the file. Errors and warnings go to stderr in the
 * format of compilers, so that editors can jump to them; the summary goes to stdout. The relay
 * is printed without user and password.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { redactedRelay } from "../config/addresses.js";
import type {
  Config,
  Endpoint,
  LocalDelivery,
  Neighbour,
  ReconServerSettings,
  SharedDatabase,
} from "../config/config.js";
import type { Environment } from "../config/environment.js";
import { loadConfig, relayFaultsOf, warningsOf } from "../config/load.js";
import { formatShared } from "../config/shared-database.js";
import { formatDuration, formatEndpoint } from "../config/units.js";
import { sharedAddresses } from "../config/warnings.js";
import { ConfigFaults, EXIT, Trouble } from "../errors.js";
import { unownedLanes } from "../status/status.js";
import { listed, several } from "../text.js";
import { withLog } from "./daemon.js";
import { faultLine, type Output } from "./output.js";

/**
 * Checks `file` and returns the exit code: 0 with `FILE: ok` and a summary on stdout, or 78 with
 * `FILE:LINE:COLUMN: key: message` for each fault on stderr. A warning has the same form.
 */
export function checkCommand(file: string, out: Output, env: Environment): number {
  try {
    const config = loadConfig(file, env);
    for (const { message, ...place } of warningsOf(file, config)) {
      out.stderr(`${faultLine(file, { ...place, message: `warning: ${message}` })}\n`);
    }
    for (const message of lostQueues(config)) {
      const place = { line: undefined, column: undefined, key: "peer" };
      out.stderr(`${faultLine(file, { ...place, message: `warning: ${message}` })}\n`);
    }
    const faults = relayFaultsOf(file, config);
    for (const fault of faults) out.stderr(`${faultLine(file, fault)}\n`);
    if (faults.length > 0) return EXIT.config;
    out.stdout(`${file}: ok\n${configSummary(config)}`);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    // A key list that the config names is a file of its own.
    const name = error.file === resolve(file) ? file : error.file;
    for (const fault of error.faults) out.stderr(`${faultLine(name, fault)}\n`);
    return EXIT.config;
  }
}

/** Queues of the log without a neighbour in the file; none if the log cannot be read. */
function lostQueues(config: Config): string[] {
  if (!existsSync(config.log.path)) return [];
  try {
    return withLog(config, (sources) => unownedLanes(sources)).map(({ name, address, backlog }) => {
      const at = address === null ? "" : ` (${address})`;
      const words = `the log has a queue of ${name}${at} with ${several(backlog, "update")}`;
      return `${words}, and no neighbour has this name or address`;
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Who may not read the log may still check the file.
    if (error instanceof Trouble || code === "EACCES" || code === "EPERM") return [];
    throw error;
  }
}

/** Site, log, listeners and neighbours with their paths, one line each; contains no secret. */
export function configSummary(config: Config): string {
  const { log, smtp, spool, hkp, kx, outbound, local, admin } = config;
  const { retainMs, rememberMs } = log;
  const periods = `retain ${formatDuration(retainMs)}, remember ${formatDuration(rememberMs)}`;
  const lines: readonly (readonly [string, string])[] = [
    ["mode", config.mode === "bridge" ? "bridge" : "observe (nothing is sent)"],
    ["site", config.site.address],
    ["log", `${log.path} (${periods})`],
    ...(log.shared ? [["shared", sharing(log.shared)] as const] : []),
    ["smtp", smtp ? mailPlaces(smtp) : "none"],
    ...(spool ? [["spool", places(spool.watch)] as const] : []),
    ...(hkp
      ? [["hkp", `${endpoints(hkp.listen)}${hkp.open ? ", open to everyone" : ""}`] as const]
      : []),
    ["kx", kx ? endpoints(kx.listen) : "none"],
    ["outbound", outbound ? redactedRelay(outbound.relay) : "none"],
    ...(local ? [["local", besides(local)] as const] : []),
    ...carriage(config.policy).map((line) => ["policy", line] as const),
    ["admin", admin ? formatEndpoint(admin.listen) : "none"],
    ...config.neighbours.map((neighbour) => ["peer", road(neighbour, config)] as const),
    ...config.recon.map((server) => ["recon", following(server)] as const),
    ...sharedAddresses(config)
      .filter(({ isTold }) => isTold)
      .map(({ host, peers }) => ["note", neighboursAt(host, peers)] as const),
  ];
  return lines.map(([name, value]) => `  ${name.padEnd(9)} ${value}\n`).join("");
}

/** The database of which the log is a copy. */
function sharing(shared: SharedDatabase): string {
  const { tls } = shared;
  const how = tls ? `TLS verified with ${tls.ca ?? "the CAs of the system"}` : "without TLS";
  return `${formatShared(shared)}, ${how}; the log is a copy of it`;
}

function neighboursAt(host: string, peers: readonly { readonly name: string }[]): string {
  const names = listed(peers.map(({ name }) => name));
  return `${names} share ${host}; their certificates identify them`;
}

/** A server that is followed, and what is fetched of it. */
function following({ name, hkp, pollMs, start }: ReconServerSettings): string {
  const what = start === "all" ? "all keys" : "what changes from now on";
  return `${name} is followed every ${formatDuration(pollMs)}, ${what} from ${hkp}`;
}

function endpoints(listen: readonly Endpoint[]): string {
  return places(listen.map(formatEndpoint));
}

/** The listeners for mail, as the config writes them. */
export function mailPlaces({ listen, inherited, sockets }: NonNullable<Config["smtp"]>): string {
  const ours = inherited.map((name) => `systemd:${name}`);
  return places([...listen.map(formatEndpoint), ...ours, ...sockets]);
}

function places(all: readonly string[]): string {
  return all.join(", ") || "nowhere";
}

/** How the local keyserver receives its updates. */
function besides(local: LocalDelivery): string {
  switch (local.type) {
    case "pksd":
    case "sks":
      return `${local.type}, mails written to ${local.directory}`;
    case "hkp":
      return `hkp, posted to ${redactedRelay(local.url)}`;
    case "command":
      return `mails piped to ${local.command[0] ?? ""}`;
    default:
      return local satisfies never;
  }
}

/** Which keys the configuration excludes. */
function carriage({ carried, carry, newKeys, blocks, blocklist }: Config["policy"]): string[] {
  const lines: string[] = [];
  if (carried !== undefined)
    lines.push(`carries only the ${several(carried.size, "key")} in ${carry}`);
  else if (!newKeys) lines.push("accepts no new keys");
  if (blocklist !== undefined)
    lines.push(`blocks the ${several(blocks.size, "key")} in ${blocklist}`);
  return lines;
}

/** Name and paths of a neighbour, and the section that a path needs, if it is missing. */
function road({ name, via, fallbackMs, mail, kx, dial }: Neighbour, config: Config): string {
  const unless = (section: unknown, note: string) =>
    section ? "" : `; not used: the config has no ${note}`;
  const dialler = dial ? "dialled by the gateway" : "dials the gateway";
  const endpoint = `kx ${kx ? formatEndpoint(kx) : ""}, ${dialler}`;
  const byKx = `${endpoint}${unless(config.kx, "[kx] section")}`;
  const byMail = `mail to ${mail}${unless(config.outbound, "[outbound] section")}`;
  switch (via) {
    case "kx":
      return `${name}: ${byKx}`;
    case "both":
      return `${name}: ${byKx}; ${byMail}`;
    case "auto":
      return `${name}: ${byKx}; ${byMail} after KX has been down for ${formatDuration(fallbackMs)}`;
    case "mail": {
      const unused = kx ? `; kx ${formatEndpoint(kx)} is not used with via = "mail"` : "";
      if (mail !== undefined) return `${name}: ${byMail}${unused}`;
      return `${name}: receives mail from it only${unless(config.smtp, "[smtp] section")}${unused}`;
    }
    default:
      return via satisfies never;
  }
}
