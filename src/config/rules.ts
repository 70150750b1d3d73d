/**
 * Rules about several keys of the configuration: periods in their order, one owner for
 * each name, address and port, and a path to every neighbour. It works on partly read settings
 * and ignores keys that are invalid themselves.
 */
import type { z } from "zod";
import { plainHost } from "../ip-address.js";
import { addressKey, isSameAddress } from "../mail-address.js";
import type { Endpoint } from "./config.js";
import type { KeyPath } from "./locate.js";
import { defaultVia } from "./paths.js";
import { quoted } from "./quote.js";
import type { lists, sections } from "./schema.js";
import { formatDuration, formatEndpoint } from "./units.js";

/** A fault by the path of its key. */
export interface PathFault {
  readonly path: KeyPath;
  readonly message: string;
}

/** The valid keys of a section, and the names of all keys that were present. */
export interface Partly<S extends z.ZodObject> {
  readonly values: Partial<z.output<S>>;
  readonly given: ReadonlySet<string>;
}

/** The valid settings; a missing section is undefined. */
export type PartlySettings = {
  readonly [K in keyof typeof sections]: Partly<(typeof sections)[K]> | undefined;
} & {
  readonly [K in keyof typeof lists]: readonly (Partly<(typeof lists)[K]> | undefined)[];
};

/** All errors that concern several keys. */
export function crossFaults(settings: PartlySettings): PathFault[] {
  return [
    ...periodFaults(settings),
    ...listenerFaults(settings),
    ...localFaults(settings),
    ...bounceFaults(settings),
    ...roadFaults(settings),
    ...repairFaults(settings),
    ...tlsFaults(settings),
    ...sharedFaults(settings),
    ...reconFaults(settings),
  ];
}

function periodFaults({ log }: PartlySettings): PathFault[] {
  const { retain, remember } = log?.values ?? {};
  if (retain === undefined || remember === undefined || remember >= retain) return [];
  const kept = formatDuration(retain);
  const message =
    `${formatDuration(remember)} is less than log.retain (${kept}), so that known updates would ` +
    `be accepted as new: write ${kept} or more`;
  return [{ path: ["log", "remember"], message }];
}

function listenerFaults({ smtp, hkp, kx, admin }: PartlySettings): PathFault[] {
  const taken: { readonly endpoint: Endpoint; readonly key: string }[] = [];
  const faults: PathFault[] = [];
  const take = (endpoint: Endpoint, section: string, path: (string | number)[]) => {
    if (endpoint.port === 0) return;
    const other = taken.find((earlier) => collide(earlier.endpoint, endpoint));
    taken.push({ endpoint, key: `${section}.listen` });
    if (!other) return;
    const where = `${formatEndpoint(other.endpoint)} of ${other.key}`;
    faults.push({
      path,
      message: `${formatEndpoint(endpoint)} is the same port as ${where}: write another one`,
    });
  };
  smtp?.values.listen?.forEach((listener, i) => {
    if ("port" in listener) take(listener, "smtp", ["smtp", "listen", i]);
  });
  hkp?.values.listen?.forEach((endpoint, i) => {
    take(endpoint, "hkp", ["hkp", "listen", i]);
  });
  kx?.values.listen?.forEach((endpoint, i) => {
    take(endpoint, "kx", ["kx", "listen", i]);
  });
  if (admin?.values.listen) take(admin.values.listen, "admin", ["admin", "listen"]);
  return faults;
}

/**
 * Whether two listeners use one port: on the same host, or one of them on every address of the
 * family. "::" means both families, since Node opens such a socket for IPv4 as well.
 */
function collide(a: Endpoint, b: Endpoint): boolean {
  if (a.port !== b.port) return false;
  const [hostA, hostB] = [plainHost(a.host), plainHost(b.host)];
  if (hostA === hostB || hostA === "::" || hostB === "::") return true;
  if (hostA.includes(":") || hostB.includes(":")) return false;
  return hostA === "0.0.0.0" || hostB === "0.0.0.0";
}

/** The required key of each type of [local], an example, and the optional keys. */
const LOCAL_KEYS = {
  pksd: { needs: "directory", example: '"/var/spool/pks"', may: ["notify", "url"] },
  sks: { needs: "directory", example: '"/var/spool/sks/messages"', may: ["url"] },
  hkp: { needs: "url", example: '"http://127.0.0.1:11371"', may: [] },
  command: { needs: "command", example: '["/usr/bin/onak-mail.pl"]', may: ["url"] },
  none: { needs: undefined, example: "", may: [] },
} as const;

/** The keys of [local] match its type, and its directory is not one of [spool]. */
function localFaults({ local, spool }: PartlySettings): PathFault[] {
  const type = local?.values.type;
  if (local === undefined || type === undefined) return [];
  const faults: PathFault[] = [];
  const { needs, example, may } = LOCAL_KEYS[type];
  const empty = needs === "command" && local.values.command?.length === 0;
  if (needs !== undefined && (empty || !local.given.has(needs))) {
    const message = `is missing and required by type = "${type}": write ${needs} = ${example}`;
    faults.push({ path: ["local", needs], message });
  }
  for (const key of ["directory", "notify", "url", "command"] as const) {
    if (!local.given.has(key) || key === needs || may.some((other) => other === key)) continue;
    const message = `is not used with type = "${type}": remove it or change the type`;
    faults.push({ path: ["local", key], message });
  }
  const { directory, kind } = local.values;
  if (kind !== undefined && kind !== type && (type === "pksd" || type === "sks")) {
    const message = `is "${kind}", but type = "${type}" is for ${type} alone: remove kind`;
    faults.push({ path: ["local", "kind"], message });
  }
  if (directory !== undefined && spool?.values.watch?.includes(directory)) {
    const message =
      "is read by [spool], so that each update would come back: write another directory";
    faults.push({ path: ["local", "directory"], message });
  }
  return faults;
}

function bounceFaults({ site, outbound }: PartlySettings): PathFault[] {
  if (!isSameAddress(site?.values.address, outbound?.values.bounce)) return [];
  const message =
    "is the same as site.address, where bounces would be read as keys: write another address";
  return [{ path: ["outbound", "bounce"], message }];
}

/** A kxs:// peer needs our certificate, and a CA or pin for its own. */
function tlsFaults({ kx, peer }: PartlySettings): PathFault[] {
  const tls = kx?.values.tls;
  return peer.flatMap((entry, index): PathFault[] => {
    const { kx: endpoint, pin } = entry?.values ?? {};
    if (endpoint === undefined) return [];
    const path = ["peer", index, "kx"];
    if (!endpoint.secure) {
      const message = "is not used without kxs:// in the endpoint: add kxs://, or remove the pin";
      return pin === undefined ? [] : [{ path: ["peer", index, "pin"], message }];
    }
    if (kx !== undefined && tls === undefined && !kx.given.has("tls")) {
      const message = 'needs a certificate: write tls = { cert = "...", key = "..." } in [kx]';
      return [{ path, message }];
    }
    if (tls === undefined || tls.ca !== undefined || pin !== undefined) return [];
    return [{ path, message: "cannot be authenticated: write its pin, or a ca in [kx] tls" }];
  });
}

/** Repair by mail needs an address and a relay. */
function repairFaults({ outbound, peer }: PartlySettings): PathFault[] {
  return peer.flatMap((entry, index): PathFault[] => {
    if (entry?.values.repair?.type !== "mail") return [];
    const path = ["peer", index, "repair"];
    if (!entry.given.has("mail")) {
      return [{ path, message: '"mail" needs a mail address: write mail = "user@host"' }];
    }
    if (outbound !== undefined) return [];
    return [{ path, message: '"mail" needs a relay: write [outbound] with relay = "smtp://..."' }];
  });
}

/** A neighbour needs a usable path. */
function roadFaults({ peer }: PartlySettings): PathFault[] {
  const faults: PathFault[] = [];
  peer.forEach((entry, index) => {
    if (!entry) return;
    const { values, given } = entry;
    const fault = (key: string, message: string) => {
      faults.push({ path: ["peer", index, key], message });
    };
    if (!["mail", "accept_from", "kx"].some((key) => given.has(key))) {
      const message = 'has no path: write mail = "user@host", accept_from or kx = "host:port"';
      faults.push({ path: ["peer", index], message });
      return;
    }
    if (values.via === "kx" && !given.has("kx")) {
      fault("via", '"kx" needs the endpoint of the peer: write kx = "host:port"');
    }
    if (values.via === "mail" && !given.has("mail") && !given.has("accept_from")) {
      fault("via", '"mail" needs an address: write mail = "user@host", or via = "kx"');
    }
    if (given.has("accept_rate") && !given.has("mail") && !given.has("accept_from")) {
      fault("accept_rate", "applies to mail and HKP, for which the peer has no address: remove it");
    }
    if (values.via === "both" || values.via === "auto") {
      const way = `"${values.via}" needs both paths, but there is no`;
      if (!given.has("kx")) fault("via", `${way} kx endpoint: write kx = "host:port"`);
      if (!given.has("mail")) fault("via", `${way} mail address: write mail = "user@host"`);
    }
    if (given.has("fallback_after") && values.via !== "auto") {
      const clear = !given.has("via") || values.via !== undefined;
      if (clear) fault("fallback_after", 'is used with via = "auto" only: remove it');
    }
    for (const key of ["fetch_rate", "quiet_hours"]) {
      const via = values.via ?? defaultVia({ mail: given.has("mail"), kx: given.has("kx") });
      if (!given.has(key) || (given.has("kx") && via !== "mail")) continue;
      fault(key, "applies to KX, which is not used for this peer: remove it");
    }
    if (values.dial === true && !given.has("kx")) {
      fault("dial", 'true needs an endpoint: write kx = "host:port"');
    }
    if (values.dial === true && values.kx?.port === 0) {
      fault("kx", "port 0 cannot be dialled: write the port that the peer listens on");
    }
  });
  return faults;
}

/** Names, KX endpoints and mail addresses belong to one neighbour each. */
function sharedFaults({ site, outbound, peer }: PartlySettings): PathFault[] {
  const faults: PathFault[] = [];
  const owners = new Map<string, string>();
  const own = [
    ["site.address", site?.values.address],
    ["outbound.bounce", outbound?.values.bounce],
  ] as const;
  peer.forEach((entry, index) => {
    if (!entry) return;
    const { values } = entry;
    const name = values.name === undefined ? `peer[${index}]` : `peer ${quoted(values.name)}`;
    const claim = (key: string, value: string | undefined, message: (owner: string) => string) => {
      if (value === undefined) return;
      const owner = owners.get(`${key} ${value}`);
      if (owner === undefined) owners.set(`${key} ${value}`, name);
      else faults.push({ path: ["peer", index, key], message: message(owner) });
    };
    claim("name", values.name, (owner) => `${owner} exists already: write another name`);
    const { kx } = values;
    const endpoint = kx && formatEndpoint({ ...kx, host: plainHost(kx.host) });
    claim("kx", endpoint, (owner) => `is also the endpoint of ${owner}: make them one [[peer]]`);
    const { mail } = values;
    claim(
      "mail",
      mail && addressKey(mail),
      (owner) => `is also the address of ${owner}: make them one [[peer]]`,
    );
    for (const [key, address] of own) {
      if (!isSameAddress(mail, address)) continue;
      const message = `is the same as ${key}: write the address of the neighbour`;
      faults.push({ path: ["peer", index, "mail"], message });
    }
  });
  return faults;
}

/** A server is followed once, and what it is depends on its address. */
function reconFaults({ recon }: PartlySettings): PathFault[] {
  const taken = new Set<string>();
  return recon.flatMap((entry, index): PathFault[] => {
    const path = ["recon", index, "server"];
    if (entry === undefined) return [];
    const { server } = entry.values;
    if (server === undefined) return [];
    const name = formatEndpoint({ ...server, host: plainHost(server.host) });
    if (!taken.has(name)) {
      taken.add(name);
      return [];
    }
    return [{ path, message: "is followed by another [[recon]]: remove one of them" }];
  });
}
