/**
 * The same over KX: a keyserver's gateway (the second) with five KX neighbours, the first of which
 * is a gateway as well and takes the updates by mail; the other four are scripts that announce, and
 * that fetch each new update from the second, as the mail path sends it to all. Counted are the two
 * gateways, each by itself.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../../src/demo/process.js";
import type { Update } from "../../src/update.js";
import { held } from "../bench/gateways.js";
import { KxPeer } from "../support/kx-peer.js";
import { holdsWithin, pause } from "../support/until.js";
import { ProcessGroup } from "./group.js";
import type { NeighbourName, Repeat } from "./material.js";
import { post } from "./post.js";
import { type Sample, sampleOf } from "./sample.js";
import { Wire } from "./wire.js";

const FIRST = "pgp-public-keys@first.example.org";
const OLD = "pgp-public-keys@old.example.net";
const PATIENCE_MS = 120_000;
/** Offers come one by one and not in a burst that would be read at once. */
const APART_MS = 5;

/** A gateway of the path, with what it costs. */
class Side {
  readonly group: ProcessGroup;
  gateway: GatewayProcess;

  private constructor(group: ProcessGroup, gateway: GatewayProcess) {
    this.group = group;
    this.gateway = gateway;
  }

  static async start(name: string, start: () => Promise<GatewayProcess>): Promise<Side> {
    const group = ProcessGroup.create(name);
    return new Side(group, await group.enter(start));
  }
}

/** How a gateway of the path is started: the program, and the tracer of each if there is one. */
export interface Start {
  readonly program: string;
  readonly under?: (name: string) => readonly string[];
}

export class KxPath {
  readonly #first: Side;
  readonly #second: Side;
  readonly #restart: () => Promise<GatewayProcess>;
  readonly #peers: ReadonlyMap<NeighbourName, KxPeer>;
  /** Mail into the first; KX between the two; KX with the scripts. */
  readonly #wires: {
    readonly mail: Wire;
    readonly between: Wire;
    readonly others: readonly Wire[];
  };
  #sent = 0;

  private constructor(
    sides: { readonly first: Side; readonly second: Side },
    restart: () => Promise<GatewayProcess>,
    peers: ReadonlyMap<NeighbourName, KxPeer>,
    wires: { readonly mail: Wire; readonly between: Wire; readonly others: readonly Wire[] },
  ) {
    this.#first = sides.first;
    this.#second = sides.second;
    this.#restart = restart;
    this.#peers = peers;
    this.#wires = wires;
  }

  static async start(directory: string, { program, under }: Start): Promise<KxPath> {
    const spawn = async (name: string, lines: readonly string[]): Promise<GatewayProcess> => {
      mkdirSync(join(directory, name), { recursive: true });
      const config = join(directory, name, "kxgw.toml");
      const head = [
        `[site]\naddress = "pgp-public-keys@${name}.example.org"`,
        `[log]\npath = "${join(directory, name, "updates.db")}"`,
        '[admin]\nlisten = "127.0.0.1:0"',
        '[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "100ms"',
      ];
      writeFileSync(config, `${[...head, ...lines].join("\n")}\n`);
      const gateway = GatewayProcess.spawn(config, program, under?.(name) ?? []);
      await gateway.event("ready");
      return gateway;
    };
    const first = await Side.start("first", () =>
      spawn("first", [
        '[smtp]\nlisten = ["127.0.0.1:0"]',
        '[[peer]]\nname = "second"\nkx = "127.0.0.1:1"',
        `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
      ]),
    );
    const between = await Wire.start(() => first.gateway.port("kx"));
    const entries = [`[[peer]]\nname = "n1"\nkx = "127.0.0.1:${between.port}"\ndial = true`];
    const [peers, others] = [new Map<NeighbourName, KxPeer>(), [] as Wire[]];
    for (const name of ["n2", "n3", "n4", "n5"] as const) {
      const peer = new KxPeer();
      peer.isFetching = true;
      const port = await peer.start();
      const wire = await Wire.start(() => port);
      peers.set(name, peer);
      others.push(wire);
      entries.push(`[[peer]]\nname = "${name}"\nkx = "127.0.0.1:${wire.port}"\ndial = true`);
    }
    const startSecond = () => spawn("second", entries);
    const second = await Side.start("second", startSecond);
    const mail = await Wire.start(() => first.gateway.port("smtp"));
    const path = new KxPath({ first, second }, startSecond, peers, { mail, between, others });
    await path.#connected();
    return path;
  }

  /**
   * Mails each update to the first gateway, a connection each; resolves when the second has all of
   * it and the scripts have fetched it from there.
   */
  async offerNew(updates: readonly Update[]): Promise<void> {
    await this.mail(updates);
    this.#sent += updates.length;
    // Asking the gateway itself would cost it CPU.
    await this.#until(() =>
      [...this.#peers.values()].every(({ fetched }) => fetched >= this.#sent),
    );
  }

  /** Mails updates to the first gateway and waits for nothing behind it. */
  async mail(updates: readonly Update[]): Promise<void> {
    const { port } = this.#wires.mail;
    for (const [n, update] of updates.entries()) {
      const id = `${this.#sent + n}.${performance.now()}`;
      await post({ port, to: FIRST, from: OLD, id }, update);
    }
  }

  /** The neighbours announce, an offer a message, one by one. */
  async offerKnown(repeats: readonly Repeat[]): Promise<void> {
    for (const { from, update } of repeats) {
      this.#peer(from).announce([update], 1);
      await pause(APART_MS);
    }
    await this.#read();
  }

  /** Each neighbour announces all of its offers at once, 500 a message, as on catching up. */
  async offerKnownAtOnce(repeats: readonly Repeat[]): Promise<void> {
    for (const [name, peer] of this.#peers) {
      const offers = repeats.filter(({ from }) => from === name).map(({ update }) => update);
      peer.announce(offers, 500);
    }
    await this.#read();
  }

  /** What the second gateway has cost, which is the keyserver's. */
  sampleSecond(): Sample {
    const { mail: _, between, others } = this.#wires;
    return sampleOf(this.#second.group, [between, ...others]);
  }

  /** What the first has cost beside the connection that it shares with the second. */
  sampleFirst(): Sample {
    return sampleOf(this.#first.group, [this.#wires.mail]);
  }

  /** What the second asked its neighbours for, and what it counts as bytes on its connections. */
  async counted(): Promise<{ readonly asked: number; readonly bytes: number }> {
    const { gateway } = this.#second;
    const asked = [...this.#peers.values()].reduce((sum, { asked }) => sum + asked.size, 0);
    const { neighbours } = (await gateway.status()) as unknown as {
      readonly neighbours: readonly { readonly peer?: { bytesIn: number; bytesOut: number } }[];
    };
    const bytes = neighbours.reduce((sum, { peer }) => {
      return sum + (peer === undefined ? 0 : peer.bytesIn + peer.bytesOut);
    }, 0);
    return { asked, bytes };
  }

  /** The connection of the two gateways. */
  get between(): { readonly bytes: number; readonly connections: number } {
    const { bytes, connections } = this.#wires.between;
    return { bytes, connections };
  }

  /** What the wires of the second counted in all. */
  get wireBytes(): number {
    return this.sampleSecond().wireBytes;
  }

  async stopSecond(): Promise<void> {
    await this.#second.gateway.end();
  }

  /** Starts the second again; resolves when it has `updates` more. */
  async startSecond(updates: number): Promise<void> {
    this.#second.gateway = await this.#second.group.enter(this.#restart);
    this.#sent += updates;
    await this.#until(async () => (await held(this.#second.gateway)) >= this.#sent);
  }

  async stop(): Promise<void> {
    for (const { gateway } of [this.#second, this.#first]) await gateway.end();
    const { mail, between, others } = this.#wires;
    for (const wire of [mail, between, ...others]) await wire.stop();
    for (const peer of this.#peers.values()) await peer.stop();
    for (const { group } of [this.#second, this.#first]) await group.remove();
  }

  #peer(name: NeighbourName): KxPeer {
    const peer = this.#peers.get(name);
    if (peer === undefined) throw new Error(`${name} announces nothing here`);
    return peer;
  }

  async #connected(): Promise<void> {
    const { gateway } = this.#second;
    await this.#until(() => {
      const there = gateway.events.filter(({ event }) => event === "peer-connected");
      return there.length >= 1 + this.#peers.size;
    });
  }

  /** The answer to a question behind the announcements says that they were read. */
  async #read(): Promise<void> {
    for (const peer of this.#peers.values()) {
      if ((await peer.list(1, 1)) === undefined) throw new Error("no answer from the gateway");
    }
  }

  async #until(look: () => boolean | Promise<boolean>): Promise<void> {
    if (!(await holdsWithin(look, PATIENCE_MS, 200)))
      throw new Error("the updates do not get through");
  }
}
