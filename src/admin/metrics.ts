/**
 * The metrics of /metrics, in the Prometheus text format by prom-client, in a registry of their
 * own; in OpenMetrics for a client that prefers it. Every count is read from the event counters and
 * the doors when it is asked for, and the table of events says what an event counts for, so the
 * page and the metrics agree. Labels are closed sets: the operator's names of neighbours,
 * transports, results, reasons; never a fingerprint and never an address.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { staysOnMail } from "../config/paths.js";
import { kindOf, type Outcome } from "../diagnostics.js";
import type { FollowerStatus } from "../following/follower.js";
import { clusterView, elsewhereOf, versionsOf } from "../status/cluster-view.js";
import type { Count } from "../status/event-counters.js";
import { savedOf } from "../status/flow.js";
import type { NeighbourView } from "../status/neighbour-view.js";
import { isLocal, subjectsOf, viewOf } from "../status/neighbour-view.js";
import { freeBytes } from "../status/space.js";
import { type Sources, unownedLanes } from "../status/status.js";

const DAY_MS = 24 * 3_600_000;
/** From the receipt of an update to the relay's 250: milliseconds when idle, days in an outage. */
const DURATION_BUCKETS = [0.01, 0.05, 0.25, 1, 5, 30, 120, 600, 3600, 21_600, 86_400];

interface Family {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Labels of a count of this family, undefined for any other. */
  readonly of: (count: Count) => Record<string, string> | undefined;
  /** The value that is added up, by default the count. */
  readonly amount?: (count: Count) => number;
}

/** Whether this gateway sends to a neighbour; what another one of the site sends is told there. */
function isServed({ path, label }: NeighbourView): boolean {
  return path !== "none" && label !== "elsewhere";
}

/** Outcomes of updates that went no further; a withheld one says why in `reason`. */
const SUPPRESSED: readonly Outcome[] = ["duplicate", "in-trail", "withheld"];

/** Transport and result of an update that was sent, or not yet, or that never will be. */
function sendingOf({ event, via }: Count): { transport: string; result: Outcome } | undefined {
  const { direction, outcome, transport } = kindOf(event);
  if (direction !== "out" || outcome === undefined || transport === undefined) return undefined;
  return { transport: via ?? transport, result: outcome };
}

/** Every counter that comes from the event counters. */
const FAMILIES: readonly Family[] = [
  {
    name: "kxgw_updates_received_total",
    help: "Updates received, by result.",
    labels: ["peer", "transport", "result"],
    of: ({ event, neighbour, via }) => {
      const { direction, outcome: result, transport } = kindOf(event);
      if (direction !== "in" || result === undefined || transport === undefined) return undefined;
      return { peer: neighbour ?? "", transport: via ?? transport, result };
    },
  },
  {
    name: "kxgw_updates_sent_total",
    help: "Delivery attempts, by result; delivered: the relay, the keyserver or the peer took it.",
    labels: ["peer", "transport", "result"],
    of: (count) => {
      const { neighbour = "" } = count;
      const sending = isLocal(neighbour) ? undefined : sendingOf(count);
      return sending && { peer: neighbour, ...sending };
    },
  },
  {
    name: "kxgw_suppressed_total",
    help: "Updates not forwarded: known, in the trail, blocked or forgotten.",
    labels: ["reason"],
    of: ({ event, reason: why }) => {
      const { outcome } = kindOf(event);
      if (outcome === undefined || !SUPPRESSED.includes(outcome)) return undefined;
      const reason = outcome === "withheld" ? why : outcome;
      return reason === undefined ? undefined : { reason };
    },
  },
  {
    name: "kxgw_trimmed_bytes_total",
    help: "Bytes of known packets removed from keys; see [policy] forward.",
    labels: [],
    of: ({ event }) => (event === "trimmed" ? {} : undefined),
    amount: ({ bytes }) => bytes,
  },
  {
    name: "kxgw_refused_total",
    help: "Mails, keys and announcements refused or deferred, by reason.",
    labels: ["reason"],
    of: ({ event, reason }) =>
      kindOf(event).isRefusal ? { reason: reason ?? "unspecified" } : undefined,
  },
  {
    name: "kxgw_bounces_total",
    help: "Bounces of our mails.",
    labels: ["peer", "class"],
    of: ({ event, neighbour, reason }) =>
      event === "bounce" ? { peer: neighbour ?? "", class: reason ?? "unknown" } : undefined,
  },
  {
    name: "kxgw_repairs_total",
    help: "Requests for lost updates, by keyserver asked; failed: no keyserver is left.",
    labels: ["peer", "result"],
    of: ({ event, neighbour }) => {
      const { direction, outcome: result } = kindOf(event);
      if (direction !== undefined || result === undefined) return undefined;
      return { peer: neighbour ?? "", result };
    },
  },
  {
    name: "kxgw_local_inject_total",
    help: "Deliveries to the local keyserver.",
    labels: ["result"],
    of: (count) => {
      const sending = isLocal(count.neighbour ?? "") ? sendingOf(count) : undefined;
      return sending && { result: sending.result };
    },
  },
  {
    name: "kxgw_events_total",
    help: "Events; docs/events.md describes them.",
    labels: ["event", "level"],
    of: ({ event }) => ({ event, level: kindOf(event).level }),
  },
];

/**
 * Whether an Accept header (RFC 9110 section 12.5.1) prefers OpenMetrics 1.0.0 to the text format,
 * as that of Prometheus does. A wildcard, and no header, stand for the text format.
 */
export function prefersOpenMetrics(accept = ""): boolean {
  const quality = (type: string, version: RegExp) => {
    const values = accept.split(",").map((range) => {
      const [name = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
      const of = (key: string) =>
        parameters.find((one) => one.startsWith(`${key}=`))?.slice(key.length + 1);
      const fits = name === type && version.test(of("version")?.replaceAll('"', "") ?? "");
      return fits ? Number(of("q") ?? 1) || 0 : 0;
    });
    return Math.max(0, ...values);
  };
  const open = quality("application/openmetrics-text", /^(1\.0\.0)?$/);
  return open > 0 && open >= quality("text/plain", /^(0\.0\.4)?$/);
}

/**
 * The text format as OpenMetrics 1.0.0: the family of a counter is named without `_total`, there
 * are no empty lines, and the end is marked. prom-client can write it too, but renames its counters
 * for good when it does, so that the next scrape in the text format would have other names.
 */
function openMetrics(text: string): string {
  const counters = new Set(
    [...text.matchAll(/^# TYPE (\S+)_total counter$/gm)].map(([, name]) => name),
  );
  const lines = text.split("\n").filter((line) => line !== "");
  const renamed = lines.map((line) =>
    line.replace(/^(# (?:HELP|TYPE) )(\S+)_total /, (all, start: string, name: string) =>
      counters.has(name) ? `${start}${name} ` : all,
    ),
  );
  return `${renamed.join("\n")}\n# EOF\n`;
}

/**
 * The metrics of the process. Without the distribution of the delay of the event loop: it takes a
 * timer that wakes an idle process a hundred times a second, and here once a day.
 * `nodejs_eventloop_lag_seconds` is the delay at the scrape.
 */
function collectProcess(register: Registry): void {
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: DAY_MS });
  for (const part of ["min", "max", "mean", "stddev", "p50", "p90", "p99"]) {
    register.removeSingleMetric(`nodejs_eventloop_lag_${part}_seconds`);
  }
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #sources: Sources;
  readonly #unsubscribe: () => void;

  constructor(sources: Sources) {
    this.#sources = sources;
    collectProcess(this.#registry);
    for (const family of FAMILIES) this.#counter(family);
    this.#neighbours();
    this.#followed();
    if (sources.cluster?.() !== undefined) this.#cluster();
    this.#totals();
    const durations = new Histogram({
      name: "kxgw_delivery_duration_seconds",
      help: "Time from the receipt of an update to the relay's 250 for its mail.",
      buckets: DURATION_BUCKETS,
      registers: [this.#registry],
    });
    this.#unsubscribe = sources.counters.onReport(({ event, fields }) => {
      const { tookMs } = fields;
      if (event === "sent" && typeof tookMs === "number") durations.observe(tookMs / 1000);
    });
  }

  /** The metrics in the format that the Accept header of a request prefers, and its type. */
  async scrape(accept: string | undefined): Promise<{ type: string; body: string }> {
    this.#sources.keepCounters?.();
    const text = await this.#registry.metrics();
    if (!prefersOpenMetrics(accept)) return { type: this.#registry.contentType, body: text };
    return { type: Registry.OPENMETRICS_CONTENT_TYPE, body: openMetrics(text) };
  }

  close(): void {
    this.#unsubscribe();
    this.#registry.clear();
  }

  #counter({ name, help, labels, of, amount = ({ count }) => count }: Family): void {
    const { counters } = this.#sources;
    new Counter({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const count of counters.counts()) {
          const values = of(count);
          if (values !== undefined) this.inc(values, amount(count));
        }
      },
    });
  }

  /** Gauges of neighbours; an unknown value is absent, not 0. */
  #neighbours(): void {
    const gauge = (
      name: string,
      help: string,
      labels: readonly string[],
      values: (view: NeighbourView) => readonly (readonly [Record<string, string>, number])[],
    ) => {
      const views = () => this.#views();
      new Gauge({
        name,
        help,
        labelNames: ["peer", ...labels],
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const view of views()) {
            for (const [more, value] of values(view)) this.set({ peer: view.name, ...more }, value);
          }
        },
      });
    };
    const { clock } = this.#sources;
    gauge(
      "kxgw_queue_depth",
      "Updates that wait for a neighbour, or are to be fetched from it.",
      [],
      (v) => (isServed(v) ? [[{}, v.backlog]] : []),
    );
    gauge(
      "kxgw_fetch_held",
      "Updates that wait because of quiet_hours or fetch_rate of a peer.",
      ["reason"],
      (v) => (v.held === undefined ? [] : [[{ reason: v.held }, v.backlog]]),
    );
    gauge(
      "kxgw_queue_oldest_age_seconds",
      "Age of the oldest update that waits for mail.",
      [],
      (v) => (isServed(v) ? [[{}, v.oldest === 0 ? 0 : (clock.now() - v.oldest) / 1000]] : []),
    );
    gauge(
      "kxgw_peer_last_success_timestamp_seconds",
      "Time of the last update from a neighbour (in) or to it (out).",
      ["direction"],
      ({ lastIn, lastOut }) => [
        ...(lastIn === 0 ? [] : [[{ direction: "in" }, lastIn / 1000] as const]),
        ...(lastOut === 0 ? [] : [[{ direction: "out" }, lastOut / 1000] as const]),
      ],
    );
    gauge("kxgw_peer_path", "1 for each path in use.", ["transport"], (v) => {
      const { path } = v;
      if (!isServed(v)) return [];
      const roads = path === "both" ? ["mail", "kx"] : path === "none" ? [] : [path];
      return roads.map((transport) => [{ transport }, 1]);
    });
    gauge("kxgw_peer_up", "1 if a neighbour is not down, 0 if it is down.", [], (v) =>
      v.state === "idle" ? [] : [[{}, v.state === "down" ? 0 : 1]],
    );
    gauge(
      "kxgw_peer_in_sync",
      "1 if a neighbour has proven that it is in sync, else 0.",
      [],
      (v) => (v.state === "idle" ? [] : [[{}, v.state === "good" ? 1 : 0]]),
    );
    gauge(
      "kxgw_peer_unproven",
      "Updates that left for a neighbour and that it has not shown to have.",
      [],
      (v) => (v.state === "idle" ? [] : [[{}, v.standing.unproven]]),
    );
    gauge(
      "kxgw_peer_last_proof_timestamp_seconds",
      "Time of the last update that a neighbour itself showed to have.",
      [],
      ({ standing: { proof } }) => (proof === undefined ? [] : [[{}, proof.at / 1000]]),
    );
    gauge(
      "kxgw_peer_stays_on_mail",
      "1 if a neighbour stays on mail by decision: via is written, or it runs pksd.",
      [],
      ({ name }) => (this.#stays(name) ? [[{}, 1]] : []),
    );
    gauge(
      "kxgw_peer_downgraded",
      "1 if a peer spoke KX/1.1 before and KX/1.0 at its last greeting.",
      [],
      ({ name }) => {
        const peer = this.#sources.peers().find((one) => one.name === name);
        return peer === undefined ? [] : [[{}, peer.isDowngraded === true ? 1 : 0]];
      },
    );
    gauge(
      "kxgw_exceptions",
      "Updates that a neighbour did not take: waiting (retried), refused, withheld.",
      ["state"],
      ({ exceptions }) =>
        Object.entries(exceptions ?? {}).map(([state, count]) => [{ state }, count]),
    );
    gauge("kxgw_peer_refuses_all", "1 if a neighbour refuses every update.", [], (v) =>
      v.exceptions === undefined ? [] : [[{}, v.refusesAll ? 1 : 0]],
    );
    gauge("kxgw_peer_success_ratio", "Share of successful attempts in 24 hours.", [], (v) =>
      v.success === undefined ? [] : [[{}, v.success]],
    );
  }

  #stays(name: string): boolean {
    const neighbour = this.#sources.config.neighbours.find((one) => one.name === name);
    return neighbour !== undefined && staysOnMail(neighbour);
  }

  #views(): NeighbourView[] {
    const { config, counters, proofs, clock, lanes, peers } = this.#sources;
    const [allLanes, allPeers] = [lanes(), peers()];
    const observing = config.mode === "observe";
    const cluster = this.#sources.cluster?.();
    return subjectsOf(config.neighbours, allLanes).map((neighbour) => {
      const lane = allLanes.find(({ name }) => name === neighbour.name);
      const peer = allPeers.find(({ name }) => name === neighbour.name);
      const standing = proofs.of(neighbour.name);
      const elsewhere = elsewhereOf(cluster, neighbour.name);
      const given = { counters, lane, peer, now: clock.now(), standing, observing, elsewhere };
      return viewOf(neighbour, given);
    });
  }

  /** Servers that are followed by recon, by the address in the configuration. */
  #followed(): void {
    const recon = () => this.#sources.recon?.() ?? [];
    const family = (
      Kind: typeof Gauge | typeof Counter,
      name: string,
      help: string,
      value: (one: FollowerStatus) => number | undefined,
    ) => {
      new Kind({
        name,
        help,
        labelNames: ["server"],
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const one of recon()) {
            const amount = value(one);
            if (amount !== undefined) this.inc({ server: one.server }, amount);
          }
        },
      });
    };
    family(
      Gauge,
      "kxgw_recon_up",
      "1 if a server is followed by recon, 0 if it cannot be.",
      (one) => (one.problem === undefined ? 1 : 0),
    );
    family(Gauge, "kxgw_recon_keys", "Keys that a followed server has.", ({ keys }) => keys);
    family(
      Gauge,
      "kxgw_recon_wanted",
      "Keys of a followed server that are to be fetched.",
      ({ wanted }) => wanted,
    );
    family(
      Gauge,
      "kxgw_recon_complete_timestamp_seconds",
      "Time of the last session after which all keys of a server were known.",
      ({ wholeAt }) => (wholeAt === 0 ? undefined : wholeAt / 1000),
    );
    family(
      Counter,
      "kxgw_recon_sessions_total",
      "Recon sessions with a server.",
      ({ sessions }) => sessions,
    );
    family(
      Counter,
      "kxgw_recon_fetched_total",
      "Keys that were fetched from a server because recon named them.",
      ({ fetched }) => fetched,
    );
    family(
      Counter,
      "kxgw_recon_bytes_total",
      "Bytes of recon with a server in both directions, without the keys.",
      ({ octetsIn, octetsOut }) => octetsIn + octetsOut,
    );
  }

  /** The gateways of a site, for a log that they share; unknown while the database is away. */
  #cluster(): void {
    const { clock, config } = this.#sources;
    const view = () => {
      const state = this.#sources.cluster?.();
      const { shared } = config.log;
      return state && shared && { ...clusterView(state, shared, clock.now()), state };
    };
    type View = NonNullable<ReturnType<typeof view>>;
    type Values = readonly (readonly [Record<string, string>, number])[];
    const gauge = (
      name: string,
      help: string,
      labels: readonly string[],
      values: (view: View) => Values,
    ) => {
      new Gauge({
        name,
        help,
        labelNames: [...labels],
        registers: [this.#registry],
        collect() {
          this.reset();
          // Without labels it would be 0 now, and not absent.
          if (labels.length === 0) this.remove({});
          const now = view();
          if (now === undefined) return;
          for (const [label, value] of values(now)) this.set(label, value);
        },
      });
    };
    const seen = ({ nodes, database }: View) => (database.up ? nodes : []);
    const up = (all: View) => seen(all).filter((one) => one.up);
    gauge("kxgw_database_up", "1 if the shared database answers, else 0.", [], (all) => [
      [{}, all.database.up ? 1 : 0],
    ]);
    gauge("kxgw_database_position", "Newest position that is known.", [], ({ database }) => [
      [{}, database.newest],
    ]);
    gauge("kxgw_copy_position", "Position of the copy of this gateway.", [], ({ copy }) => [
      [{}, copy.position],
    ]);
    gauge(
      "kxgw_copy_behind_seconds",
      "Time since the copy was last at the newest position.",
      [],
      ({ state }) => [[{}, state.behindMs / 1000]],
    );
    gauge("kxgw_node_up", "1 if a gateway of the site was seen in 10 s.", ["node"], (all) =>
      seen(all).map(({ node, up: isUp }) => [{ node }, isUp ? 1 : 0]),
    );
    gauge("kxgw_node_behind", "Commits that the copy of a gateway lacks.", ["node"], (all) =>
      up(all).map(({ node, behind }) => [{ node }, behind]),
    );
    gauge(
      "kxgw_node_clock_skew_seconds",
      "By how much the clock of the database is ahead of that of a gateway.",
      ["node"],
      (all) => up(all).map(({ node, skewMs }) => [{ node }, skewMs / 1000]),
    );
    gauge(
      "kxgw_node_versions",
      "Number of different versions of the gateways of the site.",
      [],
      (all) => (all.database.up ? [[{}, versionsOf(all).length]] : []),
    );
    gauge("kxgw_lease_held", "1 if any gateway holds a lease, else 0.", ["lease"], ({ leases }) =>
      leases.map(({ lease, node }) => [{ lease }, node === null ? 0 : 1]),
    );
    gauge(
      "kxgw_lease_here",
      "1 if this gateway works under a lease, else 0.",
      ["lease"],
      ({ leases }) => leases.map(({ lease, here }) => [{ lease }, here ? 1 : 0]),
    );
  }

  #totals(): void {
    const { log, config, counters, peers, version, startedAt } = this.#sources;
    const register = [this.#registry];
    const gauge = (name: string, help: string, value: () => number) => {
      new Gauge({
        name,
        help,
        registers: register,
        collect() {
          this.set(value());
        },
      });
    };
    gauge("kxgw_db_size_bytes", "Bytes of the update log on disk.", () => log.counts().fileBytes);
    gauge("kxgw_disk_free_bytes", "Free bytes on the file system of the update log.", () =>
      freeBytes(config.log.path),
    );
    gauge("kxgw_log_entries", "Updates of which the log has the hash.", () => log.counts().entries);
    gauge("kxgw_log_bodies", "Updates of which the log has the body.", () => log.counts().bodies);
    gauge("kxgw_repairs_waiting", "Lost keys that are to be fetched again.", () =>
      log.repairs.count(),
    );
    const { upkeep } = this.#sources;
    gauge("kxgw_upkeep_failures", "Consecutive failures of expiry.", () => {
      return upkeep?.().failures ?? 0;
    });
    gauge("kxgw_unowned_lanes", "Lanes with updates whose neighbour is not in the config.", () => {
      return unownedLanes({ config, log }).length;
    });
    gauge("kxgw_log_newest", "Number of the newest update.", () => log.newest());
    gauge(
      "kxgw_saved_bytes",
      "Estimated bytes of mail saved: kxgw_spared_mail_bytes_total less kxgw_kx_bytes_total.",
      () => savedOf(counters, peers()).savedBytes,
    );
    const counter = (name: string, help: string, value: () => number) => {
      new Counter({
        name,
        help,
        registers: register,
        collect() {
          this.reset();
          this.inc(value());
        },
      });
    };
    counter(
      "kxgw_spared_mail_bytes_total",
      "Estimated bytes of the mails that were not needed, and of updates over KX as mails.",
      () => savedOf(counters, peers()).asMailBytes,
    );
    counter("kxgw_known_announcements_total", "First announcements of known updates.", () => {
      return savedOf(counters, peers()).knownAnnouncements;
    });
    counter("kxgw_kx_bytes_total", "Bytes over KX in both directions.", () => {
      return savedOf(counters, peers()).kxBytes;
    });
    gauge("kxgw_config_last_reload_successful", "0 if the last reload failed.", () =>
      counters.lastAt({ events: ["reload-refused"] }) >
      Math.max(startedAt, counters.lastAt({ events: ["reloaded"] }))
        ? 0
        : 1,
    );
    gauge("kxgw_start_timestamp_seconds", "Start time of the gateway.", () => startedAt / 1000);
    const { certificates } = this.#sources;
    new Gauge({
      name: "kxgw_cert_not_after_timestamp_seconds",
      help: "Expiry time of the certificate of a listener.",
      labelNames: ["listener"],
      registers: register,
      collect() {
        this.reset();
        for (const { listener, notAfter } of certificates())
          this.set({ listener }, notAfter / 1000);
      },
    });
    const info = new Gauge({
      name: "kxgw_build_info",
      help: "1, with version and mode.",
      labelNames: ["version", "mode", "node"],
      registers: register,
    });
    info.set({ version, mode: config.mode, node: process.version }, 1);
  }
}
