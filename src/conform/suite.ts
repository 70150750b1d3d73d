/**
 * The conformance suite of KX: plays every rule against a server, one after the other, each on
 * connections of its own, and says what it found. A run ends in bounded time: each wait has a
 * limit, and so has the whole. It sends no more than a few messages a rule.
 */
import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import { TAG_11 } from "../kx/messages.js";
import type { LogName } from "../update.js";
import {
  announcementsOf,
  CONVERSATION_LIMITS,
  Deviation,
  type OwnLog,
  type OwnUpdate,
  type Said,
  Skipped,
} from "./conversation.js";
import type { Need, Rule } from "./rule.js";
import { EXTENDED_RULES } from "./rules-extended.js";
import { FEATURE_RULES } from "./rules-features.js";
import { GREETING_RULES } from "./rules-greeting.js";
import { REQUEST_RULES } from "./rules-requests.js";
import { UPDATE_RULES } from "./rules-updates.js";
import { Subject } from "./subject.js";
import type { Heard, WireRule } from "./wire.js";

export const SUITE_LIMITS = {
  /** A run in which every rule fails by a wait; one that passes takes some seconds. */
  runMs: 15 * 60_000,
} as const;

/** Rules that are judged by everything that the server sent in the run. */
const WIRE_RULES: readonly (Omit<Rule, "play"> & { readonly wire: WireRule })[] = [
  {
    ...{ id: "wire.crlf", wire: "crlf", source: "thesis A.1; Framing" },
    text: "Every line ends with CRLF.",
  },
  {
    ...{ id: "wire.tags", wire: "tags", source: "thesis A.1; Framing" },
    text: "A tag has 4 octets from 0x20 to 0x7E and is used once on a connection.",
  },
  {
    ...{ id: "wire.commands", wire: "commands", source: "Framing; Messages" },
    text: "Commands are in upper case and known.",
  },
  {
    ...{ id: "wire.lines", wire: "lines", source: "Framing" },
    text: "No line has more than 1024 octets, and no message more than 8 MiB.",
  },
  {
    ...{ id: "wire.forms", wire: "forms", source: "thesis A.2; Messages" },
    text: "The data of each message has the form of its command.",
  },
  {
    ...{ id: "wire.1.0-only", wire: "no-11-to-10", source: "KX/1.1" },
    text: "A peer of KX/1.0 gets no message of KX/1.1.",
  },
];

const PLAYED: readonly Rule[] = [
  ...GREETING_RULES,
  ...REQUEST_RULES,
  ...EXTENDED_RULES,
  ...FEATURE_RULES,
  ...UPDATE_RULES,
];

/** All rules in the order of a report, for lists of them. */
export const RULES: readonly Omit<Rule, "play">[] = [...WIRE_RULES, ...PLAYED];

export interface Finding {
  readonly id: string;
  readonly text: string;
  readonly source: string;
  readonly result: "pass" | "fail" | "skipped";
  /** What is wrong, or why it was skipped; empty for a pass. */
  readonly words: string;
  /** What was said, oldest first; the beginning is cut off if there was too much. */
  readonly transcript: readonly Said[];
}

export interface SuiteOptions {
  /** Opens a connection to the server. */
  readonly dial: () => Promise<Duplex>;
  /** How long the server may take for an answer, milliseconds. */
  readonly waitMs: number;
  /** Whether rules are played that wait for a minute. */
  readonly slow: boolean;
  /** Only KX/1.0 is played. */
  readonly old: boolean;
  /** The update that the server may be given; undefined for none. */
  readonly update: OwnUpdate | undefined;
  /** The rules to play, by id or group; undefined for all. */
  readonly only: readonly string[] | undefined;
  /** Milliseconds of a clock that does not jump. */
  now(): number;
  /** Is called with each finding when it is known. */
  found(finding: Finding): void;
}

/** What the first connection showed. */
export interface Welcome {
  readonly version: "1.0" | "1.1";
}

export class Suite {
  readonly #options: SuiteOptions;
  readonly #subject: Subject;
  readonly #noted = new Map<WireRule, string>();
  readonly #asked = new Set<number>();
  #transcript: Said[] = [];
  #heard = 0;
  #ruleAt = 0;

  constructor(options: SuiteOptions) {
    const { dial, waitMs, update } = options;
    const own: OwnLog = { name: nameOf(""), updates: [] };
    this.#options = options;
    const scene = {
      own,
      waitMs,
      now: () => options.now(),
      asked: (number: number) => this.#asked.add(number),
      said: (from: Said["from"], text: string) => this.#said(from, text),
      note: (rule: WireRule, problem: string) => {
        if (!this.#noted.has(rule)) this.#noted.set(rule, problem);
      },
    };
    this.#subject = new Subject(dial, scene, update, this.#asked);
  }

  /** Waits for the first HELO, and sees the newest update of the server. Throws `Deviation`. */
  async welcome(): Promise<Welcome> {
    try {
      const line = await this.#subject.connect();
      const isHelo = ({ command }: Heard) => command === "HELO";
      line.send("HELO", "1.0");
      const helo = await line.wait("HELO", isHelo);
      const isNewest = ({ command }: Heard) => command === "IHAVE";
      const newest = await line.wait("IHAVE", isNewest).catch(() => undefined);
      this.#begin(newest);
      return { version: helo.tag === TAG_11 ? "1.1" : "1.0" };
    } finally {
      await this.#subject.leave();
    }
  }

  /** Plays the rules; returns the findings in the order of `RULES`. */
  async run({ version }: Welcome): Promise<Finding[]> {
    const { only, found, now } = this.#options;
    const endsAt = now() + SUITE_LIMITS.runMs;
    const isWanted = ({ id }: Pick<Rule, "id">) => {
      return only?.some((one) => id === one || id.startsWith(`${one}.`)) ?? true;
    };
    const played: Finding[] = [];
    for (const rule of PLAYED.filter(isWanted)) {
      const why = now() > endsAt ? "the time of the run is over" : this.#missing(rule, version);
      const finding = await this.#play(rule, why);
      found(finding);
      played.push(finding);
    }
    const wire = WIRE_RULES.filter(isWanted).map((rule) => this.#judged(rule));
    for (const finding of wire) found(finding);
    return [...wire, ...played];
  }

  /** Our log begins with the update that the server greeted with; see `OwnLog`. */
  #begin(heard: Heard | undefined): void {
    const { own } = this.#subject.scene;
    const newest = heard && announcementsOf(heard).at(-1);
    if (newest === undefined) return;
    own.name = nameOf(newest.hash);
    own.updates = [{ announcement: { ...newest, number: 1 }, armor: undefined }];
  }

  #missing({ needs = [] }: Rule, version: Welcome["version"]): string | undefined {
    const { slow, old, update } = this.#options;
    const reasons: Record<Need, string | undefined> = {
      "1.1": old
        ? "only KX/1.0 is played"
        : version === "1.0"
          ? "the server does not show the tag KX11"
          : undefined,
      slow: slow ? undefined : "--slow plays it",
      update: update === undefined ? "it sends an update: --send-key plays it" : undefined,
    };
    return needs.map((need) => reasons[need]).find((reason) => reason !== undefined);
  }

  async #play(rule: Rule, why: string | undefined): Promise<Finding> {
    const { id, text, source } = rule;
    this.#transcript = [];
    this.#ruleAt = this.#options.now();
    let [result, words]: [Finding["result"], string] = ["pass", ""];
    if (why !== undefined) [result, words] = ["skipped", why];
    else {
      try {
        await rule.play(this.#subject);
      } catch (error) {
        if (error instanceof Skipped) [result, words] = ["skipped", error.message];
        else if (error instanceof Deviation) [result, words] = ["fail", error.message];
        else throw error;
      }
    }
    const transcript = this.#transcript;
    this.#transcript = [];
    await this.#subject.leave();
    return { id, text, source, result, words, transcript };
  }

  #judged({ wire, id, text, source }: (typeof WIRE_RULES)[number]): Finding {
    const words = this.#noted.get(wire) ?? (this.#heard === 0 ? "the server sent nothing" : "");
    const result = words === "" ? "pass" : this.#heard === 0 ? "skipped" : "fail";
    return { id, text, source, result, words, transcript: [] };
  }

  #said(from: Said["from"], text: string): void {
    const { messages, shownLines, columns } = CONVERSATION_LIMITS;
    if (from === "server") this.#heard += 1;
    const lines = text.split("\r\n");
    const cut = lines.slice(0, shownLines).map((line) => line.slice(0, columns));
    if (lines.length > shownLines) cut.push(`(${lines.length - shownLines} more lines)`);
    const at = Math.round(this.#options.now() - this.#ruleAt);
    this.#transcript.push({ from, at, text: cut.join("\n") });
    if (this.#transcript.length > messages) this.#transcript.shift();
  }
}

/** The name of a log whose first update has this hash. */
function nameOf(hash: string): LogName {
  return createHash("sha256").update(`kxgw conform ${hash}`).digest("hex").slice(0, 32) as LogName;
}
