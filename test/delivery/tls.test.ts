/**
 * The way to the relay over TLS: used when it is offered, verified when it is asked for, and no
 * mail leaves without it then. The relay is smtp-server.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { type Security, SmtpRelay, TRANSPORT_LIMITS } from "../../src/delivery/relay.js";
import { fixture } from "../mail/fixtures.js";
import { makeCertificate } from "../support/certificates.js";
import { Relay } from "./relay.js";

const DIR = mkdtempSync(join(tmpdir(), "kxgw-relay-tls-"));
afterAll(() => rmSync(DIR, { recursive: true, force: true }));
for (const name of ["ours", "other"]) makeCertificate(DIR, name);
const pem = (name: string) => readFileSync(join(DIR, name), "utf8");

const RAW = fixture("composed-incremental.eml");
const FROM = "pgp-bounces@kx.example.org";
const TO = "pgp-public-keys@pks.example.net";
const REQUIRED: Security = { required: true, ca: [pem("ours.pem")] };

/** A relay with the certificate `ours`; what each mail came over, in order. */
async function tlsRelay(options: SMTPServerOptions = {}, host = "127.0.0.1") {
  const lines: (string | false)[] = [];
  const server = new SMTPServer({
    key: pem("ours.key"),
    cert: pem("ours.pem"),
    authOptional: true,
    logger: false,
    disableReverseLookup: true,
    closeTimeout: 500,
    ...options,
    onData: (stream, session, done) => {
      lines.push(session.secure ? "tls" : "plain");
      stream.resume().on("end", () => done());
    },
  });
  server.on("error", () => {
    // A client that does not like the certificate leaves.
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { lines, port: (server.server.address() as AddressInfo).port };
}

function deliver(url: string, security?: Security) {
  const transport = new SmtpRelay(url, "kx.example.org", TRANSPORT_LIMITS, security);
  onTestFinished(() => transport.close());
  return transport.deliver(RAW, FROM, TO);
}

describe("when it is not asked for", () => {
  test("it is used all the same, whoever signed the certificate", async () => {
    const { lines, port } = await tlsRelay();
    expect(await deliver(`smtp://127.0.0.1:${port}`)).toMatchObject({ kind: "delivered" });
    expect(lines).toEqual(["tls"]);
  });

  test("a relay without it gets the mail in plain", async () => {
    const relay = await Relay.start();
    expect(await deliver(relay.url)).toMatchObject({ kind: "delivered" });
  });
});

describe("require_tls", () => {
  test.each(["localhost", "127.0.0.1"])("a certificate of a known CA for %s", async (host) => {
    const { lines, port } = await tlsRelay();
    const outcome = await deliver(`smtp://${host}:${port}`, REQUIRED);
    expect(outcome).toMatchObject({ kind: "delivered" });
    expect(lines).toEqual(["tls"]);
  });

  test("not over a relay that does not offer it", async () => {
    const relay = await Relay.start();
    expect(await deliver(relay.url, REQUIRED)).toMatchObject({ kind: "temporary" });
    expect(relay.seen).toEqual([]);
    expect(relay.commands.some((line) => /^(MAIL|DATA)/i.test(line))).toBe(false);
  });

  test.each<[string, Security, string]>([
    ["a certificate that nobody signed", { required: true, ca: undefined }, "127.0.0.1"],
    ["of another CA", { required: true, ca: [pem("other.pem")] }, "127.0.0.1"],
    ["for another host", REQUIRED, "127.0.0.2"],
  ])("not with %s", async (_, security, host) => {
    // On Linux all of 127.0.0.0/8 is this host.
    const { lines, port } = await tlsRelay({}, host);
    const outcome = await deliver(`smtp://${host}:${port}`, security);
    expect(outcome).toMatchObject({
      kind: "temporary",
      words: expect.stringMatching(/cert|altname/i),
    });
    expect(lines).toEqual([]);
  });

  test("not with TLS 1.1", async () => {
    const { lines, port } = await tlsRelay({
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "ALL@SECLEVEL=0",
    });
    expect(await deliver(`smtp://localhost:${port}`, REQUIRED)).toMatchObject({
      kind: "temporary",
    });
    expect(lines).toEqual([]);
  });
});

test("smtps:// is verified without being asked", async () => {
  const { lines, port } = await tlsRelay({ secure: true });
  const url = `smtps://localhost:${port}`;
  expect(await deliver(url)).toMatchObject({ kind: "temporary" });
  const trusting = { required: false, ca: [pem("ours.pem")] };
  expect(await deliver(url, trusting)).toMatchObject({ kind: "delivered" });
  expect(lines).toEqual(["tls"]);
});
