/**
 * Ingest: incremental mails over 16 connections, each 250 after the commit, beside a bare
 * smtp-server that accepts and discards and a Postfix that queues and discards: the same client,
 * the same mails, the same run.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Postfix } from "../../interop/postfix.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { incremental } from "../../torture/material.js";
import type { Outcome } from "../bench.js";
import { atLeast, atMost, type Bench, type Context, type Goal, median } from "../bench.js";
import { Gateways, metric, OLD, SITE } from "../gateways.js";
import { armorOf } from "../material.js";
import { cpuUs } from "../processes.js";

const CONNECTIONS = 16;

export const ingest: Bench = {
  name: "ingest",
  question: "How fast are mails taken durably, against a server that keeps nothing, and Postfix?",
  run,
};

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say, directory, build } = context;
  const count = quick ? 400 : 4000;
  const updates = material.updates(count * (runs + 1));
  const turns = Math.min(runs + 1, Math.max(2, Math.floor(updates.length / count)));
  const rates: Record<"ours" | "bare" | "postfix", number[]> = { ours: [], bare: [], postfix: [] };
  const [cpu, lag]: [number[], number[]] = [[], []];
  const gateways = new Gateways(context);
  const bare = spawn(process.execPath, [join(build, "test/bench/programs/accept-and-discard.js")]);
  const postfix = await startPostfix(join(directory, "postfix"), say);
  try {
    const [line] = (await once(bare.stdout, "data")) as [Buffer];
    const gateway = await gateways.start({
      name: "ingest",
      lines: [`[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`],
    });
    // Who goes first changes with each turn; the first turn is the warm-up.
    for (let turn = 0; turn < turns; turn++) {
      const mails = updates.slice(turn * count, (turn + 1) * count).map((update, n) => {
        return incremental([armorOf(update)], `ingest.${turn}.${n}`);
      });
      const before = cpuUs(gateway.pid);
      const measured = {
        ours: await deliverAll(gateway.port("smtp"), mails),
        bare: await deliverAll(Number(line.toString()), mails),
        postfix: postfix === undefined ? undefined : await deliverAll(postfix.port, mails),
      };
      say(JSON.stringify(measured, (_, value) => (Number(value) ? Math.round(value) : value)));
      if (turn === 0) continue;
      cpu.push((cpuUs(gateway.pid) - before) / mails.length);
      rates.ours.push(measured.ours);
      rates.bare.push(measured.bare);
      if (measured.postfix !== undefined) rates.postfix.push(measured.postfix);
      lag.push(1000 * (await metric(gateway, "nodejs_eventloop_lag_p99_seconds")));
    }
  } finally {
    bare.stdin.end();
    await gateways.end();
    await postfix?.stop();
  }
  const ofBare = rates.ours.map((rate, n) => (100 * rate) / (rates.bare[n] ?? rate));
  const ofPostfix = rates.postfix.map((rate, n) => (rates.ours[n] ?? 0) / rate);
  const goals: Goal[] = [
    atLeast("50 % of the rate of a bare smtp-server", median(ofBare), 50, " %"),
    atMost("event loop lag p99 at most 50 ms", median(lag), 50, " ms"),
  ];
  if (postfix !== undefined) {
    goals.push(atLeast("twice the rate of Postfix", median(ofPostfix), 2, " times"));
  }
  const without =
    postfix === undefined ? "; without Postfix, which needs root and its package" : "";
  return {
    input: `${count} mails a turn over ${CONNECTIONS} connections${without}`,
    figures: [
      { name: "ours : bare smtp-server", unit: "%", values: ofBare },
      { name: "ours : Postfix", unit: "times", values: ofPostfix },
      { name: "mails a second", unit: "", values: rates.ours },
      { name: "CPU of a mail", unit: "us", values: cpu },
      { name: "event loop lag p99", unit: "ms", values: lag },
    ],
    goals,
  };
}

/** Mails a second, all of them acknowledged. */
async function deliverAll(port: number, mails: readonly string[]): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => SmtpClient.connect(port)),
  );
  let next = 0;
  const began = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      for (let mail = mails[next++]; mail !== undefined; mail = mails[next++]) {
        const { code, text } = await client.deliver(mail, SITE);
        if (code !== 250) throw new Error(text);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const client of clients) client.close();
  return mails.length / seconds;
}

async function startPostfix(
  directory: string,
  say: (text: string) => void,
): Promise<Postfix | undefined> {
  try {
    return await Postfix.start(directory, { relay: { "kx.example.org": "discard:" }, pipes: {} });
  } catch (error) {
    say(`no Postfix: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
