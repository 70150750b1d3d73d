/**
 * The tested server as the rules see it: connections that have got as far as a rule wants, and what
 * the suite has learnt of the server. Every connection of a rule is left when the rule is over.
 */
import type { Duplex } from "node:stream";
import type { Announcement } from "../kx/messages.js";
import { TAG_11 } from "../kx/messages.js";
import { announcementLine } from "../kx/serializer.js";
import {
  announcementsOf,
  Conversation,
  Deviation,
  type OwnUpdate,
  type Scene,
  Skipped,
} from "./conversation.js";

/** How a greeting differs from the usual one. */
export interface Greeting {
  /** The tag of our HELO. */
  readonly tag?: string;
  readonly version?: string;
  /** The data lines of our OPEN; undefined for none. */
  readonly open?: readonly string[] | undefined;
}

export class Subject {
  readonly scene: Scene;
  /** The update that the server may be given; undefined for none. */
  readonly update: OwnUpdate | undefined;
  readonly asked: ReadonlySet<number>;
  readonly #dial: () => Promise<Duplex>;
  #open: Conversation[] = [];

  /** `asked` are the numbers of our log that the server has asked for in the run. */
  constructor(
    dial: () => Promise<Duplex>,
    scene: Scene,
    update: OwnUpdate | undefined,
    asked: ReadonlySet<number>,
  ) {
    this.#dial = dial;
    this.asked = asked;
    this.scene = scene;
    this.update = update;
  }

  /** A connection on which nothing was sent. */
  async connect(): Promise<Conversation> {
    let socket: Duplex;
    try {
      socket = await this.#dial();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Deviation(`the server accepts no further connection: ${why}`);
    }
    const conversation = new Conversation(socket, this.scene);
    this.#open.push(conversation);
    return conversation;
  }

  /** A connection on which HELO was exchanged. */
  async helo({ tag, version = "1.0" }: Greeting = {}): Promise<Conversation> {
    const line = await this.connect();
    if (tag === undefined) line.send("HELO", version);
    else line.sendAs(tag, "HELO", version);
    await line.wait("HELO", (one) => one.command === "HELO");
    const heard = await line.wait("IHAVE NOTIFY", (one) => one.command === "IHAVE");
    line.newest = announcementsOf(heard).at(-1);
    return line;
  }

  /** A connection on which the greeting is over; in KX/1.0 unless `greeting` says otherwise. */
  async greeted(greeting: Greeting = {}): Promise<Conversation> {
    const line = await this.helo(greeting);
    this.greetBack(line);
    if (greeting.open !== undefined) line.send("OPEN", ...greeting.open);
    return line;
  }

  /** A connection of KX/1.1; `lines` of our OPEN, by default the name of our log alone. */
  async opened(lines: readonly string[] = this.openLines()): Promise<Conversation> {
    return await this.greeted({ tag: TAG_11, open: lines });
  }

  /** The lines of an OPEN that names our log and these features. */
  openLines(...features: readonly string[]): string[] {
    return [`log ${this.scene.own.name}`, ["features", ...features].join(" ")];
  }

  /** Learns the SHA-256 of the update that our log begins with, on a connection that has them. */
  async learnDigest(line: Conversation): Promise<void> {
    const { own } = this.scene;
    const [first, ...more] = own.updates;
    if (first === undefined || first.announcement.digest !== undefined) return;
    const { hash } = first.announcement;
    const found = (await line.list(String(line.newest?.number ?? 1))).find((one) => {
      return one.hash === hash;
    });
    if (found === undefined) return;
    const announcement = { ...first.announcement, digest: found.digest };
    own.updates = [{ ...first, announcement }, ...more];
  }

  /** Sends our first IHAVE. */
  greetBack(line: Conversation): void {
    const newest = this.scene.own.updates.at(-1);
    const lines = newest === undefined ? [] : [announcementLine(newest.announcement)];
    line.send("IHAVE", "NOTIFY", ...lines);
  }

  /** The server's newest update. Throws `Skipped` if its log is empty. */
  newestOf(line: Conversation): Announcement {
    if (line.newest === undefined) throw new Skipped("the log of the server is empty");
    return line.newest;
  }

  /** Ends the connections of a rule. */
  async leave(): Promise<void> {
    const all = this.#open;
    this.#open = [];
    for (const one of all) await one.leave();
  }
}
