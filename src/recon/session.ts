/**
 * One session with a server that is followed by recon, as a pure machine: octets and the time go
 * in, outputs come out, and the driver performs them in order.
 *
 *  1. The server sends its configuration. It gets the same one back, so that filters and
 *     parameters agree, and both say that it passed.
 *  2. The server plays the reconciling side. It sends a node of its prefix tree as samples of its
 *     polynomial, or all elements of a small one. A mark (a hash of count and samples) stands for
 *     the set of a node: when it is the one that is stored, the node has not changed.
 *  3. A node that has not changed, and a list, are answered with no elements; a node that changed
 *     with "sync failed", and its children follow. Answers are sent when the server flushes.
 *  4. A node gets its mark when all its children came and their counts add up to its own. A session
 *     that breaks in the middle leaves the rest without marks, and the next one goes there again.
 *
 * Every prefix is taken once, and only below a node that was answered with "sync failed". So a
 * session ends with the tree, whatever a server says of its counts.
 */
import { createHash } from "node:crypto";
import {
  ELEMENT_OCTETS,
  Frames,
  frameOf,
  isUnder,
  MAX_BITS,
  NOTHING,
  PASSED,
  type ReconConfig,
  ReconFault,
  type ReconMessage,
  readMessage,
  readText,
  SYNC_FAIL,
} from "./wire.js";

/** Stands for the set of a node: 16 octets. */
export type NodeMark = Buffer;

/** What a session tells of the server's tree, to be stored in this order. */
export type TreeChange =
  /** Exactly these MD5s are under the prefix. */
  | { readonly kind: "list"; readonly prefix: string; readonly md5s: readonly Uint8Array[] }
  /** The set of the node changed; what is stored of it holds no more. */
  | { readonly kind: "changed"; readonly prefix: string }
  /** What is stored below the prefix is the set that the mark stands for. */
  | { readonly kind: "known"; readonly prefix: string; readonly mark: NodeMark };

/**
 * Why a session ended. "done": the server said so; "refused": by its configuration; "busy": it has
 * no time now; "broken": the connection; "slow": a limit of time; "fault": what it sent.
 */
export type Ending = "done" | "refused" | "busy" | "broken" | "slow" | "fault";

export type SessionOutput =
  | { readonly kind: "send"; readonly octets: Uint8Array }
  | { readonly kind: "config"; readonly config: ReconConfig }
  | TreeChange
  | {
      readonly kind: "end";
      readonly why: Ending;
      readonly words: string;
      /** Whether all of the server's tree is known now. */
      readonly isWhole: boolean;
    };

export interface SessionLimits {
  /** From the start to the status of the configuration. */
  readonly greetingMs: number;
  /** Without an octet; a server reads its disk meanwhile. */
  readonly silenceMs: number;
  /** A whole session; what is left is for the next one. */
  readonly sessionMs: number;
  /** Nodes that are waited for or open; a tree of 7 million keys has 90,000 inner ones. */
  readonly nodes: number;
  /** Answers that wait for a flush; servers flush after 100. */
  readonly answers: number;
  /** Keys that a server may say it has. */
  readonly keys: number;
}

export const SESSION_LIMITS: SessionLimits = {
  greetingMs: 30_000,
  silenceMs: 60_000,
  sessionMs: 15 * 60_000,
  nodes: 400_000,
  answers: 10_000,
  keys: 20_000_000,
};

/** A node whose children are on their way. */
interface OpenNode {
  readonly mark: NodeMark;
  readonly size: number;
  /** Children that did not come yet. */
  left: number;
  /** Sum of the counts of those that came. */
  sum: number;
  /** Whether all that came are known. */
  isKnown: boolean;
}

/** Statuses of Hockeypuck and SKS that pass by themselves. */
const BUSY = /not available|mutating|busy|sync in progress/i;

export class ReconSession {
  readonly #marks: (prefix: string) => NodeMark | undefined;
  readonly #limits: SessionLimits;
  readonly #frames = new Frames();
  readonly #startedAt: number;
  #heardAt: number;
  #config: ReconConfig | undefined;
  #state: "config" | "status" | "reason" | "tree" | "ended" = "config";
  /** Prefixes that may come. */
  readonly #awaited = new Set<string>([""]);
  readonly #open = new Map<string, OpenNode>();
  #answers: Uint8Array[] = [];
  #isWhole = false;
  #listed = 0;
  #size: number | undefined;
  #outputs: SessionOutput[] = [];

  /** `marks` says what is stored of a node, `now` is in ms of a clock that never goes back. */
  constructor(
    marks: (prefix: string) => NodeMark | undefined,
    now: number,
    limits: SessionLimits = SESSION_LIMITS,
  ) {
    this.#marks = marks;
    this.#limits = limits;
    this.#startedAt = now;
    this.#heardAt = now;
  }

  /** What the server says it has; undefined before it did. */
  get size(): number | undefined {
    return this.#size;
  }

  received(octets: Uint8Array, now: number): SessionOutput[] {
    if (this.#state === "ended") return [];
    this.#heardAt = now;
    try {
      for (const frame of this.#frames.take(octets)) this.#frame(frame);
    } catch (error) {
      if (!(error instanceof ReconFault)) throw error;
      this.#end("fault", `it sent ${error.message}`);
    }
    return this.#drain();
  }

  /** When `tick` has something to say, if nothing comes before. */
  deadline(): number {
    const { greetingMs, silenceMs, sessionMs } = this.#limits;
    const begun = this.#state === "tree" ? sessionMs : greetingMs;
    return Math.min(this.#startedAt + begun, this.#heardAt + silenceMs);
  }

  tick(now: number): SessionOutput[] {
    if (this.#state !== "ended" && now >= this.deadline()) {
      const isSilent = now >= this.#heardAt + this.#limits.silenceMs;
      this.#end("slow", isSilent ? "it sent nothing more" : "the session took too long");
    }
    return this.#drain();
  }

  /** The connection is closed; `problem` is the system's error, if there was one. */
  closed(problem?: string): SessionOutput[] {
    if (this.#state === "ended") return [];
    const when = {
      config: "it closed the connection before its configuration",
      status: "it closed the connection after our configuration",
      reason: "it refused without a reason",
      tree: "it closed the connection in the middle",
    }[this.#state];
    this.#end("broken", problem ?? when);
    return this.#drain();
  }

  #drain(): SessionOutput[] {
    return this.#outputs.splice(0);
  }

  #frame(frame: Uint8Array): void {
    switch (this.#state) {
      case "config":
        return this.#greet(readMessage(frame));
      case "status":
        if (readText(frame) === "passed") this.#state = "tree";
        else if (readText(frame) === "failed") this.#state = "reason";
        else throw new ReconFault(`a status that is neither "passed" nor "failed"`);
        return;
      case "reason": {
        const words = readText(frame);
        return this.#end(BUSY.test(words) ? "busy" : "refused", words);
      }
      case "tree":
        return this.#message(readMessage(frame));
      case "ended":
        return;
      default:
        return this.#state satisfies never;
    }
  }

  #greet(message: ReconMessage): void {
    if (message.type !== "config") throw new ReconFault("no configuration");
    const { config } = message;
    this.#config = config;
    this.#outputs.push({ kind: "config", config });
    const octets = Buffer.concat([frameOf(config.message), PASSED]);
    this.#outputs.push({ kind: "send", octets });
    this.#state = "status";
  }

  #message(message: ReconMessage): void {
    switch (message.type) {
      case "poly":
        return this.#node(message.prefix, message.size, message.samples);
      case "full":
        return this.#list(message.prefix, message.elements);
      case "flush":
        if (this.#answers.length === 0) return;
        // One write: Hockeypuck gives up a read that brings half of an answer.
        this.#outputs.push({ kind: "send", octets: Buffer.concat(this.#answers.splice(0)) });
        return;
      case "done":
        return this.#end("done", "");
      case "error":
        return this.#end("broken", message.words);
      case "config":
        throw new ReconFault("its configuration twice");
      default:
        return message satisfies never;
    }
  }

  #node(prefix: string, size: number, samples: Uint8Array): void {
    const { bitQuantum, mbar } = this.#came(prefix, size);
    const count = samples.length / ELEMENT_OCTETS;
    if (count !== mbar + 1) throw new ReconFault(`${count} samples with an mbar of ${mbar}`);
    const mark = markOf(bitQuantum, size, samples);
    if (this.#marks(prefix)?.equals(mark) === true) {
      this.#answer(NOTHING);
      return this.#close(prefix, size, true);
    }
    if (prefix.length + bitQuantum > MAX_BITS) throw new ReconFault("a tree that is too deep");
    this.#answer(SYNC_FAIL);
    const left = 2 ** bitQuantum;
    this.#outputs.push({ kind: "changed", prefix });
    this.#open.set(prefix, { mark, size, left, sum: 0, isKnown: true });
    for (let child = 0; child < left; child++) {
      this.#awaited.add(prefix + child.toString(2).padStart(bitQuantum, "0"));
    }
    if (this.#awaited.size + this.#open.size > this.#limits.nodes) {
      throw new ReconFault("a tree of too many nodes");
    }
  }

  #list(prefix: string, md5s: readonly Uint8Array[]): void {
    this.#came(prefix, md5s.length);
    this.#listed += md5s.length;
    const most = Math.max(this.#size ?? 0, 0);
    if (this.#listed > most) {
      throw new ReconFault(`more keys than it says it has (${most})`);
    }
    const different = new Set(md5s.map((md5) => Buffer.from(md5).toString("latin1")));
    if (different.size !== md5s.length) throw new ReconFault("a list with an element twice");
    if (!md5s.every((md5) => isUnder(prefix, md5))) {
      throw new ReconFault("an element that is not under its prefix");
    }
    this.#outputs.push({ kind: "list", prefix, md5s });
    this.#answer(NOTHING);
    this.#close(prefix, md5s.length, true);
  }

  /** A prefix is taken once, below a node that is open. The first one is the root. */
  #came(prefix: string, size: number): ReconConfig {
    const config = this.#config;
    if (config === undefined) throw new ReconFault("a node before its configuration");
    if (!this.#awaited.delete(prefix)) {
      throw new ReconFault(`the node ${prefix || "of the root"}, which was not asked for`);
    }
    this.#size ??= size;
    if (size > this.#limits.keys) throw new ReconFault(`a node of ${size} keys`);
    return config;
  }

  #answer(octets: Uint8Array): void {
    this.#answers.push(octets);
    if (this.#answers.length > this.#limits.answers) {
      throw new ReconFault("too many nodes without a flush");
    }
  }

  /** All of a node came. The marks of its parents follow from that. */
  #close(prefix: string, size: number, isKnown: boolean): void {
    if (prefix === "") {
      this.#isWhole = isKnown;
      return;
    }
    const parent = prefix.slice(0, -(this.#config?.bitQuantum ?? 1));
    const node = this.#open.get(parent);
    if (node === undefined) return;
    node.left -= 1;
    node.sum += size;
    node.isKnown &&= isKnown;
    if (node.left > 0) return;
    this.#open.delete(parent);
    const isWhole = node.isKnown && node.sum === node.size;
    if (isWhole) this.#outputs.push({ kind: "known", prefix: parent, mark: node.mark });
    this.#close(parent, node.size, isWhole);
  }

  #end(why: Ending, words: string): void {
    this.#state = "ended";
    const isWhole = why === "done" && this.#isWhole;
    this.#outputs.push({ kind: "end", why, words, isWhole });
  }
}

/** The set of a node as 16 octets; other parameters make other marks. */
function markOf(bitQuantum: number, size: number, samples: Uint8Array): NodeMark {
  const hash = createHash("sha256").update(`${bitQuantum} ${size} `).update(samples).digest();
  return hash.subarray(0, 16);
}
