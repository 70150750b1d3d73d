/**
 * The HTTP servers for the operator: that of [admin], for browsers and Prometheus, and the control
 * socket next to the log, for `kxgw status` and other commands, which is always open.
 * Both serve the same paths; the control socket also accepts orders (POST) and masks nothing,
 * because only the gateway's user may open it (mode 0600). The server of [admin] answers only to
 * its own names, and reserves connections for probes and scrapes.
 *
 * A socket file left by a crash is replaced: only the process that holds the lock of the log uses
 * it. Limit: a path longer than 107 bytes cannot be a socket; then there is none,
 * and an event reports it.
 */
import { chmodSync, rmSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { hostname } from "node:os";
import type { Endpoint } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import type { Sources } from "../status/status.js";
import { Guests } from "./guests.js";
import { LIVE_LIMITS, LiveClients } from "./live.js";
import { Metrics } from "./metrics.js";
import type { Orders } from "./orders.js";
import { obey } from "./orders.js";
import type { Answer } from "./routes.js";
import { answerTo, plain } from "./routes.js";

export const ADMIN_LIMITS = {
  connections: 50,
  /** From one address, which may be a proxy in front of many. */
  perAddress: 30,
  requestMs: 10_000,
  /** How late it is noticed that a request did not come in time. */
  checkMs: 1000,
  /** sun_path of Linux, without its NUL. */
  socketPathBytes: 107,
} as const;

const HEADERS = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Content-Security-Policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
};

/** Where the control socket of a log is. */
export function controlPath(logPath: string): string {
  return `${logPath}-control`;
}

export interface AdminComponents {
  readonly sources: Sources;
  readonly orders: Orders;
  readonly diagnostics: Diagnostics;
}

export class AdminDoor {
  readonly #sources: Sources;
  readonly #orders: Orders;
  readonly #diagnostics: Diagnostics;
  readonly #metrics: Metrics;
  readonly #live = new LiveClients();
  readonly #names: ReadonlySet<string>;
  readonly #servers: Server[] = [];
  readonly #unsubscribe: () => void;

  constructor({ sources, orders, diagnostics }: AdminComponents) {
    this.#sources = sources;
    this.#orders = orders;
    this.#diagnostics = diagnostics;
    this.#metrics = new Metrics(sources);
    const { listen, names = [] } = sources.config.admin ?? {};
    this.#names = ownNames([...names, hostname(), ...(listen ? [listen.host] : [])]);
    this.#unsubscribe = sources.counters.onReport(() => this.#live.changed());
  }

  /** Listens on both; resolves with the address of [admin], a free port filled in. */
  async start(): Promise<Endpoint | undefined> {
    await this.#listenOnSocket();
    const { admin } = this.#sources.config;
    if (admin === undefined) return undefined;
    const { host, port } = admin.listen;
    const server = this.#server(false);
    await listening(server, () => server.listen(port, host));
    return { host, port: (server.address() as AddressInfo).port };
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#live.close();
    await Promise.all(
      this.#servers.map((server) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        return closed;
      }),
    );
    this.#metrics.close();
  }

  async #listenOnSocket(): Promise<void> {
    const path = controlPath(this.#sources.config.log.path);
    try {
      if (Buffer.byteLength(path) > ADMIN_LIMITS.socketPathBytes) {
        throw new Error(`${path} is too long for the path of a socket`);
      }
      rmSync(path, { force: true });
      const server = this.#server(true);
      await listening(server, () => {
        // Created with its final mode: listen() makes the file before it returns.
        const mask = process.umask(0o177);
        server.listen(path);
        process.umask(mask);
      });
      chmodSync(path, 0o600);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#diagnostics.report("no-control", { problem });
    }
  }

  #server(isControl: boolean): Server {
    const { requestMs, checkMs, connections, perAddress } = ADMIN_LIMITS;
    const guests = new Guests({
      connections,
      // All clients of the control socket have the same, empty address.
      perAddress: isControl ? connections : perAddress,
      streams: LIVE_LIMITS.clients,
      streamsPerAddress: isControl ? LIVE_LIMITS.clients : LIVE_LIMITS.perAddress,
    });
    const options = {
      headersTimeout: requestMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: checkMs,
    };
    const server = createServer(options, (request, response) => {
      const { socket } = request;
      guests.turn(socket, "asking");
      response.once("finish", () => guests.turn(socket, "waiting"));
      this.#take(request, response, isControl, guests).then(undefined, (error: unknown) => {
        const problem = error instanceof Error ? error.message : "not ready";
        if (!response.headersSent) respond(response, request, plain(503, problem));
      });
    });
    server.on("connection", (socket) => guests.enter(socket));
    this.#servers.push(server);
    return server;
  }

  async #take(
    request: IncomingMessage,
    response: ServerResponse,
    isControl: boolean,
    guests: Guests,
  ): Promise<void> {
    const url = URL.parse(request.url ?? "/", "http://kxgw.invalid");
    if (url === null) return respond(response, request, plain(400, "The request path is invalid."));
    const { host } = url.host === "kxgw.invalid" ? request.headers : url;
    if (!isControl && !isOwn(host, this.#names)) {
      return respond(response, request, plain(421, notOwn(host ?? "")));
    }
    if (isControl && request.method === "POST") {
      return respond(response, request, await obey(url, this.#orders));
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return respond(response, request, plain(405, "Only GET and HEAD are allowed."));
    }
    if (url.pathname === "/events" && request.method === "HEAD") {
      return respond(response, request, { code: 200, type: "text/event-stream", body: "" });
    }
    if (url.pathname === "/events") {
      if (guests.stream(request.socket)) return this.#live.add(response, HEADERS);
      return respond(
        response,
        request,
        plain(503, "Too many pages are open; this page reloads by itself."),
      );
    }
    const mask = !isControl && (this.#sources.config.admin?.publicStatus ?? false);
    const { accept } = request.headers;
    respond(response, request, await answerTo(url, this.#sources, this.#metrics, mask, accept));
  }
}

async function listening(server: Server, listen: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", resolve);
    listen();
  });
  server.removeAllListeners("error");
}

function respond(response: ServerResponse, request: IncomingMessage, answer: Answer): void {
  const { code, type, body, location } = answer;
  response.writeHead(code, {
    ...HEADERS,
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    ...(location === undefined ? {} : { Location: location }),
    ...(code === 405 ? { Allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

/*
 * The Host header shows whether a request is meant for this server. A page of another site can
 * resolve its own name to our address (DNS rebinding), and a browser would then let the page read
 * our answers; but the request still has the name of that site. IP addresses and localhost are
 * always accepted, so that probes and scrapes by address need no setting.
 */

/** The set of names in normalised form. */
function ownNames(names: readonly string[]): ReadonlySet<string> {
  return new Set(["localhost", ...names].map(plainName));
}

/** `host` is the Host header, with or without a port; browsers always send one. */
function isOwn(host: string | undefined, names: ReadonlySet<string>): boolean {
  if (host === undefined) return true;
  const name = plainName(host.replace(/:\d*$/, ""));
  return names.has(name) || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

/** The reply to a request with another host name. */
function notOwn(host: string): string {
  const shown = host.replace(/[^\w.:[\]-]/g, "?").slice(0, 100);
  return `This server is not ${shown}. Use its IP address, or add the name to names of [admin].`;
}

function plainName(name: string): string {
  return name.trim().toLowerCase().replace(/\.$/, "");
}
