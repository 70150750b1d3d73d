/**
 * What status, page and doctor say of the gateways of a site: the database there and away, a copy
 * that is behind, a lease that nobody holds, a gateway that is gone, clocks and versions that
 * differ, and a neighbour that another gateway serves.
 */
import { describe, expect, it } from "vitest";
import { statusPage } from "../../src/admin/page.js";
import { statusText } from "../../src/cli/status.js";
import type { ClusterState } from "../../src/cluster/cluster.js";
import { clusterDiagnoses } from "../../src/status/cluster-remedies.js";
import { orderedElsewhere } from "../../src/status/cluster-view.js";
import { filterOf } from "../../src/status/event-lines.js";
import { remediesOf } from "../../src/status/remedies.js";
import { status } from "../../src/status/status.js";
import { clustered, NOW, preparedCluster, preparedSources } from "../admin/prepared.js";

const NO_DAYS = { inMail: [], inKx: [], inOther: [], outMail: [], outKx: [] };
const NO_EVENTS = { filter: filterOf(new URLSearchParams()), lines: [], left: 0 };

function shown(change: Partial<ClusterState> = {}) {
  const { sources, lanes, peers } = preparedSources();
  const value = status(clustered(sources, change));
  return {
    ...{ value, lanes, peers },
    text: statusText(value),
    page: statusPage(value, NO_DAYS, NO_EVENTS).text,
    problems: clusterDiagnoses(value).map(({ problem }) => problem),
  };
}

const [KX1, KX2] = preparedCluster().nodes;
if (KX1 === undefined || KX2 === undefined) throw new Error("the cluster has two gateways");

const AWAY: Partial<ClusterState> = {
  ...{ session: undefined, awayMs: 300_000, taken: [] },
  problem: "the shared database does not answer: connect ECONNREFUSED 192.0.2.30:5432",
};

describe("a cluster without a fault", () => {
  it("is shown with its database, its gateways and their leases", () => {
    const { text, page, problems } = shown();
    expect(text).toContain(
      "database  PostgreSQL 15.8 at db.example.net:5432/kxgw, position 1 200\n" +
        "gateway   kx1 (this one): 1.0.0, from 192.0.2.31, position 1 200, up to date; " +
        "holds lane:oldpks, repair\n" +
        "gateway   kx2: 1.0.0, from 192.0.2.32, position 1 197, 3 commits behind; " +
        "holds dial:zurich, expiry, lane:onak-home\n",
    );
    expect(page).toContain("<h2>Gateways of this site</h2>");
    expect(page).toContain("lane:onak-home");
    expect(problems).toEqual([]);
  });

  it("counts a neighbour where it is served", () => {
    const { sources, peers } = preparedSources();
    const [zurich] = peers;
    if (zurich === undefined) throw new Error("no peer");
    peers[0] = { ...zurich, connected: false, connectedSince: undefined };
    const alone = status(sources).neighbours.find(({ name }) => name === "zurich");
    expect([alone?.state, alone?.label]).toEqual(["down", "down"]);
    const { neighbours, verdict } = status(clustered(sources));
    const states = neighbours.map(({ name, label, words }) => [name, label, words]);
    expect(states).toContainEqual(["zurich", "elsewhere", "kx2 has its KX connection"]);
    expect(states).toContainEqual(["onak-home", "elsewhere", "kx2 sends to it"]);
    expect(verdict.words).toContain("of 2 neighbours");
    const one = neighbours.find(({ name }) => name === "zurich");
    expect(one && remediesOf(one, { neighbours, recent: [] })).toEqual([]);
  });

  it("is not shown by a gateway that is alone", () => {
    const { sources } = preparedSources();
    const value = status(sources);
    expect(value.cluster).toBeNull();
    expect(statusText(value)).not.toMatch(/^(database|gateway) /m);
    expect(statusPage(value, NO_DAYS, NO_EVENTS).text).not.toContain("Gateways of this site");
    expect(clusterDiagnoses(value)).toEqual([]);
  });
});

describe("a fault is named, with what to do", () => {
  it("the database is away", () => {
    const { value, text, page, problems } = shown(AWAY);
    expect(value.verdict).toEqual({
      state: "bad",
      words:
        "The shared database does not answer: connect ECONNREFUSED 192.0.2.30:5432. " +
        "It has been away for 5 min. Mail is deferred, and KX is served from the copy.",
    });
    expect(value.cluster?.database.since).toBe(new Date(NOW - 300_000).toISOString());
    expect(text).toContain("database  db.example.net:5432/kxgw away for 5 min: does not answer: c");
    expect(page).toContain("Database away:");
    expect(value.cluster?.leases).toEqual([]);
    expect(problems).toEqual([expect.stringContaining("The shared database is not used:")]);
    const nodes = [KX1, KX2].map((one) => ({ ...one, silentMs: 300_000 }));
    expect(shown({ ...AWAY, nodes }).problems).toHaveLength(1);
    // Nobody knows who serves whom, so nothing is said to be served elsewhere.
    expect(value.neighbours.some(({ label }) => label === "elsewhere")).toBe(false);
  });

  it("the database answers and is refused, with the remedy of the refusal", () => {
    const { value } = shown({ ...AWAY, problem: "it is a standby", remedy: "Write all hosts." });
    expect(clusterDiagnoses(value)[0]).toMatchObject({ remedy: "Write all hosts." });
  });

  it("this copy is behind for more than a minute", () => {
    const { value, problems } = shown({ position: 1100, behindMs: 90_000 });
    expect(value.verdict).toEqual({
      state: "behind",
      words: "The copy of this gateway has been 100 commits behind for 1 min.",
    });
    expect(problems).toEqual(["The copy of this gateway has been 100 commits behind for 1 min."]);
    const soon = shown({ position: 1100, behindMs: 30_000 });
    expect([soon.problems, soon.value.verdict.words]).not.toContain("commits behind");
    expect(soon.problems).toEqual([]);
  });

  it("a gateway is gone, and nobody has its lease yet", () => {
    const gone = { ...KX2, silentMs: 120_000 };
    const { value, text, page, problems } = shown({ nodes: [KX1, gone] });
    expect(problems).toEqual([
      "The gateway kx2 was not seen for 2 min.",
      "No gateway holds expiry and lane:onak-home.",
    ]);
    expect(text).toContain("no holder expiry\nno holder lane:onak-home\n");
    expect(text).toContain("kx2: 1.0.0, from 192.0.2.32, last seen 2 min ago,");
    expect(page).toContain("No gateway holds expiry and lane:onak-home.");
    const held = value.cluster?.leases.map(({ lease, node, here }) => [lease, node, here]);
    expect(held).toContainEqual(["repair", "kx1", true]);
    expect(held).toContainEqual(["expiry", null, false]);
  });

  it("clocks and versions differ", () => {
    const other = { ...KX2, version: "1.1.0", skewMs: -25_000 };
    const { problems, text } = shown({ nodes: [KX1, other] });
    expect(problems).toEqual([
      "The clock of kx2 is 25 s ahead of the database.",
      "The gateways have different versions: 1.0.0 and 1.1.0.",
    ]);
    expect(text).toContain("3 commits behind, clock differs by 25 s;");
  });
});

it("sends an order to the gateway that it concerns", () => {
  const order = (name: string, here: { lane?: boolean; kx?: boolean }, change = {}) =>
    orderedElsewhere(preparedCluster(change), name, { lane: here.lane, kx: here.kx });
  expect(order("oldpks", { lane: true })).toBeUndefined();
  expect(order("onak-home", { lane: false })).toBe("kx2 sends to onak-home. Give the order there.");
  expect(order("zurich", { kx: false })).toBe(
    "kx2 has the KX connection with zurich. Give the order there.",
  );
  // A peer that nobody is connected to, and one that is not in a cluster's business.
  expect(order("tokyo", { kx: false })).toBeUndefined();
  expect(order("tokyo", { kx: true })).toBeUndefined();
  expect(order("other", { lane: false })).toContain("no gateway has its lease");
  expect(order("onak-home", { lane: false }, AWAY)).toContain("the shared database is away");
});

it("masks addresses on a public page", () => {
  const { sources } = preparedSources(true);
  const text = JSON.stringify(status(clustered(sources, AWAY), true));
  expect(text).not.toMatch(/192\.0\.2|db\.example\.net|secret/);
});
