/**
 * A peer whose log began anew while we were connected (rule 8 of the reception): by the greeting of
 * a connection beside a dead one, by a notice, or by a listing. Whenever it shows, all of the new
 * log is listed; and what only looks like it costs two lines.
 */
import { describe, expect, test } from "vitest";
import { inStep, ListedPeer, Listener } from "./listed-peer.js";

function log(size: number, name = "log"): ListedPeer {
  const peer = new ListedPeer(name);
  peer.append(size);
  return peer;
}

/** Everything is answered and delivered; then the cursor and what is held of the peer's log. */
function settled(listener: Listener, peer: ListedPeer): (number | undefined)[] {
  for (let n = 0; n < 50; n++) {
    listener.answerAll(peer).deliver();
    const at = listener.receiveState.nextAt();
    if (listener.pending === undefined && at === undefined) break;
    if (at !== undefined) listener.wait(Math.max(0, at - listener.now));
  }
  const held = [...peer.entries.values()].filter((hash) => listener.known.has(hash));
  return [listener.cursor, held.length];
}

describe("the peer withholds the number of the cursor", () => {
  /** The log with a number that is not listed. */
  function without(peer: ListedPeer, ...numbers: number[]): ListedPeer {
    for (const number of numbers) peer.entries.delete(number);
    return peer;
  }
  /** A cursor that was stored at an earlier connection. */
  function listening(peer: ListedPeer): Listener {
    const listener = inStep(peer);
    listener.hangUp();
    listener.lists = [];
    listener.said = [];
    return listener;
  }

  // The numbers that are withheld: that of the cursor, and those right below it.
  test.each([
    ["greets on the first connection", [100]],
    ["greets on the first connection, some before it are withheld, too", [97, 98, 99, 100]],
  ])("another log that %s", (_, numbers) => {
    const listener = listening(log(100));
    const other = without(log(120, "other"), ...numbers);
    listener.greet(other);
    expect(settled(listener, other)).toEqual([120, 120 - numbers.length]);
    expect(listener.said).toContain("reset other-log");
  });

  test("another log that greets on another connection", () => {
    const listener = inStep(log(100));
    const other = without(log(120, "other"), 100);
    listener.move(other);
    expect(settled(listener, other)).toEqual([120, 119]);
  });

  test("another log of which only the oldest updates are unknown", () => {
    const listener = listening(log(100));
    const other = without(log(120, "other"), 100);
    for (const { hash } of other.list(3, 120)) listener.known.add(hash);
    listener.greet(other);
    expect(settled(listener, other)).toEqual([120, 119]);
  });

  test("the same log costs one more listing a connection, and none while it is open", () => {
    const peer = log(100);
    const listener = listening(peer);
    without(peer, 100).append(5);
    listener.greet(peer);
    expect(settled(listener, peer)).toEqual([105, 104]);
    expect(listener.lists).toEqual(["100-1099", "0-100"]);
    expect(listener.said.filter((one) => one.startsWith("reset"))).toEqual([]);
    without(peer, 105);
    peer.append(1);
    listener.take(listener.receiveState.probe(listener.now));
    listener.answerAll(peer).deliver();
    expect(listener.lists.slice(2)).toEqual(["105-1104"]);
  });
});

describe("the greeting of another connection", () => {
  // Below, at, just above and far above the cursor, which is 100.
  test.each([1, 4, 99, 100, 101, 102, 150, 2500])("of a new log of %i", (size) => {
    const listener = inStep(log(100));
    const other = log(size, "other");
    listener.move(other);
    expect(settled(listener, other)).toEqual([size, size]);
    expect(listener.said[0]).toMatch(/^reset/);
  });

  test("of a new log whose newest update is known from elsewhere", () => {
    const listener = inStep(log(100));
    const other = log(4, "other");
    for (const { hash } of other.list(4, 4)) listener.known.add(hash);
    listener.move(other);
    expect(listener.lists).toEqual(["99-100"]);
    expect(settled(listener, other)).toEqual([4, 4]);
  });

  test("of an empty log, and what it announces after it", () => {
    const listener = inStep(log(100));
    const other = new ListedPeer("other");
    listener.move(other).answerAll(other);
    expect(listener.said).toEqual(["reset wrapped", "cursor undefined"]);
    listener.hear(other.append(3));
    expect(settled(listener, other)).toEqual([3, 3]);
  });

  test("moves no cursor before it is known which log it is", () => {
    const listener = inStep(log(100));
    const other = log(101, "other");
    listener.move(other);
    // Next in line, and known.
    const [next] = other.append();
    if (next === undefined) throw new Error("nothing was appended");
    listener.known.add(next.hash);
    listener.hear(other.list(101, 102));
    expect([listener.cursor, listener.receiveState.cursorAfter(new Set([next.hash]))]).toEqual([
      100,
      undefined,
    ]);
    expect(settled(listener, other)).toEqual([102, 102]);
  });

  test("of the same log costs nothing when nothing is new, and two lines otherwise", () => {
    const peer = log(100);
    const listener = inStep(peer);
    expect(listener.move(peer).lists).toEqual([]);
    peer.append(5);
    listener.move(peer);
    expect(settled(listener, peer)).toEqual([105, 105]);
    expect(listener.lists).toEqual(["99-100", "100-1099"]);
  });

  test("that was overtaken by news on the connection before is no other log", () => {
    const peer = log(100);
    const listener = inStep(peer);
    const greeting = { newest: peer.newest() };
    listener.hear(peer.append(2)).deliver();
    listener.take(listener.receiveState.moved(greeting, listener.now)).answerAll(peer);
    expect([listener.cursor, listener.lists]).toEqual([102, ["101-102"]]);
    expect(listener.said.filter((text) => text.startsWith("reset"))).toEqual([]);
  });

  test("in the middle of a first listing", () => {
    const old = log(3000);
    const listener = new Listener().greet(old);
    for (let n = 0; n < 6; n++) listener.answer(old);
    const other = log(7, "other");
    listener.move(other);
    expect(settled(listener, other)).toEqual([7, 7]);
  });

  test("and back to the older one, which shows the old log", () => {
    const old = log(100);
    const listener = inStep(old);
    listener.move(log(4, "other"));
    listener.move().answerAll(old);
    expect([listener.cursor, listener.said]).toEqual([100, []]);
  });
});

describe("in a session", () => {
  test.each([4, 60, 100])("a notice of %i, which we are past, of a new log", (size) => {
    const listener = inStep(log(100));
    const other = log(size, "other");
    listener.hear(other.list(size, size));
    expect(settled(listener, other)).toEqual([size, size]);
  });

  test("a notice of a known update under a number that we are past", () => {
    const listener = inStep(log(100));
    const other = log(4, "other");
    for (const { hash } of other.list(4, 4)) listener.known.add(hash);
    listener.hear(other.list(4, 4));
    expect(settled(listener, other)).toEqual([4, 4]);
  });

  test.each([3, 900, 1700])("a probe that shows nothing any more, of a new log of %i", (size) => {
    const listener = inStep(log(5000));
    const other = log(size, "other");
    listener.take(listener.receiveState.probe(listener.now));
    expect(settled(listener, other)).toEqual([size, size]);
  });

  test("a probe of a peer that leaves out the first number asked for shows the same log", () => {
    const peer = log(100);
    const listener = inStep(peer);
    listener.take(listener.receiveState.probe(listener.now));
    listener.answer(peer, []);
    expect(listener.pending).toEqual({ low: 99, high: 100 });
    listener.answer(peer, peer.list(100, 100));
    expect([listener.cursor, listener.said]).toEqual([100, []]);
  });

  test("a notice that is repeated costs two lines a minute", () => {
    const peer = log(100);
    const listener = inStep(peer);
    for (let n = 0; n < 1000; n++) listener.hear(peer.list(50, 50)).wait(600).answerAll(peer);
    expect(new Set(listener.lists)).toEqual(new Set(["99-100"]));
    expect(listener.lists.length).toBeLessThanOrEqual(11);
    expect(listener.said).toEqual([]);
  });
});

describe("a full listing that is put off", () => {
  test("is made when the 10 minutes are over, and nothing else happens meanwhile", () => {
    const listener = inStep(log(100));
    const began = listener.now;
    const second = log(4, "second");
    listener.move(second);
    expect(settled(listener, second)).toEqual([4, 4]);
    const third = log(3, "third");
    listener.move(third).answerAll(third);
    expect([listener.cursor, listener.known.has(third.at(1) as never)]).toEqual([undefined, false]);
    const at = listener.receiveState.nextAt();
    expect(at).toBe(began + 600_000);
    listener.wait(600_000 - (listener.now - began));
    expect(settled(listener, third)).toEqual([3, 3]);
  });

  test("of a log that was empty and has grown unheard is made as well", () => {
    const listener = inStep(log(100));
    const second = log(4, "second");
    listener.move(second);
    settled(listener, second);
    const third = new ListedPeer("third");
    listener.move(third).answerAll(third);
    third.append(3);
    listener.hear(third.append()).answerAll(third);
    expect(settled(listener, third)).toEqual([4, 4]);
  });
});
