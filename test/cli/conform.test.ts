/**
 * `kxgw conform` as a command: its report as text and as JSON, its exit codes, TLS, and what it
 * says of arguments and servers that it cannot use. The rules have tests in test/conform/.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type ConformOptions, conformCommand } from "../../src/cli/conform.js";
import { programOf } from "../../src/cli/program.js";
import { RULES } from "../../src/conform/suite.js";
import type { Fault } from "../conform/faulty-proxy.js";
import { FaultyProxy } from "../conform/faulty-proxy.js";
import { CONFIG, fill, ownUpdate, PEER, serve } from "../conform/server.js";
import { makeCertificate } from "../support/certificates.js";
import { Listener } from "../support/listener.js";
import { scratch } from "../support/scratch.js";
import { captured } from "./captured.js";

const OPTIONS: ConformOptions = {
  ...{ json: false, list: false, slow: false, old: false, waitMs: 3000, only: [] },
  ...{ source: undefined, sendKey: undefined },
  ...{ tlsCert: undefined, tlsKey: undefined, tlsCa: undefined, pin: undefined },
};

async function run(where: string | undefined, options: Partial<ConformOptions> = {}) {
  const out = captured();
  const code = await conformCommand(where, { ...OPTIONS, ...options }, out);
  return { code, text: out.text, errors: out.errors };
}

async function gateway(directory: string, config?: string): Promise<number> {
  fill(directory, 5);
  const { port, stop } = await serve(directory, config);
  onTestFinished(stop);
  return port;
}

async function faulty(fault: Fault): Promise<number> {
  const proxy = new FaultyProxy(await gateway(scratch()), fault);
  onTestFinished(async () => await proxy.stop());
  return await proxy.start();
}

const MUTE: Fault = {
  bug: "no answer",
  rules: [],
  hears: (text) => (text.includes("LIST") ? "" : text),
};

describe("the report", () => {
  it("names each rule and ends with the sums", async () => {
    const port = await gateway(scratch());
    const { code, text } = await run(`127.0.0.1:${port}`, { only: ["list.one", "helo"] });
    expect(code).toBe(0);
    expect(text).toContain("ok    list.one: LIST of the newest number gets one IHAVE");
    expect(text).toContain("skip  helo.overdue: --slow plays it\n");
    expect(text).toMatch(
      new RegExp(`\\n127.0.0.1:${port}, KX/1.1: 12 rules, 10 passed, 0 failed, 2 skipped\n$`),
    );
  });

  it("of a failed rule says what was due, where that is written, and what was said", async () => {
    const port = await faulty(MUTE);
    const { code, text } = await run(`127.0.0.1:${port}`, { only: ["list.one"], waitMs: 300 });
    expect(code).toBe(76);
    const [first = "", second, ...said] = text.split("\n");
    expect(first).toMatch(/^FAIL {2}list.one: the listing that quotes c003 was due within 0.3 s$/);
    expect(second).toMatch(/^ {6}LIST of the newest number .* \(thesis A.2.1, A.2.2\)$/);
    expect(said.join("\n")).toMatch(/> \d+ ms {2}c003 \| LIST \| 5 \| \.\n/);
    expect(said.join("\n")).toMatch(/< \d+ ms {2}KX11 \| HELO \| 1\.0 \| \.\n/);
  });

  it("is one JSON value with everything that was said", async () => {
    const port = await gateway(scratch());
    const { code, text } = await run(`127.0.0.1:${port}`, { only: ["list.one"], json: true });
    expect(code).toBe(0);
    const report = JSON.parse(text);
    expect(report).toMatchObject({
      ...{ server: `127.0.0.1:${port}`, version: "1.1", passed: 1, failed: 0, skipped: 0 },
      rules: [{ id: "list.one", result: "pass", words: "", source: "thesis A.2.1, A.2.2" }],
    });
    expect(report.rules[0].transcript).toContainEqual({
      ...{ from: "tester", at: expect.any(Number) },
      text: "c003\nLIST\n5\n.",
    });
  });

  it("plays no more than KX/1.0 if that is wanted", async () => {
    const port = await gateway(scratch());
    const { text } = await run(`127.0.0.1:${port}`, { only: ["1.1.open"], old: true });
    expect(text).toContain("skip  1.1.open: only KX/1.0 is played\n");
    expect(text).toContain("KX/1.0: 1 rules, 0 passed, 0 failed, 1 skipped");
  });

  it("lists all rules without a server", async () => {
    const { code, text } = await run(undefined, { list: true });
    expect(code).toBe(0);
    expect(text.trimEnd().split("\n")).toHaveLength(RULES.length);
    const json = JSON.parse((await run(undefined, { list: true, json: true })).text);
    expect(json.map(({ id }: { id: string }) => id)).toEqual(RULES.map(({ id }) => id));
  });
});

it("takes the key of --send-key to the server", async () => {
  const file = join(scratch(), "key.asc");
  writeFileSync(file, `${ownUpdate(1).armor?.join("\n")}\n`);
  const port = await gateway(scratch());
  const options = { only: ["fetch.new", "fetch.unasked"], sendKey: file };
  const { code, text } = await run(`127.0.0.1:${port}`, options);
  expect([code, text]).toEqual([0, expect.stringContaining("2 rules, 2 passed")]);
});

it("speaks TLS, and knows the server by its pin or by a CA", async () => {
  const directory = scratch();
  const near = makeCertificate(directory, "near").replaceAll(":", "");
  const far = makeCertificate(directory, "far").replaceAll(":", "");
  const of = (name: string) => join(directory, `${name}.pem`);
  const config =
    `${CONFIG}tls = { cert = "${of("far")}", key = "${join(directory, "far.key")}" }\n` +
    `${PEER.replace("127.0.0.1:1", "kxs://127.0.0.1:1")}pin = "${near}"\n`;
  const where = `kxs://127.0.0.1:${await gateway(scratch(), config)}`;
  const ours = { tlsCert: of("near"), tlsKey: join(directory, "near.key"), only: ["list.one"] };
  expect(await run(where, { ...ours, pin: far })).toMatchObject({ code: 0, errors: "" });
  expect(await run(where, { ...ours, tlsCa: of("far") })).toMatchObject({ code: 0, errors: "" });
  const wrong = await run(where, { ...ours, pin: near });
  expect(wrong.code).toBe(69);
  expect(wrong.errors).toContain(`the peer's certificate is ${far}, not the pinned one`);
});

describe("it cannot be played", () => {
  it.each([
    ["without a server", undefined, {}, "name the server"],
    ["against no address", "nothing", {}, "has no address and port"],
    ["by a rule that does not exist", "127.0.0.1:1", { only: ["lists"] }, "no rule lists"],
    ["with TLS options and no TLS", "127.0.0.1:1", { pin: "00" }, "with kxs://HOST:PORT only"],
    ["with TLS and no certificate", "kxs://127.0.0.1:1", { pin: "00" }, "--tls-cert"],
    [
      ...(["with TLS and no proof of the server", "kxs://127.0.0.1:1"] as const),
      ...([{ tlsCert: "a", tlsKey: "b" }, "--pin or --tls-ca"] as const),
    ],
  ])("%s: 64", async (_, where, options, words) => {
    const { code, errors } = await run(where, options);
    expect([code, errors]).toEqual([64, expect.stringContaining(words)]);
  });

  it("with a key that is not there, or is none: 66, 65", async () => {
    const file = join(scratch(), "key.asc");
    expect(await run("127.0.0.1:1", { sendKey: file })).toMatchObject({ code: 66 });
    writeFileSync(file, "no key");
    const { code, errors } = await run("127.0.0.1:1", { sendKey: file });
    expect([code, errors]).toEqual([65, expect.stringContaining("contains no OpenPGP key")]);
  });

  it("against a port that nobody listens on: 69", async () => {
    const listener = new Listener(() => {});
    const port = await listener.start();
    await listener.stop();
    const { code, errors } = await run(`127.0.0.1:${port}`);
    expect([code, errors]).toEqual([69, expect.stringContaining("ECONNREFUSED")]);
  });

  it("against a server that does not know us, or is silent: 69", async () => {
    const port = await gateway(scratch(), CONFIG);
    const stranger = await run(`127.0.0.1:${port}`);
    expect([stranger.code, stranger.errors]).toEqual([
      ...[69, expect.stringMatching(/ended the connection\n.*address of this host as a peer/)],
    ]);
    const listener = new Listener(() => {});
    onTestFinished(async () => await listener.stop());
    const silent = await run(`127.0.0.1:${await listener.start()}`, { waitMs: 200 });
    expect([silent.code, silent.errors]).toEqual([
      ...[69, expect.stringContaining("HELO was due within 0.2 s")],
    ]);
  });

  it("against one that floods: the connection is ended, and the run goes on", async () => {
    const flood = Buffer.alloc(1 << 20, "x");
    const listener = new Listener((socket) => {
      socket.write("0001\r\nHELO\r\n1.0\r\n.\r\n");
      const timer = setInterval(() => socket.write(flood), 1);
      socket.on("close", () => clearInterval(timer));
    });
    onTestFinished(async () => await listener.stop());
    const options = { only: ["wire", "list.one"], waitMs: 2000 };
    const { code, text } = await run(`127.0.0.1:${await listener.start()}`, options);
    expect(code).toBe(76);
    expect(text).toContain("FAIL  wire.lines: a line has no end");
  });
});

it("has these options on the command line", () => {
  const command = programOf(captured()).commands.find((one) => one.name() === "conform");
  expect(command?.options.map(({ long }) => long)).toEqual([
    ...["--json", "--list", "--only", "--kx-version", "--wait", "--slow", "--source"],
    ...["--send-key", "--tls-cert", "--tls-key", "--tls-ca", "--pin"],
  ]);
});
