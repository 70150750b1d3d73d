/**
 * Gateways as processes for the benches: the real program on a config made for the case, with its
 * log filled before it starts where that is wanted. Their diagnostics are written as in production
 * and read by nobody but the wait for `ready`.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import type { Update } from "../../src/update.js";
import type { Context } from "./bench.js";
import { counting } from "./fsyncs.js";
import { fill, type Side } from "./sides.js";

export const SITE = "pgp-public-keys@kx.example.org";
export const OLD = "pgp-public-keys@old.example.net";

/** Sections and peers beside [site], [log], [smtp] and [admin]. */
export interface Wanted {
  readonly name: string;
  readonly lines: readonly string[];
  /** What the log holds when it starts. */
  readonly updates?: readonly Update[];
  readonly site?: string;
  /** The database that it shares with others. */
  readonly shared?: string | undefined;
  /** Where each of its fsyncs is noted; its process is then the tracer's. */
  readonly fsyncs?: string;
}

export class Gateways {
  readonly #context: Context;
  readonly #running: GatewayProcess[] = [];
  readonly #logs = new Map<GatewayProcess, string>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Writes config and log and waits until it listens. */
  async start(side: Side, wanted: Wanted): Promise<GatewayProcess> {
    const { name, lines, updates = [], site = SITE, fsyncs, shared } = wanted;
    const directory = mkdtempSync(join(this.#context.directory, `${name}-`));
    const log = join(directory, "updates.db");
    if (updates.length > 0) await fill(side, log, updates);
    const config = join(directory, "kxgw.toml");
    const head = [
      `[site]\naddress = "${site}"`,
      `[log]\npath = "${log}"${shared === undefined ? "" : `\nshared = "${shared}"`}`,
      '[smtp]\nlisten = ["127.0.0.1:0"]',
      '[admin]\nlisten = "127.0.0.1:0"',
    ];
    writeFileSync(config, `${[...head, ...lines].join("\n")}\n`);
    const gateway = await this.#spawn(side, config, fsyncs === undefined ? [] : counting(fsyncs));
    this.#logs.set(gateway, log);
    return gateway;
  }

  /** Starts one that has ended again, with its config and this log. */
  async startAgain(side: Side, log: string): Promise<GatewayProcess> {
    return await this.#spawn(side, join(dirname(log), "kxgw.toml"), []);
  }

  /** The file of its log. */
  logOf(gateway: GatewayProcess): string {
    return this.#logs.get(gateway) ?? "";
  }

  async #spawn(side: Side, config: string, under: readonly string[]): Promise<GatewayProcess> {
    const gateway = GatewayProcess.spawn(config, join(side.modules, "main.js"), under);
    this.#running.push(gateway);
    await gateway.event("ready");
    return gateway;
  }

  /** Starts one, alone, on a log that is there. */
  async startOn(side: Side, log: string): Promise<GatewayProcess> {
    const config = `${log}.toml`;
    const head = `[site]\naddress = "${SITE}"\n[log]\npath = "${log}"\n`;
    writeFileSync(config, `${head}[smtp]\nlisten = ["127.0.0.1:0"]\n`);
    return await this.#spawn(side, config, []);
  }

  /** Ends all that are still running. */
  async end(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((gateway) => gateway.end()));
  }
}

/** A value of a gateway's /metrics. */
export async function metric(gateway: GatewayProcess, name: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${gateway.port("admin")}/metrics`);
  const line = (await answer.text()).split("\n").find((one) => one.startsWith(`${name} `));
  return Number(line?.split(" ")[1] ?? Number.NaN);
}

/** How many updates the gateway holds. */
export async function held(gateway: GatewayProcess): Promise<number> {
  const { log } = await gateway.status();
  return Number((log as { readonly entries?: number } | undefined)?.entries ?? 0);
}
