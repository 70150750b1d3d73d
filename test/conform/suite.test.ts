/**
 * The conformance suite against gateways in this process: it passes in both versions of KX, with an
 * empty log and while the log grows, and each planted fault is found by the rules that it breaks.
 */
import { describe, expect, it, onTestFinished } from "vitest";
import { RULES } from "../../src/conform/suite.js";
import { scratch } from "../support/scratch.js";
import { FAULTS } from "./faults.js";
import { type Fault, FaultyProxy } from "./faulty-proxy.js";
import { CONFIG, fill, notPassed, ownUpdate, PEER, play, serve } from "./server.js";

const SLOW = ["helo.overdue", "helo.ihave-overdue"].map((id) => `${id} skipped: --slow plays it`);
const UNSENT = "skipped: it sends an update: --send-key plays it";

async function server(updates: number, config?: string): Promise<number> {
  const directory = scratch();
  fill(directory, updates);
  const { port, stop } = await serve(directory, config);
  onTestFinished(stop);
  return port;
}

describe("a gateway keeps", { timeout: 60_000 }, () => {
  it("every rule of KX/1.1, and takes the update that is sent", async () => {
    const findings = await play(await server(50), { update: ownUpdate(0) });
    expect(notPassed(findings)).toEqual([
      ...SLOW,
      "fetch.wrong-body skipped: --slow plays it",
      "fetch.other-log skipped: --slow plays it",
    ]);
    expect(findings.map(({ id }) => id)).toEqual(RULES.map(({ id }) => id));
  });

  it("every rule of KX/1.0", async () => {
    const port = await server(50, `${CONFIG}version = "1.0"\n${PEER}`);
    const old = (await play(port)).filter(({ id }) => !/^(1\.1|fetch)/.test(id));
    expect(notPassed(old)).toEqual(SLOW);
    const extended = (await play(port, { only: ["1.1"] })).map(({ words }) => words);
    expect(new Set(extended)).toEqual(new Set(["the server does not show the tag KX11"]));
  });

  it("the rules that an empty log can keep", async () => {
    const skipped = notPassed(await play(await server(0)));
    expect(skipped.filter((line) => / fail: /.test(line))).toEqual([]);
    expect(skipped).toContain("list.one skipped: the log of the server is empty");
    expect(skipped).toContain(`fetch.new ${UNSENT}`);
  });

  it("the rules again, a moment later", async () => {
    const port = await server(3);
    await play(port);
    expect(notPassed(await play(port)).filter((line) => / fail: /.test(line))).toEqual([]);
  });
});

describe("a planted fault is found:", { timeout: 60_000 }, () => {
  /** A gateway behind a proxy that has the fault. */
  async function faulty(fault: Fault | undefined): Promise<number> {
    const proxy = new FaultyProxy(await server(50), fault);
    onTestFinished(async () => await proxy.stop());
    return await proxy.start();
  }

  it("no fault, no finding", async () => {
    const findings = await play(await faulty(undefined), { update: ownUpdate(0) });
    expect(notPassed(findings).filter((line) => / fail: /.test(line))).toEqual([]);
  });

  it.each(FAULTS.map((fault) => [fault.bug, fault] as const))("%s", async (_, fault) => {
    const only = [...new Set([...(fault.only ?? []), ...fault.rules])];
    const slow = fault.rules.some((id) => /^fetch\.(wrong-body|other-log)$/.test(id));
    const port = await faulty(fault);
    const findings = await play(port, { only, slow, update: ownUpdate(0), waitMs: 500 });
    const failed = findings.filter(({ result }) => result === "fail").map(({ id }) => id);
    expect(failed.sort(), notPassed(findings).join("\n")).toEqual([...fault.rules].sort());
  });

  it("each rule that is played is broken by some fault", () => {
    const found = new Set(FAULTS.flatMap(({ rules }) => rules));
    const unbroken = RULES.map(({ id }) => id).filter((id) => !found.has(id));
    // They take a minute; test/kx/session.test.ts has the limits themselves.
    expect(unbroken).toEqual(["helo.overdue", "helo.ihave-overdue"]);
  });
});
