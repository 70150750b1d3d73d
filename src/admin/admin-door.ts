/**
 * The operator's HTTP door: /livez (the process answers), /readyz (it can do its work: the log
 * answers), /status.json. GET and HEAD only; reads and decides nothing. Listens on loopback unless
 * the operator says otherwise.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Endpoint } from "../config/config.js";
import type { Sources } from "./status.js";
import { status } from "./status.js";

export const ADMIN_LIMITS = {
  connections: 50,
  requestMs: 10_000,
} as const;

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
}

export class AdminDoor {
  readonly #listen: Endpoint;
  readonly #sources: Sources;
  readonly #server: Server;

  constructor(listen: Endpoint, sources: Sources) {
    this.#listen = listen;
    this.#sources = sources;
    this.#server = createServer({ requestTimeout: ADMIN_LIMITS.requestMs }, (request, response) => {
      respond(response, request, this.#answer(request));
    });
    this.#server.maxConnections = ADMIN_LIMITS.connections;
  }

  /** Listens; resolves with the address, a free port filled in. */
  async start(): Promise<Endpoint> {
    const { host, port } = this.#listen;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, resolve);
    });
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #answer(request: IncomingMessage): Answer {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return plain(405, "Only GET is answered here.");
    }
    const path = (request.url ?? "/").split("?")[0];
    try {
      switch (path) {
        case "/livez":
          return plain(200, "ok");
        case "/readyz":
        case "/healthz":
          this.#sources.log.counts();
          return plain(200, "ok");
        case "/status.json": {
          const body = `${JSON.stringify(status(this.#sources), null, 2)}\n`;
          return { code: 200, type: "application/json", body };
        }
        default:
          return plain(404, "Here are /livez, /readyz and /status.json.");
      }
    } catch (error) {
      return plain(503, error instanceof Error ? error.message : "not ready");
    }
  }
}

function plain(code: number, text: string): Answer {
  return { code, type: "text/plain; charset=utf-8", body: `${text}\n` };
}

function respond(response: ServerResponse, request: IncomingMessage, answer: Answer): void {
  const { code, type, body } = answer;
  response.writeHead(code, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    ...(code === 405 ? { Allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}
