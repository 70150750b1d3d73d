/**
 * Four gateways, each a neighbour of each, turn from mail to KX pair by pair while updates keep
 * coming in everywhere; one is killed on the way. What is counted, for each of the twelve
 * directions: how often an update was carried by mail (by the hub's own count) and how often it was
 * handed out by KX (by the server's report). No update may be lost; none may go one way more often
 * than once, but for what was on its way when a road changed.
 */
import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { EventLine, GatewayProcess } from "../../src/demo/process.js";
import { freePort } from "../support/ports.js";
import { SmtpClient } from "../support/smtp-client.js";
import { pause, until } from "../support/until.js";
import { Hub } from "./hub.js";
import { made, mailOf, OLD } from "./material.js";
import { configFile, logOf, start } from "./stage.js";

const NAMES = ["ash", "elm", "fir", "oak"] as const;
type Name = (typeof NAMES)[number];
const KILLED: Name = "oak";
type Via = "mail" | "auto" | "kx";

const address = (name: string) => `pgp-public-keys@${name}.example.org`;
const host = (name: Name) => `127.0.0.${20 + NAMES.indexOf(name)}`;
const pairs = NAMES.flatMap((a, i) => NAMES.slice(i + 1).map((b) => [a, b] as const));
const pairOf = (a: Name, b: Name) => [a, b].sort().join(" ");

interface Site {
  readonly file: string;
  gateway: GatewayProcess;
  /** What the gateway of this site reported that was killed. */
  readonly before: EventLine[];
  smtp: number;
}

async function network() {
  const hub = await Hub.start();
  const via = new Map(pairs.map(([a, b]) => [pairOf(a, b), "mail" as Via]));
  const ports = new Map<Name, { readonly kx: number; readonly smtp: number }>();
  for (const name of NAMES) {
    ports.set(name, { kx: await freePort(host(name)), smtp: await freePort() });
  }
  const text = (name: Name) => {
    const peers = NAMES.filter((other) => other !== name).map((other) => {
      const road = via.get(pairOf(name, other)) ?? "mail";
      const fallback = road === "auto" ? 'fallback_after = "1500ms"\n' : "";
      return `[[peer]]
name = "${other}"
mail = "${address(other)}"
accept_from = ["127.0.0.1"]
kx = "${host(other)}:${ports.get(other)?.kx}"
dial = ${name < other}
via = "${road}"
${fallback}`;
    });
    return `[site]
address = "${address(name)}"
[log]
path = "${name}.db"
[smtp]
listen = ["127.0.0.1:${ports.get(name)?.smtp}"]
[admin]
listen = "127.0.0.1:0"
[outbound]
relay = "${hub.url}"
retry = "300ms"
[kx]
listen = ["${host(name)}:${ports.get(name)?.kx}"]
source = "${host(name)}"
reconnect = "200ms"
[[peer]]
name = "user"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
${peers.join("")}`;
  };
  const sites = new Map<Name, Site>();
  await Promise.all(
    NAMES.map(async (name) => {
      const file = configFile(text(name), name);
      const gateway = await start(file);
      const smtp = ports.get(name)?.smtp ?? 0;
      sites.set(name, { file, gateway, before: [], smtp });
      hub.addresses.set(address(name), { host: "127.0.0.1", port: smtp });
    }),
  );
  const site = (name: Name): Site => {
    const found = sites.get(name);
    if (found === undefined) throw new Error(name);
    return found;
  };
  const told = (name: Name, wanted: string) => {
    const { before, gateway } = site(name);
    const lines = [...before, ...gateway.events].filter(({ event }) => event === wanted);
    return lines.map(({ hash, neighbour }) => ({ hash: String(hash), to: String(neighbour) }));
  };
  return {
    hub,
    via,
    site,
    /** Puts the present `via` of the pair in force at both ends. */
    async turn(a: Name, b: Name, road: Via) {
      via.set(pairOf(a, b), road);
      await Promise.all(
        [a, b].map(async (name) => {
          const { file, gateway } = site(name);
          const reloads = () => gateway.events.filter(({ event }) => event === "ready").length;
          const before = reloads();
          writeFileSync(file, text(name));
          process.kill(gateway.pid, "SIGHUP");
          await until(
            () => reloads() > before,
            () => `${name} reloaded`,
          );
        }),
      );
    },
    async kill(name: Name) {
      const one = site(name);
      await one.gateway.end("SIGKILL");
      one.before.push(...one.gateway.events);
      // What was stored in its last moment it had no time to report.
      const stored = await logOf(one.file);
      one.before.push(...stored.map(({ hash }) => ({ event: "accepted", hash })));
      one.gateway = await start(one.file);
    },
    told,
  };
}

/** Mails an update; who is being reloaded or was killed takes none, and promised nothing. */
async function isTaken(port: number, mail: string, to: string): Promise<boolean> {
  try {
    const client = await SmtpClient.connect(port);
    const { code } = await client.deliver(mail, { from: OLD, to });
    client.close();
    return code === 250;
  } catch {
    return false;
  }
}

it("loses nothing and repeats nothing while neighbours turn from mail to KX", async () => {
  const { hub, site, turn, kill, told } = await network();
  const accepted: string[] = [];
  let isOver = false;
  const load = (async () => {
    for (let n = 0; !isOver; n++) {
      const { armor, hash } = made("turning", n);
      const name = NAMES[n % NAMES.length] ?? "ash";
      if (await isTaken(site(name).smtp, mailOf(armor), address(name))) accepted.push(hash);
      await pause(10);
    }
  })();
  await until(() => accepted.length >= 20);
  for (const [index, [a, b]] of pairs.entries()) {
    await turn(a, b, "auto");
    const sofar = accepted.length;
    await until(() => accepted.length >= sofar + 10);
    if (index === 2) await kill(KILLED);
  }
  for (const [a, b] of pairs) await turn(a, b, "kx");
  isOver = true;
  await load;

  const missing = () =>
    NAMES.map((name) => {
      const held = new Set(told(name, "accepted").map(({ hash }) => hash));
      return accepted.filter((hash) => !held.has(hash)).length;
    });
  await until(
    () => missing().every((count) => count === 0),
    () => `${missing()} missing`,
    60_000,
  );
  const logs = await Promise.all(NAMES.map((name) => logOf(site(name).file)));
  const held = logs.map((lines) => lines.map(({ hash }) => hash).sort());
  // Every log has every update, once.
  const all = [...new Set(held.flat())].sort();
  for (const one of held) expect(one).toEqual(all);
  expect(all.length).toBeGreaterThanOrEqual(accepted.length);

  const ways = new Map<string, string[]>();
  const count = (from: string, to: string, hash: string, way: "mail" | "kx") => {
    const key = `${from} ${to} ${hash}`;
    ways.set(key, [...(ways.get(key) ?? []), way]);
  };
  const nameOf = (of: string) => NAMES.find((name) => address(name) === of) ?? of;
  for (const { from, to, hashes } of hub.carried) {
    for (const hash of hashes) count(nameOf(from), nameOf(to), hash, "mail");
  }
  for (const name of NAMES) {
    for (const { hash, to } of told(name, "served")) count(name, to, hash, "kx");
  }
  const went = [...ways.values()].flat();
  expect(went.filter((way) => way === "mail").length).toBeGreaterThan(accepted.length);
  expect(went.filter((way) => way === "kx").length).toBeGreaterThan(accepted.length);

  // What went more often than once: by mail and by KX, one at each change of a road; and, where one
  // end was killed, what it was just sending or fetching, since a kill and the return are two.
  const repeats = [...ways].filter(([, { length }]) => length > 1);
  for (const [key, taken] of repeats) {
    const isKilled = key.split(" ").slice(0, 2).includes(KILLED);
    if (!isKilled) expect([key, taken.toSorted()]).toEqual([key, ["kx", "mail"]]);
    else expect(taken.length, `${key}: ${taken}`).toBeLessThanOrEqual(3);
  }
  for (const [from, to] of NAMES.flatMap((a) => NAMES.map((b) => [a, b] as const))) {
    if (from === KILLED || to === KILLED) continue;
    const { events } = site(from).gateway;
    const changes = events.filter((line) => line.event === "path-changed" && line.neighbour === to);
    const own = repeats.filter(([key]) => key.startsWith(`${from} ${to} `));
    expect(own.length).toBeLessThanOrEqual(1 + changes.length);
  }
  // A kill repeats one mail a lane.
  const again = repeats.filter(([, taken]) => taken.every((way) => way === "mail"));
  expect(again.length).toBeLessThanOrEqual(NAMES.length - 1);
}, 120_000);
