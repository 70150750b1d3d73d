/**
 * Gateways that are wrong on purpose: bugs that a synchronisation protocol invites, each planted by
 * exchanging a method of the engine (never by a switch in src) for as long as its worlds run. The
 * simulation is worth as much as it finds of them: a mutant that survives is a hole in the checks.
 */
import type { StoreListener } from "../../src/cluster/postgres-store.js";
import { Lane, type LaneRun, type LaneStep } from "../../src/delivery/lane.js";
import type { Outcome } from "../../src/delivery/relay.js";
import { Trouble } from "../../src/errors.js";
import { KeyIntake, type Submission } from "../../src/intake/key-intake.js";
import { FetchTracker } from "../../src/kx/fetch-tracker.js";
import { LogIdentity } from "../../src/kx/log-identity.js";
import type { Announcement, Receipt } from "../../src/kx/messages.js";
import { Receipts } from "../../src/kx/receipts.js";
import type { Greeting, WirePosition } from "../../src/kx/receive-state.js";
import { ReceiveState } from "../../src/kx/receive-state.js";
import { serialize } from "../../src/kx/serializer.js";
import { Session, type SessionOutput } from "../../src/kx/session.js";
import { Bounces } from "../../src/log/bounces.js";
import { Exceptions, type NewException } from "../../src/log/exceptions.js";
import { GatheredTrails } from "../../src/log/gathered-trails.js";
import { HashIndex } from "../../src/log/hash-index.js";
import { type LaneRow, Lanes } from "../../src/log/lanes.js";
import { PacketMemory } from "../../src/log/packet-memory.js";
import { Pending } from "../../src/log/pending.js";
import { Skeletons } from "../../src/log/remembered.js";
import { Retention, type RetentionLimits } from "../../src/log/retention.js";
import type { Commit, SharedChanges, SharedRow } from "../../src/log/shared-port.js";
import { Trails } from "../../src/log/trail.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { Announcements } from "../../src/peering/announcements.js";
import { Receiving, type Store } from "../../src/peering/receiving.js";
import {
  type AnnouncedName,
  nameOf,
  type Seq,
  type UpdateDigest,
  type UpdateHash,
} from "../../src/update.js";
import { MemoryShared } from "../support/memory-shared.js";
import { NodeLink, SimSite } from "./cluster.js";
import { SimIntake } from "./intake.js";
import { SimHkpServer } from "./local.js";
import { LOCAL, Process } from "./process.js";
import { DURABLE, type StoreOptions } from "./store.js";
import { presentOnlooker } from "./taps.js";

export interface Mutant {
  readonly name: string;
  /** What is wrong, for the table. */
  readonly bug: string;
  readonly store?: StoreOptions;
  /** It can only show in worlds where a site has several gateways. */
  readonly isOfCluster?: true;
  /** Plants the bug, and returns the way back. */
  plant(): () => void;
}

type Method = (this: never, ...parameters: never[]) => unknown;

/** Puts `make(original)` in the place of a method; returns the way back. */
function exchange<C extends { prototype: object }>(
  where: C,
  name: string,
  make: (
    original: (self: object, ...parameters: unknown[]) => unknown,
  ) => (self: object, ...parameters: unknown[]) => unknown,
): () => void {
  const before = Object.getOwnPropertyDescriptor(where.prototype, name);
  const method = (before?.value ?? before?.get) as Method | undefined;
  if (before === undefined || method === undefined) throw new Error(`there is no ${name}`);
  const planted = make((self, ...parameters) => Reflect.apply(method, self, parameters));
  function wrong(this: object, ...parameters: unknown[]): unknown {
    return planted(this, ...parameters);
  }
  const after = before.get === undefined ? { value: wrong } : { get: wrong };
  Object.defineProperty(where.prototype, name, { ...after, configurable: true });
  return () => Object.defineProperty(where.prototype, name, before);
}

function all(...undo: readonly (() => void)[]): () => void {
  return () => {
    for (const one of [...undo].reverse()) one();
  };
}

function expiring(change: (limits: RetentionLimits) => RetentionLimits): () => void {
  return exchange(Retention, "expire", (original) => (self, now, limits, batch) => {
    return original(self, now, change(limits as RetentionLimits), batch);
  });
}

/** A lane's run, with `step` called before each step, and another answer to each delivery. */
function* changed(
  run: LaneRun,
  step: (own: LaneStep) => void,
  answer: (outcome: Outcome | undefined) => Outcome | undefined = (outcome) => outcome,
): LaneRun {
  for (let next = run.next(undefined); next.done !== true; ) {
    let outcome: Outcome | undefined;
    try {
      step(next.value);
      outcome = answer(yield next.value);
    } catch (error) {
      // Trouble of the log, which the lane knows how to take.
      next = run.throw(error);
      continue;
    }
    next = run.next(outcome);
  }
}

/** The run of a lane whose cursor is stored with each delivery, before its outcome is known. */
function cursorAhead(name: string, run: LaneRun): LaneRun {
  return changed(run, (step) => {
    if (step.type === "deliver") saveAhead(name, step.updates.at(-1));
  });
}

function saveAhead(name: string, hash: UpdateHash | undefined): void {
  const log = presentOnlooker().log();
  const last = hash && log?.entryByHash(hash);
  const row = log?.lanes.get(name);
  if (row !== undefined && last !== undefined && last.seq > row.cursor) {
    log?.lanes.save(name, { ...row, cursor: last.seq });
  }
}

/** Exceptions of some kind are not stored. */
function withoutRows(isLost: (row: NewException) => boolean): () => void {
  return exchange(Exceptions, "set", (original) => (self, row) => {
    return isLost(row as NewException) ? 0 : original(self, row);
  });
}

/** The run of a lane that takes every failure for one of the site. */
function blaming(run: LaneRun): LaneRun {
  return changed(
    run,
    () => {},
    (outcome) => {
      return outcome?.kind === "temporary" ? { ...outcome, about: "neighbour" } : outcome;
    },
  );
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "ack-early",
    bug: "a mail is answered 250 before the commit",
    plant: () =>
      exchange(SimIntake, "queued", () => (self, arrivals, answer) => {
        (self as SimIntake).acknowledge(arrivals as never, answer as never);
      }),
  },
  {
    name: "announce-early",
    bug: "updates are announced before they are stored, under the numbers that they will have",
    plant: () => {
      // What was handed out by each log and was not told to each peer.
      const early = new WeakMap<object, { readonly line: Announcement; told: Set<unknown> }[]>();
      return all(
        exchange(Receiving, "stores", (original) => (self) => {
          const log = presentOnlooker().log();
          const stores = original(self) as Store[];
          const updates = stores.flatMap(({ arrivals }) => arrivals.map(({ update }) => update));
          if (log === undefined || updates.length === 0) return stores;
          const newest = log.newest();
          const lines = updates.map(({ fingerprint, hash }, index) => ({
            line: { number: newest + 1 + index, fingerprint, hash },
            told: new Set<unknown>(),
          }));
          early.set(log, [...(early.get(log) ?? []), ...lines]);
          return stores;
        }),
        exchange(Announcements, "due", (original) => (self, peer, now) => {
          const due = original(self, peer, now) as Announcement[] | undefined;
          const log = presentOnlooker().log();
          const untold = (log && early.get(log))?.filter(({ told }) => !told.has(peer)) ?? [];
          for (const { told } of untold) told.add(peer);
          const all = [...(due ?? []), ...untold.map(({ line }) => line)];
          return all.length === 0 ? due : all;
        }),
      );
    },
  },
  {
    name: "settled-early",
    bug: "updates count as held, and the cursor passes them, before they are stored",
    plant: () =>
      exchange(Receiving, "stores", (original) => (self) => {
        const stores = original(self) as Store[];
        const hashes = stores.flatMap(({ arrivals }) => {
          return arrivals.map(({ update: { hash, digest } }) => {
            return nameOf({ hash, digest: digest as UpdateDigest });
          });
        });
        const now = presentOnlooker().monotonic();
        for (const hash of hashes) (self as Receiving).held(hash, now);
        return stores;
      }),
  },
  {
    name: "highest-seen",
    bug: "the receive cursor is the highest number seen (thesis 3.1)",
    plant: () => {
      const highest = new WeakMap<object, WirePosition>();
      const see = (self: object, announcements: readonly Announcement[]) => {
        for (const { number, hash } of announcements) {
          if (number >= (highest.get(self)?.number ?? 0)) highest.set(self, { number, hash });
        }
      };
      return all(
        exchange(ReceiveState, "announced", (original) => (self, announcements, now) => {
          see(self, announcements as Announcement[]);
          return original(self, announcements, now);
        }),
        exchange(ReceiveState, "cursorAfter", (original) => (self, hashes) => {
          return highest.get(self) ?? original(self, hashes);
        }),
        exchange(
          ReceiveState,
          "cursor",
          (original) => (self) => highest.get(self) ?? original(self),
        ),
      );
    },
  },
  {
    name: "short-memory",
    bug: "a hash is forgotten when its body expires",
    plant: () => expiring((limits) => ({ ...limits, rememberMs: limits.retainMs })),
  },
  {
    name: "no-expiry",
    bug: "bodies are served for as long as their hash is known",
    plant: () => expiring(({ hold: _, ...limits }) => ({ ...limits, retainMs: limits.rememberMs })),
  },
  {
    name: "number-reuse",
    bug: "the newest entry expires as well, and numbers go on from what is left",
    plant: () =>
      exchange(Retention, "expire", (original) => (self, now, limits, batch) => {
        const expired = original(self, now, limits, batch);
        const db = presentOnlooker().db();
        const before = Number(now) - (limits as RetentionLimits).retainMs;
        db.prepare("DELETE FROM bodies WHERE received_at <= ?").run(before);
        db.prepare("DELETE FROM updates WHERE received_at <= ?").run(before);
        db.exec("UPDATE totals SET last = 0, upto = (SELECT coalesce(max(seq), 0) FROM updates)");
        return expired;
      }),
  },
  {
    name: "all-but-source",
    bug: "announced to all but the source (thesis 3.1), which leaves gaps",
    plant: () =>
      exchange(Announcements, "due", (original) => (self, peer, now) => {
        const due = original(self, peer, now) as Announcement[] | undefined;
        const log = presentOnlooker().log();
        const left = due?.filter(({ hash }) => {
          return log?.entryByHash(hash)?.origin.neighbour !== peer;
        });
        return left === undefined || left.length === 0 ? undefined : left;
      }),
  },
  {
    name: "first-wins",
    bug: "who announces first is asked, later announcers are forgotten",
    plant: () => {
      const owners = new WeakMap<object, Map<unknown, unknown>>();
      const ownersOf = (self: object) => {
        const known = owners.get(self) ?? new Map();
        owners.set(self, known);
        return known;
      };
      return all(
        exchange(FetchTracker, "announced", (original) => (self, peer, number, hash) => {
          const known = ownersOf(self);
          if (known.has(hash) && known.get(hash) !== peer) return true;
          known.set(hash, peer);
          return original(self, peer, number, hash);
        }),
        exchange(FetchTracker, "settled", (original) => (self, hash) => {
          ownersOf(self).delete(hash);
          return original(self, hash);
        }),
      );
    },
  },
  {
    name: "ask-all",
    bug: "an update is fetched from everybody who announces it",
    plant: () => {
      const announcers = new WeakMap<object, Map<unknown, Map<unknown, unknown>>>();
      return all(
        exchange(FetchTracker, "announced", (original) => (self, peer, number, hash) => {
          const known = announcers.get(self) ?? new Map();
          announcers.set(self, known);
          known.set(hash, (known.get(hash) ?? new Map()).set(peer, number));
          return original(self, peer, number, hash);
        }),
        exchange(FetchTracker, "advance", (original) => (self, now) => {
          const outputs = original(self, now) as { type: string; hash: UpdateHash; peer: string }[];
          return outputs.flatMap((one) => {
            const others = one.type === "request" ? announcers.get(self)?.get(one.hash) : undefined;
            const more = [...(others ?? [])].filter(([peer]) => peer !== one.peer);
            return [one, ...more.map(([peer, number]) => ({ ...one, peer, number }))];
          });
        }),
      );
    },
  },
  {
    name: "deadline-moves",
    bug: "a repeated announcement extends the deadline of the request",
    plant: () => {
      const trackers = new WeakMap<object, FetchTracker>();
      return all(
        exchange(FetchTracker, "advance", (original) => (self, now) => {
          const log = presentOnlooker().log();
          if (log !== undefined) trackers.set(log, self as FetchTracker);
          return original(self, now);
        }),
        exchange(Receiving, "announced", (original) => (self, peer, announcements, now) => {
          const log = presentOnlooker().log();
          if (log !== undefined) trackers.get(log)?.progressed(String(peer), Number(now));
          return original(self, peer, announcements, now);
        }),
      );
    },
  },
  {
    name: "same-log",
    bug: "a peer that connects beside a dead connection is taken to have the log that it had",
    plant: () =>
      all(
        exchange(LogIdentity, "ask", () => () => {}),
        exchange(LogIdentity, "contradict", () => () => {}),
      ),
  },
  {
    name: "open-to-1.0",
    bug: "OPEN is sent to a peer that knows KX/1.0 only",
    plant: () => {
      const open = { command: "OPEN", tag: "zz99", log: undefined, features: [] } as const;
      const more = { type: "send", bytes: serialize(open) } as const;
      return exchange(Session, "greet", (original) => (self, newest) => {
        const outputs = original(self, newest) as SessionOutput[];
        return outputs.length > 1 ? outputs : [...outputs, more];
      });
    },
  },
  {
    name: "done-ahead",
    bug: "a receipt has the newest number that the peer announced, and not what is settled",
    plant: () => {
      const newest = new WeakMap<object, number>();
      let last: object | undefined;
      return all(
        exchange(ReceiveState, "announced", (original) => (self, announcements, now) => {
          const numbers = (announcements as Announcement[]).map(({ number }) => number);
          newest.set(self, Math.max(newest.get(self) ?? 0, ...numbers));
          last = self;
          return original(self, announcements, now);
        }),
        exchange(Receipts, "due", (original) => (self, now) => {
          const receipt = original(self, now) as Receipt | undefined;
          const number = (last && newest.get(last)) ?? 0;
          return receipt && { ...receipt, number: Math.max(receipt.number, number) };
        }),
      );
    },
  },
  {
    name: "done-hurried",
    bug: "receipts are sent as soon as the cursor moves",
    plant: () =>
      exchange(Receipts, "nextAt", (original) => (self) => Number(original(self)) - 1000),
  },
  {
    name: "done-whole",
    bug: "a receipt does not name the updates that are not held",
    plant: () => exchange(Receipts, "without", () => () => undefined),
  },
  {
    name: "log-name-unread",
    bug: "a peer that names another log than before is taken to have the log of the cursor",
    plant: () => {
      const before = (self: object) => (self as ReceiveState).cursor?.log;
      return all(
        exchange(ReceiveState, "established", (original) => (self, newest, now, log) => {
          return original(self, newest, now, before(self) ?? log);
        }),
        exchange(ReceiveState, "moved", (original) => (self, greeting, now) => {
          const { log } = (greeting ?? {}) as Greeting;
          return original(self, greeting && { ...greeting, log: before(self) ?? log }, now);
        }),
      );
    },
  },
  {
    name: "wrong-body-seen",
    bug: "an update that does not verify is marked as seen",
    plant: () =>
      exchange(Receiving, "failed", (original) => (self, peer, name, fault, now) => {
        if ((fault as { reason?: string }).reason === undefined) {
          return original(self, peer, name, fault, now);
        }
        return (self as Receiving).held(name as AnnouncedName, Number(now));
      }),
  },
  {
    name: "sync-normal",
    bug: "synchronous NORMAL: a commit is on disk at the next checkpoint",
    store: { synchronous: "NORMAL", checkpointEvery: 5 },
    plant: () => () => {},
  },
  {
    name: "trail-ignored",
    bug: "mailed to sites that are in the trail",
    plant: () => exchange(Pending, "has", () => () => false),
  },
  {
    name: "hidden-trails",
    bug: "what a duplicate adds to a trail is not seen before it is written",
    plant: () => exchange(GatheredTrails, "within", () => () => []),
  },
  {
    name: "hidden-hashes",
    bug: "the hash of an entry is not found before it is written",
    plant: () => exchange(HashIndex, "add", () => () => undefined),
  },
  {
    name: "lane-ahead",
    bug: "the lane's cursor is stored before the mail was taken",
    plant: () =>
      exchange(Lane, "run", (original) => (self) => {
        return cursorAhead((self as Lane).name, original(self) as LaneRun);
      }),
  },
  {
    name: "lane-unstored",
    bug: "a lane goes on before the commit that it shares: its row is stored with the next group's",
    plant: () => {
      const late = new WeakMap<object, (() => void)[]>();
      const open = new WeakSet<object>();
      return all(
        exchange(Lanes, "together", (original) => (self, work) => {
          return original(self, () => {
            const rows = late.get(self) ?? [];
            late.set(self, []);
            for (const store of rows) store();
            open.add(self);
            try {
              (work as () => void)();
            } finally {
              open.delete(self);
            }
          });
        }),
        exchange(Lanes, "save", (original) => (self, site, row, also) => {
          if (!open.has(self)) return original(self, site, row, also);
          (also as (() => void) | undefined)?.();
          late.get(self)?.push(() => original(self, site, row));
          return undefined;
        }),
      );
    },
  },
  {
    name: "bounce-ignored",
    bug: "what comes back is not sent again",
    plant: () => exchange(Bounces, "note", () => () => {}),
  },
  {
    name: "old-hash",
    bug: "what policy left of an announced update is announced under the hash of the whole",
    plant: () =>
      exchange(Receiving, "stores", (original) => (self) => {
        const stores = original(self) as Store[];
        return stores.map((store) => ({
          ...store,
          arrivals: store.arrivals.map((arrival) => {
            const hash = arrival.cutFrom?.hash ?? arrival.update.hash;
            return { ...arrival, update: { ...arrival.update, hash } };
          }),
        }));
      }),
  },
  {
    name: "no-news",
    bug: "an update is appended although all its packets are known",
    plant: () => exchange(PacketMemory, "knowsAll", () => () => false),
  },
  {
    name: "refused-forgotten",
    bug: "an update that a site refused leaves no exception",
    plant: () => withoutRows(({ state }) => state === "refused"),
  },
  {
    name: "failed-forgotten",
    bug: "an update that fails three times is given up without an exception",
    plant: () => withoutRows(({ reason }) => reason === "failed"),
  },
  {
    name: "duplicate-closed",
    bug: "a key that comes again is not offered to the sites that did not take it",
    plant: () => exchange(UpdateLog, "cameAgain", () => () => {}),
  },
  {
    name: "offered-always",
    bug: "a key that comes again is offered at once, however often it comes",
    plant: () => {
      let hours = 0;
      return exchange(Exceptions, "cameAgain", (original) => (self, key, now, covers) => {
        hours += 2;
        return original(self, key, Number(now) + hours * 3_600_000, covers);
      });
    },
  },
  {
    name: "stranger-believed",
    bug: "sites that a stranger names in a trail are taken to have the update",
    plant: () =>
      exchange(KeyIntake, "read", (original) => (self, submission) => {
        return original(self, { ...(submission as Submission), isKnown: true });
      }),
  },
  {
    name: "claim-after-try",
    bug: "a claim settles an update that its site did not take",
    plant: () =>
      exchange(Trails, "extend", () => (self, seq, more) => {
        const holders = (more as string[]).map((address) => ({ seq: seq as Seq, address }));
        (self as Trails).note(holders);
      }),
  },
  {
    name: "lane-blamed",
    bug: "a failure of one update counts as the site's, and the lane waits for it",
    plant: () => exchange(Lane, "run", (original) => (self) => blaming(original(self) as LaneRun)),
  },
  {
    name: "bare-pieces",
    bug: "mails have only the packets of their update, nothing of the skeleton",
    plant: () => exchange(Skeletons, "get", () => () => undefined),
  },
  {
    name: "ignored-is-taken",
    bug: "a key that Hockeypuck lists as ignored or updated counts as taken",
    plant: () =>
      exchange(SimHkpServer, "judge", () => (_, words) => {
        return { kind: "delivered", how: "taken", reply: words };
      }),
  },
  {
    name: "renamed-anew",
    bug: "a site that is given another name starts at the end of the log",
    plant: () => exchange(Lanes, "open", (original) => (self, site) => original(self, site, {})),
  },
  {
    name: "local-no-retry",
    bug: "what the keyserver beside the gateway did not take is not tried again",
    plant: () =>
      exchange(Exceptions, "next", (original) => (self, site) => {
        return site === LOCAL ? undefined : original(self, site);
      }),
  },
  {
    name: "unblock-closed",
    bug: "the end of a block does not reopen what was withheld",
    plant: () =>
      all(
        exchange(Exceptions, "unblocked", () => () => 0),
        exchange(Exceptions, "blockedKeys", () => () => []),
      ),
  },
  {
    name: "lease-stays",
    bug: "the leases of a session stay taken when it ends",
    isOfCluster: true,
    plant: () => exchange(SimSite, "release", () => () => {}),
  },
  {
    name: "two-holders",
    bug: "a gateway goes on as the holder of its leases after its session has ended",
    isOfCluster: true,
    plant: () =>
      exchange(NodeLink, "listen", (original) => (self, listener) => {
        return original(self, { ...(listener as StoreListener), lost: () => {} });
      }),
  },
  {
    name: "former-cursor",
    bug: "a lane whose lease was lost stores the outcome that it waited for",
    isOfCluster: true,
    plant: () => exchange(Process, "loseLane", () => () => {}),
  },
  {
    name: "cursor-local",
    bug: "the cursor of a lane is stored in the copy of its holder only",
    isOfCluster: true,
    plant: () => {
      const firsts = new WeakMap<object, Map<string, string | undefined>>();
      return exchange(NodeLink, "commit", (original) => (self, position, rows) => {
        const { site } = self as NodeLink;
        const first = firsts.get(site) ?? new Map();
        firsts.set(site, first);
        const old = (rows as SharedRow[]).map((row) => {
          if (row.table !== "lanes") return row;
          if (!first.has(row.key)) first.set(row.key, row.data);
          return { ...row, data: first.get(row.key) };
        });
        return original(self, position, old);
      });
    },
  },
  {
    name: "takeover-earlier",
    bug: "who takes a lane over begins three updates before its cursor",
    isOfCluster: true,
    plant: () =>
      exchange(Lanes, "open", (original) => (self, site, opener) => {
        const row = original(self, site, opener) as LaneRow;
        return { ...row, cursor: Math.max(0, row.cursor - 3), part: 0 };
      }),
  },
  {
    name: "number-outside",
    bug: "numbers are taken from the copy, and committed whatever others have committed since",
    isOfCluster: true,
    plant: () =>
      exchange(MemoryShared, "commit", (original) => (self, _, rows) => {
        return original(self, (self as MemoryShared).newest, rows);
      }),
  },
  {
    name: "position-skipped",
    bug: "a copy that follows several commits at once leaves out the first one",
    isOfCluster: true,
    plant: () =>
      exchange(NodeLink, "changes", (original) => (self, ...given) => {
        const all = original(self, ...given) as SharedChanges;
        const first = all.changes[0]?.position;
        const rest = all.changes.filter((change) => change.position !== first);
        return rest.length === 0 ? all : { ...all, changes: rest };
      }),
  },
  {
    name: "copy-first",
    bug: "a transaction counts as stored while the database is away",
    isOfCluster: true,
    plant: () =>
      exchange(NodeLink, "commit", (original) => (self, after, rows) => {
        try {
          return original(self, after, rows);
        } catch (error) {
          if (!(error instanceof Trouble)) throw error;
          const { position, mark } = after as Commit;
          return { position: position + 1, mark };
        }
      }),
  },
];

/** Runs `work` with the bug planted. */
export function withMutant<T>(mutant: Mutant, work: (store: StoreOptions) => T): T {
  const undo = mutant.plant();
  try {
    return work(mutant.store ?? DURABLE);
  } finally {
    undo();
  }
}
