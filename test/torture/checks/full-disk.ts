/**
 * A disk that is full and then is not (row 5): a file system of 2 MiB where mounting is allowed,
 * else SQLite's own page limit. Mail gets 452, the KX peer is served all the while, the process
 * stays, nothing acknowledged is lost, no mail to a site is repeated, and when there is space again
 * mail and KX go on without a restart.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import type { Check, Context } from "../check.js";
import { Ledger } from "../ledger.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World, type WorldOptions } from "../world.js";

/** Longer than the pause after which a lane tries a log again that failed. */
const FULL_MS = 12_000;
const RECOVERY_MS = 90_000;
const BALLAST_BYTES = 1024 * 1024;
const PAGES = 120;

interface Disk {
  readonly kind: string;
  readonly options: Partial<WorldOptions>;
  readonly under: readonly string[];
  free(gateway: GatewayProcess): void;
  end(): void;
}

export const fullDisk: Check = {
  name: "full-disk",
  rows: [5],
  promise: "a full disk defers mail, stops nobody else and needs no restart",
  runs: 1,
  share: 1,
  async run(context) {
    const disk = smallDisk(context);
    const { directory, build } = context;
    const world = await World.make({ directory, build, peer: true, sink: true, ...disk.options });
    try {
      return await fillAndFree(context, world, disk);
    } finally {
      await world.end();
      disk.end();
    }
  },
};

async function fillAndFree(context: Context, world: World, disk: Disk) {
  const { peer, sink } = world;
  const gateway = world.spawn(disk.under);
  const faults: string[] = [];
  const ledger = new Ledger();
  const expect = (holds: boolean | undefined, fault: string) => {
    if (holds !== true) faults.push(fault);
  };
  await gateway.event("ready");
  await holdsWithin(() => peer?.connected === true, 10_000);
  const client = await SmtpClient.connect(gateway.port("smtp"));
  let n = 0;
  const mail = async () => {
    n += 1;
    const { armor, update } = made(context.seed, n, 4000);
    const reply = await client.deliver(incremental([armor], `full.${n}`), SITE_ADDRESS);
    if (reply.code === 250) ledger.answered250(update.hash);
    return reply;
  };
  // So that there is something to send while nothing can be noted.
  if (sink !== undefined) sink.refusal = "451 4.3.2 Later.";
  let reply = await mail();
  while (reply.code === 250 && n < 2000) reply = await mail();
  expect(/^452 4\.3\.1/.test(reply.text), `the full disk was answered: ${reply.text}`);
  const during = made(context.seed, 900_001, 3000);
  peer?.add(during);
  if (sink !== undefined) sink.refusal = undefined;
  const fullAt = performance.now();
  let served = 0;
  while (performance.now() - fullAt < FULL_MS) {
    const [update, listing] = [await peer?.fetch(1), await peer?.list(1, 10)];
    expect(update?.command === "UPDATE", "a GETUPDATE was not answered while the disk was full");
    expect(listing?.command === "IHAVE", "a LIST was not answered while the disk was full");
    served += 2;
    expect((await mail()).code === 452, "a mail was not deferred while the disk was full");
    await pause(500);
  }
  const deferred = gateway.events.filter(({ event }) => event === "mail-deferred").length;
  disk.free(gateway);
  const freedAt = performance.now();
  await holdsWithin(async () => (await mail()).code === 250, RECOVERY_MS, 50);
  const mailSeconds = (performance.now() - freedAt) / 1000;
  const fetched = () => {
    ledger.audit(world.log, []);
    return ledger.holds(during.update.hash);
  };
  expect(
    await holdsWithin(fetched, RECOVERY_MS, 100),
    "what KX offered meanwhile was never stored",
  );
  const kxSeconds = (performance.now() - freedAt) / 1000;
  const sent = () => (sink?.received.size ?? 0) >= ledger.kept;
  expect(await holdsWithin(sent, RECOVERY_MS), "not every update was mailed");
  client.close();
  expect((await gateway.end()) === 0, "the process did not end in peace");
  ledger.audit(world.log, peer?.heard ?? [], true);
  const repeats = sink?.repeats ?? 0;
  expect(repeats <= 1, `${repeats} mails were repeated`);
  expect(ledger.lost === 0, `${ledger.lost} acknowledged updates are not there`);
  return {
    faults: [...faults.slice(0, 5), ...ledger.faults.slice(0, 5)],
    figures:
      `${disk.kind}: ${ledger.acknowledged} acknowledged, ${ledger.lost} lost, ` +
      `${deferred} deferred; ` +
      `${served} KX requests served while full; ${repeats} mails repeated; after space returned ` +
      `mail in ${mailSeconds.toFixed(2)} s, KX in ${kxSeconds.toFixed(1)} s, 0 restarts`,
  };
}

function smallDisk({ directory }: Context): Disk {
  const mountPoint = join(directory, "disk");
  mkdirSync(mountPoint);
  const mount = ["-t", "tmpfs", "-o", "size=2m", "tmpfs", mountPoint];
  if (process.getuid?.() === 0 && spawnSync("mount", mount).status === 0) {
    const ballast = join(mountPoint, "ballast");
    writeFileSync(ballast, Buffer.alloc(BALLAST_BYTES));
    return {
      kind: "tmpfs of 2 MiB",
      options: { logDirectory: mountPoint },
      under: [],
      free: () => rmSync(ballast),
      end: () => void spawnSync("umount", [mountPoint]),
    };
  }
  return {
    kind: `max_page_count ${PAGES} (mounting is not allowed here)`,
    options: { program: "small-disk" },
    under: ["env", `KXTORTURE_PAGES=${PAGES}`],
    free: (gateway) => process.kill(gateway.pid, "SIGUSR2"),
    end: () => {},
  };
}
