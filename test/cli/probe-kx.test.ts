/**
 * `kxgw peers test`, `check --online` and `doctor --online` against a second gateway that runs:
 * what they say is proven, and in the other gateway's log stands a connection that ended well.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { doctorCommand } from "../../src/cli/doctor.js";
import { onlineCommand } from "../../src/cli/online.js";
import { peersCommand } from "../../src/cli/peers.js";
import { armoredKeys, FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";
import { captured } from "./captured.js";

const [KEY = ""] = armoredKeys();

/** NAME.key and NAME.pem for localhost in `directory`; returns the pin. */
function certificate(directory: string, name: string): string {
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
  openssl(
    ...["req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost"],
    ...["-keyout", `${name}.key`, "-out", `${name}.pem`],
  );
  const text = openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", `${name}.pem`);
  return text.toString().trim().split("=")[1]?.replaceAll(":", "") ?? "";
}

const ours = (directory: string, name: string) =>
  `tls = { cert = "${directory}/${name}.pem", key = "${directory}/${name}.key" }\n`;

/** A running gateway with one update, whose only KX peer is at 127.0.0.1, as `peer` says. */
async function other(tls: string, peer: string) {
  const kx = `[kx]\nlisten = ["127.0.0.1:0"]\n${tls}[[peer]]\nname = "us"\n${peer}`;
  const running = await startGateway(HEAD + FEEDER + kx);
  await running.mail(KEY);
  const before = running.reports.length;
  return {
    running,
    port: running.gateway.listening.kx[0]?.port ?? 0,
    /** Events of KX since the start, with what they complain of. */
    kx: () =>
      running.reports
        .slice(before)
        .filter(({ event }) => event.startsWith("peer-") || event === "path-changed")
        .map(({ event, fields }) => [event, fields.reason ?? fields.problem]),
  };
}

/** The three commands on a configuration with the peer "far". */
function commands(directory: string, tls: string, peer: string) {
  const file = join(directory, "kxgw.toml");
  writeFileSync(
    file,
    `[site]\naddress = "a@kx.invalid"\n[log]\n[kx]\nlisten = ["127.0.0.1:0"]\n${tls}` +
      `[[peer]]\nname = "far"\ndial = true\n${peer}`,
  );
  const run = async (command: (out: ReturnType<typeof captured>) => Promise<number>) => {
    const out = captured();
    const code = await command(out);
    return { code, text: out.text };
  };
  return {
    test: () => run((out) => peersCommand("test", "far", { file, json: false }, out, {})),
    check: () => run((out) => onlineCommand(file, out, {})),
    doctor: () => run((out) => doctorCommand(file, { json: false, online: true }, out, {})),
  };
}

const ENDED_WELL = [["peer-disconnected", "closed"]];

describe("plain KX", () => {
  it.each(["test", "check", "doctor"] as const)("%s leaves no complaint", async (name) => {
    const far = await other("", 'kx = "127.0.0.1:1"\n');
    const ask = commands(scratch(), "", `kx = "127.0.0.1:${far.port}"\n`);
    const { code, text } = await ask[name]();
    if (name === "doctor") expect(text).not.toContain("far by KX");
    else expect(text).toBe(`ok    far by KX at 127.0.0.1:${far.port}: speaks KX/1.0\n`);
    expect(code).toBe(name === "doctor" ? 69 : 0);
    await until(() => far.kx().length > 0);
    expect(far.kx()).toEqual(ENDED_WELL);
  });

  it("does not touch a session that is up, nor the cursors", async () => {
    const far = await other("", 'kx = "127.0.0.1:1"\n');
    const directory = scratch();
    const peer = `kx = "127.0.0.1:${far.port}"\n`;
    const near = await startGateway(
      `${HEAD}[kx]\nlisten = ["127.0.0.1:0"]\n[[peer]]\nname = "far"\ndial = true\n${peer}`,
    );
    await until(() => near.reports.some(({ event }) => event === "accepted"));
    expect((await commands(directory, "", peer).test()).code).toBe(0);
    await until(() => far.kx().some(([event]) => event === "peer-disconnected"));
    expect(far.kx()).toEqual([["peer-connected", undefined], ...ENDED_WELL]);
    await far.running.mail(armoredKeys()[1] ?? "");
    await until(() => near.reports.filter(({ event }) => event === "accepted").length === 2);
    expect(near.reports.filter(({ event }) => event === "peer-reset")).toEqual([]);
  });

  it("says that the other side wants TLS", async () => {
    const directory = scratch();
    const pin = certificate(directory, "far");
    const far = await other(ours(directory, "far"), `kx = "kxs://127.0.0.1:1"\npin = "${pin}"\n`);
    const { code, text } = await commands(directory, "", `kx = "127.0.0.1:${far.port}"\n`).test();
    expect(code).toBe(69);
    expect(text).toMatch(/closes it without HELO\n {6}It does not know .* or requires kxs:/);
  });
});

describe("kxs://", () => {
  it.each(["test", "check", "doctor"] as const)("%s proves the certificate", async (name) => {
    const directory = scratch();
    const [pinFar, pinNear] = [certificate(directory, "far"), certificate(directory, "near")];
    const peer = `kx = "kxs://127.0.0.1:1"\npin = "${pinNear}"\n`;
    const far = await other(ours(directory, "far"), peer);
    const at = `kx = "kxs://localhost:${far.port}"\n`;
    const ask = commands(directory, ours(directory, "near"), `${at}pin = "${pinFar}"\n`);
    const { text } = await ask[name]();
    if (name === "doctor") expect(text).not.toContain("far by KX");
    else {
      expect(text).toBe(
        `ok    far by KX at kxs://localhost:${far.port}: ` +
          "presents the pinned certificate and speaks KX/1.0\n",
      );
    }
    await until(() => far.kx().length > 0);
    expect(far.kx()).toEqual(ENDED_WELL);
  });

  it("another certificate, one of a CA, none of a CA, plain KX", async () => {
    const directory = scratch();
    const [pinFar, pinNear] = [certificate(directory, "far"), certificate(directory, "near")];
    const peer = `kx = "kxs://127.0.0.1:1"\npin = "${pinNear}"\n`;
    const far = await other(ours(directory, "far"), peer);
    const at = `kx = "kxs://localhost:${far.port}"\n`;
    const near = ours(directory, "near");
    const otherPin = await commands(directory, near, `${at}pin = "${pinNear}"\n`).test();
    expect(otherPin.code).toBe(69);
    expect(otherPin.text).toContain(`the peer's certificate is ${pinFar}, not the pinned one`);
    const ca = (name: string) => near.replace(" }", `, ca = "${directory}/${name}.pem" }`);
    const signed = await commands(directory, ca("far"), at).test();
    expect(signed.text).toContain(
      "presents a certificate signed by the CA of [kx] tls and speaks KX/1.0",
    );
    const unsigned = await commands(directory, ca("near"), at).test();
    expect(unsigned.code).toBe(69);
    expect(unsigned.text).toMatch(
      /is not trusted: .*\n {6}Its certificate must name this host and be signed by the CA/,
    );
    const plain = await other("", 'kx = "127.0.0.1:1"\n');
    const noTls = `kx = "kxs://localhost:${plain.port}"\npin = "${pinFar}"\n`;
    expect((await commands(directory, near, noTls).test()).text).toContain("answers without TLS");
  });

  it("our own certificate is not the one that the peer wants", async () => {
    const directory = scratch();
    const [pinFar, pinNear] = [certificate(directory, "far"), certificate(directory, "near")];
    const far = await other(
      ours(directory, "far"),
      `kx = "kxs://127.0.0.1:1"\npin = "${pinFar}"\n`,
    );
    const at = `kx = "kxs://localhost:${far.port}"\npin = "${pinFar}"\n`;
    const { code, text } = await commands(directory, ours(directory, "near"), at).test();
    expect(code).toBe(69);
    expect(text).toContain(
      "presents the pinned certificate and then closes the connection without HELO",
    );
    expect(text).toContain(pinNear.replace(/(..)(?=.)/g, "$1:"));
    await until(() => far.kx().length > 0);
    expect(far.kx()).toEqual([["peer-untrusted", expect.stringContaining("not the pinned one")]]);
  });
});
