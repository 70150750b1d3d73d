/**
 * The HKP door: POST /pks/add (draft-gallagher-openpgp-hkp 5), as `gpg --send-keys`, Hockeypuck and
 * web forms write it. Who posts is a neighbour by its address; strangers may only when the operator
 * says so. One key a request: an update is one key, and Hockeypuck and gpg send no more.
 *
 * Answered as Hockeypuck does: JSON with the key under "inserted", or under "ignored" when the very
 * update is known; bad input is 4xx with one line (429: over `accept_rate`), our trouble 5xx, so
 * that nobody takes it for stored. PKS-Recipients, PKS-From and PKS-Sender are the trail. Limits:
 * "updated" never occurs, for we hold no keys; only op=stats is looked up; TLS is up to a proxy.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Config, Endpoint } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, type RefusalReason, TooFast, Trouble } from "../errors.js";
import { addressesIn } from "../mail/sent-trail.js";
import { plainAddress } from "../mail-address.js";
import { readKeys } from "../openpgp/key.js";
import type { KeyIntake, Taken } from "./key-intake.js";
import { KnownSenders, senderOf } from "./neighbours.js";

const LIMITS = {
  connections: 100,
  headersMs: 20_000,
  requestMs: 60_000,
  /** How long a request may take when we go down. */
  closeMs: 5000,
  headerBytes: 16_384,
  /** An oversized request is read to its end up to so many times the cap. */
  oversizeFactor: 4,
} as const;

/** Refusals whose fault is not in the key, with Hockeypuck's status for the others: 422. */
const STATUS: Partial<Record<RefusalReason, number>> = {
  "bad-request": 400,
  "unknown-sender": 403,
  "too-large": 413,
};
const UNPROCESSABLE = 422;

export class HkpDoor {
  readonly #hkp: NonNullable<Config["hkp"]>;
  readonly #keys: KeyIntake;
  readonly #diagnostics: Diagnostics;
  readonly #senders: KnownSenders;
  readonly #sites: ReadonlyMap<string, string>;
  /** What is answered to op=stats. */
  readonly #stats: (() => unknown) | undefined;
  readonly #servers: Server[] = [];

  constructor(
    config: Config,
    hkp: NonNullable<Config["hkp"]>,
    keys: KeyIntake,
    diagnostics: Diagnostics,
    stats?: () => unknown,
  ) {
    this.#stats = stats;
    this.#hkp = hkp;
    this.#keys = keys;
    this.#diagnostics = diagnostics;
    this.#senders = new KnownSenders(config.neighbours);
    this.#sites = sitesByHost(config);
  }

  /** Listens; resolves with the addresses in the order of the config, free ports filled in. */
  async start(): Promise<Endpoint[]> {
    const bound: Endpoint[] = [];
    for (const { host, port } of this.#hkp.listen) {
      const server = createServer(
        {
          maxHeaderSize: LIMITS.headerBytes,
          headersTimeout: LIMITS.headersMs,
          requestTimeout: LIMITS.requestMs,
        },
        (request, response) => void this.#serve(request, response),
      );
      server.maxConnections = LIMITS.connections;
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, resolve);
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
    }, LIMITS.closeMs);
    await Promise.all(
      this.#servers.map((server) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeIdleConnections();
        return closed;
      }),
    );
    clearTimeout(patience);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Asked for now, since a client that leaves has none any more.
    const client = request.socket.remoteAddress ?? "";
    try {
      const [path, query] = (request.url ?? "").split("?");
      const isStats = path === "/pks/lookup" && new URLSearchParams(query).get("op") === "stats";
      if (this.#stats !== undefined && isStats && request.method === "GET") {
        response.setHeader("Content-Type", "application/json");
        response.end(`${JSON.stringify(this.#stats())}\n`);
        return;
      }
      if (path !== "/pks/add") return say(response, 404, "not found");
      if (request.method !== "POST") {
        response.setHeader("Allow", "POST");
        return say(response, 405, "invalid HTTP method: only POST adds keys");
      }
      const taken = await this.#take(request, client);
      response.setHeader("Content-Type", "application/json");
      response.end(`${JSON.stringify(summary(taken))}\n`);
    } catch (error) {
      this.#fail(error, client, request, response);
    }
  }

  async #take(request: IncomingMessage, client: string): Promise<Taken[]> {
    const candidates = this.#senders.at(client);
    if (candidates.length === 0 && !this.#hkp.open) {
      throw new Refusal("unknown-sender", "this address is not a neighbour of this keyserver");
    }
    const body = await collect(request, this.#hkp.maxSizeBytes);
    const { trail, authors } = pksHeaders(request, this.#sites);
    const sender = senderOf(candidates, { trail: [], addresses: authors });
    this.#keys.rates.take(sender === undefined ? candidates : [sender]);
    const armor = Buffer.from(keytext(request, body), "utf8");
    const submission = { sender, trail, messageId: undefined, bytes: body.length };
    const given = { armor: [armor], single: true, transport: "hkp" } as const;
    return await this.#keys.take({ ...given, ...submission });
  }

  #fail(error: unknown, client: string, request: IncomingMessage, response: ServerResponse): void {
    const neighbour = this.#senders.at(client)[0]?.name;
    if (error instanceof TooFast) {
      const { reason, waitMs, message } = error;
      this.#diagnostics.report("too-fast", {
        neighbour: error.neighbour,
        reason,
        waitMs,
        door: "hkp",
      });
      response.setHeader("Retry-After", String(Math.max(1, Math.ceil(waitMs / 1000))));
      return say(response, 429, message);
    }
    if (error instanceof Refusal) {
      const { reason, message: problem } = error;
      this.#diagnostics.report("mail-refused", { neighbour, reason, problem, door: "hkp" });
      if (!request.complete) {
        response.setHeader("Connection", "close");
        response.once("finish", () => request.destroy());
      }
      return say(response, STATUS[reason] ?? UNPROCESSABLE, problem);
    }
    // The client left: there is nobody to answer.
    if (request.destroyed && !request.complete) return;
    const trouble = error instanceof Trouble ? error : undefined;
    this.#diagnostics.report("mail-deferred", {
      neighbour,
      door: "hkp",
      kind: trouble?.kind ?? "bug",
      problem: error instanceof Error ? error.message : "unknown",
      remedy: trouble?.remedy,
    });
    response.setHeader("Retry-After", "60");
    say(response, 503, "the key could not be stored, try again later");
  }
}

/**
 * The body up to `maxBytes`. Throws Refusal 'too-large', when the rest is read and dropped unless
 * it is far too much: a client that is cut off while it writes does not see its answer. Rejects
 * when the client leaves.
 */
async function collect(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  let chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop must not end the connection, on which the answer has to go.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length;
    if (size <= maxBytes) chunks.push(chunk);
    else chunks = [];
    if (size > maxBytes * LIMITS.oversizeFactor) break;
  }
  if (size <= maxBytes) return Buffer.concat(chunks);
  throw new Refusal("too-large", `the request exceeds ${maxBytes} bytes`);
}

/** The one keytext of a form. Throws Refusal 'bad-request'. */
function keytext(request: IncomingMessage, body: Buffer): string {
  const type = request.headers["content-type"] ?? "";
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(type)) {
    throw new Refusal("bad-request", "the request is not application/x-www-form-urlencoded");
  }
  const texts = new URLSearchParams(body.toString("latin1")).getAll("keytext");
  if (texts.length > 1) throw new Refusal("bad-request", "there is more than one keytext");
  const [text = ""] = texts;
  if (text === "") throw new Refusal("bad-request", "missing required parameter: keytext");
  return text;
}

/** Mail addresses by the host of an HKP address: of the keyserver beside us and of neighbours. */
function sitesByHost({ local, neighbours }: Config): ReadonlyMap<string, string> {
  const sites = new Map<string, string>();
  const add = (url: string, address: string | undefined) => {
    if (address !== undefined) sites.set(new URL(url).hostname, address);
  };
  for (const { repair, mail } of neighbours) if (repair?.type === "hkp") add(repair.url, mail);
  if (local?.type === "hkp") add(local.url, local.address);
  return sites;
}

/**
 * Who has the key already, and who says that it sends it. Entries are mailto: addresses or HKP base
 * addresses, of which the ports do not count; only a site whose mail address is known can stand in
 * a trail.
 */
function pksHeaders(
  request: IncomingMessage,
  sites: ReadonlyMap<string, string>,
): {
  readonly trail: readonly string[];
  readonly authors: readonly string[];
} {
  const values = (name: string) => [request.headers[name] ?? []].flat();
  const addresses = (name: string) =>
    values(name)
      .flatMap((value) => value.split(","))
      .flatMap((entry) => siteOf(entry.trim(), sites) ?? []);
  const authors = [...values("pks-sender").flatMap(addressesIn).slice(0, 1)];
  authors.push(...addresses("pks-from").slice(0, 1));
  return { trail: [...addresses("pks-recipients"), ...authors.toReversed()], authors };
}

function siteOf(entry: string, sites: ReadonlyMap<string, string>): string | undefined {
  const [, scheme, rest = ""] = /^(mailto|hkps?|https?):(.*)$/i.exec(entry) ?? [
    undefined,
    "",
    entry,
  ];
  if (scheme === "" || scheme?.toLowerCase() === "mailto") return plainAddress(rest);
  const web = `http:${rest}`;
  return URL.canParse(web) ? sites.get(new URL(web).hostname) : undefined;
}

/** Hockeypuck's summary of what was done. */
function summary(taken: readonly Taken[]): Record<string, unknown[]> {
  const of = (wanted: Taken["outcome"]) =>
    taken
      .filter(({ outcome }) => outcome === wanted)
      .map(({ update: { fingerprint, body } }) => {
        const [key] = readKeys(body);
        const version = key instanceof Refusal ? undefined : key?.version;
        return { version, fingerprint: fingerprint.toLowerCase() };
      });
  return { inserted: of("appended"), updated: [], ignored: of("duplicate"), invalid: [] };
}

function say(response: ServerResponse, status: number, line: string): void {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" });
  response.end(`${line}\n`);
}
