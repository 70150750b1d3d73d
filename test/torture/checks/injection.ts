/**
 * A hundred thousand mails whose HELO, sender, recipient and header fields are made of line ends,
 * NUL, brackets, commands, 8-bit and encoded words (row 26). No reply, no line of the log and no
 * mail that goes on may hold one of them raw; mail goes to the configured site and nobody else.
 */
import type { GatewayProcess } from "../../../src/demo/process.js";
import { onTheWire, SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin } from "../../support/until.js";
import { type Check, type Context, goesOn } from "../check.js";
import { made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const CLIENTS = 8;
/** So many of the mails bring a key of their own, which goes on to the site. */
const NEW_EVERY = 50;
const FAR = "pgp-public-keys@far.example.net";
const PIECES = [
  ...["\r", "\n", "\0", "\r\n", ">", "<", '"', "\\", "(", ",", ";", ":", " ", "@", "\x0b", "\t"],
  ...["\r\nRCPT TO:<x@evil.example>", "\r\nBcc: x@evil.example", "=?utf-8?q?=0D=0ABcc:_x?="],
  ...["\x7f", "\x1b[31m", "\x85", "\xff", "a@b.example", "keys@c.example", "x".repeat(90)],
];
const PRINTABLE = /^[\x20-\x7e]*$/;
/** Every header line that we write. */
const OURS = new RegExp(
  `^(To: ${FAR}|From: PGP Key Server Administrator <[!-~]+>|Subject: incremental|` +
    "X-KeyServer-Sent: [!-~]+|Precedence: list|Auto-Submitted: auto-generated|" +
    "Date: [ -~]+|Message-ID: <[!-~]+>|" +
    "MIME-Version: 1\\.0|Content-type: application/pgp-keys|Content-Transfer-Encoding: 7bit)$",
);

export const injection: Check = {
  name: "injection",
  rows: [26],
  promise: "what strangers write becomes no line of ours",
  runs: 100_000,
  share: 2,
  async run(context) {
    const { directory, build } = context;
    const world = await World.make({ directory, build, sink: true });
    const gateway = await world.start();
    try {
      const told = await hostile(context, world, gateway);
      const { sink } = world;
      await holdsWithin(() => (sink?.received.size ?? 0) >= told.fresh, 60_000);
      await gateway.end();
      const faults = [...told.faults, ...lineFaults(gateway), ...mailFaults(world)];
      return {
        faults: faults.slice(0, 5),
        figures:
          `${told.mails} hostile sessions, ${told.taken} mails taken, ${sink?.received.size} ` +
          `updates mailed on, ${told.replies} replies: ${faults.length} injected`,
        control: {
          caught: !OURS.test("Bcc: x@evil.example") && lineFault('{"a":"\x85"}') !== undefined,
          figures: "a Bcc line and a C1 character are found",
        },
      };
    } finally {
      await gateway.end("SIGKILL");
      await world.end();
    }
  },
};

async function hostile(context: Context, _world: World, gateway: GatewayProcess) {
  const told = { mails: 0, taken: 0, fresh: 0, replies: 0, faults: [] as string[] };
  const port = gateway.port("smtp");
  const { random, seed } = context;
  const nasty = () =>
    Array.from({ length: 1 + Math.floor(random() * 6) }, () =>
      random() < 0.3
        ? String.fromCharCode(0x21 + Math.floor(random() * 94))
        : (PIECES[Math.floor(random() * PIECES.length)] ?? ""),
    ).join("");
  /** In a command a line end would be another command, which is no injection. */
  const inLine = () => nasty().replaceAll(/[\r\n]/g, "\x0b");
  const one = async () => {
    let client = await SmtpClient.connect(port);
    while (goesOn(context, told.mails, CLIENTS)) {
      told.mails += 1;
      const n = told.mails % NEW_EVERY === 0 ? told.mails : 1;
      const lines = [`EHLO ${inLine()}`, `MAIL FROM:<${inLine()}>`, `RCPT TO:<${inLine()}>`];
      lines.push("RSET", "MAIL FROM:<k@old.example.net>", `RCPT TO:<${SITE_ADDRESS}>`, "DATA");
      const head = `From: ${nasty()}\r\nX-KeyServer-Sent: ${nasty()}\r\nMessage-ID: <${nasty()}>`;
      const mail = `Subject: incremental ${inLine()}\r\n${head}\r\n\r\n${made(seed, n).armor}`;
      try {
        for (const line of lines) {
          const { text } = await client.command(line);
          told.replies += 1;
          if (!text.split("\n").every((part) => PRINTABLE.test(part))) told.faults.push(text);
        }
        client.write(onTheWire(mail));
        const { code } = await client.reply();
        if (code === 250) told.taken += 1;
        if (code === 250 && n > 1) told.fresh += 1;
      } catch {
        client = await SmtpClient.connect(port);
      }
    }
    client.close();
  };
  await Promise.all(Array.from({ length: CLIENTS }, one));
  return told;
}

function lineFaults(gateway: GatewayProcess): string[] {
  return gateway.output.split("\n").flatMap((line) => lineFault(line) ?? []);
}

function lineFault(line: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (line === "" || (/^\{.*\}$/.test(line) && !/[\0-\x1f\x7f-\x9f]/.test(line))) return undefined;
  return `a line of the log: ${JSON.stringify(line)}`;
}

function mailFaults({ sink }: World): string[] {
  const faults = [...(sink?.recipients ?? [])].filter((to) => to !== FAR);
  for (const line of sink?.headLines ?? []) if (!OURS.test(line)) faults.push(line);
  return faults.map((fault) => `a mail of ours: ${JSON.stringify(fault)}`);
}
