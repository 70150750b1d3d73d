/**
 * The schema describes /status.json and journeys as they are: a running gateway, observe mode,
 * masked, empty, and read from the log. The types are compared, so that a field which no test
 * reaches needs a description as well.
 */
import { expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import type { Journey } from "../../src/status/journey.js";
import { entriesOf, journeyOf } from "../../src/status/journey.js";
import { journeySchema, statusSchema } from "../../src/status/schema.js";
import { type Status, status } from "../../src/status/status.js";
import { armoredKeys, control, FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { clustered, preparedSources } from "../admin/prepared.js";

/** As a reader gets it. */
function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** Every path of fields in a type, as "neighbours.site.cursor". */
type Fields<T> = T extends readonly (infer Item)[]
  ? Fields<Item>
  : T extends string | number | boolean
    ? never
    : T extends object
      ? { [K in keyof T & string]-?: K | `${K}.${Fields<T[K]>}` }[keyof T & string]
      : never;

type Frozen<T> = T extends string | number | boolean
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Frozen<Item>[]
    : { readonly [K in keyof T]: Frozen<T[K]> };

it("has the fields and the values of the types", () => {
  type Described = z.infer<typeof statusSchema>;
  expectTypeOf<Fields<Status>>().toEqualTypeOf<Fields<Described>>();
  // Fields of a report may be of any type; which of them are text, its event says.
  const described = (given: Omit<Status, "recent">): Frozen<Omit<Described, "recent">> => given;
  type DescribedJourney = z.infer<typeof journeySchema>;
  expectTypeOf<Fields<Journey>>().toEqualTypeOf<Fields<DescribedJourney>>();
  const describedJourney = (given: Journey): Frozen<DescribedJourney> => given;
  // The compiler has checked them; they are called so that they count as used.
  expect([typeof described, typeof describedJourney]).toEqual(["function", "function"]);
});

it("parses a busy day, with and without masked addresses", () => {
  const { sources } = preparedSources();
  for (const mask of [false, true]) {
    const value = asJson(status(sources, mask));
    expect(statusSchema.parse(value)).toEqual(value);
    const unknown = { ...(value as object), more: 1 };
    expect(() => statusSchema.parse(unknown)).toThrow("more");
  }
});

it("parses a running gateway, in bridge and in observe mode", async () => {
  for (const mode of ["bridge", "observe"]) {
    const kx = '[kx]\nlisten = ["127.0.0.1:0"]\n';
    const relay = '[outbound]\nrelay = "smtp://127.0.0.1:1"\n';
    const both = 'name = "both"\nmail = "a@b.example"\nkx = "127.0.0.1:1"\nvia = "auto"\n';
    const config = `mode = "${mode}"\n${HEAD}${kx}${relay}${FEEDER}[[peer]]\n${both}`;
    const { logPath, mail, stop } = await startGateway(config);
    await mail(armoredKeys()[0] ?? "");
    const value = JSON.parse((await control(logPath, "/status.json")).body);
    expect(statusSchema.parse(value)).toEqual(value);
    expect(value.mode).toBe(mode);
    expect(value.observed === null).toBe(mode === "bridge");
    const journeys = JSON.parse((await control(logPath, "/update/1.json")).body);
    expect(z.array(journeySchema).length(1).parse(journeys)).toEqual(journeys);
    await stop();
  }
});

it("parses a gateway of a cluster, with its database there and away", () => {
  const { sources } = preparedSources();
  const away = { session: undefined, awayMs: 300_000, problem: "refused", remedy: "Start it." };
  for (const change of [{}, away]) {
    const value = asJson(status(clustered(sources, change)));
    expect(statusSchema.parse(value)).toEqual(value);
    expect(JSON.stringify(value)).not.toContain("secret");
  }
});

it("parses an empty gateway, and a log that is read without one", async () => {
  const { logPath } = await startGateway(HEAD);
  const empty = JSON.parse((await control(logPath, "/status.json")).body);
  expect(statusSchema.parse(empty)).toMatchObject({ neighbours: [], recent: expect.any(Array) });
  const { sources } = preparedSources();
  const stored = { ...sources, running: false, startedAt: 0, lanes: () => [], peers: () => [] };
  const value = asJson(status(stored));
  expect(statusSchema.parse(value)).toMatchObject({ running: false, started: null });
});

it("parses what is rare: recon, held fetches, a certificate, questions for changes", () => {
  const { sources, lanes, peers, log } = preparedSources();
  const [peer] = peers;
  const [lane] = lanes;
  if (peer === undefined || lane === undefined) throw new Error("the day has none");
  peers[0] = { ...peer, missing: 3, held: { why: "fetch-rate", until: 1e12 } };
  lanes[0] = { ...lane, path: { road: "mail", since: 1e12, isOpen: false, opensAt: 1e12 } };
  const followed = {
    ...{ server: "a:1", hkp: "http://a:2", neighbour: "[local]", state: "down" as const },
    ...{ problem: "it refuses", remedy: "Ask.", keys: undefined, wanted: 0, filters: undefined },
    ...{ sessions: 0, fetched: 0, octetsIn: 0, octetsOut: 0, wholeAt: 0 },
  };
  const trouble = { problem: "full", remedy: "Free space." };
  const upkeep = () => ({ failures: 2, trouble, jumpedMs: -5 });
  const value = asJson(status({ ...sources, recon: () => [followed], upkeep }));
  expect(statusSchema.parse(value)).toEqual(value);
  const { config, clock, counters } = sources;
  const now = clock.now();
  const given = { config, log, lanes: () => lanes, peers: () => peers, recent: counters.recent() };
  for (const entry of entriesOf(log, "1", false)) {
    const journey = asJson(journeyOf(entry, { ...given, now }));
    expect(journeySchema.parse(journey)).toEqual(journey);
  }
});
