/**
 * Follows one server by recon: sessions at the interval `poll`, and hashqueries for new keys. The
 * results of a session are stored in a few commits. A fetched key is processed like any whole key
 * and reduced to its news, so a key that the gateway itself delivered to the server costs one
 * hashquery. The follower waits longer after failures, and never gives up.
 */
import { connect, type Socket } from "node:net";
import type { Clock } from "../clock.js";
import type { ReconServerSettings } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, Trouble } from "../errors.js";
import { askForKeys, type FetchedKey } from "../intake/hashquery-client.js";
import type { KeyIntake } from "../intake/key-intake.js";
import type { Fresh, ReconChange, WantedKey } from "../log/recon.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { encodeArmor } from "../openpgp/armor.js";
import { TokenBucket } from "../rate.js";
import { MAX_ASKED } from "../recon/hashquery.js";
import { type Ending, ReconSession, type SessionLimits } from "../recon/session.js";
import type { ReconConfig } from "../recon/wire.js";
import { delayMs, type Schedule } from "../schedule.js";
import type { FollowLimits } from "./follow-limits.js";
import { brokenRemedy, refusalRemedy } from "./remedy.js";

/** How the rest of the gateway identifies a server, so that nothing is echoed to it. */
export interface FollowedAs {
  /** The name of the corresponding neighbour, or the server's address. */
  readonly name: string;
  readonly mail: string | undefined;
  /** Addresses of other neighbours that are the same server. */
  readonly trail: readonly string[];
}

export interface FollowerStatus {
  readonly server: string;
  readonly hkp: string;
  /** The neighbour that the server counts as, or the server's own address. */
  readonly neighbour: string;
  /** "first": its keys are being collected. "up": it is followed. */
  readonly state: "first" | "up" | "down";
  /** Why it is down, or why keys cannot be fetched. */
  readonly problem: string | undefined;
  /** What the operator can do about the problem. */
  readonly remedy: string | undefined;
  /** Number of keys that the server claims to have. Undefined before the first session. */
  readonly keys: number | undefined;
  /** Number of keys to be fetched, without those of `start = "all"`. */
  readonly wanted: number;
  readonly filters: string | undefined;
  readonly sessions: number;
  readonly fetched: number;
  readonly octetsIn: number;
  readonly octetsOut: number;
  /** Time of the last whole session, milliseconds since 1970; 0 if none. */
  readonly wholeAt: number;
}

interface Obstacle {
  readonly problem: string;
  readonly remedy: string;
}

interface Ended {
  readonly why: Ending;
  readonly words: string;
  readonly isWhole: boolean;
}

/** The parts of the log that a follower uses. */
export type FollowerLog = Pick<UpdateLog, "recon">;

export interface FollowerComponents {
  readonly log: FollowerLog;
  readonly keys: KeyIntake;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export interface FollowerSettings {
  readonly server: ReconServerSettings;
  readonly as: FollowedAs;
  readonly limits: FollowLimits;
}

export class Follower {
  readonly #settings: ReconServerSettings;
  readonly #as: FollowedAs;
  readonly #log: FollowerLog;
  readonly #keys: KeyIntake;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #limits: FollowLimits;
  readonly #sessionLimits: SessionLimits;
  readonly #guard: LogGuard;
  readonly #broken = new AbortController();
  readonly #bucket: TokenBucket;
  #polling: Promise<void> | undefined;
  #fetching: Promise<void> | undefined;
  #wakeFetch: (() => void) | undefined;
  #rung = false;

  #batch = MAX_ASKED;
  #config: ReconConfig | undefined;
  #size: number | undefined;
  #failures = 0;
  #fetchFailures = 0;
  /** Number of consecutive sessions that ended as done but were not whole. */
  #uneven = 0;
  /** The reported problems of sessions and of queries. */
  #trouble: Obstacle | undefined;
  #fetchTrouble: Obstacle | undefined;
  #isCrawled = false;
  #isUp = false;
  #sessions = 0;
  #fetched = 0;
  #octetsIn = 0;
  #octetsOut = 0;
  #wholeAt = 0;
  #wanted = 0;

  constructor(
    { log, keys, clock, diagnostics }: FollowerComponents,
    { server: settings, as, limits }: FollowerSettings,
  ) {
    this.#settings = settings;
    this.#as = as;
    this.#log = log;
    this.#keys = keys;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#limits = limits;
    this.#sessionLimits = limits.session;
    this.#guard = new LogGuard("recon", clock, diagnostics);
    this.#bucket = new TokenBucket(settings.rate, clock.monotonic());
  }

  start(): void {
    this.#polling = this.#poll();
    this.#fetching = this.#fetch();
  }

  /** Aborts the current session and query. Both are repeated after the next start. */
  async stop(): Promise<void> {
    this.#broken.abort(new Error("The gateway stops."));
    this.#wakeFetch?.();
    await Promise.all([this.#polling, this.#fetching]);
  }

  status(): FollowerStatus {
    const { name: server, hkp } = this.#settings;
    return {
      ...{ server, hkp, neighbour: this.#as.name },
      state: this.#isUp ? (this.#isCrawled ? "up" : "first") : "down",
      problem: this.#trouble?.problem ?? this.#fetchTrouble?.problem,
      remedy: this.#trouble?.remedy ?? this.#fetchTrouble?.remedy,
      keys: this.#size,
      wanted: this.#wanted,
      filters: this.#config?.filters,
      sessions: this.#sessions,
      fetched: this.#fetched,
      octetsIn: this.#octetsIn,
      octetsOut: this.#octetsOut,
      wholeAt: this.#wholeAt,
    };
  }

  get #isStopping(): boolean {
    return this.#broken.signal.aborted;
  }

  async #poll(): Promise<void> {
    const { pollMs } = this.#settings;
    while (!this.#isStopping) {
      let waitMs = pollMs;
      try {
        const { id, isCrawled } = this.#log.recon.server(this.#settings.name);
        this.#isCrawled = isCrawled;
        this.#wanted = this.#log.recon.waiting(id);
        // Known missing keys are fetched first.
        if (this.#wanted < this.#limits.wanted) {
          waitMs = this.#settle(await this.#session(id, isCrawled), id);
        }
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        this.#guard.tell(error);
        waitMs = Math.max(pollMs, this.#limits.troubleMs);
      }
      await this.#sleep(waitMs);
    }
  }

  /** Records the end of a session. Returns the delay before the next one. */
  #settle({ why, words, isWhole }: Ended, id: number): number {
    const { name: server, pollMs, start } = this.#settings;
    if (this.#isStopping) return 0;
    this.#sessions += 1;
    if (why === "done") {
      this.#failures = 0;
      this.#trouble = undefined;
      if (!this.#isUp) {
        this.#isUp = true;
        const { version = "", filters = "" } = this.#config ?? {};
        const known = this.#size ?? 0;
        this.#diagnostics.report("recon-up", { server, version, filters, keys: known });
      }
      this.#uneven = isWhole ? 0 : this.#uneven + 1;
      if (isWhole) {
        this.#wholeAt = this.#clock.now();
        if (!this.#isCrawled) {
          this.#log.recon.setCrawled(id);
          this.#isCrawled = true;
          this.#diagnostics.report("recon-crawled", { server, keys: this.#size ?? 0, start });
        }
      }
      if (this.#uneven > 0 && this.#uneven % this.#limits.unevenSessions === 0) {
        this.#diagnostics.report("recon-uneven", { server, sessions: this.#uneven });
      }
      return isWhole ? pollMs : Math.min(pollMs * Math.max(1, this.#uneven), 60_000);
    }
    // A busy server may accept the session at the next poll.
    if (why === "busy") return pollMs;
    const { retry } = this.#limits;
    const schedule: Schedule = [pollMs, ...retry.map((ms) => Math.max(ms, pollMs))];
    const waitMs = delayMs(schedule, this.#failures, this.#clock.random());
    this.#failures += 1;
    const isRefused = why === "refused";
    // A single broken session is not reported: the server may be restarting, or has a short
    // time-out.
    const isNews = this.#trouble?.problem !== words && (isRefused || this.#failures > 1);
    if (!isNews) return waitMs;
    this.#isUp = false;
    this.#trouble = {
      problem: words,
      remedy: isRefused ? refusalRemedy(words) : brokenRemedy(words),
    };
    const report = { server, ...this.#trouble };
    if (isRefused) this.#diagnostics.report("recon-refused", report);
    else this.#diagnostics.report("recon-down", report);
    return waitMs;
  }

  /** Runs one session to its end. Rejects with `Trouble` if the log fails. */
  #session(id: number, isCrawled: boolean): Promise<Ended> {
    const { server, start, name } = this.#settings;
    const fresh: Fresh = isCrawled ? "fetch" : start === "all" ? "later" : "note";
    const { recon } = this.#log;
    return new Promise((resolve, reject) => {
      const socket: Socket = connect({ host: server.host, port: server.port });
      socket.setNoDelay(true);
      const now = () => this.#clock.monotonic();
      const session = new ReconSession((at) => recon.mark(id, at), now(), this.#sessionLimits);
      let changes: ReconChange[] = [];
      let elements = 0;
      let difference = { fresh: 0, gone: 0 };
      let timer: NodeJS.Timeout | undefined;
      let isOver = false;
      const stop = () => over({ why: "broken", words: "the gateway stops", isWhole: false });
      const over = (end: Ended | Error) => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        this.#broken.signal.removeEventListener("abort", stop);
        this.#octetsIn += socket.bytesRead;
        this.#octetsOut += socket.bytesWritten;
        socket.destroy();
        if (end instanceof Error) return reject(end);
        try {
          commit();
        } catch (error) {
          return reject(error);
        }
        if (difference.fresh + difference.gone > 0) {
          this.#diagnostics.report("recon-changes", { server: name, ...difference });
        }
        this.#size = session.size ?? this.#size;
        resolve(end);
      };
      const commit = () => {
        if (changes.length === 0) return;
        const { fresh: more, gone } = recon.apply(id, changes, fresh, this.#clock.now());
        difference = { fresh: difference.fresh + more, gone: difference.gone + gone };
        changes = [];
        elements = 0;
        this.#ring();
      };
      const perform = (outputs: ReturnType<ReconSession["tick"]>) => {
        for (const output of outputs) {
          if (output.kind === "send") socket.write(output.octets);
          else if (output.kind === "end") return over(output);
          else if (output.kind === "config") {
            this.#config = output.config;
            const { bitQuantum, mbar } = output.config;
            recon.setShape(name, `bitquantum ${bitQuantum}, mbar ${mbar}`);
          } else {
            changes.push(output);
            elements += output.kind === "list" ? output.md5s.length : 0;
            if (changes.length >= this.#limits.changes || elements >= this.#limits.elements) {
              commit();
            }
          }
        }
      };
      const guarded = (outputs: () => ReturnType<ReconSession["tick"]>) => {
        if (isOver) return;
        try {
          perform(outputs());
        } catch (error) {
          if (!(error instanceof Trouble)) throw error;
          over(error);
        }
      };
      const watch = () => {
        const waitMs = Math.max(0, session.deadline() - now()) + 1;
        timer = setTimeout(() => {
          guarded(() => session.tick(now()));
          if (!isOver) watch();
        }, waitMs);
      };
      watch();
      this.#broken.signal.addEventListener("abort", stop);
      socket.on("data", (octets) => guarded(() => session.received(octets, now())));
      socket.on("error", (error) => guarded(() => session.closed(wordsOf(error))));
      socket.on("close", () => guarded(() => session.closed()));
    });
  }

  async #fetch(): Promise<void> {
    while (!this.#isStopping) {
      try {
        const waitMs = await this.#fetchSome();
        if (waitMs > 0) await this.#idle(waitMs);
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        this.#guard.tell(error);
        await this.#sleep(this.#limits.troubleMs);
      }
    }
  }

  /** Requests one batch of keys. Returns the delay until the next batch. */
  async #fetchSome(): Promise<number> {
    const { recon } = this.#log;
    const { id } = recon.server(this.#settings.name);
    const now = this.#clock.now();
    const most = Math.min(this.#batch, this.#settings.rate.count);
    const due = recon.due(id, now, most);
    const wanted = due.length > 0 ? due : recon.later(id, most);
    this.#wanted = recon.waiting(id);
    if (wanted.length === 0) {
      const nextAt = recon.nextAt(id);
      return nextAt === undefined ? LONGEST_MS : Math.max(1, nextAt - now);
    }
    const waitMs = this.#bucket.waitMs(this.#clock.monotonic(), wanted.length);
    if (waitMs > 0) return waitMs;
    this.#bucket.take(this.#clock.monotonic(), wanted.length);
    return await this.#ask(id, wanted);
  }

  async #ask(id: number, wanted: readonly WantedKey[]): Promise<number> {
    const { recon } = this.#log;
    const { name: server, hkp } = this.#settings;
    const { signal } = this.#broken;
    const md5s = wanted.map(({ md5 }) => md5);
    const result = await askForKeys(hkp, md5s, this.#limits.question, signal);
    if (this.#isStopping) return 0;
    switch (result.kind) {
      case "failed":
        await this.#sleep(this.#failed(id, wanted, result));
        return 0;
      case "too-large":
        this.#batch = Math.max(1, Math.floor(md5s.length / 2));
        if (md5s.length === 1) this.#giveUp(id, md5s, "the key is too large");
        return 0;
      case "answer":
        this.#fetchFailures = 0;
        this.#fetchTrouble = undefined;
        break;
      default:
        return result satisfies never;
    }
    const { keys, foreign } = result;
    if (foreign.length > 0) {
      const all = keys.length + foreign.length;
      const problem = `${foreign.length} of ${all} keys have another MD5`;
      this.#diagnostics.report("recon-wrong", { server, problem });
    }
    for (let at = 0; at < keys.length; at += AT_ONCE) {
      await Promise.all(keys.slice(at, at + AT_ONCE).map((one) => this.#take(one)));
    }
    recon.settle(
      id,
      keys.map(({ md5 }) => md5),
    );
    this.#fetched += keys.length;
    const came = new Set(keys.map(({ md5 }) => md5.toString("hex")));
    const missing = wanted.filter(({ md5 }) => !came.has(md5.toString("hex")));
    this.#missing(id, missing, md5s.length, keys.length > 0);
    this.#wanted = recon.waiting(id);
    return 0;
  }

  /**
   * Handles a failed query. Its keys are queued behind the others, so that a key that makes the
   * server fail does not block them. Returns the delay before the next query.
   */
  #failed(
    id: number,
    wanted: readonly WantedKey[],
    { words, isFault }: { readonly words: string; readonly isFault: boolean },
  ): number {
    const { retry, tries, singleMs } = this.#limits;
    const waitMs = delayMs(retry, this.#fetchFailures, this.#clock.random());
    this.#fetchFailures += 1;
    this.#batch = Math.max(1, Math.floor(wanted.length / 2));
    const { name: server, hkp } = this.#settings;
    const problem = `hashquery: ${words}`;
    if (this.#fetchTrouble?.problem !== problem && this.#fetchFailures > 1) {
      const remedy = `Check that ${hkp} is the HKP address of the same server.`;
      this.#fetchTrouble = { problem, remedy };
      this.#diagnostics.report("recon-down", { server, problem, remedy });
    }
    const isAlone = wanted.length === 1;
    const lost = wanted.filter(({ attempts }) => isAlone && isFault && attempts + 1 >= tries);
    this.#giveUp(
      id,
      lost.map(({ md5 }) => md5),
      problem,
    );
    const others = wanted.filter((one) => !lost.includes(one)).map(({ md5 }) => md5);
    const nextAt = this.#clock.now() + (isAlone ? Math.max(waitMs, singleMs) : waitMs);
    this.#log.recon.putOff(id, others, nextAt, isAlone && isFault ? 1 : 0);
    return waitMs;
  }

  /**
   * Handles keys that were not returned. A server may limit the size of a response, so a key counts
   * as missing only if no key was returned or few were requested. A key that the server has removed
   * disappears with the next session.
   */
  #missing(id: number, missing: readonly WantedKey[], asked: number, someCame: boolean): void {
    const { tries, missing: schedule, fewKeys } = this.#limits;
    if (missing.length === 0) {
      this.#batch = Math.min(MAX_ASKED, this.#batch * 2);
      return;
    }
    this.#batch = Math.max(1, Math.floor(asked / 2));
    const counts = !someCame || asked <= fewKeys;
    const now = this.#clock.now();
    const lost = missing.filter(({ attempts }) => counts && attempts + 1 >= tries);
    this.#giveUp(
      id,
      lost.map(({ md5 }) => md5),
      "the server lists it and does not return it",
    );
    const byAttempts = new Map<number, Buffer[]>();
    for (const { md5, attempts } of missing) {
      if (counts && attempts + 1 >= tries) continue;
      byAttempts.set(attempts, [...(byAttempts.get(attempts) ?? []), md5]);
    }
    for (const [attempts, md5s] of byAttempts) {
      const waitMs = delayMs(schedule, counts ? attempts : 0, this.#clock.random());
      this.#log.recon.putOff(id, md5s, now + waitMs, counts ? 1 : 0);
    }
  }

  #giveUp(id: number, md5s: readonly Buffer[], problem: string): void {
    for (const md5 of md5s) {
      const { name: server } = this.#settings;
      this.#diagnostics.report("recon-missing", { server, md5: md5.toString("hex"), problem });
    }
    this.#log.recon.settle(id, md5s);
  }

  /** Appends a key to the log. Rejects with `Trouble`. */
  async #take({ key }: FetchedKey): Promise<void> {
    const { name, mail, trail } = this.#as;
    try {
      await this.#keys.take({
        armor: [Buffer.from(encodeArmor(key), "latin1")],
        sender: { name, mail },
        trail,
        messageId: undefined,
        bytes: key.length,
        single: true,
        transport: "recon",
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { reason, message: problem, fingerprint } = error;
      const why = { fingerprint, reason, problem };
      this.#diagnostics.report("key-refused", { neighbour: name, messageId: undefined, ...why });
    }
  }

  /** Signals that there may be keys to fetch. */
  #ring(): void {
    this.#rung = true;
    this.#wakeFetch?.();
  }

  /** Waits at most `ms` until there may be keys to fetch. */
  async #idle(ms: number): Promise<void> {
    if (!this.#rung && !this.#isStopping) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(ms, LONGEST_MS));
        this.#wakeFetch = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wakeFetch = undefined;
    }
    this.#rung = false;
  }

  async #sleep(ms: number): Promise<void> {
    const { signal } = this.#broken;
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
    });
  }
}

/** Number of keys processed at once. Keys that arrive together are stored together. */
const AT_ONCE = 16;
/** Maximum wait before the state is checked again. */
const LONGEST_MS = 60_000;

function wordsOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  const first = error instanceof AggregateError ? error.errors[0] : error;
  const words = first instanceof Error ? first.message : error.message;
  return code === undefined || words.includes(code) ? words : `${code} ${words}`.trim();
}
