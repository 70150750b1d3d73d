/**
 * The operator's commands beside a running gateway and without one: what they print, with --json,
 * and their exit codes. Orders, the network and the shell are in files of their own.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { controlPath } from "../../src/admin/admin-door.js";
import { run } from "../../src/cli/daemon.js";
import { healthCommand } from "../../src/cli/health.js";
import { peersCommand } from "../../src/cli/peers.js";
import { queueCommand } from "../../src/cli/queue.js";
import { statusCommand } from "../../src/cli/status.js";
import { topCommand } from "../../src/cli/top.js";
import { traceCommand } from "../../src/cli/trace.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Status } from "../../src/status/status.js";
import type { Seq } from "../../src/update.js";
import { armoredKeys, FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { key } from "../repair/stage.js";
import { KxScript } from "../support/kx-script.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { made } from "../torture/material.js";
import { captured } from "./captured.js";

const [KEY = ""] = armoredKeys();

/** A site that nobody answers for: its updates wait. */
const DEAD = `[outbound]
relay = "smtp://127.0.0.1:1"
[[peer]]
name = "dead"
mail = "pgp-public-keys@dead.example.net"
`;

function configFile(text: string): { readonly file: string; readonly directory: string } {
  const directory = scratch();
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, text);
  return { file, directory };
}

/** A gateway with one update that the dead site cannot get, and then without the gateway. */
async function withUpdate() {
  const { file, directory } = configFile(HEAD + DEAD + FEEDER);
  const running = await startGateway(HEAD + DEAD + FEEDER, { directory });
  await running.mail(KEY);
  await until(() => running.reports.some(({ event }) => event === "retry"));
  const accepted = running.reports.find(({ event }) => event === "accepted")?.fields ?? {};
  return { file, running, hash: String(accepted.hash), fingerprint: String(accepted.fingerprint) };
}

describe("kxgw status", () => {
  it("says how it is, by the running gateway and by the log alone", async () => {
    const { file, running } = await withUpdate();
    const up = captured();
    expect(await statusCommand(file, { json: false }, up, {})).toBe(0);
    expect(up.text).toMatch(/^Bridging\. 1 of 2 neighbours in sync; dead is down/);
    expect(up.text).toMatch(/^dead +mail +down +never +1 /m);
    expect(up.text).toMatch(
      /dead: it accepts no mail; 1 update waits \(oldest .*\); next try.*ECONNREFUSED/,
    );
    expect(up.text).toMatch(/24 h +in 1 by mail, 0 by KX/);
    await running.stop();

    const down = captured();
    expect(await statusCommand(file, { json: false }, down, {})).toBe(69);
    expect(down.text).toMatch(
      /^The gateway is not running\. This status was read from the update log\./,
    );
    expect(down.text).toMatch(/^dead +mail +down +never +1 /m);
    const json = captured();
    expect(await statusCommand(file, { json: true }, json, {})).toBe(69);
    const status = JSON.parse(json.text);
    expect(status).toMatchObject({ running: false, log: { entries: 1 } });
    expect(Object.keys(status)).toEqual(
      expect.arrayContaining(["site", "mode", "version", "log", "totals", "neighbours", "counts"]),
    );
  });

  it("counts what waits with the gateway as without it: bounces, trails, [local]", async () => {
    const local = '[local]\ntype = "hkp"\nurl = "http://127.0.0.1:1"\n';
    const config = HEAD + DEAD + local + FEEDER;
    const { file, directory } = configFile(config);
    const log = UpdateLog.open(join(directory, "updates.db"));
    for (const name of ["dead", "[local]", "old"]) log.lanes.open(name);
    const has = ["pgp-public-keys@dead.example.net"];
    for (const [seq, trail, neighbour] of [
      [1, []],
      [2, has],
      [3, [], "dead"],
      [4, []],
    ] as const) {
      const origin = { neighbour, transport: "mail" } as const;
      log.append([{ update: made(1, seq).update, origin, trail, receivedAt: 1000 * seq }]);
    }
    // The first one was sent to the dead site and came back.
    const first = 1 as Seq;
    log.lanes.save("dead", { ...log.lanes.open("dead"), cursor: first });
    const bounce = { site: "dead", first, seq: first, about: "site", code: 550 } as const;
    log.bounces.note({ ...bounce, text: "No", at: 1 });
    log.bounces.dismiss({ ...bounce, text: "No", at: 1 });
    log.exceptions.cameBack("dead", first, { code: 550, text: "No", at: 1 }, 1);
    log.close();

    const waiting = async () => {
      const out = captured();
      await statusCommand(file, { json: true }, out, {});
      const { neighbours } = JSON.parse(out.text) as Status;
      return neighbours
        .filter(({ site }) => site !== undefined)
        .map(({ name, backlog, oldest, site }) => [name, backlog, site?.backlog, oldest]);
    };
    const queued = async (...names: string[]) => {
      const out = captured();
      expect(await queueCommand("ls", names, { file, json: true }, out, {})).toBe(0);
      const lines = out.text.trim().split("\n");
      return lines.map((line) => JSON.parse(line)).map(({ site, seq }) => [site, seq]);
    };
    const counts = [
      ["dead", 2, 2, "1970-01-01T00:00:01.000Z"],
      ["old", 4, 4, "1970-01-01T00:00:01.000Z"],
      ["[local]", 4, 4, "1970-01-01T00:00:01.000Z"],
    ];
    const all = (name: string) => [1, 2, 3, 4].map((seq) => [name, seq]);
    const lines = [["dead", 1], ["dead", 4], ...all("old"), ...all("[local]")];
    expect(await waiting()).toEqual(counts);
    expect(await queued()).toEqual(lines);
    expect(await queued("[local]")).toEqual(all("[local]"));
    const running = await startGateway(config, { directory });
    await until(() => running.reports.filter(({ event }) => event === "retry").length > 2);
    expect(await waiting()).toEqual(counts);
    expect(await queued()).toEqual(lines);
    // Its place is counted without what the site has.
    const trace = captured();
    await traceCommand("4", { file, json: false }, trace, {});
    expect(trace.text).toMatch(/waiting +dead: after 1 update in the queue;/);
    await running.stop();
    expect(await waiting()).toEqual(counts);
  });

  it("names what is in the way: the config, the log, the rights", async () => {
    const bad = captured();
    const { file } = configFile("moed = 1\n");
    expect(await statusCommand(file, { json: false }, bad, {})).toBe(78);
    expect(bad.errors).toContain("did you mean mode?");
    const none = captured();
    writeFileSync(file, HEAD);
    expect(await statusCommand(file, { json: false }, none, {})).toBe(74);
    expect(none.errors).toMatch(/updates\.db.*\n {6}\w/);
    const denied = captured();
    const refuse = () => {
      throw Object.assign(new Error("connect EACCES updates.db-control"), { code: "EACCES" });
    };
    expect(await run(denied, refuse)).toBe(77);
    expect(denied.errors).toContain("sudo -u kxgw");
  });
});

describe("in quiet hours", () => {
  it("peers ls, peers show and status agree", async () => {
    const hour = (ms: number) => new Date(Date.now() + ms).toISOString().slice(11, 16);
    const quiet = `quiet_hours = "${hour(-3_600_000)}-${hour(3 * 3_600_000)}"\n`;
    const peer = `[[peer]]\nname = "far"\n${quiet}kx = "127.0.0.3:1"\n`;
    const config = `${HEAD}[kx]\nlisten = ["127.0.0.1:0"]\n${peer}`;
    const { file, directory } = configFile(config);
    const running = await startGateway(config, { directory });
    const far = await KxScript.greeted(running.gateway.listening.kx[0]?.port ?? 0, "127.0.0.3");
    for (const number of [1, 2, 3]) far.announce(number, key(number).update);
    const said = async (command: (out: ReturnType<typeof captured>) => Promise<number>) => {
      const out = captured();
      await command(out);
      return out.text;
    };
    const ls = () => said((out) => peersCommand("ls", undefined, { file, json: false }, out, {}));
    await until(async () => / 3 /.test(await ls()));
    const words = /far: 3 updates to fetch; quiet_hours end in \d h$/m;
    expect(await ls()).toMatch(/^far +KX +waiting +never +3 /m);
    expect(await ls()).toMatch(words);
    const show = await said((out) => peersCommand("show", "far", { file, json: false }, out, {}));
    expect(show).toMatch(/^ {2}state +waiting: 3 updates to fetch; quiet_hours end in \d h$/m);
    expect(show).toMatch(/^ {2}backlog +3$/m);
    const status = await said((out) => statusCommand(file, { json: false }, out, {}));
    expect(status).toMatch(
      /^Bridging\. 0 of 1 neighbour in sync; far: 3 updates to fetch; quiet_hours end in/,
    );
    expect(status).toMatch(words);
  });
});

describe("kxgw trace", () => {
  it("tells the journey by every name that an update has", async () => {
    const { file, running, hash, fingerprint } = await withUpdate();
    const spaced = `0x${fingerprint.toLowerCase().replace(/(.{4})/g, "$1 ")}`;
    for (const name of [
      hash,
      fingerprint,
      spaced,
      "1",
      "<1.test@pks.example.net>",
      "1.test@pks.example.net",
      `<${hash}.1.1@kx.example.org>`,
    ]) {
      const out = captured();
      expect(await traceCommand(name, { file, json: false }, out, {}), name).toBe(0);
      expect(out.text, name).toContain(`hash     ${hash}`);
    }
    const out = captured();
    await traceCommand(hash, { file, json: false }, out, {});
    expect(out.text).toMatch(/received +20.* by mail, from old/);
    expect(out.text).toMatch(/waiting +dead: next in the queue; 1 attempt, next in .*ECONNREFUSED/);
    expect(out.text).toMatch(/done +old: sent it to us by mail, 20/);
    await running.stop();
    const down = captured();
    expect(await traceCommand(hash, { file, json: true }, down, {})).toBe(0);
    expect(JSON.parse(down.text)).toMatchObject({ seq: 1, hash, from: "old", body: true });
  });

  it("says how to ask when nothing is found", async () => {
    const { file } = await withUpdate();
    for (const name of ["f".repeat(32), "F".repeat(40), "77", "<no@such.mail>", "", "%00'"]) {
      const out = captured();
      expect(await traceCommand(name, { file, json: false }, out, {}), name).toBe(66);
      expect(out.errors).toContain("Use the fingerprint of a key");
    }
  });
});

describe("kxgw peers, queue, top and health", () => {
  it("peers: lists and shows, and names the ones there are", async () => {
    const { file } = await withUpdate();
    const given = { file, json: false };
    const all = captured();
    expect(await peersCommand("ls", undefined, given, all, {})).toBe(0);
    expect(all.text.split("\n").map((line) => line.split(" ")[0])).toEqual(
      expect.arrayContaining(["NEIGHBOUR", "dead", "old"]),
    );
    const one = captured();
    expect(await peersCommand("show", "dead", given, one, {})).toBe(0);
    expect(one.text).toMatch(/cursor +0 of 1/);
    expect(one.text).toMatch(/delivery failed temporarily; it is retried #1 .*ECONNREFUSED/);
    const none = captured();
    expect(await peersCommand("show", "ded", given, none, {})).toBe(64);
    expect(none.errors).toBe("kxgw: no neighbour ded; the config has dead, old\n");
    const json = captured();
    await peersCommand("ls", undefined, { file, json: true }, json, {});
    expect(JSON.parse(json.text)[0]).toMatchObject({ name: "dead", state: "down", backlog: 1 });
  });

  it("queue: lists what waits, without what the site has", async () => {
    const { file, hash, running } = await withUpdate();
    await running.mail(armoredKeys()[1] ?? "", ["pgp-public-keys@dead.example.net"]);
    const out = captured();
    expect(await queueCommand("ls", [], { file, json: true }, out, {})).toBe(0);
    const lines = out.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    // What others claim of a site that fails does not count.
    expect(lines).toEqual([
      expect.objectContaining({ site: "dead", seq: 1, hash, state: "pending" }),
      expect.objectContaining({ site: "dead", seq: 2 }),
    ]);
    const text = captured();
    await queueCommand("ls", ["dead"], { file, json: false }, text, {});
    expect(text.text).toMatch(/^SITE +NUMBER +WAITS +STATE +BYTES/);
    const empty = captured();
    await queueCommand("ls", ["old"], { file, json: false }, empty, {});
    expect(empty.text).toBe("No updates wait.\n");
    const show = captured();
    expect(await queueCommand("show", ["1"], { file, json: false }, show, {})).toBe(0);
    expect(show.text).toContain(hash);
    const skip = captured();
    expect(await queueCommand("skip", ["dead", "x"], { file, json: false }, skip, {})).toBe(64);
  });

  it("queue: lists, retries and skips what waits for the keyserver beside us", async () => {
    const local = '[local]\ntype = "hkp"\nurl = "http://127.0.0.1:1"\nretry = "1h*3"\n';
    const { file, directory } = configFile(HEAD + local + FEEDER);
    const running = await startGateway(HEAD + local + FEEDER, { directory });
    await running.mail(KEY);
    const retries = () => running.reports.filter(({ event }) => event === "retry").length;
    await until(() => retries() === 1);
    const queue = async (verb: "ls" | "retry" | "skip", ...names: string[]) => {
      const out = captured();
      return [await queueCommand(verb, names, { file, json: false }, out, {}), out.text];
    };
    const listed = [0, expect.stringMatching(/^\[local\] +1 /m)];
    expect(await queue("ls")).toEqual(listed);
    expect(await queue("ls", "[local]")).toEqual(listed);
    expect(await queue("retry", "[local]")).toEqual([0, "Delivery to [local] is retried now.\n"]);
    await until(() => retries() === 2);
    const peers = async (verb: "pause" | "resume") => {
      const out = captured();
      return [await peersCommand(verb, "[local]", { file, json: false }, out, {}), out.text];
    };
    expect(await peers("pause")).toEqual([0, "[local] is paused. Its updates are kept.\n"]);
    expect((await queue("retry", "[local]"))[0]).toBe(69);
    expect(await peers("resume")).toEqual([0, "[local] is resumed.\n"]);
    // The schedule has three delays.
    await until(() => running.reports.some(({ event }) => event === "stalled"));
    await running.stop();
    // By the log alone.
    expect(await queue("ls")).toEqual(listed);
    const status = captured();
    await statusCommand(file, { json: false }, status, {});
    expect(status.text).toMatch(/^\[local\] +local +down +never +1 /m);
    const again = await startGateway(HEAD + local + FEEDER, { directory });
    expect(await queue("skip", "[local]", "1")).toEqual([0, "Update 1 is given up for [local].\n"]);
    const withheld = [0, expect.stringMatching(/^\[local\] +1 .* withheld: skipped /m)];
    expect(await queue("ls")).toEqual(withheld);
    const reopened = "[local] is sent 1 update again.\n";
    expect(await queue("retry", "[local]", "1")).toEqual([0, reopened]);
    await until(() => again.reports.some(({ event }) => event === "retry"));
    expect(await queue("skip", "[local]", "1")).toEqual([0, "Update 1 is given up for [local].\n"]);
    await again.stop();
    // While no gateway runs, too.
    const next = "[local] is sent 1 update again when the gateway starts.\n";
    expect(await queue("retry", "[local]", "all")).toEqual([0, next]);
    expect(await queue("ls")).toEqual([0, expect.stringMatching(/ waiting: skipped /)]);
    expect((await queue("retry", "[local]", "7"))[0]).toBe(69);
    expect((await queue("retry", "[local]", "x"))[0]).toBe(64);
  });

  it("queue ls: counts what it does not list", async () => {
    const { file, running } = await withUpdate();
    await running.stop();
    const log = UpdateLog.open(join(running.directory, "updates.db"));
    const origin = { neighbour: undefined, transport: "mail" } as const;
    for (let seq = 1; seq <= 150; seq++) {
      log.append([{ update: made(1, seq).update, origin, trail: [], receivedAt: 1 }]);
    }
    log.close();
    const out = captured();
    expect(await queueCommand("ls", ["dead"], { file, json: false }, out, {})).toBe(0);
    expect(out.text.trim().split("\n")).toHaveLength(102);
    expect(out.text).toMatch(/\ndead: 51 updates more\n$/);
  });

  it("top: draws again and again, plain where it is no terminal", async () => {
    const { file } = await withUpdate();
    const keyboard = { on: () => {}, off: () => {} };
    const options = { json: false, intervalMs: 5, count: 2 };
    const plain = captured();
    expect(await topCommand(file, options, plain, {}, { isTTY: false, keyboard })).toBe(0);
    expect(plain.text.match(/^Bridging/gm)).toHaveLength(2);
    expect(plain.text).not.toContain("\x1b");
    expect(plain.text).toMatch(/dead: warn: delivery failed temporarily; it is retried/);
    let type: ((bytes: Buffer) => void) | undefined;
    const modes: boolean[] = [];
    const keys = {
      isTTY: true,
      setRawMode: (on: boolean) => modes.push(on),
      on: (_: "data", listener: (bytes: Buffer) => void) => {
        type = listener;
      },
      off: () => {},
    };
    const live = captured();
    const ended = topCommand(
      file,
      { json: false, intervalMs: 60_000, count: undefined },
      live,
      {},
      { isTTY: true, keyboard: keys },
    );
    await until(() => live.text.includes("q quits"));
    type?.(Buffer.from("q"));
    expect(await ended).toBe(0);
    expect(live.text.startsWith("\x1b[?1049h")).toBe(true);
    expect(live.text.endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
    expect(modes).toEqual([true, false]);
    const once = captured();
    const alone = { json: false, intervalMs: 5, count: undefined };
    expect(await topCommand(file, alone, once, {}, { isTTY: false, keyboard })).toBe(0);
    expect(once.text.match(/^Bridging/gm)).toHaveLength(1);
  });

  it("health: 0 and ok, or 69; waits for a start", async () => {
    const { file, directory } = configFile(HEAD);
    const down = captured();
    expect(await healthCommand(file, { json: false, waitMs: 0 }, down, {})).toBe(69);
    expect(down.errors).toBe("the gateway is not running\n");
    const waiting = captured();
    const waited = healthCommand(file, { json: true, waitMs: 10_000 }, waiting, {});
    const running = await startGateway(HEAD, { directory });
    expect(await waited).toBe(0);
    expect(JSON.parse(waiting.text)).toEqual({
      ready: true,
      words: "ok; log: ok; space: ok; upkeep: ok",
    });
    await running.stop();
    writeFileSync(controlPath(running.logPath), "not a socket");
    const odd = captured();
    expect(await healthCommand(file, { json: false, waitMs: 0 }, odd, {})).toBe(69);
  });
});
