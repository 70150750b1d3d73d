/**
 * One mail in ten thousand random segmentations (row 8): the update that comes of it has the same
 * MD5 each time, so the log knows it. Control: of mails with one octet of the key changed none is
 * taken for the same.
 */
import type { GatewayProcess } from "../../../src/demo/process.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { pause } from "../../support/until.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const CLIENTS = 20;
const CONTROL_MAILS = 200;
const KNOWN = /^250 2\.0\.0 Stored 0 new, 1 known\./;

export const segments: Check = {
  name: "segments",
  rows: [8],
  promise: "a mail is the same however the network cuts it",
  runs: 10_000,
  share: 1,
  async run(context) {
    const { directory, build, seed } = context;
    const world = await World.make({ directory, build });
    const gateway = await world.start();
    try {
      const mail = incremental([made(seed, 1, 3000).armor], "segments");
      await world.mail(gateway, mail);
      const real = await inPieces(context, gateway, () => mail);
      const spoilt = await inPieces(controlOf(context, CONTROL_MAILS), gateway, () =>
        spoil(mail, context.random),
      );
      return {
        faults: real.same === real.mails ? [] : real.others.slice(0, 3),
        figures:
          `${real.same} of ${real.mails} segmentations into ${real.pieces} pieces ` +
          "gave the same update",
        control: {
          caught: spoilt.same === 0,
          figures: `one octet changed: ${spoilt.same} of ${spoilt.mails}`,
        },
      };
    } finally {
      await gateway.end();
      await world.end();
    }
  },
};

async function inPieces(context: Context, gateway: GatewayProcess, next: () => string) {
  const told = { mails: 0, same: 0, pieces: 0, others: [] as string[] };
  const port = gateway.port("smtp");
  const one = async () => {
    const client = await SmtpClient.connect(port);
    while (goesOn(context, told.mails, CLIENTS)) {
      told.mails += 1;
      const most = told.mails % 3 === 0 ? 40 : 700;
      for (const line of ["MAIL FROM:<k@old.example.net>", `RCPT TO:<${SITE_ADDRESS}>`, "DATA"]) {
        await client.command(line);
      }
      const wire = `${next()}.\r\n`;
      const answer = client.reply();
      for (let at = 0; at < wire.length; ) {
        const size = 1 + Math.floor(context.random() * most);
        client.write(wire.slice(at, at + size));
        told.pieces += 1;
        at += size;
        if (context.random() < 0.25) await pause(0);
      }
      const { text } = await answer;
      if (KNOWN.test(text)) told.same += 1;
      else told.others.push(text);
    }
    client.close();
  };
  await Promise.all(Array.from({ length: CLIENTS }, one));
  return told;
}

/** Changes one letter of the first lines of the key, where each is six bits of it. */
function spoil(mail: string, random: () => number): string {
  const at = mail.indexOf("\r\n\r\n", mail.indexOf("-----BEGIN")) + 4 + Math.floor(random() * 60);
  const other = mail[at] === "A" ? "B" : "A";
  return mail.slice(0, at) + other + mail.slice(at + 1);
}
