/**
 * One world: built from its options, run through its two phases, and judged. Safety: updates come
 * in and faults happen, while the ledgers watch. Liveness: the faults are over, and within bounded
 * time every server has every update that is not too old, and then there is silence: keep-alives,
 * and nothing else. A world that fails says so in its outcome, with the invariant.
 */

import type { Neighbour } from "../../src/config/config.js";
import { EXCEPTION_LIMITS } from "../../src/log/exceptions.js";
import { SHARED_TABLES } from "../../src/log/shared-tables.js";
import { contentsOf } from "../support/copy-contents.js";
import { SimSite } from "./cluster.js";
import { Dice } from "./dice.js";
import { Faults, planOf } from "./faults.js";
import { Gateway, type GatewaySettings, type Surroundings } from "./gateway.js";
import { type Ledger, Violation } from "./ledger.js";
import { addressOf, LegacySite } from "./legacy.js";
import { Liar } from "./liar.js";
import { armored, contentOf, isOfSubkey, Keys, type News } from "./material.js";
import type { GatewayPlan, WorldOptions } from "./options.js";
import { carries } from "./policies.js";
import { type Answer, type MailHost, Postal } from "./postal.js";
import { LOCAL } from "./process.js";
import { EventQueue } from "./queue.js";
import { COPY, DURABLE, Store, type StoreOptions } from "./store.js";
import { type Host, Streams } from "./streams.js";
import { type Counts, Trace } from "./trace.js";
import { type Scene, Troubles } from "./trouble.js";

const MINUTE_MS = 60_000;
/** How long a world is waited for in which that may be in vain. */
const FOOLED_MS = 60 * MINUTE_MS;
/** How often it is looked whether all have everything. */
const LOOK_MS = 30_000;
/**
 * What liars have invented, or a lost disk had under a number that now means something else, is
 * asked for again after half an hour at most, and hundreds of them take some hours.
 */
const PHANTOM_PAUSE_MS = 32 * MINUTE_MS;
const PHANTOMS_MS = 6 * 60 * MINUTE_MS;
/** The tables that a site shares, and the names of rows that have one. */
const SHARED = Object.keys(SHARED_TABLES);
/** Time for the last echoes. */
const REST_MS = 15 * MINUTE_MS;
/** How long it must be silent then. */
const SILENCE_MS = 15 * MINUTE_MS;

/**
 * How often all keys come again, and how far apart: a site is offered a key once an hour, and later
 * where the clock was set back since the last time.
 */
const ROUNDS = 8;
const ROUND_MS = 65 * MINUTE_MS;

export interface Outcome {
  readonly seed: number;
  /** Undefined when all is well. */
  readonly failure: { readonly invariant: string; readonly text: string } | undefined;
  /** Of all that happened. */
  readonly hash: string;
  readonly simulatedMs: number;
  readonly events: number;
  readonly updates: number;
  readonly counts: Counts;
}

export interface RunOptions {
  readonly print?: ((line: string) => void) | undefined;
  /** The disks of a mutant. */
  readonly store?: StoreOptions;
}

/** Runs the world of these options from its beginning to its end. */
export function runWorld(options: WorldOptions, { print, store }: RunOptions = {}): Outcome {
  const trace = new Trace(print);
  const world = new World(options, trace, store ?? DURABLE);
  let failure: Outcome["failure"];
  try {
    world.run();
  } catch (error) {
    const isViolation = error instanceof Violation;
    const text = error instanceof Error ? error.message : String(error);
    const where = isViolation || !(error instanceof Error) ? "" : `\n${error.stack}`;
    failure = { invariant: isViolation ? error.invariant : "no bug", text: `${text}${where}` };
    trace.line(world.now, `FAILED: ${text}`);
  }
  world.close();
  const { seed } = options;
  const { events, updates, now: simulatedMs } = world;
  const hash = trace.digest();
  return { seed, failure, hash, simulatedMs, events, updates, counts: trace.counts };
}

/** A server that gets updates from gateways. */
interface Target {
  readonly site: LegacySite;
  /** What it is called in the reports of its gateways. */
  readonly name: string;
  readonly partners: readonly Gateway[];
  readonly isLocal: boolean;
}

class World {
  readonly #options: WorldOptions;
  readonly #trace: Trace;
  readonly #queue: EventQueue;
  readonly #dice: Dice;
  readonly #streams: Streams;
  readonly #postal: Postal;
  readonly #keys: Keys;
  readonly #gateways: readonly Gateway[];
  readonly #honest: readonly Gateway[];
  readonly #sites: SimSite[] = [];
  readonly #liars: readonly Liar[];
  readonly #legacy: readonly LegacySite[];
  readonly #targets: readonly Target[];
  readonly #troubles: Troubles;
  readonly #uncarried = new Set<string>();
  /** What somebody was told is safe, and when it was handed in. */
  #promised: { readonly news: News; readonly at: number }[] = [];
  events = 0;
  updates = 0;

  constructor(options: WorldOptions, trace: Trace, store: StoreOptions) {
    this.#options = options;
    this.#trace = trace;
    const dice = new Dice(options.seed);
    this.#dice = dice.fork("world");
    const ties = dice.fork("ties");
    const queue = new EventQueue(() => ties.next());
    this.#queue = queue;
    this.#streams = new Streams(queue, dice.fork("streams"), options.streams);
    this.#postal = new Postal(queue, dice.fork("postal"), trace, options.postal);
    const differ = options.gateways.some(({ policy }) => policy !== "all");
    this.#keys = new Keys(dice.fork("keys"), differ);
    const around: Surroundings = {
      queue,
      trace,
      streams: this.#streams,
      postal: this.#postal,
      uncarried: this.#uncarried,
      host: (name) => this.#host(name),
      honest: (name) => this.#ledgerOf(name),
    };
    const liars: Liar[] = [];
    const locals = new Map<string, LegacySite>();
    this.#gateways = options.gateways.flatMap((plan) => {
      const { name, skewMs, lies, local, policy, version, nodes } = plan;
      const own = dice.fork(name);
      const beside = local && new LegacySite(`local-${name}`, "verifier", [], this.#postal, local);
      if (beside !== undefined) locals.set(name, beside);
      const settings = settingsOf(name, { skewMs, policy, version }, options);
      if (nodes > 1) {
        const site = new SimSite(name, queue, own.fork("site"), trace);
        this.#sites.push(site);
        return Array.from({ length: nodes }, (_, n) => {
          const chance = own.fork(`node ${n}`);
          const disk = new Store(chance.fork("disk"), COPY);
          const node = { site, label: `${name}.${n}` };
          return new Gateway(settings, disk, around, chance, beside, node);
        });
      }
      const disk = new Store(own.fork("disk"), store);
      const gateway = new Gateway(settings, disk, around, own, beside);
      if (lies.length > 0) {
        const liar = new Liar(lies, queue, own.fork("lies"), trace, new Keys(own.fork("bogus")));
        liars.push(liar);
        gateway.mangle = (line, _, bytes) => {
          liar.say(bytes, {
            write: (said) => this.#streams.write(line, gateway, said),
            break: () => this.#streams.destroy(line),
          });
        };
      }
      return gateway;
    });
    for (const { name, domain } of this.#gateways) {
      // Its mail comes to any of the nodes that are up.
      const deliver: MailHost["deliver"] = (mail, answer) => this.#node(name).deliver(mail, answer);
      this.#postal.register({ name, domain, deliver });
    }
    this.#liars = liars;
    this.#honest = this.#gateways.filter(({ mangle }) => mangle === undefined);
    this.#legacy = options.legacy.map(({ name, kind, temper }) => {
      const partners = partnersOf(name, options).map((one) => ({ address: addressOf(one) }));
      const site = new LegacySite(name, kind, partners, this.#postal, temper);
      this.#postal.register(site);
      return site;
    });
    const takers = this.#legacy.filter(({ kind }) => kind !== "hockeypuck");
    this.#targets = [
      ...takers.map((site) => {
        const names = partnersOf(site.name, options);
        const partners = firstNodes(this.#honest).filter((one) => names.includes(one.name));
        return { site, name: site.name, partners, isLocal: false };
      }),
      ...firstNodes(this.#honest).flatMap((gateway) => {
        const site = locals.get(gateway.name);
        return site === undefined
          ? []
          : [{ site, name: LOCAL, partners: [gateway], isLocal: true }];
      }),
    ];
    const { trouble: every, isLong } = options;
    const scene: Scene = {
      queue,
      trace,
      gateways: this.#honest,
      sites: this.#legacy,
      locals: [...locals.values()],
      uncarried: this.#uncarried,
      bring: (where, trail) => this.#bring(where, trail),
      wholes: () => this.#keys.wholes(),
    };
    const { outageMs } = planOf({}, isLong);
    this.#troubles = new Troubles({ every, outageMs }, scene, dice.fork("trouble"));
  }

  get now(): number {
    return this.#queue.now;
  }

  close(): void {
    for (const { store } of this.#gateways) store.close();
  }

  run(): void {
    const { faults: every, isLong, safetyMs } = this.#options;
    const args = [this.#queue, this.#streams, this.#gateways, this.#dice, this.#trace] as const;
    const lost = (gateway: Gateway, upInMs?: number) => {
      // A node has lost a copy.
      if (gateway.site !== undefined) return;
      this.#release(gateway);
      const isHonest = this.#honest.includes(gateway);
      if (upInMs !== undefined && isHonest) this.#bringTo(gateway, upInMs);
    };
    const faults = new Faults(planOf(every, isLong), ...args, lost);
    for (const gateway of this.#gateways) {
      this.#queue.after(this.#dice.int(0, 5000), `${gateway.label} starts`, () => gateway.start());
    }
    this.#bringUpdates();
    faults.start();
    this.#troubles.start();
    this.#pass(safetyMs);
    this.#trace.line(this.now, "the faults are over");
    faults.stop();
    this.#troubles.stop();
    for (const { site } of this.#targets) site.relent();
    this.#postal.heal();
    this.#converge();
    if (this.#options.again && this.#options.postal.loses === 0) this.#handInAgain();
    for (const { site } of this.#targets) site.settle();
    for (const liar of this.#liars) liar.isQuiet = true;
    this.#silence();
    for (const site of this.#sites) {
      assertEqual(
        site,
        this.#gateways.filter((one) => one.site === site),
      );
    }
  }

  #host(name: string): Host {
    return this.#node(name);
  }

  /** A gateway, or any of its nodes, of those that are up if there is one. */
  #node(name: string): Gateway {
    const all = this.#gateways.filter((one) => one.name === name);
    const [only] = all;
    if (only === undefined) throw new Error(`no gateway ${name}`);
    if (all.length === 1) return only;
    const up = all.filter(({ isUp, isPaused }) => isUp && !isPaused);
    return this.#dice.pick(up.length === 0 ? all : up);
  }

  /** What is known of a gateway by the outside: of nodes that one knows all that any has shown. */
  #ledgerOf(name: string): Ledger | undefined {
    const ledgers = this.#honest.filter((one) => one.name === name).map(({ ledger }) => ledger);
    const [first] = [...ledgers].sort((a, b) => b.entries.size - a.entries.size);
    return first;
  }

  /** Lets `ms` pass. */
  #pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const event = this.#queue.next(end);
      if (event === undefined) return;
      this.events += 1;
      this.#trace.line(event.time, event.what);
      event.run();
    }
  }

  /** Users hand keys in, at gateways and at sites, at any time of the safety phase. */
  #bringUpdates(): void {
    const { updates, safetyMs } = this.#options;
    let at = 0;
    for (let n = 0; n < updates; n += 1) {
      const isBurst = this.#dice.chance(0.3);
      at = isBurst ? at + this.#dice.int(0, 50) : this.#dice.int(0, safetyMs);
      this.#queue.at(Math.min(at, safetyMs - 1), "a user hands in a key", () => this.#bring());
    }
  }

  /** Its new log grows at once, whether its peers hear of it or not. */
  #bringTo(gateway: Gateway, upInMs: number): void {
    for (let n = this.#dice.int(0, 6); n > 0; n -= 1) {
      const after = upInMs + this.#dice.int(0, 10_000);
      this.#queue.after(after, "a user hands in a key", () => this.#bring(gateway));
    }
  }

  #bring(where?: Gateway, trail: readonly string[] = []): void {
    const news = this.#keys.next();
    const places = [...this.#honest, ...this.#legacy];
    const place = where ?? this.#dice.pick(places);
    const at = this.now;
    this.#trace.line(at, `${news.name} at ${place.name}, ${news.key.fingerprint}`);
    if (place instanceof LegacySite) {
      if (news.isBare && place.kind === "pksd") return;
      const sent = place.submit(news.key);
      if (sent === undefined) return;
      // What it passed on before is promised no more once all gateways have lost it.
      const passedOn = new Set(contentOf(sent));
      this.#promise({ ...news, pieces: news.pieces.filter((one) => passedOn.has(one)) }, at);
      return;
    }
    const taken = (answer: Answer) => {
      if (answer === "taken") this.#promise(news, at);
    };
    place.submit(armored(news.key), taken, trail);
  }

  #promise(news: News, at: number): void {
    this.updates += 1;
    this.#promised.push({ news, at });
  }

  /** What a gateway had taken and had not passed on is gone with its disk. */
  #release(lost: Gateway): void {
    const others = this.#honest.filter((one) => one !== lost);
    this.#promised = this.#promised.filter(({ news }) => {
      return others.some(({ ledger }) => news.pieces.every((piece) => ledger.content.has(piece)));
    });
  }

  // Liveness.

  #converge(): void {
    const healedAt = this.now;
    const { livenessMs } = this.#options;
    let missing: string | undefined;
    while (this.now - healedAt < livenessMs) {
      this.#pass(LOOK_MS);
      missing = this.#missing(healedAt);
      if (missing !== undefined && this.#isFooled() && this.now - healedAt > FOOLED_MS) {
        this.#trace.sometimes("a new log passed for the old one");
        return;
      }
      if (missing === undefined) {
        this.#trace.line(this.now, `all have everything, ${this.now - healedAt} ms later`);
        return;
      }
    }
    throw new Violation(
      "everybody gets everything",
      `${missing}, ${livenessMs} ms after the faults`,
    );
  }

  /**
   * Whether a log that began anew passed for the old one, because it shows the same update under
   * the number of somebody's cursor: a limit of KX/1.0, whose logs have no names. Then nobody can
   * tell what is missing below.
   */
  #isFooled(): boolean {
    return this.#honest.some(({ name, hasSpoken10, ledger: { coincided } }) =>
      this.#honest.some(({ hasSpoken10: isOld, ledger: { passed } }) => {
        const isNamed = !hasSpoken10 && !isOld;
        return !isNamed && [...coincided].some((number) => passed.get(name)?.has(number) === true);
      }),
    );
  }

  /** The first thing that somebody should have and has not. */
  #missing(healedAt: number): string | undefined {
    const youngerThan = healedAt - this.#options.limits.retainMs / 2;
    for (const gateway of this.#honest) {
      const { label: name, ledger, isUp } = gateway;
      if (!isUp) return `${name} is down`;
      for (const from of this.#honest) {
        const { ledger: theirs } = from;
        for (const [hash, at] of theirs.stored) {
          if (at < youngerThan || ledger.holds(hash, theirs)) continue;
          if (theirs.isUncarried(hash)) continue;
          const lacking = ledger.lacking(hash, theirs)?.filter((piece) => {
            return this.#isJoined(from, gateway, piece);
          });
          if (lacking?.length !== 0) return `${name} lacks packets of ${hash}: ${lacking?.[0]}`;
        }
      }
    }
    if (this.#options.postal.loses > 0) return undefined;
    return this.#missingContent(youngerThan, false);
  }

  /** Whether a piece gets from one gateway to another by KX, over gateways that carry it. */
  #isJoined(from: Gateway, to: Gateway, piece: string): boolean {
    const takers = this.#honest.filter(({ settings }) => carries(settings.policy, piece));
    if (takers.length === this.#honest.length) return true;
    const { links } = this.#options;
    const reached = new Set([from]);
    for (const { name } of reached) {
      for (const taker of takers) {
        const isPeer = links.some((link) => link.includes(name) && link.includes(taker.name));
        if (isPeer) reached.add(taker);
      }
    }
    return reached.has(to);
  }

  /** What of some news every gateway carries: the rest may get nowhere. */
  #carried({ pieces }: News): string[] {
    return pieces.filter((piece) => this.#isCarried(piece));
  }

  #isCarried(piece: string): boolean {
    return this.#honest.every(({ settings }) => carries(settings.policy, piece));
  }

  /**
   * The same by what the keys hold, over all servers, since sites have no hashes. `strictly` when
   * all keys came again: then only what a server never takes is missing there.
   */
  #missingContent(youngerThan: number, strictly: boolean): string | undefined {
    const { forgotten } = this.#troubles;
    for (const { news, at } of this.#promised) {
      const { fingerprint } = news.key;
      if (at < youngerThan || forgotten.has(fingerprint)) continue;
      if (!strictly && this.#uncarried.has(fingerprint)) continue;
      for (const { label: name, ledger } of this.#honest) {
        const missing = this.#carried(news).find((piece) => !ledger.content.has(piece));
        if (missing !== undefined) return `${name} lacks ${news.name}: ${missing}`;
      }
      for (const target of this.#targets) {
        if (isExcused(target, fingerprint, strictly)) continue;
        const missing = this.#missingAt(target, news, strictly);
        if (missing !== undefined) return `${target.site.name} lacks ${news.name}: ${missing}`;
      }
    }
    return undefined;
  }

  /** What of some news a server should have by its kind, and has not. */
  #missingAt(target: Target, news: News, strictly: boolean): string | undefined {
    const { site, partners, isLocal } = target;
    const carried = this.#carried(news);
    const missing = site.expected(carried).find((piece) => {
      if (site.content.has(piece)) return false;
      if (site.kind !== "verifier") return true;
      const owns = this.#keys.selfSignaturesFor(piece);
      // Without a self-signature, which some gateway does not carry, it is never taken.
      if (owns.length > 0 && !owns.some((own) => this.#isCarried(own))) return false;
      // A mail that went before the self-signature was known was dropped, and nobody said so. Of
      // the keyserver beside a gateway it is known what it dropped.
      const isComponent = piece.split("/").length === 2 && !isOfSubkey(piece);
      const comesAgain = isComponent || (isLocal && strictly);
      return partners.every(({ ledger: { order } }) => {
        const known = Math.min(...owns.map((own) => order.get(own) ?? Infinity));
        return known < Infinity && (comesAgain || known <= (order.get(piece) ?? 0));
      });
    });
    if (missing !== undefined) return missing;
    const { fingerprint } = news.key;
    // Each mail must have shown the subkey: a single gateway has known it from the beginning.
    const [gateway, ...others] = partners;
    const isSafe = site.sites.length === 1 && others.length === 0 && !site.ownKeys.has(fingerprint);
    if (site.kind !== "pksd" || gateway === undefined || !isSafe) return undefined;
    const { subkeyFirst, former } = gateway.ledger;
    const isKnown = former.length === 0 && subkeyFirst.get(fingerprint) === true;
    return isKnown && !site.hasSubkey(fingerprint) ? "its subkey" : undefined;
  }

  /**
   * Users hand all keys in again, whole, at each gateway, and once more after more than an hour as
   * long as something is missing: then everybody has everything that it ever takes.
   */
  #handInAgain(): void {
    const youngerThan = this.now - this.#options.limits.retainMs / 2;
    let missing: string | undefined;
    for (let round = 0; round < ROUNDS; round += 1) {
      this.#troubles.finish();
      this.#trace.line(this.now, "all keys are handed in again");
      for (const gateway of this.#honest) {
        for (const key of this.#keys.wholes()) gateway.submit(armored(key), () => {});
      }
      const beganAt = this.now;
      while (this.now - beganAt < ROUND_MS) {
        this.#pass(LOOK_MS);
        missing = this.#missingContent(youngerThan, true);
        if (missing === undefined) return;
      }
    }
    throw new Violation("what comes again is delivered", `${missing}, ${ROUNDS} times handed in`);
  }

  /** Nothing moves any more: no mail, no announcement, no update. */
  #silence(): void {
    const restsAt = this.now;
    const isOnItsWay = () =>
      this.#postal.waiting > 0 || this.#honest.some(({ process }) => !process?.lanesAreDone);
    // A slow mail may still be about, or one that is put off: what it brings is known by now.
    // So may what came again of a key that a site has refused: it is offered an hour after that, or
    // as late as an offer may be when the clock was set back meanwhile.
    const { ahead, everyMs } = EXCEPTION_LIMITS;
    const limitMs = this.#options.livenessMs + ahead * everyMs;
    do {
      while (isOnItsWay() && this.now - restsAt < limitMs) this.#pass(LOOK_MS);
      this.#settlePhantoms();
      this.#pass(REST_MS);
    } while (isOnItsWay() && this.now - restsAt < limitMs);
    for (const { wiretap } of this.#honest) wiretap.take();
    this.#pass(SILENCE_MS);
    for (const { label: name, wiretap } of this.#honest) {
      for (const [kind, times] of wiretap.take()) {
        if (kind === "LIST" || kind === "IHAVE") continue;
        throw new Violation("then there is silence", `${name} says ${times} x ${kind}`);
      }
    }
    if (isOnItsWay()) {
      throw new Violation("then there is silence", "mail is on its way");
    }
  }

  /** Waits until nobody has asked for an update for as long as it may take to ask once more. */
  #settlePhantoms(): void {
    const { faults } = this.#options;
    const losses = ["disk lost", "disk lost while hung", "disk restored"] as const;
    const hasLost = losses.map((fault) => faults[fault]).find((every) => every !== undefined);
    if (this.#liars.length === 0 && hasLost === undefined) return;
    const beganAt = this.now;
    let askedAt = beganAt;
    const asks = () => this.#honest.filter(({ wiretap }) => wiretap.take().has("GETUPDATE"));
    while (this.now - askedAt < PHANTOM_PAUSE_MS && this.now - beganAt < PHANTOMS_MS) {
      this.#pass(LOOK_MS);
      if (asks().length > 0) askedAt = this.now;
    }
  }
}

/** Each gateway, and of the nodes of a site the first: they know the same. */
function firstNodes(gateways: readonly Gateway[]): Gateway[] {
  return gateways.filter((one, index) => {
    return gateways.findIndex(({ name }) => name === one.name) === index;
  });
}

/** In the end all copies of a site have the same rows, and those are the rows of its database. */
function assertEqual(site: SimSite, nodes: readonly Gateway[]): void {
  // What is gathered is written, and then followed by the others. Trouble shows in the comparison.
  for (const _ of nodes) {
    for (const node of nodes) {
      node.operate(({ log }) => {
        while (!log.catchUp());
        log.settle();
      });
    }
  }
  for (const { label, process } of nodes) {
    const at = process?.log.copy?.position;
    if (at === site.database.position) continue;
    const text = `${label} is at position ${at} of ${site.database.position}`;
    throw new Violation("copies are equal", text);
  }
  const [first, ...others] = nodes.map(({ label, store }) => ({
    label,
    rows: contentsOf(store.db),
  }));
  for (const table of SHARED) {
    const stored = site.database.of(table).length;
    const own = first?.rows[table]?.length;
    if (own === stored) continue;
    const text = `${first?.label} has ${own} rows of ${table}, the database ${stored}`;
    throw new Violation("copies are equal", text);
  }
  for (const { label, rows } of others) {
    for (const [table, own] of Object.entries(rows)) {
      const theirs = first?.rows[table] ?? [];
      const at = own.findIndex((row, index) => row !== theirs[index]);
      if (at < 0 && own.length === theirs.length) continue;
      const text = `${label} has ${own[at]} in ${table}, ${first?.label} has ${theirs[at]}`;
      throw new Violation("copies are equal", text);
    }
  }
}

/** Whether a server may miss updates of a key, as the operators were told. */
function isExcused({ site, name, partners }: Target, key: string, strictly: boolean): boolean {
  if (!site.everTakes(key)) return true;
  return partners.some(({ ledger: { expired, excused } }) =>
    (strictly ? expired : excused).has(`${name} ${key}`),
  );
}

function settingsOf(
  name: string,
  plan: Pick<GatewayPlan, "policy" | "skewMs" | "version">,
  options: WorldOptions,
): GatewaySettings {
  const dials = new Map<string, boolean>();
  for (const [from, to] of options.links) {
    if (from === name) dials.set(to, true);
    if (to === name && !dials.has(from)) dials.set(from, false);
  }
  const names = partnersOf(name, options);
  const sites = options.legacy.filter((one) => names.includes(one.name));
  const { limits, holds, reconnect, retry, sharedRelay } = options;
  // Hockeypuck takes no mail and is a neighbour that only sends.
  const takers = sites.filter(({ kind }) => kind !== "hockeypuck");
  const hold = holds ? { sites: takers.map((one) => one.name), bytes: 2 ** 30 } : undefined;
  return {
    name,
    ...plan,
    peers: [...dials].map(([peer, dial]) => ({ name: peer, dial })),
    sites: takers.map((one) => neighbour(one.name)),
    senders: sites.map((one) => neighbour(one.name)),
    limits: { ...limits, hold },
    reconnect,
    retry,
    sharedRelay,
  };
}

/** Servers with which `name` exchanges mail. */
function partnersOf(name: string, { mailLinks }: WorldOptions): string[] {
  return mailLinks.flatMap(([a, b]) => (a === name ? [b] : b === name ? [a] : []));
}

function neighbour(name: string): Neighbour {
  return { name, mail: addressOf(name), via: "mail" } as Neighbour;
}
