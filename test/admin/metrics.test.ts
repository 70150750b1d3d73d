/**
 * /metrics: what the page counts is counted there too, under the names and labels that dashboards
 * rely on. Alert rules and dashboard ask for metrics that exist. What promtool says of them:
 * metrics.system.ts.
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { prefersOpenMetrics } from "../../src/admin/metrics.js";
import type { ClusterState } from "../../src/cluster/cluster.js";
import type { EventSink } from "../../src/diagnostics.js";
import { clustered, preparedDoor, preparedSources } from "./prepared.js";

const DEPLOY = fileURLToPath(new URL("../../deploy/", import.meta.url));

async function scrape() {
  const prepared = preparedSources();
  const base = await preparedDoor(prepared.sources);
  const answer = await fetch(`${base}/metrics`);
  const text = await answer.text();
  return { ...prepared, text, type: answer.headers.get("content-type"), base };
}

/** The value of one series, undefined when it is absent. */
function value(text: string, series: string): number | undefined {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

describe("the metrics", () => {
  it("count what the page counts", async () => {
    const { text, type, base } = await scrape();
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/);
    const status = JSON.parse(await (await fetch(`${base}/status.json`)).text());
    const received = (result: string, peer: string, transport: string) =>
      value(
        text,
        `kxgw_updates_received_total{peer="${peer}",transport="${transport}",result="${result}"}`,
      ) ?? 0;
    const peers = ["onak-home", "oldpks", "zurich", "tokyo", "archive"];
    const all = (result: string, transport: string) =>
      peers.reduce((sum, peer) => sum + received(result, peer, transport), 0);
    expect(all("accepted", "mail") + all("accepted", "kx")).toBe(status.totals.accepted);
    expect(all("duplicate", "mail")).toBe(status.totals.duplicates);
    expect(value(text, 'kxgw_suppressed_total{reason="in-trail"}')).toBe(status.totals.suppressed);
    expect(value(text, 'kxgw_queue_depth{peer="oldpks"}')).toBe(14);
    expect(value(text, 'kxgw_queue_depth{peer="tokyo"}')).toBe(3);
    expect(value(text, 'kxgw_queue_oldest_age_seconds{peer="oldpks"}')).toBe(1800);
    expect(value(text, 'kxgw_peer_up{peer="oldpks"}')).toBe(0);
    expect(value(text, 'kxgw_peer_up{peer="zurich"}')).toBe(1);
    expect(value(text, 'kxgw_peer_downgraded{peer="zurich"}')).toBe(0);
    expect(value(text, 'kxgw_peer_path{peer="zurich",transport="kx"}')).toBe(1);
    expect(value(text, "kxgw_known_announcements_total")).toBe(status.saved.knownAnnouncements);
    expect(value(text, "kxgw_saved_bytes")).toBe(status.saved.savedBytes);
    expect(value(text, "kxgw_db_size_bytes")).toBe(status.log.fileBytes);
    expect(value(text, 'kxgw_refused_total{reason="unknown-sender"}')).toBe(1);
    const last = 'kxgw_peer_last_success_timestamp_seconds{peer="oldpks",direction="out"}';
    expect(value(text, last)).toBe(Date.UTC(2026, 10, 23, 14, 25) / 1000);
    expect(text).not.toContain('kxgw_peer_up{peer="archive"}');
  });

  it("observe how long a delivery took, from when they exist", async () => {
    const { sources, counters, base } = await scrape();
    expect(sources.counters).toBe(counters);
    const sink: EventSink = counters;
    sink.report("sent", { neighbour: "oldpks", tookMs: 700, bytes: 1 });
    const text = await (await fetch(`${base}/metrics`)).text();
    expect(value(text, 'kxgw_delivery_duration_seconds_bucket{le="0.25"}')).toBe(0);
    expect(value(text, 'kxgw_delivery_duration_seconds_bucket{le="1"}')).toBe(1);
    expect(value(text, "kxgw_delivery_duration_seconds_sum")).toBe(0.7);
  });

  it("come as OpenMetrics to who prefers it, and unchanged to the next one", async () => {
    const { base, text, type } = await scrape();
    // What Prometheus 2.42 sends.
    const accept =
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;" +
      "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const answer = await fetch(`${base}/metrics`, { headers: { accept } });
    expect(answer.headers.get("content-type")).toBe(
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
    const open = await answer.text();
    expect(open).toContain("# TYPE kxgw_updates_received counter\n");
    expect(open).toContain('kxgw_updates_received_total{peer="');
    // A gauge may have any name.
    expect(open).toContain("# TYPE nodejs_active_handles_total gauge\n");
    expect(open.endsWith("\n# EOF\n")).toBe(true);
    expect(open).not.toContain("\n\n");
    const again = await fetch(`${base}/metrics`);
    expect(again.headers.get("content-type")).toBe(type);
    const names = (of: string) => of.match(/^# .*/gm);
    expect(names(await again.text())).toEqual(names(text));
  });

  it.each([
    ["application/openmetrics-text", true],
    ['application/openmetrics-text; version="1.0.0"; charset=utf-8', true],
    ["text/plain;version=0.0.4;q=0.3, Application/OpenMetrics-Text;version=1.0.0;q=0.5", true],
    ["application/openmetrics-text;version=1.0.0;q=0.2, text/plain", false],
    ["application/openmetrics-text;version=1.0.0;q=0", false],
    ["application/openmetrics-text;version=2.0.0, */*;q=0.1", false],
    ["application/openmetrics-text;version=0.0.1", false],
    ["*/*", false],
    [undefined, false],
  ])("Accept: %s", (accept, isOpen) => {
    expect(prefersOpenMetrics(accept)).toBe(isOpen);
  });

  it("hold no fingerprint, hash or address", async () => {
    const { text } = await scrape();
    expect(text).not.toMatch(/[0-9A-Fa-f]{32}|@|example\.(net|org)/);
  });
});

describe("the metrics of a cluster", () => {
  async function scrapeCluster(change: Partial<ClusterState> = {}) {
    const base = await preparedDoor(clustered(preparedSources().sources, change));
    return await (await fetch(`${base}/metrics`)).text();
  }

  it("show the database, the gateways and the leases", async () => {
    const text = await scrapeCluster({ behindMs: 5000 });
    expect(value(text, "kxgw_database_up")).toBe(1);
    expect(value(text, "kxgw_database_position")).toBe(1200);
    expect(value(text, "kxgw_copy_position")).toBe(1200);
    expect(value(text, "kxgw_copy_behind_seconds")).toBe(5);
    expect(value(text, 'kxgw_node_up{node="kx2"}')).toBe(1);
    expect(value(text, 'kxgw_node_behind{node="kx2"}')).toBe(3);
    expect(value(text, 'kxgw_node_clock_skew_seconds{node="kx1"}')).toBe(0.003);
    expect(value(text, "kxgw_node_versions")).toBe(1);
    expect(value(text, 'kxgw_lease_held{lease="expiry"}')).toBe(1);
    expect(value(text, 'kxgw_lease_here{lease="expiry"}')).toBe(0);
    expect(value(text, 'kxgw_lease_here{lease="repair"}')).toBe(1);
  });

  it("leave what another gateway sends to that one", async () => {
    const text = await scrapeCluster();
    expect(value(text, 'kxgw_queue_depth{peer="oldpks"}')).toBe(14);
    expect(text).not.toContain('kxgw_queue_depth{peer="onak-home"}');
    expect(text).not.toContain('kxgw_peer_up{peer="onak-home"}');
  });

  it("say nothing of others and of leases while the database is away", async () => {
    const text = await scrapeCluster({ session: undefined, awayMs: 90_000, problem: "refused" });
    expect(value(text, "kxgw_database_up")).toBe(0);
    expect(text).not.toMatch(/^kxgw_(node|lease)_/m);
    expect(text).not.toContain("db.example.net");
  });

  it("come with a check of readiness that fails while the database is away", async () => {
    const { sources } = preparedSources();
    const up = await preparedDoor(clustered(sources));
    const answer = await fetch(`${up}/readyz?verbose`);
    expect([answer.status, await answer.text()]).toEqual([
      200,
      expect.stringMatching(/database: ok/),
    ]);
    const down = await preparedDoor(clustered(sources, { session: undefined, awayMs: 90_000 }));
    const refused = await fetch(`${down}/readyz`);
    const text = await refused.text();
    expect([refused.status, text.trim()]).toEqual([503, "not ready\ndatabase: away for 1 min"]);
  });

  it("are not there without log.shared", async () => {
    const { text } = await scrape();
    expect(text).not.toMatch(/kxgw_(node|lease|database|copy)_/);
  });
});

describe("the alert rules", () => {
  const rules = readFileSync(`${DEPLOY}prometheus/alerts.yml`, "utf8");
  const tests = readFileSync(`${DEPLOY}prometheus/alerts.test.yml`, "utf8");
  const names = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);

  it("each have a test that they fire and one that they stay silent", () => {
    expect(names.length).toBeGreaterThanOrEqual(9);
    for (const name of names) {
      expect(tests, name).toMatch(new RegExp(`alertname: ${name}\\n\\s+exp_alerts:\\n\\s+- exp_`));
      expect(tests, name).toMatch(new RegExp(`alertname: ${name}\\n\\s+exp_alerts: \\[\\]`));
    }
  });

  it("and the dashboard ask for metrics that exist", async () => {
    const base = await preparedDoor(clustered(preparedSources().sources));
    const text = await (await fetch(`${base}/metrics`)).text();
    const dashboard = readFileSync(`${DEPLOY}grafana/kxgw.json`, "utf8");
    const known = new Set([...text.matchAll(/^# TYPE (\w+) (\w+)/gm)].map(([, name]) => name));
    const asked = new Set(
      [...`${rules}\n${dashboard}`.matchAll(/\b(?:kxgw|process|nodejs)_\w+/g)].map(([name]) =>
        name.replace(/_(bucket|sum|count)$/, ""),
      ),
    );
    expect([...asked].filter((name) => !known.has(name))).toEqual([]);
    expect(asked.size).toBeGreaterThan(12);
  });
});
