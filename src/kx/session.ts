/**
 * One KX connection, sans-IO: what may be said when (thesis A.2.5 to A.2.7, design of KX/1.0).
 * Bytes and orders go in, each call returns its outputs in the order in which they are to be
 * carried out. Time is an argument in milliseconds of a monotonic clock. A session knows nothing
 * of the log, of other peers or of what an update is; cursors and requests that outlive the
 * connection are `receive-state.ts` and `fetch-tracker.ts`.
 *
 *  1. Both sides send HELO at once. On the peer's HELO the session asks its owner for the newest
 *     announcement (`greet`) and sends it as IHAVE NOTIFY before anything else; an empty log sends
 *     one without a line, since silence would be a sequence error at the other side.
 *  2. Anything but HELO first, or but IHAVE NOTIFY after it, is 551 and the end. HELO is due in
 *     30 s, the first IHAVE in 60 s. A second HELO is 551 and is otherwise passed over.
 *  3. Another major version is 500, CLOSE, and no new attempt for an hour.
 *  4. What makes no sense as a message is 500 and the connection lives. What makes no sense as a
 *     stream is ERROR NOTIFY 500 and the end.
 *  5. An ERROR is never answered by an ERROR but 501, a 501 by none, and no more than 20 a minute
 *     leave beside those that say "not available", so that two confused servers fall silent.
 *  6. A reply is believed only when it quotes a request that is open (`open-requests.ts`); what
 *     nobody asked for is dropped. Such a reply, an ERROR that concerns no request, and all of
 *     rule 4 are bad messages; the tenth ends the connection, so that a flood ends itself.
 *  7. After 5 minutes without a byte the owner is told (`silent`) and lists something. A LIST that
 *     stays unanswered for 60 s makes the owner list again at once; two in a row are the end.
 *  8. After CLOSE, either way, nothing new is asked; what is owed is answered for up to 10 s, and
 *     the peer's CLOSE after it, since a peer may hang up on the reply.
 */
import type { UpdateHash } from "../update.js";
import type { Announcement, Malformed, Message, NumberRange } from "./messages.js";
import { ERROR_CODE } from "./messages.js";
import { OpenRequests, type UpdateRequest } from "./open-requests.js";
import type { Parsed, ParserLimits } from "./parser.js";
import { PARSER_LIMITS, Parser } from "./parser.js";
import { serialize, serializeListing } from "./serializer.js";

const VERSION = "1.0";

export const SESSION_LIMITS = {
  heloMs: 30_000,
  firstAnnouncementMs: 60_000,
  silenceMs: 5 * 60_000,
  listMs: 60_000,
  /** The thesis suggests to come back later; an hour leaves the operator time to upgrade. */
  versionBackoffMs: 60 * 60_000,
} as const;

/** Something that the peer asked for, to be answered by `answerList` or `answerUpdate`. */
export type AskedNumber =
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
  | { readonly type: "asked"; readonly asked: AskedNumber }
  | {
      readonly type: "update";
      readonly request: UpdateRequest;
      readonly announcement: Announcement;
      readonly armor: Uint8Array;
    }
  /** The peer has no such update any more. */
  | { readonly type: "unavailable"; readonly request: UpdateRequest }
  /** The peer could not or would not, or sent something too large. */
  | {
      readonly type: "update-failed";
      readonly request: UpdateRequest;
      readonly problem: string;
    }
  /** Answers to GETUPDATEs came in, or parts of one: the requests to this peer move. */
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

export const ERROR_LIMITS = { badMessages: 10, errorsPerMinute: 20 } as const;

export class Session {
  readonly #parser: Parser;
  #state: "helo" | "newest" | "open" | "closing" | "ended" = "helo";
  readonly #tags = new Tags();
  readonly #requests = new OpenRequests();
  /** Answers that the peer still waits for. */
  #owed = 0;
  #startedAt: number;
  #heardAt: number;
  /** Whether `silent` was reported, so that it is said once a silence. */
  #silenceTold = false;
  readonly #closeHandshake = new CloseHandshake();
  /** Tag of the peer's CLOSE while it is not answered. */
  #closeTag: string | undefined;
  readonly #errors = new ErrorBudget();

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

  start(): SessionOutput[] {
    return [this.#send({ command: "HELO", tag: this.#tags.next(), version: VERSION })];
  }

  received(bytes: Uint8Array, now: number): SessionOutput[] {
    this.#heardAt = now;
    this.#silenceTold = false;
    const outputs: SessionOutput[] = [];
    for (const parsed of this.#parser.push(bytes)) {
      if (this.#state === "ended") return outputs;
      this.#take(parsed, now, outputs);
    }
    if (this.#parser.insideUpdate || outputs.some(isAnswer)) outputs.push({ type: "progress" });
    return outputs;
  }

  /** Does what has become due; call at `nextAt` or any time. */
  tick(now: number): SessionOutput[] {
    const outputs: SessionOutput[] = [];
    if (this.#state === "ended") return outputs;
    const { dueAt } = this.#closeHandshake;
    if (dueAt !== undefined) {
      if (now >= dueAt) {
        this.#agree(outputs);
        this.#end("closed", outputs);
      }
    } else if (now >= this.#greetingDueAt()) {
      const text = "the greeting is overdue";
      this.#complain({ code: ERROR_CODE.sequence, text }, now, outputs);
      this.#end("greeting-timeout", outputs);
    } else if (this.#state === "open") {
      const again = this.#expireLists(now, outputs);
      const silent = !this.#silenceTold && now >= this.#heardAt + SESSION_LIMITS.silenceMs;
      if (this.isOpen && (again || silent)) {
        this.#silenceTold = true;
        outputs.push({ type: "silent" });
      }
    }
    return outputs;
  }

  /** When `tick` is next due, or undefined when only the peer can move things. */
  nextAt(): number | undefined {
    if (this.#state === "ended") return undefined;
    if (this.#closeHandshake.dueAt !== undefined) return this.#closeHandshake.dueAt;
    if (this.#state !== "open") return this.#greetingDueAt();
    const silentAt = this.#silenceTold ? Infinity : this.#heardAt + SESSION_LIMITS.silenceMs;
    const next = Math.min(silentAt, this.#requests.nextAt());
    return next === Infinity ? undefined : next;
  }

  /** When the peer's next part of the greeting is due; Infinity once it is done. */
  #greetingDueAt(): number {
    if (this.#state === "helo") return this.#startedAt + SESSION_LIMITS.heloMs;
    if (this.#state === "newest") return this.#startedAt + SESSION_LIMITS.firstAnnouncementMs;
    return Infinity;
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
    const tag = this.#tags.next();
    this.#requests.addList(tag, low, high, now + SESSION_LIMITS.listMs);
    return [this.#send({ command: "LIST", tag, ranges: [{ low, high }] })];
  }

  /** Asks for one update; each request carries one number, so that each answer has its own tag. */
  get(number: number, hash: UpdateHash): SessionOutput[] {
    if (!this.isOpen) return [];
    const tag = this.#tags.next();
    this.#requests.addUpdate(tag, number, hash);
    return [this.#send({ command: "GETUPDATE", tag, numbers: [number] })];
  }

  /** Answers a LIST by lines of `serializeLines`. */
  answerList(tag: string, lines: readonly Uint8Array[]): SessionOutput[] {
    if (this.#state === "ended") return [];
    return this.#answer([{ type: "send", bytes: serializeListing(this.#tags.next(), tag, lines) }]);
  }

  answerUpdate(tag: string, announcement: Announcement, armor: Uint8Array): SessionOutput[] {
    const own = this.#tags.next();
    return this.#answer([
      this.#send({ command: "UPDATE", tag: own, inReplyTo: tag, announcement, armor }),
    ]);
  }

  /** The answer for a number that we do not have (any more). */
  answerUnavailable(tag: string, number: number): SessionOutput[] {
    const text = `${number} update not available`;
    const error = { tag: this.#tags.next(), inReplyTo: tag, code: ERROR_CODE.generic, text };
    return this.#answer([this.#send({ command: "ERROR", ...error })]);
  }

  /** Says CLOSE; the `end` follows when the peer agrees, or after 10 s. */
  close(now: number): SessionOutput[] {
    if (this.#state === "ended" || this.#state === "closing") return [];
    this.#state = "closing";
    const tag = this.#tags.next();
    this.#closeHandshake.say(tag, now);
    return [this.#send({ command: "CLOSE", tag, inReplyTo: undefined })];
  }

  #take(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command === "unframed") {
      this.#complain({ code: ERROR_CODE.generic, text: parsed.problem }, now, outputs);
      this.#end("lost-framing", outputs);
      return;
    }
    if (parsed.command === "CLOSE") return this.#takeClose(parsed, now, outputs);
    if (this.#state === "helo") return this.#takeHelo(parsed, now, outputs);
    if (this.#state === "newest") return this.#takeNewest(parsed, now, outputs);
    switch (parsed.command) {
      case "HELO":
        return this.#takeSecondHelo(parsed.tag, now, outputs);
      case "IHAVE":
        return this.#takeAnnouncements(parsed, outputs);
      case "LIST":
      case "GETUPDATE":
        return this.#takeRequest(parsed, outputs);
      case "UPDATE":
      case "oversized":
        return this.#takeUpdate(parsed, outputs);
      case "ERROR":
        return this.#takeError(parsed, outputs);
      case "malformed":
        return this.#takeMalformed(parsed, now, outputs);
      default:
        return parsed satisfies never;
    }
  }

  #takeRequest(
    message: Message & { command: "LIST" | "GETUPDATE" },
    outputs: SessionOutput[],
  ): void {
    const { tag } = message;
    if (message.command === "LIST") {
      this.#owed += 1;
      outputs.push({ type: "asked", asked: { kind: "list", tag, ranges: message.ranges } });
    } else {
      this.#owed += message.numbers.length;
      for (const number of message.numbers) {
        outputs.push({ type: "asked", asked: { kind: "update", tag, number } });
      }
    }
  }

  #takeHelo(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command !== "HELO") return this.#outOfSequence(parsed, "HELO", now, outputs);
    if (!/^1(\.|$)/.test(parsed.version)) {
      const text = "KX version 1 is spoken here";
      this.#complain({ tag: parsed.tag, code: ERROR_CODE.generic, text }, now, outputs);
      outputs.push(this.#send({ command: "CLOSE", tag: this.#tags.next(), inReplyTo: undefined }));
      this.#end("version", outputs, SESSION_LIMITS.versionBackoffMs);
      return;
    }
    this.#state = "newest";
    outputs.push({ type: "greet" });
  }

  #takeSecondHelo(tag: string, now: number, outputs: SessionOutput[]): void {
    // The peer's greeting may cross our early CLOSE.
    if (this.#state === "closing") return;
    this.#bad({ tag, code: ERROR_CODE.sequence, text: "HELO was said already" }, now, outputs);
  }

  #takeNewest(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command !== "IHAVE" || parsed.inReplyTo !== undefined) {
      return this.#outOfSequence(parsed, "IHAVE NOTIFY", now, outputs);
    }
    this.#state = "open";
    outputs.push({ type: "established", newest: parsed.announcements.at(-1) });
    // More than the newest is not forbidden; whatever was announced counts as announced.
    if (parsed.announcements.length > 1) {
      outputs.push({ type: "announced", announcements: parsed.announcements });
    }
  }

  #outOfSequence(parsed: Parsed, due: string, now: number, outputs: SessionOutput[]): void {
    const isMalformedError = parsed.command === "malformed" && parsed.name === "ERROR";
    if (parsed.command === "ERROR" || isMalformedError) {
      // Rule 5 goes before rule 2: the peer gave up, and hears nothing more about it.
      const problem = parsed.command === "ERROR" ? errorText(parsed) : parsed.problem;
      outputs.push({ type: "complaint", problem });
    } else {
      const tag = parsed.command === "unframed" ? undefined : parsed.tag;
      this.#complain({ tag, code: ERROR_CODE.sequence, text: `${due} was due` }, now, outputs);
    }
    this.#end("out-of-sequence", outputs);
  }

  #takeAnnouncements(message: Message & { command: "IHAVE" }, outputs: SessionOutput[]): void {
    const { announcements, inReplyTo } = message;
    if (inReplyTo === undefined) {
      outputs.push({ type: "announced", announcements });
      return;
    }
    const request = this.#requests.settle(inReplyTo, "list");
    if (request?.kind === "list") {
      outputs.push({ type: "listed", low: request.low, high: request.high, announcements });
    } else this.#unasked("a listing that was not asked for", outputs);
    this.#endWhenDone(outputs);
  }

  #takeUpdate(
    parsed: Parsed & { command: "UPDATE" | "oversized" },
    outputs: SessionOutput[],
  ): void {
    const request = this.#requests.settle(parsed.inReplyTo, "update");
    if (request?.kind !== "update") this.#unasked("an UPDATE that was not asked for", outputs);
    else if (parsed.command === "oversized") {
      outputs.push({ type: "update-failed", request, problem: "the UPDATE is too large" });
    } else {
      const { announcement, armor } = parsed;
      outputs.push({ type: "update", request, announcement, armor });
    }
    this.#endWhenDone(outputs);
  }

  #takeError(message: Message & { command: "ERROR" }, outputs: SessionOutput[]): void {
    const request = this.#requests.settle(message.inReplyTo);
    const problem = errorText(message);
    if (request === undefined) this.#unasked(problem, outputs);
    else if (request.kind === "list") {
      const { low, high } = request;
      outputs.push({ type: "list-failed", low, high }, { type: "complaint", problem });
    } else {
      const gone = message.code === ERROR_CODE.generic && /not available/i.test(message.text);
      outputs.push(
        gone ? { type: "unavailable", request } : { type: "update-failed", request, problem },
      );
    }
    this.#endWhenDone(outputs);
  }

  #takeMalformed(message: Malformed, now: number, outputs: SessionOutput[]): void {
    const { tag, name, problem: text } = message;
    // Rule 5: the only answer that an ERROR may get.
    const code = name === "ERROR" ? ERROR_CODE.troubleWithError : ERROR_CODE.generic;
    this.#bad({ tag, code, text }, now, outputs);
  }

  #takeClose(message: Message & { command: "CLOSE" }, now: number, outputs: SessionOutput[]): void {
    const heard = this.#closeHandshake.hear(message.inReplyTo, now);
    if (heard === "unasked") this.#unasked("a CLOSE in reply to none", outputs);
    if (heard === "answer") {
      this.#state = "closing";
      this.#closeTag = message.tag;
    }
    this.#endWhenDone(outputs);
  }

  /** Rule 8: the reply to CLOSE is the last thing that the peer gets. */
  #agree(outputs: SessionOutput[]): void {
    const inReplyTo = this.#closeTag;
    if (inReplyTo === undefined) return;
    this.#closeTag = undefined;
    outputs.push(this.#send({ command: "CLOSE", tag: this.#tags.next(), inReplyTo }));
  }

  /** Rule 8: the end, once neither side waits for anything. */
  #endWhenDone(outputs: SessionOutput[]): void {
    if (this.#state !== "closing" || !this.#closeHandshake.isAgreed || this.#owed > 0) return;
    this.#agree(outputs);
    if (this.#requests.size === 0) this.#end("closed", outputs);
  }

  #bad(fault: Fault, now: number, outputs: SessionOutput[]): void {
    this.#complain(fault, now, outputs);
    this.#countBad(outputs);
  }

  /** Rule 6: the operator hears of it, the peer does not. */
  #unasked(problem: string, outputs: SessionOutput[]): void {
    outputs.push({ type: "complaint", problem });
    this.#countBad(outputs);
  }

  #countBad(outputs: SessionOutput[]): void {
    if (this.#state !== "ended" && this.#errors.countBadMessage())
      this.#end("too-many-errors", outputs);
  }

  /** Tells the peer, within the budget of rule 5, and the operator. */
  #complain(fault: Fault, now: number, outputs: SessionOutput[]): void {
    const { tag: inReplyTo, code, text } = fault;
    if (this.#errors.takeError(now)) {
      outputs.push(this.#send({ command: "ERROR", tag: this.#tags.next(), inReplyTo, code, text }));
    }
    outputs.push({ type: "complaint", problem: text });
  }

  /** Rule 7; true when the owner has to list once more. */
  #expireLists(now: number, outputs: SessionOutput[]): boolean {
    const overdue = this.#requests.expired(now);
    for (const { low, high } of overdue) outputs.push({ type: "list-failed", low, high });
    if (this.#requests.unansweredLists >= 2) this.#end("silent", outputs);
    return overdue.length > 0;
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

  #announcement(list: readonly Announcement[], inReplyTo: string | undefined): SessionOutput {
    return this.#send({ command: "IHAVE", tag: this.#tags.next(), inReplyTo, announcements: list });
  }

  #send(message: Message): SessionOutput {
    return { type: "send", bytes: serialize(message) };
  }
}

function errorText(message: Message & { command: "ERROR" }): string {
  return `ERROR ${message.code} ${message.text}`;
}

/** Whether an output is what a GETUPDATE was waiting for. */
function isAnswer({ type }: SessionOutput): boolean {
  return type === "update" || type === "unavailable" || type === "update-failed";
}

/** What we tell the peer: `tag` is the offending message's, undefined for NOTIFY. */
interface Fault {
  readonly tag?: string | undefined;
  readonly code: number;
  readonly text: string;
}

class ErrorBudget {
  #badMessages = 0;
  #windowAt = -Infinity;
  #sentInWindow = 0;

  /** Counts a bad message; true when it was one too many. */
  countBadMessage(): boolean {
    this.#badMessages += 1;
    return this.#badMessages >= ERROR_LIMITS.badMessages;
  }

  /** Takes one ERROR from the minute's share; false when it has none left. */
  takeError(now: number): boolean {
    if (now - this.#windowAt >= 60_000) {
      this.#windowAt = now;
      this.#sentInWindow = 0;
    }
    this.#sentInWindow += 1;
    return this.#sentInWindow <= ERROR_LIMITS.errorsPerMinute;
  }
}

const FAREWELL_MS = 10_000;

class CloseHandshake {
  #dueAt: number | undefined;
  #ownTag: string | undefined;
  #hasAnswered = false;
  #isAgreed = false;

  /** When the connection ends, come what may; undefined while nobody has said CLOSE. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** The peer answered our CLOSE, or said its own. */
  get isAgreed(): boolean {
    return this.#isAgreed;
  }

  /** We say CLOSE with that tag. */
  say(tag: string, now: number): void {
    this.#ownTag = tag;
    this.#dueAt ??= now + FAREWELL_MS;
  }

  /**
   * The peer said CLOSE, with the tag that it quotes, if any. A first one of its own is to be
   * answered, of a flood of them none is; one that quotes what we never said is `unasked`.
   */
  hear(inReplyTo: string | undefined, now: number): "answer" | "unasked" | "nothing" {
    if (inReplyTo !== undefined && inReplyTo !== this.#ownTag) return "unasked";
    this.#isAgreed = true;
    if (inReplyTo !== undefined || this.#hasAnswered) return "nothing";
    this.#hasAnswered = true;
    this.#dueAt ??= now + FAREWELL_MS;
    return "answer";
  }
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PLACES = 4;

class Tags {
  #count = 0;

  next(): string {
    this.#count = (this.#count + 1) % DIGITS.length ** PLACES;
    let rest = this.#count;
    let tag = "";
    for (let place = 0; place < PLACES; place++) {
      tag = DIGITS.charAt(rest % DIGITS.length) + tag;
      rest = Math.floor(rest / DIGITS.length);
    }
    return tag;
  }
}
