/**
 * The schema of a configuration: every section and key with its default, its check and its
 * description, from which the JSON schema and the reference page are generated. Single keys are
 * checked here; rules about several keys are in `rules.ts`. The input is a TOML tree; the output
 * has milliseconds, bytes and endpoints under the names of the file.
 */
import { z } from "zod";
import { SERVER_KINDS } from "../server-kinds.js";
import { parseIpAddress, parseKeyserver, parseNetwork, parseRelay } from "./addresses.js";
import {
  certificate,
  count,
  endpoint,
  list,
  mailAddress,
  maxMail,
  parseDialled,
  parseHostname,
  parseKxEndpoint,
  parseMailListener,
  parseMode,
  parseName,
  parsePath,
  parsePin,
  parseRepair,
  parseWord,
  pollPeriod,
  retain,
  schedule,
  size,
  text,
  word,
} from "./fields.js";
import { parseShared } from "./shared-database.js";
import { didYouMean } from "./suggest.js";
import { parseByteRate, parseDuration, parseHours, parseRate, parseSize } from "./units.js";

export const siteSchema = z
  .strictObject({
    address: mailAddress().describe(
      "Mail address for incremental mail, and the gateway's entry in X-KeyServer-Sent.",
    ),
    contact: mailAddress()
      .optional()
      .describe("From address of the gateway's mails; by default site.address."),
  })
  .describe("The identity of this gateway.");

export const logSchema = z
  .strictObject({
    path: text("updates.db", parsePath)
      .prefault("updates.db")
      .describe("The update log, relative to the directory of this file."),
    retain: text("96h", retain)
      .prefault("96h")
      .describe("How long the bodies of updates are kept; at least 72h."),
    remember: text("30d", parseDuration)
      .prefault("30d")
      .describe("How long announcements and hashes are kept; at least log.retain."),
    hold: text("1GiB", parseSize)
      .prefault("1GiB")
      .describe("How much is kept beyond log.retain for sites that have not received it yet."),
    shared: text("postgres://kxgw@db.example.org/kxgw", parseShared)
      .optional()
      .describe(
        "PostgreSQL database that all gateways of the site share; log.path is a copy of it then.",
      ),
    shared_password_file: text("/etc/kxgw/shared-password", parsePath)
      .optional()
      .describe("File with the password for the user in shared, on one line."),
    node: text("kx1", parseName)
      .optional()
      .describe("With shared: name of this gateway in the site; default host name and log.path."),
  })
  .describe("The update log.");

const smtpSchema = z
  .strictObject({
    listen: list("127.0.0.1:2525", text("127.0.0.1:2525", parseMailListener))
      .prefault(["127.0.0.1:2525"])
      .describe("Listeners for mail: host:port, lmtp:/path of a Unix socket, or systemd:NAME."),
    socket_mode: text("0660", parseMode)
      .prefault("0660")
      .describe("Permissions of the Unix sockets; their clients can send as any neighbour."),
    hostname: text("kx.example.org", parseHostname)
      .optional()
      .describe("Host name in the greeting; by default the domain of site.address."),
    max_size: text("32MiB", parseSize).prefault("32MiB").describe("Largest mail accepted."),
    front: endpoint("mx.example.org:25")
      .optional()
      .describe("Mail server in front of the gateway; doctor --online compares its SIZE limit."),
    tls: z
      .strictObject(certificate, { error: 'write { cert = "kx.pem", key = "kx.key" }' })
      .optional()
      .describe("Certificate for STARTTLS; without it STARTTLS is not offered."),
  })
  .describe("Mail from other keyservers. Without this section no mail is accepted.");

const spoolSchema = z
  .strictObject({
    watch: list("/var/spool/kxgw", text("/var/spool/kxgw", parsePath))
      .min(1, { error: 'is empty: name a directory, as ["/var/spool/kxgw"]' })
      .describe("Directories whose pks-mail.*, *.ready and *.onak files are read as mails."),
    every: text("2s", parseDuration)
      .prefault("2s")
      .describe(
        "How often they are scanned; a file is read if it did not change since the last scan.",
      ),
    keep_refused: text("30d", parseDuration)
      .prefault("30d")
      .describe("How long refused files are kept in refused/; at most 5000 files and 256 MiB."),
  })
  .describe("Mail that a pipe of a keyserver writes to files. Without this section none is read.");

const hkpSchema = z
  .strictObject({
    listen: list("127.0.0.1:11371", endpoint("127.0.0.1:11371"))
      .prefault(["127.0.0.1:11371"])
      .describe("Listeners for POST /pks/add: host:port or [v6]:port."),
    open: z
      .boolean({ error: "is not a boolean: write true or false, without quotes" })
      .default(false)
      .describe("Whether any client may post; otherwise only addresses in an accept_from."),
    stranger_rate: text("60/1m", parseRate)
      .prefault("60/1m")
      .describe(
        "Rate limit for unknown clients of one network (/24, or /48 of IPv6); " +
          "for all of them together it is ten times as high.",
      ),
    max_size: text("4MiB", parseSize).prefault("4MiB").describe("Largest request accepted."),
  })
  .describe("Keys over HKP. Without this section no keys are accepted over HKP.");

/** The software of a keyserver. */
const kindOfServer = () =>
  word(SERVER_KINDS, (value) => didYouMean(value, [...SERVER_KINDS])).optional();

const localSchema = z
  .strictObject({
    type: word(["pksd", "sks", "hkp", "command", "none"], (value) =>
      didYouMean(value, ["pksd", "sks", "hkp", "command", "none"]),
    ).describe("How the local keyserver accepts updates."),
    directory: text("/var/spool/sks/messages", parsePath)
      .optional()
      .describe('Directory for mails: mail_dir of "pksd", the messages directory of "sks".'),
    notify: list("pksdctl", text("pksdctl", parseWord))
      .optional()
      .describe('"pksd": command to run after each mail; "{}" stands for its path.'),
    url: text("http://127.0.0.1:11371", parseKeyserver)
      .optional()
      .describe(
        'URL of the keyserver, without /pks/add. "hkp" posts there; the others look up keys there.',
      ),
    command: list("/usr/bin/onak-mail.pl", text("/usr/bin/onak-mail.pl", parseWord))
      .optional()
      .describe(
        '"command": program and arguments; the program reads one mail from standard input.',
      ),
    address: mailAddress()
      .optional()
      .describe(
        "Its entry in X-KeyServer-Sent; updates with it in their trail are not delivered to it.",
      ),
    kind: kindOfServer().describe(
      "What it runs: pksd, sks, onak, hockeypuck or gateway. By default pksd and sks by type; " +
        '"hkp" and "command" send what suits all kinds.',
    ),
    max_mail: text("128000", maxMail)
      .prefault("128000")
      .describe("Largest mail for it; at least 16KiB. HKP has its own limit."),
    retry: schedule("2s, 5s, 10s*5, 20s")
      .prefault("2s, 5s, 10s*5, 20s")
      .describe("Delays before the next attempts for an update; the last one repeats."),
  })
  .describe("The local keyserver. Without this section nothing is delivered locally.");

const kxVersion = word(["1.0", "1.1"], (value) => didYouMean(value, ["1.0", "1.1"]));

const kxSchema = z
  .strictObject({
    listen: list("127.0.0.1:11373", endpoint("127.0.0.1:11373"))
      .prefault(["127.0.0.1:11373"])
      .describe("Listeners for KX: host:port or [v6]:port."),
    source: text("192.0.2.1", parseIpAddress)
      .optional()
      .describe("Local IP address for outgoing connections, on a host with several."),
    tls: z
      .strictObject(
        {
          ...certificate,
          ca: text("ca.pem", parsePath)
            .optional()
            .describe("CA that signed the peers' certificates, PEM."),
        },
        { error: 'is not complete: write { cert = "kx.pem", key = "kx.key", ca = "ca.pem" }' },
      )
      .optional()
      .describe("Certificate for kxs:// peers; required for them."),
    reconnect: schedule("1s, 5s, 30s, 5m*3, 1h")
      .prefault("1s, 5s, 30s, 5m*3, 1h")
      .describe("Delays before the next dial attempts; the last one repeats."),
    version: kxVersion
      .default("1.1")
      .describe(
        'Highest version of KX that is spoken; "1.1" speaks 1.0 to peers that know no more.',
      ),
    reconcile: word(["off", "daily"], (value) => didYouMean(value, ["off", "daily"]))
      .default("off")
      .describe(
        "Whether the key index is compared once a day with that of each peer whose repair is an " +
          'hkp:// address. "off": only by kxgw reconcile.',
      ),
  })
  .describe("The KX protocol. Without this section KX is disabled.");

const outboundSchema = z
  .strictObject({
    relay: text("smtp://127.0.0.1:25", parseRelay)
      .prefault("smtp://127.0.0.1:25")
      .describe("Mail server that delivers outgoing mail; may contain user and password."),
    relay_password_file: text("/etc/kxgw/relay-password", parsePath)
      .optional()
      .describe("File with the password for the user in relay, on one line."),
    bounce: mailAddress()
      .optional()
      .describe(
        "Envelope sender, tagged per site and update; by default site.contact, without a tag.",
      ),
    retry: schedule("1m, 5m*2, 30m, 1h*6, 6h*8")
      .prefault("1m, 5m*2, 30m, 1h*6, 6h*8")
      .describe("Delays before the next attempts for a mail; the last one repeats."),
    ca: text("ca.pem", parsePath)
      .optional()
      .describe("Additional CAs for the relay, PEM, for smtps:// and require_tls."),
  })
  .describe("Mail to other keyservers. Without this section no mail is sent.");

const adminSchema = z
  .strictObject({
    listen: endpoint("127.0.0.1:9627")
      .prefault("127.0.0.1:9627")
      .describe("Listener for the status page, its JSON form and the metrics."),
    names: list("kx.example.org", text("kx.example.org", parseHostname))
      .prefault([])
      .describe(
        "Host names accepted in requests, also through a proxy; IP addresses are always accepted.",
      ),
    public_status: z
      .boolean({ error: "is not a boolean: write true or false, without quotes" })
      .default(false)
      .describe("Whether the page is public; addresses in it are masked then."),
  })
  .describe("The status page. Without this section it is disabled.");

export const peerSchema = z
  .strictObject({
    name: text("old", parseName).describe("Name of this neighbour in all output."),
    mail: mailAddress().optional().describe("Address to which its incremental mail is sent."),
    kind: kindOfServer().describe(
      "What it runs: pksd, sks, onak, hockeypuck or gateway; decides what is sent beside an " +
        "update. By default what suits all kinds is sent.",
    ),
    accept_from: list("192.0.2.0/24", text("192.0.2.0/24", parseNetwork))
      .prefault([])
      .describe("IP addresses and CIDR ranges that may deliver its mail."),
    accept_rate: text("1000/1m", parseRate)
      .optional()
      .describe("Rate limit for mails and HKP requests from it; by default no limit."),
    max_mail: text("128000", maxMail)
      .prefault("128000")
      .describe("Largest mail sent to it; at least 16KiB."),
    max_rate: text("100/1m", parseRate)
      .optional()
      .describe("Rate limit for mails to it; by default no limit."),
    require_tls: z
      .boolean({ error: "is not a boolean: write true or false, without quotes" })
      .default(false)
      .describe("Whether its mail is sent only to a relay with STARTTLS and a valid certificate."),
    kx: text("ks.example.org:11373", parseKxEndpoint)
      .optional()
      .describe("Its KX endpoint, with kxs:// for TLS; connections are identified by its address."),
    pin: text("9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08", parsePin)
      .optional()
      .describe("SHA-256 of its certificate, instead of a CA."),
    dial: z
      .boolean({ error: "is not a boolean: write true or false, without quotes" })
      .default(false)
      .describe("Whether the gateway dials it; otherwise the peer must dial."),
    kx_version: kxVersion
      .optional()
      .describe("Highest version of KX that is spoken to it; by default that of [kx]."),
    fetch_rate: text("10MiB/1h", parseByteRate)
      .optional()
      .describe("Rate limit for bytes fetched from it over KX; by default no limit."),
    quiet_hours: text("08:00-18:00", parseHours)
      .optional()
      .describe(
        "Hours (UTC) without fetching from it over KX; updates older than two days are fetched.",
      ),
    repair: text("hkp://ks.example.org:11371", parseRepair)
      .optional()
      .describe('Where to request its keys after an update was lost: hkp://, hkps:// or "mail".'),
    via: word(["mail", "kx", "both", "auto"], (value) =>
      didYouMean(value, ["mail", "kx", "both", "auto"]),
    )
      .optional()
      .describe(
        'The path to it; "auto" is KX, and mail while KX is down. With "mail" KX is disabled for ' +
          'it: kx is neither dialled nor accepted. By default "mail", or "kx" if mail is not set.',
      ),
    fallback_after: text("10m", parseDuration)
      .optional()
      .describe('"auto": how long KX must be down before mail is used; by default 10m.'),
  })
  .describe("A neighbour: a keyserver that takes mail, a KX peer, or both.");

export const reconSchema = z
  .strictObject({
    server: text("127.0.0.1:11370", parseDialled).describe(
      "Recon address of the server; it must allow the gateway's address.",
    ),
    hkp: text("http://127.0.0.1:11371", parseKeyserver)
      .optional()
      .describe(
        "URL where its keys are fetched by POST /pks/hashquery; by default the next port, as http.",
      ),
    poll: text("2s", pollPeriod)
      .prefault("2s")
      .describe("How often it is asked whether something changed; at least 1s."),
    start: word(["now", "all"], (value) => didYouMean(value, ["now", "all"]))
      .default("now")
      .describe('Which of its keys are fetched: "now" those that change from now on, or "all".'),
    rate: text("1000/10s", parseRate)
      .prefault("1000/10s")
      .describe("Rate limit for keys that are fetched from it."),
  })
  .describe("A Hockeypuck or SKS that is followed by recon: its changes enter the gateway.");

const modeSchema = word(["bridge", "observe"], (value) => didYouMean(value, ["bridge", "observe"]))
  .default("bridge")
  .describe('In mode "observe" nothing is sent.');

const policySchema = z
  .strictObject({
    max_update: size("1MiB").describe("Largest update accepted, in bytes without armor."),
    max_packets: count(10_000).describe("Maximum number of packets in an update."),
    max_packet: size("8KiB").describe("Largest key or unknown packet."),
    max_signature: size("64KiB").describe("Largest signature packet."),
    max_user_id: size("2KiB").describe("Longest user id; GnuPG has the same limit."),
    max_attribute: size("256KiB").describe("Largest user attribute (photo)."),
    attributes: word(["accept", "refuse"], (value) => didYouMean(value, ["accept", "refuse"]))
      .default("accept")
      .describe("Whether updates with user attributes are accepted."),
    forward: word(["news", "whole"], (value) => didYouMean(value, ["news", "whole"]))
      .default("news")
      .describe(
        "Whether keys from mail, spools and HKP are forwarded as their news or unchanged. Keys " +
          "without news are not forwarded.",
      ),
    blocklist: text("blocklist.txt", parsePath)
      .optional()
      .describe("File of blocked keys, one line each: FINGERPRINT reason."),
    carry: text("keys.txt", parsePath)
      .optional()
      .describe("File of the only keys that are carried, one fingerprint per line."),
    new_keys: z
      .boolean({ error: "is not a boolean: write true or false, without quotes" })
      .default(true)
      .describe("Whether keys that the log does not know are accepted; not used with carry."),
  })
  .describe("What is not carried. All limits are for one update, not for a whole key.");

/** The whole file. */
export const configSchema = z
  .strictObject({
    mode: modeSchema,
    site: siteSchema,
    log: logSchema,
    smtp: smtpSchema.optional(),
    spool: spoolSchema.optional(),
    hkp: hkpSchema.optional(),
    kx: kxSchema.optional(),
    outbound: outboundSchema.optional(),
    local: localSchema.optional(),
    admin: adminSchema.optional(),
    policy: policySchema.prefault({}),
    peer: z.array(peerSchema).default([]),
    recon: z.array(reconSchema).default([]),
  })
  .describe("Configuration of the KX gateway.");

/** The sections by name; all of them are tables. */
export const sections = {
  site: siteSchema,
  log: logSchema,
  smtp: smtpSchema,
  spool: spoolSchema,
  hkp: hkpSchema,
  kx: kxSchema,
  outbound: outboundSchema,
  local: localSchema,
  admin: adminSchema,
  policy: policySchema,
} as const;

/** What may be in the file several times, by the name in double brackets. */
export const lists = { peer: peerSchema, recon: reconSchema } as const;

/** The output of the schema: with defaults, units parsed, names as in the file. */
export type Settings = z.output<typeof configSchema>;
export type PeerSettings = Settings["peer"][number];
export type ReconSettings = Settings["recon"][number];
