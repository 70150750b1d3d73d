/**
 * Where a gateway under torture lives: its config and log in one directory, an honest KX peer that
 * it dials, and a site that it mails to, all on loopback. The gateway itself is a process of its
 * own, the real program or one of `programs/` that is wrong on purpose.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import { KxPeer } from "../support/kx-peer.js";
import { SmtpClient } from "../support/smtp-client.js";
import { MailSink } from "./mail-sink.js";
import { SITE_ADDRESS } from "./material.js";

export interface WorldOptions {
  readonly directory: string;
  /** Where the compiled src and test are. */
  readonly build: string;
  /** File name of the program in programs/; the real gateway when there is none. */
  readonly program?: string;
  readonly peer?: boolean;
  readonly sink?: boolean;
  /** Where the log is, when not beside the config. */
  readonly logDirectory?: string;
  /** Config to come last, such as more peers. */
  readonly more?: string;
}

export class World {
  readonly log: string;
  readonly config: string;
  readonly peer: KxPeer | undefined;
  readonly sink: MailSink | undefined;
  readonly #program: string;

  private constructor(options: WorldOptions) {
    const { directory, build, program } = options;
    this.log = join(options.logDirectory ?? directory, "updates.db");
    this.config = join(directory, "kxgw.toml");
    this.peer = options.peer === true ? new KxPeer() : undefined;
    this.sink = options.sink === true ? new MailSink() : undefined;
    this.#program = program === undefined ? mainOf(build) : programOf(build, program);
  }

  static async make(options: WorldOptions): Promise<World> {
    const world = new World(options);
    const kxPort = await world.peer?.start();
    const sinkPort = await world.sink?.start();
    writeFileSync(world.config, configText(world.log, kxPort, sinkPort, options.more));
    return world;
  }

  async end(): Promise<void> {
    await Promise.all([this.peer?.stop(), this.sink?.stop()]);
  }

  /** Starts the gateway; it may not listen yet. */
  spawn(under: readonly string[] = []): GatewayProcess {
    return GatewayProcess.spawn(this.config, this.#program, under);
  }

  async start(): Promise<GatewayProcess> {
    const gateway = this.spawn();
    await gateway.event("ready");
    return gateway;
  }

  /** One mail on a connection of its own; the reply that settled it. */
  async mail(gateway: GatewayProcess, text: string): Promise<{ code: number; text: string }> {
    const client = await SmtpClient.connect(gateway.port("smtp"));
    try {
      return await client.deliver(text, SITE_ADDRESS);
    } finally {
      client.close();
    }
  }
}

function mainOf(build: string): string {
  return join(build, "src/main.js");
}

function programOf(build: string, name: string): string {
  return join(build, "test/torture/programs", `${name}.js`);
}

function configText(
  log: string,
  kxPort: number | undefined,
  sinkPort: number | undefined,
  more = "",
): string {
  const lines = [
    `[site]\naddress = "${SITE_ADDRESS}"`,
    `[log]\npath = "${log}"`,
    '[smtp]\nlisten = ["127.0.0.1:0"]',
    '[admin]\nlisten = "127.0.0.1:0"',
  ];
  if (kxPort !== undefined) lines.push('[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "1s"');
  if (sinkPort !== undefined) {
    lines.push(`[outbound]\nrelay = "smtp://127.0.0.1:${sinkPort}"`);
    lines.push('bounce = "pgp-bounces@kx.example.org"\nretry = "1s"');
  }
  lines.push('[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]');
  if (sinkPort !== undefined) {
    lines.push('[[peer]]\nname = "far"\nmail = "pgp-public-keys@far.example.net"');
  }
  if (kxPort !== undefined) {
    lines.push(`[[peer]]\nname = "kx"\nkx = "127.0.0.1:${kxPort}"\ndial = true\nvia = "kx"`);
  }
  return `${lines.join("\n")}\n${more}`;
}
