/**
 * Until when our certificates are good: in the metrics, the status and the page of a running
 * gateway and in `kxgw doctor`, and anew when they are renewed.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Diagnosis } from "../../src/cli/doctor.js";
import { doctorCommand } from "../../src/cli/doctor.js";
import { parseConfig } from "../../src/config/load.js";
import { CertificateEnds, endWords } from "../../src/status/certificates.js";
import { FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { captured } from "../cli/captured.js";
import { makeCertificate } from "../support/certificates.js";
import { scratch } from "../support/scratch.js";

const DAY_MS = 24 * 3_600_000;
const NAME = "kxgw_cert_not_after_timestamp_seconds";

const CONFIG = HEAD.replace("[smtp]", '[smtp]\ntls = { cert = "mx.pem", key = "mx.key" }').concat(
  '[kx]\nlisten = ["127.0.0.1:0"]\ntls = { cert = "kx.pem", key = "kx.key" }\n',
  '[outbound]\nrelay = "smtp://127.0.0.1:1"\n',
  FEEDER,
);

/** Days from now to the end that a scrape shows for `listener`. */
async function daysLeft(base: string, listener: string): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  const shown = new RegExp(`^${NAME}\\{listener="${listener}"\\} (\\S+)$`, "m").exec(text)?.[1];
  return Math.round((Number(shown) * 1000 - Date.now()) / DAY_MS);
}

async function diagnosed(directory: string): Promise<Diagnosis[]> {
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, CONFIG);
  const out = captured();
  await doctorCommand(file, { json: true, online: false }, out, {});
  return JSON.parse(out.text) as Diagnosis[];
}

/** Puts the certificate `name` in the place of mx. */
function install(directory: string, name: string): void {
  for (const end of ["key", "pem"]) {
    renameSync(join(directory, `${name}.${end}`), join(directory, `mx.${end}`));
  }
}

describe("the end of a certificate", () => {
  it("is shown everywhere, and anew when the certificate is renewed in place", async () => {
    const directory = scratch();
    makeCertificate(directory, "mx", undefined, 5);
    makeCertificate(directory, "kx", undefined, 90);
    const { base } = await startGateway(CONFIG, { directory });
    expect([await daysLeft(base, "smtp"), await daysLeft(base, "kx")]).toEqual([5, 90]);
    const { certificates } = JSON.parse(await (await fetch(`${base}/status.json`)).text());
    expect(certificates).toMatchObject([
      { listener: "smtp", expiresSoon: true, words: expect.stringContaining("4 d left") },
      { listener: "kx", expiresSoon: false },
    ]);
    expect(await (await fetch(`${base}/`)).text()).toMatch(
      /certificate of smtp <strong>is valid until [\d-]{10}, 4 d left<\/strong>/,
    );
    const before = await diagnosed(directory);
    expect(before.map(({ kind, problem }) => `${kind} ${problem}`)).toEqual([
      expect.stringMatching(/^odd The certificate of smtp, .*mx\.pem, is valid until .* 4 d left/),
    ]);
    makeCertificate(directory, "next", undefined, 60);
    install(directory, "next");
    expect(await daysLeft(base, "smtp")).toBe(60);
    expect(await diagnosed(directory)).toEqual([]);
  });

  it("is that of the last one that could be used, and of the shortest in a chain", () => {
    const directory = scratch();
    makeCertificate(directory, "mx", undefined, 30);
    makeCertificate(directory, "kx", undefined, 20);
    const read = (name: string) => parseConfig(name, "kxgw.toml", directory, {});
    const ends = new CertificateEnds(read(CONFIG));
    const days = () =>
      ends.list().map(({ notAfter }) => Math.round((notAfter - Date.now()) / DAY_MS));
    expect(days()).toEqual([30, 20]);
    makeCertificate(directory, "other", undefined, 50);
    renameSync(join(directory, "other.pem"), join(directory, "mx.pem"));
    expect(days()).toEqual([30, 20]);
    renameSync(join(directory, "other.key"), join(directory, "mx.key"));
    expect(days()).toEqual([50, 20]);
    makeCertificate(directory, "leaf", join(directory, "kx"), 40);
    const pem = (name: string) => readFileSync(join(directory, name), "latin1");
    writeFileSync(join(directory, "leaf.pem"), pem("leaf.pem") + pem("kx.pem"));
    install(directory, "leaf");
    expect(days()).toEqual([20, 20]);
  });

  it("is said in words", () => {
    const now = Date.UTC(2026, 10, 23, 12);
    expect(endWords(now + 90 * DAY_MS, now)).toBe("is valid until 2027-02-21");
    expect(endWords(now + 13 * DAY_MS, now)).toBe("is valid until 2026-12-06, 13 d left");
    expect(endWords(now - 2 * DAY_MS, now)).toBe("expired 2 d ago");
  });
});
