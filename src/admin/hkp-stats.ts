/**
 * `/pks/lookup?op=stats` in the shape of Hockeypuck's JSON, for the spiders and status pages that
 * read it from all keyservers. KX peers take the place of its recon partners, mail sites that of
 * its mail targets. Addresses are always masked, since the path is public. `Total` counts what the
 * log remembers: updates and not keys, because a gateway holds no keys.
 */
import { domainOf } from "../mail-address.js";
import { HOUR_MS, HOURS } from "../status/hours.js";
import { masked } from "../status/mask.js";
import type { Sources } from "../status/status.js";
import { status } from "../status/status.js";

/** Go's zero time, which Hockeypuck shows for never. */
const NEVER = "0001-01-01T00:00:00Z";

export function hkpStats(sources: Sources) {
  const { config, clock, version } = sources;
  const { neighbours, log, flow } = status(sources, true);
  const hostname = config.smtp?.hostname ?? domainOf(config.site.address);
  const now = clock.now();
  const firstHour = (Math.floor(now / HOUR_MS) - HOURS + 1) * HOUR_MS;
  return {
    now: `${new Date(now).toISOString().slice(0, 19)}Z`,
    version,
    hostname,
    nodename: hostname,
    contact: masked(config.site.contact),
    httpAddr: "",
    queryConfig: { selfSignedOnly: false, keywordSearchDisabled: true },
    reconAddr: "",
    software: "kx-gateway",
    peers: neighbours.flatMap(({ name, kx, peer, lastIn, lastOut, lastError, state }) =>
      peer === undefined
        ? []
        : [
            {
              Name: name,
              httpAddr: "",
              reconAddr: kx ?? "",
              masked: true,
              LastIncomingRecon: lastIn ?? NEVER,
              LastIncomingError: "",
              LastOutgoingRecon: lastOut ?? NEVER,
              LastOutgoingError: lastError?.words ?? "",
              ReconStatus: state === "good" ? "OK" : state === "behind" ? "Starting" : "Stale",
            },
          ],
    ),
    pksTargets: neighbours.flatMap(({ mail, site, lastOut, lastError }) =>
      site === undefined || mail === null
        ? []
        : [{ addr: mail, lastSync: lastOut ?? NEVER, lastError: lastError?.words ?? "" }],
    ),
    Total: log.entries,
    Hourly: flow.hours.inMail.map((count, index) => ({
      Inserted: [flow.hours.inKx, flow.hours.inHkp, flow.hours.inRecon, flow.hours.inRepair].reduce(
        (sum, hours) => sum + (hours[index] ?? 0),
        count,
      ),
      Updated: 0,
      Ignored: flow.hours.duplicates[index] ?? 0,
      Time: `${new Date(firstHour + index * HOUR_MS).toISOString().slice(0, 19)}Z`,
    })),
    Daily: [],
  };
}
