/** A real SMTP door on a free port of 127.0.0.1 before a real log file, for the tests. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { Diagnostics, EventName, Fields } from "../../src/diagnostics.js";
import { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { SMTP_LIMITS, type SmtpLimits } from "../../src/ingress/limits.js";
import { MailIntake } from "../../src/ingress/mail-intake.js";
import { SmtpDoor } from "../../src/ingress/smtp.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { type IntakeRules, KeyIntake } from "../../src/intake/key-intake.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Seq } from "../../src/update.js";
import { checkReport } from "../support/reported.js";
import { SmtpClient } from "../support/smtp-client.js";

export const SITE = "pgp-public-keys@kx.example.org";
export const BOUNCE = "pgp-bounces@kx.example.org";
export const NEIGHBOUR = "pgp-public-keys@pks.example.net";
/** A loopback address that is no neighbour's. */
export const STRANGER = "127.0.0.9";

const configText = (smtp: string) => `
[site]
address = "${SITE}"
contact = "keymaster@example.org"
[log]
path = "updates.db"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "kx.example.org"
max_size = "200KiB"
${smtp}
[outbound]
relay = "smtp://127.0.0.1:1"
bounce = "${BOUNCE}"
[[peer]]
name = "old"
mail = "${NEIGHBOUR}"
accept_from = ["127.0.0.1"]
`;

/** Everything that was reported, in order. */
export class Recorder implements Diagnostics {
  readonly events: { readonly event: EventName; readonly fields: Fields }[] = [];

  report(event: EventName, fields: Fields = {}): void {
    checkReport(event, fields);
    this.events.push({ event, fields });
  }

  /** The fields of every report of that name. */
  all(event: EventName): Fields[] {
    return this.events.filter((line) => line.event === event).map(({ fields }) => fields);
  }
}

export interface OpenDoor {
  readonly port: number;
  readonly door: SmtpDoor;
  readonly log: UpdateLog;
  readonly diagnostics: Recorder;
  readonly directory: string;
  /** A client that has said EHLO. */
  client(from?: string): Promise<SmtpClient>;
  /** Bodies of everything in the log, in order. */
  bodies(): Uint8Array[];
}

/**
 * Opens a door that is gone when the running test is finished. `wrap` may spoil the log, `Intake`
 * may look at the messages, `smtp` adds to that section, `rules` say what is carried.
 */
export async function openDoor(
  limits: Partial<SmtpLimits> = {},
  wrap: (log: UpdateLog) => UpdateLog = (log) => log,
  Intake: typeof MailIntake = MailIntake,
  smtp = "",
  rules: IntakeRules = {},
): Promise<OpenDoor> {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-ingress-"));
  const config = parseConfig(configText(smtp), "test.toml", directory, {});
  if (config.smtp === undefined) throw new Error("no smtp section");
  const log = UpdateLog.open(config.log.path);
  const diagnostics = new Recorder();
  const wrapped = wrap(log);
  const keys = new KeyIntake(
    {
      log: wrapped,
      appends: new GroupCommit(wrapped),
      clock: systemClock,
      diagnostics: diagnostics,
    },
    rules,
  );
  const intake = new Intake({ keys, diagnostics });
  const bounces = new BounceIntake(
    { log: wrapped, clock: systemClock, diagnostics },
    { bounce: BOUNCE, neighbours: config.neighbours },
  );
  const door = new SmtpDoor(
    { intake, bounces, diagnostics },
    { ...config, smtp: config.smtp, limits: { ...SMTP_LIMITS, closeMs: 2000, ...limits } },
  );
  const [endpoint] = await door.start();
  const clients: SmtpClient[] = [];
  onTestFinished(async () => {
    for (const { socket } of clients) socket.destroy();
    await door.stop();
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const port = endpoint?.port ?? 0;
  return {
    port,
    door,
    log,
    diagnostics,
    directory,
    async client(from) {
      const client = await SmtpClient.greeted(port, from);
      clients.push(client);
      return client;
    },
    bodies: () => {
      const entries = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 10_000);
      return entries.map(({ seq }) => log.body(seq) ?? new Uint8Array());
    },
  };
}

/** Every byte that the gateway left on disk and in its reports, as one haystack of Latin-1. */
export function leftBehind({ directory, diagnostics }: OpenDoor): string {
  const files = readdirSync(directory).map((name) => readFileSync(join(directory, name), "latin1"));
  return [...files, JSON.stringify(diagnostics.events)].join("\n");
}
