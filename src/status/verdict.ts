/**
 * The first line of the page: the state in one or two sentences, the worst first. Pure: from the
 * states of the neighbours and the latest events. A fault of the log counts until an update is
 * accepted after it, and for at least ten minutes.
 */
import { eventsWith, kindOf } from "../diagnostics.js";
import type { FollowerStatus } from "../following/follower.js";
import { ago, listed, several } from "../text.js";
import type { EventCounters } from "./event-counters.js";
import type { NeighbourView } from "./neighbour-view.js";
import { wordsOf } from "./neighbour-view.js";

export interface Verdict {
  readonly state: "good" | "behind" | "bad";
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
}): Verdict {
  const { mode, running, views, counters, now, recon } = given;
  if (!running) {
    return {
      state: "bad",
      words: "The gateway is not running. This status was read from the update log.",
    };
  }
  const trouble = counters.recent().find(({ event }) => kindOf(event).isTrouble);
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
  if (views.length === 0) {
    return { state: "behind", words: `${verb} No neighbours are configured: add a [[peer]].` };
  }
  const served = views.filter(({ state }) => state !== "idle");
  const good = served.filter(({ state }) => state === "good");
  const others = served.filter(({ state }) => state !== "good");
  const [worst] = others.toSorted((a, b) => rank(a) - rank(b));
  if (worst === undefined) {
    const all = served.length === 1 ? `${served[0]?.name} is` : `All ${served.length} are`;
    const waiting = served.filter(({ backlog }) => backlog > 0).map(({ name }) => name);
    const sync =
      served.length === 0
        ? "Nothing is sent to any neighbour."
        : waiting.length === 0
          ? `${all} in sync.`
          : `In sync; updates from ${listed(waiting)} wait until quiet_hours end.`;
    return { state: "good", words: `${verb} ${sync}${untaken(views)}` };
  }
  const more = others.filter((view) => view !== worst).map(({ name }) => name);
  const is = { down: "is down", behind: "is behind", paused: "is paused", good: "", idle: "" };
  const rest = more.length === 0 ? "" : ` Also not in sync: ${listed(more)}.`;
  const count = `${good.length} of ${several(served.length, "neighbour")} in sync`;
  const state = others.some((view) => view.state === "down") ? "bad" : "behind";
  const about = `${count}; ${worst.name} ${is[worst.state]}: ${worst.words}`;
  return { state, words: `${verb} ${about}.${rest}${untaken(views)}` };
}

/** In sync is who got what it takes; what some did not take is said beside it. */
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

function rank({ state }: NeighbourView): number {
  return ["down", "paused", "behind", "good", "idle"].indexOf(state);
}
