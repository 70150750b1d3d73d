/**
 * Three gateways of one site on loopback, as processes, over PostgreSQL with a synchronous standby:
 * each with a copy and a wire to the database of its own, a site that they mail to, a KX peer that
 * they dial, and one that dials now this one and now that one. Both peers read the log. The
 * database is read by psql, beside the gateways.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Seq } from "../../src/update.js";
import { KxPeer } from "../support/kx-peer.js";
import { KxReader } from "../support/kx-reader.js";
import { holdsWithin, pause } from "../support/until.js";
import { Postgres } from "../system/postgres.js";
import { FrozenWire } from "./frozen-wire.js";
import { MailSink } from "./mail-sink.js";
import { SITE_ADDRESS } from "./material.js";

const GATEWAYS = 3;
/** A hang of 8 s at the server, a second to ask for the lease, and a slow machine. */
const TAKEOVER_MS = 60_000;
const STANDBY = "standby";
const LANE = "lane:far";
const VISITOR = "127.0.0.2";
/** Before the visitor dials the next gateway. */
const REDIAL_MS = 50;

/** A gateway over all its lives. */
export interface Node {
  readonly config: string;
  readonly log: string;
  readonly wire: FrozenWire;
  process: GatewayProcess;
  /** Events of its former lives that tell of leases. */
  takes: number;
}

export class ClusterStage {
  readonly #reader = new KxReader();
  readonly #visitorReader = new KxReader();
  /** What each KX peer has read: the one that is dialled, and the one that dials. */
  readonly readers = [this.#reader, this.#visitorReader] as const;
  readonly peer = new KxPeer(this.#reader);
  readonly #visitor = new KxPeer(this.#visitorReader);
  #visit: Promise<void> | undefined;
  #isOver = false;
  readonly sink = new MailSink();
  readonly nodes: Node[] = [];
  primary: Postgres;
  #standby: Postgres | undefined;
  readonly #program: string;

  private constructor(primary: Postgres, program: string) {
    this.primary = primary;
    this.#program = program;
  }

  /** `program` is a file name of programs/; the real gateway when there is none. */
  static async make(directory: string, build: string, program?: string): Promise<ClusterStage> {
    const primary = await Postgres.start({ settings: ["max_wal_senders = 5"] });
    const path = program === undefined ? "src/main.js" : `test/torture/programs/${program}.js`;
    const stage = new ClusterStage(primary, join(build, path));
    const kxPort = await stage.peer.start();
    const sinkPort = await stage.sink.start();
    for (let n = 0; n < GATEWAYS; n += 1) {
      const own = join(directory, `node-${n}`);
      mkdirSync(own, { recursive: true });
      const wire = new FrozenWire(() => stage.primary.port);
      const config = join(own, "kxgw.toml");
      const log = join(own, "updates.db");
      writeFileSync(config, configText(log, await wire.start(), kxPort, sinkPort));
      const node = { config, log, wire, takes: 0, process: stage.#spawn(config) };
      stage.nodes.push(node);
      // One after another, as an operator does: the first makes the tables.
      await node.process.event("ready");
    }
    await stage.addStandby();
    stage.#visit = stage.#visiting();
    return stage;
  }

  /** The second peer has one name for all gateways, and dials the next one when one is gone. */
  async #visiting(): Promise<void> {
    for (let n = 0; !this.#isOver; n += 1) {
      const node = this.nodes[n % this.nodes.length];
      if (node !== undefined && this.#isInTouch(node)) {
        await this.#visitor.dial(node.process.port("kx"), VISITOR);
      }
      await pause(REDIAL_MS);
    }
  }

  /** The second peer goes on at another gateway. */
  moveVisitor(): void {
    this.#visitor.hangUp();
  }

  /**
   * Whether the gateway is ready and has the database. Without it its copy may be behind the cursor
   * of a peer that comes from another one; the peer then lists all numbers again.
   */
  #isInTouch({ process, wire }: Node): boolean {
    const last = process.events.findLast(({ event }) => /^(ready|database-)/.test(event))?.event;
    return (last === "ready" || last === "database-back") && !wire.isFrozen;
  }

  #spawn(config: string): GatewayProcess {
    return GatewayProcess.spawn(config, this.#program);
  }

  /** A synchronous standby of the primary. */
  async addStandby(): Promise<void> {
    this.#standby = await Postgres.standbyOf(this.primary, STANDBY);
    this.primary.sql(`ALTER SYSTEM SET synchronous_standby_names = '${STANDBY}'`);
    this.primary.sql("SELECT pg_reload_conf()");
    const isThere = () => this.primary.sql("SELECT sync_state FROM pg_stat_replication") === "sync";
    if (!(await holdsWithin(isThere, 20_000))) throw new Error("the standby is not synchronous");
  }

  /** The primary dies as in a power cut, and the standby takes its place. */
  async failOver(): Promise<void> {
    const standby = this.#standby;
    if (standby === undefined) throw new Error("there is no standby");
    await this.primary.kill();
    standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    standby.sql("SELECT pg_promote()");
    const dead = this.primary;
    this.primary = standby;
    for (const { wire } of this.nodes) wire.thaw();
    await dead.remove();
    await this.addStandby();
  }

  async kill(node: Node): Promise<void> {
    await node.process.end("SIGKILL");
  }

  /** Starts a gateway that was killed, and waits until it takes mail. */
  async restart(node: Node): Promise<void> {
    node.takes += takesOf(node.process);
    node.process = this.#spawn(node.config);
    await node.process.event("ready");
  }

  /** How often a gateway began to run the lane of the site. */
  get takes(): number {
    return this.nodes.reduce((sum, node) => sum + node.takes + takesOf(node.process), 0);
  }

  /** The gateway that runs the lane, as far as it knows. */
  async sender(but?: Node): Promise<Node> {
    const holds = (node: Node) =>
      node !== but &&
      node.process.events.findLast(({ lease }) => lease === LANE)?.event === "lease-taken";
    let found: Node | undefined;
    const look = () => {
      found = this.nodes.find(holds);
      return found !== undefined;
    };
    if (!(await holdsWithin(look, TAKEOVER_MS)) || found === undefined) {
      throw new Error("nobody runs the lane");
    }
    return found;
  }

  /** The hashes of all updates in the database by their numbers. */
  entries(): Map<number, string> {
    const rows = this.primary.sql(
      "SELECT key::json->>0, data->'hash'->>'hex' FROM kxgw_rows WHERE tbl = 'updates'",
    );
    const lines = rows === "" ? [] : rows.split("\n").map((line) => line.split("|"));
    return new Map(lines.map(([seq, hash = ""]) => [Number(seq), hash]));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#visitor.hangUp();
    await this.#visit;
    await Promise.all(this.nodes.map(({ process }) => process.end("SIGKILL")));
    await Promise.all(this.nodes.map(({ wire }) => wire.stop()));
    await Promise.all([this.peer.stop(), this.sink.stop()]);
    await this.#standby?.remove();
    await this.primary.remove();
  }
}

/** The same of a copy. */
export function entriesIn(path: string): Map<number, string> {
  const log = UpdateLog.open(path, { readonly: true });
  try {
    const all = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 1_000_000);
    return new Map(all.map(({ seq, hash }) => [seq, hash]));
  } finally {
    log.close();
  }
}

function takesOf({ events }: GatewayProcess): number {
  return events.filter(({ event, lease }) => event === "lease-taken" && lease === LANE).length;
}

function configText(log: string, database: number, kx: number, sink: number): string {
  return `[site]
address = "${SITE_ADDRESS}"
[log]
path = "${log}"
shared = "postgres://kxgw@127.0.0.1:${database}/kxgw"
[smtp]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[kx]
listen = ["127.0.0.1:0"]
reconnect = "1s"
[outbound]
relay = "smtp://127.0.0.1:${sink}"
bounce = "pgp-bounces@kx.example.org"
retry = "1s"
[[peer]]
name = "old"
accept_from = ["127.0.0.1"]
[[peer]]
name = "far"
mail = "pgp-public-keys@far.example.net"
[[peer]]
name = "kx"
kx = "127.0.0.1:${kx}"
dial = true
via = "kx"
[[peer]]
name = "visitor"
kx = "${VISITOR}:1"
via = "kx"
`;
}
