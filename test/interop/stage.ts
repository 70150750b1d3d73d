/**
 * One case's stage: a directory, the programs that play in it and their clearing away. Gateways are
 * processes of the built program; a site that only writes, as a user or an upstream keyserver does,
 * is `post`.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { afterEach, beforeEach } from "vitest";
import { GatewayProcess } from "../../src/demo/process.js";
import { composeIncremental } from "../../src/mail/compose.js";
import { pause } from "../support/until.js";
import { openDirectory, run } from "./daemon.js";

/** A line of `kxgw log --json`. */
export interface Logged {
  readonly seq: number;
  readonly fingerprint: string;
  readonly hash: string;
  readonly size: number;
  readonly origin: string | null;
  readonly transport: string;
}

export class Stage {
  readonly directory: string;
  readonly #stops: (() => Promise<unknown>)[] = [];
  #mails = 0;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(): Promise<Stage> {
    return new Stage(await openDirectory());
  }

  path(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }

  /** Has `stop` called at the end, last one first. */
  add<T extends { stop(): Promise<void> }>(player: T): T {
    this.#stops.push(() => player.stop());
    return player;
  }

  /** Starts a gateway on `lines` of config; its log is NAME.db. */
  async gateway(name: string, lines: readonly string[]): Promise<GatewayProcess> {
    const log = `[log]\npath = "${name}.db"\n[admin]\nlisten = "127.0.0.1:0"\n`;
    writeFileSync(this.path(`${name}.toml`), `${lines.join("\n")}\n${log}`);
    return await this.restart(name);
  }

  /** Starts the gateway of that name on the config and the log that are there. */
  async restart(name: string): Promise<GatewayProcess> {
    const gateway = await GatewayProcess.start(this.path(`${name}.toml`));
    this.#stops.push(() => gateway.end());
    return gateway;
  }

  /** What the log of a gateway holds, oldest first; it may be running. */
  logged(name: string): Logged[] {
    const lines = run(process.execPath, [
      ...["dist/main.js", "log", "-c", this.path(`${name}.toml`), "--json"],
    ]);
    return lines
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Logged);
  }

  /** Mails an armored key as the site `from` does, through the mail server at `port`. */
  async post(
    port: number,
    mail: {
      readonly from: string;
      readonly to: string | readonly string[];
      readonly armored: string;
      /** A loopback address of its own. */
      readonly localAddress?: string;
    },
  ): Promise<void> {
    const { from, to, armored, localAddress } = mail;
    const raw = this.incremental(from, [to].flat()[0] ?? "", armored);
    const host = { host: "127.0.0.1", port, ignoreTLS: true };
    const transport = createTransport(localAddress ? { ...host, localAddress } : host);
    await transport.sendMail({ raw, envelope: { from, to: [to].flat() } });
    transport.close();
  }

  /** The mail in which the site `from` tells of a key. */
  incremental(from: string, to: string, armor: string): Buffer {
    this.#mails += 1;
    const domain = from.slice(from.indexOf("@") + 1);
    const messageId = `<${this.#mails}.${process.pid}@${domain}>`;
    const mail = { to, from, site: from, trail: [], date: Date.now(), messageId, armor };
    return Buffer.from(composeIncremental(mail));
  }

  /** Stops everything, and shows `log` files on a failure if the caller asks for them. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  read(...parts: readonly string[]): string {
    return readFileSync(this.path(...parts), "latin1");
  }
}

/** How many events of that name a gateway reported. */
export function eventCount(gateway: GatewayProcess, name: string): number {
  return gateway.events.filter(({ event }) => event === name).length;
}

/**
 * Waits until nothing has moved for `quietMs`: no gateway accepted, sent or repeated anything, and
 * `count` stood still. Rejects when there is no rest within four times that.
 */
export async function quiet(
  gateways: readonly GatewayProcess[],
  count: () => number,
  quietMs = 5000,
): Promise<void> {
  const state = async () => {
    const totals = gateways.map(async (gateway) => JSON.stringify((await gateway.status()).totals));
    return JSON.stringify([await Promise.all(totals), count()]);
  };
  let last = await state();
  let since = performance.now();
  const deadline = since + 4 * quietMs;
  while (performance.now() - since < quietMs) {
    await pause(500);
    const now = await state();
    if (now !== last) since = performance.now();
    last = now;
    if (since > deadline) throw new Error(`no rest within ${(4 * quietMs) / 1000} s`);
  }
}

/** A stage for each test of a file: opened before it, closed behind it. */
export function stagePerTest(): () => Stage {
  let stage: Stage | undefined;
  beforeEach(async () => {
    stage = await Stage.open();
  });
  afterEach(async () => {
    await stage?.close();
  });
  return () => {
    if (stage === undefined) throw new Error("no test is running");
    return stage;
  };
}
