/**
 * `kxgw doctor`, `check --online` and `peers test`: each thing that commonly goes wrong is set up
 * for real, with real sockets, and has to be named with what to do about it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { createTransport } from "nodemailer";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Diagnosis } from "../../src/cli/doctor.js";
import { doctorCommand } from "../../src/cli/doctor.js";
import { onlineCommand } from "../../src/cli/online.js";
import { peersCommand } from "../../src/cli/peers.js";
import { armoredKeys, HEAD, FEEDER as MAILED, startGateway } from "../admin/gateway.js";
import { modelServer } from "../recon/followed.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { captured } from "./captured.js";

const [KEY = ""] = armoredKeys();
/** A neighbour that only sends to us: without a relay one with `mail` is a fault. */
const FEEDER = MAILED.replace(/^mail = .*\n/m, "");

async function doctor(file: string, online = false) {
  const out = captured();
  const code = await doctorCommand(file, { json: true, online }, out, {});
  return { code, found: JSON.parse(out.text) as Diagnosis[] };
}

function place(config: string) {
  const directory = scratch();
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, config);
  return { directory, file };
}

/** A server that does `talk` with each client; resolves with its port. */
async function server(talk: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const listening = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    talk(socket);
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    listening.close();
  });
  return (listening.address() as AddressInfo).port;
}

/** A mail server that greets, and answers DATA with `reply`. */
async function relay(reply: string, hello = "250-relay.test\r\n250 STARTTLS\r\n"): Promise<number> {
  return await server((socket) => {
    socket.write("220 relay.test ESMTP\r\n");
    let inData = false;
    socket.on("data", (bytes) => {
      for (const line of bytes.toString().split("\r\n")) {
        if (inData) {
          if (line === ".") {
            inData = false;
            socket.write(`${reply}\r\n`);
          }
        } else if (/^EHLO/.test(line)) socket.write(hello);
        else if (/^DATA/.test(line)) {
          inData = true;
          socket.write("354 go on\r\n");
        } else if (/^(MAIL|RCPT|RSET)/.test(line)) socket.write("250 ok\r\n");
        else if (/^QUIT/.test(line)) socket.end("221 bye\r\n");
      }
    });
  });
}

const site = (name: string) => `[[peer]]\nname = "${name}"\nmail = "pgp@${name}.example.net"\n`;

describe("kxgw doctor", () => {
  it("names a local keyserver that takes nothing, and not a KX connection", async () => {
    const local = '[local]\ntype = "pksd"\ndirectory = "spool"\nnotify = ["false"]\n';
    const { directory, file } = place(HEAD + FEEDER + local);
    mkdirSync(join(directory, "spool"));
    const running = await startGateway(HEAD + FEEDER + local, { directory });
    await running.mail(KEY);
    await until(() => running.reports.some(({ event }) => event === "retry"));
    const { code, found } = await doctor(file);
    expect(code).toBe(69);
    expect(found).toEqual([
      {
        kind: "broken",
        problem: "The local keyserver takes no updates, 1 update waits: false exited with 1.",
        remedy:
          "Start the keyserver, and check [local] of the config. " +
          "The gateway retries by local.retry.",
      },
    ]);
  });

  it("finds nothing wrong where nothing is", async () => {
    const { directory, file } = place(HEAD + FEEDER);
    await startGateway(HEAD + FEEDER, { directory });
    expect(await doctor(file)).toEqual({ code: 0, found: [] });
    const out = captured();
    await doctorCommand(file, { json: false, online: false }, out, {});
    expect(out.text).toBe("No problems found.\n");
  });

  it("names a neighbour that is mailed without a relay, running or stopped", async () => {
    const { directory, file } = place(HEAD + MAILED);
    const problem = `${file}:10:1: peer[0].mail: needs a relay, to which its updates are handed`;
    const named = expect.objectContaining({
      kind: "broken",
      problem: expect.stringContaining(problem),
      remedy: "Change the file as this line says, then reload the gateway.",
    });
    const stopped = await doctor(file);
    expect([stopped.code, stopped.found]).toEqual([69, expect.arrayContaining([named])]);
    const { reports } = await startGateway(HEAD + MAILED, { directory });
    expect(reports.map(({ event }) => event)).toContain("idle-neighbour");
    const { code, found } = await doctor(file);
    expect([code, found[0]]).toEqual([69, named]);
  });

  it("names the faults of the config first", async () => {
    const { file } = place("[site]\naddress = 1\n");
    const { code, found } = await doctor(file);
    expect(code).toBe(78);
    expect(found[0]?.problem).toMatch(/kxgw\.toml:2:1: site\.address: is not a text/);
    expect(found[0]?.remedy).toContain("kxgw init");
  });

  it("says that it is not running, or why it cannot", async () => {
    const { directory, file } = place(HEAD);
    const fresh = await doctor(file);
    expect(fresh).toMatchObject({ code: 69, found: [{ problem: "The gateway is not running." }] });
    writeFileSync(join(directory, "updates.db"), "this is no database, but a text of some length");
    const { found } = await doctor(file);
    expect(found[0]?.problem).toMatch(/is not a database/);
    expect(found[0]?.remedy).toContain("log.path");
  });

  it("tells a dead relay from a site that refuses", async () => {
    const outbound = '[outbound]\nrelay = "smtp://127.0.0.1:1"\n';
    const config = HEAD + outbound + MAILED + site("one") + site("two");
    const { directory, file } = place(config);
    const running = await startGateway(config, { directory });
    await running.mail(KEY);
    await until(() => running.reports.filter(({ event }) => event === "retry").length >= 2);
    const { code, found } = await doctor(file);
    expect(code).toBe(69);
    expect(found[0]?.problem).toContain("accepts no mail, 1 update waits: connect ECONNREFUSED");
    expect(found[0]?.remedy).toContain("mail server of outbound.relay");

    const port = await relay("451 4.3.0 busy", "250 relay.test\r\n");
    const busy = config.replace("127.0.0.1:1", `127.0.0.1:${port}`);
    const other = place(busy);
    const second = await startGateway(busy, { directory: other.directory });
    await second.mail(KEY);
    await until(() => second.reports.some(({ event }) => event === "retry"));
    const asked = await doctor(other.file);
    expect(asked.found[0]?.problem).toContain("451 4.3.0 busy");
    expect(asked.found[0]?.remedy).toContain("refuses temporarily");
  });

  it("sees mail from a stranger, and a KX peer that is not there", async () => {
    const kx =
      '[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "far"\nkx = "127.0.0.1:1"\ndial = true\n';
    const config = HEAD + FEEDER.replace('"127.0.0.1"', '"192.0.2.1"') + kx;
    const { directory, file } = place(config);
    const running = await startGateway(config, { directory });
    const port = running.gateway.listening.smtp[0]?.port ?? 0;
    const stranger = createTransport({ host: "127.0.0.1", port });
    const mail = { from: "x@stranger.test", to: "pgp-public-keys@kx.example.org", text: "hello" };
    await expect(stranger.sendMail(mail)).rejects.toThrow(/550/);
    stranger.close();
    await until(() => running.reports.some(({ event }) => event === "peer-unreachable"));
    const { code, found } = await doctor(file);
    expect(code).toBe(69);
    expect(found.map(({ kind }) => kind)).toEqual(["broken", "odd"]);
    expect(found[0]?.problem).toContain("far is not connected by KX: connect ECONNREFUSED");
    expect(found[0]?.remedy).toContain("kxgw peers test far");
    expect(found[1]?.problem).toContain("from addresses in no accept_from refused");
    const online = await doctor(file, true);
    expect(online.found.map(({ problem }) => problem)).toContainEqual(
      expect.stringContaining("far by KX at 127.0.0.1:1: connect ECONNREFUSED"),
    );
  });
});

describe("kxgw doctor, with a server that is followed", () => {
  async function following() {
    const server = await modelServer();
    const recon =
      `[[recon]]\nserver = "127.0.0.1:${server.reconPort}"\n` +
      `hkp = "http://127.0.0.1:${server.httpPort}"\npoll = "1s"\n`;
    const config = HEAD + FEEDER + recon;
    const { directory, file } = place(config);
    const name = `127.0.0.1:${server.reconPort}`;
    const start = async () => (await startGateway(config, { directory })).reports;
    return { server, name, file, start };
  }

  it("says nothing of a server that lets itself be followed", async () => {
    const { file, start } = await following();
    const reports = await start();
    await until(() => reports.some(({ event }) => event === "recon-crawled"));
    expect(await doctor(file)).toEqual({ code: 0, found: [] });
    const online = await doctor(file, true);
    expect(online.found.filter(({ problem }) => problem.includes("recon"))).toEqual([]);
  });

  it("names a server that refuses, with its words and what to do", async () => {
    const { server, name, file, start } = await following();
    server.lies = { refusal: "not in membership file" };
    const reports = await start();
    await until(() => reports.some(({ event }) => event === "recon-refused"));
    const problem = `${name} is not followed by recon: not in membership file.`;
    const found = [{ kind: "broken", problem, remedy: expect.stringContaining("membership file") }];
    expect(await doctor(file)).toEqual({ code: 69, found });
    const online = await doctor(file, true);
    expect(online.found.filter((one) => one.problem.includes(name))).toEqual([
      ...found,
      expect.objectContaining({ kind: "odd", problem: expect.stringContaining("refuses: not in") }),
    ]);
  });

  it("names a server whose keys cannot be fetched", async () => {
    const { server, name, file, start } = await following();
    const reports = await start();
    await until(() => reports.some(({ event }) => event === "recon-crawled"));
    server.answering = (_, response) => void response.writeHead(500).end();
    for (const md5 of ["0".repeat(32), "1".repeat(32)]) server.tree.add(md5);
    await until(() => reports.some(({ event }) => event === "recon-down"));
    const hkp = `http://127.0.0.1:${server.httpPort}`;
    expect(await doctor(file)).toEqual({
      code: 69,
      found: [
        {
          kind: "broken",
          problem: expect.stringMatching(`^${name} is not followed by recon: hashquery: .*500`),
          remedy: `Check that ${hkp} is the HKP address of the same server.`,
        },
      ],
    });
  });
});

describe("the probes", () => {
  const peer = (port: number) =>
    `[site]\naddress = "a@kx.invalid"\n[log]\n[kx]\nlisten = []\n[[peer]]\nname = "far"\n` +
    `kx = "127.0.0.1:${port}"\ndial = true\n`;

  async function testPeer(port: number) {
    const { file } = place(peer(port));
    const out = captured();
    const code = await peersCommand("test", "far", { file, json: false }, out, {});
    return { code, text: out.text };
  }

  it("know a KX peer, one that does not know us, and something else", async () => {
    const kx = '[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "us"\nkx = "127.0.0.1:1"\n';
    const config = HEAD + kx;
    const running = await startGateway(config);
    const port = running.gateway.listening.kx[0]?.port ?? 0;
    expect(await testPeer(port)).toEqual({
      code: 0,
      text: expect.stringMatching(/^ok {4}far by KX at .*: speaks KX\/1\.0\n$/),
    });
    const silent = await testPeer(await server((socket) => socket.end()));
    expect(silent.code).toBe(69);
    expect(silent.text).toMatch(/closes it without HELO\n {6}It does not know this host/);
    const http = await testPeer(await server((socket) => socket.end("HTTP/1.1 400 Bad\r\n\r\n")));
    expect(http.text).toContain("which is not KX");
  });

  it("know a relay, with and without TLS, dead, and no mail server", async () => {
    const check = async (port: number) => {
      const { file } = place(
        '[site]\naddress = "a@kx.invalid"\n[log]\n[outbound]\n' +
          `relay = "smtp://u:hunter2@127.0.0.1:${port}"\n`,
      );
      const out = captured();
      const code = await onlineCommand(file, out, {});
      expect(out.text).not.toContain("hunter2");
      return { code, text: out.text };
    };
    const tls = await check(await relay("250 ok"));
    expect(tls).toMatchObject({ code: 0, text: expect.stringContaining("offers STARTTLS") });
    const plain = await check(await relay("250 ok", "250 relay.test\r\n"));
    expect(plain.text).toContain('greets as "relay.test ESMTP", without TLS');
    const dead = await check(1);
    expect(dead).toMatchObject({
      code: 69,
      text: expect.stringContaining("Start the mail server"),
    });
    const busy = await check(await server((socket) => socket.end("554 go away\r\n")));
    expect(busy.text).toContain("FAIL  relay 127.0.0.1:");
    expect(busy.text).toContain("554 go away");
  });

  it("know a relay behind TLS by its certificate", async () => {
    const directory = scratch();
    const file = (name: string) => join(directory, name);
    execFileSync("openssl", [
      ...["req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...["-nodes", "-subj", "/CN=relay", "-addext", "subjectAltName=DNS:localhost"],
      ...["-keyout", file("relay.key"), "-out", file("relay.pem")],
    ]);
    const [key, cert] = [readFileSync(file("relay.key")), readFileSync(file("relay.pem"))];
    const listening = createTlsServer({ key, cert }, (socket) => {
      socket.on("error", () => {});
      socket.write("220 relay.test ESMTP\r\n");
      socket.on("data", () => socket.write("250 relay.test\r\n"));
    });
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void listening.close());
    const { port } = listening.address() as AddressInfo;
    const check = async (host: string, ca = "") => {
      writeFileSync(
        file("kxgw.toml"),
        '[site]\naddress = "a@kx.invalid"\n[log]\n[outbound]\n' +
          `relay = "smtps://${host}:${port}"\n${ca}`,
      );
      const out = captured();
      const code = await onlineCommand(file("kxgw.toml"), out, {});
      return { code, text: out.text };
    };
    const ca = `ca = "${file("relay.pem")}"\n`;
    expect(await check("localhost", ca)).toEqual({
      code: 0,
      text: expect.stringContaining('"relay.test ESMTP", over TLS with a valid certificate'),
    });
    for (const { code, text } of [await check("localhost"), await check("127.0.0.1", ca)]) {
      expect(code).toBe(69);
      expect(text).toContain("Set outbound.ca to its CA, or use the host name of its certificate");
    }
  });
});
