/**
 * A thousand half-sent requests of strangers at an open HKP door, half of them inside the body,
 * which go on one byte at a time and come back when they are ended (item 10 of the faults met by
 * real clients). Neighbours' keys go through meanwhile, memory stays bounded, and all slots come
 * back. The deadlines are seconds here, in place of 20 s and 5 min. Control: a gateway whose
 * strangers may have every connection shuts its neighbour out.
 */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { holdsWithin, pause } from "../../support/until.js";
import type { Check, Context } from "../check.js";
import { made } from "../material.js";
import { World } from "../world.js";

const CROWD = 1000;
const PER_ADDRESS = 5;
const DEADLINE_MS = 4000;
const TRICKLE_MS = 500;
/** How soon a stranger who was ended comes again. */
const AGAIN_MS = 2000;
const RATE_MS = 3000;
/** Of 100 slots of strangers, each with 64 KiB of a body, and the usual of a process. */
const MOST_MIB = 150;

export const hkpCrowd: Check = {
  name: "hkp-crowd",
  rows: [],
  promise: "half-sent requests of strangers shut no neighbour out of the HKP door",
  runs: 1,
  share: 0.5,
  async run(context) {
    const real = await besieged(context, "real", []);
    const control = await besieged(context, "control", ["KXTORTURE_SHARES=none"]);
    const faults: string[] = [];
    if (real.failed > 0) faults.push(`${real.failed} posts of the neighbour failed`);
    if (real.posts === 0) faults.push("no post of the neighbour went through");
    if (!real.isOver) faults.push("slots did not come back");
    if (real.grownMiB > MOST_MIB) faults.push(`memory grew by ${real.grownMiB} MiB`);
    return {
      faults,
      figures:
        `${CROWD} half-sent requests, a byte every ${TRICKLE_MS} ms, again when ended: ` +
        `${real.posts} posts of a neighbour in ${RATE_MS / 1000} s, ${real.failed} failed, ` +
        `slowest ${Math.round(real.slowestMs)} ms; memory +${real.grownMiB} MiB; a stranger is ` +
        `taken again ${(real.backMs / 1000).toFixed(1)} s after they gave up ` +
        `(deadline ${DEADLINE_MS / 1000} s here, 20 s in earnest)`,
      control: {
        caught: control.failed > 0,
        figures: `without shares ${control.failed} of ${control.failed + control.posts} fail`,
      },
    };
  },
};

interface Siege {
  readonly posts: number;
  readonly failed: number;
  readonly slowestMs: number;
  readonly grownMiB: number;
  /** Whether a stranger got in after the crowd gave up, and how long after. */
  readonly isOver: boolean;
  readonly backMs: number;
}

async function besieged(context: Context, name: string, env: readonly string[]): Promise<Siege> {
  const world = await World.make({
    ...{ directory: context.directory, build: context.build, program: "impatient" },
    logDirectory: context.directory,
    more: '[hkp]\nlisten = ["127.0.0.1:0"]\nopen = true\nstranger_rate = "10000/1s"\n',
  });
  const gateway = world.spawn(["env", `KXTORTURE_MS=${DEADLINE_MS}`, ...env]);
  const crowd: HalfSent[] = [];
  try {
    await gateway.event("ready");
    const port = gateway.port("hkp");
    const from = name === "real" ? 0 : 1_000_000;
    await post(port, "127.0.0.1", made(context.seed, from).armor);
    const before = residentMiB(gateway);
    for (let n = 0; n < CROWD; n += 1) {
      const address = `127.0.${1 + Math.floor(n / 1000)}.${1 + Math.floor(n / PER_ADDRESS)}`;
      crowd.push(new HalfSent(port, address, n % 2 === 0));
    }
    await pause(500);
    let [posts, failed, slowestMs, most] = [0, 0, 0, before];
    const began = performance.now();
    while (performance.now() - began < RATE_MS) {
      const start = performance.now();
      const { armor } = made(context.seed, from + 1 + posts + failed);
      if ((await post(port, "127.0.0.1", armor)) === 200) posts += 1;
      else failed += 1;
      slowestMs = Math.max(slowestMs, performance.now() - start);
      most = Math.max(most, residentMiB(gateway));
      await pause(20);
    }
    for (const one of crowd) one.giveUp();
    const ended = performance.now();
    const last = made(context.seed, from + 500_000).armor;
    const isOver = await holdsWithin(
      async () => (await post(port, "127.0.9.9", last)) === 200,
      20_000,
    );
    const backMs = performance.now() - ended;
    return { posts, failed, slowestMs, grownMiB: most - before, isOver, backMs };
  } finally {
    for (const one of crowd) one.end();
    await gateway.end();
    await world.end();
  }
}

/** A stranger who has sent half of a request, goes on by single bytes, and comes again if ended. */
class HalfSent {
  readonly #port: number;
  readonly #from: string;
  readonly #start: string;
  readonly #timer: NodeJS.Timeout;
  #socket: Socket | undefined;
  #comesAgain = true;
  #endedAt = -AGAIN_MS;

  constructor(port: number, from: string, inBody: boolean) {
    this.#port = port;
    this.#from = from;
    const head = "POST /pks/add HTTP/1.1\r\nHost: x\r\n";
    const type = "Content-Type: application/x-www-form-urlencoded\r\n";
    this.#start = inBody
      ? `${head}${type}Content-Length: 1000000\r\n\r\nkeytext=${"a".repeat(20_000)}`
      : `${head}X-Slow: `;
    this.#timer = setInterval(() => this.#go(), TRICKLE_MS);
    this.#go();
  }

  /** Says nothing more, and does not come again. */
  giveUp(): void {
    this.#comesAgain = false;
    clearInterval(this.#timer);
  }

  end(): void {
    this.giveUp();
    this.#socket?.destroy();
  }

  #go(): void {
    if (this.#socket !== undefined) {
      this.#socket.write("a");
      return;
    }
    if (!this.#comesAgain || performance.now() < this.#endedAt + AGAIN_MS) return;
    const socket = connect({ host: "127.0.0.1", port: this.#port, localAddress: this.#from });
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      this.#socket = undefined;
      this.#endedAt = performance.now();
    });
    socket.write(this.#start);
    this.#socket = socket;
  }
}

/** The status of a post, 0 when there was no answer within 2 s. */
function post(port: number, from: string, armor: string): Promise<number> {
  return new Promise((resolve) => {
    const where = { host: "127.0.0.1", port, localAddress: from, path: "/pks/add", agent: false };
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    const sent = request({ ...where, method: "POST", headers, timeout: 2000 }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer")));
    sent.on("error", () => resolve(0));
    sent.end(new URLSearchParams({ keytext: armor }).toString());
  });
}

function residentMiB(gateway: GatewayProcess): number {
  const status = readFileSync(`/proc/${gateway.pid}/status`, "latin1");
  return Math.round(Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
}
