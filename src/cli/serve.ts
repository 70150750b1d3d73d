/**
 * `kxgw serve`: runs the gateway in the foreground until SIGTERM or SIGINT, as systemd and
 * containers require. SIGHUP reloads the config; systemd is notified of the state. Without a
 * config file it runs the built-in config and prints first steps. A second signal ends it at once.
 */
import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { embeddedConfig } from "../config/embedded.js";
import { loadConfig } from "../config/load.js";
import { formatEndpoint } from "../config/units.js";
import type { Diagnostics } from "../diagnostics.js";
import type { Listening } from "../doors.js";
import { ConfigFaults, EXIT, Trouble } from "../errors.js";
import { Gateway } from "../gateway.js";
import { SystemdSockets } from "../ingress/systemd-sockets.js";
import { mailPlaces } from "./check.js";
import { diagnosticsLog } from "./diagnostics-log.js";
import type { Output } from "./output.js";
import { explain, faultLine } from "./output.js";
import { RepeatLimit } from "./repeat-limit.js";
import { ServiceManager } from "./service-manager.js";

/** Maximum delay of the line that counts suppressed lines. */
const SWEEP_MS = 5000;
/** How long unanswered DNS queries may delay the exit of the process. */
const LAST_MS = 1000;

/** Serves until a signal ends it; resolves with the exit code. */
export async function serveCommand(
  file: string | undefined,
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const signals = signalQueue();
  const hangUps = hangUpListener();
  const limit = new RepeatLimit({ next: diagnosticsLog("info"), clock: systemClock });
  const diagnostics: Diagnostics = limit;
  setInterval(() => limit.sweep(), SWEEP_MS).unref();
  const manager = new ServiceManager({ diagnostics }, env);
  let inherited: SystemdSockets | undefined;
  let gateway: Gateway;
  try {
    const config = file === undefined ? embedded(env) : loadConfig(file, env);
    inherited = await SystemdSockets.open(env, process.pid);
    gateway = await Gateway.start({ clock: systemClock, diagnostics, inherited }, config);
    if (file === undefined) out.stderr(howToFeed(config, gateway.listening));
  } catch (error) {
    inherited?.close();
    return explain(error, out);
  }
  manager.ready(statusLine(gateway));
  manager.keepAlive(process.pid);
  hangUps.each(() => {
    manager.reloading();
    void reload(gateway, file, diagnostics, env).then((done) => {
      manager.ready(
        `${done ? "" : "reload failed, previous config in force; "}${statusLine(gateway)}`,
      );
    });
  });
  const signal = await signals.next();
  diagnostics.report("stopping", { signal });
  manager.stopping();
  inherited.close();
  void signals.next().then(() => process.exit(EXIT.software));
  try {
    await gateway.stop();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    return explain(error, out);
  }
  limit.flush();
  diagnostics.report("stopped", {});
  setTimeout(() => process.exit(EXIT.ok), LAST_MS).unref();
  return EXIT.ok;
}

/** "bridge for SITE; neighbours: 2; smtp: systemd:smtp; kx: 0.0.0.0:11373". */
function statusLine({ config }: Gateway): string {
  const { mode, site, neighbours, smtp, kx } = config;
  return [
    `${mode} for ${site.address}`,
    `neighbours: ${neighbours.length}`,
    ...(smtp ? [`smtp: ${mailPlaces(smtp)}`] : []),
    ...(kx ? [`kx: ${kx.listen.map(formatEndpoint).join(", ")}`] : []),
  ].join("; ");
}

/** SIGHUP: reads the file again and puts it in force if it is valid; returns whether it was. */
async function reload(
  gateway: Gateway,
  file: string | undefined,
  diagnostics: Diagnostics,
  env: NodeJS.ProcessEnv,
): Promise<boolean> {
  try {
    const config = file === undefined ? embedded(env) : loadConfig(file, env);
    return await gateway.reload(config);
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    for (const fault of error.faults) {
      diagnostics.report("reload-refused", { problem: faultLine(error.file, fault) });
    }
    return false;
  }
}

function embedded(env: NodeJS.ProcessEnv): Config {
  const config = embeddedConfig(process.cwd(), env);
  mkdirSync(dirname(resolve(config.log.path)), { recursive: true });
  return config;
}

/** First steps for a new user; the config in it is complete and `kxgw check` accepts it. */
function howToFeed(config: Config, { admin }: Listening): string {
  return `The built-in config is in force: loopback only, no neighbours, data in ./data.
Show the status with curl http://${admin && formatEndpoint(admin)}/status.json

Mail is accepted from configured neighbours only. Stop the gateway, write kxgw.toml:

  [site]
  address = "${config.site.address}"
  [log]
  path = "data/updates.db"
  [smtp]
  listen = ["127.0.0.1:2525"]
  [admin]
  listen = "127.0.0.1:9627"
  [[peer]]
  name = "me"
  accept_from = ["127.0.0.1"]

start it with       npx kxgw serve -c kxgw.toml
and send a key with swaks --server 127.0.0.1:2525 --from me@localhost \\
                      --to ${config.site.address} --header "Subject: INCREMENTAL" --body key.asc
`;
}

/** Queues SIGTERM and SIGINT from the moment of the call. */
function signalQueue(): { next(): Promise<string> } {
  const pending: string[] = [];
  const waiting: ((signal: string) => void)[] = [];
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      const taker = waiting.shift();
      if (taker === undefined) pending.push(signal);
      else taker(signal);
    });
  }
  return {
    next: () => {
      const [signal] = pending.splice(0, 1);
      if (signal !== undefined) return Promise.resolve(signal);
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}

/** Handles SIGHUP from the moment of the call; one that comes before `each` is kept. */
function hangUpListener(): { each(listener: () => void): void } {
  let waiting = false;
  let listener = () => {
    waiting = true;
  };
  process.on("SIGHUP", () => listener());
  return {
    each(next) {
      listener = next;
      if (waiting) next();
    },
  };
}
