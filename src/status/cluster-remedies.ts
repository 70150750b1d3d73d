/**
 * What is wrong with the shared database and with the gateways of a site, and what the operator
 * does about it: sentences of `kxgw doctor`. Pure: from the status alone.
 */
import { listed, span } from "../text.js";
import { BEHIND_MS, behindWords, databaseWords, unheld, versionsOf } from "./cluster-view.js";
import type { Diagnosis } from "./remedies.js";
import { sentence } from "./remedies.js";
import type { Status } from "./status.js";

/** NTP keeps clocks within milliseconds; at a minute a gateway is refused by the database. */
const SKEW_MS = 10_000;

/** What is wrong with the database and with the gateways, causes before their effects. */
export function clusterDiagnoses({ cluster, time }: Pick<Status, "cluster" | "time">): Diagnosis[] {
  if (cluster === null) return [];
  const now = Date.parse(time);
  const { database, copy, nodes } = cluster;
  const found: Diagnosis[] = [];
  const broken = (problem: string, remedy: string) =>
    found.push({ kind: "broken", problem: sentence(problem), remedy });
  const odd = (problem: string, remedy: string) =>
    found.push({ kind: "odd", problem: sentence(problem), remedy });
  if (!database.up) {
    const remedy =
      database.remedy ??
      "Start the database, or let a standby take over. The gateway continues by itself.";
    broken(`The shared database is not used: ${databaseWords(cluster, now)}`, remedy);
  } else if (copy.behindSeconds * 1000 >= BEHIND_MS) {
    const words = `${behindWords(copy.behind)} for ${span(copy.behindSeconds * 1000)}`;
    const remedy =
      "See the journal. A copy that does not catch up may be deleted: docs/cluster.md.";
    broken(`The copy of this gateway has been ${words}`, remedy);
  }
  // While the database is away, no gateway can be seen.
  for (const one of nodes.filter(({ up, here }) => database.up && !up && !here)) {
    const words = `not seen for ${span(now - Date.parse(one.seen))}`;
    const remedy = "Start it. The others take over its leases; it is forgotten after a day.";
    odd(`The gateway ${one.node} was ${words}`, remedy);
  }
  const skewed = nodes.filter(({ skewMs, up }) => up && Math.abs(skewMs) >= SKEW_MS);
  for (const { node, skewMs } of skewed) {
    const words = `${span(Math.abs(skewMs))} ${skewMs > 0 ? "behind" : "ahead of"} the database`;
    odd(`The clock of ${node} is ${words}`, "Synchronise both by NTP: timedatectl.");
  }
  const versions = versionsOf(cluster);
  if (versions.length > 1) {
    const remedy = "Finish the upgrade, one gateway after the other.";
    odd(`The gateways have different versions: ${listed(versions)}`, remedy);
  }
  const free = unheld(cluster);
  if (free.length > 0) {
    const remedy = "Ask again in a minute. If it stays so, see the journals of the gateways.";
    odd(`No gateway holds ${listed(free)}`, remedy);
  }
  return found;
}
