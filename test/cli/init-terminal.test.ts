/**
 * `kxgw init` on a real terminal: it asks again with the reason, ends quietly without a file, and
 * checks each answer against real sockets and files.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { askKeyserver, fileFault, listenerFault, relayFault } from "../../src/cli/init-checks.js";
import { loadConfig } from "../../src/config/load.js";
import { freePort, listening } from "../support/ports.js";
import { scratch } from "../support/scratch.js";
import { onTerminal } from "./terminal.js";

const SITE = "pgp-public-keys@ks.example.org";
/** Control-U: the answer at fault is there to be edited. */
const AGAIN = "\x15";
const FREE = ["--smtp", "127.0.0.1:0", "--kx", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/** An HKP server that names itself. */
async function hkp(server: string): Promise<number> {
  const keyserver = createServer((_, response) => {
    response.setHeader("Server", server).end("<html>statistics</html>");
  });
  onTestFinished(() => {
    keyserver.closeAllConnections();
    keyserver.close();
  });
  return await listening(keyserver);
}

/** A mail server that greets. */
async function relay(): Promise<number> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => {});
    socket.write("220 mx.test ESMTP\r\n");
    socket.on("data", () => socket.write("250 mx.test\r\n"));
  });
  onTestFinished(() => void server.close());
  return await listening(server);
}

describe("kxgw init on a terminal", () => {
  it("asks again with the reason, and writes what was answered", { timeout: 60_000 }, async () => {
    const directory = scratch();
    mkdirSync(join(directory, "there"));
    const port = await relay();
    const { code, raw, left } = await onTerminal(["init", "--local", "none", ...FREE], directory, [
      [/Mail address of the gateway/, "nobody\r"],
      [/"nobody" is not a mail address: write user@host/, `${AGAIN}${SITE}\r`],
      [/Mail address of the operator/, "\r"],
      [/Update log/, "there\r"],
      [/there is a directory/, `${AGAIN}\r`],
      [/Mail server for outgoing mail/, "smtp://127.0.0.1:1\r"],
      [/ECONNREFUSED/, `${AGAIN}smtp://127.0.0.1:${port}\r`],
      [/Keyserver by mail/, "old\r"],
      [/"old" is not a site/, `${AGAIN}old=pgp@pks.example.net,192.0.2.7\r`],
      [/Keyserver by mail/, "old=pgp@two.example.net\r"],
      [/peer "old" exists already/, `${AGAIN}\r`],
      [/KX peer/, "new=kx.example.net\r"],
      [/write NAME=HOST:PORT/, `${AGAIN}new=kx.example.net:11373\r`],
      [/KX peer/, "\r"],
    ]);
    expect(left).toEqual([]);
    expect([code, stripVTControlCharacters(raw)]).toEqual([
      0,
      expect.stringContaining("kxgw.toml: written"),
    ]);
    const config = loadConfig(join(directory, "kxgw.toml"), {});
    expect(config.site).toEqual({ address: SITE, contact: SITE });
    expect(config.outbound?.relay).toBe(`smtp://127.0.0.1:${port}`);
    expect(config.neighbours.map(({ name }) => name)).toEqual(["old", "new"]);
  });

  it.each([
    ["Control-C", "\x03"],
    ["Control-D", "\x04"],
    ["Escape", "\x1b"],
  ])("%s ends it quietly with 130 and writes nothing", async (_, key) => {
    const directory = scratch();
    const log = join(directory, "made/by/nobody/updates.db");
    const { code, raw, left } = await onTerminal(
      ["init", "--local", "none", "--log", log, ...FREE],
      directory,
      [
        [/Mail address of the gateway/, `${SITE}\r`],
        [/Mail address of the operator/, key],
      ],
    );
    expect([code, left]).toEqual([130, []]);
    expect(readdirSync(directory)).toEqual([]);
    expect(stripVTControlCharacters(raw)).not.toMatch(/kxgw: |Error|at async|written/);
  });

  it("beside a keyserver that runs it names the software and proposes to observe", async () => {
    const directory = scratch();
    const port = await hkp("sks_www/1.1.6");
    const local = ["--local", `hkp:http://127.0.0.1:${port}`, "--relay", "none"];
    const rest = ["--site", SITE, "--contact", SITE, "--log", "updates.db", ...FREE];
    const { code, raw, left } = await onTerminal(["init", ...local, ...rest], directory, [
      [/A keyserver runs here[\s\S]*bridge/, "\r"],
      [/Keyserver by mail/, "\r"],
      [/KX peer/, "\r"],
    ]);
    expect([code, left]).toEqual([0, []]);
    expect(stripVTControlCharacters(raw)).toContain("The keyserver answers as sks_www/1.1.6.");
    const config = loadConfig(join(directory, "kxgw.toml"), {});
    expect([config.mode, config.local?.kind]).toEqual(["observe", "sks"]);
  });

  it("asks for a flag that is wrong, and never proposes a sample", async () => {
    const directory = scratch();
    cpSync("test/fixtures/configs/debian-onak/onak.ini", join(directory, "onak.ini"));
    const taken = await relay();
    const smtp = ["--smtp", `127.0.0.1:${taken}`, ...FREE.slice(2)];
    const { code, raw, left } = await onTerminal(
      ["init", "--local", "onak:onak.ini", "--observe", "--relay", "none", ...smtp],
      directory,
      [
        [/Mail address of the gateway/, `${SITE}\r`],
        [/Mail address of the operator/, "\r"],
        [/Update log/, "\r"],
        [/Address for incoming mail/, "127.0.0.1:0\r"],
        [/Keyserver by mail/, "\r"],
        [/KX peer/, "\r"],
      ],
    );
    expect([code, left]).toEqual([0, []]);
    const screen = stripVTControlCharacters(raw).replace(/[\s│]+/g, " ");
    expect(screen).toContain('"pgp-public-keys@the.earth.li" is the sample of the distribution');
    expect(screen).toContain(`cannot listen on 127.0.0.1:${taken}`);
    expect(readFileSync(join(directory, "kxgw.toml"), "utf8")).not.toContain("earth.li");
  });
});

describe("the checks of kxgw init", () => {
  it("a listener is free, on an address of this host, and used once", async () => {
    const port = await freePort();
    const free = `127.0.0.1:${port}`;
    expect(await listenerFault(free, [])).toBeUndefined();
    expect(await listenerFault(free, [free])).toContain("is another listener of the gateway");
    const taken = await relay();
    expect(await listenerFault(`127.0.0.1:${taken}`, [])).toContain("Another program uses this");
    expect(await listenerFault("192.0.2.1:25", [])).toContain("does not have this address");
    expect(await listenerFault("25", [])).toContain('"25"');
  });

  it("a relay greets", async () => {
    expect(await relayFault(`smtp://127.0.0.1:${await relay()}`)).toBeUndefined();
    expect(await relayFault("smtp://127.0.0.1:1")).toContain("ECONNREFUSED");
    expect(await relayFault("http://127.0.0.1")).toContain("is not an smtp:// or smtps:// URL");
    const silent = await relayFault("smtp://user:hunter2@127.0.0.1:1");
    expect(silent).not.toContain("hunter2");
  });

  it.each([
    ["sks_www/1.1.6", "sks"],
    ["pks_www/0.9.6", "pksd"],
    ["Hockeypuck/2.3", "hockeypuck"],
    ["nginx", undefined],
  ])("a keyserver that is %s", async (server, kind) => {
    const answer = await askKeyserver(`http://127.0.0.1:${await hkp(server)}`);
    expect(answer).toEqual({ kind, name: server });
  });

  it("a keyserver that is not there, or no URL", async () => {
    expect(await askKeyserver(`http://127.0.0.1:${await freePort()}`)).toEqual({
      fault: expect.stringMatching(/answers no HKP: .*ECONNREFUSED/),
    });
    expect(await askKeyserver("nowhere")).toEqual({ fault: expect.stringContaining("HTTP URL") });
  });

  it("a file can be made, in a directory that is there or can be made", async () => {
    const directory = scratch();
    writeFileSync(join(directory, "file"), "");
    expect(await fileFault(join(directory, "a/b/c.db"))).toBeUndefined();
    expect(existsSync(join(directory, "a"))).toBe(false);
    expect(await fileFault(directory)).toContain("is a directory");
    expect(await fileFault(join(directory, "file/x.db"))).toContain("is not a directory");
    expect(await fileFault(" ")).toContain("write the name");
  });
});
