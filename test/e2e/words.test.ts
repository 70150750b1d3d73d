/**
 * What the operator is told of what neighbours did not take, by a gateway in a process of its own
 * and by its log alone: queue, trace, status, metrics, doctor and check; the keyserver beside the
 * gateway like any neighbour; and what observe mode would have sent.
 */
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { admit } from "../../src/admit.js";
import type { Diagnosis } from "../../src/cli/doctor.js";
import type { Journey, Stage } from "../../src/status/journey.js";
import type { Status } from "../../src/status/status.js";
import { Relay } from "../delivery/relay.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { type Made, made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, kxgw, start } from "./stage.js";

/** Each command is a process of its own. */
const LONG_MS = 120_000;
const FAR = "pgp-public-keys@far.example.net";
const QUEUED = "250 2.0.0 Ok: queued as 4XyZ12abcd";

const FEEDER = `[[peer]]
name = "old"
mail = "${OLD}"
via = "mail"
accept_from = ["127.0.0.1"]
`;

const far = (relay: Relay) => `[outbound]
relay = "${relay.url}"
retry = "1s*2, 1h"
[[peer]]
name = "far"
mail = "${FAR}"
repair = "mail"
`;

/** The relay answers as told for far, and takes everything for others. */
async function relayFor(answer: (raw: string) => string | undefined): Promise<Relay> {
  const relay = await Relay.start();
  relay.answer = (phase, to) => {
    if (phase !== "dot" || to !== FAR) return undefined;
    return answer(relay.seen.at(-1)?.raw ?? "") ?? QUEUED;
  };
  return relay;
}

function holds({ hash }: Made, raw: string): boolean {
  return admit([Buffer.from(raw, "latin1")]).updates.some((update) => update.hash === hash);
}

/** The command line on one config file. */
function commands(file: string) {
  const run = async (...words: string[]) => await kxgw([...words, "-c", file]);
  const lines = async <T>(...words: string[]) => {
    const { stdout } = await run(...words, "--json");
    const all = stdout.trim().split("\n").filter(Boolean);
    return all.map((line) => JSON.parse(line) as T);
  };
  const one = async <T>(...words: string[]) => (await lines<T>(...words))[0] as T;
  return {
    ...{ run, lines, one },
    status: () => one<Status>("status"),
    doctor: async () => JSON.parse((await run("doctor", "--json")).stdout) as Diagnosis[],
    stages: async (n: number) => {
      const { stages } = await one<Journey>("trace", String(n));
      return new Map(stages.map((stage) => [stage.neighbour, stage]));
    },
  };
}

async function feeder(port: number) {
  const client = await SmtpClient.connect(port);
  return async (key: Made) => {
    const reply = await client.deliver(mailOf(key.armor), { from: OLD, to: SITE });
    expect(reply).toMatchObject({ code: 250 });
  };
}

it(
  "says of each neighbour what it took, refused, failed on and is not sent",
  async () => {
    const [good, bad, stuck, blocked] = [1, 2, 3, 4].map((n) => made("words", n)) as [
      ...[Made, Made, Made, Made],
    ];
    const relay = await relayFor((raw) => {
      if (holds(bad, raw)) return "554 5.6.0 Bad key";
      return holds(stuck, raw) ? "451 4.3.0 Scan failed" : undefined;
    });
    const local = '[local]\ntype = "pksd"\ndirectory = "spool"\nretry = "1h"\n';
    const file = configFile(base(SITE) + local + far(relay) + FEEDER);
    const spool = join(dirname(file), "spool");
    mkdirSync(spool);
    const { run, lines, status, doctor, stages } = commands(file);
    const gateway = await start(file);
    const give = await feeder(gateway.port("smtp"));
    await give(good);
    await relay.until(() => relay.taken.some(({ raw }) => holds(good, raw)));
    await give(bad);
    await give(stuck);
    await gateway.event("set-aside");
    expect((await run("peers", "pause", "far")).code).toBe(0);
    await give(blocked);
    await run("block", blocked.fingerprint, "--reason", "asked");
    expect((await run("peers", "resume", "far")).code).toBe(0);
    await until(
      async () => (await status()).exceptions.withheld === 1,
      () => "the blocked key is withheld",
    );

    // The words and the fields of each state, by the gateway.
    const stage = async (n: number, neighbour: string) => (await stages(n)).get(neighbour) as Stage;
    expect(await stage(1, "old")).toMatchObject({ state: "done", how: "origin" });
    const handed = await stage(1, "far");
    expect(handed).toMatchObject({
      ...{ state: "handed", how: "relayed", reply: QUEUED, queueId: "4XyZ12abcd", tries: 0 },
      words: expect.stringMatching(/^handed to the relay: 250 .* queued as 4XyZ12abcd/),
      time: expect.stringMatching(/^20/),
    });
    expect(await stage(2, "far")).toMatchObject({
      ...{ state: "failed", how: "refused", reason: "refused", code: 554, next: null },
      words: expect.stringMatching(/^refused it: .*554 5\.6\.0 Bad key; offered again when/),
    });
    const aside = await stage(3, "far");
    expect(aside).toMatchObject({ state: "waiting", how: "waiting", reason: "failed", code: 451 });
    expect(aside.tries).toBeGreaterThanOrEqual(3);
    expect(aside.words).toMatch(
      /^set aside after \d attempts, next in .*; .*451 4\.3\.0 Scan failed$/,
    );
    expect(Date.parse(aside.next ?? "")).toBeGreaterThan(Date.now() - 1000);
    const held = "withheld: the key is blocked; sent when it is unblocked";
    expect(await stage(4, "far")).toMatchObject({ state: "none", reason: "blocked", words: held });
    expect(await stage(2, "[local]")).toMatchObject({ state: "waiting", how: "waiting" });
    const text = await run("trace", "1");
    expect(text.stdout).toMatch(/ handed +far: handed to the relay: 250 2\.0\.0 Ok: queued as 4X/);
    expect(text.stdout).not.toMatch(/\bsent it to far|\bsent\b(?! it to us)/);

    // Counts by reason.
    type Counts = {
      site: string;
      pending: number;
      exceptions: { reason: string; count: number }[];
    };
    const counts = async () => await lines<Counts>("queue", "ls", "far", "--counts");
    const expected = [
      { state: "refused", reason: "refused", count: 1, recent: 1 },
      { state: "waiting", reason: "failed", count: 1, recent: 1 },
      { state: "withheld", reason: "blocked", count: 1, recent: 1 },
    ];
    expect(await counts()).toEqual([{ site: "far", pending: 0, exceptions: expected }]);
    const listed = "far: 0 pending, 1 refused, 1 waiting (failed), 1 withheld (blocked)\n";
    expect((await run("queue", "ls", "far")).stdout).toContain(listed);
    expect((await run("queue", "ls", "far", "--counts")).stdout).toMatch(
      /far +refused +refused +1/,
    );
    const told = await status();
    expect(told.exceptions).toEqual({ waiting: 1, refused: 1, withheld: 1 });
    const line = told.neighbours.find(({ name }) => name === "far");
    expect(line?.words).toMatch(/; not taken: 1 refused, 1 set aside, 1 withheld$/);
    expect(line?.site?.reasons).toEqual(expected);
    expect((await run("status")).stdout).toMatch(
      /^not taken far: 1 refused, 1 set aside, 1 withheld \(key blocked\)$/m,
    );
    const admin = (await gateway.event("ready")).admin;
    const metrics = await (await fetch(`http://${admin}/metrics`)).text();
    expect(metrics).toContain('kxgw_exceptions{peer="far",state="refused"} 1\n');
    expect(metrics).toContain('kxgw_exceptions{peer="[local]",state="waiting"} 0\n');
    expect(metrics).toContain('kxgw_peer_refuses_all{peer="far"} 0\n');
    const page = await (await fetch(`http://${admin}/`)).text();
    expect(page).toMatch(/>far<\/a><\/strong> 1 refused, 1 set aside, 1 withheld \(key blocked\)/);

    // A retry sends at once, whatever was put off.
    const tries = () => relay.seen.filter(({ raw }) => holds(stuck, raw)).length;
    const before = tries();
    expect((await run("queue", "retry", "far", "3")).stdout).toBe("far is sent 1 update again.\n");
    await relay.until(() => tries() > before);

    // The keyserver beside us, which is not there.
    expect((await run("peers", "pause", "[local]")).stdout).toMatch(/^\[local\] is paused/);
    expect((await run("peers", "ls")).stdout).toMatch(/^\[local\] +local +paused/m);
    expect((await run("peers", "show", "[local]")).stdout).toMatch(
      /state +paused: nothing is sent/,
    );
    expect((await run("queue", "retry", "[local]")).code).toBe(69);
    expect((await run("peers", "resume", "[local]")).stdout).toBe("[local] is resumed.\n");
    expect((await run("peers", "test", "[local]")).stdout).toMatch(
      /^ok +\[local\] spool .*spool: /,
    );
    const old = new Date(Date.now() - 3_600_000);
    // Files that are no mails of the gateway do not count, however old they are.
    const mail = `pks-mail.000000000009-${"a".repeat(32)}-1`;
    const put = (name: string) => {
      writeFileSync(join(spool, name), "");
      utimesSync(join(spool, name), old, old);
    };
    for (const name of [`.kxgw-${mail.slice(9)}.tmp`, `${mail}.bak`, "pks-mail.left"]) put(name);
    expect((await run("peers", "test", "[local]")).code).toBe(0);
    put(mail);
    const full = await run("peers", "test", "[local]");
    expect(full.code).toBe(69);
    expect(full.stdout).toMatch(
      /^FAIL +\[local\] spool .* is not emptied: \d files?, the oldest for 1/,
    );
    const problems = (await doctor()).map(({ problem }) => problem);
    expect(problems).toContainEqual(expect.stringMatching(/^\[local\] spool .* is not emptied/));

    // By the log alone, the same; orders that need no gateway are carried out.
    expect(await gateway.end()).toBe(0);
    expect(await stage(2, "far")).toMatchObject({ how: "refused", code: 554 });
    expect(await stage(1, "far")).toMatchObject({ how: "relayed", queueId: "4XyZ12abcd" });
    expect((await counts())[0]?.exceptions).toHaveLength(3);
    expect((await run("queue", "skip", "far", "3")).stdout).toBe("Update 3 is given up for far.\n");
    expect(await stage(3, "far")).toMatchObject({
      state: "none",
      how: "withheld",
      reason: "skipped",
    });
    expect((await run("queue", "skip", "far", "3")).code).toBe(69);
    expect((await run("queue", "skip", "[local]", "1")).stderr).toMatch(
      /running\s+gateway: start it/,
    );
    expect((await run("queue", "retry", "far", "2")).code).toBe(0);
    expect(await stage(2, "far")).toMatchObject({ state: "waiting", reason: "refused" });

    // Nobody in the config owns the lane any more, until it is there again under another name.
    const relayed = '[outbound]\nrelay = "smtp://127.0.0.1:1"\n';
    writeFileSync(file, base(SITE) + relayed + FEEDER);
    const checked = await run("check");
    expect(checked.code).toBe(0);
    expect(checked.stderr).toMatch(/warning: the log has a queue of far \(pgp-public-keys@far/);
    expect(checked.stderr).toMatch(/a queue of \[local\] with 4 updates/);
    const left = (await doctor()).find(({ problem }) => problem.startsWith("The queue of far"));
    expect(left).toMatchObject({ kind: "odd", remedy: expect.stringMatching(/same mail address/) });
    expect((await status()).unowned.map(({ name }) => name).sort()).toEqual(["[local]", "far"]);
    writeFileSync(file, base(SITE) + local + far(relay).replace('"far"', '"other"') + FEEDER);
    expect((await run("check")).stderr).toBe("");
  },
  LONG_MS,
);

it(
  "doctor names a neighbour that refuses all, and one whose refusals grow",
  async () => {
    let refuses = (_: string): boolean => true;
    const relay = await relayFor((raw) => (refuses(raw) ? "554 5.6.0 Not this one" : undefined));
    const file = configFile(base(SITE) + far(relay) + FEEDER);
    const { doctor, run, status } = commands(file);
    const gateway = await start(file);
    const give = await feeder(gateway.port("smtp"));
    const keys = Array.from({ length: 21 }, (_, n) => made("grows", n + 1));
    for (const key of keys.slice(0, 20)) await give(key);
    await gateway.event("refuses-all");
    const all = (await doctor()).find(({ problem }) => problem.includes("refuses every update"));
    expect(all).toMatchObject({
      kind: "broken",
      problem: expect.stringMatching(/^far refuses every update: .*554 5\.6\.0 Not this one\.$/),
      remedy: expect.stringMatching(/kxgw queue ls far/),
    });
    expect((await run("peers", "ls")).stdout).toMatch(/it refuses every mail; .*20 refused/);

    // It takes one: the refused ones are sent again, and refused again.
    refuses = (raw) => !holds(keys[20] as Made, raw);
    await give(keys[20] as Made);
    expect((await run("queue", "retry", "far")).code).toBe(0);
    await gateway.event("reopened");
    await until(
      async () => (await status()).exceptions.refused === 20,
      () => "all are refused again",
    );
    expect(await gateway.end()).toBe(0);
    const offline = (await doctor()).map(({ problem }) => problem);
    expect(offline[0]).toBe("The gateway is not running.");
    expect(offline).toContainEqual(
      expect.stringMatching(/^far (did not take 20 updates of the last 24 hours|refuses every)/),
    );
  },
  LONG_MS,
);

it(
  "observe mode sums up what it would send, over restarts, and trace tells of the switch",
  async () => {
    const relay = await relayFor(() => undefined);
    const bridge = base(SITE) + far(relay) + FEEDER;
    const file = configFile(`mode = "observe"\n${bridge}`);
    const { run, status, one, stages } = commands(file);
    const keys = [1, 2, 3, 4].map((n) => made("observe", n)) as [...[Made, Made, Made, Made]];
    let bytes = 0;
    for (const some of [keys.slice(0, 2), keys.slice(2, 3)]) {
      const gateway = await start(file);
      const give = await feeder(gateway.port("smtp"));
      for (const key of some) await give(key);
      const would = () => gateway.events.filter(({ event }) => event === "would-send");
      await until(() => would().length === some.length);
      for (const event of would()) bytes += Number(event.bytes);
      // An order to send is no promise that is not kept.
      for (const order of [
        ["retry", "far"],
        ["retry", "far", "all"],
        ["retry", "far", "1"],
      ]) {
        const { code, stdout, stderr } = await run("queue", ...order);
        const words = 'Nothing is sent in mode = "observe"; everything stays as it is.\n';
        expect([code, stdout, stderr]).toEqual([69, "", words]);
      }
      const asked = await run("backfill", "far");
      expect([asked.code, asked.stderr]).toEqual([
        69,
        expect.stringMatching(/^Nothing is sent in/),
      ]);
      const journey = await one<Journey>("trace", "1");
      expect(journey.bridgeFrom).toBe(some.length === 2 ? 3 : 4);
      expect(await gateway.end()).toBe(0);
      const offline = await run("queue", "retry", "far", "all");
      expect([offline.code, offline.stderr]).toEqual([69, expect.stringMatching(/^Nothing is se/)]);
    }
    const counts = { updates: 3, mails: 3, bytes, first: 1, last: 3 };
    const { observed } = await status();
    expect(observed).toEqual([
      expect.objectContaining({ neighbour: "far", way: "lane", ...counts }),
    ]);
    expect((await run("status")).stdout).toMatch(
      /^observed {2}far: 3 updates in 3 mails, .*, the first /m,
    );
    expect((await run("trace", "2")).stdout).toMatch(
      / observe +nothing is sent; after a switch to mode = "bridge" mail leaves from update 4 on/,
    );
    expect((await stages(2)).get("far")).toMatchObject({
      ...{ state: "none", how: "observed" },
      words: expect.stringMatching(/it is sent what comes after update 3, and so never this one$/),
    });
    expect(relay.seen).toEqual([]);

    // The switch: mail leaves from the next update on.
    writeFileSync(file, bridge);
    const gateway = await start(file);
    const give = await feeder(gateway.port("smtp"));
    await give(keys[3]);
    await relay.until(() => relay.taken.length === 1);
    expect(holds(keys[3], relay.taken[0]?.raw ?? "")).toBe(true);
    expect((await status()).observed).toBe(null);
    expect((await stages(2)).get("far")).toMatchObject({
      words: 'not sent: mode was "observe" until update 3',
    });
    expect((await stages(4)).get("far")).toMatchObject({ state: "handed", how: "relayed" });
    expect(await gateway.end()).toBe(0);
  },
  LONG_MS,
);
