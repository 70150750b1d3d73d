/**
 * A gateway for the conformance suite: in this process, on free ports, with some updates in its log
 * and one peer, at 127.0.0.1. And the suite played against a port.
 */
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { OwnUpdate } from "../../src/conform/conversation.js";
import { type Finding, Suite } from "../../src/conform/suite.js";
import { Gateway } from "../../src/gateway.js";
import { indexPath, KeyIndex } from "../../src/log/key-index.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { SEED } from "../kx/chance.js";
import { checkReport } from "../support/reported.js";
import { made } from "../torture/material.js";

export const PEER = '[[peer]]\nname = "tester"\nkx = "127.0.0.1:1"\n';
export const CONFIG = `[site]
address = "pgp-public-keys@kx.example.org"
[log]
path = "updates.db"
[kx]
listen = ["127.0.0.1:0"]
`;

/** Keys in the index of the gateway: more than are listed at once. */
const KEYS = 300;

/** Writes a log with so many updates, and a key index, into a directory. */
export function fill(directory: string, updates: number): void {
  const log = UpdateLog.open(join(directory, "updates.db"));
  const origin = { neighbour: "elsewhere", transport: "kx" } as const;
  const receivedAt = Date.now();
  const all = Array.from({ length: updates }, (_, n) => made(SEED, n + 1).update);
  log.append(all.map((update) => ({ update, origin, trail: [], receivedAt })));
  const position = { seq: log.newest(), name: log.name };
  log.close();
  const path = indexPath(join(directory, "updates.db"));
  const index = KeyIndex.create(path, receivedAt, position);
  const octets = (n: number) => createHash("sha256").update(`key ${n}`).digest();
  index.apply(
    Array.from({ length: KEYS }, (_, n) => ({
      fingerprint: octets(n).subarray(0, 20),
      digest: octets(n).subarray(16),
    })),
  );
  index.close();
}

/** Starts a gateway in a directory. */
export async function serve(directory: string, config = CONFIG + PEER) {
  const diagnostics = { report: checkReport };
  const parsed = parseConfig(config, "kxgw.toml", directory, {});
  const gateway = await Gateway.start({ clock: systemClock, diagnostics }, parsed);
  return { port: gateway.listening.kx[0]?.port ?? 0, stop: () => gateway.stop() };
}

/** The n-th key that the server may be given. */
export function ownUpdate(n: number): OwnUpdate {
  const { update, armor } = made(SEED, 100_000 + n);
  const { fingerprint, hash } = update;
  return { announcement: { number: 2, fingerprint, hash }, armor: armor.trimEnd().split("\n") };
}

export interface Playing {
  readonly only?: readonly string[];
  readonly update?: OwnUpdate;
  readonly slow?: boolean;
  readonly old?: boolean;
  readonly waitMs?: number;
}

/** Plays the suite against a port of 127.0.0.1. */
export async function play(
  port: number,
  { only, update, slow = false, old = false, waitMs = 5000 }: Playing = {},
): Promise<Finding[]> {
  const suite = new Suite({
    dial: async () => {
      const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      await new Promise((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
      });
      return socket.setNoDelay(true);
    },
    now: () => performance.now(),
    found: () => {},
    ...{ waitMs, slow, old, update, only },
  });
  return await suite.run(await suite.welcome());
}

/** What is not a pass, as one line each. */
export function notPassed(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ result }) => result !== "pass")
    .map(({ id, result, words }) => `${id} ${result}: ${words}`);
}
