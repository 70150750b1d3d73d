/**
 * One session with a server that is followed by recon, as a pure state machine: the inputs are
 * octets and the time, and the driver performs the outputs in order.
 *
 * 1. The server sends its configuration. The gateway returns the same one, so that filters and
 *    parameters agree, and both sides report "passed".
 * 2. The server reconciles. It sends a node of its prefix tree as samples of its polynomial, or all
 *    elements of a small node. A mark (a hash of count and samples) identifies the set of a node:
 *    if it equals the stored mark, the node has not changed.
 * 3. The reply to an unchanged node or a list is an empty set of elements. The reply to a changed
 *    node is "sync failed", and its children follow. Replies are sent when the server flushes.
 * 4. A node gets its mark when all its children have arrived and their counts add up to its own. An
 *    aborted session leaves the other nodes without marks, and the next session visits them again.
 * 5. Each prefix is accepted once, and only below a node that was answered with "sync failed". A
 *    session therefore ends with the tree, whatever counts the server sends.
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

/** Identifies the set of a node. 16 octets. */
export type NodeMark = Buffer;

/** Changes of the server's tree that a session reports. They are stored in this order. */
export type TreeChange =
  /** The MD5s under the prefix are exactly these. */
  | { readonly kind: "list"; readonly prefix: string; readonly md5s: readonly Uint8Array[] }
  /** The set of the node changed. Its stored mark is invalid. */
  | { readonly kind: "changed"; readonly prefix: string }
  /** The set stored below the prefix is the one that the mark identifies. */
  | { readonly kind: "known"; readonly prefix: string; readonly mark: NodeMark };

/**
 * Why a session ended. "done": the server ended it normally. "refused": the server rejected the
 * configuration. "busy": the server has no time now. "broken": the connection failed. "slow": a
 * time limit was exceeded. "fault": the server sent invalid data.
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
      /** Whether the complete tree of the server is now known. */
      readonly isWhole: boolean;
    };

export interface SessionLimits {
  /**
   * From the start to the status of the configuration. SKS has one session at a time, and waits for
   * the configuration of a partner for 45 s (reconciliation_config_timeout). Two SKS that dial each
   * other at the same moment answer nobody for so long.
   */
  readonly greetingMs: number;
  /** Maximum time without an octet. A server reads its disk meanwhile. */
  readonly silenceMs: number;
  /** Maximum time of a session. The next session does the rest. */
  readonly sessionMs: number;
  /** Maximum number of expected and open nodes. A tree of 7 million keys has 90,000 inner nodes. */
  readonly nodes: number;
  /** Maximum number of replies that wait for a flush. Servers flush after 100. */
  readonly answers: number;
  /** Maximum number of keys that a server may claim to have. */
  readonly keys: number;
}

export const SESSION_LIMITS: SessionLimits = {
  greetingMs: 60_000,
  silenceMs: 60_000,
  sessionMs: 15 * 60_000,
  nodes: 400_000,
  answers: 10_000,
  keys: 20_000_000,
};

/** A node whose children are expected. */
interface OpenNode {
  readonly mark: NodeMark;
  readonly size: number;
  /** Number of children that have not arrived yet. */
  left: number;
  /** Sum of the counts of the children that have arrived. */
  sum: number;
  /** Whether all children that have arrived are known. */
  isKnown: boolean;
}

/** Texts of Hockeypuck and SKS for temporary conditions. */
const BUSY = /not available|mutating|busy|sync in progress/i;

export class ReconSession {
  readonly #marks: (prefix: string) => NodeMark | undefined;
  readonly #limits: SessionLimits;
  readonly #frames = new Frames();
  readonly #startedAt: number;
  #heardAt: number;
  #config: ReconConfig | undefined;
  #state: "config" | "status" | "reason" | "tree" | "ended" = "config";
  /** Prefixes that the server may send next. */
  readonly #awaited = new Set<string>([""]);
  readonly #open = new Map<string, OpenNode>();
  #answers: Uint8Array[] = [];
  #isWhole = false;
  #listed = 0;
  #size: number | undefined;
  #outputs: SessionOutput[] = [];

  /** `marks` returns the stored mark of a node. `now` is in ms of a monotonic clock. */
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

  /** Number of keys that the server claims to have. Undefined until it is received. */
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

  /** When `tick` must be called if no data arrives before. */
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

  /** The connection is closed. `problem` is the system error, if there was one. */
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
        // A single write: Hockeypuck aborts a read that returns a partial reply.
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

  /** Accepts each prefix once, below an open node. The first prefix is the root. */
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

  /** A node is complete. This determines the marks of its parents. */
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

/** Hashes the set of a node to 16 octets. Other parameters give other marks. */
function markOf(bitQuantum: number, size: number, samples: Uint8Array): NodeMark {
  const hash = createHash("sha256").update(`${bitQuantum} ${size} `).update(samples).digest();
  return hash.subarray(0, 16);
}
