/**
 * The door out to all legacy sites: one lane a site, one transport a lane, woken when the log
 * grows. A neighbour is a site when it takes mail and `via` says so.
 */
import type { Clock } from "../clock.js";
import type { Config } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { LogGuard } from "../log-guard.js";
import { verpSender } from "../mail/verp.js";
import type { Rules } from "../policy.js";
import type { Seq } from "../update.js";
import type { UpdateLog } from "../updatelog/update-log.js";
import { type Courier, MailCourier } from "./courier.js";
import type { LaneStatus } from "./lane.js";
import { Lane } from "./lane.js";
import { certificatesIn, RelayTransport, TRANSPORT_LIMITS } from "./transport.js";

/** How long a relay may take for the mail under way when we go down. */
const STOP_MS = 10_000;

export class MailDoor {
  readonly #lanes: Lane[] = [];
  readonly #couriers: Courier[] = [];
  readonly #log: UpdateLog;
  #unsubscribe: (() => void) | undefined;

  constructor(
    config: Config,
    outbound: NonNullable<Config["outbound"]>,
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
    rules?: Rules,
  ) {
    this.#log = log;
    const { address: site, contact } = config.site;
    const hostname = config.smtp?.hostname ?? site.slice(site.lastIndexOf("@") + 1);
    const { bounce, retry, relay } = outbound;
    const ca = certificatesIn(outbound.ca);
    const observing = config.mode === "observe";
    const guard = new LogGuard("egress", clock, diagnostics);
    for (const { name, mail, via, maxMailBytes, maxRate: rate, requireTls } of config.neighbours) {
      if (mail === undefined || via !== "mail") continue;
      const envelope = { to: mail, from: contact, site, maxBytes: maxMailBytes };
      const security = { required: requireTls, ca };
      const transport = new RelayTransport(relay, hostname, TRANSPORT_LIMITS, security);
      const sender = (first: Seq, last: Seq) =>
        bounce === undefined ? contact : verpSender(bounce, name, first, last, log.returns.secret);
      const courier = new MailCourier(envelope, sender, transport);
      this.#couriers.push(courier);
      const settings = { name, address: mail, retry, observing, rate, rules };
      this.#lanes.push(new Lane(settings, log, courier, clock, diagnostics, guard));
    }
  }

  start(): void {
    for (const lane of this.#lanes) lane.start();
    this.#unsubscribe = this.#log.onAppend(() => {
      for (const lane of this.#lanes) lane.wake();
    });
  }

  /** Lets the mails under way finish for a while; a mail that was broken off is sent again. */
  async stop(withinMs = STOP_MS): Promise<void> {
    this.#unsubscribe?.();
    const close = () => {
      for (const courier of this.#couriers) courier.close();
    };
    const deadline = setTimeout(close, withinMs);
    await Promise.all(this.#lanes.map((lane) => lane.stop()));
    clearTimeout(deadline);
    close();
  }

  /** The lane of a site, for the operator's orders. */
  lane(name: string): Lane | undefined {
    return this.#lanes.find((lane) => lane.name === name);
  }

  status(): LaneStatus[] {
    return this.#lanes.map((lane) => lane.status());
  }
}
