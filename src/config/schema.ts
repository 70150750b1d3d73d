/**
 * The form of a configuration: every section and key with its default, its check and a sentence
 * about it, from which the JSON schema and the reference page can be made. What one key says is
 * judged here; what two keys say together is in `rules.ts`. The input is a TOML tree, the output
 * has milliseconds, bytes and endpoints, still under the names of the file.
 */
import { z } from "zod";
import { parseIpAddress, parseMailAddress, parseNetwork, parseRelay } from "./addresses.js";
import { quoted } from "./quote.js";
import { didYouMean } from "./suggest.js";
import type { Reading } from "./units.js";
import { isHostname, parseDuration, parseEndpoint, parseSchedule, parseSize } from "./units.js";

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

function parseName(value: string): Reading<string> {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/.test(value)) return { value };
  const hint = 'write 1 to 32 letters, digits, "_" and "-", a letter or digit first';
  return { fault: `${quoted(value)} cannot be a name: ${hint}` };
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
  })
  .describe("The update log.");

export const smtpSchema = z
  .strictObject({
    listen: list("127.0.0.1:2525", endpoint("127.0.0.1:2525"))
      .prefault(["127.0.0.1:2525"])
      .describe("Where mail is taken: host:port or [v6]:port."),
    hostname: text("kx.example.org", parseHostname)
      .optional()
      .describe("Our name in the greeting; by default the domain of site.address."),
    max_size: text("2MiB", parseSize).prefault("2MiB").describe("Largest mail taken."),
  })
  .describe("Mail from other keyservers. Without this section none is taken.");

export const kxSchema = z
  .strictObject({
    listen: list("127.0.0.1:11373", endpoint("127.0.0.1:11373"))
      .prefault(["127.0.0.1:11373"])
      .describe("Where KX connections are taken: host:port or [v6]:port."),
    source: text("192.0.2.1", parseIpAddress)
      .optional()
      .describe("IP address to dial from, on a host with several."),
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
  })
  .describe("Mail to other keyservers. Without this section none is sent.");

export const adminSchema = z
  .strictObject({
    listen: endpoint("127.0.0.1:9627")
      .prefault("127.0.0.1:9627")
      .describe("Where /livez, /readyz and /status.json are served."),
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
    kx: endpoint("ks.example.org:11373")
      .optional()
      .describe("Its KX endpoint; connections from this address are this peer."),
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

/** The whole file. */
export const configSchema = z
  .strictObject({
    mode: modeSchema,
    site: siteSchema,
    log: logSchema,
    smtp: smtpSchema.optional(),
    kx: kxSchema.optional(),
    outbound: outboundSchema.optional(),
    admin: adminSchema.optional(),
    peer: z.array(peerSchema).default([]),
  })
  .describe("Configuration of the KX gateway.");

/** The sections by name; all of them are tables. */
export const sections = {
  site: siteSchema,
  log: logSchema,
  smtp: smtpSchema,
  kx: kxSchema,
  outbound: outboundSchema,
  admin: adminSchema,
} as const;

/** What the schema makes of a file: defaults filled in, units read, names as in the file. */
export type Settings = z.output<typeof configSchema>;
export type PeerSettings = Settings["peer"][number];
