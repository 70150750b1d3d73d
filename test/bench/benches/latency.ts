/**
 * Latency: from the submission of a mail at one gateway to its arrival at a site behind another,
 * with KX between them; idle, when nothing moved for a second before, and under a steady load.
 */

import { SmtpClient } from "../../support/smtp-client.js";
import { pause, until } from "../../support/until.js";
import { MailSink } from "../../torture/mail-sink.js";
import { incremental } from "../../torture/material.js";
import { atMost, type Bench, type Context, type Outcome, quantile } from "../bench.js";
import { Gateways, OLD, SITE } from "../gateways.js";
import { armorOf } from "../material.js";

const FAR = "pgp-public-keys@far.example.net";
const LOAD_EVERY_MS = 20;
const IDLE_EVERY_MS = 1100;

export const latency: Bench = {
  name: "latency",
  question: "How long is a mail on its way through two gateways?",
  run,
};

async function run(context: Context): Promise<Outcome> {
  const { material, quick, say } = context;
  const [idle, loaded] = quick ? [3, 50] : [30, 1000];
  const updates = material.updates(idle + loaded + 20);
  const gateways = new Gateways(context);
  const sink = new MailSink();
  try {
    const relay = `smtp://127.0.0.1:${await sink.start()}`;
    const b = await gateways.start({
      name: "b",
      site: "pgp-public-keys@b.kx.example.org",
      lines: [
        '[kx]\nlisten = ["127.0.0.1:0"]',
        `[outbound]\nrelay = "${relay}"`,
        '[[peer]]\nname = "a"\nkx = "127.0.0.1:1"\nvia = "kx"',
        `[[peer]]\nname = "far"\nmail = "${FAR}"`,
      ],
    });
    const a = await gateways.start({
      name: "a",
      lines: [
        '[kx]\nlisten = ["127.0.0.1:0"]',
        `[[peer]]\nname = "b"\nkx = "127.0.0.1:${b.port("kx")}"\ndial = true\nvia = "kx"`,
        `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
      ],
    });
    await a.event("peer-connected");
    const client = await SmtpClient.connect(a.port("smtp"));
    const sent = new Map<string, number>();
    const took: number[] = [];
    sink.onMail = (hash) => {
      const at = sent.get(hash);
      if (at !== undefined) took.push(performance.now() - at);
    };
    let next = 0;
    const submit = async (everyMs: number, count: number): Promise<number[]> => {
      took.length = 0;
      const began = performance.now();
      for (let n = 0; n < count; n++) {
        const update = updates[next++];
        if (update === undefined) break;
        sent.set(update.hash, performance.now());
        await client.deliver(incremental([armorOf(update)], `latency.${next}`), SITE);
        await pause(Math.max(0, began + (n + 1) * everyMs - performance.now()));
      }
      await until(
        () => took.length >= count,
        () => `${count - took.length} mails that did not arrive`,
      );
      return [...took];
    };
    await submit(LOAD_EVERY_MS, 20);
    await pause(IDLE_EVERY_MS);
    const quiet = await submit(IDLE_EVERY_MS, idle);
    say(`idle p50 ${quantile(quiet, 0.5).toFixed(1)} ms`);
    const busy = await submit(LOAD_EVERY_MS, loaded);
    say(`under load p50 ${quantile(busy, 0.5).toFixed(1)} ms`);
    client.close();
    return {
      input: `${idle} mails ${IDLE_EVERY_MS} ms apart, ${loaded} mails ${LOAD_EVERY_MS} ms apart`,
      figures: [
        { name: "idle, p50", unit: "ms", values: [quantile(quiet, 0.5)] },
        { name: "idle, p99", unit: "ms", values: [quantile(quiet, 0.99)] },
        { name: "under load, p50", unit: "ms", values: [quantile(busy, 0.5)] },
        { name: "under load, p99", unit: "ms", values: [quantile(busy, 0.99)] },
      ],
      goals: [
        atMost("p50 at most 20 ms, idle", quantile(quiet, 0.5), 20, " ms"),
        atMost("p50 at most 20 ms, under load", quantile(busy, 0.5), 20, " ms"),
      ],
    };
  } finally {
    await gateways.end();
    await sink.stop();
  }
}
