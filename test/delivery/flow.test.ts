/**
 * Twenty sites, one of them dead in some way and one slow: the other eighteen get their updates as
 * fast as if all were well. The relays take a while for each mail, so that it is waiting that is
 * measured and not this machine.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane } from "../../src/delivery/lane.js";
import { LaneDriver } from "../../src/delivery/lane-driver.js";
import { SmtpRelay } from "../../src/delivery/relay.js";
import { SharedCommit } from "../../src/delivery/shared-commit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { Recorder } from "../ingress/door.js";
import { rsaUpdate } from "./keys.js";
import { Relay } from "./relay.js";

const SITES = 20;
const FINE = 18;
const UPDATES = 12;
/** What a fine relay and the slow one take for a mail. */
const FINE_MS = 60;
const SLOW_MS = 1500;

/** Milliseconds until the first eighteen sites have all; the last two are at these URLs. */
async function race(others: readonly string[]): Promise<number> {
  const path = mkdtempSync(join(tmpdir(), "kxgw-flow-"));
  const log = UpdateLog.open(join(path, "updates.db"));
  const diagnostics = new Recorder();
  const fine = await Promise.all(Array.from({ length: FINE }, () => slowRelay(FINE_MS)));
  const urls = [...fine.map(({ url }) => url), ...others];
  expect(urls).toHaveLength(SITES);
  const commits = new SharedCommit(log.lanes, systemClock);
  const lanes = urls.map((url, n) => {
    const envelope = {
      to: `pgp@site${n}.example`,
      from: "k@example.org",
      site: "pgp@kx.example.org",
      maxBytes: 128_000,
    };
    const transport = new SmtpRelay(url, "kx.example.org");
    const method = new RelayDelivery(envelope, () => "b@kx.example.org", transport);
    const settings = {
      name: `site${n}`,
      address: envelope.to,
      retry: [60_000] as const,
      observing: false,
    };
    const parts = { log, method, clock: systemClock, diagnostics };
    const lane = new LaneDriver(new Lane(parts, settings), commits);
    log.onAppend(() => lane.wake());
    lane.start();
    return { lane, transport };
  });
  const begin = performance.now();
  for (let n = 0; n < UPDATES; n += 1) {
    // Of different trails, so that each is a mail of its own.
    const trail = [`far${n}@far.example`];
    const origin = { neighbour: undefined, transport: "kx" } as const;
    log.append([{ update: rsaUpdate(n), origin, trail, receivedAt: Date.now() }]);
  }
  while (fine.some(({ taken }) => taken.length < UPDATES)) {
    if (performance.now() - begin > 30_000) throw new Error("the fine sites are not served");
    await sleep(5);
  }
  const took = performance.now() - begin;
  for (const { transport } of lanes) transport.close();
  await Promise.all(lanes.map(({ lane }) => lane.stop()));
  log.close();
  rmSync(path, { recursive: true, force: true });
  return took;
}

async function slowRelay(delayMs: number): Promise<Relay> {
  const relay = await Relay.start();
  relay.delayMs = (phase) => (phase === "dot" ? delayMs : 0);
  return relay;
}

/** A port that takes connections and says nothing. */
async function silentPort(): Promise<string> {
  const relay = await Relay.start();
  relay.answer = () => "silence";
  return relay.url;
}

/** A port whose SYNs are dropped: a listener that is stopped, with its backlog full. */
async function droppingPort(): Promise<string> {
  const script = `require("net").createServer().listen({ host: "127.0.0.1", port: 0, backlog: 1 },
    function () { console.log(this.address().port) })`;
  const child: ChildProcess = spawn(process.execPath, ["-e", script], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const fillers: Socket[] = [];
  onTestFinished(() => {
    child.kill("SIGKILL");
    for (const socket of fillers) socket.destroy();
  });
  const port = await new Promise<number>((resolve) => {
    child.stdout?.once("data", (text: Buffer) => resolve(Number(text)));
  });
  child.kill("SIGSTOP");
  for (let n = 0; n < 20; n += 1) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    fillers.push(socket);
    const isOpen = await Promise.race([
      new Promise<boolean>((resolve) => socket.once("connect", () => resolve(true))),
      sleep(300, false),
    ]);
    if (!isOpen) return `smtp://127.0.0.1:${port}`;
  }
  throw new Error("the port still takes connections");
}

test("a silent or unreachable site and a slow one delay none of the others", async () => {
  const well = async () => [(await slowRelay(FINE_MS)).url, (await slowRelay(FINE_MS)).url];
  const slow = async () => (await slowRelay(SLOW_MS)).url;
  // The first run warms everything up.
  await race(await well());
  const baseline = await race(await well());
  const silent = await race([await silentPort(), await slow()]);
  const dropping = await race([await droppingPort(), await slow()]);
  // Far above noise, and far below what one slow mail would cost if anybody waited for it.
  for (const took of [silent, dropping]) {
    expect(took, `${(took / baseline).toFixed(3)} times`).toBeLessThan(baseline * 1.5 + 200);
  }
});
