/**
 * A gateway: one log, and the doors of the configuration in force. The log stays open for the life
 * of the process. A reload closes the doors and opens those of the new configuration: KX peers
 * reconnect, and no update is lost. If the new doors cannot be opened, those of the previous
 * configuration are opened again.
 */

import { isDeepStrictEqual } from "node:util";
import type { Clock } from "./clock.js";
import { Cluster, load, nobody, nodeName, openStore } from "./cluster/cluster.js";
import type { Config } from "./config/config.js";
import { formatEndpoint } from "./config/units.js";
import type { Diagnostics } from "./diagnostics.js";
import type { Doors, Foundation, Listening } from "./doors.js";
import { openDoors, retentionOf } from "./doors.js";
import type { SystemdSockets } from "./ingress/systemd-sockets.js";
import type { Migration } from "./log/connection.js";
import { seldom } from "./log/migration-progress.js";
import { UpdateLog } from "./log/update-log.js";
import { LogGuard } from "./log-guard.js";
import { OfferedAgain } from "./peering/offered-again.js";
import { passRevocations, updatesOf } from "./removal.js";
import { CounterJournal, restoreCounterRows } from "./status/counter-journal.js";
import { EventCounters } from "./status/event-counters.js";
import { Proofs, restoreProofs } from "./status/proofs.js";
import { restoreCounters, SentJournal } from "./status/sent-journal.js";
import type { Fingerprint } from "./update.js";
import { Upkeep } from "./upkeep.js";
import { VERSION } from "./version.js";

export interface GatewayComponents {
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Sockets that systemd opened, if it started the gateway; the caller closes them. */
  readonly inherited?: SystemdSockets;
  /** Told when a log of an earlier version is brought up to date; the event is reported here. */
  readonly onMigration?: (migration: Migration) => void;
}

export class Gateway {
  readonly #foundation: Foundation;
  #config: Config;
  #doors: Doors;
  readonly #journal: SentJournal;
  readonly #counterJournal: CounterJournal;
  /** Undefined for a gateway whose log is not shared. */
  readonly #cluster: Cluster | undefined;
  /** Changes of the doors run one after the other. */
  #work: Promise<void> = Promise.resolve();
  /** Sessions that are still under way at doors that a reload has closed. */
  readonly #draining = new Set<Promise<void>>();

  private constructor(
    foundation: Foundation,
    config: Config,
    doors: Doors,
    journal: SentJournal,
    cluster: Cluster | undefined,
  ) {
    this.#cluster = cluster;
    this.#counterJournal = foundation.counterJournal;
    this.#foundation = foundation;
    this.#config = config;
    this.#doors = doors;
    this.#journal = journal;
  }

  /**
   * Opens the log and the doors. Throws `Trouble` if the log cannot be used, and the system's error
   * if an address cannot be listened on; then nothing stays open.
   */
  static async start(
    { clock, diagnostics, inherited, onMigration }: GatewayComponents,
    config: Config,
  ): Promise<Gateway> {
    const openedAt = clock.monotonic();
    const store = await openStore(config, clock, VERSION);
    let log: UpdateLog;
    try {
      log = UpdateLog.open(config.log.path, {
        shared: store,
        onMigration: seldom((migration) => {
          const { from, to, bytes, done, parts, isDone, path } = migration;
          const seconds = Math.round((clock.monotonic() - openedAt) / 1000);
          if (isDone) diagnostics.report("migrated", { log: path, from, to, seconds });
          else diagnostics.report("migrating", { log: path, from, to, bytes, done, parts });
          onMigration?.(migration);
        }, clock),
      });
    } catch (error) {
      await store?.close();
      throw error;
    }
    const counters = new EventCounters({ next: diagnostics, clock });
    const journal = new SentJournal({ log, counters, clock });
    const counterJournal = new CounterJournal({ log, counters, clock });
    let cluster: Cluster | undefined;
    try {
      if (store !== undefined) {
        await load(log, counters);
        const node = nodeName(config.log);
        cluster = new Cluster({ store, log, clock, diagnostics: counters, node });
      }
      log.onDamage(({ message: problem, remedy }) => {
        counters.report("log-damaged", { problem, remedy });
      });
      if (config.mode === "bridge") log.observed.end();
      const isRestored = restoreCounterRows(log, counters, clock.now());
      if (!isRestored) restoreCounters(log, counters, clock.now());
      const proofs = new Proofs();
      restoreProofs(log, proofs);
      counters.onReport((report) => proofs.note(report));
      const used = { log, clock, diagnostics: counters };
      const upkeep = new Upkeep(used, () => retentionOf(config, []));
      const startedAt = clock.now();
      const foundation = {
        ...{ log, clock, counters, counterJournal, proofs, upkeep, inherited, startedAt },
        others: cluster ?? nobody(),
        pausedPeers: new Set<string>(),
        offered: new OfferedAgain(),
      };
      const doors = await openDoors(config, foundation);
      const gateway = new Gateway(foundation, config, doors, journal, cluster);
      gateway.#passRevocations();
      gateway.#reportReady();
      return gateway;
    } catch (error) {
      journal.stop();
      counterJournal.stop();
      log.close();
      await (cluster?.stop() ?? store?.close());
      throw error;
    }
  }

  /** The configuration in force. */
  get config(): Config {
    return this.#config;
  }

  get listening(): Listening {
    return this.#doors.listening;
  }

  /** Puts `config` in force. If that fails it keeps the present one, reports why, returns false. */
  reload(config: Config): Promise<boolean> {
    const done = this.#work.then(() => this.#reload(config));
    this.#work = done.then(() => {});
    return done;
  }

  /** Closes the doors and the log. */
  stop(): Promise<void> {
    this.#work = this.#work.then(async () => {
      const { drained } = await this.#doors.stop();
      await Promise.all([drained, ...this.#draining]);
      this.#journal.stop();
      this.#counterJournal.stop();
      this.#foundation.log.close();
      await this.#cluster?.stop();
    });
    return this.#work;
  }

  async #reload(config: Config): Promise<boolean> {
    const { counters } = this.#foundation;
    const fixed = (one: Config) => JSON.stringify([one.log.path, one.log.shared, one.log.node]);
    if (fixed(config) !== fixed(this.#config)) {
      const isSame = config.log.path === this.#config.log.path;
      const key = isSame ? "log.shared or log.node" : "log.path";
      const problem = `${key} changed, which needs a restart`;
      counters.report("reload-refused", { problem });
      return false;
    }
    const { drained } = await this.#doors.stop();
    this.#draining.add(drained);
    void drained.then(() => this.#draining.delete(drained));
    try {
      this.#journal.flush();
      this.#counterJournal.flush();
      if (config.mode === "bridge") this.#foundation.log.observed.end();
      this.#policyChanged(config);
      this.#doors = await openDoors(config, this.#foundation);
      this.#config = config;
      counters.report("reloaded", {});
      this.#passRevocations();
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      counters.report("reload-refused", { problem });
      this.#doors = await openDoors(this.#config, this.#foundation);
    }
    this.#reportReady();
    return this.#config === config;
  }

  /**
   * Another policy may accept what KX peers were not asked for: they are listed again. What was
   * withheld for a key that has left the blocklist is announced to them again.
   */
  #policyChanged({ policy }: Config): void {
    const { log, clock, counters, offered } = this.#foundation;
    const before = this.#config.policy;
    if (isDeepStrictEqual(policy, before)) return;
    const isFree = (key: string) => !policy.blocks.has(key) && !log.removals.block(key);
    const free = [...before.blocks.keys()].filter(isFree);
    new LogGuard("policy", clock, counters).run(() => {
      log.cursors.forgetAll();
      offered.add(updatesOf(log, free));
    });
  }

  /** For the blocks of the list; those of commands did it when they were given. */
  #passRevocations(): void {
    const { log, clock, counters } = this.#foundation;
    const now = clock.now();
    const guard = new LogGuard("policy", clock, counters);
    for (const [fingerprint, { allowRevocation, until = Infinity }] of this.#config.policy.blocks) {
      if (!allowRevocation || until <= now) continue;
      guard.run(() => passRevocations(log, fingerprint as Fingerprint, now));
    }
  }

  #reportReady(): void {
    const { smtp, hkp, kx, admin } = this.#doors.listening;
    this.#foundation.counters.report("ready", {
      smtp: smtp.map(formatEndpoint),
      lmtp: this.#config.smtp?.sockets,
      hkp: hkp.map(formatEndpoint),
      kx: kx.map(formatEndpoint),
      admin: admin && formatEndpoint(admin),
      mode: this.#config.mode,
      site: this.#config.site.address,
      log: this.#config.log.path,
      version: VERSION,
    });
  }
}
