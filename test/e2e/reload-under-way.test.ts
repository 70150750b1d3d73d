/**
 * A reload while a mail and a post are under way, which may take minutes: the doors open again at
 * once, and what is under way is finished, stored and answered. The same at the end of the process.
 */
import { connect } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { inspectLog } from "../../src/log/inspect.js";
import { freePort } from "../support/ports.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { incremental, made, SITE_ADDRESS } from "../torture/material.js";
import { base, configFile, start } from "./stage.js";

const AT_ONCE_MS = 2000;

async function stage() {
  const [smtp, hkp] = [await freePort(), await freePort()];
  const text = base(SITE_ADDRESS).replace("127.0.0.1:0", `127.0.0.1:${smtp}`);
  const peer = '[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]\n';
  const file = configFile(`${text}[hkp]\nlisten = ["127.0.0.1:${hkp}"]\n${peer}`);
  const gateway = await start(file);
  return { file, smtp, hkp, gateway };
}

/** A mail of which one half was sent; resolves with the reply when the other one is. */
async function halfMail(port: number, n: number): Promise<() => Promise<string>> {
  const client = await SmtpClient.connect(port);
  onTestFinished(() => client.close());
  for (const line of ["MAIL FROM:<a@b.example>", `RCPT TO:<${SITE_ADDRESS}>`, "DATA"]) {
    await client.command(line);
  }
  const mail = incremental([made(41, n).armor], `${n}`);
  client.write(mail.slice(0, 400));
  return async () => {
    client.write(`${mail.slice(400)}.\r\n`);
    return (await client.reply()).text;
  };
}

/** The same for a post. */
function halfPost(port: number, n: number): () => Promise<string> {
  const body = `keytext=${encodeURIComponent(made(42, n).armor)}`;
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  let heard = "";
  socket.on("data", (bytes) => {
    heard += bytes;
  });
  socket.on("error", () => {});
  const type = "application/x-www-form-urlencoded";
  socket.write(
    `POST /pks/add HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body.slice(0, 100)}`,
  );
  return async () => {
    socket.write(body.slice(100));
    await until(
      () => heard.includes("}\n"),
      () => heard,
    );
    return heard;
  };
}

async function mail(port: number, n: number): Promise<string> {
  const client = await SmtpClient.connect(port);
  try {
    return (await client.deliver(incremental([made(43, n).armor], `${n}`), SITE_ADDRESS)).text;
  } finally {
    client.close();
  }
}

async function post(port: number, n: number): Promise<number> {
  const body = new URLSearchParams({ keytext: made(44, n).armor });
  return (await fetch(`http://127.0.0.1:${port}/pks/add`, { method: "POST", body })).status;
}

async function reloaded(gateway: GatewayProcess): Promise<number> {
  const began = performance.now();
  process.kill(gateway.pid, "SIGHUP");
  await gateway.event("reloaded");
  return performance.now() - began;
}

it("keeps nobody waiting, and loses nothing", async () => {
  const { file, smtp, hkp, gateway } = await stage();
  const [finishMail, finishPost] = [await halfMail(smtp, 1), halfPost(hkp, 1)];
  expect(await post(hkp, 1)).toBe(200);
  expect(await reloaded(gateway)).toBeLessThan(AT_ONCE_MS);
  expect(await mail(smtp, 2)).toMatch(/^250 /);
  expect(await post(hkp, 2)).toBe(200);
  expect(await finishMail()).toMatch(/^250 2\.0\.0 Stored 1 new/);
  expect(await finishPost()).toMatch(/^HTTP\/1\.1 200 /);
  const last = await halfMail(smtp, 3);
  const ended = gateway.end();
  expect(await last()).toMatch(/^250 2\.0\.0 Stored 1 new/);
  await ended;
  expect(inspectLog(file.replace("kxgw.toml", "updates.db"))).toMatchObject({ entries: 6 });
});
