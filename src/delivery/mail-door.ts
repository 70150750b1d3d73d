/**
 * Sends updates by mail to all legacy sites: one lane and one transport for each site, woken when
 * the log grows. Every neighbour with a mail address has a lane, so that its cursor exists for
 * every value that `via` may be changed to. With "kx" the lane sends nothing, is not shown in the
 * status, and keeps its position.
 */

import type { Clock } from "../clock.js";
import { ALONE, type Leases } from "../cluster/leases.js";
import type { Config } from "../config/config.js";
import { goesByMail } from "../config/paths.js";
import type { Diagnostics } from "../diagnostics.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { verpSender } from "../mail/verp.js";
import { domainOf } from "../mail-address.js";
import { OutmailMemory } from "../outmail.js";
import type { Rules } from "../policy.js";
import type { Seq } from "../update.js";
import type { KeyCompletion } from "./completion.js";
import { RelayDelivery } from "./delivery-method.js";
import { Lane, type LaneLog, type LaneStatus } from "./lane.js";
import { LaneDriver } from "./lane-driver.js";
import { LeasedLane } from "./leased-lane.js";
import { LOCAL_LANE } from "./local-door.js";
import { certificatesIn, SmtpRelay, TRANSPORT_LIMITS } from "./relay.js";
import { SharedCommit } from "./shared-commit.js";

/** Time that a relay has to finish the mail in progress at shutdown. */
const STOP_MS = 10_000;

export interface MailDoorComponents {
  readonly log: LaneLog & Pick<UpdateLog, "onAppend">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Finds user ids for keys of which the log knows none. */
  readonly completion?: KeyCompletion | undefined;
  /** By default this gateway runs all lanes. */
  readonly leases?: Leases | undefined;
}

export interface MailDoorSettings {
  readonly config: Pick<Config, "mode" | "neighbours" | "site" | "smtp">;
  readonly outbound: NonNullable<Config["outbound"]>;
  /** Decides which updates may be sent. If undefined, all may. */
  readonly rules?: Rules | undefined;
}

export class MailDoor {
  readonly #all: LeasedLane[] = [];
  /** Names of the sites that may be sent mail. */
  readonly #shown = new Set<string>();
  readonly #log: MailDoorComponents["log"];
  #unsubscribe: (() => void) | undefined;

  constructor(
    { log, clock, diagnostics, completion, leases = ALONE }: MailDoorComponents,
    { config, outbound, rules }: MailDoorSettings,
  ) {
    this.#log = log;
    const { address: site, contact } = config.site;
    const hostname = config.smtp?.hostname ?? domainOf(site);
    const { bounce, retry, relay } = outbound;
    const ca = certificatesIn(outbound.ca);
    const observing = config.mode === "observe";
    const guard = new LogGuard("egress", clock, diagnostics);
    const commits = new SharedCommit(log.lanes, clock);
    const memory = new OutmailMemory();
    const names = [...config.neighbours.map(({ name }) => name), LOCAL_LANE];
    for (const neighbour of config.neighbours) {
      const { name, mail, kind, via, fallbackMs, maxMailBytes, maxRate: rate } = neighbour;
      if (mail === undefined) continue;
      const envelope = { to: mail, from: contact, site, maxBytes: maxMailBytes, kind };
      const security = { required: neighbour.requireTls, ca };
      const sender = (first: Seq, last: Seq) =>
        bounce === undefined ? contact : verpSender(bounce, name, first, last, log.bounces.secret);
      const path = { via, fallbackMs };
      const settings = { name, address: mail, retry, observing, rate, rules, path, names };
      const open = () => {
        const transport = new SmtpRelay(relay, hostname, TRANSPORT_LIMITS, security);
        const method = new RelayDelivery(envelope, sender, transport, completion, memory);
        const lane = new Lane({ log, method, clock, diagnostics, guard }, settings);
        return { driver: new LaneDriver(lane, commits), method };
      };
      this.#all.push(new LeasedLane({ log, leases, open, names }, { name, address: mail }));
      if (goesByMail(neighbour)) this.#shown.add(name);
    }
  }

  start(): void {
    for (const lane of this.#all) lane.start();
    this.#unsubscribe = this.#log.onAppend(() => {
      for (const lane of this.#all) lane.wake();
    });
  }

  /** Waits at most `withinMs` for the mails in progress. An aborted mail is sent again. */
  async stop(withinMs = STOP_MS): Promise<void> {
    this.#unsubscribe?.();
    await Promise.all(this.#all.map((lane) => lane.stop(withinMs)));
  }

  /** Reports that the first KX session with a neighbour began, or that the last one ended. */
  session(name: string, isUp: boolean): void {
    this.#all.find((lane) => lane.name === name)?.session(isUp);
  }

  /** Names of the sites to which mail may be sent now. */
  open(): string[] {
    return this.#all.filter(({ isOpen }) => isOpen).map(({ name }) => name);
  }

  /** Returns the lane of a site, for the operator's orders. */
  lane(name: string): LeasedLane | undefined {
    return this.#lanes.find((lane) => lane.name === name);
  }

  get #lanes(): LeasedLane[] {
    return this.#all.filter(({ name }) => this.#shown.has(name));
  }

  status(): LaneStatus[] {
    return this.#lanes.map((lane) => lane.status());
  }
}
