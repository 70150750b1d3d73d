/**
 * Duplicates: what it costs a gateway to hear of updates that it holds. Over KX a peer announces
 * them through the real socket, session and log; by mail each comes whole. The peer and the mails
 * are ours, so the figures are the gateway's own CPU.
 */

import { KxPeer } from "../../support/kx-peer.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { pause, until } from "../../support/until.js";
import { incremental } from "../../torture/material.js";
import { atMost, type Bench, type Context, median, type Outcome } from "../bench.js";
import { Gateways, OLD, SITE } from "../gateways.js";
import { armorOf } from "../material.js";
import { cpuUs } from "../processes.js";

/** Lines in a notice, as our own announcer writes them. */
const LINES = 500;

export const duplicate: Bench = {
  name: "duplicate",
  question: "What does an announcement of a known update cost, and what a duplicate mail?",
  run,
};

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say } = context;
  const updates = material.updates(quick ? 5000 : 40_000);
  const mails = updates.slice(0, quick ? 100 : 1000).map((update, n) => {
    return incremental([armorOf(update)], `duplicate.${n}`);
  });
  const gateways = new Gateways(context);
  const [perLine, perMail]: [number[], number[]] = [[], []];
  try {
    for (let turn = 0; turn <= runs; turn++) {
      const peer = new KxPeer();
      const port = await peer.start();
      const gateway = await gateways.start({
        name: "duplicate",
        updates,
        lines: [
          '[kx]\nlisten = ["127.0.0.1:0"]',
          `[[peer]]\nname = "kx"\nkx = "127.0.0.1:${port}"\ndial = true\nvia = "kx"`,
          `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
        ],
      });
      await until(() => peer.connected);
      await pause(500);
      let before = cpuUs(gateway.pid);
      peer.announce(updates, LINES);
      // The answer to a question behind them says that all of them were read.
      await peer.list(1, 1);
      const line = (cpuUs(gateway.pid) - before) / updates.length;
      await pause(1500);
      const client = await SmtpClient.connect(gateway.port("smtp"));
      before = cpuUs(gateway.pid);
      for (const mail of mails) await client.deliver(mail, SITE);
      const mail = (cpuUs(gateway.pid) - before) / mails.length;
      client.close();
      say(`${line.toFixed(1)} us a line, ${mail.toFixed(0)} us a mail`);
      await gateways.end();
      await peer.stop();
      if (turn === 0 && runs > 1) continue;
      perLine.push(line);
      perMail.push(mail);
    }
  } finally {
    await gateways.end();
  }
  return {
    input: `${updates.length} known updates, ${LINES} lines a message; ${mails.length} mails`,
    figures: [
      { name: "CPU of a known announcement", unit: "us", values: perLine },
      { name: "CPU of a duplicate mail", unit: "us", values: perMail },
      {
        name: "duplicate mail : known announcement",
        unit: "",
        values: perMail.map((mail, n) => mail / (perLine[n] ?? 1)),
      },
    ],
    goals: [atMost("a known announcement costs at most 10 us of CPU", median(perLine), 10, " us")],
  };
}
