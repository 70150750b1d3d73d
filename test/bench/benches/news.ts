/**
 * News: what is saved when servers mail whole merged keys. Every key of the input is offered again
 * and again, one signature longer each time, as SKS and Hockeypuck do it; once to a gateway that
 * forwards the news, once to one that forwards what came. In one process, on logs in memory.
 */
import { systemClock } from "../../../src/clock.js";
import { GroupCommit } from "../../../src/intake/group-commit.js";
import { KeyIntake } from "../../../src/intake/key-intake.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  keyComponents,
  type TransferableKey,
} from "../../../src/openpgp/key.js";
import { isSelfSignature } from "../../../src/openpgp/signature.js";
import { cpuTimer } from "../../support/cpu.js";
import { atLeast, type Bench, type Context, type Outcome } from "../bench.js";
import { armorOfKey } from "../material.js";

export const news: Bench = {
  name: "news",
  question: "How much goes on of whole merged keys that grow one signature at a time?",
  run,
};

interface Forwarded {
  readonly updates: number;
  readonly bytes: number;
  readonly cpu: number;
}

async function run({ material, quick, say }: Context): Promise<Outcome> {
  const keys = material.keys.slice(0, quick ? 10 : 200);
  const stream = keys.flatMap((key) => growth(key, quick ? 3 : 20));
  const offered = stream.reduce((sum, key) => sum + encodeKey(key).length, 0);
  const whole = await forward(stream, "whole");
  const cut = await forward(stream, "news");
  say(`${whole.bytes} and ${cut.bytes} bytes of ${offered}`);
  return {
    input:
      `${stream.length} whole keys, ${keys.length} different ones of ${material.source}, ` +
      "each one signature longer than before, and each offered twice",
    figures: [
      { name: "bytes that came", unit: "", values: [2 * offered] },
      { name: "bytes that went on, whole", unit: "", values: [whole.bytes] },
      { name: "bytes that went on, news", unit: "", values: [cut.bytes] },
      { name: "updates that went on, whole", unit: "", values: [whole.updates] },
      { name: "updates that went on, news", unit: "", values: [cut.updates] },
      { name: "CPU of a key, news : whole", unit: "", values: [cut.cpu / whole.cpu] },
    ],
    goals: [atLeast("whole : news, bytes that went on", whole.bytes / cut.bytes, 2, " times")],
  };
}

async function forward(
  stream: readonly TransferableKey[],
  how: "news" | "whole",
): Promise<Forwarded> {
  const log = UpdateLog.open(":memory:");
  const intake = new KeyIntake(
    { log, appends: new GroupCommit(log), clock: systemClock, diagnostics: { report: () => {} } },
    { forward: how },
  );
  const cpuMs = cpuTimer();
  for (const key of stream) {
    const armor = [Buffer.from(armorOfKey(key), "latin1")];
    const submission = { armor, sender: undefined, trail: [], messageId: undefined };
    for (let time = 0; time < 2; time++) {
      await intake.take({ ...submission, bytes: armor[0]?.length ?? 0 });
    }
  }
  const cpu = cpuMs() / stream.length;
  const { entries: updates, bodyBytes: bytes } = log.counts();
  log.close();
  return { updates, bytes, cpu };
}

/** The key as it may have grown: without its last `steps` foreign signatures, then each more. */
function growth(key: TransferableKey, steps: number): TransferableKey[] {
  const foreign = keyComponents(key).flatMap(({ signatures }) =>
    signatures.filter((one) => !isSelfSignature(key, one)),
  );
  const late = foreign.slice(-steps);
  return Array.from({ length: late.length + 1 }, (_, n) => {
    const missing = new Set(late.slice(n));
    const parts = keyComponents(key).map(({ packet, signatures }): Component => {
      return { packet, signatures: signatures.filter((one) => !missing.has(one)) };
    });
    return assembleKey(parts);
  });
}
