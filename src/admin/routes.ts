/**
 * The paths of the operator's HTTP server, without sockets: /livez (the process answers), /readyz
 * (updates can be stored and expiry works), the pages of the gateway, a neighbour, a
 * server followed by recon and an update, their assets, the status as JSON, the metrics, and the
 * OpenAPI document of all of them. Read-only.
 */

import type { ClusterState } from "../cluster/cluster.js";
import { eventLines, filterOf } from "../status/event-lines.js";
import { flowDays } from "../status/flow-hours.js";
import { type Journey, journeyOf } from "../status/journey.js";
import { masked } from "../status/mask.js";
import { neighbourDetail, reconDetail } from "../status/neighbour-page.js";
import { plainQuestion, search } from "../status/search.js";
import { freeBytes, LEAST_FREE_BYTES } from "../status/space.js";
import type { Sources, UpkeepState } from "../status/status.js";
import { status } from "../status/status.js";
import { span } from "../text.js";
import { ICON, SCRIPT, STYLE } from "./assets.js";
import type { ShownEvents } from "./events-section.js";
import type { Html } from "./html.js";
import { journeyPage } from "./journey-page.js";
import type { Metrics } from "./metrics.js";
import { neighbourPage, reconPage, unknownNeighbour } from "./neighbour-page.js";
import { statusPage } from "./page.js";

export interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
  readonly location?: string;
}

const HTML = "text/html; charset=utf-8";
const JSON_TYPE = "application/json";
const HERE =
  "Paths: /, /status.json, /neighbour/NAME, /recon/N, /update/FINGERPRINT-OR-HASH, /events, " +
  "/metrics, /livez and /readyz; /openapi.json describes them.";

/** The answer to GET `url`; with `mask` addresses in it are masked. `accept` is the header. */
export async function answerTo(
  url: URL,
  sources: Sources,
  metrics: Metrics,
  mask: boolean,
  accept?: string,
): Promise<Answer> {
  const { pathname, searchParams } = url;
  switch (pathname) {
    case "/":
      return statusAnswer(sources, searchParams, mask);
    case "/status.json":
      return json(status(sources, mask));
    case "/openapi.json": {
      const { openApiText } = await import("./openapi.js");
      return { code: 200, type: JSON_TYPE, body: openApiText(sources.version) };
    }
    case "/livez":
      return plain(200, "ok");
    case "/readyz":
    case "/healthz":
      return readiness(sources, searchParams.has("verbose"));
    case "/metrics":
      return { code: 200, ...(await metrics.scrape(accept)) };
    case "/update":
      return redirect(searchParams.get("q") ?? "");
    case "/style.css":
      return { code: 200, type: "text/css; charset=utf-8", body: STYLE };
    case "/live.js":
      return { code: 200, type: "text/javascript; charset=utf-8", body: SCRIPT };
    case "/icon.svg":
      return { code: 200, type: "image/svg+xml", body: ICON };
    default:
      if (pathname.startsWith("/update/")) return journeyAnswer(pathname.slice(8), sources, mask);
      if (pathname.startsWith("/neighbour/")) {
        return neighbourAnswer(decoded(pathname.slice(11)), sources, mask);
      }
      if (pathname.startsWith("/recon/")) return reconAnswer(pathname.slice(7), sources, mask);
      return plain(404, HERE);
  }
}

function page(html: Html, code = 200): Answer {
  return { code, type: HTML, body: html.text };
}

function statusAnswer(sources: Sources, parameters: URLSearchParams, mask: boolean): Answer {
  const { counters, clock } = sources;
  const days = flowDays(counters, clock.now());
  return page(statusPage(status(sources, mask), days, eventsOf(sources, parameters, mask)));
}

function eventsOf({ counters }: Sources, parameters: URLSearchParams, mask: boolean): ShownEvents {
  const filter = filterOf(parameters);
  return { filter, ...eventLines(counters.runs(), filter, mask) };
}

function neighbourAnswer(name: string, sources: Sources, mask: boolean): Answer {
  const detail = neighbourDetail(sources, name, mask);
  if (detail !== undefined) return page(neighbourPage(detail));
  return page(unknownNeighbour(name, status(sources, mask)), 404);
}

function reconAnswer(place: string, sources: Sources, mask: boolean): Answer {
  const detail = /^\d{1,6}$/.test(place) ? reconDetail(sources, Number(place), mask) : undefined;
  if (detail !== undefined) return page(reconPage(detail));
  return page(unknownNeighbour(`recon ${place}`, status(sources, mask)), 404);
}

/** A line of text. */
export function plain(code: number, text: string): Answer {
  return { code, type: "text/plain; charset=utf-8", body: `${text}\n` };
}

export function json(value: unknown, code = 200): Answer {
  return { code, type: JSON_TYPE, body: `${JSON.stringify(value, null, 2)}\n` };
}

/** Redirects the form of the page to the page of the update. */
function redirect(question: string): Answer {
  const location = `/update/${encodeURIComponent(plainQuestion(question))}`;
  return { ...plain(303, location), location };
}

/** Lets the event loop run between two slices of a search. */
function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function journeyAnswer(path: string, sources: Sources, mask: boolean): Promise<Answer> {
  const isJson = path.endsWith(".json");
  const question = decoded(isJson ? path.slice(0, -5) : path);
  const { config, log, lanes, peers, counters, clock } = sources;
  const { kind, entries, isDone } = await search(log, plainQuestion(question), pause);
  const now = clock.now();
  const given = { config, log, lanes, peers, recent: counters.recent(), now };
  const journeys = entries.map((entry) => {
    const journey = journeyOf(entry, given);
    return mask ? maskedJourney(journey) : journey;
  });
  const code = !isDone ? 503 : journeys.length === 0 ? 404 : 200;
  if (isJson) return json(journeys, code);
  const { rememberMs, retainMs } = config.log;
  return page(journeyPage({ question, kind, isDone, journeys, rememberMs, retainMs }, now), code);
}

function maskedJourney(journey: Journey): Journey {
  return {
    ...journey,
    messageId: journey.messageId && masked(journey.messageId),
    trail: journey.trail.map(masked),
    // The operator's own words, which may name a person.
    removal: journey.removal && { ...journey.removal, reason: "" },
    stages: journey.stages.map((stage) => {
      const { words, reply } = stage;
      return { ...stage, words: masked(words), reply: reply && masked(reply) };
    }),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text).slice(0, 300);
  } catch {
    return text.slice(0, 300);
  }
}

/** Whether updates can be accepted and expire; the state of neighbours does not count. */
function readiness({ log, config, upkeep, cluster }: Sources, verbose: boolean): Answer {
  const state = upkeep?.();
  const shared = cluster?.();
  const checks: [string, string | undefined][] = [
    ["log", log.damage?.message ?? said(() => readable(log))],
    ["space", said(() => assertSpace(config.log.path))],
    ["upkeep", state && upkeepFault(state)],
  ];
  if (shared !== undefined) checks.push(["database", databaseFault(shared)]);
  const failed = checks.filter(([, fault]) => fault !== undefined);
  const lines = (verbose ? checks : failed).map(([name, fault]) => `${name}: ${fault ?? "ok"}`);
  const text = [failed.length === 0 ? "ok" : "not ready", ...lines].join("\n");
  return plain(failed.length === 0 ? 200 : 503, text);
}

/** The log can be read, and its file is still in place. */
function readable(log: Sources["log"]): void {
  log.counts();
  log.assertInPlace();
}

/** A single failure may be a busy disk; from the second on the log grows without limit. */
function upkeepFault({ failures, trouble }: UpkeepState): string | undefined {
  if (failures < 2 || trouble === undefined) return undefined;
  return `expiry failed ${failures} times in a row: ${trouble.problem}`;
}

/** Without its database a gateway of several stores nothing. The reason is for the operator only. */
function databaseFault({ session, awayMs = 0 }: ClusterState): string | undefined {
  return session === undefined ? `away for ${span(awayMs)}` : undefined;
}

function assertSpace(path: string): void {
  if (freeBytes(path) < LEAST_FREE_BYTES) throw new Error(`less than 10 MiB free beside ${path}`);
}

function said(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
