/** A lane before a real relay and a real log file, for the tests of the lane. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished } from "vitest";
import { admit } from "../../src/admit.js";
import { type Clock, systemClock } from "../../src/clock.js";
import { RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane, type LaneSettings } from "../../src/delivery/lane.js";
import { LaneDriver } from "../../src/delivery/lane-driver.js";
import { SmtpRelay, TRANSPORT_LIMITS } from "../../src/delivery/relay.js";
import { SharedCommit } from "../../src/delivery/shared-commit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { verpSender } from "../../src/mail/verp.js";
import type { Schedule } from "../../src/schedule.js";
import type { Seq, Update } from "../../src/update.js";
import { Recorder } from "../ingress/door.js";
import { bytes, keyArmor, keyNames } from "../mail/fixtures.js";
import { Relay } from "./relay.js";

export const ADDRESS = "pgp-public-keys@pks.example.net";
export const SITE = "pgp-public-keys@kx.example.org";
export const updates = admit(keyNames.map((name) => bytes(keyArmor(name)))).updates;

export function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "kxgw-egress-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export interface MailSettings {
  readonly maxMailBytes: number;
  readonly bounce: string | undefined;
}

export interface World {
  readonly log: UpdateLog;
  readonly relay: Relay;
  readonly diagnostics: Recorder;
  readonly path: string;
  /** Appends an update. */
  put(
    update: Update,
    from?: { neighbour?: string; trail?: readonly string[]; receivedAt?: number },
  ): Seq;
  /** Appends the n-th update. */
  add(
    n: number,
    from?: { neighbour?: string; trail?: readonly string[]; receivedAt?: number },
  ): Seq;
  /** A lane that is stopped when the test is finished. */
  lane(settings?: Partial<LaneSettings & MailSettings>, clock?: Clock): LaneDriver;
  /** Waits for an event that satisfies. */
  heard(event: string, count?: number): Promise<void>;
}

export async function world(path = directory(), retry: Schedule = [60, 60]): Promise<World> {
  const log = UpdateLog.open(join(path, "updates.db"));
  const relay = await Relay.start();
  const diagnostics = new Recorder();
  onTestFinished(() => log.close());
  const append = (update: Update | undefined, from: Parameters<World["add"]>[1] = {}) => {
    if (update === undefined) throw new Error("no such update");
    const { neighbour, trail = [], receivedAt = Date.now() } = from;
    const origin = { neighbour, transport: "mail" } as const;
    const [outcome] = log.append([{ update, origin, trail, receivedAt }]);
    return outcome?.seq ?? (0 as Seq);
  };
  return {
    log,
    relay,
    diagnostics,
    path,
    put: append,
    add: (n, from) => append(updates[n], from),
    lane(settings = {}, clock = systemClock) {
      const transport = new SmtpRelay(relay.url, "kx.example.org", {
        ...TRANSPORT_LIMITS,
        silenceMs: 300,
        greetingMs: 300,
      });
      const { maxMailBytes, bounce, ...others }: Partial<LaneSettings> & MailSettings = {
        maxMailBytes: 128_000,
        bounce: "pgp-bounces@kx.example.org",
        ...settings,
      };
      const contact = "keymaster@example.org";
      const envelope = { to: ADDRESS, from: contact, site: SITE, maxBytes: maxMailBytes };
      const sender = (first: Seq, last: Seq) =>
        bounce === undefined ? contact : verpSender(bounce, "old", first, last, log.bounces.secret);
      const method = new RelayDelivery(envelope, sender, transport);
      const ours = { name: "old", address: ADDRESS, retry, observing: false, ...others };
      const machine = new Lane({ log, method, clock, diagnostics }, ours);
      const lane = new LaneDriver(machine, new SharedCommit(log.lanes, clock));
      const unsubscribe = log.onAppend(() => lane.wake());
      onTestFinished(async () => {
        unsubscribe();
        await lane.stop();
        transport.close();
      });
      return lane;
    },
    async heard(event, count = 1) {
      const events = () => diagnostics.events.filter((line) => line.event === event).length;
      for (let i = 0; i < 1500 && events() < count; i += 1) await sleep(10);
      expect(events()).toBeGreaterThanOrEqual(count);
    },
  };
}

/** Names of the updates that a relay took, in order: out of the Message-ID, or of a pack itself. */
export const hashes = (relay: Relay) =>
  relay.taken.flatMap(({ raw }) => {
    const [, hash, part] = /^Message-ID: <([0-9a-f]+)\.\d+\.(\w+)@/m.exec(raw) ?? [];
    if (part?.startsWith("p") !== true) return [hash];
    return admit([bytes(raw)]).updates.map((update) => update.hash);
  });
