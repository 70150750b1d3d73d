/**
 * One connection with a tested server, for the rules to play on. A rule sends messages, or any
 * octets, and waits for what is due. What is not due in time, or is another message, is a
 * `Deviation`. LIST and GETUPDATE of the server are answered from our own log, and its CLOSE is
 * answered, so that the server sees a correct peer unless the rule wants another one.
 */
import type { Duplex } from "node:stream";
import {
  type Announcement,
  type Features,
  readAnnouncement,
  readRange,
  TAG_11,
} from "../kx/messages.js";
import { hasNumber } from "../kx/receipts.js";
import { announcementLine } from "../kx/serializer.js";
import type { LogName } from "../update.js";
import { type Heard, WireReader, type WireRule } from "./wire.js";

export const CONVERSATION_LIMITS = {
  /** Octets taken from the server on one connection: more than two of its largest messages. */
  octets: 20 * 1024 * 1024,
  /** How long the exchange of CLOSE at the end of a rule may take. */
  leaveMs: 1000,
  /** Messages of a transcript, lines of one of them, and columns. */
  messages: 60,
  shownLines: 6,
  columns: 120,
} as const;

/** The server did something else than the rule says. */
export class Deviation extends Error {}

/** What a rule needs is not there. */
export class Skipped extends Error {}

/** An update of our own log. */
export interface OwnUpdate {
  readonly announcement: Announcement;
  /** Lines of its armor block; undefined for one that is only announced. */
  readonly armor: readonly string[] | undefined;
}

/**
 * The log that the server is shown. Its first update is the newest of the server at the beginning
 * of the run, and its name follows from that update: so it is the same log on all connections of a
 * run, and of the next run too, and the server has no reason to think that it began anew.
 */
export interface OwnLog {
  name: LogName;
  updates: readonly OwnUpdate[];
}

/** One message of a transcript. */
export interface Said {
  readonly from: "tester" | "server";
  /** Milliseconds since the rule began. */
  readonly at: number;
  /** Tag, command and data lines; long ones are cut. */
  readonly text: string;
}

/** What all connections of a run share. */
export interface Scene {
  readonly own: OwnLog;
  readonly waitMs: number;
  /** Milliseconds of a clock that does not jump. */
  now(): number;
  /** The server asked for a number of our log. */
  asked(number: number): void;
  /** Gets what was said. */
  said(from: Said["from"], text: string): void;
  note(rule: WireRule, problem: string): void;
}

export class Conversation {
  readonly #socket: Duplex;
  readonly #scene: Scene;
  readonly #reader: WireReader;
  readonly #inbox: Heard[] = [];
  /** All messages of the server, oldest first. */
  readonly all: Heard[] = [];
  /** Numbers of our log that the server has asked for. */
  readonly asked: number[] = [];
  /** Whether GETUPDATEs are answered; otherwise they stay in the inbox. */
  answersGets = true;
  /** Whether LISTs are answered; otherwise they stay in the inbox until `answerLists`. */
  answersLists = true;
  /** The newest announcement of the server at the greeting. */
  newest: Announcement | undefined;
  #tags = 0;
  #octets = 0;
  #isClosed = false;
  #isLeaving = false;
  #wake: () => void = () => {};

  constructor(socket: Duplex, scene: Scene) {
    this.#socket = socket;
    this.#scene = scene;
    this.#reader = new WireReader((rule, problem) => scene.note(rule, problem));
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("error", () => socket.destroy());
    socket.on("end", () => this.#closed());
    socket.on("close", () => this.#closed());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends a message and returns its tag. */
  send(command: string, ...lines: readonly string[]): string {
    this.#tags += 1;
    const tag = `c${this.#tags.toString(36).padStart(3, "0")}`;
    this.sendAs(tag, command, ...lines);
    return tag;
  }

  sendAs(tag: string, command: string, ...lines: readonly string[]): void {
    if (command === "OPEN") this.#reader.opened(lines);
    this.raw([tag, command, ...lines, ".", ""].join("\r\n"));
  }

  /** Sends a message of octets and returns its tag; `length` is what it says of them. */
  sendOctets(name: string, first: string, octets: Uint8Array, length = `${octets.length}`): string {
    this.#tags += 1;
    const tag = `c${this.#tags.toString(36).padStart(3, "0")}`;
    const data = Buffer.from(octets).toString("latin1");
    this.raw(`${tag}\r\n${name} ${length}\r\n${first}\r\n${data}.\r\n`);
    return tag;
  }

  /** Sends octets, given as Latin-1. */
  raw(text: string): void {
    this.#scene.said("tester", text.replace(/\r?\n$/, ""));
    if (text.startsWith(`${TAG_11}\r\n`)) this.#reader.mayExtend = true;
    if (!this.#isClosed) this.#socket.write(Buffer.from(text, "latin1"));
  }

  /** Closes our side without CLOSE. */
  finish(): void {
    this.#socket.end();
  }

  /** Waits for a message and takes it; those before it stay. Throws `Deviation`. */
  async wait(what: string, fits: (heard: Heard) => boolean, ms?: number): Promise<Heard> {
    const limit = ms ?? this.#scene.waitMs;
    const until = this.#scene.now() + limit;
    for (;;) {
      const index = this.#inbox.findIndex(fits);
      const [found] = index < 0 ? [] : this.#inbox.splice(index, 1);
      if (found !== undefined) return found;
      if (this.#isClosed) throw new Deviation(`${what} was due; the server ended the connection`);
      const left = until - this.#scene.now();
      if (left <= 0) throw new Deviation(`${what} was due within ${limit / 1000} s`);
      await this.#change(left);
    }
  }

  /** Waits for the ERROR that quotes a tag, or NOTIFY, and has the code. */
  async refusal(quoted: string, code: number): Promise<Heard> {
    const what = `ERROR ${code} that quotes ${quoted}`;
    const heard = await this.wait(what, (one) => {
      const isError = one.command === "ERROR";
      return (isError || isReply(one)) && one.lines[0] === quoted;
    });
    if (heard.command === "ERROR" && heard.lines[1] === String(code)) return heard;
    throw new Deviation(`${what} was due; the server sent ${shown(heard)}`);
  }

  /** Waits until the server has closed the connection. */
  async closed(): Promise<void> {
    const until = this.#scene.now() + this.#scene.waitMs;
    while (!this.#isClosed) {
      const left = until - this.#scene.now();
      if (left <= 0) {
        throw new Deviation(
          `the end of the connection was due within ${this.#scene.waitMs / 1000} s`,
        );
      }
      await this.#change(left);
    }
  }

  /** Asks for ranges and returns the announcements of the one IHAVE that answers. */
  async list(...ranges: readonly string[]): Promise<Announcement[]> {
    return await this.listing(this.send("LIST", ...ranges));
  }

  /** Waits for the IHAVE that quotes the tag of a LIST. */
  async listing(tag: string): Promise<Announcement[]> {
    const heard = await this.wait(`the listing that quotes ${tag}`, quotes(tag));
    if (heard.command !== "IHAVE") {
      throw new Deviation(`IHAVE was due as the answer to LIST; the server sent ${shown(heard)}`);
    }
    return announcementsOf(heard);
  }

  /** The server still answers, and has read all that was sent before: messages keep their order. */
  async stillAnswers(): Promise<void> {
    await this.list(String(this.newest?.number ?? 1));
  }

  /** What was sent last gets no answer, and the connection stays usable. */
  async quiet(what: string): Promise<void> {
    await this.stillAnswers();
    const answer = this.#inbox.find((one) => one.command === "ERROR" || isReply(one));
    if (answer !== undefined) {
      throw new Deviation(`${what} gets no answer; the server sent ${shown(answer)}`);
    }
  }

  /** Messages that came and were not taken, of a command. */
  left(command: string): Heard[] {
    return this.#inbox.filter((one) => one.command === command);
  }

  /** Lets time pass, for what must not be sent. */
  async pause(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** Ends the connection with CLOSE if it is open, and never throws. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    if (!this.#isClosed) {
      this.send("CLOSE");
      const until = this.#scene.now() + CONVERSATION_LIMITS.leaveMs;
      while (!this.#isClosed && this.#scene.now() < until) await this.#change(50);
    }
    this.#socket.destroy();
  }

  async #change(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #closed(): void {
    this.#isClosed = true;
    this.#wake();
  }

  #take(bytes: Buffer): void {
    this.#octets += bytes.length;
    for (const heard of this.#reader.push(bytes)) {
      this.#scene.said("server", [heard.tag, heard.command, ...heard.lines, "."].join("\r\n"));
      this.all.push(heard);
      if (!this.#answer(heard)) this.#inbox.push(heard);
    }
    if (this.#octets > CONVERSATION_LIMITS.octets || this.#reader.isLost) this.#socket.destroy();
    this.#wake();
  }

  /** Answers a request of the server; false if there is nothing to answer. */
  #answer({ tag, command, lines }: Heard): boolean {
    if (this.#isClosed) return false;
    switch (command) {
      case "LIST":
        if (!this.answersLists) return false;
        this.send("IHAVE", tag, ...this.#listed(lines));
        return true;
      case "GETUPDATE": {
        this.asked.push(...lines.map(Number));
        for (const number of lines) this.#scene.asked(Number(number));
        if (!this.answersGets) return false;
        for (const number of lines) this.give(tag, number);
        return true;
      }
      case "CLOSE":
        if (lines.length === 0 && !this.#isLeaving) this.send("CLOSE", tag);
        return false;
      default:
        return false;
    }
  }

  /** Answers LISTs from now on, and those that came. */
  answerLists(): void {
    this.answersLists = true;
    for (const heard of this.#inbox.filter(({ command }) => command === "LIST")) {
      this.#inbox.splice(this.#inbox.indexOf(heard), 1);
      this.#answer(heard);
    }
  }

  /** The features that both sides have named. */
  get features(): Features {
    return this.#reader.features;
  }

  #listed(lines: readonly string[]): string[] {
    const ranges = lines.map(readRange).filter((range) => range !== undefined);
    const { sha256 } = this.features;
    return this.#scene.own.updates
      .filter(({ announcement: { number, digest } }) => {
        return hasNumber(ranges, number) && (digest !== undefined || !sha256);
      })
      .map(({ announcement }) => announcementLine(announcement, sha256));
  }

  /** Answers a GETUPDATE for one number of our log, if it has the body. */
  give(tag: string, number: string): void {
    const one = this.#scene.own.updates.find(({ announcement }) => {
      return announcement.number === Number(number);
    });
    if (one?.armor === undefined) this.send("ERROR", tag, "500", `${number} update not available`);
    else this.send("UPDATE", tag, announcementLine(one.announcement), ...one.armor);
  }
}

/** Whether a message answers the request with this tag. */
export function quotes(tag: string): (heard: Heard) => boolean {
  return ({ command, lines }) => command !== "CLOSE" && lines[0] === tag;
}

function isReply({ command, lines }: Heard): boolean {
  return command === "UPDATE" || (command === "IHAVE" && lines[0] !== "NOTIFY");
}

/** The announcements of an IHAVE. */
export function announcementsOf({ lines }: Heard): Announcement[] {
  return lines
    .slice(1)
    .map((line) => readAnnouncement(line) ?? readAnnouncement(line, true))
    .filter((one) => one !== undefined);
}

/** A message on one line, for reports. */
export function shown({ tag, command, lines }: Heard): string {
  const { columns } = CONVERSATION_LIMITS;
  return [tag, command, ...lines.slice(0, 3)].join(" | ").slice(0, columns);
}
