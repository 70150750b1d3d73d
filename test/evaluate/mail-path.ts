/**
 * The mail path, as thesis 5.1 and its figure 1 have it: a keyserver with five neighbours, Postfix
 * with an alias pipe into onak, which mails what was new to the other four. Counted are Postfix and
 * all that it starts; the neighbours are ours, a client that connects for every mail and sinks.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Update } from "../../src/update.js";
import { Onak } from "../interop/onak.js";
import { Postfix } from "../interop/postfix.js";
import { holdsWithin } from "../support/until.js";
import { MailSink } from "../torture/mail-sink.js";
import { ProcessGroup } from "./group.js";
import { addressOf, NEIGHBOURS, type NeighbourName, type Repeat } from "./material.js";
import { post } from "./post.js";
import { type Sample, sampleOf } from "./sample.js";
import { Wire } from "./wire.js";

export const KEYSERVER = "pgp-public-keys@keyserver.example.org";
const PATIENCE_MS = 1_200_000;

export class MailPath {
  readonly #group: ProcessGroup;
  readonly #postfix: Postfix;
  readonly #sinks: ReadonlyMap<NeighbourName, MailSink>;
  readonly #wires: readonly Wire[];
  readonly #spool: string;
  readonly #in: Wire;
  #mails = 0;

  private constructor(parts: {
    readonly group: ProcessGroup;
    readonly postfix: Postfix;
    readonly sinks: ReadonlyMap<NeighbourName, MailSink>;
    readonly wires: readonly Wire[];
    readonly spool: string;
    readonly incoming: Wire;
  }) {
    this.#group = parts.group;
    this.#postfix = parts.postfix;
    this.#sinks = parts.sinks;
    this.#wires = parts.wires;
    this.#spool = parts.spool;
    this.#in = parts.incoming;
  }

  /** Starts Postfix, `under` a tracer if need be, with an onak on an empty database. */
  static async start(directory: string, under: readonly string[] = []): Promise<MailPath> {
    const sinks = new Map<NeighbourName, MailSink>();
    const wires: Wire[] = [];
    const relay: Record<string, string> = {};
    for (const name of NEIGHBOURS) {
      const sink = new MailSink();
      const port = await sink.start();
      const wire = await Wire.start(() => port);
      sinks.set(name, sink);
      wires.push(wire);
      relay[`${name}.example.net`] = `smtp:[127.0.0.1]:${wire.port}`;
    }
    const [onak, own] = [join(directory, "onak"), join(directory, "postfix")];
    const sendmail = Postfix.sendmail(own);
    const syncSites = NEIGHBOURS.map(addressOf);
    await Onak.setUp(onak, { address: KEYSERVER, syncSites, sendmail });
    const group = ProcessGroup.create("mail");
    const pipes = { [KEYSERVER]: Onak.pipe(onak) };
    const postfix = await group.enter(() => Postfix.start(own, { relay, pipes }, under));
    const incoming = await Wire.start(() => postfix.port);
    const spool = join(onak, "spool");
    return new MailPath({ group, postfix, sinks, wires: [...wires, incoming], spool, incoming });
  }

  /** Mails each update for the first time; resolves when all of it is through. */
  async offerNew(updates: readonly Update[]): Promise<void> {
    for (const update of updates) await this.#mail("n1", update);
    await this.#settle();
  }

  async offerKnown(repeats: readonly Repeat[]): Promise<void> {
    for (const { from, update } of repeats) await this.#mail(from, update);
    await this.#settle();
  }

  sample(): Sample {
    return sampleOf(this.#group, this.#wires);
  }

  /** How many updates the neighbours got from it, all together. */
  get forwarded(): number {
    return [...this.#sinks.values()].reduce((sum, { taken }) => sum + taken, 0);
  }

  /** The same while a neighbour takes no mail: how many wait for it then, until it is back. */
  async offerNewWhileDown(name: NeighbourName, updates: readonly Update[]): Promise<number> {
    const sink = this.#sinks.get(name);
    if (sink === undefined) throw new Error(`no neighbour ${name}`);
    const forwarded = this.forwarded;
    sink.refusal = "451 4.3.0 Down";
    for (const update of updates) await this.#mail("n1", update);
    const others = NEIGHBOURS.length - 2;
    await this.#until(() => this.forwarded - forwarded >= others * updates.length);
    await this.#until(() => this.waiting <= updates.length);
    const { waiting } = this;
    sink.refusal = undefined;
    this.#postfix.flush();
    await this.#settle();
    return waiting;
  }

  /** Mails that wait in its queue. */
  get waiting(): number {
    return this.#postfix.waiting() + readdirSync(this.#spool).length;
  }

  async stop(): Promise<void> {
    await this.#postfix.stop();
    for (const wire of this.#wires) await wire.stop();
    for (const sink of this.#sinks.values()) await sink.stop();
    await this.#group.remove();
  }

  async #mail(from: NeighbourName, update: Update): Promise<void> {
    this.#mails += 1;
    const id = `${this.#mails}.${process.pid}`;
    const { port } = this.#in;
    await post({ port, to: KEYSERVER, from: addressOf(from), id }, update);
  }

  /** Waits until nothing is in the queues and the neighbours have what onak sent. */
  async #settle(): Promise<void> {
    let empty = 0;
    await this.#until(() => {
      empty = this.waiting === 0 ? empty + 1 : 0;
      return empty === 5;
    });
  }

  async #until(look: () => boolean): Promise<void> {
    if (!(await holdsWithin(look, PATIENCE_MS, 100)))
      throw new Error("the mail does not get through");
  }
}
