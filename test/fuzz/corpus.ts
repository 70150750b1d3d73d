/**
 * What fuzzing starts from and what it has found: the real keys and mails of the fixtures, the
 * small inputs in corpus/TARGET/, and in crashes/ every input that ever broke a promise, which `npm
 * test` tries again for ever.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../../src/errors.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { ReconSession } from "../../src/recon/session.js";
import { answerOf, ModelSession } from "../recon/model-server.js";
import { ModelTree } from "../recon/model-tree.js";
import { projectRoot } from "../torture/material.js";
import { conversation, inOctets, reconciliation } from "./kx-seeds.js";

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
      return [...kxTalk(armored, binary), ...reconciliation(), ...own];
    case "session":
      return [...kxTalk(armored, binary), ...own];
    case "reconcile":
      return [...reconciliation(), ...own];
    case "recon":
      return [...reconTalk(), ...own];
    default:
      return own.length > 0 ? own : [Buffer.alloc(0)];
  }
}

function kxTalk(armored: readonly Uint8Array[], binary: readonly Uint8Array[]): Uint8Array[] {
  const nothing = new Uint8Array(0);
  return [conversation(armored[0] ?? nothing), inOctets(binary[0] ?? nothing)];
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
