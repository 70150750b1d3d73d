/**
 * A site behind a relay that takes everything and whose own mail system sends it back: the gateway
 * is told by mail, waits, sends again, and the update arrives. What it refuses for good is
 * recorded.
 */
import { expect, it } from "vitest";
import { Relay } from "../delivery/relay.js";
import { SAMPLES } from "../mail/reports.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, kxgw, start } from "./stage.js";

const FAR = "pgp-public-keys@far.example.net";
const ADDRESS = /^pgp-bounces\+Far-Site=\d+=[0-9a-f]{10}@kx\.example\.org$/;

const sample = (name: string) => SAMPLES.find((each) => each.name === name)?.raw ?? "";

it("an update that comes back is sent again until the site takes it", async () => {
  const relay = await Relay.start();
  const file = configFile(`${base(SITE)}[outbound]
relay = "${relay.url}"
bounce = "pgp-bounces@kx.example.org"
retry = "500ms"
[[peer]]
name = "Far-Site"
mail = "${FAR}"
[[peer]]
name = "old"
mail = "${OLD}"
via = "mail"
accept_from = ["127.0.0.1"]
`);
  const gateway = await start(file);
  const neighbour = await SmtpClient.connect(gateway.port("smtp"));
  const far = () => relay.taken.filter(({ to }) => to.includes(FAR));
  /** The mail system of the site, at an address that is nobody's. */
  const bounce = async (report: string, index: number) => {
    await relay.until(() => far().length > index);
    const to = far()[index]?.from ?? "";
    expect(to).toMatch(ADDRESS);
    const site = await SmtpClient.connect(gateway.port("smtp"), "127.0.0.9");
    const reply = await site.deliver(report, { from: "", to: to.toUpperCase() });
    expect(reply).toMatchObject({ code: 250 });
    site.close();
  };

  const [first, second] = [made("bounce", 1), made("bounce", 2)];
  await neighbour.deliver(mailOf(first.armor), { from: OLD, to: SITE });
  await bounce(sample("Postfix: mailbox full"), 0);
  await bounce(sample("qmail: no mailbox"), 1);
  await relay.until(() => far().length === 3);
  expect(far().map(({ raw }) => raw.includes(first.hash))).toEqual([true, true, true]);

  await neighbour.deliver(mailOf(second.armor), { from: OLD, to: SITE });
  await bounce(sample("Postfix: content filter"), 3);
  const undelivered = await gateway.event("undelivered");
  expect(undelivered).toMatchObject({ neighbour: "Far-Site", seq: 2, hash: second.hash });
  const bounces = gateway.events.filter(({ event }) => event === "bounce");
  expect(bounces.map(({ reason }) => reason)).toEqual(["site", "site", "update"]);

  await until(
    async () => {
      const { neighbours } = (await gateway.status()) as {
        neighbours: { name: string; backlog: number }[];
      };
      return neighbours.find(({ name }) => name === "Far-Site")?.backlog === 0;
    },
    () => "an empty lane",
  );
  expect(far()).toHaveLength(4);
  // Nothing but updates ever left, and none to where the bounces came from.
  expect(new Set(relay.seen.flatMap(({ to }) => to))).toEqual(new Set([FAR]));
  expect(await gateway.end()).toBe(0);
  const { stdout } = await kxgw(["log", "-c", file, "--json"]);
  expect(stdout.trim().split("\n")).toHaveLength(2);
});
