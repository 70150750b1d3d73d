/**
 * A lane that this gateway may lose while it sends: nothing of it reaches the log afterwards, and
 * the next holder, here or elsewhere, begins at what was stored.
 */
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { LeaseHolder, Leases } from "../../src/cluster/leases.js";
import { type DeliveryMethod, RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane } from "../../src/delivery/lane.js";
import { LaneDriver } from "../../src/delivery/lane-driver.js";
import { LeasedLane } from "../../src/delivery/leased-lane.js";
import type { PathSettings } from "../../src/delivery/path.js";
import { type Outcome, SmtpRelay, TRANSPORT_LIMITS } from "../../src/delivery/relay.js";
import { SharedCommit } from "../../src/delivery/shared-commit.js";
import { quietFor, until } from "../support/until.js";
import { ADDRESS, SITE, world } from "./stage.js";

/** A lane of which the test gives and takes the lease. */
async function stage(path?: PathSettings, given?: DeliveryMethod) {
  const { log, relay, add, diagnostics } = await world();
  let holder: LeaseHolder | undefined;
  const leases: Leases = {
    ask: (_, asking) => {
      holder = asking;
      return () => {
        holder = undefined;
      };
    },
  };
  let opened = 0;
  const open = () => {
    opened += 1;
    const transport = new SmtpRelay(relay.url, "kx.example.org", TRANSPORT_LIMITS);
    const envelope = { to: ADDRESS, from: "keymaster@example.org", site: SITE, maxBytes: 128_000 };
    const relayed = new RelayDelivery(envelope, () => "keymaster@example.org", transport);
    const method = given ?? relayed;
    const site = { name: "old", address: ADDRESS, ...(path && { path }) };
    const retry = [60_000] as const;
    const settings = { ...site, retry, observing: false };
    const lane = new Lane({ log, method, clock: systemClock, diagnostics }, settings);
    return { driver: new LaneDriver(lane, new SharedCommit(log.lanes, systemClock)), method };
  };
  const lane = new LeasedLane({ log, leases, open }, { name: "old", address: ADDRESS });
  onTestFinished(() => lane.stop(1000));
  log.onAppend(() => lane.wake());
  return { log, relay, add, lane, holder: () => holder, opened: () => opened };
}

test("sends nothing without the lease, and shows what is stored", async () => {
  const { lane, add, relay, opened } = await stage();
  lane.start();
  add(0);
  await quietFor(100, "it would have sent");
  expect([relay.connections, opened()]).toEqual([0, 0]);
  expect(lane.driver).toBeUndefined();
  expect(lane.isOpen).toBe(true);
  expect(lane.status()).toMatchObject({ name: "old", backlog: 1 });
});

test("sends what came before any gateway had the lease", async () => {
  const { log, lane, add, relay, holder } = await stage();
  expect(log.lanes.addressed()).toMatchObject([{ site: "old", address: ADDRESS }]);
  lane.start();
  add(0);
  holder()?.take();
  await until(() => log.lanes.get("old")?.cursor === 1);
  expect(relay.connections).toBe(1);
});

test("stores nothing of a delivery that was under way when the lease was lost", async () => {
  const deliveries: ((outcome: Outcome) => void)[] = [];
  const deliver = () => new Promise<Outcome>((resolve) => deliveries.push(resolve));
  const part = { bytes: 1, incomplete: false, oversized: false, deliver };
  const { lane, log, add, holder } = await stage(undefined, { parts: () => [part], close() {} });
  const accept = () => deliveries.at(-1)?.({ kind: "delivered", how: "relayed", reply: "" });
  lane.start();
  holder()?.take();
  add(0);
  await until(() => deliveries.length === 1);
  accept();
  await until(() => log.lanes.get("old")?.cursor === 1);
  add(1);
  await until(() => deliveries.length === 2);
  const before = log.lanes.get("old");
  // The outcome comes in the same turn, and is to be stored in the next one.
  accept();
  holder()?.lose();
  expect(lane.driver).toBeUndefined();
  await quietFor(100, "the outcome would have been stored");
  expect(log.lanes.get("old")).toEqual(before);
  // The next holder repeats this part.
  holder()?.take();
  await until(() => deliveries.length === 3);
  accept();
  await until(() => log.lanes.get("old")?.cursor === 2);
});

test("tells a lane that it takes of the KX session that there is", async () => {
  const { lane, holder } = await stage({ via: "auto", fallbackMs: 0 });
  holder()?.take();
  expect(lane.isOpen).toBe(true);
  holder()?.lose();
  lane.session(true);
  holder()?.take();
  expect(lane.isOpen).toBe(false);
  await lane.stop(1000);
  expect(holder()).toBeUndefined();
});
