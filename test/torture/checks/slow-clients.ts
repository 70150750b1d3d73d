/**
 * Two hundred connections that say one byte now and then, half of them inside a message (row 28).
 * Their slots come back when their time is over, and neighbours' mail goes through meanwhile. The
 * deadlines are seconds here, in place of minutes (`programs/impatient.ts`); the pace of 500 bytes
 * a second is the real one. Control: a connection that keeps the pace is not ended.
 */
import { connect, type Socket } from "node:net";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import type { Check, Context } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const CROWD = 200;
const PER_ADDRESS = 10;
const DEADLINE_MS = 4000;
const TRICKLE_MS = 300;
const RATE_MS = 1500;
const BOUNCES = "pgp-bounces@kx.example.org";

export const slowClients: Check = {
  name: "slow-clients",
  rows: [28],
  promise: "clients that trickle lose their slots and keep nobody out",
  runs: 1,
  share: 0.7,
  async run(context) {
    const { directory, build } = context;
    const world = await World.make({ directory, build, sink: true, program: "impatient" });
    const gateway = world.spawn(["env", `KXTORTURE_MS=${DEADLINE_MS}`]);
    const crowd: Trickle[] = [];
    try {
      await gateway.event("ready");
      const port = gateway.port("smtp");
      const alone = await rate(context, port, 0);
      const began = performance.now();
      for (let n = 0; n < CROWD; n += 1) {
        crowd.push(new Trickle(port, `127.0.1.${1 + Math.floor(n / PER_ADDRESS)}`, n % 2 === 0));
      }
      const steady = keepPace(context, port);
      await holdsWithin(() => crowd.filter(({ isIn }) => isIn).length >= CROWD / 2, 10_000);
      const held = crowd.filter(({ isIn, isClosed }) => isIn && !isClosed).length;
      const among = await rate(context, port, 1000);
      const areGone = await holdsWithin(() => crowd.every(({ isClosed }) => isClosed), 60_000);
      const seconds = (performance.now() - began) / 1000;
      const faults: string[] = [];
      if (!areGone) faults.push("trickling clients are still there");
      if (among === 0) faults.push("no mail went through meanwhile");
      const kept = await steady;
      const late = crowd.filter(({ text }) => /\r?\n421 4\.4\.2 /.test(text)).length;
      return {
        faults,
        figures:
          `${held} of ${CROWD} got a slot (100 are for strangers) and trickled a byte every ` +
          `${TRICKLE_MS} ms; ${among} mails a second meanwhile, ${alone} before; all slots back ` +
          `${seconds.toFixed(1)} s after the first came, ${late} with 421 4.4.2 (deadline ` +
          `${DEADLINE_MS / 1000} s here, 300 s for commands, 600 s for messages in earnest)`,
        control: { caught: kept, figures: "600 bytes a second for twice the grace: 250" },
      };
    } finally {
      for (const one of crowd) one.end();
      await gateway.end();
      await world.end();
    }
  },
};

/** A stranger who says one byte at a time, in a bounce or before any command is complete. */
class Trickle {
  text = "";
  isClosed = false;
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, from: string, inData: boolean) {
    this.#socket = connect({ host: "127.0.0.1", port, localAddress: from });
    this.#socket.on("error", () => this.#socket.destroy());
    this.#socket.on("data", (bytes) => {
      this.text += bytes.toString("latin1");
    });
    this.#socket.on("end", () => this.end());
    this.#socket.on("close", () => {
      this.isClosed = true;
      this.end();
    });
    const lines = ["EHLO slow.example", "MAIL FROM:<>", `RCPT TO:<${BOUNCES}>`, "DATA", ""];
    if (inData) this.#socket.write(lines.join("\r\n"));
    this.#timer = setInterval(() => this.#socket.write("x"), TRICKLE_MS);
  }

  get isIn(): boolean {
    return this.text.startsWith("220");
  }

  end(): void {
    clearInterval(this.#timer);
    this.#socket.destroy();
  }
}

/** Mails a second on one connection, over a second and a half. */
async function rate(context: Context, port: number, from: number): Promise<number> {
  const client = await SmtpClient.connect(port);
  const began = performance.now();
  let mails = 0;
  while (performance.now() - began < RATE_MS) {
    mails += 1;
    const mail = incremental([made(context.seed, from + mails).armor], `slow.${from + mails}`);
    const { code, text } = await client.deliver(mail, SITE_ADDRESS);
    if (code !== 250) throw new Error(text);
  }
  client.close();
  return Math.round(mails / ((performance.now() - began) / 1000));
}

/** A neighbour at 600 bytes a second and more, for longer than the grace; whether it was taken. */
async function keepPace(context: Context, port: number): Promise<boolean> {
  const client = await SmtpClient.connect(port);
  for (const line of ["MAIL FROM:<k@old.example.net>", `RCPT TO:<${SITE_ADDRESS}>`, "DATA"]) {
    await client.command(line);
  }
  const wire = `${incremental([made(context.seed, 5000, 4000).armor], "steady")}.\r\n`;
  const answer = client.reply();
  const piece = Math.ceil(wire.length / 14);
  for (let at = 0; at < wire.length; at += piece) {
    client.write(wire.slice(at, at + piece));
    await pause(DEADLINE_MS / 8);
  }
  const { code } = await answer;
  client.close();
  return code === 250;
}
