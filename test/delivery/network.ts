/**
 * A gateway between model keyservers, for the property of `completeness.test.ts`: the real intake,
 * policy, log, lanes and delivery methods, a clock that the test moves, and sites that take,
 * refuse and fail as they are told. A site of mail is a relay that answers in nodemailer's terms; a
 * site of HKP answers over a real socket, as Hockeypuck 2.3.3 and SKS 1.1.6 do. Nothing waits.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../../src/clock.js";
import { type DeliveryMethod, RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane, type LaneRun, type LaneStep } from "../../src/delivery/lane.js";
import { HkpDelivery } from "../../src/delivery/local-hkp.js";
import { type Outcome, outcomeOf } from "../../src/delivery/relay.js";
import { Refusal } from "../../src/errors.js";
import { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake, type Submission } from "../../src/intake/key-intake.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { BounceVerdict } from "../../src/mail/delivery-report.js";
import { verpSender } from "../../src/mail/verp.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { Policy } from "../../src/policy.js";
import type { ServerKind } from "../../src/server-kinds.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { DEFAULT_POLICY } from "../config/example.js";
import { Recorder } from "../ingress/door.js";
import { bytes, delivered } from "../mail/fixtures.js";
import { fingerprintOf, keysOf, walk } from "../mail/oracles/packets.js";
import { firstBlock } from "../mail/oracles/raw-mail.js";
import { type Holdings, hockeypuckStore, Ring } from "../mail/oracles/stores.js";

const EPOCH_MS = Date.UTC(2026, 10, 29);
const GATEWAY = "pgp-public-keys@kx.example.org";
const CONTACT = "keymaster@example.org";
const BOUNCE = "pgp-bounces@kx.example.org";
const RETRY = [60_000, 300_000, 300_000, 3_600_000] as const;

/**
 * How a site is: as it should be; not there; there and saying 421; breaking off after the data,
 * without the mail or with it; failing on everything that it reads; refusing all that it reads;
 * failing on the keys of `failing`; taking mails and sending them back, because of the address or
 * because of what they hold.
 */
export const MOODS = [
  ...["well", "down", "busy", "drops", "hides", "full", "sick", "picky"],
  ...["bounces", "returns"],
];
export type Mood = (typeof MOODS)[number];

/** What a site says of a mail that it sends back. */
const BACK: Readonly<Record<Mood, BounceVerdict>> = {
  bounces: { kind: "site", status: "5.1.1", code: 550, words: "No such user" },
  returns: { kind: "update", status: "5.6.0", code: 554, words: "Bad content" },
};

type Ware = "pksd" | "sks" | "onak" | "hockeypuck";

export interface SiteOptions {
  readonly ware: Ware;
  readonly over: "mail" | "hkp";
  /** Whether the gateway is told what it is. */
  readonly isKnown: boolean;
  /** Keys that it refuses for good. */
  readonly banned?: readonly string[];
  readonly maxBytes?: number;
}

/** What came of keys at a site, before a transport says it in its own words. */
type Verdict = "taken" | "gone" | "busy" | "broken off" | "failed" | "refused";

/** A keyserver and the lane to it. */
export class ModelSite {
  readonly options: SiteOptions;
  readonly address: string;
  /** Its name in the config, which may change. */
  name: string;
  mood: Mood = "well";
  /** Keys on which it fails while it is "picky". */
  failing: readonly string[] = [];
  /** Whether it refused what it might have taken, so that somebody has to help it. */
  wasHurt = false;
  /** Senders of mails that it will send back, and what it says of them. */
  readonly backs: { readonly sender: string; readonly verdict: BounceVerdict }[] = [];
  readonly #ring: Ring | undefined;
  readonly #hockeypucks = new Map<string, ReturnType<typeof hockeypuckStore>>();

  constructor(name: string, options: SiteOptions) {
    this.name = name;
    this.options = options;
    this.address = `pgp-public-keys@${name}.example.net`;
    const { ware } = options;
    this.#ring = ware === "hockeypuck" ? undefined : new Ring(ware);
  }

  held(fingerprint: string): Holdings {
    const store = this.#hockeypucks.get(fingerprint);
    return this.#ring?.held(fingerprint) ?? store?.held ?? new Map();
  }

  /** A mail or an armor is there: what it makes of it in its mood. */
  receive(raw: Uint8Array, fingerprints: readonly string[]): Verdict {
    const { banned = [] } = this.options;
    const isOneOf = (some: readonly string[]) => fingerprints.some((one) => some.includes(one));
    if (this.mood === "down") return "gone";
    if (this.mood === "busy") return "busy";
    if (this.mood === "drops") return "broken off";
    if (this.mood === "full" || (this.mood === "picky" && isOneOf(this.failing))) return "failed";
    if (this.mood === "sick" || isOneOf(banned)) {
      this.wasHurt ||= this.mood === "sick";
      return "refused";
    }
    if (this.mood in BACK && this.options.over === "mail") return "taken";
    this.take(raw);
    return this.mood === "hides" ? "broken off" : "taken";
  }

  /** It got a key by another way. */
  learn(key: TransferableKey): void {
    this.take(bytes(encodeArmor(encodeKey(key))));
  }

  take(raw: Uint8Array): void {
    if (this.#ring !== undefined) {
      this.#ring.take(raw);
      return;
    }
    for (const key of keysOf(walk(packetsIn(raw)) ?? [])) {
      const fingerprint = fingerprintOf(key);
      const store = this.#hockeypucks.get(fingerprint) ?? hockeypuckStore();
      this.#hockeypucks.set(fingerprint, store);
      store.take(Buffer.concat(key.map((one) => one.bytes)));
    }
  }
}

/** A lane, what it waits for, and until when. */
interface Driven {
  readonly site: ModelSite;
  readonly lane: Lane;
  readonly method: DeliveryMethod;
  readonly run: LaneRun;
  step: LaneStep | undefined;
  until: number;
}

export class Network {
  readonly log = UpdateLog.open(":memory:");
  readonly diagnostics = new Recorder();
  readonly sites: readonly ModelSite[];
  readonly #policy: Policy;
  readonly #intake: KeyIntake;
  readonly #hkp: HkpSites;
  #lanes: Driven[] = [];
  #ms = 0;

  constructor(hkp: HkpSites, sites: readonly ModelSite[]) {
    this.#hkp = hkp;
    this.sites = sites;
    const { log, clock, diagnostics } = this;
    this.#policy = new Policy(DEFAULT_POLICY, log, clock);
    const { judge, pruning } = this.#policy;
    const rules = { judge: judge.bind(this.#policy), pruning };
    this.#intake = new KeyIntake({ log, appends: new GroupCommit(log), clock, diagnostics }, rules);
    log.onAppend(() => {
      for (const one of this.#lanes) {
        if (one.step?.type === "wait" && one.lane.readsOn) one.until = this.#ms;
      }
    });
    this.restart();
  }

  get clock(): Clock {
    return { now: () => EPOCH_MS + this.#ms, monotonic: () => this.#ms, random: () => 0 };
  }

  /** Ends all lanes and begins new ones, as a restart or a new configuration does. */
  restart(): void {
    for (const { lane } of this.#lanes) lane.stop();
    this.#lanes = this.sites.map((site) => {
      const method = this.#methodOf(site);
      const { log, clock, diagnostics } = this;
      const { name, address } = site;
      const names = this.sites.map((one) => one.name);
      const settings = { name, address, names, retry: [...RETRY] as const, observing: false };
      const lane = new Lane(
        { log, method, clock, diagnostics },
        { ...settings, rules: this.#policy },
      );
      return { site, lane, method, run: lane.run(), step: undefined, until: this.#ms };
    });
  }

  #methodOf(site: ModelSite): DeliveryMethod {
    const { ware, over, isKnown, maxBytes = 128_000 } = site.options;
    const kind: ServerKind | undefined = isKnown ? ware : undefined;
    if (over === "hkp") return new HkpDelivery(this.#hkp.url(site), GATEWAY, undefined, kind);
    const envelope = { to: site.address, from: CONTACT, site: GATEWAY, maxBytes, kind };
    const { secret } = this.log.bounces;
    const sender = (first: Seq, last: Seq) => verpSender(BOUNCE, site.name, first, last, secret);
    return new RelayDelivery(envelope, sender, {
      deliver: async (raw, from) => mailOutcome(site, raw, from),
      close: () => {},
    });
  }

  /** Hands keys in; the fingerprints of those that were refused as `Refusal`. */
  async give(key: TransferableKey, from: Partial<Submission> = {}): Promise<void> {
    const armor = [bytes(encodeArmor(encodeKey(key)))];
    const origin = { sender: undefined, trail: [], messageId: undefined, bytes: 0 };
    try {
      await this.#intake.take({ armor, ...origin, ...from });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
    await this.settle();
  }

  lane(site: ModelSite): Lane {
    const found = this.#lanes.find((one) => one.site === site);
    if (found === undefined) throw new Error("a site without a lane");
    return found.lane;
  }

  /** Ends the wait of a site's lane, as the driver does after an order. */
  wake(site: ModelSite): void {
    for (const one of this.#lanes) if (one.site === site) one.until = this.#ms;
  }

  block(fingerprint: string): void {
    const block = { reason: "asked", until: undefined, allowRevocation: false };
    this.log.removals.setBlock(fingerprint as Fingerprint, block, this.clock.now());
  }

  unblock(fingerprint: string): void {
    this.log.removals.unblock(fingerprint as Fingerprint, this.clock.now());
  }

  /** Lets every lane do what it can do now. */
  async settle(): Promise<void> {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const one of this.#lanes) {
        if (one.step?.type === "wait" && one.until > this.#ms) continue;
        const { step } = one;
        const outcome = step?.type === "deliver" ? await step.part.deliver() : undefined;
        const next = one.run.next(outcome);
        one.step = next.done === true ? undefined : next.value;
        one.until = one.step?.type === "wait" ? this.#ms + one.step.ms : this.#ms;
        isBusy = true;
      }
    }
  }

  /** Lets so much time pass. Mails that were taken to be sent back come back in it. */
  async pass(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await this.#sendBack();
    for (;;) {
      await this.settle();
      const next = Math.min(...this.#lanes.map(({ until }) => until));
      if (next > end) break;
      this.#ms = Math.max(this.#ms, Math.ceil(next));
      await this.#sendBack();
    }
    this.#ms = end;
  }

  async #sendBack(): Promise<void> {
    const { log, clock, diagnostics } = this;
    const neighbours = this.sites.map(({ name }) => ({ name }));
    const intake = new BounceIntake({ log, clock, diagnostics }, { bounce: BOUNCE, neighbours });
    for (const site of this.sites) {
      for (const { sender, verdict } of site.backs.splice(0)) intake.note(sender, verdict);
    }
    await this.settle();
  }

  close(): void {
    for (const site of this.sites) this.#hkp.drop(site);
    this.log.close();
  }
}

function mailOutcome(site: ModelSite, raw: Uint8Array, from: string): Outcome {
  const mail = delivered(raw);
  const found = keysOf(walk(packetsIn(mail)) ?? []).map(fingerprintOf);
  const failure = (words: string, code: string, responseCode?: number, isInData = false) =>
    outcomeOf(Object.assign(new Error(words), { code, responseCode, command: "DATA", isInData }));
  switch (site.receive(mail, found)) {
    case "taken": {
      const verdict = BACK[site.mood];
      if (verdict !== undefined) {
        site.wasHurt = true;
        site.backs.push({ sender: from, verdict });
      }
      return { kind: "delivered", how: "relayed", reply: "250 2.0.0 Ok" };
    }
    case "gone":
      return failure("connect ECONNREFUSED", "ESOCKET");
    case "busy":
      return failure("421 4.3.2 Too busy", "EMESSAGE", 421);
    case "broken off":
      return failure("Connection closed", "ECONNECTION", undefined, true);
    case "failed":
      return failure("451 4.3.0 Scan failed", "EMESSAGE", 451);
    default:
      return failure("554 5.7.1 Refused", "EMESSAGE", 554);
  }
}

/** The packets of the first armor block. */
function packetsIn(text: Uint8Array): Uint8Array {
  return firstBlock(Buffer.from(text).toString("latin1"))?.packets ?? new Uint8Array();
}

/** One HTTP server for all sites that speak HKP, each under a path of its own. */
export class HkpSites {
  readonly #sites = new Map<string, ModelSite>();
  readonly #server: Server;
  #count = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      void bodyOf(request).then((body) => this.#answer(request, body, response));
    });
  }

  static async start(): Promise<HkpSites> {
    const sites = new HkpSites();
    await new Promise<void>((resolve) => sites.#server.listen(0, "127.0.0.1", resolve));
    return sites;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** The base URL of a site. */
  url(site: ModelSite): string {
    this.#count += 1;
    this.#sites.set(`${this.#count}`, site);
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${this.#count}`;
  }

  drop(site: ModelSite): void {
    for (const [path, one] of this.#sites) if (one === site) this.#sites.delete(path);
  }

  #answer({ url = "", method }: IncomingMessage, body: string, response: ServerResponse): void {
    const site = this.#sites.get(url.split("/")[1] ?? "");
    const fingerprint = /search=0x(\w+)/.exec(url)?.[1] ?? "";
    if (site === undefined || site.mood === "down") response.destroy();
    else if (method === "POST") add(site, new URLSearchParams(body).get("keytext") ?? "", response);
    else {
      const key = keyOf(site.held(fingerprint));
      if (key === undefined) response.writeHead(404).end("Not found");
      else response.end(encodeArmor(encodeKey(key)));
    }
  }
}

/** What POST /pks/add does. */
function add(site: ModelSite, keytext: string, response: ServerResponse): void {
  const armor = bytes(keytext);
  const [key = []] = keysOf(walk(packetsIn(armor)) ?? []);
  const fingerprint = fingerprintOf(key);
  const before = sizeOf(site.held(fingerprint));
  const verdict = site.receive(armor, [fingerprint]);
  if (verdict === "gone" || verdict === "broken off") response.destroy();
  else if (verdict === "busy") response.writeHead(503).end("busy");
  else if (verdict === "failed") response.writeHead(500).end("out of memory");
  else if (verdict === "refused") response.writeHead(422).end("refused");
  else if (site.options.ware === "hockeypuck") {
    const after = sizeOf(site.held(fingerprint));
    const word = after === before ? "ignored" : before === 0 ? "inserted" : "updated";
    const lists = { inserted: null, updated: null, ignored: null };
    response.end(JSON.stringify({ ...lists, [word]: [`rsa4096/${fingerprint.toLowerCase()}`] }));
  } else {
    response.end("<html><body>Key block added to key server database.</body></html>");
  }
}

function sizeOf(held: Holdings): number {
  return [...held.values()].reduce((sum, names) => sum + names.size, 0);
}

/** A key made of holdings, as the server shows it. */
export function keyOf(held: Holdings): TransferableKey | undefined {
  const components = [...held].map(([head, names]): Component => {
    const under = [...names].filter((name) => name !== head).map(packetOf);
    return { packet: packetOf(head), signatures: under };
  });
  const primary = components.find(({ packet }) => packet.tag === 6);
  if (primary === undefined) return undefined;
  return assembleKey([primary, ...components.filter((one) => one !== primary)]);
}

function packetOf(name: string) {
  const [tag = "", hex = ""] = name.split(" ");
  return { tag: Number(tag), body: Uint8Array.from(Buffer.from(hex, "hex")) };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
