/**
 * UPDATEs that come late, twice, together or unasked (row 34). Two peers announce the same updates;
 * one keeps silent until its time is over and the other has been asked, then both deliver at once.
 * Each update is to be stored, announced and mailed once; what nobody asked for is to be dropped.
 * Control: a gateway that does not recognise what it has.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Message } from "../../../src/kx/messages.js";
import { Parser } from "../../../src/kx/parser.js";
import { serialize } from "../../../src/kx/serializer.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq } from "../../../src/update.js";
import { KxVisitor } from "../../support/kx-visitor.js";
import { holdsWithin, pause, quietFor } from "../../support/until.js";
import { type Check, type Context, controlOf } from "../check.js";
import { rudeAddress } from "../kx-stage.js";
import { type Made, made } from "../material.js";
import { World } from "../world.js";

/** Longer than a request may go without progress. */
const LATE_MS = 11_000;
const QUIET_MS = 1500;
/** One less would not, one more would end the connection. */
const UNASKED = 9;
const TAG = "late";

export const kxLate: Check = {
  name: "kx-late",
  rows: [34],
  promise: "an UPDATE that comes late, twice or unasked makes no second one",
  runs: 500,
  share: 0.7,
  async run(context) {
    const count = Math.min(context.runs, 500);
    const [real, control] = await Promise.all([
      deliverLate(context, "real", count, undefined),
      deliverLate(controlOf(context, 1), "control", 10, "forgets-names"),
    ]);
    return {
      faults: real.faults,
      figures:
        `${count} updates, ${real.late} delivered late and ${real.late} by another peer at the ` +
        `same time, ${UNASKED} unasked: ${real.rows} rows, ${real.announced} announcements, ` +
        `${real.mails} mails`,
      control: {
        caught: control.faults.length > 0 && control.rows > 10,
        figures: `names forgotten: ${control.rows} rows of 10 updates`,
      },
    };
  },
};

async function deliverLate(
  context: Context,
  name: string,
  count: number,
  program: string | undefined,
) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const more = [0, 1].map(
    (n) => `[[peer]]\nname = "rude-${n}"\nkx = "${rudeAddress(n)}:1"\nvia = "kx"\n`,
  );
  const world = await World.make({
    ...{ directory, build: context.build, peer: true, sink: true, more: more.join("") },
    ...(program === undefined ? {} : { program }),
  });
  const gateway = await world.start();
  const updates = Array.from({ length: count }, (_, n) => made(context.seed, n + 1));
  const unknown = Array.from({ length: UNASKED }, (_, n) => made(context.seed, count + n + 1));
  try {
    await holdsWithin(() => world.peer?.connected === true, 20_000);
    const port = gateway.port("kx");
    const [silent, other] = [new Player(updates), new Player(updates)];
    // It answers the first half, so that it is trusted with many requests at once.
    silent.promised = Math.floor(count / 2);
    await silent.enter(port, rudeAddress(0));
    await holdsWithin(() => silent.asked.size > 0, 10_000);
    await pause(LATE_MS / 2);
    await other.enter(port, rudeAddress(1));
    await pause(LATE_MS);
    const late = silent.asked.size;
    for (const one of [silent, other]) {
      one.promised = Infinity;
      one.answer();
    }
    for (const one of unknown) silent.unasked(one);
    const heard = () => new Set(world.peer?.heard.map(({ hash }) => hash)).size;
    await holdsWithin(() => heard() >= count && (world.sink?.received.size ?? 0) >= count, 60_000);
    await quietFor(QUIET_MS, "a second copy would be fetched or mailed");
    await gateway.end();
    return { late, ...judged(world, count, unknown) };
  } finally {
    await gateway.end("SIGKILL");
    await world.end();
  }
}

function judged(world: World, count: number, unknown: readonly Made[]) {
  const log = UpdateLog.open(world.log, { readonly: true });
  const entries = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 2 * count + UNASKED + 1);
  log.close();
  const announced = world.peer?.heard.length ?? 0;
  const mails = [...(world.sink?.received.values() ?? [])].reduce((sum, one) => sum + one, 0);
  const faults: string[] = [];
  if (entries.length !== count) faults.push(`${entries.length} rows of ${count} updates`);
  if (announced !== count) faults.push(`${announced} announcements of ${count} updates`);
  if (mails !== count) faults.push(`${mails} mails of ${count} updates`);
  const stored = new Set(entries.map(({ hash }) => hash));
  const taken = unknown.filter(({ update }) => stored.has(update.hash)).length;
  if (taken > 0) faults.push(`${taken} updates were taken that nobody asked for`);
  return { faults, rows: entries.length, announced, mails };
}

/** A peer that comes by itself, tells what it has, and answers when it is told to. */
class Player {
  /** Numbers by the tags that asked for them, not yet answered. */
  readonly asked = new Map<string, number>();
  /** How many it still answers at once. */
  promised = 0;
  readonly #updates: readonly Made[];
  readonly #parser = new Parser();
  #visitor: KxVisitor | undefined;

  constructor(updates: readonly Made[]) {
    this.#updates = updates;
  }

  async enter(port: number, from: string): Promise<void> {
    this.#visitor = await KxVisitor.open(port, from);
    this.#visitor.socket.on("data", (bytes) => {
      for (const message of this.#parser.push(bytes)) this.#hear(message as Message);
    });
    const newest = this.#updates.length;
    this.#send({ command: "HELO", tag: TAG, version: "1.0" });
    const announcements = [this.#announcement(newest)];
    this.#send({ command: "IHAVE", tag: TAG, inReplyTo: undefined, announcements });
  }

  /** Delivers all that was asked for. */
  answer(): void {
    for (const [inReplyTo, number] of this.asked) this.#deliver(inReplyTo, number);
    this.asked.clear();
  }

  unasked({ update, armor }: Made): void {
    const { hash, fingerprint } = update;
    const announcement = { number: 1, hash, fingerprint };
    const bytes = Buffer.from(armor, "latin1");
    this.#send({ command: "UPDATE", tag: TAG, inReplyTo: "none", announcement, armor: bytes });
  }

  #hear(message: Message): void {
    if (message.command === "LIST") {
      const [{ low = 1, high = Infinity } = {}] = message.ranges;
      const last = Math.min(high, this.#updates.length);
      const from = Math.max(1, low);
      const announcements = Array.from({ length: Math.max(0, last - from + 1) }, (_, n) =>
        this.#announcement(from + n),
      );
      this.#send({ command: "IHAVE", tag: TAG, inReplyTo: message.tag, announcements });
    }
    if (message.command !== "GETUPDATE") return;
    for (const number of message.numbers) {
      if (this.promised > 0) this.#deliver(message.tag, number);
      else this.asked.set(message.tag, number);
      this.promised -= 1;
    }
  }

  #deliver(inReplyTo: string, number: number): void {
    const armor = Buffer.from(this.#updates[number - 1]?.armor ?? "", "latin1");
    const announcement = this.#announcement(number);
    this.#send({ command: "UPDATE", tag: TAG, inReplyTo, announcement, armor });
  }

  #announcement(number: number) {
    const update = this.#updates[number - 1]?.update;
    if (update === undefined) throw new Error(`there is no update ${number}`);
    return { number, hash: update.hash, fingerprint: update.fingerprint };
  }

  #send(message: Message): void {
    void this.#visitor?.write(serialize(message));
  }
}
