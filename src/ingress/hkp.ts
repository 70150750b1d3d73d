/**
 * The HKP door: POST /pks/add (draft-gallagher-openpgp-hkp 5), one key a request. Who posts is a
 * neighbour by its address; strangers may only when the operator says so. Answered as Hockeypuck
 * does: JSON with the key under "inserted", or "ignored" when the very update is known; bad input
 * is 4xx with one line (429: over a rate), our trouble 5xx, so that nobody takes it for stored.
 * A neighbour that is a keyserver is answered as Hockeypuck 2.3 needs it, which gives up its round
 * at any status from 300 on: a key that we decline is "ignored", and a failure that passes is a
 * connection closed without an answer. PKS-Recipients, PKS-From and PKS-Sender are the trail, of
 * neighbours only. Limits: "updated" never occurs, as we hold no keys; TLS is up to a proxy.
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
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

/** How late Node notices that a head did not come in time. */
const CHECK_MS = 1000;
const NO_ROOM_MS = 5000;

/** Connections that wait to be looked at: the most of the kernel (somaxconn), so none is late. */
const BACKLOG = 4096;

/** How many requests on one connection; then the client connects anew and is counted anew. */
const REQUESTS_PER_CONNECTION = 1000;

/** What may be given besides. */
export interface HkpOptions {
  /** What is answered to op=stats; without it op=stats is not found. */
  readonly stats?: () => unknown;
  readonly limits?: HkpLimits;
}

/** A request and who makes it, asked for at once, since a client that leaves has no address. */
interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly address: string;
  /** The neighbours at this address; none for a stranger. */
  readonly candidates: readonly Neighbour[];
  /** Whether the client sends its body only when told so (Expect: 100-continue). */
  readonly awaitsContinue: boolean;
}

/** Hockeypuck's lists of keys, by what was done with them. */
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
  readonly #keys: KeyIntake;
  readonly #diagnostics: Diagnostics;
  readonly #clock: Clock;
  readonly #senders: KnownSenders;
  readonly #sites: ReadonlyMap<string, string>;
  readonly #stats: (() => unknown) | undefined;
  readonly #limits: HkpLimits;
  readonly #strangers: StrangerRates;
  readonly #servers: Server[] = [];
  readonly #open = new Map<Socket, Visitor>();
  /** Bytes of bodies that are held now, and of these, bodies of strangers. */
  #held = 0;
  #heldOfStrangers = 0;

  constructor(
    config: Config,
    hkp: NonNullable<Config["hkp"]>,
    keys: KeyIntake,
    diagnostics: Diagnostics,
    clock: Clock,
    { stats, limits = HKP_LIMITS }: HkpOptions = {},
  ) {
    this.#stats = stats;
    this.#hkp = hkp;
    this.#keys = keys;
    this.#diagnostics = diagnostics;
    this.#limits = limits;
    this.#clock = clock;
    this.#strangers = new StrangerRates(hkp.strangerRate, limits.networks, clock);
    this.#senders = new KnownSenders(config.neighbours);
    this.#sites = sitesByHost(config);
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

  /** Answers what is under way, for a while, and closes. */
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
      // A backstop: a body has a pace of its own.
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

  /** Ends a connection that is one too many, a stranger's with a word. */
  #admit(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const isStranger = this.#senders.at(address).length === 0;
    const visitor = { client: clientHost(address), isStranger };
    this.#open.set(socket, visitor);
    socket.once("close", () => this.#open.delete(socket));
    // Whoever does not read its answers holds a connection no longer than its request may take.
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
    // The body may fail after nobody reads it any more.
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
    if (target === undefined) return say(asked, 400, "that is no request target");
    const { path, query } = target;
    if (this.#hkp.open) {
      // Pages of other sites may post keys where anybody may, and read what became of them.
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
      // Read and dropped, so that the client comes to read its answer.
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
      const isServer = form.isMachineReadable || options.includes("mr") || isKeyserver(asked);
      const given = {
        armor: [keytext],
        single: true,
        transport: "hkp",
        bytes: body.length,
        isKnown: candidates.length > 0,
      } as const;
      return await this.#store({ ...given, sender, trail, messageId: undefined }, isServer, asked);
    } catch (error) {
      if (!isDeclined(error) || !isKeyserver(asked)) throw error;
      this.#refused(error, asked);
      return summary([], []);
    } finally {
      this.#hold(-held, candidates.length === 0);
    }
  }

  /** Why nothing is taken from a client now; its request is counted when something is. */
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

  /** The keys that are declined are "ignored" to a neighbour that is a program. */
  async #store(submission: Submission, isProgram: boolean, asked: Asked): Promise<Summary> {
    try {
      const taken = await this.#keys.take(submission);
      return summary(namesOf(taken, "appended"), namesOf(taken, "duplicate"));
    } catch (error) {
      if (!isDeclined(error) || !isProgram || asked.candidates.length === 0) throw error;
      this.#refused(error, asked);
      return summary([], await inSlices(namingKeys(submission.armor), this.#clock));
    }
  }

  #body({ request }: Asked, maxBytes: number, hold = (_: number) => true): Promise<Buffer> {
    const { oversizeFactor, dataMs, graceMs, bytesPerSecond } = this.#limits;
    const readBytes = this.#hkp.maxSizeBytes * oversizeFactor;
    return readBody(request, { dataMs, graceMs, bytesPerSecond, maxBytes, readBytes, hold });
  }

  /** Books bytes of a body; false, and nothing booked, when others hold too much. */
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
    // Hockeypuck 2.4 takes an answer of 429 or 503 for "sent".
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
 * Path and query of a request target, in origin form or absolute form (RFC 9112 3.2), with
 * percent-encoding undone and empty segments left out; undefined when it is neither.
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

/** Whether a neighbour's keyserver is asking: only such a one writes this header. */
function isKeyserver({ request, candidates }: Asked): boolean {
  return candidates.length > 0 && request.headers["pks-sender"] !== undefined;
}

function isDeclined(error: unknown): error is Refusal {
  return error instanceof Refusal && refusalKind(error.reason).isDeclined === true;
}

function ifGone(error: unknown): void {
  if (error instanceof Gone) throw error;
}

function summary(inserted: readonly KeyName[], ignored: readonly KeyName[]): Summary {
  return { inserted, updated: [], ignored, invalid: [] };
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

/** The keys of armored texts, as far as they can be read; there is one, or a few are enough. */
function* namingKeys(texts: readonly Uint8Array[]): Steps<KeyName[]> {
  const found: KeyName[] = [];
  for (const text of texts) {
    for (const block of yield* readingArmor(text)) {
      if (block instanceof Refusal) continue;
      for (const key of yield* readingKeys(block.data, 1)) {
        if (key instanceof Refusal) continue;
        found.push({ version: key.version, fingerprint: key.fingerprint.toLowerCase() });
      }
    }
  }
  return found;
}

function preflight(response: ServerResponse): void {
  response.writeHead(204, {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    // PKS- headers are not for pages.
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
  });
  response.end();
}

function tell(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(`${JSON.stringify(value)}\n`);
}

/** One line of text. A request that was not read to its end ends the connection. */
function say({ request, response, awaitsContinue }: Asked, status: number, line: string): void {
  if (!request.complete && (awaitsContinue || request.method === "POST")) {
    response.setHeader("Connection", "close");
    response.once("finish", () => request.socket.destroy());
  }
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" });
  response.end(`${line}\n`);
}
