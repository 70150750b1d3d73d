/**
 * The schema of /status.json and of the journey of an update, with a description of every field.
 * The OpenAPI document and the field list of docs/status-json.md are generated from it. It is not
 * used while the gateway answers: `test/status/schema.test.ts` parses real answers strictly against
 * it and compares the types, so that a field without a description fails there.
 */
import { z } from "zod";
import { EVENTS, type EventName } from "../diagnostics.js";

const count = (about: string) => z.int().min(0).describe(about);
const number = (about: string) => z.int().describe(about);
const text = (about: string) => z.string().describe(about);
const flag = (about: string) => z.boolean().describe(about);
/** ISO 8601 in UTC. */
const time = (about: string) => z.iso.datetime().describe(about);
const share = (about: string) => z.number().min(0).max(1).nullable().describe(about);

const EVENT_NAMES = Object.keys(EVENTS) as [EventName, ...EventName[]];
const eventName = z.enum(EVENT_NAMES);

/** Updates by flow; `of` makes the value of one flow. */
function flows<Value extends z.ZodType>(of: (about: string) => Value) {
  return z.strictObject({
    inMail: of("Accepted by mail, a spool or `ingest`."),
    inKx: of("Accepted over KX."),
    inHkp: of("Accepted over HKP."),
    inRecon: of("Accepted by following a server by recon."),
    inRepair: of("Accepted from a keyserver that was asked for a lost update."),
    outMail: of("Delivered by mail, or to the local keyserver."),
    outKx: of("Sent to KX peers on request."),
    duplicates: of("Arrivals that added nothing."),
    suppressed: of("Not mailed, because the site is in the trail."),
    refused: of("Mails and keys that were refused."),
    tooFast: of("Arrivals that were deferred by `accept_rate`."),
    undelivered: of("Updates that a site refused, or that expired before a site took them."),
    bounces: of("Mails of the gateway that came back."),
  });
}

const exceptionCounts = z.strictObject({
  waiting: count("Failed for now, and tried again apart from the queue."),
  refused: count("Refused by the site; offered again when their key comes again."),
  withheld: count("Not sent, because the key is blocked or the operator skipped the update."),
});

const exceptionReason = z.enum([
  ...(["failed", "bounced", "refused", "returned"] as const),
  ...(["overflow", "expired", "blocked", "skipped"] as const),
]);

const siteSchema = z
  .strictObject({
    cursor: count("Number of the last update up to which the neighbour is served."),
    backlog: count("Updates that it still needs."),
    attempt: count("Failed attempts at the next update."),
    nextTry: time("When the next attempt is made; null without a scheduled retry.").nullable(),
    lastError: text("Last answer that was an error; null if there was none.").nullable(),
    lastErrorAt: time("Time of that answer.").nullable(),
    lastSuccessAt: time("When it last accepted an update.").nullable(),
    mailOpensAt: time('`via = "auto"`: when mail starts if KX stays down.').nullable(),
    exceptions: exceptionCounts.describe("Updates that it did not take, by state."),
    refusesAll: flag("Whether it has refused everything for a while."),
    reasons: z
      .array(
        z.strictObject({
          state: z.enum(["waiting", "refused", "withheld"]).describe("State of these updates."),
          reason: exceptionReason.describe("Why they are in this state."),
          count: count("Number of updates."),
          recent: count("Those of the last 24 hours."),
        }),
      )
      .describe("The same by reason."),
  })
  .describe("Delivery to it by mail or to the local keyserver; missing if there is none.");

const reconcileSchema = z
  .strictObject({
    state: z
      .enum(["running", "done", "budget", "failed"])
      .describe(
        "`budget`: there were more differences than one run fetches; the next one goes on.",
      ),
    problem: text("Why it failed; null if it did not.").nullable(),
    dryRun: flag("Whether the keys were only compared."),
    started: time("When it began.").nullable(),
    ended: time("When it ended; null while it runs.").nullable(),
    keysHere: count("Keys in the index of this site."),
    keysThere: count("Keys in the index of the peer."),
    common: count("Keys that are the same at both, as far as was compared."),
    onlyHere: count("Keys that the peer does not have."),
    onlyThere: count("Keys that this site does not have."),
    differing: count("Keys that both have, with other packets."),
    questions: count("Questions that were sent."),
    queued: count("Keys that are fetched from its keyserver."),
    fetching: count("Keys that an earlier comparison queued and that still wait to be fetched."),
    staying: count("Keys that differ, were fetched before, and have not changed there since."),
    postponed: count("Keys for which the queue of repairs had no space; the next run has them."),
    told: count("Keys that the peer was told of, for it to fetch."),
  })
  .describe("The comparison of all keys that is under way, or the last one.");

const peerSchema = z
  .strictObject({
    connected: flag("Whether a KX session is up."),
    connectedSince: time("Since when.").nullable(),
    cursor: count("Last number up to which its log has been received.").nullable(),
    newest: count("Newest number that it announced.").nullable(),
    missing: count("Announced updates that the gateway does not have yet."),
    inFlight: count("Those that have been requested."),
    held: z
      .strictObject({
        why: z.enum(["quiet-hours", "fetch-rate"]).describe("The setting."),
        until: time("When fetching continues.").nullable(),
      })
      .nullable()
      .describe("Why updates are not fetched now; null if they are."),
    bytesIn: count("Bytes received over KX since the start."),
    bytesOut: count("Bytes sent over KX since the start."),
    version: z
      .enum(["1.0", "1.1"])
      .nullable()
      .describe("The version of KX that is spoken; null while it is not connected."),
    downgraded: flag(
      "Whether it spoke KX/1.1 before and KX/1.0 at its last greeting; `kx_version` accepts that.",
    ),
    settled: count(
      "Number of this log up to which it says that all is settled; null without receipts.",
    ).nullable(),
    unsettled: count("Updates above that number; null without receipts.").nullable(),
    reconcile: reconcileSchema.nullable(),
  })
  .describe("The KX peering; missing if there is none.");

const neighbourSchema = z
  .strictObject({
    name: text("Its `name` in the configuration; `[local]` is the local keyserver."),
    via: z.enum(["mail", "kx", "both", "auto"]).describe("`via` of the configuration."),
    mail: text("Its mail address; null if it has none.").nullable(),
    kx: text("Its KX endpoint; null if it has none.").nullable(),
    path: z
      .enum(["mail", "kx", "both", "local", "none"])
      .describe("The path that updates take at the moment."),
    pathSince: time("Since when; null if unknown.").nullable(),
    state: z
      .enum(["good", "pending", "behind", "down", "paused", "idle"])
      .describe(
        "`good`: it has proven that it is in sync. `pending`: no fault, but not proven. " +
          "`behind`: updates wait. `down`: the exchange fails. `idle`: nothing is sent to it.",
      ),
    label: z
      .enum([
        ...(["in sync", "behind", "down", "paused", "idle", "handed over", "unconfirmed"] as const),
        ...(["not all taken", "no session", "waiting", "nothing sent", "observed"] as const),
        "elsewhere",
      ])
      .describe("The state in one or two words, as page and commands show it."),
    proof: z
      .strictObject({
        what: z
          .enum(["origin", "announced", "read", "taken", "collected", "exited"])
          .describe(
            "It sent an update, announced one, read one over KX, took one, read its spool, or " +
              "its program ended with 0.",
          ),
        at: time("When.").nullable(),
      })
      .nullable()
      .describe("Its newest statement about an update; null if there is none since the start."),
    handed: z
      .strictObject({
        what: z
          .enum(["relayed", "spooled", "offered", "named", "accepted"])
          .describe("How the last of them left."),
        at: time("When the last of them left.").nullable(),
        updates: count("Their number."),
        since: time("When the first of them left.").nullable(),
      })
      .nullable()
      .describe("Updates that left and that it has not proven; null if there are none."),
    words: text("The reason of the state, as a clause."),
    lastIn: time("When an update last came from it.").nullable(),
    lastOut: time("When an update was last delivered to it.").nullable(),
    backlog: count("Updates to send to it or to fetch from it."),
    oldest: time("When the oldest of them was received.").nullable(),
    success24h: share("Share of successful attempts in 24 hours; null without attempts."),
    hours: z
      .array(z.int().min(0))
      .describe("Updates in and out by the hour, 24 numbers, oldest first."),
    lastError: z
      .strictObject({ at: time("Its time.").nullable(), words: text("Its text.") })
      .nullable()
      .describe("The last error; null if there was none."),
    nextTry: time("When the next attempt is made.").nullable(),
    kxShare24h: share("Share of KX in its updates of 24 hours; null without updates."),
    repairs: z
      .strictObject({
        waiting: count("Lost keys that are to be fetched from it."),
        changes: z
          .strictObject({
            days: count("Of how many days."),
            asked: time("When it was asked last; null if not yet.").nullable(),
          })
          .nullable()
          .describe("The question for all its changes; null if there is none."),
      })
      .describe("What is fetched from it again."),
    site: siteSchema.optional(),
    peer: peerSchema.optional(),
  })
  .meta({ id: "Neighbour" });

const reconSchema = z
  .strictObject({
    server: text("Recon address of the server."),
    hkp: text("Where its keys are fetched."),
    neighbour: text("The neighbour that it counts as, or its own address."),
    state: z
      .enum(["first", "up", "down"])
      .describe("`first`: its keys are being collected. `up`: it is followed."),
    words: text("The state in words."),
    problem: text("Why it is down, or why keys cannot be fetched; null if nothing is.").nullable(),
    remedy: text("What the operator can do.").nullable(),
    keys: count("Keys that it claims to have; null before the first session.").nullable(),
    wanted: count("Keys to be fetched."),
    filters: text("Its filters, separated by commas.").nullable(),
    sessions: count("Sessions since the start."),
    fetched: count("Keys fetched since the start."),
    bytesIn: count("Bytes received since the start."),
    bytesOut: count("Bytes sent since the start."),
    whole: time("When the last whole session ended.").nullable(),
  })
  .meta({ id: "Recon" });

const recentSchema = z
  .strictObject({
    id: count("Grows by one with each report of this process."),
    time: time("When it was reported."),
    event: eventName.describe("Name of the event ([events](events.md))."),
    level: z.enum(["debug", "info", "warn", "error"]).describe("Its level."),
    text: text("What it means."),
    neighbour: text("The neighbour that it concerns.").nullable(),
    via: text("The way in.").nullable(),
    seq: count("Number of the update.").nullable(),
    hash: text("Hash of the update.").nullable(),
    fingerprint: text("Fingerprint of the key.").nullable(),
    address: text("An address that may have to be written into the configuration.").nullable(),
    resembles: text("The neighbour that this address may belong to.").nullable(),
    words: text("Reply of the other side, or the problem.").nullable(),
  })
  .meta({ id: "Event" });

const totalsSchema = z
  .strictObject({
    accepted: count("Updates accepted."),
    duplicates: count("Arrivals that added nothing."),
    duplicateBytes: count("Their bytes."),
    sent: count("Updates delivered by mail or to the local keyserver."),
    sentBytes: count("Their bytes."),
    wouldSend: count("Updates that observe mode did not send."),
    suppressed: count("Not mailed, because the site is in the trail."),
    undelivered: count("Refused by a site."),
    refused: count("Mails refused."),
    declined: count("Not fetched over KX, because the policy excludes the key."),
    withheld: count("Not sent, because the key is blocked or was forgotten."),
    bounces: count("Mails of the gateway that came back."),
  })
  .describe("Counts of events, over restarts.");

const savedSchema = z
  .strictObject({
    suppressedMails: count("Mails that were not sent, because the site had the update."),
    duplicateMails: count("Duplicates that came by mail and were not passed on."),
    trimmedBytes: count("Known packets that were removed from whole keys."),
    knownAnnouncements: count("First announcements of known updates; each would have been a mail."),
    kxBytes: count("Bytes over KX in both directions."),
    asMailBytes: count("Size of all these updates if each had been a mail."),
    savedBytes: count("The difference: an estimate."),
  })
  .describe("What was not sent twice, over restarts.");

const logSchema = z
  .strictObject({
    newest: count("Number of the newest update."),
    entries: count("Updates whose hash is kept."),
    bodies: count("Updates whose body is kept."),
    bodyBytes: count("Bytes of these bodies."),
    fileBytes: count("Bytes of the log on disk."),
  })
  .describe("The update log.");

const clusterSchema = z
  .strictObject({
    node: text("Name of this gateway in the site."),
    database: z
      .strictObject({
        address: text("Hosts and name of the database, without user and password."),
        up: flag("Whether it answers and is used."),
        server: text("Version and address of the server; null while it is away.").nullable(),
        since: time("Since when it is away; null while it answers.").nullable(),
        problem: text("Why it is away; null while it answers.").nullable(),
        remedy: text("What the operator can do; null if it is waited for.").nullable(),
        newest: count("Newest position that is known."),
      })
      .describe("The database that the gateways share."),
    copy: z
      .strictObject({
        position: count("Position of the last commit that is in the copy."),
        behind: count("Commits that are missing."),
        behindSeconds: count("Since how many seconds some are missing."),
      })
      .describe("The copy of this gateway."),
    nodes: z
      .array(
        z.strictObject({
          node: text("Name of the gateway."),
          here: flag("Whether it is this one."),
          up: flag("Whether it was seen in the last 10 seconds."),
          version: text("Its version."),
          address: text("Where its last sign came from; null over a Unix socket.").nullable(),
          position: count("Position of its copy."),
          behind: count("Commits that are missing there."),
          skewMs: number("By how many ms the clock of the database is ahead of its clock."),
          started: time("When its session at the database began first."),
          seen: time("When it was seen last."),
          leases: z.array(z.string()).describe("Leases that it holds; empty if it is not up."),
          sessions: z.array(z.string()).describe("Peers with which it has a KX session."),
        }),
      )
      .describe("All gateways of the site that were seen within a day."),
    leases: z
      .array(
        z.strictObject({
          lease: text("Its name, as `lane:NAME`, `dial:NAME`, `repair`, `follow`, `expiry`."),
          node: text("The gateway that holds it; null if none does.").nullable(),
          here: flag("Whether this gateway works under it."),
        }),
      )
      .describe("Leases; empty while the database is away, since nobody has one then."),
  })
  .meta({ id: "Cluster" });

export const statusSchema = z
  .strictObject({
    site: text("Mail address of the site."),
    mode: z.enum(["bridge", "observe"]).describe("In `observe` nothing is sent."),
    version: text("Version of the gateway."),
    running: flag("False if the status was read from the log, because no gateway runs."),
    verdict: z
      .strictObject({
        state: z
          .enum(["good", "pending", "behind", "bad"])
          .describe(
            "The worst that is the case. `pending`: no fault, but not everything is proven.",
          ),
        words: text("The first line of the page."),
      })
      .describe("The whole in one or two sentences."),
    time: time("When this status was made."),
    started: time("When the gateway started.").nullable(),
    uptimeSeconds: number("Seconds since the start."),
    certificates: z
      .array(
        z.strictObject({
          listener: text("Which listener uses it: `smtp` or `kx`."),
          notAfter: time("When it expires.").nullable(),
          expiresSoon: flag("Whether that is soon."),
          words: text("The same in words."),
        }),
      )
      .describe("Certificates of the gateway."),
    log: logSchema,
    cluster: clusterSchema
      .nullable()
      .describe(
        "The gateways of the site ([cluster](cluster.md)); null without `log.shared`, and while " +
          "no gateway runs.",
      ),
    upkeep: z
      .strictObject({
        failures: count("Consecutive failures of expiry."),
        trouble: z
          .strictObject({ problem: text("The reason."), remedy: text("What to do.") })
          .nullable()
          .describe("The last failure; null if there is none."),
        clockJumpedMs: number(
          "By how much the clock jumped lately, in ms; null if not.",
        ).nullable(),
      })
      .describe("State of expiry."),
    keys: z
      .strictObject({
        carried: count(
          "Number of keys in `policy.carry`; null if all keys are carried.",
        ).nullable(),
        newKeys: flag("Whether keys are accepted that the log does not know."),
        blocked: count("Keys that are blocked."),
        forgotten: count("Keys that were forgotten and still have a tombstone."),
      })
      .describe("Which keys are carried."),
    repairs: count("Lost keys that are being fetched again."),
    exceptions: exceptionCounts.describe("Updates that neighbours did not take, by state."),
    unowned: z
      .array(
        z.strictObject({
          name: text("Name that the neighbour had."),
          address: text("Its mail address; null if it had none.").nullable(),
          cursor: count("Number of the last update up to which it was served."),
          lastSuccessAt: time("When it last accepted an update.").nullable(),
          backlog: count("Updates that it lacks."),
          exceptions: exceptionCounts.describe("Updates that it did not take, by state."),
        }),
      )
      .describe("Queues of the log whose neighbour is not in the configuration."),
    observedSum: z
      .strictObject({
        neighbours: count("Neighbours that something would have been sent to."),
        updates: count("Updates, for each neighbour once."),
        mails: count("In how many mails."),
        bytes: count("Their bytes."),
        perDay: z
          .strictObject({
            updates: number("Updates in a day at this rate."),
            mails: number("Mails in a day at this rate."),
          })
          .nullable()
          .describe("How often; null before an hour has passed."),
        since: time("Time of the first.").nullable(),
        lastAt: time("Time of the last.").nullable(),
      })
      .nullable()
      .describe("The sum of `observed`; null if that is null or empty."),
    observed: z
      .array(
        z.strictObject({
          neighbour: text("The neighbour, or `[local]`."),
          way: z.enum(["lane", "kx"]).describe("`lane`: by mail or to the local keyserver."),
          updates: count("Updates that would have been sent."),
          mails: count("In how many mails; 0 over KX."),
          bytes: count("Their bytes."),
          first: count("Number of the first."),
          last: count("Number of the last."),
          since: time("Time of the first.").nullable(),
          lastAt: time("Time of the last.").nullable(),
        }),
      )
      .nullable()
      .describe('What would have been sent; null in mode "bridge".'),
    totals: totalsSchema,
    flow: z
      .strictObject({
        day: flows(count).describe("Updates of 24 hours by flow."),
        hours: flows((about) => z.array(z.int().min(0)).describe(about)).describe(
          "The same by the hour: 24 numbers for each flow, oldest first.",
        ),
      })
      .describe("Updates of this clock hour and the 23 before it."),
    saved: savedSchema,
    migration: z
      .strictObject({
        neighbours: count("Number of neighbours that updates are sent to or fetched from."),
        mailOnly: z.array(z.string()).describe("Names of those without KX that could move to it."),
        stays: z
          .array(z.string())
          .describe(
            'Names of those that stay on mail: `via = "mail"` is written, or they run pksd.',
          ),
        byPath: z
          .strictObject({
            mail: z.array(z.string()).describe("Names of those by mail."),
            both: z.array(z.string()).describe("Names of those by both."),
            kx: z.array(z.string()).describe("Names of those over KX."),
          })
          .describe("Neighbours by the path in use."),
        kxShare24h: share("Share of KX in the updates of 24 hours; null without updates."),
      })
      .describe("Progress of the migration from mail to KX."),
    neighbours: z.array(neighbourSchema).describe("Every neighbour, and the local keyserver."),
    recon: z.array(reconSchema).describe("Servers that are followed by recon."),
    recent: z.array(recentSchema).describe("The latest events, newest first."),
    counts: z
      .array(
        z.strictObject({
          event: eventName.describe("Name of the event."),
          neighbour: text("The neighbour; missing if it concerns none.").optional(),
          reason: text("The reason; missing if the event has none.").optional(),
          via: text("The way in; missing if the event has none.").optional(),
          count: count("How often."),
          count7d: count("How often in the last 7 days."),
          bytes: count("Bytes of these."),
          since: time("When it was reported first, as far as counters are kept.").nullable(),
          lastAt: time("When it was reported last.").nullable(),
        }),
      )
      .describe("Counts of every event, over restarts, by neighbour, reason and way."),
  })
  .meta({ id: "Status" });

const stageSchema = z
  .strictObject({
    neighbour: text("The neighbour."),
    road: z.enum(["mail", "kx", "hkp", "local", "none"]).describe("How it gets the update."),
    state: z
      .enum(["done", "handed", "waiting", "failed", "none"])
      .describe(
        "`done`: proven by the neighbour. `handed`: it left, or another neighbour names it. " +
          "`none`: it is not sent, or there is no record.",
      ),
    words: text("The state in words."),
    time: time("When; null if unknown.").nullable(),
    how: z
      .enum([
        ...(["origin", "relayed", "taken", "spooled", "collected", "exited"] as const),
        ...(["accepted", "fetched", "announced", "settled", "named", "offered"] as const),
        ...(["refused", "declined"] as const),
        ...(["waiting", "withheld", "expired", "observed", "unknown", "nothing"] as const),
      ])
      .describe("How this is known ([operations](operations.md#what-a-neighbour-has-got))."),
    reason: text("Reason of its exception; null without one.").nullable(),
    reply: text("What the other side said.").nullable(),
    code: number("Its reply code.").nullable(),
    queueId: text("The relay's name for the mail.").nullable(),
    tries: count("Failed attempts so far."),
    next: time("When it is tried next.").nullable(),
  })
  .meta({ id: "Stage" });

export const journeySchema = z
  .strictObject({
    seq: count("Number of the update."),
    hash: text("Its hash: an MD5 over its packets in canonical order."),
    fingerprint: text("Fingerprint of its key; empty if it was forgotten."),
    size: count("Bytes of the body."),
    received: time("When it came."),
    from: text("The neighbour that sent it; null if it was no neighbour.").nullable(),
    transport: z
      .enum(["mail", "kx", "hkp", "repair", "import", "recon"])
      .describe("The way in by which it came."),
    messageId: text("Message-ID of the mail that brought it.").nullable(),
    body: flag("Whether the body is still kept."),
    trail: z.array(z.string()).describe("Mail addresses of the sites that have it."),
    bridgeFrom: count(
      "In observe mode: the first update that is mailed after a switch.",
    ).nullable(),
    removal: z
      .strictObject({
        what: z.enum(["blocked", "forgotten"]).describe("The operator's order."),
        reason: text("The reason that the operator gave."),
        since: time("Since when; null for a block of the list.").nullable(),
      })
      .nullable()
      .describe("Why it is no longer sent; null if it is."),
    stages: z.array(stageSchema).describe("Its state at every neighbour."),
  })
  .meta({ id: "Journey" });
