/**
 * What a peer has and how far we are with it: each numbered rule of the reception.
 */
import { describe, expect, test } from "vitest";
import { RECEPTION_LIMITS } from "../../src/kx/reception.js";
import { hashOf, inStep, ListedPeer, Listener, ROUND } from "./listed-peer.js";

const TOP = ROUND - 1;

function forged(number: number, name = "forged") {
  return { number, fingerprint: undefined, hash: hashOf(`${name} ${number}`) };
}

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
    expect([listener.cursor, listener.reception.missing]).toEqual([3, 1]);
    listener.hold(four.hash);
    expect(listener.said.at(-1)).toBe("cursor 5");
  });

  test("is told beforehand, to be stored with what moves it", () => {
    const { peer, listener } = begun();
    const [two, three, four] = listener.hear(peer.append(3)).wanted.map(({ hash }) => hash);
    if (!two || !three || !four) throw new Error("not all are wanted");
    const { reception } = listener;
    expect(reception.cursorAfter(new Set([three, four]))).toBeUndefined();
    expect(reception.cursorAfter(new Set([two]))).toEqual({ number: 2, hash: two });
    listener.hold(three);
    expect(reception.cursorAfter(new Set([two]))).toEqual({ number: 3, hash: three });
    expect(reception.cursorAfter(new Set([two, four]))?.number).toBe(4);
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
    expect([listener.cursor, listener.reception.missing]).toEqual([3, 1]);
  });

  test("stays over a disconnect, and what was announced does not", () => {
    const { peer, listener } = begun();
    listener.hear(peer.append(5)).deliver(2);
    listener.hangUp();
    expect([listener.cursor, listener.reception.missing]).toEqual([3, 0]);
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
    const cursor = inStep(peer).reception.cursor;
    const restarted = new Listener(cursor);
    restarted.greet(peer);
    expect([restarted.lists, restarted.reception.nextAt()]).toEqual([[], undefined]);
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

  test("an empty log forgets the cursor, and its first notice needs no listing", () => {
    const listener = inStep(peerAt(100));
    listener.hangUp();
    const other = new ListedPeer("other");
    listener.greet(other);
    expect(listener.said).toEqual(["reset other-log", "cursor undefined"]);
    expect([listener.lists, listener.reception.nextAt()]).toEqual([[], undefined]);
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
    listener.wait((listener.reception.nextAt() ?? 0) - listener.now);
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
    const restarted = new Listener(listener.reception.cursor);
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

describe("forged numbers", () => {
  test("above a gap move nothing, and what follows truly is taken without a listing", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hear([forged(TOP)]).answerAll(peer);
    expect(listener.lists).toEqual(["40-1039", `${TOP - 999}-${TOP}`]);
    listener.hear(peer.append(2)).deliver();
    expect([listener.cursor, listener.lists.length]).toEqual([42, 2]);
  });

  test("10,000 of them cause two listings a minute, and no notice is missed", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    for (let n = 0; n < 10_000; n++) {
      listener
        .hear([forged(TOP - n * 1000)])
        .wait(60)
        .answerAll(peer);
      if (n % 100 === 0) listener.hear(peer.append()).deliver();
    }
    expect(listener.lists.length).toBeLessThanOrEqual(2 * 11);
    expect(listener.cursor).toBe(140);
  });

  test("10,000 of them to somebody without a cursor are no more listings", () => {
    const peer = new ListedPeer();
    const listener = new Listener().greet(peer);
    for (let n = 0; n < 10_000; n++) {
      listener
        .hear([forged(TOP - n * 1000)])
        .wait(60)
        .answerAll(peer);
    }
    expect(listener.lists.length).toBeLessThanOrEqual(2 * 11);
    listener.wait(60_000).answerAll(peer);
    listener.hear(peer.append(3)).wait(60_000).answerAll(peer).deliver();
    expect(listener.cursor).toBe(3);
  });

  test("in the greeting cost a look and do no harm", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(2);
    listener.take(listener.reception.established(forged(TOP), listener.now)).answerAll(peer);
    expect(listener.lists.length).toBe(3);
    listener.deliver();
    expect(listener.cursor).toBe(42);
  });

  test("in the greeting of a first contact are followed by the true one", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = new Listener();
    listener.take(listener.reception.established(forged(TOP), 0)).answerAll(peer);
    listener.hear(peer.append()).wait(60_000).answerAll(peer).deliver();
    expect([listener.cursor, listener.known.size]).toEqual([41, 41]);
  });

  test("that a peer lists up to the top lead no search astray for ever", () => {
    const listener = new Listener();
    const liar = new ListedPeer();
    listener.take(listener.reception.established(forged(TOP), 0));
    for (let n = 0; n < 10_000 && listener.pending !== undefined; n++) {
      listener.answer(liar, [forged(listener.pending.low)]);
    }
    expect(listener.lists.length).toBeLessThan(2100);
  });

  test("next in line stand for the true update only until that is announced or listed", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hear([forged(41)]);
    expect(listener.wanted.map(({ hash }) => hash)).toEqual([forged(41).hash]);
    listener.hear(peer.append(2)).answerAll(peer);
    expect(listener.lists).toEqual(["41-1040"]);
    listener.hold(hashOf("log 41")).hold(hashOf("log 42"));
    expect([listener.cursor, listener.reception.missing]).toEqual([42, 0]);
  });

  test("next in line never move the cursor: lost without having been listed is not lost", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hear([forged(41)]);
    listener.take(listener.reception.lost(forged(41).hash, listener.now));
    expect(listener.lists).toEqual(["41-1040"]);
    listener.answer(peer);
    expect([listener.cursor, listener.reception.missing]).toEqual([40, 0]);
    listener.hear(peer.append()).deliver();
    expect(listener.cursor).toBe(41);
  });

  test("that are low and far behind are taken for a wrap, once in 10 minutes", () => {
    const peer = new ListedPeer();
    peer.append(5000);
    const listener = inStep(peer);
    for (let n = 0; n < 1000; n++)
      listener
        .hear([forged(7, `${n}`)])
        .wait(60)
        .answerAll(peer);
    expect(listener.said.filter((text) => text.startsWith("reset")).length).toBe(1);
    expect(listener.lists.length).toBeLessThan(20);
    listener.hear(peer.append()).wait(600_000).answerAll(peer).deliver();
    expect(listener.cursor).toBe(5001);
  });
});

describe("an update that nobody has any more", () => {
  test("is behind us when it was listed", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(2);
    listener.greet(peer).answer(peer);
    listener.take(listener.reception.lost(hashOf("log 41"), listener.now));
    expect(listener.cursor).toBe(41);
  });

  test("is listed first when only a notice named it, at most once a minute", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hear(peer.append(3));
    for (const n of [41, 42]) {
      listener.take(listener.reception.lost(hashOf(`log ${n}`), listener.now));
      listener.answerAll(peer);
    }
    expect(listener.lists).toEqual(["41-1040"]);
    // Both are listed by now: this time it counts.
    listener.take(listener.reception.lost(hashOf("log 41"), listener.now));
    expect(listener.cursor).toBe(42);
  });
});

describe("room", () => {
  const { tracked } = RECEPTION_LIMITS;

  test.each([tracked - 1, tracked, tracked + 1])("%i notices: 5000 are kept", (count) => {
    const peer = new ListedPeer();
    peer.append();
    const listener = inStep(peer);
    for (let n = 0; n < count; n++) listener.hear(peer.append());
    expect(listener.reception.missing).toBe(Math.min(count, tracked));
    for (let n = 0; n < 20; n++) listener.deliver().answerAll(peer);
    expect([listener.cursor, listener.known.size]).toEqual([count + 1, count + 1]);
  });

  test("a batch that straddles the cap is taken as far as there is room, and listed later", () => {
    const peer = new ListedPeer();
    peer.append(1);
    const listener = inStep(peer);
    listener.hear(peer.append(tracked - 10));
    listener.hear(peer.append(500)).hear(peer.append(500));
    expect([listener.reception.missing, listener.wanted.length]).toEqual([tracked, tracked]);
    expect(listener.lists).toEqual([]);
    listener.deliver(999);
    expect(listener.lists).toEqual([]);
    listener.deliver(1);
    expect(listener.lists).toEqual([`${tracked + 1}-${tracked + 1000}`]);
    listener.answerAll(peer).deliver();
    expect([listener.cursor, listener.known.size]).toEqual([tracked + 991, tracked + 991]);
  });

  test("that notices fill while a listing is on its way is not exceeded", () => {
    const peer = new ListedPeer();
    peer.append(10);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(990);
    listener.greet(peer);
    peer.append(10);
    const listing = peer.list(10, 1009);
    for (let n = 11; n <= 1010; n++) listener.hear(peer.list(n, n));
    listener.hear(peer.append(4000 - 5));
    expect(listener.reception.missing).toBe(4995);
    listener.answer(peer, listing);
    expect(listener.reception.missing).toBe(4995);
    for (let n = 0; n < 20; n++) listener.deliver().answerAll(peer);
    expect(listener.cursor).toBe(5005);
  });

  test("one update that does not come holds the cursor, not the others, and no memory", () => {
    const peer = new ListedPeer();
    peer.append(1);
    const listener = inStep(peer);
    listener.hear(peer.append());
    const [stuck] = listener.wanted.splice(0);
    for (let n = 0; n < 60; n++) listener.hear(peer.append(500)).deliver();
    expect([listener.cursor, listener.reception.missing]).toEqual([1, 1]);
    if (stuck !== undefined) listener.hold(stuck.hash);
    expect(listener.cursor).toBe(30_002);
  });
});

describe("listings", () => {
  test("that fail are repeated after a minute", () => {
    const peer = new ListedPeer();
    peer.append(5);
    const listener = new Listener().greet(peer);
    listener.pending = undefined;
    listener.take(listener.reception.listFailed(listener.now));
    expect(listener.reception.nextAt()).toBe(listener.now + 60_000);
    listener.wait(59_999);
    expect(listener.lists.length).toBe(1);
    listener.wait(1).answerAll(peer).deliver();
    expect(listener.cursor).toBe(5);
  });

  test("hold only what was asked for, each number once, in any order", () => {
    const peer = new ListedPeer();
    peer.append(100);
    const listener = inStep(peer);
    listener.hangUp();
    peer.append(3);
    listener.greet(peer);
    const listing = peer.list(100, 103);
    listener.answer(peer, [...listing.reverse(), ...listing, forged(99), forged(1100), forged(7)]);
    expect(listener.wanted.map(({ number }) => number)).toEqual([101, 102, 103]);
  });

  test("that nobody asked for are passed over", () => {
    const peer = new ListedPeer();
    peer.append(10);
    const listener = inStep(peer);
    listener.take(listener.reception.listed(10, 1009, [forged(11)], listener.now));
    expect(listener.wanted).toEqual([]);
  });

  test("after a silence prove life and heal a lost notice", () => {
    const peer = new ListedPeer();
    peer.append(10);
    const listener = inStep(peer);
    peer.append(2);
    listener.take(listener.reception.probe(listener.now));
    expect(listener.lists).toEqual(["10-1009"]);
    listener.answerAll(peer).deliver();
    expect(listener.cursor).toBe(12);
    listener.take(listener.reception.probe(listener.now)).answerAll(peer);
    expect([listener.lists.length, listener.said.at(-1)]).toEqual([2, "cursor 12"]);
  });

  test("prove life of an empty log, and of one that is not to be listed yet", () => {
    const empty = new ListedPeer();
    const listener = new Listener().greet(empty);
    listener.take(listener.reception.probe(listener.now)).answerAll(empty);
    expect([listener.lists, listener.reception.nextAt()]).toEqual([["0-999"], undefined]);
    empty.append(2);
    listener.take(listener.reception.probe(listener.now)).answerAll(empty).deliver();
    expect(listener.cursor).toBe(2);
    const other = new ListedPeer("other");
    other.append(1);
    for (const peer of [other, empty]) {
      listener.hangUp();
      listener.greet(peer).answerAll(peer).deliver();
    }
    listener.lists = [];
    listener.take(listener.reception.probe(listener.now)).answerAll(empty);
    expect([listener.lists, listener.wanted]).toEqual([["2-2"], []]);
  });

  test("go on over another connection where they were", () => {
    const peer = new ListedPeer();
    peer.append(2500);
    const listener = new Listener().greet(peer).answer(peer);
    const asked = listener.pending;
    listener.pending = undefined;
    listener.take(listener.reception.moved(listener.now));
    expect(listener.pending).toEqual(asked);
    listener.answerAll(peer).deliver();
    expect(listener.cursor).toBe(2500);
  });

  test("say which key a wanted update is about", () => {
    const listener = new Listener().greet(new ListedPeer());
    const fingerprint = "3E200377663F6B09E474FDAE801568FC";
    listener.hear([{ ...forged(1), fingerprint }]);
    expect(listener.reception.fingerprintOf(forged(1).hash)).toBe(fingerprint);
    expect(listener.reception.fingerprintOf(forged(2).hash)).toBeUndefined();
  });
});
