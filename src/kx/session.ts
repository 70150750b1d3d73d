/**
 * The state machine of one KX connection: which message is legal when (thesis A.2.5 to A.2.7,
 * design of KX/1.0). It does no I/O. Inputs are received bytes and calls of the owner; each returns
 * its outputs in the order in which the owner performs them. Time is an argument, in milliseconds
 * of a monotonic clock. Cursors and requests that outlive the connection are in `receive-state.ts`
 * and `fetch-tracker.ts`.
 *
 *  1. Both sides send HELO at once. On the peer's HELO the session asks its owner for the newest
 *     announcement (`greet`) and sends it as IHAVE NOTIFY before any other message. For an empty
 *     log it sends an IHAVE without a line, since the peer requires one.
 *  2. The first message must be HELO and the next one IHAVE NOTIFY. Any other message is answered
 *     by 551 and ends the connection. HELO is due in 30 s, the first IHAVE in 60 s. A second HELO
 *     is answered by 551 and otherwise ignored.
 *  3. Another major version is answered by 500 and CLOSE. There is no new attempt for an hour.
 *  4. A malformed message is answered by 500 and the connection continues. When the framing is
 *     lost, ERROR NOTIFY 500 is sent and the connection ends.
 *  5. An ERROR is answered only when it is malformed, by 501. At most 20 ERRORs a minute are sent,
 *     those with "not available" not counted, so two servers cannot send each other ERRORs forever.
 *  6. A reply is accepted only when it quotes an open request (`open-requests.ts`), and is dropped
 *     otherwise. Such a reply, an ERROR without a request, and all of rule 4 count as bad messages.
 *     The tenth bad message ends the connection.
 *  7. After 5 minutes without a received byte the owner is told (`silent`) and sends a LIST. A LIST
 *     without an answer for 60 s has the same effect. Two in a row end the connection.
 *  8. After CLOSE from either side nothing new is requested. Open requests of the peer are answered
 *     for up to 10 s. Its CLOSE is answered last, since a peer may disconnect on the reply.
 *  9. KX/1.1: the version in HELO stays 1.0, and its tag is KX11. When both tags are, each side
 *     sends an OPEN after its first IHAVE, once, and the greeting is over with the OPEN of the
 *     peer. A peer that sends something else in its place, or nothing for as long as an IHAVE may
 *     take, had that tag by chance and is spoken to in 1.0. A feature is used if both name it.
 */
import type {
  Announcement,
  Delivery,
  Features,
  Malformed,
  Message,
  NumberRange,
  Opening,
  Receipt,
} from "./messages.js";
import { ERROR_CODE, featuresOf, NO_FEATURES, TAG_11 } from "./messages.js";
import { OpenRequests, type UpdateRequest } from "./open-requests.js";
import type { Parsed, ParserLimits } from "./parser.js";
import { PARSER_LIMITS, Parser } from "./parser.js";
import type { KeyState } from "./range-sum.js";
import type { Items, KeyRange } from "./reconcile.js";
import { type ListingPart, serialize, serializeListing } from "./serializer.js";

const VERSION = "1.0";

/**
 * Numbers in one GETUPDATE, with the feature "octets": its answers come in few messages. More would
 * save less than an octet for each.
 */
const NUMBERS_AT_ONCE = 64;

export const SESSION_LIMITS = {
  heloMs: 30_000,
  firstAnnouncementMs: 60_000,
  silenceMs: 5 * 60_000,
  listMs: 60_000,
  /** The thesis says to try again later; an hour leaves the operator time to upgrade. */
  versionBackoffMs: 60 * 60_000,
} as const;

/** A request of the peer, to be answered by `answerList`, `answerUpdate` or `answerRanges`. */
export type AskedNumber =
  | { readonly kind: "list"; readonly tag: string; readonly ranges: readonly NumberRange[] }
  | { readonly kind: "update"; readonly tag: string; readonly number: number }
  | { readonly kind: "ranges"; readonly tag: string; readonly ranges: readonly KeyRange[] };

/** The key of an UPDATE as it came. */
export interface Body {
  /** An armor block, or with the feature "octets" the packets. */
  readonly bytes: Uint8Array;
  readonly isArmored: boolean;
  /** The fingerprint that the peer says it has. */
  readonly fingerprint: string | undefined;
}

export type SessionOutput =
  | { readonly type: "send"; readonly bytes: Uint8Array }
  /** The peer sent HELO. The owner now calls `greet` with our newest announcement. */
  | { readonly type: "greet" }
  /** The greeting is over. `opening` is what the peer says of itself, if KX/1.1 is spoken. */
  | {
      readonly type: "established";
      readonly newest: Announcement | undefined;
      readonly opening: Opening | undefined;
    }
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
      readonly body: Body;
    }
  /** How far the peer has read our log (feature "receipt"). */
  | ({ readonly type: "done" } & Receipt)
  /** The answer to our RANGE (feature "reconcile"), or why there will be none. */
  | { readonly type: "items"; readonly items: Items }
  | { readonly type: "ranges-failed"; readonly problem: string }
  /** Keys that the peer has and that, it says, are missing here or are other ones. */
  | { readonly type: "told"; readonly keys: readonly KeyState[] }
  /** The peer no longer has the update. */
  | { readonly type: "unavailable"; readonly request: UpdateRequest }
  /** The peer answered with another ERROR, or with an UPDATE that is too large. */
  | {
      readonly type: "update-failed";
      readonly request: UpdateRequest;
      readonly problem: string;
    }
  /** Answers to GETUPDATEs were received, or a part of one. */
  | { readonly type: "progress" }
  | { readonly type: "silent" }
  /** For the operator: the peer violated the protocol or sent an ERROR. */
  | { readonly type: "complaint"; readonly problem: string }
  /** Close the connection after all output was written. */
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
  /** What we say of ourselves in KX/1.1; undefined if only KX/1.0 is spoken. */
  readonly #own: Opening | undefined;
  #state: "helo" | "newest" | "opening" | "open" | "closing" | "ended" = "helo";
  /** The first IHAVE of the peer, until its OPEN is there. */
  #greeting: readonly Announcement[] = [];
  /** Both HELOs had the tag of KX/1.1. */
  #isExtended = false;
  #features: Features = NO_FEATURES;
  readonly #tags = new Tags();
  readonly #requests = new OpenRequests();
  /** How many requests of the peer have no answer yet. */
  #owed = 0;
  #startedAt: number;
  #receivedAt: number;
  /** Whether `silent` was returned since the last received byte. */
  #silenceReported = false;
  readonly #closeHandshake = new CloseHandshake();
  /** The tag of the peer's CLOSE until it is answered. */
  #closeTag: string | undefined;
  readonly #errors = new ErrorBudget();

  constructor(now: number, own?: Opening, limits: ParserLimits = PARSER_LIMITS) {
    this.#parser = new Parser(limits, own !== undefined);
    this.#own = own;
    this.#startedAt = now;
    this.#receivedAt = now;
  }

  /** Both greetings are done and no CLOSE was sent: requests and announcements are allowed. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** The features of KX/1.1 that both sides use; none before the greeting is over. */
  get features(): Features {
    return this.#features;
  }

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  start(): SessionOutput[] {
    const tag = this.#tags.next();
    const isExtended = this.#own !== undefined;
    return [this.#send({ command: "HELO", tag: isExtended ? TAG_11 : tag, version: VERSION })];
  }

  received(bytes: Uint8Array, now: number): SessionOutput[] {
    this.#receivedAt = now;
    this.#silenceReported = false;
    const outputs: SessionOutput[] = [];
    for (const parsed of this.#parser.reading(bytes)) {
      if (this.#state === "ended") return outputs;
      this.#take(parsed, now, outputs);
    }
    if (this.#parser.insideUpdate || outputs.some(isAnswer)) outputs.push({ type: "progress" });
    return outputs;
  }

  /** Performs what is due. It may be called at any time, and must be called at `nextAt`. */
  tick(now: number): SessionOutput[] {
    const outputs: SessionOutput[] = [];
    if (this.#state === "ended") return outputs;
    const { dueAt } = this.#closeHandshake;
    if (dueAt !== undefined) {
      if (now >= dueAt) {
        this.#agree(outputs);
        this.#end("closed", outputs);
      }
    } else if (this.#state === "opening") {
      if (now >= this.#greetingDueAt()) this.#establish(undefined, outputs);
    } else if (now >= this.#greetingDueAt()) {
      const text = "the greeting is overdue";
      this.#complain({ code: ERROR_CODE.sequence, text }, now, outputs);
      this.#end("greeting-timeout", outputs);
    } else if (this.#state === "open") {
      const again = this.#expireLists(now, outputs);
      const silent = !this.#silenceReported && now >= this.#receivedAt + SESSION_LIMITS.silenceMs;
      if (this.isOpen && (again || silent)) {
        this.#silenceReported = true;
        outputs.push({ type: "silent" });
      }
    }
    return outputs;
  }

  /** When `tick` is due, or undefined when nothing is due before the next input. */
  nextAt(): number | undefined {
    if (this.#state === "ended") return undefined;
    if (this.#closeHandshake.dueAt !== undefined) return this.#closeHandshake.dueAt;
    if (this.#state !== "open") return this.#greetingDueAt();
    const silentAt = this.#silenceReported ? Infinity : this.#receivedAt + SESSION_LIMITS.silenceMs;
    const next = Math.min(silentAt, this.#requests.nextAt());
    return next === Infinity ? undefined : next;
  }

  /** The deadline of the peer's next greeting message; Infinity after the greeting. */
  #greetingDueAt(): number {
    if (this.#state === "helo") return this.#startedAt + SESSION_LIMITS.heloMs;
    const { firstAnnouncementMs } = SESSION_LIMITS;
    const isGreeting = this.#state === "newest" || this.#state === "opening";
    return isGreeting ? this.#startedAt + firstAnnouncementMs : Infinity;
  }

  /** Answers the output `greet`: our newest announcement, undefined for an empty log. */
  greet(newest: Announcement | undefined): SessionOutput[] {
    const announcements = newest === undefined ? [] : [newest];
    const tag = this.#tags.next();
    // The peer may have opened already, but it does not know yet what we use.
    const first = this.#send({ command: "IHAVE", tag, inReplyTo: undefined, announcements }, false);
    if (this.#own === undefined || !this.#isExtended) return [first];
    return [first, this.#send({ command: "OPEN", tag: this.#tags.next(), ...this.#own })];
  }

  announce(announcements: readonly Announcement[]): SessionOutput[] {
    return this.isOpen ? [this.#announcement(announcements, undefined)] : [];
  }

  /** Tells the peer how far its log has been read; nothing if it does not read receipts. */
  done(receipt: Receipt): SessionOutput[] {
    if (!this.isOpen || !this.#features.receipt) return [];
    return [this.#send({ command: "DONE", tag: this.#tags.next(), ...receipt })];
  }

  /** Requests the announcements from `low` to `high`, as wire numbers. */
  list(low: number, high: number, now: number): SessionOutput[] {
    if (!this.isOpen) return [];
    const tag = this.#tags.next();
    this.#requests.addList(tag, low, high, now + SESSION_LIMITS.listMs);
    return [this.#send({ command: "LIST", tag, ranges: [{ low, high }] })];
  }

  /**
   * Requests updates. In KX/1.0 each GETUPDATE has one number, so that each answer has its own tag;
   * with the feature "octets" an answer names its number.
   */
  get(requests: readonly UpdateRequest[]): SessionOutput[] {
    if (!this.isOpen) return [];
    const most = this.#features.octets ? NUMBERS_AT_ONCE : 1;
    const outputs: SessionOutput[] = [];
    for (let from = 0; from < requests.length; from += most) {
      const tag = this.#tags.next();
      const some = requests.slice(from, from + most);
      this.#requests.addUpdates(tag, some);
      const numbers = some.map(({ number }) => number);
      outputs.push(this.#send({ command: "GETUPDATE", tag, numbers }));
    }
    return outputs;
  }

  /** Asks which of these ranges of keys differ. One question is open at a time. */
  compare(ranges: readonly KeyRange[]): SessionOutput[] {
    if (!this.isOpen || !this.#features.reconcile) return [];
    const tag = this.#tags.next();
    this.#requests.addRanges(tag);
    return [this.#send({ command: "RANGE", tag, ranges })];
  }

  /** Tells the peer which keys it lacks, or has otherwise. */
  tell(keys: readonly KeyState[]): SessionOutput[] {
    if (!this.isOpen || !this.#features.reconcile) return [];
    const own = { tag: this.#tags.next(), inReplyTo: undefined };
    return [this.#send({ command: "ITEMS", ...own, ranges: [], keys })];
  }

  /** Answers a RANGE; undefined if there is no key index here. */
  answerRanges(tag: string, items: Items | undefined): SessionOutput[] {
    const own = { tag: this.#tags.next(), inReplyTo: tag };
    const none = { code: ERROR_CODE.generic, text: "there is no key index here" };
    return this.#answer([
      items === undefined
        ? this.#send({ command: "ERROR", ...own, ...none })
        : this.#send({ command: "ITEMS", ...own, ...items }),
    ]);
  }

  /** Answers a LIST with parts of `serializePart`. */
  answerList(tag: string, parts: readonly ListingPart[]): SessionOutput[] {
    if (this.#state === "ended") return [];
    const bytes = serializeListing(this.#tags.next(), tag, parts, this.#features);
    return this.#answer([{ type: "send", bytes }]);
  }

  answerUpdate(tag: string, announcement: Announcement, armor: Uint8Array): SessionOutput[] {
    const own = this.#tags.next();
    return this.#answer([
      this.#send({ command: "UPDATE", tag: own, inReplyTo: tag, announcement, armor }),
    ]);
  }

  /** Answers requests with the feature "octets", available or not, in one message. */
  deliver(inReplyTo: string, deliveries: readonly Delivery[]): SessionOutput[] {
    const tag = this.#tags.next();
    const message = this.#send({ command: "DELIVERY", tag, inReplyTo, deliveries });
    return this.#answer([message], deliveries.length);
  }

  /** Answers a request for a number that we do not have, or no longer have. */
  answerUnavailable(tag: string, number: number): SessionOutput[] {
    const text = `${number} update not available`;
    const error = { tag: this.#tags.next(), inReplyTo: tag, code: ERROR_CODE.generic, text };
    return this.#answer([this.#send({ command: "ERROR", ...error })]);
  }

  /** Sends CLOSE. The output `end` follows when the peer answers, or after 10 s. */
  close(now: number): SessionOutput[] {
    if (this.#state === "ended" || this.#state === "closing") return [];
    this.#state = "closing";
    const tag = this.#tags.next();
    this.#closeHandshake.sent(tag, now);
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
    if (this.#state === "opening") {
      const isOpening = parsed.command === "OPEN";
      this.#establish(isOpening ? parsed : undefined, outputs);
      if (isOpening) return;
    }
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
      case "DELIVERY":
        return this.#takeDelivery(parsed, outputs);
      case "OPEN":
        return this.#takeLateOpen(parsed.tag, now, outputs);
      case "DONE":
        return this.#takeDone(parsed, outputs);
      case "RANGE":
      case "ITEMS":
        return this.#takeReconciling(parsed, outputs);
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
    this.#isExtended = this.#own !== undefined && parsed.tag === TAG_11;
    outputs.push({ type: "greet" });
  }

  #takeSecondHelo(tag: string, now: number, outputs: SessionOutput[]): void {
    // The peer may have sent its greeting before it received our early CLOSE.
    if (this.#state === "closing") return;
    this.#bad({ tag, code: ERROR_CODE.sequence, text: "HELO was said already" }, now, outputs);
  }

  #takeNewest(parsed: Parsed, now: number, outputs: SessionOutput[]): void {
    if (parsed.command !== "IHAVE" || parsed.inReplyTo !== undefined) {
      return this.#outOfSequence(parsed, "IHAVE NOTIFY", now, outputs);
    }
    this.#greeting = parsed.announcements;
    if (this.#isExtended) this.#state = "opening";
    else this.#establish(undefined, outputs);
  }

  /** The greeting is over: rule 9. */
  #establish(opening: Opening | undefined, outputs: SessionOutput[]): void {
    const announcements = this.#greeting;
    this.#greeting = [];
    this.#state = "open";
    this.#features = featuresOf(opening, this.#own);
    this.#parser.features = this.#features;
    outputs.push({ type: "established", newest: announcements.at(-1), opening });
    // The thesis does not forbid more than the newest announcement.
    if (announcements.length > 1) outputs.push({ type: "announced", announcements });
  }

  #takeLateOpen(tag: string, now: number, outputs: SessionOutput[]): void {
    if (this.#state === "closing") return;
    this.#bad({ tag, code: ERROR_CODE.sequence, text: "OPEN was sent already" }, now, outputs);
  }

  #takeDone({ number, without }: Receipt, outputs: SessionOutput[]): void {
    if (this.#features.receipt) outputs.push({ type: "done", number, without });
    else this.#unexpected("a DONE without the feature receipt", outputs);
  }

  #takeReconciling(
    message: Message & { command: "RANGE" | "ITEMS" },
    outputs: SessionOutput[],
  ): void {
    const { command, tag, ranges } = message;
    if (!this.#features.reconcile) {
      return this.#unexpected(`${command} without the feature reconcile`, outputs);
    }
    if (command === "RANGE") {
      this.#owed += 1;
      outputs.push({ type: "asked", asked: { kind: "ranges", tag, ranges } });
      return;
    }
    const { inReplyTo, keys } = message;
    if (inReplyTo === undefined) outputs.push({ type: "told", keys });
    else if (!this.#requests.settleRanges(inReplyTo)) {
      this.#unexpected("ITEMS that were not asked for", outputs);
    } else outputs.push({ type: "items", items: { ranges, keys } });
    this.#endWhenDone(outputs);
  }

  #outOfSequence(parsed: Parsed, due: string, now: number, outputs: SessionOutput[]): void {
    const isMalformedError = parsed.command === "malformed" && parsed.name === "ERROR";
    if (parsed.command === "ERROR" || isMalformedError) {
      // Rule 5 overrides rule 2: an ERROR is not answered.
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
    const request = this.#requests.settleList(inReplyTo);
    if (request === undefined) {
      this.#unexpected("a listing that was not asked for", outputs);
    } else {
      outputs.push({ type: "listed", low: request.low, high: request.high, announcements });
    }
    this.#endWhenDone(outputs);
  }

  #takeUpdate(
    parsed: Parsed & { command: "UPDATE" | "oversized" },
    outputs: SessionOutput[],
  ): void {
    const { inReplyTo } = parsed;
    if (parsed.command === "UPDATE") {
      const { announcement, armor: bytes } = parsed;
      const number = this.#features.octets ? announcement.number : undefined;
      const request = this.#requests.settleUpdate(inReplyTo, number);
      const body = { bytes, isArmored: true, fingerprint: announcement.fingerprint };
      if (request !== undefined) outputs.push({ type: "update", request, body });
      else this.#unexpected("an UPDATE that was not asked for", outputs);
    } else {
      const requests = this.#requests.settleAll(inReplyTo);
      if (requests.length === 0) this.#unexpected("an UPDATE that was not asked for", outputs);
      for (const request of requests) {
        outputs.push({ type: "update-failed", request, problem: "the UPDATE is too large" });
      }
    }
    this.#endWhenDone(outputs);
  }

  #takeDelivery(
    { inReplyTo, deliveries }: Message & { command: "DELIVERY" },
    outputs: SessionOutput[],
  ): void {
    let isUnasked = false;
    for (const { number, packets: bytes } of deliveries) {
      const request = this.#requests.settleUpdate(inReplyTo, number);
      if (request === undefined) isUnasked = true;
      else if (bytes === undefined) outputs.push({ type: "unavailable", request });
      else {
        const { fingerprint } = request;
        outputs.push({ type: "update", request, body: { bytes, isArmored: false, fingerprint } });
      }
    }
    // However many there are, it is one bad message.
    if (isUnasked) this.#unexpected("an UPDATE that was not asked for", outputs);
    this.#endWhenDone(outputs);
  }

  #takeError(message: Message & { command: "ERROR" }, outputs: SessionOutput[]): void {
    const { inReplyTo, code, text } = message;
    const problem = errorText(message);
    const list = this.#requests.settleList(inReplyTo);
    const updates = this.#requests.settleAll(inReplyTo);
    if (list !== undefined) {
      const { low, high } = list;
      outputs.push({ type: "list-failed", low, high }, { type: "complaint", problem });
    } else if (this.#requests.settleRanges(inReplyTo)) {
      outputs.push({ type: "ranges-failed", problem });
    } else if (updates.length === 0) this.#unexpected(problem, outputs);
    const isGone = code === ERROR_CODE.generic && /not available/i.test(text);
    for (const request of updates) {
      outputs.push(
        isGone ? { type: "unavailable", request } : { type: "update-failed", request, problem },
      );
    }
    this.#endWhenDone(outputs);
  }

  #takeMalformed(message: Malformed, now: number, outputs: SessionOutput[]): void {
    const { tag, name, problem: text } = message;
    // Rule 5: the only answer to an ERROR.
    const code = name === "ERROR" ? ERROR_CODE.troubleWithError : ERROR_CODE.generic;
    this.#bad({ tag, code, text }, now, outputs);
  }

  #takeClose(message: Message & { command: "CLOSE" }, now: number, outputs: SessionOutput[]): void {
    const outcome = this.#closeHandshake.received(message.inReplyTo, now);
    if (outcome === "unexpected") this.#unexpected("a CLOSE that quotes an unknown tag", outputs);
    if (outcome === "answer") {
      this.#state = "closing";
      this.#closeTag = message.tag;
    }
    this.#endWhenDone(outputs);
  }

  /** Rule 8: answers the CLOSE of the peer, as the last message. */
  #agree(outputs: SessionOutput[]): void {
    const inReplyTo = this.#closeTag;
    if (inReplyTo === undefined) return;
    this.#closeTag = undefined;
    outputs.push(this.#send({ command: "CLOSE", tag: this.#tags.next(), inReplyTo }));
  }

  /** Rule 8: ends the connection when no request is open on either side. */
  #endWhenDone(outputs: SessionOutput[]): void {
    if (this.#state !== "closing" || !this.#closeHandshake.isAgreed || this.#owed > 0) return;
    this.#agree(outputs);
    if (this.#requests.size === 0) this.#end("closed", outputs);
  }

  #bad(fault: Fault, now: number, outputs: SessionOutput[]): void {
    this.#complain(fault, now, outputs);
    this.#countBad(outputs);
  }

  /** Rule 6: reports it to the operator, not to the peer. */
  #unexpected(problem: string, outputs: SessionOutput[]): void {
    outputs.push({ type: "complaint", problem });
    this.#countBad(outputs);
  }

  #countBad(outputs: SessionOutput[]): void {
    if (this.#state !== "ended" && this.#errors.countBadMessage())
      this.#end("too-many-errors", outputs);
  }

  /** Sends an ERROR, within the limit of rule 5, and reports to the operator. */
  #complain(fault: Fault, now: number, outputs: SessionOutput[]): void {
    const { tag: inReplyTo, code, text } = fault;
    if (this.#errors.takeError(now)) {
      outputs.push(this.#send({ command: "ERROR", tag: this.#tags.next(), inReplyTo, code, text }));
    }
    outputs.push({ type: "complaint", problem: text });
  }

  /** Rule 7. Returns true when the owner has to send another LIST. */
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

  #answer(outputs: SessionOutput[], requests = 1): SessionOutput[] {
    if (this.#state === "ended") return [];
    this.#owed -= requests;
    this.#endWhenDone(outputs);
    return outputs;
  }

  #announcement(list: readonly Announcement[], inReplyTo: string | undefined): SessionOutput {
    return this.#send({ command: "IHAVE", tag: this.#tags.next(), inReplyTo, announcements: list });
  }

  #send(message: Message, isOpened = true): SessionOutput {
    const features = isOpened ? this.#features : NO_FEATURES;
    return { type: "send", bytes: serialize(message, features) };
  }
}

function errorText(message: Message & { command: "ERROR" }): string {
  return `ERROR ${message.code} ${message.text}`;
}

/** Whether an output is the result of a GETUPDATE. */
function isAnswer({ type }: SessionOutput): boolean {
  return type === "update" || type === "unavailable" || type === "update-failed";
}

/** The content of an ERROR. `tag` is the one of the faulty message, undefined for NOTIFY. */
interface Fault {
  readonly tag?: string | undefined;
  readonly code: number;
  readonly text: string;
}

/**
 * Counts bad messages of the peer (rule 6) and the ERRORs that were sent in the last minute
 * (rule 5). The session acts on the results.
 */
class ErrorBudget {
  #badMessages = 0;
  #windowAt = -Infinity;
  #sentInWindow = 0;

  /** Counts a bad message. Returns true when the limit is reached. */
  countBadMessage(): boolean {
    this.#badMessages += 1;
    return this.#badMessages >= ERROR_LIMITS.badMessages;
  }

  /** Counts one ERROR. Returns false when the limit of this minute is reached. */
  takeError(now: number): boolean {
    if (now - this.#windowAt >= 60_000) {
      this.#windowAt = now;
      this.#sentInWindow = 0;
    }
    this.#sentInWindow += 1;
    return this.#sentInWindow <= ERROR_LIMITS.errorsPerMinute;
  }
}

/** Rule 8. */
const CLOSE_MS = 10_000;

/**
 * The state of the CLOSE handshake (thesis A.2.7, rule 8): either side sends CLOSE, and the other
 * one answers with a CLOSE that quotes the tag.
 */
class CloseHandshake {
  #dueAt: number | undefined;
  #ownTag: string | undefined;
  #hasAnswered = false;
  #isAgreed = false;

  /** When the connection ends at the latest; undefined before the first CLOSE. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** The peer has answered our CLOSE, or has sent its own. */
  get isAgreed(): boolean {
    return this.#isAgreed;
  }

  /** We send CLOSE with this tag. */
  sent(tag: string, now: number): void {
    this.#ownTag = tag;
    this.#dueAt ??= now + CLOSE_MS;
  }

  /**
   * The peer sent CLOSE. `inReplyTo` is the tag that it quotes, if any. Only its first own CLOSE is
   * answered. A CLOSE that quotes a tag that we did not send is `unexpected`.
   */
  received(inReplyTo: string | undefined, now: number): "answer" | "unexpected" | "nothing" {
    if (inReplyTo !== undefined && inReplyTo !== this.#ownTag) return "unexpected";
    this.#isAgreed = true;
    if (inReplyTo !== undefined || this.#hasAnswered) return "nothing";
    this.#hasAnswered = true;
    this.#dueAt ??= now + CLOSE_MS;
    return "answer";
  }
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PLACES = 4;

/**
 * The tags of our messages (thesis A.1): four characters, each unique on its connection. They are
 * numbers in base 62 from 0001, unique for the first 14 million messages.
 */
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
