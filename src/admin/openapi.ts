/**
 * The OpenAPI document of the operator's HTTP server and of the control socket: every path with its
 * codes and bodies, made from the schemas of `status/schema.ts`. It is loaded when it is asked for.
 * `test/admin/openapi.test.ts` asks a gateway for every path and compares.
 */
import {
  OpenAPIRegistry,
  OpenApiGeneratorV31,
  type RouteConfig,
} from "@asteasolutions/zod-to-openapi";
import { z } from "zod";
import { journeySchema, statusSchema } from "../status/schema.js";

/** The answer to an order. */
export const obeyedSchema = z
  .strictObject({
    done: z.boolean().describe("Whether the order was carried out."),
    words: z.string().describe("The result as a sentence."),
    via: z.enum(["kx", "mail"]).optional().describe("Which path was used, if there are several."),
    missing: z.literal(true).optional().describe("There was nothing to do."),
  })
  .meta({ id: "Outcome" });

type Responses = RouteConfig["responses"];

const text = (description: string, type = "text/plain") => ({
  description,
  content: { [type]: { schema: z.string() } },
});
const json = (description: string, schema: z.ZodType) => ({
  description,
  content: { "application/json": { schema } },
});

const OUTSIDE: Responses = {
  421: text("The Host header names another server: add the name to `names` of [admin]."),
  503: text("The log cannot be read; the text says why."),
};

/** What a search answers that found no time, beside the text of a log that cannot be read. */
function unfinished({ content }: { readonly content: object }) {
  const other = text("").content;
  return {
    description: "Another search is under way, or the log cannot be read: try again.",
    content: { ...content, ...other },
  };
}

const question = z
  .string()
  .describe("A fingerprint, a 16-digit key id, a hash, a number, or a Message-ID.");
const neighbour = z.string().describe("Name of the neighbour; `[local]` is the local keyserver.");
const fingerprint = z.string().describe("The whole fingerprint of the primary key.");
const seq = z.string().regex(/^\d+$/).describe("Number of an update.");
const reason = z.string().max(500).describe("Why, for the journal and for lists.");

/** The version is that of the gateway. */
export function openApiDocument(version: string) {
  const registry = new OpenAPIRegistry();
  addStatus(registry);
  addProbes(registry);
  addPages(registry);
  addOrders(registry);
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: "3.1.0",
    info: {
      title: "KX gateway: status, metrics and orders",
      version,
      license: { name: "MIT", identifier: "MIT" },
      description:
        "GET and HEAD are answered by the server of [admin] and by the control socket beside the " +
        "log (`updates.db-control`). Orders are accepted by the control socket alone, which only " +
        "the gateway's user may open. With `public_status` the server of [admin] masks every " +
        "address. Any other method is answered with 405, an unknown path with 404, a path that " +
        "cannot be parsed with 400. Later releases may add fields: ignore those that you do not " +
        "know. Times are ISO 8601 in UTC.",
    },
    servers: [{ url: "/", description: "The server of [admin]" }],
  });
}

/** The same as text. Readers of a later release must not refuse its new fields. */
export function openApiText(version: string): string {
  const open = (key: string, value: unknown) =>
    key === "additionalProperties" ? undefined : value;
  return `${JSON.stringify(openApiDocument(version), open, 2)}\n`;
}

function get(
  registry: OpenAPIRegistry,
  path: string,
  summary: string,
  responses: Responses,
  request: RouteConfig["request"] = {},
): void {
  const tags = ["read"];
  registry.registerPath({
    ...{ method: "get", path, summary, tags, request },
    responses: { ...OUTSIDE, ...responses },
  });
}

function addStatus(registry: OpenAPIRegistry): void {
  get(registry, "/status.json", "The status of the gateway", {
    200: json("The status. docs/status-json.md lists the fields.", statusSchema),
  });
  const journeys = z.array(journeySchema);
  get(
    registry,
    "/update/{question}.json",
    "Where an update is, the newest first, at most 20",
    {
      200: json("The updates.", journeys),
      404: json("No update was found.", journeys),
      503: unfinished(json("", journeys)),
    },
    { params: z.object({ question }) },
  );
  get(registry, "/events", "Server-sent events: the status changed", {
    200: text(
      "An event `change` at most four times a second; fetch the status after each. " +
        "At most 20 streams, 10 from one address.",
      "text/event-stream",
    ),
  });
  get(registry, "/openapi.json", "This document", {
    200: json("OpenAPI 3.1.", z.looseObject({ openapi: z.string() })),
  });
}

function addProbes(registry: OpenAPIRegistry): void {
  get(registry, "/livez", "Whether the process answers", { 200: text("It does.") });
  const verbose = z.string().optional().describe("List every check, also those that passed.");
  for (const path of ["/readyz", "/healthz"]) {
    registry.registerPath({
      ...{ method: "get", path, tags: ["read"] },
      summary: "Whether updates can be stored: the log, its disk, and expiry",
      request: { query: z.object({ verbose }) },
      responses: {
        200: text("They can."),
        421: OUTSIDE[421] ?? text(""),
        503: text("They cannot; one line for each reason."),
      },
    });
  }
  get(registry, "/metrics", "Metrics for Prometheus", {
    200: {
      description: "The metrics; OpenMetrics 1.0.0 for an Accept header that prefers it.",
      content: { ...text("").content, ...text("", "application/openmetrics-text").content },
    },
  });
}

function addPages(registry: OpenAPIRegistry): void {
  get(
    registry,
    "/",
    "The status page",
    { 200: text("The page.", "text/html") },
    {
      query: z.object({
        neighbour: z.string().optional().describe("Events of this neighbour only."),
        level: z.enum(["all", "warn", "error"]).optional().describe("`warn`: warnings and errors."),
        words: z.string().optional().describe("Events with all of these words only."),
      }),
    },
  );
  const found = {
    200: text("The page.", "text/html"),
    404: text("There is none of that name.", "text/html"),
  };
  get(registry, "/neighbour/{name}", "The page of a neighbour", found, {
    params: z.object({ name: neighbour }),
  });
  get(registry, "/recon/{place}", "The page of a server that is followed by recon", found, {
    params: z.object({
      place: z.string().regex(/^\d+$/).describe("Its place in the configuration, from 1."),
    }),
  });
  get(
    registry,
    "/update/{question}",
    "The page of an update",
    {
      200: text("The page.", "text/html"),
      404: text("No update was found.", "text/html"),
      503: unfinished(text("", "text/html")),
    },
    { params: z.object({ question }) },
  );
  get(
    registry,
    "/update",
    "The search form of the page",
    { 303: { ...text("To the page of the update."), headers: z.object({ Location: z.string() }) } },
    { query: z.object({ q: question.optional() }) },
  );
  get(registry, "/style.css", "Style of the page", { 200: text("CSS.", "text/css") });
  get(registry, "/live.js", "Script of the page", { 200: text("Script.", "text/javascript") });
  get(registry, "/icon.svg", "Icon of the page", { 200: text("SVG.", "image/svg+xml") });
}

function order(
  registry: OpenAPIRegistry,
  path: string,
  summary: string,
  params: z.ZodObject,
  query: z.ZodObject = z.object({}),
): void {
  registry.registerPath({
    ...{ method: "post", path, summary, tags: ["orders"] },
    servers: [
      {
        url: "http://localhost",
        description: "The control socket: curl --unix-socket updates.db-control -X POST ...",
      },
    ],
    request: { params, query },
    responses: {
      200: json("It was done.", obeyedSchema),
      409: json("It could not be done; the words say why.", obeyedSchema),
      503: text("The log cannot be read or written; the text says why."),
    },
  });
}

function addOrders(registry: OpenAPIRegistry): void {
  const name = z.object({ name: neighbour });
  const numbered = z.object({ name: neighbour, seq });
  const key = z.object({ fingerprint });
  const days = z.string().regex(/^\d+$/).describe("Updates of how many days, by mail.");
  order(registry, "/peers/{name}/pause", "Send nothing to a neighbour", name);
  order(registry, "/peers/{name}/resume", "Send to it again", name);
  order(
    registry,
    "/peers/{name}/backfill/{days}",
    "Ask a neighbour for its updates again",
    z.object({ name: neighbour, days }),
  );
  const dryRun = z.literal("").optional().describe("Compare only.");
  order(
    registry,
    "/peers/{name}/reconcile",
    "Compare all keys with those of a KX peer, and fetch what differs",
    name,
    z.object({ "dry-run": dryRun }),
  );
  order(registry, "/queue/{name}/retry", "Try the next update now", name);
  order(registry, "/queue/{name}/retry/{seq}", "Send an update that it did not take", numbered);
  order(registry, "/queue/{name}/retry/all", "Send all updates that it did not take", name);
  order(registry, "/queue/{name}/skip/{seq}", "Give up an update for this neighbour", numbered);
  const block = z.object({
    reason,
    until: z.string().optional().describe("When the block ends: a day in UTC, or a time."),
    revocations: z.literal("pass").optional().describe("Hard revocations pass the block."),
  });
  order(registry, "/keys/{fingerprint}/block", "Block a key", key, block);
  order(registry, "/keys/{fingerprint}/unblock", "Remove a block", key, z.object({ reason }));
  order(
    registry,
    "/keys/{fingerprint}/forget",
    "Remove from the log what it holds of a key",
    key,
    z.object({ reason }),
  );
}
