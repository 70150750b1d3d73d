/**
 * Gateways as processes for the benches: the real program on a config made for the case, with its
 * log filled before it starts where that is wanted. Their diagnostics are written as in production
 * and read by nobody but the wait for `ready`.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Update } from "../../src/update.js";
import type { Context } from "./bench.js";

export const SITE = "pgp-public-keys@kx.example.org";
export const OLD = "pgp-public-keys@old.example.net";

/** Sections and peers beside [site], [log], [smtp] and [admin]. */
export interface Wanted {
  readonly name: string;
  readonly lines: readonly string[];
  /** What the log holds when it starts. */
  readonly updates?: readonly Update[];
  readonly site?: string;
}

export class Gateways {
  readonly #context: Context;
  readonly #running: GatewayProcess[] = [];

  constructor(context: Context) {
    this.#context = context;
  }

  /** Writes config and log and waits until it listens. */
  async start({ name, lines, updates = [], site = SITE }: Wanted): Promise<GatewayProcess> {
    const directory = mkdtempSync(join(this.#context.directory, `${name}-`));
    const log = join(directory, "updates.db");
    if (updates.length > 0) fill(log, updates);
    const config = join(directory, "kxgw.toml");
    const head = [
      `[site]\naddress = "${site}"`,
      `[log]\npath = "${log}"`,
      '[smtp]\nlisten = ["127.0.0.1:0"]',
      '[admin]\nlisten = "127.0.0.1:0"',
    ];
    writeFileSync(config, `${[...head, ...lines].join("\n")}\n`);
    return await this.#spawn(config);
  }

  async #spawn(config: string): Promise<GatewayProcess> {
    const gateway = GatewayProcess.spawn(config, join(this.#context.build, "src/main.js"));
    this.#running.push(gateway);
    await gateway.event("ready");
    return gateway;
  }

  /** Starts one, alone, on a log that is there. */
  async startOn(log: string): Promise<GatewayProcess> {
    const config = `${log}.toml`;
    const head = `[site]\naddress = "${SITE}"\n[log]\npath = "${log}"\n`;
    writeFileSync(config, `${head}[smtp]\nlisten = ["127.0.0.1:0"]\n`);
    return await this.#spawn(config);
  }

  /** Ends all that are still running. */
  async end(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((gateway) => gateway.end()));
  }
}

/** A log with these updates, as if they had come by mail just now. */
export function fill(file: string, updates: readonly Update[]): void {
  const log = UpdateLog.open(file);
  const origin = { neighbour: undefined, transport: "mail" } as const;
  const receivedAt = Date.now();
  for (let from = 0; from < updates.length; from += 1000) {
    const batch = updates.slice(from, from + 1000);
    log.append(batch.map((update) => ({ update, origin, trail: [], receivedAt })));
  }
  log.close();
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
