/**
 * Repair through a whole gateway: a KX peer that no longer has what it announced, a pksd that is
 * asked by mail, and `kxgw backfill` over both roads.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { admit } from "../../src/admit.js";
import { backfillCommand } from "../../src/cli/backfill.js";
import { doctorCommand } from "../../src/cli/doctor.js";
import { peersCommand } from "../../src/cli/peers.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { HEAD, startGateway } from "../admin/gateway.js";
import { captured } from "../cli/captured.js";
import { Relay } from "../delivery/relay.js";
import { bytes } from "../mail/fixtures.js";
import { key } from "../repair/stage.js";
import { keyserver } from "../support/keyserver.js";
import { KxScript } from "../support/kx-script.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { Pksd } from "./pksd.js";

const KEYS = Array.from({ length: 8 }, (_, index) => key(index));

/** A gateway of these neighbours, and the commands to it. */
async function gateway(neighbours: string, directory = scratch()) {
  const config = `${HEAD}${neighbours}`;
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, config);
  const running = await startGateway(config, { directory });
  const told = (event: string) => running.reports.filter((one) => one.event === event);
  const say = async (order: (out: ReturnType<typeof captured>) => Promise<number>) => {
    const out = captured();
    return { code: await order(out), text: out.text, errors: out.errors };
  };
  return {
    ...{ running, told },
    port: (door: "kx" | "smtp") => running.gateway.listening[door][0]?.port ?? 0,
    backfill: (name: string, more: { days?: number; json?: boolean; waitMs?: number } = {}) =>
      say((out) => {
        const { days, json = false, waitMs = 10_000 } = more;
        const sinceMs = days === undefined ? undefined : days * 86_400_000;
        const options = { file, json, sinceMs, waitMs, progress: true };
        return backfillCommand(name, options, out, {});
      }),
    show: (name: string) =>
      say((out) => peersCommand("show", name, { file, json: false }, out, {})),
    doctor: () => say((out) => doctorCommand(file, { json: false, online: false }, out, {})),
  };
}

/** A KX peer at 127.0.0.3 that announces the first `count` keys and has lost them. */
async function forgetful(port: number, count: number): Promise<KxScript> {
  const peer = await KxScript.greeted(port, "127.0.0.3");
  for (const [index, { update }] of KEYS.slice(0, count).entries()) {
    peer.announce(index + 1, update);
  }
  hasNothing(peer);
  return peer;
}

/** From now on the peer answers that it has not got what it is asked for. */
function hasNothing(peer: KxScript): void {
  const answering = setInterval(() => {
    for (const { tag, command, lines } of peer.inbox.splice(0)) {
      if (command !== "GETUPDATE") continue;
      for (const number of lines) peer.send("ERROR", tag, "500", `${number} update not available`);
    }
  }, 5);
  onTestFinished(() => clearInterval(answering));
}

const KX = '[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "three"\nkx = "127.0.0.3:1"\n';

describe("a KX peer that no longer has what it announced", () => {
  it("has its keyserver asked for the keys, and nobody is told more than that", async () => {
    const found = await keyserver((fingerprint, response) => {
      const one = KEYS.find(({ update }) => update.fingerprint === fingerprint);
      response.end(one?.armor);
    });
    const { told, port, show } = await gateway(`${KX}repair = "${found.repair}"\n`);
    await forgetful(port("kx"), 5);
    await until(() => told("repaired").length === 5);
    const lost = told("update-lost").map(({ fields }) => fields.hash);
    expect(new Set(lost)).toEqual(new Set(KEYS.slice(0, 5).map(({ update }) => update.hash)));
    expect(told("repair-failed")).toEqual([]);
    expect(told("accepted").map(({ fields }) => fields.via)).toEqual(Array(5).fill("repair"));
    expect((await show("three")).text).toContain("a lost update was fetched again");
  });

  it("without anything to ask is an error, and doctor says what to do", async () => {
    const { told, port, doctor } = await gateway(KX);
    await forgetful(port("kx"), 2);
    await until(() => told("repair-failed").length === 2);
    const { text } = await doctor();
    expect(text).toMatch(/\d updates could not be fetched again; last error: no keyserver to ask/);
    expect(text).toContain('repair = "hkp://host"');
  });

  it("counts each number of a gap, beside each key", async () => {
    const { told, port, doctor } = await gateway(KX);
    const peer = await KxScript.greeted(port("kx"), "127.0.0.3");
    const [first, second, ...others] = KEYS;
    if (first === undefined || second === undefined) throw new Error("there are no keys");
    peer.announce(1, first.update);
    await peer.give(1, first);
    // 2 to 20 are not listed any more.
    peer.announce(21, second.update);
    await peer.give(21, second);
    await until(() => told("repair-failed").length === 1);
    expect(told("peer-gap")[0]?.fields).toMatchObject({ low: 2, high: 20, numbers: 19 });
    expect((await doctor()).text).toContain("19 updates could not be fetched again");
    const [third] = others;
    if (third === undefined) throw new Error("there is no third key");
    peer.announce(22, third.update);
    hasNothing(peer);
    await until(() => told("repair-failed").length === 2);
    expect((await doctor()).text).toContain("20 updates could not be fetched again");
  });

  it("is listed anew by kxgw backfill, and its keyserver is asked again", async () => {
    let isEmpty = true;
    const found = await keyserver((fingerprint, response) => {
      const one = KEYS.find(({ update }) => update.fingerprint === fingerprint);
      if (isEmpty) response.writeHead(404).end();
      else response.end(one?.armor);
    });
    const { told, port, backfill } = await gateway(`${KX}repair = "${found.repair}"\n`);
    await forgetful(port("kx"), 4);
    await until(() => told("repair-failed").length === 4);
    isEmpty = false;
    const { code, text, errors } = await backfill("three");
    expect([code, text.split("\n")[0]]).toEqual([
      ...[0, "three is asked by KX for all its announcements, now."],
    ]);
    expect(text).toMatch(/\nDone: /);
    expect(errors).toContain("three: at 4 of 4, 0 updates to fetch");
    await until(() => told("repaired").length === 4);
    expect(told("peer-reset").map(({ fields }) => fields.reason)).toEqual(["ordered"]);
  });
});

/** A gateway beside a pksd that reads and answers its mail. */
async function besidePksd(more = "") {
  const relay = await Relay.start();
  const outbound = `[outbound]\nrelay = "${relay.url}"\n`;
  const pks = `[[peer]]\nname = "pks"\nmail = "pks@pks.example.net"\nrepair = "mail"\n`;
  const from = 'accept_from = ["127.0.0.1"]\n';
  const all = await gateway(`${outbound}${more}${pks}${from}`);
  const pksd = new Pksd(() => all.port("smtp"));
  let working = Promise.resolve();
  const timer = setInterval(() => {
    working = working.then(() => pksd.work(relay));
  }, 10);
  onTestFinished(async () => {
    clearInterval(timer);
    await working;
  });
  return { ...all, pksd, relay };
}

describe("a pksd, by mail", () => {
  it("is asked for all that changed, for no more days than it allows", async () => {
    const { pksd, backfill, told, relay } = await besidePksd();
    pksd.keys.push(...KEYS.map(({ update }) => update));
    pksd.maxLast = 6;
    pksd.maxLastReplyKeys = 4;
    const { code, text } = await backfill("pks", { days: 14 });
    expect([code, ...text.split("\n")]).toEqual([
      ...[0, "pks is asked by mail for its changes of 14 days."],
      ...["Done: 3 new updates received.", ""],
    ]);
    expect(pksd.commands).toEqual(["LAST 14", "LAST 6", "LAST 3"]);
    expect(told("repaired")[0]?.fields).toMatchObject({
      via: "mail",
      appended: 3,
      neighbour: "pks",
    });
    expect(told("accepted").map(({ fields }) => fields.via)).toEqual(Array(3).fill("repair"));
    expect(told("reply-swallowed")).toEqual([]);
    const [question] = relay.taken;
    expect(question?.to).toEqual(["pks@pks.example.net"]);
    expect(question?.raw).toContain("Reply-To: pgp-public-keys@kx.example.org\r\n");
  });

  it("that allows none is told as it is", async () => {
    const { pksd, backfill, doctor } = await besidePksd();
    pksd.maxLast = 0;
    const { code, text } = await backfill("pks", { days: 3 });
    expect([code, text.split("\n")[1]]).toEqual([
      ...[0, "Failed: pks: LAST is not permitted by this server."],
    ]);
    expect((await doctor()).text).toContain("LAST is not permitted");
  });

  it("is asked for one key by name; what it sends unasked is swallowed as ever", async () => {
    const three = '[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "three"\nkx = "127.0.0.3:1"\n';
    const mail = 'via = "kx"\nmail = "pks@three.example.net"\nrepair = "mail"\n';
    const { pksd, told, port } = await besidePksd(`${three}${mail}accept_from = ["127.0.0.1"]\n`);
    const [mine, stranger] = [KEYS[0]?.update, KEYS[1]?.update];
    if (mine === undefined || stranger === undefined) throw new Error("no keys");
    pksd.keys.push(mine);
    pksd.lie = [stranger, mine];
    const unasked = { subject: `Your command, GET 0x${stranger.fingerprint}`, inReplyTo: "" };
    const part = `Content-type: application/pgp-keys\n\n${KEYS[1]?.armor}`;
    await pksd.mail("pgp-public-keys@kx.example.org", { ...unasked, part });
    expect(told("reply-swallowed")).toHaveLength(1);
    await forgetful(port("kx"), 1);
    await until(() => told("repaired").length === 1);
    expect(pksd.commands).toEqual([`GET 0x${mine.fingerprint}`]);
    expect(told("accepted").map(({ fields }) => fields.fingerprint)).toEqual([mine.fingerprint]);
    expect(told("key-refused").map(({ fields }) => fields.reason)).toEqual(["wrong-key"]);
    // The same answer once more: nothing was asked any more.
    const again = { subject: `Your command, GET 0x${mine.fingerprint}`, inReplyTo: "" };
    await pksd.mail("pgp-public-keys@kx.example.org", { ...again, part });
    expect(told("reply-swallowed")).toHaveLength(2);
    expect(told("accepted")).toHaveLength(1);
  });

  it("that has not got the key is the end of it", async () => {
    const three = '[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "three"\nkx = "127.0.0.3:1"\n';
    const mail = 'via = "kx"\nmail = "pks@three.example.net"\nrepair = "mail"\n';
    const { told, port } = await besidePksd(`${three}${mail}accept_from = ["127.0.0.1"]\n`);
    await forgetful(port("kx"), 1);
    await until(() => told("repair-failed").length === 1);
    const problem = "three: No matching keys in database";
    expect(told("repair-failed")[0]?.fields).toMatchObject({ why: "lost", problem });
  });
});

describe("a site that took no mail for longer than bodies are kept", () => {
  it("gets the key again, whole, also when everybody else knows it", async () => {
    const found = await keyserver((_, response) => void response.end(KEYS[0]?.armor));
    const relay = await Relay.start();
    const directory = scratch();
    const log = UpdateLog.open(join(directory, "updates.db"));
    log.lanes.open("far");
    const origin = { neighbour: "pks", transport: "mail" } as const;
    const receivedAt = Date.now() - 100 * 3_600_000;
    for (const { update } of KEYS.slice(0, 2)) {
      log.append([{ update, origin, trail: [], receivedAt }]);
    }
    log.retention.expire(Date.now(), { retainMs: 1, rememberMs: 1e12 }, 10);
    log.close();
    const { told } = await gateway(
      `[outbound]\nrelay = "${relay.url}"\n` +
        '[[peer]]\nname = "far"\nmail = "pks@far.example.net"\n' +
        `[[peer]]\nname = "pks"\naccept_from = ["127.0.0.1"]\nrepair = "${found.repair}"\n`,
      directory,
    );
    await until(() => told("sent").length === 2);
    expect(told("body-expired")).toHaveLength(1);
    expect(told("repaired")[0]?.fields).toMatchObject({ why: "expired", appended: 0, known: 1 });
    expect(relay.taken.map(({ to }) => to[0])).toEqual(Array(2).fill("pks@far.example.net"));
    const fingerprints = admit(relay.taken.map(({ raw }) => bytes(raw))).updates.map(
      (update) => update.fingerprint,
    );
    expect(new Set(fingerprints)).toEqual(
      new Set(KEYS.slice(0, 2).map(({ update }) => update.fingerprint)),
    );
  });
});

describe("kxgw backfill", () => {
  it("says what cannot be done", async () => {
    const site =
      '[[peer]]\nname = "site"\nmail = "pks@x.example.net"\nrepair = "hkp://127.0.0.1:1"\n';
    const { backfill } = await gateway(site);
    const { code, errors } = await backfill("site");
    expect(code).toBe(69);
    expect(errors).toContain("HKP has no list of changes");
    expect((await backfill("nobody")).code).toBe(64);
    expect(JSON.parse((await backfill("site", { json: true })).text)).toMatchObject({
      done: false,
    });
  });

  it("does not wait for ever, and says where to look", async () => {
    const { pksd, backfill, show } = await besidePksd();
    pksd.isAwake = false;
    const { code, text, errors } = await backfill("pks", { days: 2, waitMs: 600 });
    expect([code, text.split("\n")[1]]).toEqual([
      0,
      'Still running: 0 new updates received so far. "kxgw peers show pks" shows the progress.',
    ]);
    expect(errors).toContain("pks: asked for 2 days, no answer yet");
    expect((await show("pks")).text).toMatch(/repairs +asked at .* for changes of 2 days/);
  });
});
