/**
 * STARTTLS at the mail door: what was said in plain is
 * forgotten, what fails leaves nothing behind, and a renewed certificate needs no restart.
 */
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { OwnCertificate } from "../../src/ingress/certificate.js";
import { mail } from "../mail/fixtures.js";
import { makeCertificate } from "../support/certificates.js";
import { scratchOfFile } from "../support/scratch.js";
import { SmtpClient } from "../support/smtp-client.js";
import { NEIGHBOUR, type OpenDoor, openDoor, SITE } from "./door.js";

const DIR = scratchOfFile();
for (const name of ["a", "b"]) makeCertificate(DIR, name);

/** A door with the certificate `a`, in files of its own. */
async function secureDoor(limits: Parameters<typeof openDoor>[0] = {}) {
  const directory = mkdtempSync(join(DIR, "door-"));
  const files = { cert: join(directory, "mx.pem"), key: join(directory, "mx.key") };
  install("a", files);
  const tls = `tls = { cert = "${files.cert}", key = "${files.key}" }`;
  return { ...(await openDoor(limits, undefined, undefined, tls)), files };
}

function install(name: string, { cert, key }: { cert: string; key: string }): void {
  for (const [from, to] of [[".pem", cert] as const, [".key", key] as const]) {
    copyFileSync(join(DIR, name + from), `${to}.new`);
    renameSync(`${to}.new`, to);
  }
}

/** The connection of a client behind its TLS handshake; rejects when that fails. */
function handshake(client: SmtpClient, options: ConnectionOptions = {}): Promise<TLSSocket> {
  client.socket.removeAllListeners("data");
  const socket = connect({ socket: client.socket, rejectUnauthorized: false, ...options });
  onTestFinished(() => void socket.destroy());
  return new Promise((resolve, reject) => {
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
  });
}

/** A client that has said STARTTLS, shaken hands and said EHLO. */
async function secured(door: OpenDoor, options: ConnectionOptions = {}) {
  const client = await door.client();
  expect(await client.say("STARTTLS")).toMatch(/^220 /);
  const socket = await handshake(client, options);
  const inside = SmtpClient.over(socket);
  const offer = await inside.say("EHLO site.example");
  return { inside, socket, offer };
}

describe("a session", () => {
  test("is offered it, and goes on inside as if it had just begun", async () => {
    const door = await secureDoor();
    const client = await SmtpClient.open(door.port);
    onTestFinished(() => void client.socket.destroy());
    await client.answer();
    expect(await client.say("EHLO site.example")).toMatch(/^250-STARTTLS$/m);
    const { inside, socket, offer } = await secured(door);
    expect(socket.getProtocol()).toBe("TLSv1.3");
    expect(offer).not.toContain("STARTTLS");
    const replies = await inside.transact(NEIGHBOUR, [SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toMatch(/^250 2\.0\.0 Stored/);
    expect(await inside.say("STARTTLS")).toMatch(/^503 /);
    await inside.quit();
  });

  test("takes TLS 1.2 and nothing older", async () => {
    const door = await secureDoor();
    const { socket } = await secured(door, { maxVersion: "TLSv1.2" });
    expect(socket.getProtocol()).toBe("TLSv1.2");
    // Security level 0, for OpenSSL itself would not speak TLS 1.1 any more.
    const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" } as const;
    await expect(secured(door, old)).rejects.toThrow(/protocol version|alert|closed|reset/i);
    await secured(door);
    // OpenSSL may be configured so that it refuses by itself, and we are to ask for it anyway.
    const { material } = new OwnCertificate(door, door.files);
    expect(material.minVersion).toBe("TLSv1.2");
  });

  test("may stay in plain: keyservers of the old network do", async () => {
    const door = await secureDoor();
    const client = await door.client();
    const replies = await client.transact(NEIGHBOUR, [SITE], mail("pksd-delta"));
    expect(replies.at(-1)).toMatch(/^250 /);
  });

  test("is not offered it without a certificate", async () => {
    const door = await openDoor();
    const client = await door.client();
    expect(client.heard).not.toContain("STARTTLS");
    expect(await client.say("STARTTLS")).toMatch(/^50[02] /);
  });

  test("gets an error for parameters", async () => {
    const door = await secureDoor();
    const client = await door.client();
    expect(await client.say("STARTTLS now")).toMatch(/^501 /);
    expect(await client.say("NOOP")).toMatch(/^250 /);
  });
});

describe("what is said in plain behind STARTTLS", () => {
  const envelope = `MAIL FROM:<${NEIGHBOUR}>\r\nRCPT TO:<${SITE}>\r\n`;
  const message = `DATA\r\n${Buffer.from(mail("pksd-delta")).toString("latin1")}\r\n.\r\n`;

  test.each([
    ["a command", "NOOP\r\n"],
    ["an envelope", envelope],
    ["an envelope and half a command", `${envelope}DA`],
    ["a whole message", envelope + message],
    ["hundreds of commands", "NOOP\r\n".repeat(500) + envelope],
  ])("is thrown away: %s", async (_, injected) => {
    const door = await secureDoor();
    const client = await door.client();
    client.write(`STARTTLS\r\n${injected}`);
    expect(await client.answer()).toMatch(/^220 /);
    const inside = SmtpClient.over(await handshake(client));
    // Whatever ran would have been answered before this.
    expect(await inside.say("RCPT TO:<nobody@nowhere.example>")).toMatch(/^503 /);
    expect(await inside.say("EHLO site.example")).toMatch(/^250-kx\.example\.org/);
    expect(await inside.say(`RCPT TO:<${SITE}>`)).toMatch(/^503 .*MAIL/);
    expect(inside.heard.match(/^\d{3} /gm)).toHaveLength(3);
    expect(door.log.counts().entries).toBe(0);
  });

  test("and before it: the envelope is forgotten", async () => {
    const door = await secureDoor();
    const client = await door.client();
    await client.say(`MAIL FROM:<${NEIGHBOUR}>`);
    await client.say(`RCPT TO:<${SITE}>`);
    expect(await client.say("STARTTLS")).toMatch(/^220 /);
    const inside = SmtpClient.over(await handshake(client));
    await inside.say("EHLO site.example");
    expect(await inside.say("DATA")).toMatch(/^503 /);
  });
});

describe("a handshake that fails", () => {
  test.each([
    ["is no TLS", (client: SmtpClient) => client.write("NOOP\r\n".repeat(10))],
    ["is cut off", (client: SmtpClient) => client.socket.write(Buffer.from("160301", "hex"))],
    ["is reset", (client: SmtpClient) => client.socket.resetAndDestroy()],
    ["is ended", (client: SmtpClient) => client.socket.end()],
  ])("because it %s ends the session and nothing else", async (_, fail) => {
    const door = await secureDoor({ commandMs: 400, perNeighbour: 1 });
    const client = await door.client();
    expect(await client.say("STARTTLS")).toMatch(/^220 /);
    fail(client);
    await client.closed;
    // Its slot, the only one, is free again.
    let inside: SmtpClient | undefined;
    for (let i = 0; i < 100 && inside === undefined; i += 1) {
      const next = await SmtpClient.open(door.port);
      onTestFinished(() => void next.socket.destroy());
      if ((await next.answer()).startsWith("220 ")) inside = next;
      else await next.closed;
    }
    expect(await inside?.say("EHLO site.example")).toMatch(/^250-/);
    expect(door.log.counts().entries).toBe(0);
  });
});

describe("the certificate", () => {
  const shown = ({ socket }: { socket: TLSSocket }) => socket.getPeerCertificate().subject.CN;

  test("is verified by who has its CA", async () => {
    const door = await secureDoor();
    const ca = readFileSync(join(DIR, "a.pem"));
    const { socket } = await secured(door, { ca, rejectUnauthorized: true, host: "localhost" });
    expect(socket.authorized).toBe(true);
  });

  test("is another one when the files are, for the next connection", async () => {
    const { files, ...door } = await secureDoor();
    const first = await secured(door);
    expect(shown(first)).toBe("a");
    install("b", files);
    expect(shown(await secured(door))).toBe("b");
    expect(door.diagnostics.all("certificate-renewed")).toHaveLength(1);
    expect(await first.inside.say("NOOP")).toMatch(/^250 /);
  });

  test("stays when the new files cannot be used, and the operator hears it once", async () => {
    const { files, ...door } = await secureDoor();
    copyFileSync(join(DIR, "b.key"), files.key);
    expect(shown(await secured(door))).toBe("a");
    expect(shown(await secured(door))).toBe("a");
    expect(door.diagnostics.all("certificate-refused")).toHaveLength(1);
    writeFileSync(files.cert, "");
    expect(shown(await secured(door))).toBe("a");
    rmSync(files.cert);
    expect(shown(await secured(door))).toBe("a");
    install("b", files);
    expect(shown(await secured(door))).toBe("b");
  });
});
