/**
 * A keyserver that merges what it is given, over HTTP: op=get of one key, /pks/add of any number
 * with an answer as of Hockeypuck, and a dump. It declines the fingerprints that a test names.
 */
import { createServer, type IncomingMessage } from "node:http";
import { onTestFinished } from "vitest";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import {
  assembleKey,
  encodeKey,
  keyComponents,
  readKeys,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { digestOfNames, packetNames } from "../../src/openpgp/news.js";
import { listening } from "./ports.js";

export interface MergingKeyserver {
  readonly port: number;
  /** Fingerprints that were looked up, in order. */
  readonly asked: string[];
  /** Whether the next lookups are answered by 503. */
  isDown: boolean;
  /** Keys of which it takes nothing. */
  readonly declined: Set<string>;
  /** Merges keys; returns how many it took. */
  add(octets: Uint8Array): number;
  /** The digest of each key that it holds, by fingerprint. */
  digests(): Map<string, string>;
  /** All keys, one after the other, binary. */
  dump(): Buffer;
}

export async function mergingKeyserver(): Promise<MergingKeyserver> {
  const held = new Map<string, TransferableKey>();
  const asked: string[] = [];
  const declined = new Set<string>();
  const add = (octets: Uint8Array): number => {
    let taken = 0;
    for (const key of readKeys(octets)) {
      if (key instanceof Error || declined.has(key.fingerprint)) continue;
      const before = held.get(key.fingerprint);
      const all = [...(before ? keyComponents(before) : []), ...keyComponents(key)];
      held.set(key.fingerprint, assembleKey(all));
      taken += 1;
    }
    return taken;
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    if (url.pathname === "/pks/add") {
      const text = new URLSearchParams(await bodyOf(request)).get("keytext") ?? "";
      let taken = 0;
      for (const block of readArmor(Buffer.from(text))) {
        if (!(block instanceof Error)) taken += add(block.data);
      }
      const lists = { inserted: null, updated: null, ignored: null };
      const word = taken > 0 ? "updated" : "ignored";
      response.end(JSON.stringify({ ...lists, [word]: ["rsa2048/ab"] }));
      return;
    }
    const fingerprint = url.searchParams.get("search")?.replace(/^0x/, "") ?? "";
    asked.push(fingerprint);
    const key = held.get(fingerprint);
    if (one.isDown) response.writeHead(503).end("down");
    else if (key === undefined) response.writeHead(404).end("Not found");
    else response.end(encodeArmor(encodeKey(key)));
  });
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const one: MergingKeyserver = {
    ...{ port, asked, declined, isDown: false, add },
    digests: () => new Map([...held].map(([name, key]) => [name, digestOfNames(packetNames(key))])),
    dump: () => Buffer.concat([...held.values()].map((key) => encodeKey(key))),
  };
  return one;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
