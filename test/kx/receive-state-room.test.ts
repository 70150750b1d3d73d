/**
 * How much of a peer's log is kept at once (rule 7 of the reception), and how it asks for the rest.
 */
import { describe, expect, test } from "vitest";
import { RECEIVE_LIMITS } from "../../src/kx/receive-state.js";
import { forged, inStep, ListedPeer, Listener } from "./listed-peer.js";

describe("room", () => {
  const { tracked } = RECEIVE_LIMITS;

  test.each([tracked - 1, tracked, tracked + 1])("%i notices: 5000 are kept", (count) => {
    const peer = new ListedPeer();
    peer.append();
    const listener = inStep(peer);
    for (let n = 0; n < count; n++) listener.hear(peer.append());
    expect(listener.receiveState.missing).toBe(Math.min(count, tracked));
    for (let n = 0; n < 20; n++) listener.deliver().answerAll(peer);
    expect([listener.cursor, listener.known.size]).toEqual([count + 1, count + 1]);
  });

  test("a batch that straddles the cap is taken as far as there is room, and listed later", () => {
    const peer = new ListedPeer();
    peer.append(1);
    const listener = inStep(peer);
    listener.hear(peer.append(tracked - 10));
    listener.hear(peer.append(500)).hear(peer.append(500));
    expect([listener.receiveState.missing, listener.wanted.length]).toEqual([tracked, tracked]);
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
    expect(listener.receiveState.missing).toBe(4995);
    listener.answer(peer, listing);
    expect(listener.receiveState.missing).toBe(4995);
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
    expect([listener.cursor, listener.receiveState.missing]).toEqual([1, 1]);
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
    listener.take(listener.receiveState.listFailed(listener.now));
    expect(listener.receiveState.nextAt()).toBe(listener.now + 60_000);
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
    listener.take(listener.receiveState.listed(10, 1009, [forged(11)], listener.now));
    expect(listener.wanted).toEqual([]);
  });

  test("after a silence prove life and heal a lost notice", () => {
    const peer = new ListedPeer();
    peer.append(10);
    const listener = inStep(peer);
    peer.append(2);
    listener.take(listener.receiveState.probe(listener.now));
    expect(listener.lists).toEqual(["10-1009"]);
    listener.answerAll(peer).deliver();
    expect(listener.cursor).toBe(12);
    listener.take(listener.receiveState.probe(listener.now)).answerAll(peer);
    expect([listener.lists.length, listener.said.at(-1)]).toEqual([2, "cursor 12"]);
  });

  test("prove life of an empty log, and of one that is not to be listed yet", () => {
    const empty = new ListedPeer();
    const listener = new Listener().greet(empty);
    listener.take(listener.receiveState.probe(listener.now)).answerAll(empty);
    expect([listener.lists, listener.receiveState.nextAt()]).toEqual([["0-999"], undefined]);
    empty.append(2);
    listener.take(listener.receiveState.probe(listener.now)).answerAll(empty).deliver();
    expect(listener.cursor).toBe(2);
    const other = new ListedPeer("other");
    other.append(1);
    for (const peer of [other, empty]) {
      listener.hangUp();
      listener.greet(peer).answerAll(peer).deliver();
    }
    listener.lists = [];
    listener.take(listener.receiveState.probe(listener.now)).answerAll(empty);
    expect([listener.lists, listener.wanted]).toEqual([["2-2"], []]);
  });

  test("go on over another connection where they were, once the log is recognised", () => {
    const peer = new ListedPeer();
    peer.append(2500);
    const listener = new Listener().greet(peer).answer(peer).answer(peer).answer(peer);
    expect(listener.pending).toEqual({ low: 500, high: 1499 });
    listener.move().answerAll(peer).deliver();
    expect(listener.lists.slice(4)).toEqual(["0-1", "500-1499", "1499-2498", "2498-3497"]);
    expect(listener.cursor).toBe(2500);
  });

  test("begin anew over another connection while nothing is known of the log", () => {
    const peer = new ListedPeer();
    peer.append(2500);
    const listener = new Listener().greet(peer).answer(peer);
    expect(listener.pending).toEqual({ low: 501, high: 1500 });
    listener.move();
    expect(listener.pending).toEqual({ low: 1501, high: 2500 });
    listener.answerAll(peer).deliver();
    expect(listener.cursor).toBe(2500);
  });

  test("say which key a wanted update is about", () => {
    const listener = new Listener().greet(new ListedPeer());
    const fingerprint = "3E200377663F6B09E474FDAE801568FC";
    listener.hear([{ ...forged(1), fingerprint }]);
    expect(listener.receiveState.announcementOf(forged(1).hash)?.fingerprint).toBe(fingerprint);
    expect(listener.receiveState.announcementOf(forged(2).hash)).toBeUndefined();
  });
});
