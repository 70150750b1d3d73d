/**
 * What sites, strangers and operators do to the lanes of a world, each kind at its own pace until
 * `stop`: sites are down or get another name, strangers and neighbours claim that others have an
 * update, somebody hands the same key in again and again, operators block, skip, retry and forget.
 * A neighbour claims only what must not count: that a site has an update which that site has not
 * taken at the first try.
 */
import type { Lane } from "../../src/delivery/lane.js";
import type { ExceptionState } from "../../src/log/exceptions.js";
import { readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import type { Dice } from "./dice.js";
import { type Gateway, renamed } from "./gateway.js";
import type { LegacySite } from "./legacy.js";
import { armored } from "./material.js";
import { TROUBLE, type Trouble } from "./options.js";
import type { Process } from "./process.js";
import type { EventQueue } from "./queue.js";
import type { Trace } from "./trace.js";

const MINUTE_MS = 60_000;
/** How often one key comes again, and how far apart. */
const REPEATS = 60;
const REPEAT_MS = 5000;
const STATES: readonly ExceptionState[] = ["waiting", "refused", "withheld"];

export interface TroublePlan {
  /** Mean time between two of a kind, milliseconds. */
  readonly every: Partial<Record<Trouble, number>>;
  /** The longest that a site is down or a key blocked. */
  readonly outageMs: number;
}

/** Those to whom it happens. */
export interface Scene {
  readonly queue: EventQueue;
  readonly trace: Trace;
  readonly gateways: readonly Gateway[];
  /** Sites, and the keyservers beside the gateways. */
  readonly sites: readonly LegacySite[];
  readonly locals: readonly LegacySite[];
  /** A stranger hands something in, with a trail that names these sites. */
  bring(where: Gateway, trail: readonly string[]): void;
  /** Keys that some gateway did not carry for a while: what came meanwhile may be missing. */
  readonly uncarried: Set<string>;
  /** Each key with all that was made of it. */
  wholes(): readonly TransferableKey[];
}

export class Troubles {
  /** Keys that some operator has removed. */
  readonly forgotten = new Set<string>();
  readonly #plan: TroublePlan;
  readonly #scene: Scene;
  readonly #dice: Dice;
  readonly #blocked = new Map<Gateway, Set<Fingerprint>>();
  #renames = 0;
  #isOver = false;

  constructor(plan: TroublePlan, scene: Scene, dice: Dice) {
    this.#plan = plan;
    this.#scene = scene;
    this.#dice = dice;
  }

  start(): void {
    for (const kind of TROUBLE) {
      const every = this.#plan.every[kind];
      if (every !== undefined) this.#next(kind, every);
    }
  }

  /** Nothing more happens: sites are up, and no key is blocked. */
  stop(): void {
    this.#isOver = true;
    for (const site of [...this.#scene.sites, ...this.#scene.locals]) site.isDown = false;
    for (const [gateway, keys] of this.#blocked) {
      for (const key of keys) this.#unblock(gateway, key);
    }
  }

  /** Ends what could not be ended while a gateway was away, and blocks that a restored log has. */
  finish(): void {
    for (const gateway of this.#scene.gateways) {
      const keys = new Set(this.#blocked.get(gateway));
      gateway.operate(({ log }) => {
        for (const { fingerprint } of log.removals.blocks()) keys.add(fingerprint);
      });
      for (const key of keys) this.#unblock(gateway, key);
    }
  }

  #next(kind: Trouble, every: number): void {
    this.#scene.queue.after(this.#dice.wait(every), kind, () => {
      if (this.#isOver) return;
      if (this.#happens(kind)) this.#scene.trace.sometimes(`trouble: ${kind}`);
      this.#next(kind, every);
    });
  }

  /** False when there is nothing to which it could happen. */
  #happens(kind: Trouble): boolean {
    const gateway = this.#dice.pick(this.#scene.gateways);
    switch (kind) {
      case "site down":
        return this.#putDown();
      case "site renamed":
        return this.#rename(gateway);
      case "stranger claims":
        this.#scene.bring(
          gateway,
          this.#scene.sites.map(({ address }) => address),
        );
        return true;
      case "neighbour claims":
        return this.#claim(gateway);
      case "repeats":
        return this.#repeat(gateway);
      case "block":
        return this.#block(gateway);
      case "skip":
        return this.#order(gateway, (lane, process) => {
          const { first } = process.log.pending.of(lane.status());
          return first !== undefined && lane.skip(first);
        });
      case "retry":
        return this.#order(gateway, (lane) => {
          return lane.reopen(this.#dice.chance(0.5) ? "all" : undefined) > 0;
        });
      case "forget":
        return this.#forget(gateway);
      default:
        return kind satisfies never;
    }
  }

  #putDown(): boolean {
    const { sites, locals, queue } = this.#scene;
    const all = [...sites, ...locals].filter(({ kind }) => kind !== "hockeypuck");
    if (all.length === 0) return false;
    const site = this.#dice.pick(all);
    if (site.isDown) return false;
    site.isDown = true;
    queue.after(this.#outage(), `${site.name} is up`, () => {
      site.isDown = false;
    });
    return true;
  }

  #rename(gateway: Gateway): boolean {
    const { sites } = gateway.settings;
    // All nodes of a site would have to be given the new configuration at once.
    if (sites.length === 0 || !gateway.isUp || gateway.site !== undefined) return false;
    this.#renames += 1;
    const { name } = this.#dice.pick(sites);
    gateway.rename(name, renamed(name, this.#renames));
    return true;
  }

  /** A neighbour has an update, and claims that a site has it which did not take it. */
  #claim(gateway: Gateway): boolean {
    let found: { readonly seq: Seq; readonly address: string } | undefined;
    let body: Uint8Array | undefined;
    gateway.operate(({ log, lanes }) => {
      const candidates = lanes.flatMap((lane) => {
        const { name, address, attempt, lastErrorAt } = lane.status();
        if (address === undefined) return [];
        const rows = STATES.flatMap((state) => log.exceptions.list(name, state, 20));
        const next = log.pending.of({ name, address }).first;
        const failing = attempt > 0 && lastErrorAt > 0 && next !== undefined ? [next] : [];
        return [...rows.map(({ seq }) => seq), ...failing].map((seq) => ({ seq, address }));
      });
      if (candidates.length === 0) return;
      found = this.#dice.pick(candidates);
      body = log.body(found.seq);
    });
    const [key] = body === undefined ? [] : readKeys(body);
    const { address } = found ?? {};
    const claimers = this.#scene.sites.filter(
      (site) =>
        site.address !== address &&
        gateway.settings.senders.some(({ mail }) => mail === site.address),
    );
    if (key === undefined || key instanceof Error || claimers.length === 0) return false;
    // A server mails what it holds: a pksd that takes no key without a user id has no mail with it.
    const first = this.#dice.pick(claimers);
    const claimer = [first, ...claimers].find((one) => one.learn(key));
    if (claimer === undefined) return false;
    gateway.deliver(claimer.claim(key, gateway.address, address ?? ""), () => {});
    return true;
  }

  /** Somebody hands one key in over and over. */
  #repeat(gateway: Gateway): boolean {
    const wholes = this.#scene.wholes();
    if (wholes.length === 0) return false;
    const armor = armored(this.#dice.pick(wholes));
    for (let n = 0; n < REPEATS; n += 1) {
      this.#scene.queue.after(n * REPEAT_MS, "a key comes again", () => {
        if (!this.#isOver) gateway.submit(armor, () => {});
      });
    }
    return true;
  }

  #block(gateway: Gateway): boolean {
    const fingerprint = this.#someKey();
    if (fingerprint === undefined) return false;
    const block = { reason: "test", until: undefined, allowRevocation: false };
    if (!gateway.isUp) return false;
    this.#scene.uncarried.add(fingerprint);
    const isDone = gateway.operate(({ log }) => {
      log.removals.setBlock(fingerprint, block, gateway.now());
    });
    if (!isDone) return false;
    const keys = this.#blocked.get(gateway) ?? new Set();
    this.#blocked.set(gateway, keys.add(fingerprint));
    this.#scene.queue.after(this.#outage(), `${gateway.name} unblocks`, () => {
      this.#unblock(gateway, fingerprint);
    });
    return true;
  }

  #unblock(gateway: Gateway, fingerprint: Fingerprint): void {
    gateway.operate(({ log }) => {
      log.removals.unblock(fingerprint, gateway.now());
      this.#blocked.get(gateway)?.delete(fingerprint);
    });
  }

  #forget(gateway: Gateway): boolean {
    const fingerprint = this.#someKey();
    if (fingerprint === undefined) return false;
    this.forgotten.add(fingerprint);
    this.#scene.uncarried.add(fingerprint);
    return gateway.operate(({ log }) => {
      log.removals.forget(fingerprint, "test", gateway.now(), 0);
    });
  }

  #order(gateway: Gateway, give: (lane: Lane, process: Process) => boolean): boolean {
    let isDone = false;
    gateway.operate((process) => {
      const { lanes } = process;
      if (lanes.length === 0) return;
      process.order(this.#dice.pick(lanes).name, (lane) => {
        isDone = give(lane, process);
      });
    });
    return isDone;
  }

  #someKey(): Fingerprint | undefined {
    const wholes = this.#scene.wholes();
    return wholes.length === 0 ? undefined : this.#dice.pick(wholes).fingerprint;
  }

  #outage(): number {
    return this.#dice.span(MINUTE_MS, this.#plan.outageMs);
  }
}
