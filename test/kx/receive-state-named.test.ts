/**
 * A peer that names its log (KX/1.1): another log is noticed at the greeting, whatever it shows,
 * and the same log needs no proof.
 */
import { describe, expect, test } from "vitest";
import type { WirePosition } from "../../src/kx/receive-state.js";
import type { LogName } from "../../src/update.js";
import { hashOf, ListedPeer, Listener } from "./listed-peer.js";

const [FIRST, SECOND] = ["1", "2"].map((digit) => digit.repeat(32) as LogName);

/** A log of `size` entries; logs of one `content` have the same hashes. */
function log(size: number, name: LogName | undefined, content = "log"): ListedPeer {
  const peer = new ListedPeer(content);
  peer.append(size);
  peer.log = name;
  return peer;
}

/** One that has read the peer and holds all of it, with the cursor that it stored last. */
function inStep(peer: ListedPeer): { listener: Listener; stored: () => WirePosition | undefined } {
  const listener = new Listener();
  let at: WirePosition | undefined;
  listener.onCursor = (position) => {
    at = position;
  };
  settle(listener.greet(peer), peer);
  return { listener, stored: () => at };
}

function settle(listener: Listener, peer: ListedPeer): Listener {
  for (let n = 0; n < 50; n++) {
    listener.answerAll(peer).deliver();
    const at = listener.receiveState.nextAt();
    if (listener.pending === undefined && at === undefined) break;
    if (at !== undefined) listener.wait(Math.max(0, at - listener.now));
  }
  return listener;
}

function hungUp(listener: Listener): Listener {
  listener.hangUp();
  listener.said = [];
  listener.lists = [];
  return listener;
}

describe("another log", () => {
  // The old log has 100. With one content the hash at the cursor does not tell the logs apart.
  test.each([100, 120])("with the same update at the cursor and %i entries is listed", (size) => {
    const { listener } = inStep(log(100, FIRST));
    hungUp(listener);
    for (const hash of ["log 7", "log 8"]) listener.known.delete(hashOf(hash));
    const other = log(size, SECOND);
    settle(listener.greet(other), other);
    expect(listener.said[0]).toBe("reset other-log");
    expect(listener.known.has(hashOf("log 7"))).toBe(true);
    expect(listener.cursor).toBe(size);
  });

  test("is listed when it greets on another connection", () => {
    const { listener, stored } = inStep(log(100, FIRST));
    listener.known.delete(hashOf("log 7"));
    const other = log(100, SECOND);
    settle(listener.move(other), other);
    expect(listener.said).toContain("reset other-log");
    expect(listener.known.has(hashOf("log 7"))).toBe(true);
    expect(stored()).toMatchObject({ number: 100, log: SECOND });
  });

  test("with a new name at each connection is listed once in ten minutes", () => {
    const { listener } = inStep(log(100, FIRST));
    let listings = 0;
    for (let n = 0; n < 60; n++) {
      hungUp(listener);
      listener.wait(1000);
      const name = String(n).padStart(32, "a") as LogName;
      const peer = log(100, name);
      listener.greet(peer).answerAll(peer).deliver();
      listings += listener.lists.length;
    }
    expect(listings).toBe(1);
  });
});

describe("the same log", () => {
  test("with nothing new costs no listing, though its entry at the cursor is withheld", () => {
    const peer = log(100, FIRST);
    const { listener } = inStep(peer);
    hungUp(listener);
    peer.append(1);
    peer.entries.delete(100);
    settle(listener.greet(peer), peer);
    expect(listener.said).toEqual(["cursor 100", "cursor 101"]);
    expect(listener.lists).toEqual(["100-1099"]);
  });

  test("that went back to an earlier state is noticed on another connection", () => {
    const peer = log(100, FIRST);
    const { listener } = inStep(peer);
    // A snapshot, to which other updates have been added since.
    const restored = log(62, FIRST, "restored");
    listener.lists = [];
    settle(listener.move(restored), restored);
    expect(listener.lists[0]).toBe("99-100");
    expect(listener.said.filter((one) => one.startsWith("reset"))).toEqual(["reset wrapped"]);
    expect(listener.known.has(hashOf("restored 62"))).toBe(true);
    expect(listener.cursor).toBe(62);
  });

  test("that is empty on another connection is noticed", () => {
    const { listener } = inStep(log(100, FIRST));
    listener.lists = [];
    const empty = log(0, FIRST);
    settle(listener.move(empty), empty);
    expect(listener.said.slice(100)).toEqual(["reset wrapped", "cursor undefined"]);
  });

  test("on another connection is not asked who it is", () => {
    const peer = log(100, FIRST);
    const { listener } = inStep(peer);
    peer.append(1);
    listener.hear(peer.list(101, 101)).deliver();
    peer.append(2);
    listener.lists = [];
    settle(listener.move(peer), peer);
    expect(listener.lists).toEqual(["101-1100"]);
    expect([listener.cursor, listener.said.includes("reset other-log")]).toEqual([103, false]);
  });

  test("that was copied back shows another hash, and is listed", () => {
    const { listener } = inStep(log(100, FIRST));
    hungUp(listener);
    const back = log(110, FIRST, "since then");
    settle(listener.greet(back), back);
    expect(listener.said).toContain("reset other-log");
    expect(listener.known.has(hashOf("since then 1"))).toBe(true);
  });
});

describe("a peer that begins to name its log", () => {
  test.each([0, 5])(
    "is taken at its word once its cursor matches, with %i updates more",
    (more) => {
      const peer = log(100, undefined);
      const { listener, stored } = inStep(peer);
      expect(stored()).toEqual({ number: 100, hash: hashOf("log 100"), log: undefined });
      hungUp(listener);
      peer.append(more);
      peer.log = FIRST;
      settle(listener.greet(peer), peer);
      expect(stored()).toMatchObject({ number: 100 + more, log: FIRST });
      expect(listener.said).not.toContain("reset other-log");
    },
  );

  test("and stops again keeps the name, so that another one is noticed later", () => {
    const peer = log(100, FIRST);
    const { listener, stored } = inStep(peer);
    hungUp(listener);
    peer.log = undefined;
    peer.append(1);
    settle(listener.greet(peer), peer);
    expect(stored()).toMatchObject({ number: 101, log: FIRST });
    hungUp(listener);
    const other = log(101, SECOND);
    settle(listener.greet(other), other);
    expect(listener.said).toContain("reset other-log");
  });
});

test("a stored cursor brings its name along", () => {
  const { stored } = inStep(log(100, FIRST));
  const listener = new Listener(stored());
  for (let n = 1; n <= 100; n++) listener.known.add(hashOf(`log ${n}`));
  const other = log(100, SECOND);
  settle(listener.greet(other), other);
  expect(listener.said).toContain("reset other-log");
});
