/**
 * The OpenAPI document: valid by the schema of OpenAPI 3.1, and true. A gateway is asked for every
 * path and given every order, and each answer has a code, a type and a body that are in it.
 */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, it } from "vitest";
import { z } from "zod";
import { controlPath } from "../../src/admin/admin-door.js";
import { obeyedSchema } from "../../src/admin/openapi.js";
import { journeySchema, statusSchema } from "../../src/status/schema.js";
import { VERSION } from "../../src/version.js";
import { armoredKeys, FEEDER, HEAD, startGateway } from "./gateway.js";

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Record<string, unknown> }>>;
}
interface Document extends Record<string, unknown> {
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

/** Bodies by path; the others are text. */
const BODIES: Readonly<Record<string, z.ZodType>> = {
  "/status.json": statusSchema,
  "/update/{question}.json": z.array(journeySchema).min(1),
};

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
}

/** One request over the control socket; of a stream only the beginning is read. */
async function asked(logPath: string, path: string, method = "GET"): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const socketPath = controlPath(logPath);
    const one = request({ socketPath, path, method, agent: false }, (response) => {
      const code = response.statusCode ?? 0;
      const type = String(response.headers["content-type"]).replace(/;.*/, "");
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        body += part;
        if (type === "text/event-stream") one.destroy();
      });
      response.on("close", () => resolve({ code, type, body }));
    });
    one.once("error", reject);
    one.end();
  });
}

async function documented(logPath: string): Promise<Document> {
  const { code, body } = await asked(logPath, "/openapi.json");
  expect(code).toBe(200);
  return JSON.parse(body) as Document;
}

function expectNamed(path: string, operation: Operation | undefined, answer: Answer): void {
  const response = operation?.responses[answer.code];
  expect(response, `${path}: ${answer.code} ${answer.body}`).toBeDefined();
  expect(Object.keys(response?.content ?? {}), path).toContain(answer.type);
}

it("is valid, of this version, and forbids no new field", async () => {
  const { logPath, base } = await startGateway(HEAD);
  const document = await documented(logPath);
  expect(await (await fetch(`${base}/openapi.json`)).json()).toEqual(document);
  expect([document.openapi, document.info.version]).toEqual(["3.1.0", VERSION]);
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
  expect(JSON.stringify(document)).not.toContain("additionalProperties");
  // The check can fail.
  const broken = { ...document, paths: { "/x": { get: { responses: { "200": {} } } } } };
  expect(await new Validator().validate(broken)).toMatchObject({ valid: false });
});

it("names every path that the code has", async () => {
  const { logPath } = await startGateway(HEAD);
  const { paths } = await documented(logPath);
  const source = (name: string) =>
    readFileSync(new URL(`../../src/admin/${name}`, import.meta.url), "utf8");
  const served = [...source("routes.ts").matchAll(/^ +case "(\/[^"]*)":/gm)].map(
    ([, path]) => path,
  );
  const folders = [...source("routes.ts").matchAll(/startsWith\("(\/[^"]+)"\)/g)].map(
    ([, path]) => path ?? "",
  );
  expect(served.length).toBeGreaterThan(9);
  expect(folders.length).toBeGreaterThan(0);
  expect(Object.keys(paths)).toEqual(expect.arrayContaining([...served, "/events"]));
  for (const folder of folders) {
    expect(
      Object.keys(paths).some((path) => path.startsWith(`${folder}{`)),
      folder,
    ).toBe(true);
  }
  const orders = [...source("orders.ts").matchAll(/^ +case "(\w+) (\w+)( number)?":/gm)];
  expect(orders.length).toBeGreaterThan(5);
  for (const [order, room, verb, number = ""] of orders) {
    const like = new RegExp(`^/${room}/\\{\\w+\\}/${verb}${number && "/(\\{\\w+\\}|all)"}$`);
    const own = Object.keys(paths).filter((path) => like.test(path));
    expect(own.length, order).toBeGreaterThan(0);
  }
});

it("every path answers as the document says", async () => {
  const { logPath, mail } = await startGateway(HEAD + FEEDER);
  await mail(armoredKeys()[0] ?? "");
  const { paths } = await documented(logPath);
  let gets = 0;
  for (const [path, { get }] of Object.entries(paths)) {
    if (get === undefined) continue;
    gets += 1;
    const answer = await asked(logPath, path.replace("{name}", "old").replace(/\{\w+\}/, "1"));
    expectNamed(path, get, answer);
    // No server is followed here; 404 is the answer for one that is not there.
    const wanted = { "/recon/{place}": 404, "/update": 303 }[path] ?? 200;
    expect([path, answer.code]).toEqual([path, wanted]);
    BODIES[path]?.parse(JSON.parse(answer.body));
  }
  expect(gets).toBeGreaterThan(12);
  for (const path of ["/update/999999", "/update/999999.json"]) {
    const answer = await asked(logPath, path);
    expect(answer.code).toBe(404);
    expectNamed(path, paths[path.replace("999999", "{question}")]?.get, answer);
  }
});

it("every order answers as the document says, done or not", async () => {
  const { logPath, mail } = await startGateway(HEAD + FEEDER);
  await mail(armoredKeys()[0] ?? "");
  const { fingerprint } = JSON.parse((await asked(logPath, "/update/1.json")).body)[0];
  const { paths } = await documented(logPath);
  const codes = new Set<number>();
  for (const name of ["old", "nobody"]) {
    for (const [path, { post }] of Object.entries(paths)) {
      if (post === undefined) continue;
      const key = name === "old" ? fingerprint : "4711";
      const given = path
        .replace("{name}", name)
        .replace("{fingerprint}", key)
        .replace(/\{(seq|days)\}/, "1");
      const answer = await asked(logPath, `${given}?reason=test`, "POST");
      expectNamed(path, post, answer);
      const { done } = obeyedSchema.parse(JSON.parse(answer.body));
      expect(done, path).toBe(answer.code === 200);
      codes.add(answer.code);
    }
  }
  expect([...codes].sort()).toEqual([200, 409]);
});
