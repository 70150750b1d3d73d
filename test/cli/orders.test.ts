/**
 * Orders to a running gateway over its control socket: pause, resume, retry, skip; what they do to
 * the mails that really go out, what outlives a restart, and what is refused.
 */
import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { peersCommand } from "../../src/cli/peers.js";
import { queueCommand } from "../../src/cli/queue.js";
import { statusCommand } from "../../src/cli/status.js";
import { traceCommand } from "../../src/cli/trace.js";
import { loadConfig } from "../../src/config/load.js";
import { LegacySite } from "../../src/demo/site.js";
import { armoredKeys, FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { scratch } from "../support/scratch.js";
import { quietFor, until } from "../support/until.js";
import { captured } from "./captured.js";

const [ONE = "", TWO = "", THREE = ""] = armoredKeys();
const FAR = "pgp-public-keys@far.example.net";

/** A gateway whose neighbour "far" takes mail at `port`, and the commands to it. */
async function gateway(port: number, directory = scratch()) {
  const config =
    `${HEAD}${FEEDER}[outbound]\nrelay = "smtp://127.0.0.1:${port}"\n` +
    `[[peer]]\nname = "far"\nmail = "${FAR}"\n`;
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, config);
  const running = await startGateway(config, { directory });
  const given = { file, json: false };
  const say = async (order: (out: ReturnType<typeof captured>) => Promise<number>) => {
    const out = captured();
    return { code: await order(out), said: out.text + out.errors };
  };
  const told = (event: string) => running.reports.filter((one) => one.event === event);
  return {
    ...{ running, directory, file, told },
    pause: () => say((out) => peersCommand("pause", "far", given, out, {})),
    resume: () => say((out) => peersCommand("resume", "far", given, out, {})),
    retry: () => say((out) => queueCommand("retry", ["far"], given, out, {})),
    skip: (seq: number) => say((out) => queueCommand("skip", ["far", String(seq)], given, out, {})),
    status: () => say((out) => statusCommand(file, { json: false }, out, {})),
    trace: (name: string) => say((out) => traceCommand(name, given, out, {})),
  };
}

async function site(): Promise<{ readonly far: LegacySite; readonly port: number }> {
  const far = new LegacySite(FAR);
  const port = await far.start();
  onTestFinished(() => far.stop());
  return { far, port };
}

describe("orders", () => {
  it("pause holds what comes, over a restart too, and resume sends it", async () => {
    const { far, port } = await site();
    const first = await gateway(port);
    await first.running.mail(ONE);
    await until(() => far.received.length === 1);
    expect(await first.pause()).toEqual({
      code: 0,
      said: "far is paused. Its updates are kept.\n",
    });
    await first.running.mail(TWO);
    expect((await first.status()).said).toMatch(/^far +mail +paused +never +1 /m);
    expect(await first.retry()).toMatchObject({
      code: 69,
      said: "far is paused. Resume it first.\n",
    });
    await first.running.stop();
    expect((await first.status()).said).toMatch(/^far +mail +paused +never +1 /m);

    const second = await gateway(port, first.directory);
    await second.running.mail(THREE);
    await quietFor(200, "a lane that is not paused would send");
    expect(far.received).toHaveLength(1);
    expect(await second.resume()).toEqual({ code: 0, said: "far is resumed.\n" });
    await until(() => far.hashes().size === 3);
    expect(second.told("resumed")).toHaveLength(1);
    expect((await second.status()).said).toMatch(/^far +mail +handed over +never +0 /m);
    expect((await second.resume()).code).toBe(0);
    expect(second.told("resumed")).toHaveLength(1);
  });

  it("retry sends at once what was put off for a minute", async () => {
    const { far, port } = await site();
    await far.stop();
    const { running, told, retry } = await gateway(port);
    await running.mail(ONE);
    await until(() => told("retry").length === 1);
    expect((await retry()).said).toBe("Delivery to far is retried now.\n");
    await until(() => told("retry").length === 2);
    const back = new LegacySite(FAR);
    await back.start(port);
    onTestFinished(() => back.stop());
    expect((await retry()).code).toBe(0);
    await until(() => back.received.length === 1);
  });

  it("skip gives up the first update of one site, and only that", async () => {
    const { far, port } = await site();
    await far.stop();
    const { running, told, skip, trace, retry } = await gateway(port);
    await running.mail(ONE);
    await running.mail(TWO);
    await until(() => told("retry").length === 1);
    const wrong = await skip(2);
    expect(wrong).toMatchObject({ code: 69, said: expect.stringContaining("not the next one") });
    expect(await skip(1)).toMatchObject({ code: 0, said: "Update 1 is given up for far.\n" });
    expect((await trace("1")).said).toMatch(/none +far: withheld: skipped by the operator; .*, 20/);
    expect(told("skipped")).toHaveLength(1);
    const back = new LegacySite(FAR);
    await back.start(port);
    onTestFinished(() => back.stop());
    await retry();
    await until(() => back.received.length === 1);
    expect(back.received[0]?.fingerprints[0]).toBe(told("accepted")[1]?.fields.fingerprint);
    expect((await skip(2)).code).toBe(69);
  });

  it("need a running gateway and a neighbour that there is", async () => {
    const { running, file, pause } = await gateway(1);
    const out = captured();
    expect(await peersCommand("pause", "old", { file, json: true }, out, {})).toBe(0);
    expect(JSON.parse(out.text)).toMatchObject({ done: true });
    const ded = captured();
    expect(await peersCommand("pause", "ded", { file, json: false }, ded, {})).toBe(64);
    await running.stop();
    expect(await pause()).toEqual({
      code: 69,
      said: "kxgw: the gateway is not running; this command needs a running gateway\n",
    });
  });
});

describe("orders about a KX peer", () => {
  it("pause ends the connection and refuses another; resume dials again", async () => {
    const kx = (peer: string) => `${HEAD}[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\n${peer}`;
    const b = await startGateway(kx('name = "a"\nkx = "127.0.0.1:1"\n'));
    const port = b.gateway.listening.kx[0]?.port;
    const directory = scratch();
    const config = kx(`name = "b"\nkx = "127.0.0.1:${port}"\ndial = true\n`);
    const file = join(directory, "kxgw.toml");
    writeFileSync(file, config);
    const a = await startGateway(config, { directory });
    const given = { file, json: false };
    const connections = () => a.reports.filter(({ event }) => event === "peer-connected").length;
    const closed = () => a.reports.some(({ event }) => event === "peer-disconnected");
    await until(() => connections() === 1);
    const out = captured();
    expect(await peersCommand("pause", "b", given, out, {})).toBe(0);
    expect(out.text).toBe(
      "b is paused. Its updates are kept. A restart of the gateway ends the pause of KX.\n",
    );
    await until(closed);
    const status = captured();
    await statusCommand(file, { json: false }, status, {});
    expect(status.text).toMatch(/^b +KX +paused/m);
    expect(await a.gateway.reload(loadConfig(file, {}))).toBe(true);
    await quietFor(1500, "a peer that is not paused would be dialled again");
    expect(connections()).toBe(1);
    expect(await peersCommand("resume", "b", given, captured(), {})).toBe(0);
    await until(() => connections() === 2);
  });
});

describe("a KX peer that was away for long", () => {
  const PEER = '[[peer]]\nname = "far"\ndial = true\nkx = "127.0.0.1:';

  /** A gateway that would dial the peer in an hour, and what brings the peer back. */
  async function outage(more = "") {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    const directory = scratch();
    const kx = '[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "1ms, 1h"\n';
    const config = `${HEAD}${kx}${PEER}${port}"\n${more}`;
    const file = join(directory, "kxgw.toml");
    writeFileSync(file, config);
    const running = await startGateway(config, { directory });
    const times = (event: string) => running.reports.filter((one) => one.event === event).length;
    await until(() => times("peer-unreachable") === 2);
    const back = () =>
      startGateway(
        `${HEAD}[kx]\nlisten = ["127.0.0.1:${port}"]\n[[peer]]\nname = "us"\nkx = "127.0.0.1:1"\n`,
      );
    const say = async (order: (out: ReturnType<typeof captured>) => Promise<number>) => {
      const out = captured();
      return { code: await order(out), said: out.text + out.errors };
    };
    const given = { file, json: false };
    return {
      ...{ running, times, back },
      retry: () => say((out) => queueCommand("retry", ["far"], given, out, {})),
      peers: (verb: "pause" | "resume") => say((out) => peersCommand(verb, "far", given, out, {})),
    };
  }

  it("is dialled at once by queue retry, which says what there is to do", async () => {
    const { back, retry, peers, times } = await outage();
    await back();
    expect(await retry()).toEqual({ code: 0, said: "far is dialled now.\n" });
    const orderedAt = performance.now();
    await until(() => times("peer-connected") === 1);
    expect(performance.now() - orderedAt).toBeLessThan(1000);
    expect(await retry()).toEqual({
      code: 69,
      said: "far is connected by KX; nothing waits for a retry.\n",
    });
    await peers("pause");
    expect(await retry()).toEqual({ code: 69, said: "far is paused. Resume it first.\n" });
  });

  it("is dialled at once by peers resume", async () => {
    const { back, peers, times } = await outage();
    await back();
    expect(await peers("resume")).toEqual({ code: 0, said: "far is resumed and dialled now.\n" });
    const orderedAt = performance.now();
    await until(() => times("peer-connected") === 1);
    expect(performance.now() - orderedAt).toBeLessThan(1000);
  });

  it("is dialled at once when it mails", async () => {
    const more =
      'mail = "pgp-public-keys@pks.example.net"\naccept_from = ["127.0.0.1"]\nvia = "kx"\n';
    const { running, back, times } = await outage(more);
    await back();
    await running.mail(ONE);
    await until(() => times("peer-connected") === 1);
    expect(times("peer-connected")).toBe(1);
  });
});
