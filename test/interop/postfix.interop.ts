/**
 * Postfix as the mail exchanger in front of the gateway, which it reaches by a transport map or an
 * alias: what it takes gets through, and while the gateway is down it holds all of it.
 */
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { freePort, until } from "./daemon.js";
import { debianKeys } from "./keys.js";
import { note } from "./ledger.js";
import { Postfix } from "./postfix.js";
import { eventCount, stagePerTest } from "./stage.js";

const SITE = "pgp-public-keys@a.kx.example.org";
const OLD = "pgp-public-keys@old.example.net";

/** How Postfix's log names the transports. */
const ROADS: Readonly<Record<string, string>> = { "127.0.0.1": "SMTP", local: "alias pipe" };

const stage = stagePerTest();

test("Postfix in front of the gateway, over SMTP", async () => {
  const port = await freePort();
  const relay = { "a.kx.example.org": `smtp:[127.0.0.1]:${port}` };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes: {} }));
  const config = [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["127.0.0.1:${port}"]`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
  ];
  await frontTest("front MX, SMTP", postfix, config);
});

test("Postfix in front of the gateway, over LMTP on a Unix socket", async () => {
  const socket = stage().path("lmtp.sock");
  const relay = { "a.kx.example.org": `lmtp:unix:${socket}` };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes: {} }));
  const config = [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["lmtp:${socket}"]\nsocket_mode = "0666"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"`,
  ];
  await frontTest("front MX, LMTP", postfix, config);
});

test("kxgw ingest in an alias pipe of Postfix", async () => {
  const command = `${process.execPath} ${resolve("dist/main.js")} ingest`;
  const pipes = { [SITE]: `${command} -c ${stage().path("a.toml")}` };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay: {}, pipes }));
  const config = [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["lmtp:${stage().path("lmtp.sock")}"]\nsocket_mode = "0666"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"`,
  ];
  await frontTest("alias pipe, kxgw ingest", postfix, config);
});

async function frontTest(name: string, postfix: Postfix, config: readonly string[]): Promise<void> {
  const keys = debianKeys(30);
  const post = async (from: number, to: number) => {
    for (const { armored } of keys.slice(from, to)) {
      await stage().post(postfix.port, { from: OLD, to: SITE, armored });
    }
  };
  const first = await stage().gateway("a", config);
  await post(0, 10);
  await until("ten mails are through", () => eventCount(first, "accepted") === 10);
  await until("the queue is empty", () => postfix.queue().length === 0);
  const [delivery] = postfix.deliveries();
  expect(delivery).toMatchObject({ to: SITE, status: "sent" });
  expect(delivery?.reply).toMatch(/^(250 2\.0\.0 Stored 1 new|delivered to command)/);

  expect(await first.end()).toBe(0);
  await post(10, 20);
  await until("Postfix holds ten mails", () => {
    const held = postfix.queue();
    return held.length === 10 && held.every(({ reason }) => reason !== "");
  });
  expect(stage().logged("a")).toHaveLength(10);
  const second = await stage().restart("a");
  postfix.flush();
  await until("Postfix has delivered what it held", () => postfix.queue().length === 0);
  await until("all of it was new", () => eventCount(second, "accepted") === 10);

  await post(20, 25);
  expect(await second.end("SIGKILL")).not.toBe(0);
  await post(25, 30);
  const third = await stage().restart("a");
  postfix.flush();
  await until("nothing is lost by a kill either", () => {
    postfix.flush();
    return postfix.queue().length === 0;
  });
  const logged = stage().logged("a");
  expect(logged.map(({ fingerprint }) => fingerprint).sort()).toEqual(
    keys.map(({ fingerprint }) => fingerprint).sort(),
  );
  expect(await third.end()).toBe(0);

  const deliveries = postfix.deliveries();
  const count = (status: string) => deliveries.filter((one) => one.status === status).length;
  const road = deliveries[0]?.relay.replace(/\[.*/s, "") ?? "";
  note(name, [
    { from: "old", to: "Postfix", road: "SMTP", what: "30 mails" },
    {
      from: "Postfix",
      to: "gateway A",
      road: ROADS[road] ?? "LMTP, Unix socket",
      what: `${count("sent")} delivered, ${count("deferred")} attempts put off while A was down`,
    },
    { from: "gateway A", to: "its log", road: "", what: `${logged.length} updates of 30` },
  ]);
}
