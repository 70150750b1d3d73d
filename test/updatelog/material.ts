/**
 * Updates and arrivals made from a number, for the tests of the log. The log does not read bodies,
 * so these are no keys: any bytes with a hash, a digest and a fingerprint that fit the shapes.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Fingerprint, Identity, Seq, Update, UpdateHash } from "../../src/update.js";
import type { Arrival } from "../../src/updatelog/update-log.js";

export const HOUR_MS = 3_600_000;

/** The n-th update: everything in it follows from `n` and the length of its body. */
export function update(n: number, bytes = 200, identity?: Identity): Update {
  const body = new Uint8Array(bytes).map((_, index) => (n * 31 + index * 7) & 0xff);
  return {
    hash: createHash("md5").update(`update ${n}`).digest("hex") as UpdateHash,
    digest: createHash("sha256").update(`update ${n}`).digest("hex"),
    fingerprint: fingerprint(n),
    body,
    identity,
    packets: [],
  };
}

export function fingerprint(n: number): Fingerprint {
  return createHash("sha1").update(`key ${n}`).digest("hex").toUpperCase() as Fingerprint;
}

export function arrival(n: number, changes: Partial<Arrival> = {}): Arrival {
  return {
    update: update(n),
    origin: { neighbour: "oldpks", transport: "mail" },
    trail: [`pgp@site${n}.example`],
    receivedAt: 1_000_000 + n,
    ...changes,
  };
}

export function seq(n: number): Seq {
  return n as Seq;
}

/** A directory that is gone when the running test is finished. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-updatelog-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
