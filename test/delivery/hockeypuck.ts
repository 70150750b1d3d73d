/**
 * A small Hockeypuck with the answers of 2.3.3, as they were seen of the running program
 * (2026-11): one key, over HTTP. Of a key that is revoked for good it forgets all but the primary
 * key and the revocation; op=get shows the revocation alone, the index and hashquery both packets.
 * A user id of which a request shows no self-signature is dropped with everything under it, and a
 * key of which nothing else is left is "ignored".
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { fingerprintOf } from "../../src/openpgp/fingerprint.js";
import {
  assembleKey,
  type Component,
  keyComponents,
  keyPackets,
  readKeys,
} from "../../src/openpgp/key.js";
import {
  encodePackets,
  type Packet,
  packetKey,
  readPackets,
  TAG,
} from "../../src/openpgp/packet.js";
import { isSelfSignature } from "../../src/openpgp/signature.js";

export interface HockeypuckDouble {
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly asked: string[];
  /** What it holds of the key. */
  held(): Packet[];
  /** Answers 503, as a proxy in front of it does while it is down. */
  down(isDown: boolean): void;
}

const isRevocation = ({ tag, body }: Packet) => tag === TAG.signature && body[1] === 0x20;

/** Starts one that holds `key`, encoded; it is stopped when the running test is finished. */
export async function hockeypuck(key?: Uint8Array): Promise<HockeypuckDouble> {
  let held = key === undefined ? [] : kept(readPackets(key));
  let isDown = false;
  const asked: string[] = [];

  const add = (keytext: string): string => {
    const [block] = readArmor(Buffer.from(keytext));
    if (block === undefined || block instanceof Error) throw new Error("no armor");
    const isNew = held.length === 0;
    const known = new Set(held.map(packetKey));
    const more = verified(block.data).filter((packet) => !known.has(packetKey(packet)));
    const next = kept([...held, ...more]);
    const hasChanged = next.length !== held.length;
    held = next;
    const word = !hasChanged ? "ignored" : isNew ? "inserted" : "updated";
    const lists = { inserted: null, updated: null, ignored: null };
    return `${JSON.stringify({ ...lists, [word]: ["(4)eddsa_Curve25519/ab"] })}\n`;
  };

  const lookUp = (url: URL, response: ServerResponse): void => {
    const [primary] = held;
    const search = url.searchParams.get("search");
    const fingerprint = primary && fingerprintOf(primary.body);
    if (primary === undefined || search?.toUpperCase() !== `0X${fingerprint}`) {
      response.writeHead(404).end("Not Found\n");
    } else if (url.searchParams.get("op") === "get") {
      const revocation = held.find(isRevocation);
      response.end(encodeArmor(encodePackets(revocation ? [revocation] : held)));
    } else {
      const name = fingerprint?.toLowerCase();
      const packet = { tag: 6, data: Buffer.from(encodePackets([primary])).toString("base64") };
      response.end(JSON.stringify([{ packet, fingerprint: name, version: 4, md5: md5Of(held) }]));
    }
  };

  const hashquery = (body: Buffer, response: ServerResponse): void => {
    const isAsked = body.subarray(0, 8).toString("hex") === "0000000100000010";
    const found = isAsked && body.subarray(8).toString("hex") === md5Of(held);
    const octets = encodePackets(found ? held : []);
    const head = Buffer.alloc(found ? 8 : 4);
    head.writeUInt32BE(found ? 1 : 0);
    if (found) head.writeUInt32BE(octets.length, 4);
    response.end(Buffer.concat([head, octets, Buffer.from("\r\n")]));
  };

  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const url = new URL(request.url ?? "", "http://x");
      asked.push(`${url.pathname} ${url.searchParams.get("op") ?? ""}`.trim());
      if (isDown) response.writeHead(503).end("down");
      else if (url.pathname === "/pks/add") {
        response.end(add(new URLSearchParams(body.toString()).get("keytext") ?? ""));
      } else if (url.pathname === "/pks/hashquery") hashquery(body, response);
      else lookUp(url, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    held: () => held,
    down(is) {
      isDown = is;
    },
  };
}

/** What it finds valid in a request; nothing if that is the primary key alone. */
function verified(octets: Uint8Array): Packet[] {
  const [key] = readKeys(octets);
  if (key === undefined || key instanceof Error) return [];
  const isShown = ({ packet, signatures }: Component) =>
    packet.tag !== TAG.userId || signatures.some((one) => isSelfSignature(key, one));
  const packets = keyPackets(assembleKey(keyComponents(key).filter(isShown)));
  return packets.length === 1 ? [] : [...packets];
}

/** What it keeps of these packets. */
function kept(packets: readonly Packet[]): Packet[] {
  const [primary] = packets;
  const revocation = packets.find(isRevocation);
  return primary === undefined || revocation === undefined ? [...packets] : [primary, revocation];
}

/** Some MD5 of a key; it is a name and nothing else. */
function md5Of(packets: readonly Packet[]): string {
  return createHash("md5").update(encodePackets(packets)).digest("hex");
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
