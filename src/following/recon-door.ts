/**
 * Runs one follower for each [[recon]] server. A server with the HKP address (host and port) of the
 * local keyserver or of a neighbour counts as that one: keys received from it are not sent to it,
 * and keys that were sent to it and return are recognised.
 */
import type { Clock } from "../clock.js";
import type { Config, ReconServerSettings } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import type { KeyIntake } from "../intake/key-intake.js";
import { plainHost } from "../ip-address.js";
import { LogGuard } from "../log-guard.js";
import { domainOf } from "../mail-address.js";
import { FOLLOW_LIMITS, type FollowLimits } from "./follow-limits.js";
import { type FollowedAs, Follower, type FollowerLog, type FollowerStatus } from "./follower.js";

/** The local keyserver, if it can be followed. */
interface LocalKeyserver {
  readonly name: string;
  readonly mail: string | undefined;
  /** Undefined for an SKS that reads its spool on this host. */
  readonly url: string | undefined;
}

export interface ReconDoorComponents {
  readonly log: FollowerLog;
  readonly keys: KeyIntake;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export interface ReconDoorSettings extends Pick<Config, "neighbours" | "recon"> {
  /** The local keyserver, if it may be one of the servers. */
  readonly local: LocalKeyserver | undefined;
  readonly limits?: FollowLimits;
}

export class ReconDoor {
  readonly #settings: ReconDoorSettings;
  readonly #log: FollowerLog;
  readonly #guard: LogGuard;
  readonly #followers: readonly Follower[];

  constructor(components: ReconDoorComponents, settings: ReconDoorSettings) {
    const { log, clock, diagnostics } = components;
    const { local, limits = FOLLOW_LIMITS } = settings;
    this.#settings = settings;
    this.#log = log;
    this.#guard = new LogGuard("recon", clock, diagnostics);
    this.#followers = settings.recon.map((server) => {
      const as = followedAs(server, settings, local);
      return new Follower(components, { server, as, limits });
    });
  }

  start(): void {
    const names = this.#settings.recon.map(({ name }) => name);
    this.#guard.run(() => this.#log.recon.keepServers(names));
    for (const follower of this.#followers) follower.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#followers.map((follower) => follower.stop()));
  }

  status(): FollowerStatus[] {
    return this.#followers.map((follower) => follower.status());
  }
}

/**
 * Returns the neighbour that a server counts as. If several neighbours have its address, the others
 * are added to the trail of the keys received from it.
 */
export function followedAs(
  { name, hkp }: ReconServerSettings,
  { neighbours }: Pick<Config, "neighbours">,
  local: LocalKeyserver | undefined,
): FollowedAs {
  const here = hostOf(hkp);
  const isLocal =
    local !== undefined &&
    (local.url === undefined ? here.startsWith("localhost:") : hostOf(local.url) === here);
  const same = [
    ...(isLocal ? [local] : []),
    ...neighbours.filter(({ mail, repair }) => {
      if (repair?.type === "hkp") return hostOf(repair.url) === here;
      return mail !== undefined && here.split(":")[0] === domainOf(mail).toLowerCase();
    }),
  ];
  const [first, ...others] = same;
  if (first === undefined) return { name, mail: undefined, trail: [] };
  const trail = others.flatMap(({ mail }) => (mail === undefined ? [] : [mail]));
  return { name: first.name, mail: first.mail, trail };
}

/** Host and port of a URL. All names of the local host are treated as equal. */
function hostOf(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  const host = plainHost(hostname.replace(/^\[|\]$/g, ""));
  const isHere = /^(localhost|127\..*|::1)$/.test(host);
  const usual = protocol === "https:" ? "443" : "80";
  return `${isHere ? "localhost" : host}:${port === "" ? usual : port}`;
}
