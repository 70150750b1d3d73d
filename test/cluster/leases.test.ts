/**
 * Leases over a store that the test plays: a holder begins with a copy that is at the newest
 * position, ends with the session, and is not told of what it gave back itself.
 */
import { expect, it } from "vitest";
import {
  ALONE,
  type LeaseHolder,
  type LeaseStore,
  SharedLeases,
} from "../../src/cluster/leases.js";
import type { StoreListener } from "../../src/cluster/postgres-store.js";
import { Trouble } from "../../src/errors.js";

/** A store without a database: what is wanted of it, and its events by hand. */
class PlayedStore implements LeaseStore {
  wanted: readonly string[] = [];
  #listener: StoreListener = {};

  listen(listener: StoreListener): () => void {
    this.#listener = listener;
    return () => {};
  }

  want(leases: readonly string[]): void {
    this.wanted = leases;
  }

  grant(lease: string): void {
    this.#listener.granted?.(lease);
  }

  lose(): void {
    this.#listener.lost?.("cut");
  }
}

const AWAY = new Trouble("away", "the database is away", "Wait.");

function stage() {
  const store = new PlayedStore();
  const told: string[] = [];
  const state = { catchUp: () => true as boolean };
  const leases = new SharedLeases(
    store,
    () => state.catchUp(),
    (trouble) => told.push(trouble.kind),
    { report: (event, fields) => void told.push(`${event} ${Object.values(fields)}`) },
  );
  const holder = (name: string, take = () => {}): LeaseHolder => ({
    take: () => {
      take();
      told.push(`take ${name}`);
    },
    lose: () => told.push(`lose ${name}`),
  });
  return { store, told, state, leases, holder };
}

it("a gateway that is alone has every lease at once", () => {
  const told: string[] = [];
  const release = ALONE.ask("a", { take: () => told.push("take"), lose: () => told.push("lose") });
  release();
  expect(told).toEqual(["take"]);
});

it("begins when the lease is granted, and ends with the session, as often as both come", () => {
  const { store, told, leases, holder } = stage();
  leases.ask("a", holder("a"));
  leases.ask("b", holder("b"));
  expect(store.wanted).toEqual(["a", "b"]);
  expect(told).toEqual([]);
  store.grant("a");
  expect(leases.taken).toEqual(["a"]);
  store.lose();
  store.lose();
  expect(leases.taken).toEqual([]);
  store.grant("a");
  expect(told).toEqual([
    ...["take a", "lease-taken a", "lose a", "lease-lost a"],
    ...["take a", "lease-taken a"],
  ]);
});

it("does not begin before the copy is at the newest position", () => {
  const { store, told, state, leases, holder } = stage();
  leases.ask("a", holder("a"));
  state.catchUp = () => false;
  store.grant("a");
  state.catchUp = () => {
    throw AWAY;
  };
  leases.begin();
  expect(told).toEqual(["away"]);
  expect(leases.taken).toEqual([]);
  state.catchUp = () => true;
  leases.begin();
  leases.begin();
  expect(told).toEqual(["away", "take a", "lease-taken a"]);
});

it("forgets a grant whose session ended before the holder began", () => {
  const { store, told, state, leases, holder } = stage();
  leases.ask("a", holder("a"));
  state.catchUp = () => false;
  store.grant("a");
  store.lose();
  state.catchUp = () => true;
  leases.begin();
  expect(told).toEqual([]);
});

it("tries again a holder that could not begin, and not those that did", () => {
  const { store, told, leases, holder } = stage();
  let isAway = true;
  const take = () => {
    if (isAway) throw AWAY;
  };
  leases.ask("a", holder("a"));
  leases.ask("b", holder("b", take));
  store.grant("a");
  store.grant("b");
  isAway = false;
  leases.begin();
  expect(told).toEqual(["take a", "lease-taken a", "away", "take b", "lease-taken b"]);
});

it("gives back a lease without telling its holder", () => {
  const { store, told, leases, holder } = stage();
  const release = leases.ask("a", holder("a"));
  leases.ask("b", holder("b"));
  store.grant("a");
  release();
  release();
  expect(store.wanted).toEqual(["b"]);
  store.lose();
  // A grant that was under way.
  store.grant("a");
  expect(told).toEqual(["take a", "lease-taken a"]);
});

it("is asked by one holder at a time", () => {
  const { leases, holder } = stage();
  const release = leases.ask("a", holder("one"));
  expect(() => leases.ask("a", holder("two"))).toThrow("twice");
  release();
  leases.ask("a", holder("two"));
});
