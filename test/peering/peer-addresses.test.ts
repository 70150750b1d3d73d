/** Peers that are configured by name, and name servers that do not answer. */
import { connect } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import type { EventName, Fields } from "../../src/diagnostics.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { type LookUp, PeerAddresses } from "../../src/peering/peer-addresses.js";
import { KxDoor, TCP_LIMITS } from "../../src/peering/tcp.js";
import { soon } from "../support/soon.js";

/** Names and what is heard of them, when a test says so. */
function nameServer() {
  const asked: string[] = [];
  const answers = new Map<string, ((address: string | Error) => void)[]>();
  const lookUp: LookUp = (host) => {
    asked.push(host);
    return new Promise((resolve, reject) => {
      const answer = (found: string | Error) => {
        if (found instanceof Error) reject(found);
        else resolve([{ address: found }]);
      };
      answers.set(host, [...(answers.get(host) ?? []), answer]);
    });
  };
  const say = (host: string, found: string | Error) => {
    for (const answer of answers.get(host) ?? []) answer(found);
    answers.delete(host);
  };
  return { asked, lookUp, say };
}

async function openDoor(peers: readonly string[], lookUp: LookUp) {
  const entries = peers.map(
    (host, n) => `[[peer]]\nname = "p${n}"\nkx = "${host}:1"\nvia = "kx"\n`,
  );
  const head = '[site]\naddress = "keys@kx.example.org"\n[log]\n[kx]\nlisten = ["127.0.0.1:0"]\n';
  const config = parseConfig(head + entries.join(""), "test.toml", "/", {});
  if (config.kx === undefined) throw new Error("no [kx]");
  const log = UpdateLog.open(":memory:");
  const events: { readonly event: EventName; readonly fields: Fields }[] = [];
  const report = (event: EventName, fields: Fields = {}) => events.push({ event, fields });
  const door = new KxDoor(
    { log, appends: new GroupCommit(log), clock: systemClock, diagnostics: { report }, lookUp },
    { ...config, kx: config.kx },
  );
  onTestFinished(async () => {
    await door.stop();
    log.close();
  });
  const [bound] = await door.start();
  const visit = (from: string) => {
    const socket = connect({ host: "127.0.0.1", port: bound?.port ?? 0, localAddress: from });
    const state = { heard: "", isClosed: false };
    socket.on("data", (bytes) => {
      state.heard += bytes.toString("latin1");
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      state.isClosed = true;
    });
    onTestFinished(() => void socket.destroy());
    return state;
  };
  const names = (event: EventName) => events.filter((one) => one.event === event).length;
  return { door, visit, names };
}

describe("a name server that never answers", () => {
  test("delays neither the door nor the peers that are known", async () => {
    const { lookUp, asked } = nameServer();
    const { visit } = await openDoor(["dead.example", "127.0.0.2"], lookUp);
    expect(asked).toEqual(["dead.example"]);
    const known = visit("127.0.0.2");
    await soon(() => known.heard).toContain("HELO");
  });

  test("keeps an unknown address waiting, without a byte, and then it is closed", async () => {
    const { lookUp } = nameServer();
    const { visit, names } = await openDoor(["dead.example"], lookUp);
    const stranger = visit("127.0.0.3");
    const crowd = Array.from({ length: TCP_LIMITS.waiting }, () => visit("127.0.0.4"));
    await soon(() => crowd.filter(({ isClosed }) => isClosed).length).toBe(1);
    expect([stranger.isClosed, stranger.heard]).toEqual([false, ""]);
    await soon(() => [stranger, ...crowd].every(({ isClosed }) => isClosed)).toBe(true);
    expect(stranger.heard).toBe("");
    expect(names("peer-connected")).toBe(0);
    expect(names("peer-unknown")).toBeGreaterThan(0);
  });

  test("of one peer is not that of another, which is let in as soon as it is known", async () => {
    const { lookUp, say } = nameServer();
    const { visit } = await openDoor(["dead.example", "slow.example"], lookUp);
    const early = visit("127.0.0.2");
    const stranger = visit("127.0.0.3");
    await new Promise((resolve) => setImmediate(resolve));
    say("slow.example", "127.0.0.2");
    await soon(() => early.heard).toContain("HELO");
    expect(stranger.heard).toBe("");
    const late = visit("127.0.0.2");
    await soon(() => late.heard).toContain("HELO");
  });

  test("does not hold up the end of the door", async () => {
    const { lookUp } = nameServer();
    const { door, visit } = await openDoor(["dead.example"], lookUp);
    const waiting = visit("127.0.0.3");
    await soon(() => waiting.isClosed || waiting.heard !== "").toBe(false);
    const began = performance.now();
    await door.stop();
    expect(performance.now() - began).toBeLessThan(TCP_LIMITS.lookUpMs / 2);
    await soon(() => waiting.isClosed).toBe(true);
  });
});

describe("addresses", () => {
  test("are kept when a name cannot be looked up any more; what hangs is asked once", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { lookUp, asked, say } = nameServer();
    const failed: string[] = [];
    const hosts = new Map([
      ["p", "name.example"],
      ["q", "127.0.0.9"],
    ]);
    const addresses = new PeerAddresses(hosts, (peer) => failed.push(peer), lookUp);
    addresses.start(0);
    expect(addresses.isLooking).toBe(true);
    say("name.example", "::ffff:127.0.0.2");
    await addresses.news(1000);
    expect([...addresses.at("127.0.0.2", 1)]).toEqual(["p"]);
    await vi.advanceTimersByTimeAsync(10 * 60_000);
    await vi.advanceTimersByTimeAsync(10 * 60_000);
    expect(asked).toHaveLength(2);
    say("name.example", new Error("SERVFAIL"));
    await addresses.news(1000);
    expect([failed, ...addresses.at("127.0.0.2", 1)]).toEqual([["p"], "p"]);
    addresses.stop();
    expect(addresses.isLooking).toBe(false);
  });
});
