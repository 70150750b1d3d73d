/**
 * What a peer has and how far we are with it: each numbered rule of the reception.
 */
import { describe, expect, test } from "vitest";
import { forged, hashOf, inStep, ListedPeer, Listener, ROUND, TOP } from "./listed-peer.js";

describe("the cursor", () => {
  /** A log of one entry, which the listener has. */
  function begun(): { readonly peer: ListedPeer; readonly listener: Listener } {
    const peer = new ListedPeer();
    peer.append();
    return { peer, listener: inStep(peer) };
  }

  test("moves when all below is resolved, not when a higher number is", () => {
    const { peer, listener } = begun();
    const [two, three, four, five] = peer.append(4);
    if (!two || !three || !four || !five) throw new Error("nothing was appended");
    listener.hear([two, three, four, five]);
    listener.hold(three.hash).hold(five.hash);
    expect(listener.cursor).toBe(1);
    listener.hold(two.hash);
    expect([listener.cursor, listener.receiveState.missing]).toEqual([3, 1]);
    listener.hold(four.hash);
    expect(listener.said.at(-1)).toBe("cursor 5");
  });

  test("is told beforehand, to be stored with what moves it", () => {
    const { peer, listener } = begun();
    const [two, three, four] = listener.hear(peer.append(3)).wanted.map(({ hash }) => hash);
    if (!two || !three || !four) throw new Error("not all are wanted");
    const { receiveState } = listener;
    expect(receiveState.cursorAfter(new Set([three, four]))).toBeUndefined();
    expect(receiveState.cursorAfter(new Set([two]))).toEqual({ number: 2, hash: two });
    listener.hold(three);
    expect(receiveState.cursorAfter(new Set([two]))).toEqual({ number: 3, hash: three });
    expect(receiveState.cursorAfter(new Set([two, four]))?.number).toBe(4);
    expect(listener.cursor).toBe(1);
  });

  test("passes what is known from elsewhere, or becomes known while it is wanted", () => {
    const { peer, listener } = begun();
    const [two, three] = peer.append(2);
    if (!two || !three) throw new Error("nothing was appended");
    listener.known.add(two.hash);
    listener.hear([two, three]);
    expect([listener.cursor, listener.wanted.length]).toEqual([2, 1]);
    listener.hold(three.hash);
    expect(listener.cursor).toBe(3);
  });

  test("counts an update that is announced under two numbers at both", () => {
    const { listener } = begun();
    const twice = hashOf("twice");
    listener.hear([2, 3, 5].map((number) => ({ ...forged(number), hash: twice })));
    listener.hear([forged(4)]);
    listener.hold(twice);
    expect([listener.cursor, listener.receiveState.missing]).toEqual([3, 1]);
  });

  test("stays over a disconnect, and what was announced does not", () => {
    const { peer, listener } = begun();
    listener.hear(peer.append(5)).deliver(2);
    listener.hangUp();
    expect([listener.cursor, listener.receiveState.missing]).toEqual([3, 0]);
    listener.hold(hashOf("log 4"));
    listener.greet(peer);
    expect(listener.lists).toEqual(["3-1002"]);
    listener.answer(peer);
    expect([listener.cursor, listener.wanted.map(({ number }) => number)]).toEqual([4, [5, 6]]);
  });
});

describe("after the greeting", () => {
  const peerAt = (n: number) => {
    const peer = new ListedPeer();
    peer.append(n);
    return peer;
  };

  test("nothing is asked of a peer whose newest is the cursor: a restart costs no listing", () => {
    const peer = peerAt(3000);
    const cursor = inStep(peer).receiveState.cursor;
    const restarted = new Listener(cursor);
    restarted.greet(peer);
    expect([restarted.lists, restarted.receiveState.nextAt()]).toEqual([[], undefined]);
    restarted.hear(peer.append());
    expect([restarted.lists, restarted.wanted.length]).toEqual([[], 1]);
  });

  test("what is missing is listed from the cursor on, one more than needed, in windows", () => {
    const peer = peerAt(100);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(2500);
    listener.greet(peer).answerAll(peer);
    expect(listener.lists).toEqual(["100-1099", "1099-2098", "2098-3097"]);
    expect(listener.wanted.length).toBe(2500);
  });

  test("another hash at the cursor is another log: all of it is listed", () => {
    const listener = inStep(peerAt(100));
    listener.hangUp();
    const other = new ListedPeer("other");
    other.append(150);
    listener.greet(other);
    expect(listener.lists).toEqual(["100-1099"]);
    listener.answer(other);
    expect(listener.said).toEqual(["reset other-log", "cursor undefined"]);
    listener.answerAll(other).deliver();
    expect(listener.cursor).toBe(150);
  });

  test("another hash as the newest is another log, too", () => {
    const listener = inStep(peerAt(100));
    listener.hangUp();
    const other = new ListedPeer("other");
    other.append(100);
    listener.greet(other);
    expect(listener.said).toEqual(["reset other-log", "cursor undefined"]);
    expect(listener.answerAll(other).wanted.length).toBe(100);
  });

  test("a newest number below the cursor is a log that began anew", () => {
    const listener = inStep(peerAt(100));
    listener.hangUp();
    const other = new ListedPeer("other");
    other.append(40);
    listener.greet(other);
    expect(listener.said).toEqual(["reset wrapped", "cursor undefined"]);
    expect(listener.answerAll(other).wanted.length).toBe(40);
  });

  test("after an empty log, a number other than 1 tells nothing of those below it", () => {
    const peer = new ListedPeer();
    const listener = new Listener().greet(peer);
    const [, , third] = peer.append(3);
    if (!third) throw new Error("nothing was appended");
    // As in the greeting of another connection, while the one in use hangs: 1 and 2 were not heard.
    listener.known.add(third.hash);
    listener.hear([third]);
    expect([listener.cursor, listener.lists]).toEqual([undefined, ["0-3"]]);
    listener.answerAll(peer);
    expect(listener.wanted.map(({ number }) => number)).toEqual([1, 2]);
    listener.deliver();
    expect(listener.cursor).toBe(3);
  });

  test("an empty log forgets the cursor, and its first notice needs no listing", () => {
    const listener = inStep(peerAt(100));
    listener.hangUp();
    const other = new ListedPeer("other");
    listener.greet(other);
    expect(listener.said).toEqual(["reset other-log", "cursor undefined"]);
    expect([listener.lists, listener.receiveState.nextAt()]).toEqual([[], undefined]);
    listener.hear(other.append(3)).deliver();
    expect([listener.cursor, listener.lists]).toEqual([3, []]);
  });

  test("a cursor that the peer has forgotten is the same log", () => {
    const peer = peerAt(100);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(50);
    peer.expire(120);
    listener.greet(peer).answerAll(peer).deliver();
    expect(listener.said).toEqual(
      ["gap 101-120", "cursor 121", "cursor 122"].concat(
        Array.from({ length: 28 }, (_, n) => `cursor ${123 + n}`),
      ),
    );
  });

  test("a reset causes a full listing at most once in 10 minutes, over reconnects", () => {
    const [ours, other] = [peerAt(100), new ListedPeer("other")];
    other.append(40);
    const listener = inStep(ours);
    const started = listener.now;
    const flip = (peer: ListedPeer) => {
      listener.hangUp();
      listener.lists = [];
      listener.greet(peer).answerAll(peer).deliver();
      return listener.lists.length;
    };
    expect(flip(other)).toBeGreaterThan(0);
    let listings = 0;
    for (let n = 0; n < 100; n++) listings += flip(n % 2 === 0 ? ours : other);
    expect(listings).toBeLessThan(3);
    expect(listener.cursor).toBeUndefined();
    listener.wait((listener.receiveState.nextAt() ?? 0) - listener.now);
    listener.answerAll(other).deliver();
    expect([listener.cursor, listener.now - started]).toEqual([40, 600_000]);
  });
});

describe("without a cursor", () => {
  test.each([1, 999, 1000, 1001, 3000])("a log of %i is found from its end", (size) => {
    const peer = new ListedPeer();
    peer.append(size);
    const listener = new Listener().greet(peer).answerAll(peer);
    expect(listener.wanted.map(({ number }) => number)).toEqual(
      Array.from({ length: size }, (_, n) => n + 1),
    );
    listener.deliver();
    expect(listener.cursor).toBe(size);
  });

  test("50,000 numbers, with the rest expired, are listed twice and wanted once", () => {
    const peer = new ListedPeer();
    peer.append(60_000);
    peer.expire(10_000);
    const listener = new Listener().greet(peer);
    const seen: number[] = [];
    while (listener.pending !== undefined || listener.wanted.length > 0) {
      listener.answerAll(peer);
      seen.push(...listener.wanted.map(({ number }) => number));
      listener.deliver();
    }
    expect(seen.length).toBe(50_000);
    expect(new Set(seen).size).toBe(50_000);
    expect(listener.cursor).toBe(60_000);
    expect(listener.lists.length).toBeLessThan(105);
  });

  test("a listing that was cut off costs no more than what was not resolved", () => {
    const peer = new ListedPeer();
    peer.append(3000);
    const listener = new Listener().greet(peer).answerAll(peer).deliver(1500);
    const restarted = new Listener(listener.receiveState.cursor);
    restarted.greet(peer).answerAll(peer);
    expect(restarted.lists[0]).toBe("1500-2499");
    expect(restarted.wanted.length).toBe(1500);
  });

  test("a wrapped log is found on both sides of the wrap", () => {
    const peer = new ListedPeer("log", ROUND - 1500);
    peer.append(1510);
    const listener = new Listener().greet(peer).answerAll(peer);
    expect(listener.lists[0]).toBe("0-9");
    expect(listener.wanted.map(({ number }) => number).slice(1497, 1503)).toEqual([
      TOP - 2,
      TOP - 1,
      TOP,
      0,
      1,
      2,
    ]);
    listener.deliver();
    expect(listener.cursor).toBe(9);
  });
});

describe("the wrap", () => {
  test("is passed by notices without a listing", () => {
    const peer = new ListedPeer("log", ROUND - 3);
    const listener = new Listener().greet(peer);
    listener.hear(peer.append()).answerAll(peer);
    listener.lists = [];
    listener.hear(peer.append(2)).hear(peer.append(3)).deliver();
    expect([listener.cursor, listener.lists]).toEqual([2, []]);
    listener.hear(peer.append(2)).deliver();
    expect([listener.cursor, listener.said.filter((text) => text.startsWith("reset"))]).toEqual([
      4,
      [],
    ]);
  });

  test("while we were away makes us list all that is available", () => {
    const peer = new ListedPeer("log", ROUND - 100);
    peer.append(90);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(50);
    listener.greet(peer).answerAll(peer).deliver();
    expect([listener.cursor, listener.known.size]).toEqual([39, 140]);
  });

  test("with notices in the middle of such a listing loses none", () => {
    const peer = new ListedPeer("log", ROUND - 2500);
    peer.append(2510);
    const listener = new Listener().greet(peer);
    for (let n = 0; listener.pending !== undefined || listener.wanted.length > 0; n++) {
      if (listener.pending !== undefined) listener.answer(peer);
      if (n < 20) listener.hear(peer.append(3));
      if (n > 4) listener.deliver(400);
    }
    expect([listener.cursor, listener.known.size]).toEqual([
      peer.newest()?.number,
      peer.entries.size,
    ]);
    expect(listener.said.filter((text) => text.startsWith("reset"))).toEqual([]);
  });
});

describe("gaps", () => {
  test("below what is listed are gone: told once, and passed", () => {
    const peer = new ListedPeer();
    const listener = inStep(peer);
    const before = peer.append(2);
    peer.append(3, 4);
    listener.hear(before).deliver();
    listener.hear(peer.list(9, 9)).answerAll(peer).deliver();
    expect(listener.said).toContain("gap 3-6");
    expect(listener.cursor).toBe(9);
  });

  test("larger than a window are found by a search from the far end", () => {
    const peer = new ListedPeer();
    peer.append(10);
    const listener = inStep(peer);
    peer.append(1500, 5000);
    const newest = peer.newest();
    if (newest === undefined) throw new Error("the log is empty");
    listener.hear([newest]).answerAll(peer).deliver();
    expect(listener.said[0]).toBe("gap 11-5010");
    expect([listener.cursor, listener.known.size]).toEqual([6510, 1510]);
  });
});
