/**
 * "In sync" after what a gateway forgets: a kill loses the records of the last deliveries, and a
 * neighbour gets another name. An update of its own proves nothing of those that it was sent.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import type { Status } from "../../src/status/status.js";
import { Relay } from "../delivery/relay.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { type Made, made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, start } from "./stage.js";

const FAR = "pgp-public-keys@far.example.net";

it("a kill and a new name do not prove what was mailed", async () => {
  const relay = await Relay.start();
  const file = configFile(`${base(SITE)}[outbound]
relay = "${relay.url}"
[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
[[peer]]
name = "far"
mail = "${FAR}"
accept_from = ["127.0.0.2"]
`);
  const give = async (gateway: GatewayProcess, key: Made, from: string, address: string) => {
    const client = await SmtpClient.connect(gateway.port("smtp"), address);
    const mail = mailOf(key.armor).replaceAll(OLD, from);
    expect(await client.deliver(mail, { from, to: SITE })).toMatchObject({ code: 250 });
    await client.quit();
  };
  const labelOf = async (gateway: GatewayProcess, name: string) => {
    const { neighbours } = (await gateway.status()) as Status;
    const one = neighbours.find((each) => each.name === name);
    return { label: one?.label, handed: one?.handed?.updates, proof: one?.proof?.what };
  };
  const far = () => relay.taken.filter(({ to }) => to.includes(FAR));

  const first = await start(file);
  await give(first, made("truth", 1), OLD, "127.0.0.1");
  await until(() => far().length === 1);
  const sent = async () => (await labelOf(first, "far")).handed === 1;
  await until(sent, () => "the delivery is noted");
  // The lane is on disk, the record of the delivery is not yet.
  expect(await first.end("SIGKILL")).toBe(-1);

  const second = await start(file);
  await give(second, made("truth", 2), FAR, "127.0.0.2");
  const unproven = { label: "handed over", handed: 1, proof: "origin" };
  expect(await labelOf(second, "far")).toEqual(unproven);
  await give(second, made("truth", 3), OLD, "127.0.0.1");
  await until(() => far().length === 2);
  expect(await second.end()).toBe(0);

  writeFileSync(file, readFileSync(file, "utf8").replace('"far"', '"fern"'));
  const third = await start(file);
  await give(third, made("truth", 4), FAR, "127.0.0.2");
  // The one that has a record: the other was lost before it.
  expect(await labelOf(third, "fern")).toEqual(unproven);
});
