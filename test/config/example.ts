/**
 * The configuration of the documentation with every section, as text and as what it means. Knows
 * nothing of how the one becomes the other.
 */
import type { Config } from "../../src/config/config.js";

export const EXAMPLE = `mode = "bridge"                       # or "observe": everything but sending
[site]
address = "pgp-public-keys@kx.example.org"   # recipient of incremental mail
contact = "keymaster@example.org"            # From of our mails
[log]
path = "updates.db"                          # relative to this file
retain = "96h"                               # bodies, at least 72h
remember = "30d"                             # announcements and hashes
[smtp]
listen = ["127.0.0.1:2525"]
hostname = "kx.example.org"
max_size = "32MiB"
[kx]
listen = ["127.0.0.1:11373"]
# source = "192.0.2.1"                       # address to dial from, on a host with several
reconnect = "1s, 5s, 30s, 5m*3, 1h"          # schedule, last one repeats, jitter
[outbound]
relay = "smtp://127.0.0.1:25"
bounce = "pgp-bounces@kx.example.org"
retry = "1m, 5m*2, 30m, 1h*6, 6h*8"
[admin]
listen = "127.0.0.1:9627"                    # /livez, /readyz, /status.json
[[peer]]
name = "old"
mail = "pgp-public-keys@pks.example.net"     # a legacy site
accept_from = ["192.0.2.0/24"]               # who may deliver its mail
via = "mail"                                 # mail | kx
[[peer]]
name = "new"
kx = "127.0.0.2:11373"                       # connections from this address are this peer's
dial = true
via = "kx"
`;

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** What [policy] is when the file does not say. */
export const DEFAULT_POLICY: Config["policy"] = {
  maxUpdateBytes: 1_048_576,
  maxPackets: 10_000,
  maxPacketBytes: 8192,
  maxSignatureBytes: 65_536,
  maxUserIdBytes: 2048,
  maxAttributeBytes: 262_144,
  attributes: "accept",
  forward: "news",
  blocklist: undefined,
  blocks: new Map(),
  carry: undefined,
  carried: undefined,
  newKeys: true,
};

/** What `EXAMPLE` means in a file /etc/kxgw/kxgw.toml. */
export const EXAMPLE_CONFIG: Config = {
  file: "/etc/kxgw/kxgw.toml",
  mode: "bridge",
  site: { address: "pgp-public-keys@kx.example.org", contact: "keymaster@example.org" },
  log: {
    path: "/etc/kxgw/updates.db",
    retainMs: 96 * HOUR_MS,
    rememberMs: 720 * HOUR_MS,
    holdBytes: 2 ** 30,
    shared: undefined,
    sharedPasswordFile: undefined,
    node: undefined,
  },
  smtp: {
    listen: [{ host: "127.0.0.1", port: 2525 }],
    inherited: [],
    sockets: [],
    socketMode: 0o660,
    hostname: "kx.example.org",
    maxSizeBytes: 33_554_432,
    front: undefined,
    tls: undefined,
  },
  spool: undefined,
  hkp: undefined,
  kx: {
    listen: [{ host: "127.0.0.1", port: 11_373 }],
    source: undefined,
    tls: undefined,
    reconcile: "off",
    reconnect: [1000, 5000, 30_000, 300_000, 300_000, 300_000, HOUR_MS],
  },
  outbound: {
    relay: "smtp://127.0.0.1:25",
    relayPasswordFile: undefined,
    bounce: "pgp-bounces@kx.example.org",
    retry: [
      MINUTE_MS,
      5 * MINUTE_MS,
      5 * MINUTE_MS,
      30 * MINUTE_MS,
      ...Array.from({ length: 6 }, () => HOUR_MS),
      ...Array.from({ length: 8 }, () => 6 * HOUR_MS),
    ],
    ca: undefined,
  },
  local: undefined,
  admin: { listen: { host: "127.0.0.1", port: 9627 }, names: [], publicStatus: false },
  policy: DEFAULT_POLICY,
  neighbours: [
    {
      name: "old",
      via: "mail",
      isViaSet: true,
      fallbackMs: 600_000,
      mail: "pgp-public-keys@pks.example.net",
      kind: undefined,
      acceptFrom: ["192.0.2.0/24"],
      maxMailBytes: 128_000,
      acceptRate: undefined,
      maxRate: undefined,
      requireTls: false,
      kx: undefined,
      tls: undefined,
      dial: false,
      kxVersion: "1.1",
      fetchRate: undefined,
      quietHours: undefined,
      repair: undefined,
    },
    {
      name: "new",
      via: "kx",
      isViaSet: true,
      fallbackMs: 600_000,
      mail: undefined,
      kind: undefined,
      acceptFrom: [],
      maxMailBytes: 128_000,
      acceptRate: undefined,
      maxRate: undefined,
      requireTls: false,
      kx: { host: "127.0.0.2", port: 11_373 },
      tls: undefined,
      dial: true,
      kxVersion: "1.1",
      fetchRate: undefined,
      quietHours: undefined,
      repair: undefined,
    },
  ],
  recon: [],
};
