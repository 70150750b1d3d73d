/**
 * Turns a file into a frozen `Config`, or into all its errors at once, each with line, column, key
 * and remedy. Environment variables override the file, the file overrides defaults. All steps but
 * the reading are pure; the path of the log is made absolute and not checked. An error in an
 * environment variable has no position and names the variable. A syntax error hides the
 * errors after it, because there is no tree. Messages never quote a line of the file: it may
 * contain the password of the relay.
 */
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import type { ConfigFault } from "../errors.js";
import { ConfigFaults } from "../errors.js";
import { domainOf } from "../mail-address.js";
import { certificateFaults } from "./certificates.js";
import type {
  Config,
  LocalDelivery,
  Neighbour,
  ReconServerSettings,
  SharedDatabase,
} from "./config.js";
import type { Environment } from "./environment.js";
import { overlay } from "./environment.js";
import { withKeyLists } from "./key-lists.js";
import type { Position } from "./locate.js";
import { formatKey, locateKeys, MAX_DEPTH, positionOf } from "./locate.js";
import { withRelayPassword, withSharedPassword } from "./passwords.js";
import { defaultVia } from "./paths.js";
import { reasonOf } from "./reason.js";
import type { PathFault } from "./rules.js";
import type { PeerSettings, ReconSettings, Settings } from "./schema.js";
import { configSchema } from "./schema.js";
import { settingsFaults } from "./settings.js";
import { readText } from "./text-file.js";
import { formatEndpoint } from "./units.js";
import { configWarnings, relayFaults } from "./warnings.js";

/** A configuration of a thousand neighbours is smaller. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Longer than a restart or a short network failure. */
const FALLBACK_MS = 10 * 60_000;

/** Reads and checks `file`. Throws `ConfigFaults` (its path absolute), also when unreadable. */
export function loadConfig(file: string, env: Environment): Config {
  const absolute = resolve(file);
  let text: string;
  try {
    text = readText(absolute, MAX_FILE_BYTES);
  } catch (error) {
    const message = `cannot be read: ${reasonOf(error)}`;
    throw new ConfigFaults(absolute, [{ line: undefined, column: undefined, key: "", message }]);
  }
  const config = parseConfig(text, absolute, dirname(absolute), env);
  const faults = certificateFaults(config);
  const relayed = withRelayPassword(config);
  if ("message" in relayed) faults.push(relayed);
  const complete = withSharedPassword("message" in relayed ? config : relayed, env);
  if ("message" in complete) faults.push(complete);
  if (faults.length > 0 || "message" in complete) {
    throw new ConfigFaults(absolute, locatedFaults(faults, locateKeys(text)));
  }
  return deepFreeze(withKeyLists(complete));
}

/** The warnings about a configuration that was read from `file`, with their places. */
export function warningsOf(file: string, config: Config): ConfigFault[] {
  return locatedIn(file, configWarnings(config));
}

/** Its faults with which a gateway starts and some neighbour gets nothing, with their places. */
export function relayFaultsOf(file: string, config: Config): ConfigFault[] {
  return locatedIn(file, relayFaults(config));
}

function locatedIn(file: string, faults: readonly PathFault[]): ConfigFault[] {
  if (faults.length === 0) return [];
  return locatedFaults(faults, locateKeys(readText(resolve(file), MAX_FILE_BYTES)));
}

/**
 * Checks the text of a configuration. `file` names it in faults and in the result, relative paths
 * in it are relative to `directory`. Throws `ConfigFaults`.
 */
export function parseConfig(
  text: string,
  file: string,
  directory: string,
  env: Environment,
): Config {
  if (text.length > MAX_FILE_BYTES) {
    const message = "is larger than 1 MiB, the limit for a configuration";
    throw new ConfigFaults(file, [{ line: undefined, column: undefined, key: "", message }]);
  }
  let tree: Record<string, unknown>;
  try {
    tree = parse(text, { maxDepth: MAX_DEPTH });
  } catch (error) {
    throw new ConfigFaults(file, [syntaxFault(error)]);
  }
  return buildConfig(tree, () => locateKeys(text), file, resolve(directory, file), directory, env);
}

/**
 * Checks a tree of sections and keys, which it may change, and makes a frozen `Config` of it.
 * `locate` is called for positions only if there is an error. Throws `ConfigFaults` under the name
 * `label`; `file` goes into the result.
 */
export function buildConfig(
  tree: Record<string, unknown>,
  locate: () => ReadonlyMap<string, Position>,
  label: string,
  file: string | undefined,
  directory: string,
  env: Environment,
): Config {
  const { origins, faults: strangers } = overlay(tree, env);
  const faults = settingsFaults(tree);
  if (faults.length === 0 && strangers.length === 0) {
    return deepFreeze(configOf(configSchema.parse(tree), file, directory));
  }
  const positions = locate();
  const located = faults.map(({ path, message }): ConfigFault => {
    const key = formatKey(path);
    const variable = origins.get(formatKey(path.slice(0, 2))) ?? origins.get(key);
    if (variable !== undefined) {
      return { line: undefined, column: undefined, key, message: `${message} (from ${variable})` };
    }
    const position = positionOf(positions, path);
    return { line: position?.line, column: position?.column, key, message };
  });
  const foreign = strangers.map(({ variable, message }): ConfigFault => {
    return { line: undefined, column: undefined, key: formatKey([variable]), message };
  });
  throw new ConfigFaults(label, [...located, ...foreign].sort(byPosition));
}

function configOf(settings: Settings, file: string | undefined, directory: string): Config {
  const { mode, site, log, smtp, spool, hkp, kx, outbound, local, admin, policy } = settings;
  return {
    file,
    mode,
    site: { address: site.address, contact: site.contact ?? site.address },
    log: {
      path: resolve(directory, log.path),
      retainMs: log.retain,
      rememberMs: log.remember,
      holdBytes: log.hold,
      shared: log.shared && sharedOf(log.shared, directory),
      sharedPasswordFile:
        log.shared_password_file === undefined
          ? undefined
          : resolve(directory, log.shared_password_file),
      node: log.node,
    },
    smtp: smtp && {
      listen: smtp.listen.filter((listener) => "port" in listener),
      inherited: smtp.listen.flatMap((listener) =>
        "inherited" in listener ? [listener.inherited] : [],
      ),
      sockets: smtp.listen.flatMap((listener) =>
        "socket" in listener ? [resolve(directory, listener.socket)] : [],
      ),
      socketMode: smtp.socket_mode,
      hostname: smtp.hostname ?? domainOf(site.address),
      maxSizeBytes: smtp.max_size,
      front: smtp.front,
      tls: smtp.tls && {
        cert: resolve(directory, smtp.tls.cert),
        key: resolve(directory, smtp.tls.key),
      },
    },
    spool: spool && {
      watch: spool.watch.map((path) => resolve(directory, path)),
      everyMs: spool.every,
      keepRefusedMs: spool.keep_refused,
    },
    hkp: hkp && {
      listen: hkp.listen,
      open: hkp.open,
      strangerRate: hkp.stranger_rate,
      maxSizeBytes: hkp.max_size,
    },
    kx: kx && {
      listen: kx.listen,
      source: kx.source,
      reconnect: kx.reconnect,
      reconcile: kx.reconcile,
      tls: kx.tls && {
        cert: resolve(directory, kx.tls.cert),
        key: resolve(directory, kx.tls.key),
        ca: kx.tls.ca === undefined ? undefined : resolve(directory, kx.tls.ca),
      },
    },
    outbound: outbound && {
      relay: outbound.relay,
      relayPasswordFile:
        outbound.relay_password_file && resolve(directory, outbound.relay_password_file),
      bounce: outbound.bounce,
      retry: outbound.retry,
      ca: outbound.ca === undefined ? undefined : resolve(directory, outbound.ca),
    },
    local: local && localOf(local, directory),
    admin: admin && {
      listen: admin.listen,
      names: admin.names,
      publicStatus: admin.public_status,
    },
    policy: {
      maxUpdateBytes: policy.max_update,
      maxPackets: policy.max_packets,
      maxPacketBytes: policy.max_packet,
      maxSignatureBytes: policy.max_signature,
      maxUserIdBytes: policy.max_user_id,
      maxAttributeBytes: policy.max_attribute,
      attributes: policy.attributes,
      forward: policy.forward,
      blocklist: policy.blocklist === undefined ? undefined : resolve(directory, policy.blocklist),
      blocks: new Map(),
      carry: policy.carry === undefined ? undefined : resolve(directory, policy.carry),
      carried: undefined,
      newKeys: policy.new_keys,
    },
    neighbours: settings.peer.map((peer) => neighbourOf(peer, kx?.version ?? "1.1")),
    recon: settings.recon.map(reconOf),
  };
}

/** The shared database with an absolute path of its CA. */
function sharedOf(shared: SharedDatabase, directory: string): SharedDatabase {
  const ca = shared.tls?.ca;
  return ca === undefined ? shared : { ...shared, tls: { ca: resolve(directory, ca) } };
}

/** The settings of [local]; `rules.ts` has checked that the keys of its type are present. */
function localOf(
  local: NonNullable<Settings["local"]>,
  directory: string,
): LocalDelivery | undefined {
  const { type, address, max_mail: maxMailBytes, retry } = local;
  const ours = { address, kind: local.kind, url: local.url, maxMailBytes, retry };
  const path = resolve(directory, local.directory ?? "");
  switch (type) {
    case "pksd":
      return { type, directory: path, notify: local.notify, ...ours, kind: type };
    case "sks":
      return { type, directory: path, ...ours, kind: type };
    case "hkp":
      return { type, ...ours, url: local.url ?? "" };
    case "command":
      return { type, command: local.command ?? [], ...ours };
    case "none":
      return undefined;
    default:
      return type satisfies never;
  }
}

/** `kxVersion` is that of [kx]. */
function neighbourOf(peer: PeerSettings, kxVersion: Neighbour["kxVersion"]): Neighbour {
  const given = { mail: peer.mail !== undefined, kx: peer.kx !== undefined };
  return {
    name: peer.name,
    via: peer.via ?? defaultVia(given),
    isViaSet: peer.via !== undefined,
    fallbackMs: peer.fallback_after ?? FALLBACK_MS,
    mail: peer.mail,
    kind: peer.kind,
    acceptFrom: peer.accept_from,
    acceptRate: peer.accept_rate,
    maxMailBytes: peer.max_mail,
    maxRate: peer.max_rate,
    requireTls: peer.require_tls,
    kx: peer.kx && { host: peer.kx.host, port: peer.kx.port },
    tls: peer.kx?.secure ? { pin: peer.pin } : undefined,
    dial: peer.dial,
    kxVersion: peer.kx_version ?? kxVersion,
    fetchRate: peer.fetch_rate,
    quietHours: peer.quiet_hours,
    repair: peer.repair,
  };
}

function reconOf({ server, hkp, poll, start, rate }: ReconSettings): ReconServerSettings {
  // SKS and Hockeypuck have HKP on the port behind that of recon.
  const beside = { host: server.host, port: server.port + 1 };
  return {
    name: formatEndpoint(server),
    server,
    hkp: hkp ?? `http://${formatEndpoint(beside)}`,
    pollMs: poll,
    start,
    rate,
  };
}

/** Errors of files that the configuration names, in the order of their keys. */
function locatedFaults(
  faults: readonly PathFault[],
  positions: ReadonlyMap<string, Position>,
): ConfigFault[] {
  return faults
    .map(({ path, message }): ConfigFault => {
      const position = positionOf(positions, path);
      return { line: position?.line, column: position?.column, key: formatKey(path), message };
    })
    .sort(byPosition);
}

function syntaxFault(error: unknown): ConfigFault {
  if (!(error instanceof TomlError)) {
    // The parser failed; for the operator this is an error of the file.
    const message = "cannot be parsed as TOML";
    return { line: undefined, column: undefined, key: "", message };
  }
  // The lines below the first one show the text of the file.
  const [reason = ""] = error.message.split("\n");
  const message = `not TOML: ${reason.replace("Invalid TOML document: ", "")}`;
  return { line: error.line, column: error.column, key: "", message };
}

/** In the order of the file; errors without a position come last. */
function byPosition(a: ConfigFault, b: ConfigFault): number {
  const end = Number.MAX_SAFE_INTEGER;
  return (a.line ?? end) - (b.line ?? end) || (a.column ?? end) - (b.column ?? end);
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
