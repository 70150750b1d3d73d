/**
 * SIGHUP on a live gateway: a config in order is put in force, one with faults or with an address
 * that cannot be had is not, and the operator is told why. With it the policy, which is what is
 * changed most often: a limit, a block list.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { freePort } from "../support/ports.js";
import { SmtpClient } from "../support/smtp-client.js";
import { soon } from "../support/soon.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, logOf, start } from "./stage.js";

const PEER = `[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
`;

async function replyTo(port: number, armor: string): Promise<string> {
  const client = await SmtpClient.connect(port);
  const { text } = await client.deliver(mailOf(armor), { from: OLD, to: SITE });
  client.close();
  return text;
}

/** Sends SIGHUP and waits for what the gateway says of it. */
async function reloaded(gateway: GatewayProcess, event: "reloaded" | "reload-refused") {
  const before = gateway.events.filter((line) => line.event === event).length;
  const seen = gateway.events.length;
  process.kill(gateway.pid, "SIGHUP");
  await expect
    .poll(() => gateway.events.filter((line) => line.event === event).length, { timeout: 15_000 })
    .toBeGreaterThan(before);
  if (event === "reloaded" || gateway.events.length === seen) await gateway.event("ready");
  return gateway.events.findLast((line) => line.event === event);
}

it("puts a good config in force, and keeps the present one when the new one is wrong", async () => {
  const port = await freePort();
  const text = `${base(SITE).replace('"127.0.0.1:0"', `"127.0.0.1:${port}"`)}${PEER}`;
  const file = configFile(text);
  const gateway = await start(file);
  const [one, two, three] = [made("one", 1), made("two", 2), made("three", 3)];
  expect(await replyTo(port, one.armor)).toMatch(/^250 /);

  writeFileSync(file, text.replace('accept_from = ["127.0.0.1"]', 'accept_from = ["192.0.2.1"]'));
  await reloaded(gateway, "reloaded");
  await soon(() => replyTo(port, two.armor).catch(String)).toContain("550 5.7.1");

  writeFileSync(file, text.replace("accept_from", "acept_from"));
  const refusal = await reloaded(gateway, "reload-refused");
  expect(refusal?.problem).toMatch(/acept_from.*did you mean/);
  expect(await replyTo(port, two.armor)).toContain("550 5.7.1");

  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    taken.close();
  });
  const address = taken.address();
  const busy = typeof address === "object" ? address?.port : 0;
  writeFileSync(file, text.replace(`127.0.0.1:${port}`, `127.0.0.1:${busy}`));
  expect((await reloaded(gateway, "reload-refused"))?.problem).toContain("EADDRINUSE");
  await soon(() => replyTo(port, two.armor).catch(String)).toContain("550 5.7.1");

  writeFileSync(file, text);
  await reloaded(gateway, "reloaded");
  await soon(() => replyTo(port, three.armor).catch(String)).toMatch(/^250 /);
  expect((await logOf(file)).map(({ hash }) => hash)).toEqual([one.hash, three.hash]);
  expect(await gateway.end()).toBe(0);
});

it("carries what the policy lets pass: limits and a block list, changed by SIGHUP", async () => {
  const port = await freePort();
  const policy = '[policy]\nmax_update = "2KiB"\nblocklist = "list.txt"\n';
  const text = `${base(SITE).replace('"127.0.0.1:0"', `"127.0.0.1:${port}"`)}${policy}${PEER}`;
  const file = configFile(text);
  const list = join(dirname(file), "list.txt");
  const key = made("blocked", 1);
  writeFileSync(list, "# nothing yet\n");
  const gateway = await start(file);
  // It has no direct signature, which would go on without the rest.
  const large = readFileSync(
    new URL("../fixtures/keys/role-AED4B06F473041FA.asc", import.meta.url),
    "latin1",
  );
  expect(await replyTo(port, large)).toMatch(/^552 5\.3\.4 /);
  expect(await replyTo(port, key.armor)).toMatch(/^250 /);

  const other = made("blocked", 2);
  writeFileSync(list, `${other.fingerprint} asked for by its owner\n`);
  await reloaded(gateway, "reloaded");
  await soon(() => replyTo(port, other.armor).catch(String)).toMatch(/^550 5\.7\.1 /);
  for (const why of ["policy-size", "blocked"]) {
    await gateway.event("mail-refused", ({ reason }) => reason === why);
  }
  expect((await logOf(file)).map(({ hash }) => hash)).toEqual([key.hash]);
});
