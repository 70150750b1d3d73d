/**
 * The form of a configuration: every section and key with its default, its check and a sentence
 * about it, from which the JSON schema and the reference page can be made. What one key says is
 * judged here; what two keys say together is in `rules.ts`. The input is a TOML tree, the output
 * has milliseconds, bytes and endpoints, still under the names of the file.
 */
import { z } from "zod";
import {
  parseIpAddress,
  parseKeyserver,
  parseMailAddress,
  parseNetwork,
  parseRelay,
} from "./addresses.js";
import type { Endpoint } from "./config.js";
import { quoted } from "./quote.js";
import { didYouMean } from "./suggest.js";
import type { Reading } from "./units.js";
import {
  isHostname,
  parseDuration,
  parseEndpoint,
  parseRate,
  parseSchedule,
  parseSize,
} from "./units.js";

/** A keyserver has to serve an update for 72 hours after it was announced (thesis 3.1). */
const MIN_RETAIN_MS = 72 * 3_600_000;

/** A smaller mail could not carry an ordinary key. */
const MIN_MAX_MAIL_BYTES = 16 * 1024;

/** A text in quotes that `reader` understands; `example` is shown when it is something else. */
function text<T>(example: string, reader: (text: string) => Reading<T>) {
  const error = (issue: { readonly input?: unknown }) =>
    issue.input === undefined
      ? `is missing: write it in quotes, as "${example}"`
      : `is not a text: write it in quotes, as "${example}"`;
  return z.string({ error }).transform((value, context): T => {
    const reading = reader(value);
    if ("value" in reading) return reading.value;
    context.addIssue({ code: "custom", message: reading.fault });
    return z.NEVER;
  });
}

function list<T extends z.ZodType>(example: string, element: T) {
  return z.array(element, { error: `is not a list: write it in brackets, as ["${example}"]` });
}

function word<const T extends string>(words: readonly [T, ...T[]], hint: (word: string) => string) {
  const all = words.map((known) => `"${known}"`).join(" or ");
  return z.enum(words, {
    error: ({ input }) =>
      typeof input === "string"
        ? `${quoted(input)} is not known: write ${all}${hint(input)}`
        : `is not a text: write ${all}`,
  });
}

/** A reader with one more condition on what it has read. */
function atLeast(
  reader: (text: string) => Reading<number>,
  least: number,
  fault: (text: string) => string,
) {
  return (value: string): Reading<number> => {
    const reading = reader(value);
    return "value" in reading && reading.value < least ? { fault: fault(quoted(value)) } : reading;
  };
}

function parsePath(value: string): Reading<string> {
  if (value === ":memory:") return { fault: "a log in memory loses updates: name a file" };
  if (value.trim() === "") return { fault: 'is empty: name a file, as "updates.db"' };
  if (value.includes("\0")) return { fault: "a file name holds no NUL" };
  return { value };
}

function parseHostname(value: string): Reading<string> {
  if (isHostname(value)) return { value };
  return { fault: `${quoted(value)} is not a host name: write one, as "kx.example.org"` };
}

function parseWord(value: string): Reading<string> {
  if (value !== "" && !value.includes("\0")) return { value };
  return { fault: "is empty or holds a NUL: write a program or an argument" };
}

function parseName(value: string): Reading<string> {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/.test(value)) return { value };
  const hint = 'write 1 to 32 letters, digits, "_" and "-", a letter or digit first';
  return { fault: `${quoted(value)} cannot be a name: ${hint}` };
}

/** Where mail is taken: over TCP, or LMTP on a Unix socket. */
type MailListener = Endpoint | { readonly socket: string };

function parseMailListener(value: string): Reading<MailListener> {
  if (!value.startsWith("lmtp:")) return parseEndpoint(value);
  const socket = parsePath(value.slice("lmtp:".length));
  return "fault" in socket ? socket : { value: { socket: socket.value } };
}

function parseMode(value: string): Reading<number> {
  if (/^0?[0-7]{3}$/.test(value)) return { value: Number.parseInt(value, 8) };
  return { fault: `${quoted(value)} is not a mode: write it in octal, as "0660"` };
}

/** "host:port", or "kxs://host:port" for TLS. */
function parseKxEndpoint(value: string): Reading<Endpoint & { readonly secure: boolean }> {
  const secure = value.startsWith("kxs://");
  const reading = parseEndpoint(secure ? value.slice("kxs://".length) : value);
  return "fault" in reading ? reading : { value: { ...reading.value, secure } };
}

/** A certificate's SHA-256 as openssl prints it, with or without colons. */
function parsePin(value: string): Reading<string> {
  const digits = value
    .replace(/^sha256:/i, "")
    .replaceAll(":", "")
    .toUpperCase();
  if (/^[0-9A-F]{64}$/.test(digits)) return { value: digits };
  const how = "openssl x509 -noout -fingerprint -sha256 -in FILE";
  return { fault: `${quoted(value)} is not 64 hex digits: take what "${how}" prints` };
}

const retain = atLeast(
  parseDuration,
  MIN_RETAIN_MS,
  (value) => `${value} is less than 72h, for which an update has to be served: write 72h or more`,
);
const maxMail = atLeast(
  parseSize,
  MIN_MAX_MAIL_BYTES,
  (value) => `${value} is less than 16KiB, which many a key needs: write 16KiB or more`,
);

const mailAddress = () => text("pgp-public-keys@ks.example.org", parseMailAddress);
const endpoint = (example: string) => text(example, parseEndpoint);
const schedule = (example: string) => text(example, parseSchedule);

const certificate = {
  cert: text("kx.pem", parsePath).describe("Our certificate and its chain, PEM."),
  key: text("kx.key", parsePath).describe("Its private key, PEM."),
};

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
      .describe("Where mail is taken: host:port, [v6]:port, or lmtp:/path of a Unix socket."),
    socket_mode: text("0660", parseMode)
      .prefault("0660")
      .describe("Who may write to Unix sockets; whoever can speaks for any neighbour."),
    hostname: text("kx.example.org", parseHostname)
      .optional()
      .describe("Our name in the greeting; by default the domain of site.address."),
    max_size: text("2MiB", parseSize).prefault("2MiB").describe("Largest mail taken."),
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
      .describe("Largest mail left for it; at least 16KiB."),
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
    pin: text("SHA-256 of its certificate in hex", parsePin)
      .optional()
      .describe("Its certificate's SHA-256, in place of a CA that signed it."),
    dial: z
      .boolean({ error: "is not a truth value: write true or false, without quotes" })
      .default(false)
      .describe("Whether we dial it, or wait to be dialled."),
    via: word(["mail", "kx"], (value) =>
      value === "both" || value === "auto"
        ? `; this version knows mail and kx, and takes one of them`
        : didYouMean(value, ["mail", "kx"]),
    )
      .optional()
      .describe('The road that updates take to it; "kx" when it has no mail address.'),
  })
  .describe("A neighbour: a keyserver that takes mail, a KX peer, or both.");

const modeSchema = word(["bridge", "observe"], (value) => didYouMean(value, ["bridge", "observe"]))
  .default("bridge")
  .describe('"observe" does everything but sending.');

const size = (preset: string) => text(preset, parseSize).prefault(preset);
const count = (preset: number) =>
  z
    .int({ error: `is not a whole number: write one without quotes, as ${preset}` })
    .min(1, { error: "is less than 1: write 1 or more" })
    .default(preset);

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
    blocklist: text("blocklist.txt", parsePath)
      .optional()
      .describe("File of keys that are not carried: FINGERPRINT reason, a line each."),
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
