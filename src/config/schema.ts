/**
 * The form of a configuration: every section and key with its default, its check and a sentence
 * about it, from which the JSON schema and the reference page can be made. What one key says is
 * judged here; what two keys say together is in `rules.ts`. The input is a TOML tree, the output
 * has milliseconds, bytes and endpoints, still under the names of the file.
 */
import { z } from "zod";
import { parseIpAddress, parseKeyserver, parseNetwork, parseRelay } from "./addresses.js";
import {
  certificate,
  count,
  endpoint,
  list,
  mailAddress,
  maxMail,
  parseHostname,
  parseKxEndpoint,
  parseMailListener,
  parseMode,
  parseName,
  parsePath,
  parsePin,
  parseRepair,
  parseWord,
  retain,
  schedule,
  size,
  text,
  word,
} from "./fields.js";
import { didYouMean } from "./suggest.js";
import { parseByteRate, parseDuration, parseHours, parseRate, parseSize } from "./units.js";

export const siteSchema = z
  .strictObject({
    address: mailAddress().describe(
      "Recipient of incremental mail, and our entry in X-KeyServer-Sent.",
    ),
    contact: mailAddress().optional().describe("From of our mails; by default site.address."),
  })
  .describe("Who we are.");

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
      .describe("How much is kept beyond log.retain for sites that have not got it yet."),
  })
  .describe("The update log.");

export const smtpSchema = z
  .strictObject({
    listen: list("127.0.0.1:2525", text("127.0.0.1:2525", parseMailListener))
      .prefault(["127.0.0.1:2525"])
      .describe("Where mail is taken: host:port, lmtp:/path of a Unix socket, or systemd:NAME."),
    socket_mode: text("0660", parseMode)
      .prefault("0660")
      .describe("Who may write to Unix sockets; whoever can speaks for any neighbour."),
    hostname: text("kx.example.org", parseHostname)
      .optional()
      .describe("Our name in the greeting; by default the domain of site.address."),
    max_size: text("32MiB", parseSize).prefault("32MiB").describe("Largest mail taken."),
    front: endpoint("mx.example.org:25")
      .optional()
      .describe("Mail server in front, whose announced SIZE doctor --online compares."),
    tls: z
      .strictObject(certificate, { error: 'write { cert = "kx.pem", key = "kx.key" }' })
      .optional()
      .describe("Files for STARTTLS; without them it is not offered."),
  })
  .describe("Mail from other keyservers. Without this section none is taken.");

export const spoolSchema = z
  .strictObject({
    watch: list("/var/spool/kxgw", text("/var/spool/kxgw", parsePath))
      .min(1, { error: 'is empty: name a directory, as ["/var/spool/kxgw"]' })
      .describe("Directories from which pks-mail.*, *.ready and *.onak files are taken as mails."),
    every: text("2s", parseDuration)
      .prefault("2s")
      .describe("How often they are looked at; a file is read when it has not changed since."),
    keep_refused: text("30d", parseDuration)
      .prefault("30d")
      .describe("How long refused files are kept in refused/; at most 5000 files and 256 MiB."),
  })
  .describe("Mail that a pipe of an old keyserver leaves as files. Off without this section.");

export const hkpSchema = z
  .strictObject({
    listen: list("127.0.0.1:11371", endpoint("127.0.0.1:11371"))
      .prefault(["127.0.0.1:11371"])
      .describe("Where POST /pks/add is served: host:port or [v6]:port."),
    open: z
      .boolean({ error: "is not a truth value: write true or false, without quotes" })
      .default(false)
      .describe("Whether anybody may post; otherwise only who is in an accept_from."),
    stranger_rate: text("60/1m", parseRate)
      .prefault("60/1m")
      .describe(
        "Most requests of strangers from one network (/24, or /48 of IPv6) in a time; " +
          "ten times as many from all of them.",
      ),
    max_size: text("4MiB", parseSize).prefault("4MiB").describe("Largest request taken."),
  })
  .describe("Keys over HKP. Without this section none are taken.");

export const localSchema = z
  .strictObject({
    type: word(["pksd", "sks", "hkp", "command", "none"], (value) =>
      didYouMean(value, ["pksd", "sks", "hkp", "command", "none"]),
    ).describe("How the keyserver beside us takes updates."),
    directory: text("/var/spool/sks/messages", parsePath)
      .optional()
      .describe('Where mails are left: mail_dir of "pksd", the messages directory of "sks".'),
    notify: list("pksdctl", text("pksdctl", parseWord))
      .optional()
      .describe('"pksd": run after each mail; "{}" stands for its path.'),
    url: text("http://127.0.0.1:11371", parseKeyserver)
      .optional()
      .describe('"hkp": the keyserver, to which /pks/add is added.'),
    command: list("/usr/bin/onak-mail.pl", text("/usr/bin/onak-mail.pl", parseWord))
      .optional()
      .describe('"command": program and arguments; it reads one mail from standard input.'),
    address: mailAddress()
      .optional()
      .describe("What it writes into X-KeyServer-Sent; what it has is not delivered to it."),
    max_mail: text("128000", maxMail)
      .prefault("128000")
      .describe("Largest mail left for it; at least 16KiB. HKP has a limit of its own."),
    retry: schedule("10s, 1m, 5m*6, 1h")
      .prefault("10s, 1m, 5m*6, 1h")
      .describe("Delays before an update is tried again; the last one repeats."),
  })
  .describe("The keyserver beside us. Without this section nothing is delivered locally.");

export const kxSchema = z
  .strictObject({
    listen: list("127.0.0.1:11373", endpoint("127.0.0.1:11373"))
      .prefault(["127.0.0.1:11373"])
      .describe("Where KX connections are taken: host:port or [v6]:port."),
    source: text("192.0.2.1", parseIpAddress)
      .optional()
      .describe("IP address to dial from, on a host with several."),
    tls: z
      .strictObject(
        {
          ...certificate,
          ca: text("ca.pem", parsePath).optional().describe("CA that signed our peers, PEM."),
        },
        { error: 'is not complete: write { cert = "kx.pem", key = "kx.key", ca = "ca.pem" }' },
      )
      .optional()
      .describe("Files for kxs:// peers; without it there are none."),
    reconnect: schedule("1s, 5s, 30s, 5m*3, 1h")
      .prefault("1s, 5s, 30s, 5m*3, 1h")
      .describe("Delays before we dial again; the last one repeats."),
  })
  .describe("The KX protocol. Without this section it is not spoken.");

export const outboundSchema = z
  .strictObject({
    relay: text("smtp://127.0.0.1:25", parseRelay)
      .prefault("smtp://127.0.0.1:25")
      .describe("Mail server that delivers our mails; may hold a user and password."),
    relay_password_file: text("/etc/kxgw/relay-password", parsePath)
      .optional()
      .describe("File with the password of the user in relay, on one line."),
    bounce: mailAddress()
      .optional()
      .describe("Envelope sender, marked per site and update; by default site.contact, unmarked."),
    retry: schedule("1m, 5m*2, 30m, 1h*6, 6h*8")
      .prefault("1m, 5m*2, 30m, 1h*6, 6h*8")
      .describe("Delays before a mail is tried again; the last one repeats."),
    ca: text("ca.pem", parsePath)
      .optional()
      .describe("CAs of the relay beside the system's, PEM, for smtps:// and require_tls."),
  })
  .describe("Mail to other keyservers. Without this section none is sent.");

export const adminSchema = z
  .strictObject({
    listen: endpoint("127.0.0.1:9627")
      .prefault("127.0.0.1:9627")
      .describe("Where the status page, its JSON and the metrics are served."),
    names: list("kx.example.org", text("kx.example.org", parseHostname))
      .prefault([])
      .describe("Host names that it is asked by, as a proxy hands them on; addresses always work."),
    public_status: z
      .boolean({ error: "is not a truth value: write true or false, without quotes" })
      .default(false)
      .describe("Whether strangers may see the page; addresses in it are masked then."),
  })
  .describe("The status page. Without this section there is none.");

export const peerSchema = z
  .strictObject({
    name: text("old", parseName).describe("Your name for this neighbour, used in all output."),
    mail: mailAddress().optional().describe("Where its incremental mail goes."),
    accept_from: list("192.0.2.0/24", text("192.0.2.0/24", parseNetwork))
      .prefault([])
      .describe("Addresses and CIDR ranges that may deliver its mail."),
    accept_rate: text("1000/1m", parseRate)
      .optional()
      .describe("Most mails and HKP requests taken from it in a time; by default all of them."),
    max_mail: text("128000", maxMail)
      .prefault("128000")
      .describe("Largest mail sent to it; at least 16KiB."),
    max_rate: text("100/1m", parseRate)
      .optional()
      .describe("Most mails sent to it in a time; by default as many as the relay takes."),
    require_tls: z
      .boolean({ error: "is not a truth value: write true or false, without quotes" })
      .default(false)
      .describe("Whether its mail waits for a relay with STARTTLS and a certificate that is good."),
    kx: text("ks.example.org:11373", parseKxEndpoint)
      .optional()
      .describe("Its KX endpoint, with kxs:// before it for TLS; its address tells who it is."),
    pin: text("9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08", parsePin)
      .optional()
      .describe("Its certificate's SHA-256, in place of a CA that signed it."),
    dial: z
      .boolean({ error: "is not a truth value: write true or false, without quotes" })
      .default(false)
      .describe("Whether we dial it, or wait to be dialled."),
    fetch_rate: text("10MiB/1h", parseByteRate)
      .optional()
      .describe("Most bytes of updates fetched from it over KX in a time; by default all of them."),
    quiet_hours: text("08:00-18:00", parseHours)
      .optional()
      .describe("When nothing is fetched from it over KX, in UTC; what is two days old still is."),
    repair: text("hkp://ks.example.org:11371", parseRepair)
      .optional()
      .describe('Where its keys are asked for when an update was lost: hkp://, hkps:// or "mail".'),
    via: word(["mail", "kx", "both", "auto"], (value) =>
      didYouMean(value, ["mail", "kx", "both", "auto"]),
    )
      .optional()
      .describe(
        'The road to it; "auto" is KX, and mail while that is down. With "mail" no KX is spoken: ' +
          'kx is neither dialled nor taken. By default "mail", or "kx" where there is no mail.',
      ),
    fallback_after: text("10m", parseDuration)
      .optional()
      .describe('"auto": how long KX has to be down before mail goes instead; by default 10m.'),
  })
  .describe("A neighbour: a keyserver that takes mail, a KX peer, or both.");

const modeSchema = word(["bridge", "observe"], (value) => didYouMean(value, ["bridge", "observe"]))
  .default("bridge")
  .describe('"observe" does everything but sending.');

export const policySchema = z
  .strictObject({
    max_update: size("1MiB").describe("Largest update taken, in packets without armor."),
    max_packets: count(10_000).describe("Most packets in an update."),
    max_packet: size("8KiB").describe("Largest key or unknown packet."),
    max_signature: size("64KiB").describe("Largest signature packet."),
    max_user_id: size("2KiB").describe("Longest user id, which is what GnuPG reads."),
    max_attribute: size("256KiB").describe("Largest user attribute, that is, photo."),
    attributes: word(["accept", "refuse"], (value) => didYouMean(value, ["accept", "refuse"]))
      .default("accept")
      .describe("Whether updates with user attributes are taken."),
    forward: word(["news", "whole"], (value) => didYouMean(value, ["news", "whole"]))
      .default("news")
      .describe("Whether keys from mail, spools and HKP go on as their news or as they came."),
    blocklist: text("blocklist.txt", parsePath)
      .optional()
      .describe("File of keys that are not carried: FINGERPRINT reason, a line each."),
    carry: text("keys.txt", parsePath)
      .optional()
      .describe("File of the only keys that are carried: FINGERPRINT, a line each."),
    new_keys: z
      .boolean({ error: "is not a truth value: write true or false, without quotes" })
      .default(true)
      .describe("Whether keys are taken that the log does not know; with carry the file decides."),
  })
  .describe("What is not carried. Every limit is on one update, never on a whole key.");

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

/** What the schema makes of a file: defaults filled in, units read, names as in the file. */
export type Settings = z.output<typeof configSchema>;
export type PeerSettings = Settings["peer"][number];
