/**
 * One KX connection, sans-IO: what may be said when (thesis A.2.5 to A.2.7, design of KX/1.0).
 * Bytes and orders go in, each call returns its outputs in the order in which they are to be
 * carried out. Time is an argument in milliseconds of a monotonic clock. A session knows nothing
 * of the log, of other peers or of what an update is; cursors and requests that outlive the
 * connection are `reception.ts` and `fetch-tracker.ts`.
 *
 *  1. Both sides send HELO at once. On the peer's HELO the session asks its owner for the newest
 *     announcement (`greet`) and sends it as IHAVE NOTIFY before anything else; an empty log sends
 *     one without a line, since silence would be a sequence error at the other side.
 *  2. Anything but HELO first, or but IHAVE NOTIFY after it, is 551 and the end. HELO is due in
 *     30 s, the first IHAVE in 60 s. A second HELO is 551 and is otherwise passed over.
 *  3. Another major version is 500, CLOSE, and no new attempt for an hour.
 *  4. What makes no sense as a message is 500 and the connection lives; ten of them end it. What
 *     makes no sense as a stream is ERROR NOTIFY 500 and the end.
 *  5. An ERROR is never answered by an ERROR but 501, a 501 by none, and no more than 20 a minute
 *     leave, so that two confused servers fall silent.
 *  6. A reply is believed only when it quotes a request that is open; UPDATEs that nobody asked
 *     for are dropped. A request that the owner gave up stays open for a late answer, up to 256.
 *  7. After 5 minutes without a byte the owner is told (`silent`) and lists something; a LIST
 *     that stays unanswered for 60 s twice in a row ends the connection.
 *  8. After CLOSE, either way, nothing new is asked; what is owed is answered for up to 10 s.
 */
import type { Announcement, Malformed, Message, NumberRange } from "./messages.js";
import { ERROR_CODE } from "./messages.js";
import type { Parsed, ParserLimits } from "./parser.js";
import { PARSER_LIMITS, Parser } from "./parser.js";
import { serialize } from "./serializer.js";

export const VERSION = "1.0";

export const SESSION_LIMITS = {
  heloMs: 30_000,
  firstAnnouncementMs: 60_000,
  silenceMs: 5 * 60_000,
  listMs: 60_000,
  closeMs: 10_000,
  /** The thesis suggests to come back later; an hour leaves the operator time to upgrade. */
  versionBackoffMs: 60 * 60_000,
  badMessages: 10,
  errorsPerMinute: 20,
  openRequests: 256,
} as const;

/** Something that the peer asked for, to be answered by `answerList` or `answerUpdate`. */
export type Asked =
  | { readonly kind: "list"; readonly tag: string; readonly ranges: readonly NumberRange[] }
  | { readonly kind: "update"; readonly tag: string; readonly number: number };

export type SessionOutput =
  | { readonly type: "send"; readonly bytes: Uint8Array }
  /** The peer said HELO: call `greet` with our newest announcement now. */
  | { readonly type: "greet" }
  | { readonly type: "established"; readonly newest: Announcement | undefined }
  | { readonly type: "announced"; readonly announcements: readonly Announcement[] }
  | {
      readonly type: "listed";
      readonly low: number;
      readonly high: number;
      readonly announcements: readonly Announcement[];
    }
  | { readonly type: "list-failed"; readonly low: number; readonly high: number }
  | { readonly type: "asked"; readonly asked: Asked }
  | {
      readonly type: "update";
      readonly number: number;
      readonly announcement: Announcement;
      readonly armor: Uint8Array;
    }
  /** The peer has no such update any more. */
  | { readonly type: "unavailable"; readonly number: number }
  /** The peer could not or would not, or sent something too large. */
  | { readonly type: "update-failed"; readonly number: number; readonly problem: string }
  /** Bytes of an UPDATE came in: requests to this peer move. */
  | { readonly type: "progress" }
  | { readonly type: "silent" }
  /** For the operator: the peer misbehaved or complained. */
  | { readonly type: "complaint"; readonly problem: string }
  /** Close the connection once what was sent has left. */
  | { readonly type: "end"; readonly reason: EndReason; readonly backoffMs?: number };

export type EndReason =
  | "closed"
  | "out-of-sequence"
  | "version"
  | "lost-framing"
  | "too-many-errors"
  | "greeting-timeout"
  | "silent";

type Request =
  | { readonly kind: "list"; readonly low: number; readonly high: number; readonly dueAt: number }
  | { readonly kind: "update"; readonly number: number };

const TAG_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

export class Session {
  readonly #parser: Parser;
  #state: "helo" | "newest" | "open" | "closing" | "ended" = "helo";
  #tags = 0;
  readonly #requests = new Map<string, Request>();
  /** Answers that the peer still waits for. */
  #owed = 0;
  #startedAt: number;
  #heardAt: number;
  /** When `silent` was last reported, so that it is said once a silence. */
  #silentAt = 0;
  #closeDueAt: number | undefined;
  #closeTag: string | undefined;
  #peerClosed = false;
  #badMessages = 0;
  #unansweredLists = 0;
  #errorWindowAt = 0;
  #errorsInWindow = 0;

  constructor(now: number, limits: ParserLimits = PARSER_LIMITS) {
    this.#parser = new Parser(limits);
    this.#startedAt = now;
    this.#heardAt = now;
  }

  /** Both greetings are done and nobody has said CLOSE: requests and announcements may be made. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  /** How many answers we owe; whoever reads from the socket stops when it grows too large. */
  get owed(): number {
    return this.#owed;
  }

  start(): SessionOutput[] {
    return [this.#send({ command: "HELO", tag: this.#tag(), version: VERSION })];
  }

  received(bytes: Uint8Array, now: number): SessionOutput[] {
    this.#heardAt = now;
    this.#silentAt = 0;
    const outputs: SessionOutput[] = [];
    for (const parsed of this.#parser.push(bytes)) {
      if (this.#state === "ended") break;
      this.#take(parsed, now, outputs);
    }
    if (this.#parser.insideUpdate) outputs.push({ type: "progress" });
    return outputs;
  }

  /** Does what has become due; call at `nextAt` or any time. */
  tick(now: number): SessionOutput[] {
    const outputs: SessionOutput[] = [];
    if (this.#state === "ended") return outputs;
    const { heloMs, firstAnnouncementMs, silenceMs } = SESSION_LIMITS;
    if (this.#closeDueAt !== undefined && now >= this.#closeDueAt) {
      this.#end("closed", outputs);
    } else if (
      (this.#state === "helo" && now >= this.#startedAt + heloMs) ||
      (this.#state === "newest" && now >= this.#startedAt + firstAnnouncementMs)
    ) {
      this.#complain(undefined, ERROR_CODE.sequence, "greeting is overdue", now, outputs);
      this.#end("greeting-timeout", outputs);
    } else if (this.#state === "open") {
      this.#expireLists(now, outputs);
      if (this.#silentAt === 0 && now >= this.#heardAt + silenceMs) {
        this.#silentAt = now;
        outputs.push({ type: "silent" });
      }
    }
    return outputs;
  }

  /** When `tick` is next due, or undefined when only the peer can move things. */
  nextAt(): number | undefined {
    if (this.#state === "ended") return undefined;
    if (this.#closeDueAt !== undefined) return this.#closeDueAt;
    if (this.#state === "helo") return this.#startedAt + SESSION_LIMITS.heloMs;
    if (this.#state === "newest") return this.#startedAt + SESSION_LIMITS.firstAnnouncementMs;
    let next = this.#silentAt === 0 ? this.#heardAt + SESSION_LIMITS.silenceMs : Infinity;
    for (const request of this.#requests.values()) {
      if (request.kind === "list") next = Math.min(next, request.dueAt);
    }
    return next === Infinity ? undefined : next;
  }

  /** Answers `greet`: our newest announcement, or none when the log is empty. */
  greet(newest: Announcement | undefined): SessionOutput[] {
    return [this.#announcement(newest === undefined ? [] : [newest], undefined)];
  }

  announce(announcements: readonly Announcement[]): SessionOutput[] {
    return this.isOpen ? [this.#announcement(announcements, undefined)] : [];
  }

  /** Asks for the announcements from `low` to `high`, wire numbers. */
  list(low: number, high: number, now: number): SessionOutput[] {
    if (!this.isOpen) return [];
    const tag = this.#tag();
    this.#remember(tag, { kind: "list", low, high, dueAt: now + SESSION_LIMITS.listMs });
    return [this.#send({ command: "LIST", tag, ranges: [{ low, high }] })];
  }

  /** Asks for one update; each request carries one number, so that each answer has its own tag. */
  get(number: number): SessionOutput[] {
    if (!this.isOpen) return [];
    const tag = this.#tag();
    this.#remember(tag, { kind: "update", number });
    return [this.#send({ command: "GETUPDATE", tag, numbers: [number] })];
  }

  answerList(tag: string, announcements: readonly Announcement[]): SessionOutput[] {
    return this.#answer([this.#announcement(announcements, tag)]);
  }

  answerUpdate(tag: string, announcement: Announcement, armor: Uint8Array): SessionOutput[] {
    const own = this.#tag();
    return this.#answer([
      this.#send({ command: "UPDATE", tag: own, inReplyTo: tag, announcement, armor }),
    ]);
  }

  /** The answer for a number that we do not have (any more). */
  answerUnavailable(tag: string, number: number): SessionOutput[] {
    const text = `${number} update not available`;
    const error = { tag: this.#tag(), inReplyTo: tag, code: ERROR_CODE.generic, text };
    return this.#answer([this.#send({ command: "ERROR", ...error })]);
  }

  /** Says CLOSE; the `end` follows when the peer agrees, or after 10 s. */
  close(now: number): SessionOutput[] {
    if (this.#state === "ended" || this.#state === "closing") return [];
    this.#state = "closing";
    this.#closeDueAt = now + SESSION_LIMITS.closeMs;
    this.#closeTag = this.#tag();
    return [this.#send({ command: "CLOSE", tag: this.#closeTag, inReplyTo: undefined })];
  }

  #take(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command === "unframed") {
      this.#complain(undefined, ERROR_CODE.generic, parsed.problem, now, outputs);
      this.#end("lost-framing", outputs);
      return;
    }
    if (parsed.command === "CLOSE") return this.#takeClose(parsed, now, outputs);
    if (this.#state === "helo") return this.#takeHelo(parsed, now, outputs);
    if (this.#state === "newest") return this.#takeNewest(parsed, now, outputs);
    switch (parsed.command) {
      case "HELO":
        return this.#bad(parsed.tag, ERROR_CODE.sequence, "HELO was said already", now, outputs);
      case "IHAVE":
        return this.#takeAnnouncements(parsed, outputs);
      case "LIST":
        this.#owed += 1;
        outputs.push({
          type: "asked",
          asked: { kind: "list", tag: parsed.tag, ranges: parsed.ranges },
        });
        return;
      case "GETUPDATE":
        this.#owed += parsed.numbers.length;
        for (const number of parsed.numbers) {
          outputs.push({ type: "asked", asked: { kind: "update", tag: parsed.tag, number } });
        }
        return;
      case "UPDATE":
      case "oversized": {
        const request = this.#settle(parsed.inReplyTo, "update");
        if (request?.kind !== "update") {
          outputs.push({ type: "complaint", problem: "an UPDATE that was not asked for" });
        } else if (parsed.command === "oversized") {
          const problem = "the UPDATE is too large";
          outputs.push({ type: "update-failed", number: request.number, problem });
        } else {
          const { announcement, armor } = parsed;
          outputs.push({ type: "update", number: request.number, announcement, armor });
        }
        return this.#endWhenDone(outputs);
      }
      case "ERROR":
        return this.#takeError(parsed, outputs);
      case "malformed":
        return this.#takeMalformed(parsed, now, outputs);
      default:
        return parsed satisfies never;
    }
  }

  #takeHelo(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command !== "HELO") {
      const tag = parsed.command === "unframed" ? undefined : parsed.tag;
      this.#complain(tag, ERROR_CODE.sequence, "HELO was due", now, outputs);
      this.#end("out-of-sequence", outputs);
      return;
    }
    if (!/^1(\.|$)/.test(parsed.version)) {
      this.#complain(parsed.tag, ERROR_CODE.generic, "KX version 1 is spoken here", now, outputs);
      outputs.push(this.#send({ command: "CLOSE", tag: this.#tag(), inReplyTo: undefined }));
      this.#end("version", outputs, SESSION_LIMITS.versionBackoffMs);
      return;
    }
    this.#state = "newest";
    outputs.push({ type: "greet" });
  }

  #takeNewest(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command !== "IHAVE" || parsed.inReplyTo !== undefined) {
      const tag = parsed.command === "unframed" ? undefined : parsed.tag;
      this.#complain(tag, ERROR_CODE.sequence, "IHAVE NOTIFY was due", now, outputs);
      this.#end("out-of-sequence", outputs);
      return;
    }
    this.#state = "open";
    outputs.push({ type: "established", newest: parsed.announcements.at(-1) });
    // More than the newest is not forbidden; whatever was announced counts as announced.
    if (parsed.announcements.length > 1) {
      outputs.push({ type: "announced", announcements: parsed.announcements });
    }
  }

  #takeAnnouncements(message: Message & { command: "IHAVE" }, outputs: SessionOutput[]): void {
    const { announcements, inReplyTo } = message;
    if (inReplyTo === undefined) {
      outputs.push({ type: "announced", announcements });
      return;
    }
    const request = this.#settle(inReplyTo, "list");
    if (request?.kind === "list") {
      this.#unansweredLists = 0;
      outputs.push({ type: "listed", low: request.low, high: request.high, announcements });
    } else {
      outputs.push({ type: "complaint", problem: "a listing that was not asked for" });
    }
    this.#endWhenDone(outputs);
  }

  #takeError(message: Message & { command: "ERROR" }, outputs: SessionOutput[]): void {
    const request = this.#settle(message.inReplyTo, undefined);
    const problem = `ERROR ${message.code} ${message.text}`;
    if (request?.kind === "update") {
      const gone = message.code === ERROR_CODE.generic && /not available/i.test(message.text);
      if (gone) outputs.push({ type: "unavailable", number: request.number });
      else outputs.push({ type: "update-failed", number: request.number, problem });
    } else {
      if (request?.kind === "list") {
        outputs.push({ type: "list-failed", low: request.low, high: request.high });
      }
      outputs.push({ type: "complaint", problem });
    }
    this.#endWhenDone(outputs);
  }

  #takeMalformed(message: Malformed, now: number, outputs: SessionOutput[]): void {
    if (message.name === "ERROR") {
      // Rule 5: the only answer that an ERROR may get.
      const code = ERROR_CODE.troubleWithError;
      return this.#bad(message.tag, code, message.problem, now, outputs);
    }
    if (message.name === "LIST") outputs.push(this.#announcement([], message.tag));
    this.#bad(message.tag, ERROR_CODE.generic, message.problem, now, outputs);
  }

  #takeClose(message: Message & { command: "CLOSE" }, now: number, outputs: SessionOutput[]): void {
    if (message.inReplyTo !== undefined) {
      if (message.inReplyTo === this.#closeTag) this.#peerClosed = true;
      return this.#endWhenDone(outputs);
    }
    const inReplyTo = message.tag;
    outputs.push(this.#send({ command: "CLOSE", tag: this.#tag(), inReplyTo }));
    this.#state = "closing";
    this.#peerClosed = true;
    this.#closeDueAt ??= now + SESSION_LIMITS.closeMs;
    this.#endWhenDone(outputs);
  }

  /** Rule 8: the end, once neither side waits for anything. */
  #endWhenDone(outputs: SessionOutput[]): void {
    if (this.#state === "closing" && this.#peerClosed && this.#owed === 0) {
      if (this.#requests.size === 0) this.#end("closed", outputs);
    }
  }

  #bad(
    tag: string | undefined,
    code: number,
    problem: string,
    now: number,
    outputs: SessionOutput[],
  ): void {
    this.#complain(tag, code, problem, now, outputs);
    this.#badMessages += 1;
    if (this.#badMessages >= SESSION_LIMITS.badMessages) this.#end("too-many-errors", outputs);
  }

  /** Tells the peer, within the budget of rule 5, and the operator. */
  #complain(
    inReplyTo: string | undefined,
    code: number,
    text: string,
    now: number,
    outputs: SessionOutput[],
  ): void {
    if (now - this.#errorWindowAt >= 60_000) {
      this.#errorWindowAt = now;
      this.#errorsInWindow = 0;
    }
    this.#errorsInWindow += 1;
    if (this.#errorsInWindow <= SESSION_LIMITS.errorsPerMinute) {
      outputs.push(this.#send({ command: "ERROR", tag: this.#tag(), inReplyTo, code, text }));
    }
    outputs.push({ type: "complaint", problem: text });
  }

  #expireLists(now: number, outputs: SessionOutput[]): void {
    for (const [tag, request] of this.#requests) {
      if (request.kind !== "list" || now < request.dueAt) continue;
      this.#requests.delete(tag);
      this.#unansweredLists += 1;
      outputs.push({ type: "list-failed", low: request.low, high: request.high });
      if (this.#unansweredLists >= 2) return this.#end("silent", outputs);
    }
  }

  #end(reason: EndReason, outputs: SessionOutput[], backoffMs?: number): void {
    this.#state = "ended";
    this.#requests.clear();
    outputs.push({ type: "end", reason, ...(backoffMs === undefined ? {} : { backoffMs }) });
  }

  #answer(outputs: SessionOutput[]): SessionOutput[] {
    if (this.#state === "ended") return [];
    this.#owed -= 1;
    this.#endWhenDone(outputs);
    return outputs;
  }

  #settle(tag: string | undefined, kind: Request["kind"] | undefined): Request | undefined {
    const request = tag === undefined ? undefined : this.#requests.get(tag);
    if (tag === undefined || request === undefined) return undefined;
    if (kind !== undefined && request.kind !== kind) return undefined;
    this.#requests.delete(tag);
    return request;
  }

  #remember(tag: string, request: Request): void {
    this.#requests.set(tag, request);
    if (this.#requests.size <= SESSION_LIMITS.openRequests) return;
    for (const oldest of this.#requests.keys()) {
      this.#requests.delete(oldest);
      break;
    }
  }

  #announcement(list: readonly Announcement[], inReplyTo: string | undefined): SessionOutput {
    return this.#send({ command: "IHAVE", tag: this.#tag(), inReplyTo, announcements: list });
  }

  #send(message: Message): SessionOutput {
    return { type: "send", bytes: serialize(message) };
  }

  /** Four digits of base 62, counting up: unique for the first 14 million messages. */
  #tag(): string {
    this.#tags = (this.#tags + 1) % 62 ** 4;
    let rest = this.#tags;
    let tag = "";
    for (let place = 0; place < 4; place++) {
      tag = TAG_DIGITS.charAt(rest % 62) + tag;
      rest = Math.floor(rest / 62);
    }
    return tag;
  }
}
