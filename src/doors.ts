/**
 * Builds, starts and stops the doors of one configuration over one log. This file shows how the
 * rooms are connected; it has no other behaviour. Doors that receive start last and stop in reverse
 * order. Doors that send stop first and together, because they may wait for seconds for servers
 * that do not answer; updates are received meanwhile. Mail and HKP requests under way do not delay
 * the stop either: they end while other doors open.
 */
import { AdminDoor } from "./admin/admin-door.js";
import { hkpStats } from "./admin/hkp-stats.js";
import { OBSERVING, type Orders } from "./admin/orders.js";
import type { Judgement } from "./admit.js";
import type { Clock } from "./clock.js";
import type { Others } from "./cluster/cluster.js";
import type { Leases } from "./cluster/leases.js";
import type { Config, Endpoint } from "./config/config.js";
import { goesByKx, goesByMail } from "./config/paths.js";
import { KeyCompletion } from "./delivery/completion.js";
import type { LaneDriver } from "./delivery/lane-driver.js";
import type { LeasedLane } from "./delivery/leased-lane.js";
import { LOCAL_LANE, LocalDoor } from "./delivery/local-door.js";
import { MailDoor } from "./delivery/mail-door.js";
import { QuestionMailer } from "./delivery/mail-question.js";
import type { Diagnostics } from "./diagnostics.js";
import { ReconDoor } from "./following/recon-door.js";
import { BounceIntake } from "./ingress/bounce-intake.js";
import { HkpDoor } from "./ingress/hkp.js";
import { MailIntake } from "./ingress/mail-intake.js";
import { SmtpDoor } from "./ingress/smtp.js";
import { SpoolDoor } from "./ingress/spool.js";
import type { SystemdSockets } from "./ingress/systemd-sockets.js";
import { AcceptRates } from "./intake/accept-rates.js";
import { GroupCommit } from "./intake/group-commit.js";
import { KeyIntake } from "./intake/key-intake.js";
import { indexPath } from "./log/key-index.js";
import { KeyIndexFile } from "./log/key-index-file.js";
import type { RetentionLimits } from "./log/retention.js";
import type { UpdateLog } from "./log/update-log.js";
import { LogGuard } from "./log-guard.js";
import type { OfferedAgain } from "./peering/offered-again.js";
import { KxDoor } from "./peering/tcp.js";
import { Policy } from "./policy.js";
import { BlockEnds, carryOut, orderOf, REBUILD_BYTES, updatesOf } from "./removal.js";
import { IndexKeeper } from "./repair/index-keeper.js";
import { RepairDoor } from "./repair/repair-door.js";
import { RepairIntake } from "./repair/repair-intake.js";
import { MailAnswers } from "./repair/repair-mail.js";
import { CertificateEnds } from "./status/certificates.js";
import { orderedElsewhere } from "./status/cluster-view.js";
import type { CounterJournal } from "./status/counter-journal.js";
import type { EventCounters } from "./status/event-counters.js";
import { offersOf, type Proofs, peersOf, restoreProofs } from "./status/proofs.js";
import { several } from "./text.js";
import type { Fingerprint, UpdateHash } from "./update.js";
import type { Upkeep } from "./upkeep.js";
import { VERSION } from "./version.js";

/** Where a gateway listens, with the actual numbers for ports that are 0 in the config. */
export interface Listening {
  readonly smtp: readonly Endpoint[];
  readonly hkp: readonly Endpoint[];
  readonly kx: readonly Endpoint[];
  readonly admin: Endpoint | undefined;
}

/** The parts that outlive a reload of the configuration. */
export interface Foundation {
  readonly log: UpdateLog;
  readonly clock: Clock;
  readonly counters: EventCounters;
  readonly counterJournal: CounterJournal;
  readonly proofs: Proofs;
  /** Watches the clock across reloads. */
  readonly upkeep: Upkeep;
  /** Sockets that systemd opened, if it started the gateway. */
  readonly inherited: SystemdSockets | undefined;
  /** The other gateways of the site. */
  readonly others: Others;
  /** The KX peers that the operator paused, also across reloads. */
  readonly pausedPeers: Set<string>;
  /** What is announced to KX peers once more, also across reloads. */
  readonly offered: OfferedAgain;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

export interface Doors {
  readonly listening: Listening;
  /**
   * Closes them; when it resolves no address is listened on. Mails and HKP requests under way may
   * take some seconds more, until `drained`; other doors can open meanwhile.
   */
  stop(): Promise<{ readonly drained: Promise<void> }>;
}

/**
 * Opens all doors of `config`. Throws the system's error if an address cannot be listened on, and
 * `Trouble` if the log fails; the doors that were opened are closed again.
 */
export async function openDoors(config: Config, foundation: Foundation): Promise<Doors> {
  const { log, clock, counters, proofs, upkeep, inherited, others, startedAt } = foundation;
  const stops: (() => unknown)[] = [];
  const senderStops: (() => unknown)[] = [];
  const draining: (Promise<void> | undefined)[] = [];
  const stop = async () => {
    await Promise.all(senderStops.splice(0).map((step) => step()));
    for (const step of stops.splice(0).reverse()) await step();
    return { drained: Promise.all(draining).then(() => {}) };
  };
  try {
    reportIdleNeighbours(config, counters);
    const rules = rulesOf(config, foundation);
    const { outbound } = config;
    const beside = localKeyserver(config);
    const completion = beside && new KeyCompletion(beside.url, log, clock, rules);
    senderStops.push(() => completion?.close());
    const { leases } = others;
    const sending = { log, clock, diagnostics: counters, completion, leases };
    const mailDoor = outbound && new MailDoor(sending, { config, outbound, rules });
    const retention = () => retentionOf(config, mailDoor?.open() ?? []);
    upkeep.start(retention);
    stops.push(() => upkeep.stop());

    // A neighbour that was renamed has its records under the new name since its lane was opened.
    for (const { name } of config.neighbours) {
      if (!proofs.knows(name)) restoreProofs(log, proofs, name);
    }
    mailDoor?.start();
    senderStops.push(() => mailDoor?.stop());
    const { local } = config;
    const localDoor = local && new LocalDoor(sending, { config, local, rules });
    localDoor?.start();
    senderStops.push(() => localDoor?.stop());

    // A neighbour with which another gateway of the site has a KX session is not mailed either.
    senderStops.push(others.onSession((name, isUp) => mailDoor?.session(name, isUp)));
    const session = (name: string, isUp: boolean) => others.session(name, isUp);
    const proven = (name: string, hash: UpdateHash, what: "announced" | "read") =>
      proofs.shown(name, hash, what, clock.now());
    proofs.watch(peersOf(config), offersOf(config, { log, now: clock.now() }));
    const appends = new GroupCommit(log);
    const index = new KeyIndexFile(indexPath(config.log.path));
    stops.push(() => index.close());
    const kxComponents = {
      ...{ log, appends, clock, diagnostics: counters, index, rules, session, proven, leases },
      refresh: () => others.refresh(),
      paused: foundation.pausedPeers,
      offered: foundation.offered,
    };
    const kxDoor = config.kx && new KxDoor(kxComponents, { ...config, kx: config.kx });
    stops.push(() => kxDoor?.stop());
    const kx = (await kxDoor?.start()) ?? [];

    // A neighbour that sends mail or HKP requests is up, so its KX connection is dialled at once.
    const unsubscribe = counters.onReport(({ event, fields: { neighbour, via } }) => {
      const cameIn = (event === "accepted" || event === "duplicate") && via !== "kx";
      if (cameIn && typeof neighbour === "string") kxDoor?.showedLife(neighbour);
    });
    stops.push(unsubscribe);

    const certificates = new CertificateEnds(config);
    let reconDoor: LeasedDoor<ReconDoor> | undefined;
    const sources = {
      config,
      log,
      counters,
      proofs,
      keepCounters: () => foundation.counterJournal.flushForScrape(),
      clock,
      startedAt,
      version: VERSION,
      lanes: () => [...(mailDoor?.status() ?? []), ...(localDoor ? [localDoor.status()] : [])],
      peers: () => kxDoor?.status() ?? [],
      recon: () => reconDoor?.door.status() ?? [],
      certificates: () => certificates.list(),
      upkeep: () => upkeep.status(),
      cluster: () => others.state(),
    };

    const judge: Judgement = (key) => rules.judge(key);
    const rates = new AcceptRates(config.neighbours, clock);
    const { forward } = config.policy;
    const { pruning } = rules;
    const keyComponents = { log, appends, clock, diagnostics: counters };
    const keys = new KeyIntake(keyComponents, { judge, pruning, rates, forward });
    const repairIntake = new RepairIntake({ repairs: log.repairs, keys, clock });
    const mayAsk = outbound !== undefined && config.mode === "bridge";
    const mailer = mayAsk ? new QuestionMailer({ log, clock }, { ...config, outbound }) : undefined;
    const mailQuestion = mailer?.ask.bind(mailer);
    const guard = new LogGuard("repair", clock, counters);
    const unfetched = (key: Fingerprint) => guard.run(() => index.refresh()?.unasked(key));
    const repairComponents = { log, intake: repairIntake, rules, mail: mailQuestion, unfetched };
    const repairDoor = leasedDoor("repair", leases, () => {
      const common = { ...repairComponents, clock, diagnostics: counters };
      return new RepairDoor(common, { ...config, local: beside });
    });
    const delivered = () => localDoor?.status().cursor ?? log.newest();
    const keeper = beside && new IndexKeeper({ log, index, clock, guard, delivered }, beside.url);
    keeper?.start();
    senderStops.push(async () => {
      mailer?.close();
      await Promise.all([repairDoor.stop(), keeper?.stop()]);
    });

    const following = { log, keys, clock, diagnostics: counters };
    reconDoor = leasedDoor("follow", leases, () => {
      return new ReconDoor(following, { ...config, local: followedKeyserver(config) });
    });
    senderStops.push(() => reconDoor?.stop());

    const answers = new MailAnswers({ log, intake: repairIntake }, config);
    const intake = new MailIntake({ keys, diagnostics: counters, answers });
    const { neighbours, smtp: mail, spool, hkp: web } = config;
    const bounce = outbound?.bounce;
    const common = { clock, diagnostics: counters };
    const bounces = new BounceIntake({ log, ...common }, { bounce, neighbours });
    const smtpComponents = { intake, bounces, diagnostics: counters, inherited };
    const smtpDoor = mail && new SmtpDoor(smtpComponents, { ...config, smtp: mail });
    stops.push(() => void draining.push(smtpDoor?.stop()));
    const smtp = (await smtpDoor?.start()) ?? [];
    const spoolDoor = spool && new SpoolDoor({ intake, ...common }, { ...config, spool });
    spoolDoor?.start();
    stops.push(() => spoolDoor?.stop());
    const stats = () => hkpStats(sources);
    const hkpDoor = web && new HkpDoor({ keys, stats, ...common }, { ...config, hkp: web });
    stops.push(() => void draining.push(hkpDoor?.stop()));
    const hkp = (await hkpDoor?.start()) ?? [];

    const blockEnds = new BlockEnds(
      {
        ...{ policy: config.policy, log, clock, diagnostics: counters },
        listAgain: () => void listPeersAgain(kxDoor),
        offerAgain: (keys) => kxDoor?.offerAgain(updatesOf(log, keys)),
      },
      log.retention.newestDate() ?? 0,
    );
    blockEnds.start();
    stops.push(() => blockEnds.stop());

    const lane = (name: string) => mailDoor?.lane(name) ?? localDoor?.lane(name);
    const orders = ordersFor(lane, kxDoor, () => repairDoor.door, config, foundation);
    const adminDoor = new AdminDoor({ sources, orders, diagnostics: counters });
    stops.push(() => adminDoor.stop());
    const admin = await adminDoor.start();
    for (const name of inherited?.idle ?? []) counters.report("idle-socket", { name });
    return { listening: { smtp, hkp, kx, admin }, stop };
  } catch (error) {
    await (await stop()).drained;
    throw error;
  }
}

/** A door that only one gateway of the site runs. */
interface LeasedDoor<T> {
  /** The door, which works while this gateway has the lease. */
  readonly door: T;
  stop(): Promise<void>;
}

/** Starts the door that `build` makes whenever this gateway has the lease. Throws `Trouble`. */
function leasedDoor<T extends { start(): void; stop(): Promise<void> }>(
  lease: string,
  leases: Leases,
  build: () => T,
): LeasedDoor<T> {
  let door = build();
  let ended = Promise.resolve();
  const release = leases.ask(lease, {
    take: () => door.start(),
    lose: () => {
      ended = Promise.all([ended, door.stop()]).then(() => {});
      door = build();
    },
  });
  return {
    get door() {
      return door;
    },
    async stop() {
      await Promise.all([ended, door.stop()]);
      release();
    },
  };
}

/** The policy over the log. With `new_keys = false` the keys of the log are the known ones. */
function rulesOf({ policy }: Config, { log, clock, counters }: Foundation): Policy {
  const isClosed = !policy.newKeys && policy.carried === undefined;
  if (isClosed && log.removals.adopt() === 0) counters.report("takes-nothing", {});
  return new Policy(policy, log, clock);
}

/** The answer to an order that the log could not store. */
const NOT_STORED = "The log cannot store this now; a restart would forget it.";

/** The operator's orders; the door that an order concerns carries it out. */
function ordersFor(
  laneOf: (name: string) => LeasedLane | undefined,
  kxDoor: KxDoor | undefined,
  repairDoor: () => RepairDoor,
  { policy, mode, neighbours }: Config,
  { log, counters, clock, others }: Foundation,
): Orders {
  const observing = mode === "observe";
  const lane = (name: string) => laneOf(name)?.driver;
  /** The answer to an order for what another gateway of the site does. */
  const elsewhere = (name: string) => {
    const site = laneOf(name);
    return notHere(name, site && site.driver !== undefined);
  };
  /** The same for an order that only the KX connection concerns. */
  const connectedElsewhere = (name: string) => notHere(name, undefined);
  const notHere = (name: string, hasLane: boolean | undefined) => {
    const state = others.state();
    if (state === undefined) return undefined;
    const peer = kxDoor?.status().find((one) => one.name === name);
    const words = orderedElsewhere(state, name, { lane: hasLane, kx: peer?.connected });
    return words === undefined ? undefined : said(false, words);
  };
  const isAskedByMail = (name: string) =>
    neighbours.some((one) => one.name === name && one.repair?.type === "mail");
  const said = (done: boolean, words: string) => ({ done, words });
  const nobody = (name: string) =>
    said(false, `Nothing is sent to ${name}: it has neither a mail path nor a KX connection.`);
  return {
    pause(name) {
      const other = elsewhere(name);
      if (other !== undefined) return other;
      const site = lane(name);
      site?.pause();
      const isPeer = kxDoor?.pause(name) ?? false;
      if (site === undefined && !isPeer) return nobody(name);
      const end = isPeer ? " A restart of the gateway ends the pause of KX." : "";
      return said(true, `${name} is paused. Its updates are kept.${end}`);
    },
    resume(name) {
      const other = elsewhere(name);
      if (other !== undefined) return other;
      const site = lane(name);
      site?.resume();
      const isDialled = kxDoor?.resume(name);
      if (site === undefined && isDialled === undefined) return nobody(name);
      return said(true, `${name} is resumed${isDialled ? " and dialled now" : ""}.`);
    },
    async backfill(name, days) {
      const other = connectedElsewhere(name);
      if (other !== undefined) return other;
      const isStored = await kxDoor?.backfill(name);
      const byMail = isStored === undefined && repairDoor().askForChanges(name, days);
      const via = byMail ? "mail" : isStored === undefined ? undefined : "kx";
      if (via === undefined) {
        if (observing && isAskedByMail(name)) return said(false, OBSERVING);
        const why = `${name} is not a KX peer and has no repair = "mail"`;
        const remedy = 'If it runs pksd, set repair = "mail" in its [[peer]]';
        return said(false, `${why}. ${remedy}; HKP has no list of changes.`);
      }
      counters.report("backfill", { neighbour: name, via, days });
      const isThere = kxDoor?.status().some((peer) => peer.name === name && peer.connected);
      const when = isThere ? "now" : "when it connects";
      const lost = isStored ? "" : ` ${NOT_STORED}`;
      const kx = `${name} is asked by KX for all its announcements, ${when}.${lost}`;
      const mail = `${name} is asked by mail for its changes of ${days} days.`;
      return { ...said(true, via === "kx" ? kx : mail), via };
    },
    reconcile(name, isDryRun) {
      const other = connectedElsewhere(name);
      if (other !== undefined) return other;
      const fault = kxDoor === undefined ? "KX is off." : kxDoor.reconcile(name, isDryRun);
      if (fault !== undefined) return said(false, fault);
      return said(true, `The keys of ${name} are compared with those of this site.`);
    },
    retry(name, which) {
      const other = elsewhere(name);
      if (other !== undefined) return other;
      const site = lane(name);
      if (which !== undefined) {
        return observing && site ? said(false, OBSERVING) : retryExceptions(name, site, which);
      }
      const peer = kxDoor?.status().find((one) => one.name === name);
      if (site === undefined && peer === undefined) return nobody(name);
      if (site?.status().isPaused || peer?.isPaused) {
        return said(false, `${name} is paused. Resume it first.`);
      }
      const isDialled = kxDoor?.dialNow(name) === true;
      const isMailed = site?.isOpen === true && !observing;
      const isUnderWay = isMailed && site.isDelivering;
      if (isMailed) {
        site.reopen();
        site.resume();
      }
      if (isUnderWay) {
        const also = isDialled ? ", and KX is dialled now" : "";
        return said(true, `A delivery to ${name} is under way${also}.`);
      }
      if (isDialled)
        return said(true, `${name} is dialled now${isMailed ? ", and mail is retried" : ""}.`);
      if (isMailed) return said(true, `Delivery to ${name} is retried now.`);
      if (observing && peer === undefined) return said(false, OBSERVING);
      if (peer?.connected)
        return said(false, `${name} is connected by KX; nothing waits for a retry.`);
      return said(false, `${name} is not connected by KX; it must dial this gateway.`);
    },
    skip(name, seq) {
      const other = elsewhere(name);
      if (other !== undefined) return other;
      const site = lane(name);
      if (site === undefined) return nobody(name);
      if (site.skip(seq)) return said(true, `Update ${seq} is given up for ${name}.`);
      const why = "does not wait there for a retry, or it is being sent just now";
      return said(false, `Update ${seq} is not the next one for ${name} and ${why}.`);
    },
    async remove(verb, fingerprint, given) {
      const order = orderOf(verb, fingerprint, given, clock.now());
      if (order === undefined) return undefined;
      if ("fault" in order) return said(false, order.fault);
      let listed: Promise<readonly boolean[]> | undefined;
      const obeyed = carryOut(order.value, {
        ...{ policy, log, clock, diagnostics: counters, rebuildBytes: REBUILD_BYTES },
        listAgain: () => {
          listed = listPeersAgain(kxDoor);
        },
      });
      if ((await listed)?.every((isStored) => isStored) ?? true) return obeyed;
      return { ...obeyed, words: `${obeyed.words} ${NOT_STORED}` };
    },
  };
}

/** Lists the announcements of all KX peers again; for each peer, whether the log has the order. */
async function listPeersAgain(kxDoor: KxDoor | undefined): Promise<boolean[]> {
  const orders = (kxDoor?.status() ?? []).map(({ name }) => kxDoor?.backfill(name));
  return (await Promise.all(orders)).filter((isStored) => isStored !== undefined);
}

/** Sends again what a site did not take: one update, or all of them. */
function retryExceptions(name: string, site: LaneDriver | undefined, which: number | "all") {
  if (site === undefined) return { done: false, words: `Nothing is sent to ${name} by mail.` };
  if (site.status().isPaused) return { done: false, words: `${name} is paused. Resume it first.` };
  const count = site.reopen(which);
  site.resume();
  if (count > 0) {
    const later = site.isOpen ? "" : " when mail opens, since KX is in use now";
    return { done: true, words: `${name} is sent ${several(count, "update")} again${later}.` };
  }
  const words =
    which === "all"
      ? `${name} has no exceptions: there is nothing to send again.`
      : `Update ${which} has no exception at ${name}.`;
  return { done: false, words };
}

/** The local keyserver, if it can be asked for keys. */
function localKeyserver({ local }: Config) {
  if (local?.url === undefined) return undefined;
  return { name: LOCAL_LANE, mail: local.address, url: local.url };
}

/** The local keyserver, if it can be one that is followed by recon: an onak or pksd is none. */
function followedKeyserver({ local }: Config) {
  if (local?.type !== "hkp" && local?.type !== "sks") return undefined;
  const url = local.type === "hkp" ? local.url : undefined;
  return { name: LOCAL_LANE, mail: local.address, url };
}

/**
 * The limits of expiry. Bodies are held for lanes that are in use; a neighbour on KX fetches
 * updates before they expire.
 */
export function retentionOf({ log, local }: Config, open: readonly string[]): RetentionLimits {
  const { retainMs, rememberMs, holdBytes: bytes } = log;
  const sites = local === undefined ? open : [...open, LOCAL_LANE];
  return { retainMs, rememberMs, hold: { sites, bytes } };
}

/** Reports configured neighbours to which nothing can be sent; this is not an error. */
function reportIdleNeighbours(config: Config, diagnostics: Diagnostics): void {
  for (const neighbour of config.neighbours) {
    const missing = [
      ...(goesByKx(neighbour) && config.kx === undefined ? ["[kx]"] : []),
      ...(goesByMail(neighbour) && config.outbound === undefined ? ["[outbound]"] : []),
    ];
    if (missing.length === 0) continue;
    const problem = `the config has no ${missing.join(" and no ")} section`;
    diagnostics.report("idle-neighbour", { neighbour: neighbour.name, problem });
  }
}
