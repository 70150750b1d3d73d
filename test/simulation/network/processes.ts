/**
 * One world as ten real processes on loopback, each on an address of its own, beside the counted
 * model of it: the same graph, the same updates born at the same servers at the same times. What
 * the processes count at their connections, less the greetings, is held against the model.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { GatewayProcess } from "../../../src/demo/process.js";
import { encodeArmor } from "../../../src/openpgp/armor.js";
import type { Update } from "../../../src/update.js";
import { freePort } from "../../support/ports.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { pause, until } from "../../support/until.js";
import { dice } from "../../torture/check.js";
import { incremental, SITE_ADDRESS } from "../../torture/material.js";
import { flood } from "./flood.js";
import type { KxCounts } from "./measure.js";
import { randomRegular, type Topology } from "./topology.js";

const SERVERS = 10;
const DEGREE = 4;
const EVERY_MS = 300;
/** What a peer itself supplied is announced to it within a minute. */
const ECHO_MS = 65_000;

export interface Compared {
  readonly updates: number;
  readonly realBytes: number;
  readonly modelBytes: number;
  /** Of the model's bytes, in percent; what is more in the real world is positive. */
  readonly difference: number;
  readonly model: KxCounts;
  readonly complete: number;
}

/** Runs both; `updates` are born one after the other. Rejects when a process does not start. */
export async function compareProcesses(
  updates: readonly Update[],
  seed: number,
  say: (text: string) => void,
): Promise<Compared> {
  const random = dice(seed);
  const topology = randomRegular(SERVERS, DEGREE, random);
  const births = updates.map((update, n) => {
    const server = Math.floor(random() * SERVERS);
    return { at: n * EVERY_MS, server, size: update.body.length, update };
  });
  const modelled = flood({ topology, births, dice: random, isKx: () => true });
  const modelBytes = modelled.bytes * SERVERS * updates.length;
  const directory = mkdtempSync(join(tmpdir(), "kxgw-ten-"));
  const gateways: GatewayProcess[] = [];
  try {
    const port = await freePort();
    for (let n = 0; n < SERVERS; n++) {
      gateways.push(await start(join(directory, `g${n}`), n, topology, port));
    }
    const areConnected = async () =>
      (await Promise.all(gateways.map(peersOf))).flat().every(({ connected }) => connected);
    await until(areConnected, "the processes find each other", 60_000);
    await pause(3000);
    const before = await octets(gateways);
    say(`${SERVERS} processes are connected; ${updates.length} updates, one every ${EVERY_MS} ms`);
    const began = performance.now();
    for (const { at, server, update } of births) {
      await pause(Math.max(0, began + at - performance.now()));
      const gateway = gateways[server];
      if (gateway !== undefined) await submit(gateway, update);
    }
    say(`all are submitted; waiting ${ECHO_MS / 1000} s for what is announced late`);
    await pause(ECHO_MS);
    const realBytes = (await octets(gateways)) - before;
    const held = await Promise.all(gateways.map(entries));
    const complete = held.filter((count) => count === updates.length).length;
    const difference = (100 * (realBytes - modelBytes)) / modelBytes;
    const { kx: model } = modelled;
    return { updates: updates.length, realBytes, modelBytes, difference, model, complete };
  } finally {
    await Promise.all(gateways.map((gateway) => gateway.end()));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function start(
  directory: string,
  n: number,
  { neighbours }: Topology,
  port: number,
): Promise<GatewayProcess> {
  mkdirSync(directory);
  const peers = (neighbours[n] ?? []).map((other) => {
    const dial = other < n ? "\ndial = true" : "";
    return `[[peer]]\nname = "g${other}"\nkx = "${address(other)}:${port}"\nvia = "kx"${dial}`;
  });
  const file = join(directory, "kxgw.toml");
  const sections = [
    `[site]\naddress = "${SITE_ADDRESS}"`,
    `[log]\npath = "${join(directory, "updates.db")}"`,
    '[smtp]\nlisten = ["127.0.0.1:0"]',
    '[admin]\nlisten = "127.0.0.1:0"',
    `[kx]\nlisten = ["${address(n)}:${port}"]\nsource = "${address(n)}"\nreconnect = "1s"`,
    '[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]',
    ...peers,
  ];
  writeFileSync(file, `${sections.join("\n")}\n`);
  const main = resolve(import.meta.dirname, "../../../src/main.js");
  return await GatewayProcess.start(file, main);
}

function address(n: number): string {
  return `127.0.1.${n + 1}`;
}

async function submit(gateway: GatewayProcess, update: Update): Promise<void> {
  const client = await SmtpClient.connect(gateway.port("smtp"));
  const mail = incremental([encodeArmor(update.body)], update.hash);
  const { code, text } = await client.deliver(mail, SITE_ADDRESS);
  client.close();
  if (code !== 250) throw new Error(text);
}

interface PeerLine {
  readonly connected: boolean;
  readonly bytesOut: number;
}

async function peersOf(gateway: GatewayProcess): Promise<PeerLine[]> {
  const { neighbours } = (await gateway.status()) as {
    readonly neighbours: readonly { readonly peer?: PeerLine }[];
  };
  return neighbours.flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
}

async function octets(gateways: readonly GatewayProcess[]): Promise<number> {
  const peers = await Promise.all(gateways.map(peersOf));
  return peers.flat().reduce((sum, { bytesOut }) => sum + bytesOut, 0);
}

async function entries(gateway: GatewayProcess): Promise<number> {
  const { log } = (await gateway.status()) as { readonly log: { readonly entries: number } };
  return log.entries;
}
