/**
 * What fuzzing starts from and what it has found: the real keys and mails of the fixtures, the
 * small inputs in corpus/TARGET/, and in crashes/ every input that ever broke a promise, which `npm
 * test` tries again for ever.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../../src/errors.js";
import { serialize, serializeListing, serializePart } from "../../src/kx/serializer.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { ReconSession } from "../../src/recon/session.js";
import type { UpdateDigest, UpdateHash } from "../../src/update.js";
import { answerOf, ModelSession } from "../recon/model-server.js";
import { ModelTree } from "../recon/model-tree.js";
import { projectRoot } from "../torture/material.js";

const FUZZ = join(projectRoot(), "test/fuzz");
const FIXTURES = join(projectRoot(), "test/fixtures");

/** The inputs that a target starts from. */
export function seeds(target: string): Uint8Array[] {
  const armored = filesIn(join(FIXTURES, "keys"));
  const binary = armored
    .flatMap((text) => readArmor(text))
    .flatMap((block) => (block instanceof Refusal ? [] : [block.data]));
  const mails = filesIn(join(FIXTURES, "mails"));
  const own = filesIn(join(FUZZ, "corpus", target));
  switch (target) {
    case "armor":
      return [...armored, ...mails, ...own];
    case "keys":
      return [...binary, ...own];
    case "mail":
      return [...mails, ...own];
    case "kx":
      return [conversation(armored), inOctets(binary[0] ?? Buffer.alloc(1)), ...own];
    case "session":
      return [conversation(armored), ...own];
    case "recon":
      return [...reconTalk(), ...own];
    default:
      return own.length > 0 ? own : [Buffer.alloc(0)];
  }
}

/** What a server of some keys sends, whole trees and small ones, and an answer to hashquery. */
function reconTalk(): Uint8Array[] {
  const talks = [0, 3, 120, 600].map((count) => {
    const tree = new ModelTree();
    for (let n = 0; n < count; n++) {
      tree.add(createHash("md5").update(`key ${n}`).digest("hex"));
    }
    const server = new ModelSession(tree);
    const client = new ReconSession(() => undefined, 0);
    const heard: Buffer[] = [];
    let octets = server.begin();
    while (octets.length > 0) {
      heard.push(octets);
      const sent = client.received(octets, 0).flatMap((output) => {
        return output.kind === "send" ? [Buffer.from(output.octets)] : [];
      });
      octets = server.receive(Buffer.concat(sent));
    }
    return Buffer.concat(heard);
  });
  return [...talks, answerOf([Buffer.from("a key"), Buffer.from("another")])];
}

/** Every message of KX/1.0 once, with real armor. */
function conversation(armored: readonly Uint8Array[]): Uint8Array {
  const hash = "d41d8cd98f00b204e9800998ecf8427e" as UpdateHash;
  const announcement = { number: 7, fingerprint: "A".repeat(40), hash };
  const inReplyTo = "aaaa";
  return Buffer.concat([
    serialize({ command: "HELO", tag: "aaaa", version: "1.0" }),
    serialize({ command: "IHAVE", tag: "aaab", inReplyTo, announcements: [announcement] }),
    serialize({
      command: "IHAVE",
      tag: "aaah",
      inReplyTo: undefined,
      announcements: [announcement],
    }),
    serialize({ command: "LIST", tag: "aaac", ranges: [{ low: 1, high: 9 }] }),
    serialize({ command: "GETUPDATE", tag: "aaad", numbers: [7] }),
    serialize({
      command: "UPDATE",
      tag: "aaae",
      inReplyTo,
      announcement,
      armor: armored[0] ?? new Uint8Array(0),
    }),
    serialize({ command: "ERROR", tag: "aaaf", inReplyTo, code: 500, text: "no" }),
    serialize({ command: "CLOSE", tag: "aaag", inReplyTo: undefined }),
  ]);
}

/** What KX/1.1 says otherwise with all its features, a compressed listing among it. */
function inOctets(packets: Uint8Array): Uint8Array {
  const hash = "d41d8cd98f00b204e9800998ecf8427e" as UpdateHash;
  const digest = `${hash}${hash}` as UpdateDigest;
  const announcement = { number: 7, fingerprint: "A".repeat(40), hash, digest };
  const announcements = [announcement];
  const features = { receipt: true, sha256: true, octets: true, reconcile: true };
  const small = packets.subarray(0, 100);
  const deliveries = [
    { number: 7, packets: small },
    { number: 8, packets: undefined },
  ];
  const notice = { command: "IHAVE", tag: "aaab", inReplyTo: undefined, announcements } as const;
  return Buffer.concat([
    serialize({ command: "HELO", tag: "KX11", version: "1.0" }),
    serialize(notice, features),
    serialize({ ...notice, tag: "aaac" }, { ...features, octets: false }),
    serializeListing("aaad", "aaaa", [serializePart(announcements, features)], features),
    serialize({ command: "DELIVERY", tag: "aaae", inReplyTo: "aaaa", deliveries }),
    serialize({ command: "DONE", tag: "aaaf", number: 7, without: [{ low: 8, high: 8 }] }),
  ]);
}

/** Inputs that broke a promise once, by target. */
export function crashes(): {
  readonly target: string;
  readonly name: string;
  readonly input: Uint8Array;
}[] {
  const directory = join(FUZZ, "crashes");
  if (!existsSync(directory)) return [];
  return readdirSync(directory).map((name) => {
    const input = readFileSync(join(directory, name));
    return { target: name.slice(0, name.indexOf("-")), name, input };
  });
}

/** Keeps an input in corpus/TARGET/ or in crashes/; returns its file. */
export function keep(kind: "corpus" | "crashes", target: string, input: Uint8Array): string {
  const id = createHash("sha256").update(input).digest("hex").slice(0, 12);
  const directory = kind === "corpus" ? join(FUZZ, kind, target) : join(FUZZ, kind);
  mkdirSync(directory, { recursive: true });
  const file = join(directory, kind === "corpus" ? id : `${target}-${id}`);
  writeFileSync(file, input);
  return file;
}

function filesIn(directory: string): Uint8Array[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .sort()
    .map((name) => readFileSync(join(directory, name)));
}
