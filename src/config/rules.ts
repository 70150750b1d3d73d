/**
 * What keys of the configuration have to say to each other: periods in their order, one owner for
 * each name, address and port, and a road to every neighbour. Works on settings that were read only
 * in part, and stays silent about a key that is itself at fault.
 */
import type { z } from "zod";
import { plainHost } from "../ip-address.js";
import { addressKey, isSameAddress } from "../mail-address.js";
import type { Endpoint } from "./config.js";
import type { KeyPath } from "./locate.js";
import { defaultVia } from "./paths.js";
import { quoted } from "./quote.js";
import type { peerSchema, sections } from "./schema.js";
import { formatDuration, formatEndpoint } from "./units.js";

/** A fault by the path of its key. */
export interface PathFault {
  readonly path: KeyPath;
  readonly message: string;
}

/** A section as far as it could be read, and which of its keys were there at all. */
export interface Partly<S extends z.ZodObject> {
  readonly values: Partial<z.output<S>>;
  readonly given: ReadonlySet<string>;
}

/** The settings as far as they could be read; a section that is left out is undefined. */
export type PartlySettings = {
  readonly [K in keyof typeof sections]: Partly<(typeof sections)[K]> | undefined;
} & { readonly peer: readonly (Partly<typeof peerSchema> | undefined)[] };

/** Every fault that needs two keys to be seen. */
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
  ];
}

function periodFaults({ log }: PartlySettings): PathFault[] {
  const { retain, remember } = log?.values ?? {};
  if (retain === undefined || remember === undefined || remember >= retain) return [];
  const kept = formatDuration(retain);
  const message =
    `${formatDuration(remember)} is less than the ${kept} of log.retain: ` +
    `write ${kept} or more, or an update comes back as new`;
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
      message: `${formatEndpoint(endpoint)} and ${where} are one port: write another one`,
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
 * Two listeners on one port: the same host, or one of them on every address of the family. "::"
 * is every address of both families, since Node opens such a socket for IPv4 as well.
 */
function collide(a: Endpoint, b: Endpoint): boolean {
  if (a.port !== b.port) return false;
  const [hostA, hostB] = [plainHost(a.host), plainHost(b.host)];
  if (hostA === hostB || hostA === "::" || hostB === "::") return true;
  if (hostA.includes(":") || hostB.includes(":")) return false;
  return hostA === "0.0.0.0" || hostB === "0.0.0.0";
}

/** What each type of [local] needs, an example of it, and what else it may have. */
const LOCAL_KEYS = {
  pksd: { needs: "directory", example: '"/var/spool/pks"', may: ["notify"] },
  sks: { needs: "directory", example: '"/var/spool/sks/messages"', may: [] },
  hkp: { needs: "url", example: '"http://127.0.0.1:11371"', may: [] },
  command: { needs: "command", example: '["/usr/bin/onak-mail.pl"]', may: [] },
  none: { needs: undefined, example: "", may: [] },
} as const;

/** The keys of [local] fit its type, and it does not write where [spool] reads. */
function localFaults({ local, spool }: PartlySettings): PathFault[] {
  const type = local?.values.type;
  if (local === undefined || type === undefined) return [];
  const faults: PathFault[] = [];
  const { needs, example, may } = LOCAL_KEYS[type];
  const empty = needs === "command" && local.values.command?.length === 0;
  if (needs !== undefined && (empty || !local.given.has(needs))) {
    const message = `is missing, "${type}" needs it: write ${needs} = ${example}`;
    faults.push({ path: ["local", needs], message });
  }
  for (const key of ["directory", "notify", "url", "command"] as const) {
    if (!local.given.has(key) || key === needs || may.some((other) => other === key)) continue;
    const message = `means nothing with type = "${type}": take it out or change the type`;
    faults.push({ path: ["local", key], message });
  }
  const { directory } = local.values;
  if (directory !== undefined && spool?.values.watch?.includes(directory)) {
    const message = "is watched by [spool], so that each update would come back: name another one";
    faults.push({ path: ["local", "directory"], message });
  }
  return faults;
}

function bounceFaults({ site, outbound }: PartlySettings): PathFault[] {
  if (!isSameAddress(site?.values.address, outbound?.values.bounce)) return [];
  const message = "is site.address, where bounces would be taken for keys: write another address";
  return [{ path: ["outbound", "bounce"], message }];
}

/** A kxs:// peer needs our certificate, and something that proves its own. */
function tlsFaults({ kx, peer }: PartlySettings): PathFault[] {
  const tls = kx?.values.tls;
  return peer.flatMap((entry, index): PathFault[] => {
    const { kx: endpoint, pin } = entry?.values ?? {};
    if (endpoint === undefined) return [];
    const path = ["peer", index, "kx"];
    if (!endpoint.secure) {
      const message = "means nothing without kxs:// before the endpoint: add that, or take it out";
      return pin === undefined ? [] : [{ path: ["peer", index, "pin"], message }];
    }
    if (kx !== undefined && tls === undefined && !kx.given.has("tls")) {
      const message = 'speaks TLS, for which [kx] has no tls = { cert = "...", key = "..." }';
      return [{ path, message }];
    }
    if (tls === undefined || tls.ca !== undefined || pin !== undefined) return [];
    return [{ path, message: "cannot be told from others: write its pin, or a ca in [kx] tls" }];
  });
}

/** Questions by mail need an address and a relay. */
function repairFaults({ outbound, peer }: PartlySettings): PathFault[] {
  return peer.flatMap((entry, index): PathFault[] => {
    if (entry?.values.repair?.type !== "mail") return [];
    const path = ["peer", index, "repair"];
    if (!entry.given.has("mail")) {
      return [{ path, message: '"mail" needs an address to ask: write mail = "user@host"' }];
    }
    if (outbound !== undefined) return [];
    return [
      { path, message: '"mail" needs a way out: write [outbound] with relay = "smtp://..."' },
    ];
  });
}

/** A neighbour needs a road that can be gone. */
function roadFaults({ peer }: PartlySettings): PathFault[] {
  const faults: PathFault[] = [];
  peer.forEach((entry, index) => {
    if (!entry) return;
    const { values, given } = entry;
    const fault = (key: string, message: string) => {
      faults.push({ path: ["peer", index, key], message });
    };
    if (!["mail", "accept_from", "kx"].some((key) => given.has(key))) {
      const message = 'has no road: write mail = "user@host", accept_from or kx = "host:port"';
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
      fault("accept_rate", "is about mail and HKP, for which it has no address: take it out");
    }
    if (values.via === "both" || values.via === "auto") {
      const way = `"${values.via}" needs both roads, and there is no`;
      if (!given.has("kx")) fault("via", `${way} kx endpoint: write kx = "host:port"`);
      if (!given.has("mail")) fault("via", `${way} mail address: write mail = "user@host"`);
    }
    if (given.has("fallback_after") && values.via !== "auto") {
      const clear = !given.has("via") || values.via !== undefined;
      if (clear) fault("fallback_after", 'means something with via = "auto" only: take it out');
    }
    for (const key of ["fetch_rate", "quiet_hours"]) {
      const via = values.via ?? defaultVia({ mail: given.has("mail"), kx: given.has("kx") });
      if (!given.has(key) || (given.has("kx") && via !== "mail")) continue;
      fault(key, "is about KX, over which nothing is fetched from it: take it out");
    }
    if (values.dial === true && !given.has("kx")) {
      fault("dial", 'true needs somewhere to dial: write kx = "host:port"');
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
    claim("name", values.name, (owner) => `${owner} is there already: give each its own name`);
    const { kx } = values;
    const endpoint = kx && formatEndpoint({ ...kx, host: plainHost(kx.host) });
    claim("kx", endpoint, (owner) => `is the endpoint of ${owner} as well: make them one [[peer]]`);
    const { mail } = values;
    claim(
      "mail",
      mail && addressKey(mail),
      (owner) => `is the address of ${owner} as well: make them one [[peer]]`,
    );
    for (const [key, address] of own) {
      if (!isSameAddress(mail, address)) continue;
      const message = `is ${key}, our own: write the address of the neighbour`;
      faults.push({ path: ["peer", index, "mail"], message });
    }
  });
  return faults;
}
