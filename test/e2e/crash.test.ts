/**
 * What a 250 is worth: gateways are killed at random moments under mail, started again, and every
 * update that was answered 250 has to come out at the far end. A gateway that answers before it
 * commits is put to the same test and must fail it, else the test would prove nothing.
 */
import { cpSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { scratch } from "../support/scratch.js";
import { SmtpClient } from "../support/smtp-client.js";
import { pause, until } from "../support/until.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { logOf, ROOT, start } from "./stage.js";
import type { World } from "./world.js";
import { world } from "./world.js";

const ENVELOPE = { from: OLD, to: SITE };

/** Mails made keys at a gateway until it is gone or `enough`; the fingerprints answered 250. */
async function pump(
  gateway: GatewayProcess,
  name: string,
  acknowledged: Set<string>,
  enough: () => boolean = () => false,
): Promise<void> {
  try {
    const client = await SmtpClient.connect(gateway.port("smtp"));
    for (let n = 1; !enough(); n += 1) {
      const key = made(name, n, 3000);
      const { code } = await client.deliver(mailOf(key.armor), ENVELOPE);
      if (code !== 250) return;
      acknowledged.add(key.fingerprint);
      await pause(3);
    }
    client.close();
  } catch {
    // The connection broke off, as it should; what was not answered was not promised.
  }
}

/** Kills A `kills` times under mail; what it acknowledged and what has not come out. */
async function killed(kills: number, program?: string) {
  const { far, fileA, ...net } = await world(program);
  const acknowledged = new Set<string>();
  let a = net.a;
  for (let run = 0; run < kills; run += 1) {
    const own = new Set<string>();
    const after = 1 + Math.floor(Math.random() * 4);
    const hadEnough = () => run % 2 === 0 && own.size >= after;
    const mailing = pump(a, `kill ${run}`, own, hadEnough);
    // Every other time right after a 250, else whenever it may be.
    if (run % 2 === 0) await mailing;
    else await pause(Math.random() * 100);
    await a.end("SIGKILL");
    await mailing;
    for (const fingerprint of own) acknowledged.add(fingerprint);
    a = await start(fileA, program);
  }
  await everythingArrived({ far, fileA });
  const held = far.hashes();
  const lost = [...acknowledged].filter((fingerprint) => !held.has(fingerprint));
  return { acknowledged, lost, mails: far.received.length };
}

/** What is in A's log is at the far site. */
async function everythingArrived({ far, fileA }: Pick<World, "far" | "fileA">): Promise<void> {
  const logged = await logOf(fileA);
  const missing = () => {
    const held = far.hashes();
    return logged.filter(({ fingerprint }) => !held.has(fingerprint));
  };
  await until(
    () => missing().length === 0,
    () => `${missing().length} of ${logged.length} updates of A's log`,
  );
}

/** A copy of the program that says 250 at once and commits 200 ms later. */
function hastyProgram(): string {
  const directory = scratch();
  cpSync(join(ROOT, "dist"), join(directory, "dist"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(directory, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
  writeFileSync(
    join(directory, "dist/intake/group-commit.js"),
    `export class GroupCommit {
      #log;
      constructor(log) { this.#log = log; }
      async submit({ arrivals }) {
        setTimeout(() => this.#log.append(arrivals), 200);
        return arrivals.map(() => ({ outcome: "appended", seq: 1, collision: false }));
      }
    }`,
  );
  return join(directory, "dist/main.js");
}

it("20 kills of the gateway that takes the mail lose nothing that it acknowledged", async () => {
  const { acknowledged, lost, mails } = await killed(20);
  expect(lost).toEqual([]);
  expect(acknowledged.size).toBeGreaterThanOrEqual(10);
  process.stderr.write(`20 kills: ${acknowledged.size} acknowledged, 0 lost, ${mails} mails out\n`);
}, 60_000);

it("and a gateway that answers before it commits is found out", async () => {
  const { acknowledged, lost } = await killed(3, hastyProgram());
  expect(lost.length).toBeGreaterThan(0);
  expect(acknowledged.size).toBeGreaterThan(0);
}, 40_000);

it("kills of the gateway that takes the updates by KX lose nothing either", async () => {
  const { far, a, b, fileA, fileB } = await world();
  const port = b.port("kx");
  const acknowledged = new Set<string>();
  let isOver = false;
  const mailing = pump(a, "across", acknowledged, () => isOver);
  let current = b;
  const kills = 4;
  for (let run = 0; run < kills; run += 1) {
    await pause(100 + Math.random() * 200);
    await current.end("SIGKILL");
    current = await start(fileB);
    await current.event("peer-connected");
  }
  isOver = true;
  await mailing;
  expect(current.port("kx")).toBe(port);
  await everythingArrived({ far, fileA });
  const held = far.hashes();
  expect([...acknowledged].filter((fingerprint) => !held.has(fingerprint))).toEqual([]);
  // A crash between the site's 250 and our note of it repeats that one mail.
  expect(far.received.length - held.size).toBeLessThanOrEqual(kills);
}, 40_000);

it("SIGTERM under load ends it with 0 and loses nothing", async () => {
  const { far, fileA, ...net } = await world();
  const acknowledged = new Set<string>();
  let a = net.a;
  for (let run = 0; run < 4; run += 1) {
    const clients = [1, 2, 3].map((client) => pump(a, `term ${run}.${client}`, acknowledged));
    await pause(50 + Math.random() * 150);
    const code = await a.end("SIGTERM");
    await Promise.all(clients);
    expect([code, a.errors]).toEqual([0, ""]);
    expect(a.events.at(-1)?.event).toBe("stopped");
    a = await start(fileA);
  }
  await everythingArrived({ far, fileA });
  const held = far.hashes();
  expect([...acknowledged].filter((fingerprint) => !held.has(fingerprint))).toEqual([]);
  expect(acknowledged.size).toBeGreaterThan(0);
}, 40_000);
