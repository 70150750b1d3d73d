/**
 * A key that a keyserver shows as a bare revocation signature, read by index and hashquery: what
 * counts as "it does not say", and what is a failure that can be repeated. Real sockets.
 */
import { createHash } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { wholeKey } from "../src/hkp-whole.js";
import { sksDigests } from "../src/openpgp/sks-digest.js";
import type { Fingerprint } from "../src/update.js";
import { Signer } from "./openpgp/signer.js";

const ann = new Signer(1);
const KEY = ann.key(ann.over(ann.primary, { at: 1_700_000_000, type: 0x20 }));
const FINGERPRINT = ann.fingerprint as Fingerprint;
const [MD5 = Buffer.alloc(0)] = sksDigests(KEY);

/** A keyserver whose index has the key, and that answers a hashquery as `answer` does. */
async function keyserver(
  answer: (response: ServerResponse, question: Buffer) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/pks/hashquery") return answer(response, Buffer.concat(chunks));
      response.end(JSON.stringify([{ fingerprint: FINGERPRINT, md5: MD5.toString("hex") }]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function word(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
}

const keys = (...some: Uint8Array[]) =>
  Buffer.concat([word(some.length), ...some.flatMap((key) => [word(key.length), key])]);

const ask = (url: string, signal = new AbortController().signal) =>
  wholeKey(url, FINGERPRINT, signal);

test("the key is asked for by the MD5 of the index", async () => {
  const asked: string[] = [];
  const url = await keyserver((response, question) => {
    asked.push(question.toString("hex"));
    response.end(Buffer.concat([keys(KEY), Buffer.from("\r\n")]));
  });
  expect(Buffer.from((await ask(url)) ?? [])).toEqual(Buffer.from(KEY));
  expect(asked).toEqual([`0000000100000010${MD5.toString("hex")}`]);
});

test.each<[string, number, Buffer]>([
  ["404", 404, keys(KEY)],
  ["500", 500, keys(KEY)],
  ["no octets", 200, Buffer.alloc(0)],
  ["no key", 200, keys()],
  ["a key that is cut short", 200, keys(KEY).subarray(0, -1)],
  ["two keys", 200, keys(KEY, KEY)],
  ["more than 8 MiB", 200, keys(Buffer.alloc(8 * 1024 * 1024))],
  ["a digest", 200, createHash("md5").update("x").digest()],
])("a hashquery that is answered with %s does not say the key", async (_, status, body) => {
  const url = await keyserver((response) => response.writeHead(status).end(body));
  expect(await ask(url)).toBe(undefined);
});

test("a key with another MD5 is left to the caller, who compares the fingerprint", async () => {
  const other = ann.key(ann.over(ann.primary, { at: 1_700_000_001, type: 0x20 }));
  const url = await keyserver((response) => response.end(keys(other)));
  expect(Buffer.from((await ask(url)) ?? [])).toEqual(Buffer.from(other));
});

test("a connection that breaks is a failure", async () => {
  const url = await keyserver((response) => response.destroy());
  await expect(ask(url)).rejects.toThrow("socket hang up");
});

test("the signal of the caller ends the question", async () => {
  const closing = new AbortController();
  const url = await keyserver(() => closing.abort(new Error("the gateway closes")));
  await expect(ask(url, closing.signal)).rejects.toThrow("the gateway closes");
});
