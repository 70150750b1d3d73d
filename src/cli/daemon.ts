/**
 * Connects to the gateway that serves a log, over the control socket next to the log, or reads the
 * log while no gateway runs. Read-only commands work both ways and say which one it was. Some
 * orders are written into the log while no gateway runs; the others need a running gateway.
 */
import { request } from "node:http";
import { controlPath } from "../admin/admin-door.js";
import { systemClock } from "../clock.js";
import type { Config } from "../config/config.js";
import { goesByKx, goesByMail } from "../config/paths.js";
import { laneStatus } from "../delivery/lane.js";
import { LOCAL_LANE } from "../delivery/local-door.js";
import { EXIT, Trouble } from "../errors.js";
import { UpdateLog } from "../log/update-log.js";
import type { PeerStatus } from "../peering/connection.js";
import { CertificateEnds } from "../status/certificates.js";
import { restoreCounterRows } from "../status/counter-journal.js";
import { EventCounters } from "../status/event-counters.js";
import { offersOf, Proofs, peersOf, restoreProofs } from "../status/proofs.js";
import type { Sources, Status, StatusLog } from "../status/status.js";
import { status } from "../status/status.js";
import { VERSION } from "../version.js";
import type { Output } from "./output.js";
import { explain, tellMigration } from "./output.js";

/** A gateway that takes longer than this to answer does not respond. */
const ANSWER_MS = 15_000;

export interface Reply {
  readonly code: number;
  readonly body: string;
}

/** The answer of the gateway that serves this log; undefined if none runs. */
export async function ask(
  config: Config,
  path: string,
  method: "GET" | "POST" = "GET",
): Promise<Reply | undefined> {
  const socketPath = controlPath(config.log.path);
  return await new Promise((resolve, reject) => {
    const options = { socketPath, path, method, agent: false, timeout: ANSWER_MS };
    const asked = request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve({ code: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
      });
    });
    asked.on("timeout", () => asked.destroy(new Error("the gateway does not answer")));
    asked.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(undefined);
      else reject(error);
    });
    asked.end();
  });
}

/** The status of the running gateway, or a status read from the log while it does not run. */
export async function statusOf(config: Config): Promise<Status> {
  const reply = await ask(config, "/status.json");
  if (reply?.code === 200) return JSON.parse(reply.body) as Status;
  return withLog(config, (sources) => status(sources));
}

/** Opens the log for reading; the gateway may run or not. Throws `Trouble`. */
export function openToRead({ log: { path, shared } }: Config): UpdateLog {
  return UpdateLog.open(path, { readonly: true, isCopy: shared !== undefined });
}

/** Runs `work` on the log on disk; the gateway may run or not. Throws `Trouble`. */
export function withLog<T>(config: Config, work: (sources: Sources) => T): T {
  const log = openToRead(config);
  try {
    return work(sourcesFrom(config, log));
  } finally {
    log.close();
  }
}

/**
 * Opens the log for an order that is carried out without the gateway. Throws `Trouble`, also for
 * the copy of a shared log: what is written into it alone, the other gateways would never see.
 */
export function openForOrder(config: Config, out: Output): UpdateLog {
  if (config.log.shared !== undefined) throw notRunningHere(config);
  return UpdateLog.open(config.log.path, { onMigration: tellMigration(out) });
}

/** What is said of an order to the stopped gateway of a site that has several. */
function notRunningHere({ log }: Config): Trouble {
  const message = `the gateway is not running, and ${log.path} is a copy: log.shared is set`;
  const remedy =
    "Start the gateway and give the order again, or give it at another gateway of the site.";
  return new Trouble("busy", message, remedy);
}

function sourcesFrom(
  config: Config,
  log: StatusLog & Pick<UpdateLog, "counterRows" | "lanes">,
): Sources {
  const counters = new EventCounters({ next: { report: () => {} }, clock: systemClock });
  restoreCounterRows(log, counters, systemClock.now());
  const proofs = new Proofs();
  restoreProofs(log, proofs);
  proofs.watch(peersOf(config), offersOf(config, { log, now: systemClock.now() }));
  const { local } = config;
  const sites = [
    ...config.neighbours
      .filter((one) => one.mail !== undefined && goesByMail(one))
      .map(({ name, mail }) => ({ name, address: mail })),
    ...(local === undefined ? [] : [{ name: LOCAL_LANE, address: local.address }]),
  ];
  const lanes = () =>
    sites.flatMap((site) => {
      const row = log.lanes.get(site.name);
      return row === undefined ? [] : [laneStatus(log, site, row)];
    });
  const certificates = () => new CertificateEnds(config).list();
  return {
    ...{
      config,
      log,
      counters,
      proofs,
      clock: systemClock,
      startedAt: systemClock.now(),
      version: VERSION,
    },
    ...{ lanes, peers: () => absentPeers(config), certificates, running: false },
  };
}

/** The status of every KX peer while no gateway runs. */
function absentPeers(config: Config): PeerStatus[] {
  const none = { missing: 0, inFlight: 0, bytesIn: 0, bytesOut: 0, unreported: 0, held: undefined };
  const nothing = { connectedSince: undefined, cursor: undefined, newest: undefined };
  const peers = config.neighbours.filter(goesByKx);
  return peers.map(({ name }) => ({ name, connected: false, ...nothing, ...none }));
}

/** Runs a command and returns its exit code; errors are printed with their remedy. */
export async function run(out: Output, command: () => number | Promise<number>): Promise<number> {
  try {
    return await command();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") {
      out.stderr(
        `kxgw: ${message}\n      Run it as the user of the gateway: sudo -u kxgw kxgw ...\n`,
      );
      return EXIT.noPermission;
    }
    return explain(error, out);
  }
}

/** Sends an order to the running gateway and prints the result. */
export async function order(
  config: Config,
  path: string,
  json: boolean,
  out: Output,
): Promise<number> {
  const reply = await sent(config, path, out);
  return reply === undefined ? EXIT.unavailable : printed(reply, json, out);
}

/**
 * Sends an order to the running gateway; undefined, and an error is printed, if none runs. Throws
 * `Trouble` if none runs here and the site has several.
 */
export async function sent(config: Config, path: string, out: Output): Promise<Reply | undefined> {
  const reply = await ask(config, path, "POST");
  if (reply === undefined && config.log.shared !== undefined) throw notRunningHere(config);
  if (reply === undefined) {
    out.stderr("kxgw: the gateway is not running; this command needs a running gateway\n");
  }
  return reply;
}

/** Prints the result of an order and returns the exit code. */
export function printed(reply: Reply, json: boolean, out: Output): number {
  if (json) out.stdout(reply.body);
  else {
    const { words } = JSON.parse(reply.body) as { readonly words: string };
    (reply.code === 200 ? out.stdout : out.stderr)(`${words}\n`);
  }
  return reply.code === 200 ? EXIT.ok : reply.code === 404 ? EXIT.usage : EXIT.unavailable;
}
