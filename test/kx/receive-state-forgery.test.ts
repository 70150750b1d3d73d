/**
 * What a lie, an accident or an update that is gone may do to a reception: cost a few listings,
 * and never move the cursor over an update that can be had (rules 4 and 6).
 */
import { describe, expect, test } from "vitest";
import { forged, hashOf, inStep, ListedPeer, Listener, TOP } from "./listed-peer.js";

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
    listener.take(listener.receiveState.established(forged(TOP), listener.now)).answerAll(peer);
    expect(listener.lists.length).toBe(3);
    listener.deliver();
    expect(listener.cursor).toBe(42);
  });

  test("in the greeting of a first contact are followed by the true one", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = new Listener();
    listener.take(listener.receiveState.established(forged(TOP), 0)).answerAll(peer);
    listener.hear(peer.append()).wait(60_000).answerAll(peer).deliver();
    expect([listener.cursor, listener.known.size]).toEqual([41, 41]);
  });

  test("that a peer lists up to the top lead no search astray for ever", () => {
    const listener = new Listener();
    const liar = new ListedPeer();
    listener.take(listener.receiveState.established(forged(TOP), 0));
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
    expect(listener.lists).toEqual(["39-40", "41-1040"]);
    listener.hold(hashOf("log 41")).hold(hashOf("log 42"));
    expect([listener.cursor, listener.receiveState.missing]).toEqual([42, 0]);
  });

  test("next in line never move the cursor: lost without having been listed is not lost", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hear([forged(41)]);
    listener.take(listener.receiveState.lost(forged(41).hash, listener.now));
    expect(listener.lists).toEqual(["41-1040"]);
    listener.answer(peer);
    expect([listener.cursor, listener.receiveState.missing]).toEqual([40, 0]);
    listener.hear(peer.append()).deliver();
    expect(listener.cursor).toBe(41);
  });

  test("that are low and far behind cost two LISTs: the log is still the one we know", () => {
    const peer = new ListedPeer();
    peer.append(5000);
    const listener = inStep(peer);
    for (let n = 0; n < 1000; n++)
      listener
        .hear([forged(7, `${n}`)])
        .wait(60)
        .answerAll(peer);
    expect(listener.said).toEqual([]);
    // Whether it is the log; and whether the peer withheld an update there when it was passed.
    expect(listener.lists).toEqual(["4999-5000", "7-1006"]);
    listener.hear(peer.append()).deliver();
    expect(listener.cursor).toBe(5000);
    listener.wait(60_000).answerAll(peer);
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
    listener.take(listener.receiveState.lost(hashOf("log 41"), listener.now));
    expect(listener.cursor).toBe(41);
  });

  test("is listed first when only a notice named it, at most once a minute", () => {
    const peer = new ListedPeer();
    peer.append(40);
    const listener = inStep(peer);
    listener.hear(peer.append(3));
    for (const n of [41, 42]) {
      listener.take(listener.receiveState.lost(hashOf(`log ${n}`), listener.now));
      listener.answerAll(peer);
    }
    expect(listener.lists).toEqual(["41-1040"]);
    // Both are listed by now: this time it counts.
    listener.take(listener.receiveState.lost(hashOf("log 41"), listener.now));
    expect(listener.cursor).toBe(42);
  });
});

describe("what a search does not show", () => {
  test("is searched for again when it was announced meanwhile", () => {
    // The only entry is withheld at the greeting; more is appended before the LIST is answered.
    const peer = new ListedPeer();
    peer.append();
    const listener = new Listener().greet(peer);
    listener.hear(peer.append(4)).answer(peer, []);
    expect(listener.wanted).toEqual([]);
    listener.wait(60_000).answerAll(peer).deliver();
    expect(listener.cursor).toBe(5);
  });

  test("was forged when nothing else was announced", () => {
    const peer = new ListedPeer();
    peer.append();
    const listener = new Listener().greet(peer);
    listener.answer(peer, []);
    expect(listener.receiveState.nextAt()).toBeUndefined();
  });
});

test("five listings by command in ten minutes are made at once, others wait", () => {
  const peer = new ListedPeer();
  peer.append(40);
  const listener = inStep(peer);
  for (let n = 0; n < 5; n++) {
    listener.take(listener.receiveState.startOver(listener.now)).answerAll(peer).wait(1000);
    expect(listener.cursor).toBe(40);
  }
  listener
    .take(listener.receiveState.startOver(listener.now))
    .answerAll(peer)
    .wait(9 * 60_000);
  expect(listener.cursor).toBeUndefined();
  listener.wait(2 * 60_000).answerAll(peer);
  expect(listener.cursor).toBe(40);
});
