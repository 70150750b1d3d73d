/** The ways in besides SMTP, each before a real log file in a directory of its own, for tests. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { Config } from "../../src/config/config.js";
import { parseConfig } from "../../src/config/load.js";
import { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { MailIntake } from "../../src/ingress/mail-intake.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import type { Entry } from "../../src/log/update-log.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Seq } from "../../src/update.js";
import { Recorder } from "./door.js";

export const SITE = "pgp-public-keys@kx.example.org";

/** Two neighbours by name, one of them at an address of this host. */
const CONFIG = `
[site]
address = "${SITE}"
[log]
path = "updates.db"
[[peer]]
name = "onak"
mail = "pgp-public-keys@onak.example.org"
[[peer]]
name = "pks"
mail = "pgp-public-keys@pks.example.net"
accept_from = ["192.0.2.1", "127.0.0.2"]
`;

/** A mail of the fixtures. */
export function fixture(name: string): Buffer {
  return readFileSync(join("test/fixtures/mails", name));
}

export interface Bench {
  readonly config: Config;
  readonly log: UpdateLog;
  readonly intake: MailIntake;
  readonly bounces: BounceIntake;
  readonly diagnostics: Recorder;
  readonly directory: string;
  entries(): Entry[];
}

/** A log, an intake and a config with `sections` more; gone when the running test is finished. */
export function bench(
  sections: (directory: string) => string,
  wrap: (log: UpdateLog) => UpdateLog = (log) => log,
): Bench {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-ways-"));
  const config = parseConfig(CONFIG + sections(directory), "test.toml", directory, {});
  const log = UpdateLog.open(config.log.path);
  const diagnostics = new Recorder();
  const keys = new KeyIntake({
    log: wrap(log),
    appends: new GroupCommit(wrap(log)),
    clock: systemClock,
    diagnostics,
  });
  onTestFinished(() => {
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    config,
    log,
    intake: new MailIntake({ keys, diagnostics }),
    bounces: new BounceIntake(
      { log, clock: systemClock, diagnostics },
      { bounce: config.outbound?.bounce, neighbours: config.neighbours },
    ),
    diagnostics,
    directory,
    entries: () => log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 1000),
  };
}

/** Has `stop` called before the directory goes. */
export function stopped<T extends { stop(): Promise<void> }>(door: T): T {
  onTestFinished(() => door.stop());
  return door;
}
