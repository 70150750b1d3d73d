/** A gateway's recon door before a real log, and a model server that it follows, for tests. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Judgement } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { Refusal } from "../../src/errors.js";
import { FOLLOW_LIMITS, type FollowLimits } from "../../src/following/follow-limits.js";
import { ReconDoor } from "../../src/following/recon-door.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { sksDigests } from "../../src/openpgp/sks-digest.js";
import { bench } from "../ingress/ways.js";
import { until } from "../support/until.js";
import { ModelServer } from "./model-server.js";

/** Real keys in binary form. */
export const KEYS: readonly Uint8Array[] = readdirSync("test/fixtures/keys").map((name) => {
  const [block] = readArmor(readFileSync(join("test/fixtures/keys", name)));
  if (block === undefined || block instanceof Refusal) throw new Error(`${name} is no key`);
  return block.data;
});

/** The name by which a server lists a key. */
export function nameOf(key: Uint8Array): string {
  return sksDigests(key)[0]?.toString("hex") ?? "";
}

/** Gives the server a key, in place of another. */
export function give(server: ModelServer, key: Uint8Array, instead?: Uint8Array): string {
  if (instead !== undefined) take(server, instead);
  const name = nameOf(key);
  server.keys.set(name, key);
  server.tree.add(name);
  return name;
}

export function take(server: ModelServer, key: Uint8Array): void {
  server.keys.delete(nameOf(key));
  server.tree.remove(nameOf(key));
}

export async function modelServer(): Promise<ModelServer> {
  const server = new ModelServer();
  await server.start();
  onTestFinished(() => server.stop());
  return server;
}

/** Delays as short as a test likes them. */
const QUICK: FollowLimits = {
  ...FOLLOW_LIMITS,
  retry: [50],
  missing: [20],
  singleMs: 20,
  unevenSessions: 3,
  troubleMs: 50,
};

export interface Following {
  readonly settings?: string;
  readonly sections?: string;
  readonly limits?: Partial<FollowLimits>;
  readonly judge?: Judgement;
}

/** A gateway that follows the server. */
export function followed(server: ModelServer, given: Following = {}) {
  const { settings = 'start = "all"', sections = "", limits, judge } = given;
  const stage = bench(
    () => `
[[recon]]
server = "127.0.0.1:${server.reconPort}"
hkp = "http://127.0.0.1:${server.httpPort}"
poll = "1s"
${settings}
${sections}`,
  );
  const { log, diagnostics } = stage;
  const config = {
    ...stage.config,
    recon: stage.config.recon.map((one) => ({ ...one, pollMs: 30 })),
  };
  const rules = judge === undefined ? {} : { judge };
  const keys = new KeyIntake(
    { log, appends: new GroupCommit(log), clock: systemClock, diagnostics },
    rules,
  );
  const { local } = config;
  const beside =
    local?.type === "hkp" ? { name: "[local]", mail: local.address, url: local.url } : undefined;
  const open = () => {
    const limitsOf = { ...QUICK, ...limits };
    const made = new ReconDoor(
      { log, keys, clock: systemClock, diagnostics },
      { ...config, local: beside, limits: limitsOf },
    );
    made.start();
    return made;
  };
  let door = open();
  onTestFinished(() => door.stop());
  const known = () => {
    const { id } = log.recon.server(`127.0.0.1:${server.reconPort}`);
    return [...log.recon.known(id)].map((md5) => md5.toString("hex")).sort();
  };
  return {
    ...stage,
    known,
    status: () => {
      const [only] = door.status();
      if (only === undefined) throw new Error("no follower");
      return only;
    },
    /** Stops it, and starts it again on the same log. */
    stop: () => door.stop(),
    again: () => {
      door = open();
    },
  };
}

/** Waits until so many more sessions have begun: what changed before is seen. */
export async function sessions(server: ModelServer, count = 3): Promise<void> {
  const from = server.sessions;
  await until(() => server.sessions >= from + count);
}
