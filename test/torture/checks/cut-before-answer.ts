/**
 * The connection breaks between the commit and the 250, and the sender, who heard nothing, sends
 * the mail again (row 4; the window of RFC 1047). There must be one row, one announcement and one
 * mail to the site. Control: a gateway that does not recognise what it has.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq } from "../../../src/update.js";
import { onTheWire, SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause, quietFor } from "../../support/until.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World, type WorldOptions } from "../world.js";

const CONTROL_CUTS = 10;
const QUIET_MS = 500;

interface Result {
  readonly cuts: number;
  /** Cuts that fell behind the commit: the repetition was told that it is known. */
  readonly behindCommit: number;
  readonly rows: number;
  readonly announced: number;
  readonly mails: number;
  readonly faults: readonly string[];
}

export const cutBeforeAnswer: Check = {
  name: "cut",
  rows: [4],
  promise: "a sender that was cut off before the 250 and sends again makes no second update",
  runs: 1000,
  share: 3,
  async run(context) {
    const real = await cutOff(context, "real", undefined);
    const control = await cutOff(controlOf(context, CONTROL_CUTS), "control", "forgets-names");
    const { cuts, behindCommit, rows, announced, mails } = real;
    return {
      faults: real.faults,
      figures:
        `${cuts} cuts, ${behindCommit} of them behind the commit; ${rows} rows, ` +
        `${announced} announcements, ${mails} mails`,
      control: {
        caught: control.faults.length > 0 && control.rows > control.cuts,
        figures: `names forgotten: ${control.rows} rows of ${control.cuts} mails`,
      },
    };
  },
};

async function cutOff(
  context: Context,
  name: string,
  program: string | undefined,
): Promise<Result> {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const { build, seed } = context;
  const options: WorldOptions = { directory, build, peer: true, sink: true };
  const world = await World.make(program === undefined ? options : { ...options, program });
  const { peer, sink } = world;
  const gateway = await world.start();
  const faults: string[] = [];
  let cuts = 0;
  let behindCommit = 0;
  try {
    await holdsWithin(() => peer?.connected === true, 10_000);
    const again = await SmtpClient.connect(gateway.port("smtp"));
    while (goesOn(context, cuts, CONTROL_CUTS)) {
      const batch = Math.min(20, context.runs - cuts);
      const numbers = Array.from({ length: batch }, (_, index) => cuts + index);
      await Promise.all(numbers.map((n) => breakOff(context, gateway.port("smtp"), n)));
      for (const n of numbers) {
        const mail = incremental([made(seed, n).armor], `cut.${n}`);
        const reply = await again.deliver(mail, SITE_ADDRESS);
        if (reply.code !== 250) faults.push(`mail ${n}: ${reply.text}`);
        if (/ 0 new, 1 known/.test(reply.text)) behindCommit += 1;
      }
      cuts += batch;
    }
    again.close();
    await holdsWithin(
      () => (sink?.received.size ?? 0) >= cuts && (peer?.heard.length ?? 0) >= cuts,
      20_000,
    );
    await quietFor(QUIET_MS, "a second copy would show");
  } finally {
    await gateway.end();
    await world.end();
  }
  const log = UpdateLog.open(world.log, { readonly: true });
  const rows = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 10 * cuts + 10).length;
  log.close();
  const announced = peer?.heard.length ?? 0;
  const mails = (sink?.received.size ?? 0) + (sink?.repeats ?? 0);
  for (const [what, count] of Object.entries({ rows, announced, mails })) {
    if (count !== cuts) faults.push(`${count} ${what} of ${cuts} updates`);
  }
  if (behindCommit === 0) faults.push("no cut fell behind a commit: nothing was tried");
  return { cuts, behindCommit, rows, announced, mails, faults };
}

/** Sends a mail to its final dot and breaks the connection off at once or a little later. */
async function breakOff(context: Context, port: number, n: number): Promise<void> {
  const client = await SmtpClient.connect(port);
  for (const line of ["MAIL FROM:<a@old.example.net>", `RCPT TO:<${SITE_ADDRESS}>`, "DATA"]) {
    await client.command(line);
  }
  client.write(onTheWire(incremental([made(context.seed, n).armor], `cut.${n}`)));
  await pause(context.random() * 6);
  client.reset();
}
