/**
 * `kxgw check FILE`: is this configuration usable, and what does it say. Offline: it reads the file
 * and the environment and touches neither network nor log. Faults and warnings go to stderr in the
 * form that compilers use, so that editors can jump to them; the summary goes to stdout. The relay
 * is shown without user and password.
 */
import { resolve } from "node:path";
import { redactedRelay } from "../config/addresses.js";
import type { Config, Endpoint, LocalDelivery, Neighbour } from "../config/config.js";
import type { Environment } from "../config/environment.js";
import { loadConfig, warningsOf } from "../config/load.js";
import { formatDuration, formatEndpoint } from "../config/units.js";
import { sharedAddresses } from "../config/warnings.js";
import { ConfigFaults, EXIT } from "../errors.js";
import { listed, several } from "../text.js";
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
    out.stdout(`${file}: ok\n${configSummary(config)}`);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    // A list that the file names has a name of its own.
    const name = error.file === resolve(file) ? file : error.file;
    for (const fault of error.faults) out.stderr(`${faultLine(name, fault)}\n`);
    return EXIT.config;
  }
}

/** Site, log, listeners and neighbours with their road, a line each; holds no secret. */
export function configSummary(config: Config): string {
  const { log, smtp, spool, hkp, kx, outbound, local, admin } = config;
  const { retainMs, rememberMs } = log;
  const periods = `keeps ${formatDuration(retainMs)}, remembers ${formatDuration(rememberMs)}`;
  const lines: readonly (readonly [string, string])[] = [
    ["mode", config.mode === "bridge" ? "bridge" : "observe (nothing is sent)"],
    ["site", config.site.address],
    ["log", `${log.path} (${periods})`],
    ["smtp", smtp ? mailPlaces(smtp) : "none"],
    ...(spool ? [["spool", places(spool.watch)] as const] : []),
    ...(hkp
      ? [["hkp", `${endpoints(hkp.listen)}${hkp.open ? ", open to all" : ""}`] as const]
      : []),
    ["kx", kx ? endpoints(kx.listen) : "none"],
    ["outbound", outbound ? redactedRelay(outbound.relay) : "none"],
    ...(local ? [["local", besides(local)] as const] : []),
    ...carriage(config.policy).map((line) => ["policy", line] as const),
    ["admin", admin ? formatEndpoint(admin.listen) : "none"],
    ...config.neighbours.map((neighbour) => ["peer", road(neighbour, config)] as const),
    ...sharedAddresses(config)
      .filter(({ isTold }) => isTold)
      .map(({ host, peers }) => ["note", neighboursAt(host, peers)] as const),
  ];
  return lines.map(([name, value]) => `  ${name.padEnd(9)} ${value}\n`).join("");
}

function neighboursAt(host: string, peers: readonly { readonly name: string }[]): string {
  const names = listed(peers.map(({ name }) => name));
  return `${names} share ${host}; TLS and their certificates tell them apart`;
}

function endpoints(listen: readonly Endpoint[]): string {
  return places(listen.map(formatEndpoint));
}

/** Where mail is taken, as the config writes it. */
export function mailPlaces({ listen, inherited, sockets }: NonNullable<Config["smtp"]>): string {
  const ours = inherited.map((name) => `systemd:${name}`);
  return places([...listen.map(formatEndpoint), ...ours, ...sockets]);
}

function places(all: readonly string[]): string {
  return all.join(", ") || "nowhere";
}

/** How the keyserver beside us gets its updates. */
function besides(local: LocalDelivery): string {
  switch (local.type) {
    case "pksd":
    case "sks":
      return `${local.type}, mails left in ${local.directory}`;
    case "hkp":
      return `hkp, posted to ${redactedRelay(local.url)}`;
    case "command":
      return `mails piped to ${local.command[0] ?? ""}`;
    default:
      return local satisfies never;
  }
}

/** Which keys are not carried, as far as the configuration says. */
function carriage({ carried, carry, newKeys, blocks, blocklist }: Config["policy"]): string[] {
  const lines: string[] = [];
  if (carried !== undefined) lines.push(`carries ${several(carried.size, "key")} of ${carry}`);
  else if (!newKeys) lines.push("takes no new keys");
  if (blocklist !== undefined) lines.push(`blocks ${several(blocks.size, "key")} of ${blocklist}`);
  return lines;
}

/** Name and road of a neighbour, and whether the section is missing that the road goes through. */
function road({ name, via, fallbackMs, mail, kx, dial }: Neighbour, config: Config): string {
  const unless = (section: unknown, note: string) => (section ? "" : `; there is no ${note}`);
  const endpoint = `kx ${kx ? formatEndpoint(kx) : ""}, ${dial ? "dialled by us" : "dials us"}`;
  const byKx = `${endpoint}${unless(config.kx, "[kx] to speak it")}`;
  const byMail = `mail to ${mail}${unless(config.outbound, "[outbound] to send it")}`;
  switch (via) {
    case "kx":
      return `${name}: ${byKx}`;
    case "both":
      return `${name}: ${byKx}; and ${byMail}`;
    case "auto":
      return `${name}: ${byKx}; ${byMail} when KX is down for ${formatDuration(fallbackMs)}`;
    case "mail": {
      const unused = kx ? `; kx ${formatEndpoint(kx)} is not used with via = "mail"` : "";
      if (mail !== undefined) return `${name}: ${byMail}${unused}`;
      return `${name}: mail from it only${unless(config.smtp, "[smtp] to take it")}${unused}`;
    }
    default:
      return via satisfies never;
  }
}
