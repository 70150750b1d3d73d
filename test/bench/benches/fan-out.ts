/**
 * Fan-out: one gateway with many KX peers, each of which fetches every update, and many legacy
 * sites; what one consumer more costs an update, and whether a consumer costs anything when nothing
 * happens.
 */

import { KxPeer } from "../../support/kx-peer.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { pause, until } from "../../support/until.js";
import { MailSink } from "../../torture/mail-sink.js";
import { incremental } from "../../torture/material.js";
import { atMost, type Bench, type Context, median, type Outcome } from "../bench.js";
import { Gateways, OLD, SITE } from "../gateways.js";
import { armorOf } from "../material.js";
import { cpuUs, sleeps } from "../processes.js";

const PATIENCE_MS = 120_000;

export const fanOut: Bench = {
  name: "fan-out",
  question: "What does a neighbour cost, when there are many, and when nothing happens?",
  run,
};

interface Cost {
  /** CPU microseconds an update. */
  readonly cpu: number;
  /** Wake-ups a second when nothing happens. */
  readonly idle: number;
}

async function run(context: Context): Promise<Outcome> {
  const { quick, runs, say } = context;
  const many = quick ? 5 : 50;
  const costs: { none: Cost; peers: Cost; sites: Cost }[] = [];
  for (let turn = 0; turn < (quick ? 1 : runs); turn++) {
    const none = await cost(context, 0, 0);
    const peers = await cost(context, many, 0);
    const sites = await cost(context, 0, many);
    say(`${none.cpu.toFixed(0)}, ${peers.cpu.toFixed(0)}, ${sites.cpu.toFixed(0)} us an update`);
    costs.push({ none, peers, sites });
  }
  const alone = costs.map(({ none }) => none.cpu);
  const perPeer = costs.map(({ none, peers }) => (peers.cpu - none.cpu) / many);
  const perSite = costs.map(({ none, sites }) => (sites.cpu - none.cpu) / many);
  const woken = (which: "peers" | "sites") =>
    costs.map((one) => (one[which].idle - one.none.idle) / many);
  return {
    input: `${many} KX peers that fetch everything, ${many} sites behind one relay`,
    figures: [
      { name: "CPU of an update without neighbours", unit: "us", values: alone },
      { name: "CPU of a KX peer more, an update", unit: "us", values: perPeer },
      { name: "CPU of a site more, an update", unit: "us", values: perSite },
      { name: "wake-ups a second of an idle peer", unit: "", values: woken("peers") },
      { name: "wake-ups a second of an idle site", unit: "", values: woken("sites") },
    ],
    goals: [
      atMost("an idle peer wakes nobody", median(woken("peers")), 0.05, " a second"),
      atMost("an idle site wakes nobody", median(woken("sites")), 0.05, " a second"),
    ],
  };
}

async function cost(context: Context, peerCount: number, siteCount: number): Promise<Cost> {
  const { material, quick } = context;
  const updates = material.updates(quick ? 20 : 200);
  const peers = Array.from({ length: peerCount }, () => new KxPeer());
  const sink = new MailSink();
  const gateways = new Gateways(context);
  try {
    const relay = await sink.start();
    const kx: string[] = [];
    for (const [n, peer] of peers.entries()) {
      peer.isFetching = true;
      const port = await peer.start();
      kx.push(`[[peer]]\nname = "kx${n}"\nkx = "127.0.0.1:${port}"\ndial = true\nvia = "kx"`);
    }
    const sites = Array.from({ length: siteCount }, (_, n) => {
      return `[[peer]]\nname = "site${n}"\nmail = "pgp-public-keys@site${n}.example.net"`;
    });
    const gateway = await gateways.start({
      name: "hub",
      lines: [
        `[kx]\nlisten = ["127.0.0.1:0"]\n[outbound]\nrelay = "smtp://127.0.0.1:${relay}"`,
        `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
        ...kx,
        ...sites,
      ],
    });
    await until(() => peers.every(({ connected }) => connected));
    await pause(1500);
    const client = await SmtpClient.connect(gateway.port("smtp"));
    const deliver = async (mails: readonly string[]) => {
      for (const mail of mails) await client.deliver(mail, SITE);
    };
    const mails = updates.map((update, n) => incremental([armorOf(update)], `fan-out.${n}`));
    // The first one opens the connections to the relay.
    await deliver(mails.slice(0, 1));
    await pause(1500);
    const before = cpuUs(gateway.pid);
    await deliver(mails.slice(1));
    const isDone = () =>
      peers.every(({ fetched }) => fetched >= updates.length) &&
      sink.taken >= updates.length * siteCount;
    await until(isDone, "everybody has everything", PATIENCE_MS);
    const cpu = (cpuUs(gateway.pid) - before) / (updates.length - 1);
    client.close();
    await pause(2000);
    const [woken, seconds] = [sleeps(gateway.pid), quick ? 2 : 10];
    await pause(seconds * 1000);
    return { cpu, idle: (sleeps(gateway.pid) - woken) / seconds };
  } finally {
    await gateways.end();
    await Promise.all(peers.map((peer) => peer.stop()));
    await sink.stop();
  }
}
