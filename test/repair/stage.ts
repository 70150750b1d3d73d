/** A repair door over a real log, whose neighbours have the ways of repair that a test says. */
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { admit } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import type { Missing } from "../../src/log/repairs.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { TransferableKey } from "../../src/openpgp/key.js";
import { Policy } from "../../src/policy.js";
import { type MailQuestion, RepairDoor } from "../../src/repair/repair-door.js";
import { RepairIntake } from "../../src/repair/repair-intake.js";
import { REPAIR_LIMITS, type RepairLimits } from "../../src/repair/repair-limits.js";
import type { Fingerprint, Update, UpdateHash } from "../../src/update.js";
import { Recorder } from "../ingress/door.js";
import { bytes, keyArmor, keyNames } from "../mail/fixtures.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";

/** Armor of the n-th fixture key, and the update that it is. */
export function key(n: number): { readonly armor: string; readonly update: Update } {
  const armor = keyArmor(keyNames[n] ?? "");
  const [update] = admit([bytes(armor)]).updates;
  if (update === undefined) throw new Error("a fixture without a key");
  return { armor, update };
}

/** Small delays in place of days. */
export const QUICK: RepairLimits = {
  ...REPAIR_LIMITS,
  schedule: [20, 20],
  rest: [1],
  hkpPace: { count: 1000, periodMs: 1000 },
  mailPace: { count: 1000, periodMs: 1000 },
  requestMs: 5000,
  mailMs: 100,
};

export interface RepairStage {
  readonly log: UpdateLog;
  readonly diagnostics: Recorder;
  readonly door: RepairDoor;
  /** Says that an update is missing. */
  want(missing: Partial<Missing> & { readonly neighbours: readonly string[] }): void;
  /** Waits for an event and returns its fields. */
  heard(event: string, count?: number): Promise<Record<string, unknown>>;
}

/** A repair door whose neighbours have these ways of repair; `more` is put before them. */
export async function repairStage(
  neighbours: Readonly<Record<string, string | undefined>>,
  options: {
    readonly more?: string;
    readonly limits?: RepairLimits;
    readonly mail?: MailQuestion;
    readonly local?: string;
    readonly path?: string;
  } = {},
): Promise<RepairStage> {
  const peers = Object.entries(neighbours).map(([name, repair]) => {
    const way = repair === undefined ? "" : `repair = "${repair}"\n`;
    return `[[peer]]\nname = "${name}"\nmail = "pks@${name}.example.net"\n${way}`;
  });
  const text = `[site]\naddress = "pks@kx.example.org"\n[log]\n[outbound]\n${options.more ?? ""}\n`;
  const directory = options.path ?? scratch();
  const config = parseConfig(`${text}${peers.join("")}`, "test.toml", directory, {});
  const log = UpdateLog.open(join(directory, "updates.db"));
  const diagnostics = new Recorder();
  const rules = new Policy(config.policy, log, systemClock);
  const judge = (one: TransferableKey) => rules.judge(one);
  const keys = new KeyIntake(
    { log, appends: new GroupCommit(log), clock: systemClock, diagnostics },
    { judge },
  );
  const url = options.local?.replace(/^hkp/, "http");
  const local = url === undefined ? undefined : { name: "[local]", mail: undefined, url };
  const clock = systemClock;
  const intake = new RepairIntake({ repairs: log.repairs, keys, clock });
  const door = new RepairDoor(
    { log, intake, rules, mail: options.mail, clock, diagnostics },
    { ...config, local, limits: options.limits ?? QUICK },
  );
  door.start();
  onTestFinished(async () => {
    await door.stop();
    log.close();
  });
  return {
    log,
    diagnostics,
    door,
    want(missing) {
      const { fingerprint } = key(0).update;
      log.repairs.want({ fingerprint, why: "lost", at: Date.now(), ...missing });
    },
    async heard(event, count = 1) {
      const all = () => diagnostics.events.filter((one) => one.event === event);
      await until(
        () => all().length >= count,
        () => `${count} of ${event} in ${JSON.stringify(diagnostics.events)}`,
      );
      return { ...all()[count - 1]?.fields };
    },
  };
}

export const FINGERPRINT = key(0).update.fingerprint as Fingerprint;
export const HASH = "0123456789abcdef0123456789abcdef" as UpdateHash;
