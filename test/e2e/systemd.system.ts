/**
 * Under systemd, as far as a machine without a booted one can show it: sockets handed over by the
 * real systemd-socket-activate, and by a small stand-in that keeps them open over restarts and
 * hears what the real systemd-notify sends.
 * Needs: systemd-socket-activate, systemd-notify, python3.
 */
import { existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { GatewayProcess } from "../../src/demo/process.js";
import { freePort } from "../support/ports.js";
import { SmtpClient } from "../support/smtp-client.js";
import { quietFor, until } from "../support/until.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { configFile, kxgw, logOf, PROGRAM, ROOT } from "./stage.js";

const PEER = `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]\n`;

/** A config that takes mail on sockets of systemd alone. */
function activated(): string {
  return configFile(
    `[site]\naddress = "${SITE}"\n[log]\npath = "updates.db"\n` +
      `[smtp]\nlisten = ["systemd:smtp", "lmtp:lmtp.sock"]\n${PEER}`,
  );
}

function under(command: readonly string[], file: string, env = {}): GatewayProcess {
  const gateway = GatewayProcess.spawn(file, PROGRAM, command, { env });
  onTestFinished(async () => {
    await gateway.end("SIGKILL");
  });
  return gateway;
}

/** The stand-in with a gateway; resolves when that is ready, with the port of its socket. */
async function managed(file: string, env: Readonly<Record<string, string>> = {}) {
  const stand = ["python3", join(ROOT, "test/e2e/small-systemd.py"), dirname(file)];
  const gateway = under(stand, file, env);
  const { port } = await gateway.event("opened");
  await gateway.event("ready");
  return { gateway, port: Number(port) };
}

/** What systemd was told so far. */
function told(gateway: GatewayProcess): string[] {
  return gateway.events
    .filter(({ event }) => event === "notified")
    .map(({ text }) => String(text).trim())
    .filter((text) => text !== "BARRIER=1");
}

function count(gateway: GatewayProcess, event: string): number {
  return gateway.events.filter((line) => line.event === event).length;
}

/** Delivers the n-th mail; a session that meets the end of the gateway is begun anew, as usual. */
async function mail(port: number, n: number): Promise<string> {
  for (;;) {
    const client = await SmtpClient.connect(port).catch(String);
    if (typeof client === "string") {
      if (client.includes("greeted with 421")) continue;
      return client;
    }
    const message = mailOf(made("s", n).armor);
    const reply = await client.deliver(message, { from: OLD, to: SITE }).catch(() => undefined);
    client.close();
    if (reply !== undefined && reply.code !== 421) return reply.text;
  }
}

it("takes its sockets from the real systemd-socket-activate", async () => {
  const file = activated();
  const [port, path] = [await freePort(), join(dirname(file), "lmtp.sock")];
  const gateway = under(
    ["systemd-socket-activate", "-l", `127.0.0.1:${port}`, "-l", path, "--fdname=smtp:lmtp"],
    file,
  );
  await until(
    () => existsSync(path),
    () => gateway.errors,
  );
  // The first client is there before the gateway is.
  expect(await mail(port, 1)).toMatch(/^250 2\.0\.0 Stored 1 new/);
  expect(gateway.port("smtp")).toBe(port);
  const input = mailOf(made("s", 2).armor);
  expect(await kxgw(["ingest", "-c", file], { input })).toMatchObject({ code: 0, stderr: "" });
  expect(await gateway.end()).toBe(0);
  expect(await logOf(file)).toHaveLength(2);
});

it("refuses nobody while it reloads and restarts, and says what it does", async () => {
  const file = activated();
  const { gateway, port } = await managed(file);
  await until(
    () => told(gateway).length > 0,
    () => gateway.output,
  );
  expect(told(gateway)).toEqual([
    `READY=1\nSTATUS=bridge for ${SITE}; neighbours: 1; ` +
      `smtp: systemd:smtp, ${join(dirname(file), "lmtp.sock")}`,
  ]);

  const replies: string[] = [];
  let isOver = false;
  const sender = (async () => {
    for (let n = 1; !isOver; n++) replies.push(await mail(port, n));
  })();
  const soon = async (event: string, times: number) => {
    await until(
      () => count(gateway, event) >= times,
      () => gateway.output + gateway.errors,
    );
    const before = replies.length;
    await until(
      () => replies.length > before + 2,
      () => replies.join("\n"),
    );
  };
  for (const times of [1, 2]) {
    process.kill(gateway.pid, "SIGHUP");
    await soon("reloaded", times);
  }
  process.kill(gateway.pid, "SIGUSR1");
  await soon("stopped", 1);
  isOver = true;
  await sender;
  expect(replies.filter((reply) => !/^250 2\.0\.0 Stored 1 new/.test(reply))).toEqual([]);
  expect(gateway.events.find(({ event }) => event === "ended")?.code).toBe(0);

  writeFileSync(file, "nonsense");
  process.kill(gateway.pid, "SIGHUP");
  await gateway.event("reload-refused");
  await until(
    () => told(gateway).length >= 9,
    () => told(gateway).join("\n"),
  );
  expect(await gateway.end()).toBe(0);
  expect(told(gateway).map((text) => text.replace(/ for .*/s, ""))).toEqual([
    ...["READY=1\nSTATUS=bridge", "RELOADING=1", "READY=1\nSTATUS=bridge"],
    ...["RELOADING=1", "READY=1\nSTATUS=bridge", "STOPPING=1", "READY=1\nSTATUS=bridge"],
    ...[
      "RELOADING=1",
      "READY=1\nSTATUS=reload failed, previous config in force; bridge",
      "STOPPING=1",
    ],
  ]);
});

it("keeps who comes between two configs, and finishes what is under way", async () => {
  const { gateway, port } = await managed(activated());
  const during = async (change: () => void) => {
    const client = await SmtpClient.connect(port);
    const idle = await SmtpClient.connect(port);
    await client.command(`MAIL FROM:<${OLD}>`);
    await client.command(`RCPT TO:<${SITE}>`);
    expect((await client.command("DATA")).code).toBe(354);
    change();
    expect((await idle.reply()).code).toBe(421);
    return client;
  };
  const finish = async (client: SmtpClient, n: number) => {
    const text = mailOf(made("late", n).armor).replaceAll("\n", "\r\n");
    expect((await client.command(`${text}\r\n.`)).text).toContain("Stored 1 new");
  };
  const early = await during(() => process.kill(gateway.pid, "SIGHUP"));
  // Served, by the new doors, before what is under way at the former ones is finished.
  expect(await mail(port, 1)).toContain("Stored 1 new");
  await gateway.event("reloaded");
  await finish(early, 1);

  let code: Promise<number> | undefined;
  await finish(await during(() => (code = gateway.end())), 2);
  expect(await code).toBe(0);
});

it("beats for the watchdog, and serves on when nobody can be told", async () => {
  const { gateway } = await managed(activated(), { WATCHDOG_USEC: "300000" });
  const beats = () => told(gateway).filter((text) => text === "WATCHDOG=1").length;
  await until(
    () => beats() >= 3,
    () => told(gateway).join("\n"),
  );
  expect(await gateway.end()).toBe(0);

  const { gateway: deaf, port } = await managed(activated(), {
    NOTIFY_SOCKET: "/nonexistent",
    WATCHDOG_USEC: "20000",
  });
  expect((await deaf.event("notify-failed")).problem).toMatch(/notify/);
  await quietFor(200, "ten more beats would fail, and each would be reported");
  expect(await mail(port, 1)).toMatch(/^250/);
  expect(count(deaf, "notify-failed")).toBe(1);
});

it("names a socket that the config does not", async () => {
  const listen = (text: string) => text.replace('"systemd:smtp", "lmtp:lmtp.sock"', text);
  const file = activated();
  writeFileSync(
    file,
    `[site]\naddress = "${SITE}"\n[log]\npath = "updates.db"\n` +
      `[smtp]\nlisten = [${listen('"systemd:smtp"')}]\n${PEER}`,
  );
  const { gateway } = await managed(file);
  expect((await gateway.event("idle-socket")).name).toBe("lmtp");
});
