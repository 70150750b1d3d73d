/**
 * The first line of the page: the state in one or two sentences, the worst first. Pure: from the
 * states of the neighbours and the latest events. A fault of the log counts until an update is
 * accepted after it, and for at least ten minutes; one of the shared database until that is back.
 */
import { eventsWith, kindOf } from "../diagnostics.js";
import type { FollowerStatus } from "../following/follower.js";
import { ago, listed, several } from "../text.js";
import type { EventCounters, Report } from "./event-counters.js";
import type { NeighbourView } from "./neighbour-view.js";
import { counted, isLocal, RANK, wordsOf } from "./neighbour-view.js";

export interface Verdict {
  /** `good`: proven. `pending`: no fault, but not every neighbour has proven what it has. */
  readonly state: "good" | "pending" | "behind" | "bad";
  readonly words: string;
}

const ACCEPTED = eventsWith({ direction: "in", outcome: "accepted" });
const TROUBLE_MS = 10 * 60_000;

export function verdictOf(given: {
  readonly mode: "bridge" | "observe";
  readonly running: boolean;
  readonly views: readonly NeighbourView[];
  readonly counters: EventCounters;
  readonly now: number;
  readonly recon: readonly Pick<FollowerStatus, "server" | "problem">[];
  /** What is wrong with the shared database or the copy. */
  readonly cluster?: Verdict | undefined;
}): Verdict {
  const { mode, running, views, counters, now, recon, cluster } = given;
  if (!running) {
    return {
      state: "bad",
      words: "The gateway is not running. This status was read from the update log.",
    };
  }
  if (cluster?.state === "bad") return cluster;
  // What failed because the database was away is over when it is back.
  const back = counters.lastAt({ events: ["database-back"] });
  const isOver = ({ fields, at }: Report) => fields.kind === "away" && at <= back;
  const trouble = counters.recent().find((one) => kindOf(one.event).isTrouble && !isOver(one));
  const accepted = counters.lastAt({ events: ACCEPTED });
  const verb = mode === "observe" ? "Observing: nothing is sent." : "Bridging.";
  if (trouble && (now - trouble.at < TROUBLE_MS || trouble.at > accepted)) {
    const words = wordsOf(trouble.fields) ?? "unknown error";
    return { state: "bad", words: `Error ${ago(trouble.at, now)}: ${words}.` };
  }
  const lost = recon.find(({ problem }) => problem !== undefined);
  if (lost !== undefined) {
    const words = `${verb} ${lost.server} is not followed by recon: ${lost.problem}.`;
    return { state: "bad", words };
  }
  if (cluster !== undefined) return cluster;
  if (views.length === 0) {
    return { state: "behind", words: `${verb} No neighbours are configured: add a [[peer]].` };
  }
  const served = [...counted(views), ...views.filter(({ name }) => isLocal(name))];
  const open = served.filter(({ state }) => state === "pending");
  const bad = served.filter(({ state }) => state !== "good" && state !== "pending");
  const [worst] = bad.toSorted((a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state));
  const [first] = open;
  if (worst === undefined && first === undefined) {
    return { state: "good", words: `${verb} ${allGood(served, views)}${untaken(views)}` };
  }
  const names = (all: readonly NeighbourView[]) =>
    listed(all.filter((view) => view !== (worst ?? first)).map(({ name }) => name));
  const rest = (words: string, all: readonly NeighbourView[]) =>
    names(all) === "" ? "" : ` ${words}: ${names(all)}.`;
  const count = countWords(served);
  if (worst === undefined) {
    const about = `${count}${first?.name}: ${first?.words}.${rest("Also not confirmed", open)}`;
    return { state: "pending", words: `${verb} ${about}${untaken(views)}` };
  }
  const state = bad.some((view) => view.state === "down") ? "bad" : "behind";
  const others = `${rest("Also not in sync", bad)}${rest("Not confirmed", open)}`;
  const about = `${count}${worst.name} is ${worst.state}: ${worst.words}.${others}`;
  return { state, words: `${verb} ${about}${untaken(views)}` };
}

/** "2 of 3 neighbours in sync; ": the local keyserver is none of them. */
function countWords(served: readonly NeighbourView[]): string {
  const peers = counted(served);
  if (peers.length === 0) return "";
  const good = peers.filter(({ state }) => state === "good").length;
  return `${good} of ${several(peers.length, "neighbour")} in sync; `;
}

function allGood(served: readonly NeighbourView[], views: readonly NeighbourView[]): string {
  const [one] = served;
  const isServed = views.some(({ label }) => label === "elsewhere");
  if (one === undefined && isServed) return "Another gateway of the site serves the neighbours.";
  if (one === undefined) return "Nothing is sent to any neighbour.";
  if (served.length === 1) return `${one.name} is in sync.`;
  const peers = counted(served);
  if (peers.length === served.length) return `All ${peers.length} are in sync.`;
  const all = peers.length === 1 ? `${peers[0]?.name}` : `All ${peers.length} neighbours`;
  return `${all} and the local keyserver are in sync.`;
}

/** What some neighbours did not take, which does not change the state; empty if nothing. */
function untaken(views: readonly NeighbourView[]): string {
  const some = views.flatMap(({ name, exceptions }) => {
    const count = exceptions === undefined ? 0 : exceptions.refused + exceptions.waiting;
    return count === 0 ? [] : [{ name, count }];
  });
  if (some.length === 0) return "";
  const sum = some.reduce((all, { count }) => all + count, 0);
  const by = some.length > 3 ? `${some.length} neighbours` : listed(some.map(({ name }) => name));
  return ` ${several(sum, "update")} not taken by ${by}.`;
}
