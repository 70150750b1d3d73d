/**
 * `kxgw serve`: runs the gateway in the foreground until SIGTERM or SIGINT, as systemd and
 * containers require. SIGHUP reloads the config; systemd is notified of the state. Without a
 * config file it runs the built-in config and prints first steps. A second signal ends it at once.
 */
import { mkdirSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
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
import type { Migration } from "../log/connection.js";
import { octets } from "../text.js";
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
    const onMigration = ({ from, to, bytes, done, parts, isDone }: Migration) => {
      if (isDone) return;
      const what = `migrating ${octets(bytes)} from log version ${from} to ${to}`;
      manager.migrating(`${what}, ${done} of ${parts} parts are done`, bytes);
    };
    const components = { clock: systemClock, diagnostics, inherited, onMigration };
    gateway = await Gateway.start(components, config);
    if (file === undefined) out.stderr(await howToFeed(config, gateway.listening));
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

/** First steps for a new user; each command works as it is printed, in the same directory. */
async function howToFeed(config: Config, { admin, smtp }: Listening): Promise<string> {
  // A real key, which the package has for the demo.
  const { KEYS } = await import("../demo/sample-keys.js");
  const [mail] = smtp;
  const page = admin && `http://${formatEndpoint(admin)}`;
  const lines = [
    "The built-in config is in force: loopback only, data in ./data, no outgoing mail.",
    'Programs of this host may send it keys, as the neighbour "me".',
  ];
  if (mail !== undefined) {
    const server = formatEndpoint(mail);
    const [from, to, key] = [
      "me@localhost",
      config.site.address,
      quotedWord(join(KEYS, SAMPLE_KEY)),
    ];
    lines.push(
      ...["", "Send it a key, in another terminal, with swaks (Debian package swaks):", ""],
      `  swaks --server ${server} --from ${from} --to ${to} \\`,
      `    --header "Subject: INCREMENTAL" --body @${key}`,
      ...["", "or with curl:", ""],
      `  (echo "Subject: INCREMENTAL"; echo; cat ${key}) |`,
      `    curl --crlf smtp://${server} --mail-from ${from} --mail-rcpt ${to} -T -`,
    );
  }
  if (page !== undefined) {
    lines.push("", `See it on ${page}/ in a browser, or:`, "", `  curl ${page}/status.json`);
  }
  lines.push(
    "",
    "Write a config of your own, and start the gateway again:",
    "",
    `  ${OURSELVES} init`,
  );
  return `${lines.join("\n")}\n`;
}

const SAMPLE_KEY = "role-4D270D06F42584E6.asc";

/** How this program was called: by its name on the path, or by node in a clone. */
const OURSELVES =
  basename(process.argv[1] ?? "") === "kxgw"
    ? "kxgw"
    : `node ${quotedWord(relative(process.cwd(), process.argv[1] ?? ""))}`;

/** A word for a shell. */
function quotedWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
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
