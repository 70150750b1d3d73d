/**
 * The doors that one configuration asks for, over one log: built, started from the inside out and
 * stopped in the mirror order, so that nothing comes in before there is a way out. Holds no
 * behaviour of its own; whoever wants to know how the rooms hang together reads this file.
 */
import { AdminDoor } from "./admin/admin-door.js";
import type { Tally } from "./admin/tally.js";
import type { Clock } from "./clock.js";
import type { Config, Endpoint } from "./config/config.js";
import type { Diagnostics } from "./diagnostics.js";
import { LocalDoor } from "./egress/local-door.js";
import { MailDoor } from "./egress/mail-door.js";
import { HkpDoor } from "./ingress/hkp.js";
import { KeyIntake } from "./ingress/key-intake.js";
import { MailIntake } from "./ingress/mail-intake.js";
import { SmtpDoor } from "./ingress/smtp.js";
import { SpoolDoor } from "./ingress/spool.js";
import { KxDoor } from "./peering/tcp.js";
import { judgement } from "./policy.js";
import type { UpdateLog } from "./updatelog/update-log.js";
import { Upkeep } from "./upkeep.js";
import { VERSION } from "./version.js";

/** Where a gateway listens; ports that the config left open are filled in. */
export interface Listening {
  readonly smtp: readonly Endpoint[];
  readonly hkp: readonly Endpoint[];
  readonly kx: readonly Endpoint[];
  readonly admin: Endpoint | undefined;
}

/** What outlives a change of the configuration. */
export interface Foundation {
  readonly log: UpdateLog;
  readonly clock: Clock;
  readonly tally: Tally;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

export interface Doors {
  readonly listening: Listening;
  stop(): Promise<void>;
}

/**
 * Opens all doors of `config`. Throws the system's error when an address cannot be listened on and
 * `Trouble` when the log fails; what was opened is closed again.
 */
export async function openDoors(config: Config, foundation: Foundation): Promise<Doors> {
  const { log, clock, tally, startedAt } = foundation;
  const stops: (() => unknown)[] = [];
  const stop = async () => {
    for (const step of stops.splice(0).reverse()) await step();
  };
  try {
    reportIdleNeighbours(config, tally);
    const upkeep = new Upkeep(log, config.log, clock, tally);
    upkeep.start();
    stops.push(() => upkeep.stop());

    const { outbound } = config;
    const mailDoor = outbound && new MailDoor(config, outbound, log, clock, tally);
    mailDoor?.start();
    stops.push(() => mailDoor?.stop());
    const localDoor = config.local && new LocalDoor(config, config.local, log, clock, tally);
    localDoor?.start();
    stops.push(() => localDoor?.stop());

    const kxDoor = config.kx && new KxDoor(config, config.kx, log, clock, tally);
    stops.push(() => kxDoor?.stop());
    const kx = (await kxDoor?.start()) ?? [];

    const judge = judgement(config, clock);
    const intake = new MailIntake(log, clock, tally, judge);
    const smtpDoor = config.smtp && new SmtpDoor(config, config.smtp, intake, tally);
    stops.push(() => smtpDoor?.stop());
    const smtp = (await smtpDoor?.start()) ?? [];
    const spoolDoor = config.spool && new SpoolDoor(config, config.spool, intake, tally);
    spoolDoor?.start();
    stops.push(() => spoolDoor?.stop());
    const hkpDoor =
      config.hkp && new HkpDoor(config, config.hkp, new KeyIntake(log, clock, tally, judge), tally);
    stops.push(() => hkpDoor?.stop());
    const hkp = (await hkpDoor?.start()) ?? [];

    const sources = {
      config,
      log,
      tally,
      clock,
      startedAt,
      version: VERSION,
      lanes: () => [...(mailDoor?.status() ?? []), ...(localDoor ? [localDoor.status()] : [])],
      peers: () => kxDoor?.status() ?? [],
    };
    const adminDoor = new AdminDoor(sources, NO_ORDERS, tally);
    stops.push(() => adminDoor.stop());
    const admin = await adminDoor.start();
    return { listening: { smtp, hkp, kx, admin }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const NOT_YET = { done: false, words: "This version does not know that order." };
const NO_ORDERS = {
  pause: () => NOT_YET,
  resume: () => NOT_YET,
  retry: () => NOT_YET,
  skip: () => NOT_YET,
};

/** A neighbour that is configured but cannot be served is no fault, yet worth a word. */
function reportIdleNeighbours(config: Config, diagnostics: Diagnostics): void {
  for (const { name, via, mail } of config.neighbours) {
    const problem =
      via === "kx" && config.kx === undefined
        ? "there is no [kx] section"
        : via === "mail" && mail !== undefined && config.outbound === undefined
          ? "there is no [outbound] section"
          : undefined;
    if (problem !== undefined) diagnostics.report("idle-neighbour", { neighbour: name, problem });
  }
}
