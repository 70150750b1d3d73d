/**
 * The composition root: opens the log, builds the doors that the config asks for, starts them from
 * the inside out and stops them in the mirror order. Holds no behaviour of its own; whoever wants
 * to know how the rooms hang together reads this file.
 */
import { AdminDoor } from "./admin/admin-door.js";
import { Tally } from "./admin/tally.js";
import type { Clock } from "./clock.js";
import type { Config, Endpoint } from "./config/config.js";
import { formatEndpoint } from "./config/units.js";
import type { Diagnostics } from "./diagnostics.js";
import { MailDoor } from "./egress/mail-door.js";
import { MailIntake } from "./ingress/mail-intake.js";
import { SmtpDoor } from "./ingress/smtp.js";
import { KxDoor } from "./peering/tcp.js";
import { UpdateLog } from "./updatelog/update-log.js";
import { Upkeep } from "./upkeep.js";
import { VERSION } from "./version.js";

/** Where a gateway listens; ports that the config left open are filled in. */
export interface Listening {
  readonly smtp: readonly Endpoint[];
  readonly kx: readonly Endpoint[];
  readonly admin: Endpoint | undefined;
}

export interface Gateway {
  readonly listening: Listening;
  stop(): Promise<void>;
}

/**
 * Starts everything, in the order log, doors out, doors in, so that nothing comes in before there
 * is a way out. Throws `Trouble` when the log cannot be used and the system's error when an address
 * cannot be listened on; what was started is stopped again.
 */
export async function startGateway(
  config: Config,
  clock: Clock,
  diagnostics: Diagnostics,
): Promise<Gateway> {
  const tally = new Tally(diagnostics);
  const startedAt = clock.now();
  const log = UpdateLog.open(config.log.path);
  const stops: (() => unknown)[] = [() => log.close()];
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

    const kxDoor = config.kx && new KxDoor(config, config.kx, log, clock, tally);
    stops.push(() => kxDoor?.stop());
    const kx = (await kxDoor?.start()) ?? [];

    const intake = new MailIntake(log, clock, tally);
    const smtpDoor = config.smtp && new SmtpDoor(config, config.smtp, intake, tally);
    stops.push(() => smtpDoor?.stop());
    const smtp = (await smtpDoor?.start()) ?? [];

    const adminDoor =
      config.admin &&
      new AdminDoor(config.admin.listen, {
        config,
        log,
        tally,
        clock,
        startedAt,
        version: VERSION,
        lanes: () => mailDoor?.status() ?? [],
        peers: () => kxDoor?.status() ?? [],
      });
    stops.push(() => adminDoor?.stop());
    const admin = await adminDoor?.start();

    tally.report("ready", {
      smtp: smtp.map(formatEndpoint),
      kx: kx.map(formatEndpoint),
      admin: admin && formatEndpoint(admin),
      mode: config.mode,
      site: config.site.address,
      log: config.log.path,
      version: VERSION,
    });
    return { listening: { smtp, kx, admin }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

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
