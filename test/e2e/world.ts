/**
 * The small network of the main job: a legacy site, gateway A, gateway B, another legacy site, in a
 * row. The sites speak mail only, the gateways peer over KX; updates may go either way.
 *
 *     old  --mail-->  A  <==KX==>  B  --mail-->  far
 */
import type { GatewayProcess } from "../../src/demo/process.js";
import type { LegacySite } from "../../src/demo/site.js";
import { keysIn } from "../../src/demo/site.js";
import type { TransferableKey } from "../../src/openpgp/key.js";
import { assembleKey, keyComponents } from "../../src/openpgp/key.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { freePort } from "../support/ports.js";
import { OLD, SITE } from "./material.js";
import { base, configFile, kxgw, legacySite, start } from "./stage.js";

export const FAR = "pgp-public-keys@far.example.net";
export const SITE_B = "pgp-public-keys@b.kx.example.org";

export interface World {
  readonly old: LegacySite;
  readonly far: LegacySite;
  readonly a: GatewayProcess;
  readonly b: GatewayProcess;
  readonly fileA: string;
  readonly fileB: string;
}

/** All four, connected. `programA` may be a gateway that is wrong on purpose. */
export async function world(programA?: string): Promise<World> {
  const { site: old, port: oldPort } = await legacySite(OLD);
  const { site: far, port: farPort } = await legacySite(FAR);
  const kxPort = await freePort();
  const fileB = configFile(`${base(SITE_B)}[kx]
listen = ["127.0.0.1:${kxPort}"]
[outbound]
relay = "smtp://127.0.0.1:${farPort}"
bounce = "pgp-bounces@b.kx.example.org"
retry = "1s"
[[peer]]
name = "far"
mail = "${FAR}"
accept_from = ["127.0.0.1"]
[[peer]]
name = "a"
kx = "127.0.0.1:1"
via = "kx"
`);
  const fileA = configFile(`${base(SITE)}[kx]
listen = []
reconnect = "1s"
[outbound]
relay = "smtp://127.0.0.1:${oldPort}"
bounce = "pgp-bounces@kx.example.org"
[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
[[peer]]
name = "b"
kx = "127.0.0.1:${kxPort}"
dial = true
via = "kx"
`);
  const b = await start(fileB);
  const a = await start(fileA, programA);
  await Promise.all([a.event("peer-connected"), b.event("peer-connected")]);
  return { old, far, a, b, fileA, fileB };
}

/** Updates in a text as `kxgw hash` tells them: hashes by fingerprint, in order. */
export async function hashesIn(text: string): Promise<{ fingerprint: string; hash: string }[]> {
  const { stdout } = await kxgw(["hash"], { input: Buffer.from(text, "latin1") });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [fingerprint = "", hash = ""] = line.split(" ");
      return { fingerprint, hash };
    });
}

/** Update hash of every key of these texts, those of one key merged, by fingerprint. */
export function mergedHashes(texts: readonly string[]): Map<string, string> {
  const keys = new Map<string, TransferableKey>();
  for (const key of keysIn(texts.map((text) => Buffer.from(text, "latin1")))) {
    const held = keys.get(key.fingerprint);
    const all = [...(held === undefined ? [] : keyComponents(held)), ...keyComponents(key)];
    keys.set(key.fingerprint, assembleKey(all));
  }
  return new Map([...keys].map(([name, key]) => [name, updateHash(key).hash]));
}

/** Bytes that A and B exchanged over KX so far, as A counts them. */
export async function kxBytes(gateway: GatewayProcess): Promise<number> {
  const { neighbours } = (await gateway.status()) as {
    neighbours: { peer?: { bytesIn: number; bytesOut: number } }[];
  };
  return neighbours.reduce(
    (sum, { peer }) => sum + (peer === undefined ? 0 : peer.bytesIn + peer.bytesOut),
    0,
  );
}
