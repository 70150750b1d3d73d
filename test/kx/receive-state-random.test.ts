/**
 * A reception against a model peer whose log grows, expires, is replaced and wraps, with listings
 * that fail, connections that break and notices that are forged: the cursor never passes what is
 * not resolved, nothing is wanted twice, and in the end everything that is available is here.
 */
import { expect, test } from "vitest";
import { RECEIVE_LIMITS } from "../../src/kx/receive-state.js";
import type { UpdateHash } from "../../src/update.js";
import { chance, SEED } from "./chance.js";
import { hashOf, ListedPeer, Listener, ROUND } from "./listed-peer.js";

interface World {
  readonly forgery: boolean;
  readonly replacement: boolean;
}

/** One life of a peer and its listener; throws what went wrong. Returns how often what happened. */
function live(seed: number, { forgery, replacement }: World): Record<string, number> {
  const random = chance(seed);
  const pick = (n: number) => Math.floor(random() * n);
  let logs = 0;
  const freshLog = () => {
    logs += 1;
    // A log that takes another one's place begins at 1; only an old one is near the top.
    const first = logs === 1 && random() < 0.3 ? ROUND - 1 - pick(3000) : 1;
    return new ListedPeer(`log ${seed} ${logs}`, first);
  };
  let peer = freshLog();
  const listener = new Listener();
  const lost = new Set<UpdateHash>();
  const counts: Record<string, number> = { wraps: 0, resets: 0, searches: 0, forged: 0, gaps: 0 };
  let connected = false;
  /** What was wanted since the last time that the listener forgot what it had been told. */
  let wantedOnce = new Set<UpdateHash>();
  /** Whether something was lost on this connection, which puts what is above it in doubt. */
  let doubtful = false;
  /** How many of the wanted ones have been looked at. */
  let checked = 0;

  const isResolved = (hash: UpdateHash) => listener.known.has(hash) || lost.has(hash);
  listener.onCursor = ({ number }) => {
    const missed = peer.passed(number).filter((hash) => !isResolved(hash));
    if (missed.length > 0) throw new Error(`cursor ${number} passed ${missed.length}`);
  };
  const check = () => {
    for (const { hash } of listener.wanted.slice(checked)) {
      if (!forgery && !doubtful && wantedOnce.has(hash)) throw new Error("wanted twice");
      if (listener.known.has(hash)) throw new Error("wanted although it is known");
      wantedOnce.add(hash);
    }
    checked = listener.wanted.length;
    for (const text of listener.said.splice(0)) {
      if (text.startsWith("reset")) {
        wantedOnce = new Set();
        counts.resets = (counts.resets ?? 0) + 1;
      }
      if (text.startsWith("gap")) counts.gaps = (counts.gaps ?? 0) + 1;
    }
    if (listener.receiveState.missing > RECEIVE_LIMITS.tracked) throw new Error("over the cap");
  };
  const settle = (index: number) => {
    const [one] = listener.wanted.splice(index, 1);
    checked = listener.wanted.length;
    if (one === undefined) return;
    const isThere = peer.at(one.number) === one.hash;
    if (isThere) listener.hold(one.hash);
    else {
      lost.add(one.hash);
      doubtful = true;
      listener.take(listener.receiveState.lost(one.hash, listener.now));
    }
  };
  const connect = () => {
    connected = true;
    wantedOnce = new Set();
    doubtful = false;
    listener.wanted = [];
    checked = 0;
    listener.greet(peer);
  };

  const step = () => {
    const dice = random();
    if (dice < 0.3) {
      const count = random() < 0.05 ? 500 + pick(1500) : 1 + pick(5);
      // In a log of which others know nothing a hole at the cursor looks like an old entry.
      const hole = !replacement && random() < 0.05 ? pick(900) : 0;
      const news = peer.append(count, hole);
      if (news.some(({ number }) => number === 0)) counts.wraps = (counts.wraps ?? 0) + 1;
      // On a connection every notice comes, as TCP has it; now and then the peer has a bug.
      const isFirst = peer.entries.size === news.length;
      if (connected && (isFirst || random() < 0.98)) listener.hear(news);
    } else if (dice < 0.55) {
      if (listener.pending === undefined) return;
      if (random() < 0.97) listener.answer(peer);
      else {
        listener.pending = undefined;
        listener.take(listener.receiveState.listFailed(listener.now));
      }
    } else if (dice < 0.75) {
      for (let n = pick(60); n > 0; n--) settle(pick(listener.wanted.length));
    } else if (dice < 0.78) {
      const names = [...peer.entries.values()];
      const other = names[pick(names.length)];
      if (other !== undefined) {
        listener.hold(other);
        listener.wanted = listener.wanted.filter(({ hash }) => hash !== other);
        checked = listener.wanted.length;
      }
    } else if (dice < 0.8) peer.expire(pick(200));
    else if (dice < 0.83) {
      if (connected) listener.hangUp();
      connected = false;
      checked = 0;
    } else if (dice < 0.9) {
      if (!connected) connect();
    } else if (dice < 0.91 && replacement && !connected) {
      peer = freshLog();
      lost.clear();
      if (random() < 0.7) peer.append(1 + pick(2000));
    } else if (dice < 0.92 && forgery && connected) {
      counts.forged = (counts.forged ?? 0) + 1;
      const next = ((peer.newest()?.number ?? 0) + 1) % ROUND;
      const number = random() < 0.5 ? next : pick(ROUND);
      listener.hear([{ number, fingerprint: undefined, hash: hashOf(`forged ${random()}`) }]);
    } else listener.wait(pick(30_000));
  };

  for (let n = 0; n < 1000; n++) {
    step();
    check();
  }

  // From here on nothing goes wrong, and time passes.
  if (connected) listener.hangUp();
  connect();
  check();
  for (let n = 0; ; n++) {
    if (n > 500_000) throw new Error(`no end of it: ${listener.lists.slice(-6)}`);
    if (listener.pending !== undefined) listener.answer(peer);
    else if (listener.wanted.length > 0) settle(listener.wanted.length - 1);
    else {
      const at = listener.receiveState.nextAt();
      if (at === undefined) break;
      if (at <= listener.now) throw new Error("due, and nothing was done");
      listener.wait(at - listener.now);
    }
    check();
  }
  const missing = [...peer.entries.values()].filter((hash) => !isResolved(hash));
  if (missing.length > 0) throw new Error(`${missing.length} of ${peer.entries.size} are missing`);
  if (listener.receiveState.missing > 0) throw new Error("waits for what does not exist");
  const newest = peer.newest();
  if (newest !== undefined) expect(listener.receiveState.cursor?.number).toBe(newest.number);
  return counts;
}

function liveAll(world: World, lives: number): Record<string, number> {
  const total: Record<string, number> = {};
  for (let seed = SEED; seed < SEED + lives; seed++) {
    try {
      for (const [what, times] of Object.entries(live(seed, world))) {
        total[what] = (total[what] ?? 0) + times;
      }
    } catch (error) {
      throw new Error(`KXGW_SEED=${seed}`, { cause: error });
    }
  }
  return total;
}

test(`a log that grows, expires and wraps, KXGW_SEED=${SEED}`, () => {
  const counts = liveAll({ forgery: false, replacement: false }, 8);
  expect(counts.gaps).toBeGreaterThan(0);
});

test(`a log that is replaced as well, KXGW_SEED=${SEED}`, () => {
  const counts = liveAll({ forgery: false, replacement: true }, 10);
  expect(counts.resets).toBeGreaterThan(0);
});

test(`with forged notices as well, KXGW_SEED=${SEED}`, () => {
  const counts = liveAll({ forgery: true, replacement: true }, 10);
  expect(counts.forged).toBeGreaterThan(0);
});
