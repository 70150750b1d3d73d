/**
 * What must hold of KX for any octets, in both versions: the parser, a session behind it, and the
 * machine of reconciliation. `targets.ts` says what a target is.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { type Features, type Message, NO_FEATURES, type Opening } from "../../src/kx/messages.js";
import { PARSER_LIMITS, type Parsed, Parser } from "../../src/kx/parser.js";
import type { KeyState } from "../../src/kx/range-sum.js";
import { answerRanges, BadAnswer, RECONCILE_LIMITS, Reconciler } from "../../src/kx/reconcile.js";
import { serialize } from "../../src/kx/serializer.js";
import { Session, type SessionOutput } from "../../src/kx/session.js";
import type { LogName } from "../../src/update.js";
import { EVERY_FEATURE, OWN_KEYS } from "./kx-seeds.js";
import { word } from "./outcomes.js";

/** Messages of an input that are taken: an input of some kB is soon said. */
const MOST_MESSAGES = 1000;

/** However the stream was cut, it says the same; and what was read reads the same once written. */
export function kx(input: Uint8Array): string {
  return word([NO_FEATURES, EVERY_FEATURE].flatMap((features) => kxWith(input, features)));
}

/** A parser of a connection that uses these features. */
function kxParser(features: Features): Parser {
  const parser = new Parser(PARSER_LIMITS, features !== NO_FEATURES);
  parser.features = features;
  return parser;
}

function kxWith(input: Uint8Array, features: Features): string[] {
  const whole = kxParser(features).push(input);
  const step = (input.length % 7) + 1;
  const parser = kxParser(features);
  const pieces: Parsed[] = [];
  for (let at = 0; at < input.length; at += step) {
    pieces.push(...parser.push(input.subarray(at, at + step)));
  }
  deepStrictEqual(pieces.map(comparable), whole.map(comparable));
  for (const message of whole) {
    if (message.command === "malformed" || message.command === "unframed") {
      ok(/^[ -~]{5,100}$/.test(message.problem), `the refusal says "${message.problem}"`);
    } else if (message.command !== "oversized") {
      isWithinLimits(message);
      comesBack(message, features);
    }
  }
  return whole.map(({ command }) => command);
}

function isWithinLimits(message: Message): void {
  const { ranges, keyRanges, items } = PARSER_LIMITS;
  const { command } = message;
  if (command === "DONE") ok(message.without.length <= ranges, "a DONE without bound");
  else if (command === "RANGE") ok(message.ranges.length <= keyRanges, "a RANGE without bound");
  else if (command === "ITEMS") {
    ok(message.ranges.length + message.keys.length <= items, "an ITEMS without bound");
  }
}

function comesBack(message: Message, features: Features): void {
  if (!isWritable(message)) return;
  const reader = kxParser(features);
  // What is a command of KX/1.1 is one after a HELO with its tag.
  if (features !== NO_FEATURES) reader.push(Buffer.from("KX11\nHELO\n1.0\n.\n"));
  const [again, ...more] = reader.push(serialize(message, features));
  ok(again !== undefined && more.length === 0, `${message.command} was cut in two`);
  deepStrictEqual(comparable(again), comparable(message));
}

/**
 * Of armor that is not ours a line may be a lone dot or too long, and ".\r" is read as the version
 * "."; an OPEN may have more words than we write in a line, and an IHAVE an empty line for a tag,
 * which in octets stands for NOTIFY. An ERROR is written without what cannot be printed.
 */
function isWritable(message: Message): boolean {
  switch (message.command) {
    case "HELO":
      return message.version !== ".";
    case "UPDATE":
    case "ERROR":
      return false;
    case "OPEN":
      return message.features.join(" ").length + 20 < PARSER_LIMITS.lineBytes;
    case "IHAVE":
      return message.inReplyTo !== "";
    default:
      return true;
  }
}

function comparable(one: Parsed): unknown {
  if (one.command === "UPDATE") return { ...one, armor: String(one.armor) };
  if (one.command !== "DELIVERY") return one;
  const deliveries = one.deliveries.map(({ number, packets }) => {
    return { number, packets: packets && Buffer.from(packets).toString("hex") };
  });
  return { ...one, deliveries };
}

const OPENING: Opening = {
  log: "0".repeat(32) as LogName,
  features: Object.keys(EVERY_FEATURE),
};
const GREETING = "HELO\r\n1.0\r\n.\r\naaab\r\nIHAVE\r\nNOTIFY\r\n.\r\n";
const OPEN = `aaac\r\nOPEN\r\nfeatures ${OPENING.features.join(" ")}\r\n.\r\n`;

/** A session answers anything with well-formed messages, few of them, or ends. */
export function session(input: Uint8Array): string {
  const old = sessionWith(input, undefined, `aaaa\r\n${GREETING}`);
  // Once with the input in the place of OPEN, and once behind it.
  const opening = sessionWith(input, OPENING, `KX11\r\n${GREETING}`);
  const open = sessionWith(input, OPENING, `KX11\r\n${GREETING}${OPEN}`);
  return word([old, opening, open].flat().map(({ type }) => type));
}

function sessionWith(
  input: Uint8Array,
  own: Opening | undefined,
  greeting: string,
): SessionOutput[] {
  const it = new Session(0, own);
  const outputs = [...it.start()];
  outputs.push(...it.received(Buffer.from(greeting), 1));
  outputs.push(...it.greet(undefined));
  outputs.push(
    ...it.list(1, 9, 1),
    ...it.compare([{ prefix: "", ...OWN_KEYS.state("") }]),
    ...it.done({ number: 1, without: [] }),
  );
  const before = outputs.length;
  outputs.push(...it.received(input, 2));
  let sent = 0;
  for (const [index, output] of outputs.entries()) {
    if (output.type !== "send") continue;
    if (index >= before) sent += output.bytes.length;
    const parser = new Parser(PARSER_LIMITS, own !== undefined);
    if (own !== undefined) parser.push(Buffer.from("KX11\nHELO\n1.0\n.\n"));
    parser.features = it.features;
    const [message, ...more] = parser.push(output.bytes);
    ok(message !== undefined && more.length === 0, "not one message");
    ok(message.command !== "malformed" && message.command !== "unframed", "a message of ours");
  }
  ok(sent <= 2000 + 4 * input.length, `${sent} octets for ${input.length}`);
  return outputs;
}

/**
 * A run takes each ITEMS as the answer to its question: it shows keys of that answer and of its own
 * set only, or is over with a fault. A RANGE gets an answer of bounded size, whatever it asks.
 */
export function reconcile(input: Uint8Array): string {
  const messages = kxParser(EVERY_FEATURE).push(input).slice(0, MOST_MESSAGES);
  const outcomes: string[] = [];
  let run = new Reconciler(OWN_KEYS, true);
  for (const message of messages) {
    if (message.command === "RANGE") {
      const { ranges, keys } = answerRanges(OWN_KEYS, message.ranges);
      const most = message.ranges.length;
      ok(ranges.length <= 17 * most && keys.length <= 16 * most, "an answer without bound");
      outcomes.push(ranges.length === 0 ? "same" : "differs");
    } else if (message.command === "ITEMS" && message.inReplyTo !== undefined) {
      const asked = run.next();
      if (asked === undefined) run = new Reconciler(OWN_KEYS, true);
      ok((asked?.length ?? 0) <= RECONCILE_LIMITS.ranges, "a question without bound");
      try {
        const { wanted, told } = run.answered(message);
        ok(wanted.every(isOf(message.keys)) && told.every(isOwn), "a key from nowhere");
        outcomes.push(wanted.length + told.length > 0 ? "found" : "none");
      } catch (error) {
        if (!(error instanceof BadAnswer)) throw error;
        outcomes.push(error.message);
        run = new Reconciler(OWN_KEYS, true);
      }
    }
  }
  return word(outcomes);
}

function isOf(keys: readonly KeyState[]): (key: KeyState) => boolean {
  const all = new Set(keys);
  return (key) => all.has(key);
}

function isOwn({ fingerprint, digest }: KeyState): boolean {
  return OWN_KEYS.digestOf(fingerprint) === digest;
}
