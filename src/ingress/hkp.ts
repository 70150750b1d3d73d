/**
 * The HKP door: POST /pks/add (draft-gallagher-openpgp-hkp section 5). Neighbours are recognised by
 * address; with `open` anybody may post. A request has one key; several from a neighbour that is a
 * program. Answers are those of Hockeypuck: JSON that lists a key as "inserted" or "ignored"
 * (known). Bad input is 4xx with one line (429: over a rate), a failure of the gateway 5xx.
 * Hockeypuck 2.3 gives up its round at any status from 300 on. To a neighbour's keyserver a key
 * that is declined is therefore "ignored", and a temporary failure is a connection closed without
 * an answer. PKS-Recipients, PKS-From and PKS-Sender of neighbours are the trail. Limits: "updated"
 * is always empty, as the gateway holds no keys; TLS needs a proxy.
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { MAX_KEYS } from "../admit.js";
import type { Clock } from "../clock.js";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, refusalKind, TooFast, Trouble } from "../errors.js";
import type { KeyIntake, Submission, Taken } from "../intake/key-intake.js";
import { KnownSenders, senderOf } from "../intake/senders.js";
import { inSlices } from "../intake/slices.js";
import { clientHost, clientNetwork } from "../ip-address.js";
import { readingArmor } from "../openpgp/armor.js";
import { readingKeys, readKeys } from "../openpgp/key.js";
import type { Steps } from "../steps.js";
import { GaveUp, Gone, readBody } from "./hkp-body.js";
import { readAddForm } from "./hkp-form.js";
import { HKP_LIMITS, type HkpLimits } from "./limits.js";
import { NO_PKS_HEADERS, readPksHeaders, sitesByHost } from "./pks-headers.js";
import { isOverShare, type Visitor } from "./shares.js";
import { StrangerRates } from "./stranger-rates.js";

/** How often Node checks for request heads that are late. */
const CHECK_MS = 1000;
const NO_ROOM_MS = 5000;

/** Connections that wait to be accepted: the maximum of the kernel (somaxconn). */
const BACKLOG = 4096;

/** Requests on one connection. Then the client must connect again, and is counted again. */
const REQUESTS_PER_CONNECTION = 1000;

/** What an `HkpDoor` works with. */
export interface HkpComponents {
  readonly keys: Pick<KeyIntake, "rates" | "take">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Answers op=stats; without it op=stats is not found. */
  readonly stats?: () => unknown;
}

export interface HkpSettings extends Pick<Config, "neighbours" | "local"> {
  readonly hkp: NonNullable<Config["hkp"]>;
  readonly limits?: HkpLimits;
}

/** A request and its client. The address is read at once; a closed socket has none. */
interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly address: string;
  /** The neighbours at this address; empty for a stranger. */
  readonly candidates: readonly Neighbour[];
  /** Whether the client waits for 100 before it sends its body (Expect: 100-continue). */
  readonly awaitsContinue: boolean;
}

/** The JSON answer of Hockeypuck: keys by result. */
interface Summary {
  readonly inserted: readonly KeyName[];
  readonly updated: readonly KeyName[];
  readonly ignored: readonly KeyName[];
  readonly invalid: readonly KeyName[];
}

interface KeyName {
  readonly version: number | undefined;
  readonly fingerprint: string;
}

export class HkpDoor {
  readonly #hkp: NonNullable<Config["hkp"]>;
  readonly #keys: HkpComponents["keys"];
  readonly #diagnostics: Diagnostics;
  readonly #clock: Clock;
  readonly #senders: KnownSenders;
  readonly #sites: ReadonlyMap<string, string>;
  readonly #stats: (() => unknown) | undefined;
  readonly #limits: HkpLimits;
  readonly #strangers: StrangerRates;
  readonly #servers: Server[] = [];
  readonly #open = new Map<Socket, Visitor>();
  /** Bytes of bodies in memory, and of these, bodies of strangers. */
  #held = 0;
  #heldOfStrangers = 0;

  constructor({ keys, clock, diagnostics, stats }: HkpComponents, settings: HkpSettings) {
    const { hkp, neighbours, limits = HKP_LIMITS } = settings;
    this.#stats = stats;
    this.#hkp = hkp;
    this.#keys = keys;
    this.#diagnostics = diagnostics;
    this.#limits = limits;
    this.#clock = clock;
    const { networks } = limits;
    this.#strangers = new StrangerRates({ clock }, { rate: hkp.strangerRate, networks });
    this.#senders = new KnownSenders(neighbours);
    this.#sites = sitesByHost(settings);
  }

  /** Listens; resolves with the addresses in the order of the config, free ports filled in. */
  async start(): Promise<Endpoint[]> {
    const bound: Endpoint[] = [];
    for (const { host, port } of this.#hkp.listen) {
      const server = this.#server();
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen({ port, host, backlog: BACKLOG }, resolve);
      });
      this.#servers.push(server);
      bound.push({ host, port: (server.address() as AddressInfo).port });
    }
    return bound;
  }

  /** Stops listening, waits a limited time for requests in progress, and closes. */
  async stop(): Promise<void> {
    const patience = setTimeout(() => {
      for (const server of this.#servers) server.closeAllConnections();
    }, this.#limits.closeMs);
    await Promise.all(
      this.#servers.map((server) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeIdleConnections();
        return closed;
      }),
    );
    clearTimeout(patience);
  }

  #server(): Server {
    const { headersMs, dataMs, idleMs, headerBytes } = this.#limits;
    const server = createServer({
      maxHeaderSize: headerBytes,
      headersTimeout: headersMs,
      // `readBody` enforces the pace of a body.
      requestTimeout: headersMs + dataMs,
      keepAliveTimeout: idleMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, headersMs),
    });
    server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
    server.on("connection", (socket) => this.#admit(socket));
    server.on("request", (request, response) => void this.#serve(request, response, false));
    server.on("checkContinue", (request, response) => void this.#serve(request, response, true));
    return server;
  }

  /** Closes a connection that is over a limit. Only a stranger gets an answer. */
  #admit(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const isStranger = this.#senders.at(address).length === 0;
    const visitor = { client: clientHost(address), isStranger };
    this.#open.set(socket, visitor);
    socket.once("close", () => this.#open.delete(socket));
    // Ends connections of clients that do not read their answers.
    socket.setTimeout(this.#limits.headersMs + this.#limits.dataMs, () => socket.destroy());
    if (!isOverShare([...this.#open.values()], visitor, this.#limits)) return;
    this.#limited(address, "too many connections");
    if (!isStranger) return void socket.destroy();
    const line = "too many connections, try again later\n";
    const head = `HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n`;
    socket.write(
      `${head}Content-Type: text/plain\r\nContent-Length: ${line.length}\r\n\r\n${line}`,
    );
    socket.destroySoon();
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    awaitsContinue: boolean,
  ): Promise<void> {
    const address = request.socket.remoteAddress ?? "";
    const candidates = this.#senders.at(address);
    const asked: Asked = { request, response, address, candidates, awaitsContinue };
    // The body may fail after it was read.
    request.on("error", () => {});
    try {
      await this.#answer(asked);
    } catch (error) {
      this.#fail(error, asked);
    }
  }

  async #answer(asked: Asked): Promise<void> {
    const { request, response, address, candidates } = asked;
    const target = targetOf(request.url ?? "");
    if (target === undefined) return say(asked, 400, "invalid request target");
    const { path, query } = target;
    if (this.#hkp.open) {
      // Pages of other sites may post keys and read the answer (CORS).
      response.setHeader("Access-Control-Allow-Origin", "*");
      response.setHeader("Access-Control-Expose-Headers", "Retry-After");
    }
    if (path === "/pks/lookup" && query.get("op") === "stats" && this.#stats !== undefined) {
      if (request.method === "GET" || request.method === "HEAD") {
        if (candidates.length === 0) this.#strangers.take(address);
        return tell(response, this.#stats());
      }
    }
    if (path !== "/pks/add") return say(asked, 404, "not found");
    if (request.method === "OPTIONS" && this.#hkp.open) return preflight(response);
    if (request.method !== "POST") {
      response.setHeader("Allow", this.#hkp.open ? "POST, OPTIONS" : "POST");
      return say(asked, 405, "invalid HTTP method: only POST adds keys");
    }
    tell(response, await this.#take(asked, query));
  }

  async #take(asked: Asked, query: URLSearchParams): Promise<Summary> {
    const { request, response, candidates, awaitsContinue } = asked;
    const { trail, authors } =
      candidates.length === 0 ? NO_PKS_HEADERS : readPksHeaders(request.headers, this.#sites);
    const sender = senderOf(candidates, { trail: [], addresses: authors });
    const refusal = this.#reasonAgainst(asked, sender);
    if (refusal !== undefined) {
      // The body is read and dropped, because a client reads the answer after it.
      if (!awaitsContinue) await this.#body(asked, 0).catch(ifGone);
      throw refusal;
    }
    if (awaitsContinue) response.writeContinue();
    let held = 0;
    const hold = (bytes: number) => {
      if (!this.#hold(bytes, candidates.length === 0)) return false;
      held += bytes;
      return true;
    };
    try {
      const body = await this.#body(asked, this.#hkp.maxSizeBytes, hold);
      const form = readAddForm(request.headers["content-type"], body);
      const { keytext } = form;
      const options = query.getAll("options").flatMap((words) => words.split(","));
      const isProgram = form.isMachineReadable || options.includes("mr") || isKeyserver(asked);
      const given = { armor: [keytext], transport: "hkp", bytes: body.length } as const;
      const from = { sender, trail, isKnown: candidates.length > 0 };
      const submission = { ...given, ...from, messageId: undefined };
      if (isProgram && candidates.length > 0) return await this.#storeEach(submission, asked);
      return summary(await this.#keys.take({ ...submission, single: true }));
    } catch (error) {
      if (!isDeclined(error) || !isKeyserver(asked)) throw error;
      this.#refused(error, asked);
      return summary([]);
    } finally {
      this.#hold(-held, candidates.length === 0);
    }
  }

  /** Why a client may not post now. Counts the request if it may. */
  #reasonAgainst(
    { address, candidates }: Asked,
    sender: Neighbour | undefined,
  ): Refusal | undefined {
    try {
      if (candidates.length > 0) this.#keys.rates.take(sender ? [sender] : candidates);
      else if (this.#hkp.open) this.#strangers.take(address);
      else throw new Refusal("unknown-sender", "this address is not a neighbour of this keyserver");
      return undefined;
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }

  /**
   * Takes the keys of a neighbour that is a program. The answer names each key, so one that is
   * refused affects no other. Rejects with `Refusal` when no key is taken and none makes sense.
   */
  async #storeEach(submission: Submission, asked: Asked): Promise<Summary> {
    const refused: Refusal[] = [];
    const onRefused = (refusals: readonly Refusal[]) => void refused.push(...refusals);
    let taken: readonly Taken[] = [];
    try {
      taken = await this.#keys.take({ ...submission, onRefused });
    } catch (error) {
      if (!(error instanceof Refusal) || !refused.some(isDeclined)) throw error;
      this.#refused(error, asked);
    }
    if (refused.length === 0) return summary(taken);
    const versions = await inSlices(readingVersions(submission.armor), this.#clock);
    return summary(taken, refused, versions);
  }

  #body({ request }: Asked, maxBytes: number, hold = (_: number) => true): Promise<Buffer> {
    const { oversizeFactor, dataMs, graceMs, bytesPerSecond } = this.#limits;
    const readBytes = this.#hkp.maxSizeBytes * oversizeFactor;
    return readBody(request, { dataMs, graceMs, bytesPerSecond, maxBytes, readBytes, hold });
  }

  /** Reserves memory for a body. Returns false, and reserves nothing, if others hold too much. */
  #hold(bytes: number, isStranger: boolean): boolean {
    const { strangerBytes, heldBytes } = this.#limits;
    const { maxSizeBytes } = this.#hkp;
    const all = this.#held + bytes;
    const ofStrangers = this.#heldOfStrangers + (isStranger ? bytes : 0);
    if (bytes > 0 && all > Math.max(heldBytes, 2 * maxSizeBytes)) return false;
    if (bytes > 0 && isStranger && ofStrangers > Math.max(strangerBytes, maxSizeBytes))
      return false;
    this.#held = all;
    this.#heldOfStrangers = ofStrangers;
    return true;
  }

  #fail(error: unknown, asked: Asked): void {
    if (error instanceof Gone) return;
    const { request, response } = asked;
    const isPassing = !(error instanceof Refusal) || error instanceof TooFast;
    this.#report(error, asked);
    // Hockeypuck 2.4 counts a key as sent after 429 or 503.
    if (isPassing && isKeyserver(asked)) return void request.socket.destroy();
    if (error instanceof TooFast) {
      response.setHeader("Retry-After", String(Math.max(1, Math.ceil(error.waitMs / 1000))));
    }
    if (error instanceof GaveUp) {
      response.setHeader("Retry-After", String(NO_ROOM_MS / 1000));
      if (error.why === "too-slow") return say(asked, 408, "the request took too long");
      return say(asked, 503, "too many requests at once, try again later");
    }
    if (error instanceof Refusal) {
      return say(asked, refusalKind(error.reason).hkp, error.message);
    }
    response.setHeader("Retry-After", "60");
    say(asked, 503, "the key could not be stored, try again later");
  }

  #report(error: unknown, asked: Asked): void {
    const { address, candidates } = asked;
    const neighbour = candidates[0]?.name;
    if (error instanceof GaveUp) {
      return this.#limited(address, error.why === "no-room" ? "too many at once" : error.why);
    }
    if (error instanceof TooFast) {
      if (candidates.length === 0) return this.#limited(address, error.reason);
      const { reason, waitMs } = error;
      const fields = { neighbour: error.neighbour, reason, waitMs, door: "hkp" };
      return this.#diagnostics.report("too-fast", fields);
    }
    if (error instanceof Refusal) return this.#refused(error, asked);
    const trouble = error instanceof Trouble ? error : undefined;
    this.#diagnostics.report("mail-deferred", {
      neighbour,
      door: "hkp",
      kind: trouble?.kind ?? "bug",
      problem: error instanceof Error ? error.message : "unknown",
      remedy: trouble?.remedy,
    });
  }

  #refused({ reason, message: problem }: Refusal, { candidates }: Asked): void {
    const neighbour = candidates[0]?.name;
    this.#diagnostics.report("mail-refused", { neighbour, reason, problem, door: "hkp" });
  }

  #limited(address: string, reason: string): void {
    const neighbour = this.#senders.at(address)[0]?.name;
    this.#diagnostics.report("hkp-limited", { neighbour, client: clientNetwork(address), reason });
  }
}

/**
 * Path and query of a request target in origin form or absolute form (RFC 9112 section 3.2). The
 * path is percent-decoded and has no empty segments. Undefined for any other form.
 */
export function targetOf(
  url: string,
): { readonly path: string; readonly query: URLSearchParams } | undefined {
  const absolute = url.startsWith("/") ? `http://here${url}` : url;
  if (!/^https?:\/\//i.test(absolute) || !URL.canParse(absolute)) return undefined;
  const { pathname, searchParams } = new URL(absolute);
  try {
    const segments = decodeURIComponent(pathname).split("/").filter(Boolean);
    return { path: `/${segments.join("/")}`, query: searchParams };
  } catch {
    return undefined;
  }
}

/**
 * Whether the client is a neighbour's keyserver. Hockeypuck sends PKS-Sender from 2.3.1 on, if its
 * address is configured. Before, it has the user agent of Go's HTTP client, later one of its own.
 */
function isKeyserver({ request: { headers }, candidates }: Asked): boolean {
  if (candidates.length === 0) return false;
  const agent = headers["user-agent"] ?? "";
  return headers["pks-sender"] !== undefined || /^(?:Go-http-client|Hockeypuck)\b/i.test(agent);
}

function isDeclined(error: unknown): error is Refusal {
  return error instanceof Refusal && refusalKind(error.reason).isDeclined === true;
}

function ifGone(error: unknown): void {
  if (error instanceof Gone) throw error;
}

/** The lists of an answer. A refused key is named if its fingerprint is known. */
function summary(
  taken: readonly Taken[],
  refused: readonly Refusal[] = [],
  versions: ReadonlyMap<string, number> = new Map(),
): Summary {
  const named = (isWanted: (refusal: Refusal) => boolean) =>
    refused.filter(isWanted).flatMap(({ fingerprint }): KeyName[] => {
      if (fingerprint === undefined) return [];
      return [{ version: versions.get(fingerprint), fingerprint: fingerprint.toLowerCase() }];
    });
  return {
    inserted: namesOf(taken, "appended"),
    updated: [],
    ignored: [...namesOf(taken, "duplicate"), ...named(isDeclined)],
    invalid: named((refusal) => !isDeclined(refusal)),
  };
}

function namesOf(taken: readonly Taken[], wanted: Taken["outcome"]): KeyName[] {
  return taken
    .filter(({ outcome }) => outcome === wanted)
    .map(({ update: { fingerprint, body } }) => {
      const [key] = readKeys(body);
      const version = key instanceof Refusal ? undefined : key?.version;
      return { version, fingerprint: fingerprint.toLowerCase() };
    });
}

/** Versions of the keys that can be read, by fingerprint. */
function* readingVersions(texts: readonly Uint8Array[]): Steps<ReadonlyMap<string, number>> {
  const versions = new Map<string, number>();
  for (const text of texts) {
    for (const block of yield* readingArmor(text)) {
      if (block instanceof Refusal) continue;
      for (const key of yield* readingKeys(block.data, MAX_KEYS)) {
        if (!(key instanceof Refusal)) versions.set(key.fingerprint, key.version);
      }
    }
  }
  return versions;
}

function preflight(response: ServerResponse): void {
  response.writeHead(204, {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    // Pages may not set PKS- headers.
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
  });
  response.end();
}

function tell(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(`${JSON.stringify(value)}\n`);
}

/** Answers with one line of text. Closes the connection if the request was not read to its end. */
function say({ request, response, awaitsContinue }: Asked, status: number, line: string): void {
  if (!request.complete && (awaitsContinue || request.method === "POST")) {
    response.setHeader("Connection", "close");
    response.once("finish", () => request.socket.destroy());
  }
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" });
  response.end(`${line}\n`);
}
