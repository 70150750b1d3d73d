/** Certificates and keys that a file names: found, read, fitting, or a fault at their place. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";
import { makeCertificate } from "../support/certificates.js";
import { scratchOfFile } from "../support/scratch.js";

const DIR = scratchOfFile();
makeCertificate(DIR, "a");
makeCertificate(DIR, "b");
writeFileSync(join(DIR, "none.pem"), "nothing\n");

function faultsOf(sections: string): string[] {
  const file = join(DIR, "kxgw.toml");
  writeFileSync(file, `[site]\naddress = "a@b.example"\n[log]\n${sections}\n`);
  try {
    loadConfig(file, {});
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    return error.faults.map(({ line, key, message }) => `${line} ${key} ${message}`);
  }
  return [];
}

it("takes files that fit, relative to the config", () => {
  const files = 'tls = { cert = "a.pem", key = "a.key"';
  const text = `[smtp]\n${files} }\n[kx]\n${files}, ca = "b.pem" }\n[outbound]\nca = "b.pem"`;
  expect(faultsOf(text)).toEqual([]);
});

it.each([
  ["no such file", '[smtp]\ntls = { cert = "x.pem", key = "a.key" }', "5 smtp.tls.cert"],
  ["no such file", '[smtp]\ntls = { cert = "a.pem", key = "x.key" }', "5 smtp.tls.key"],
  ["is a directory", '[smtp]\ntls = { cert = ".", key = "a.key" }', "5 smtp.tls.cert"],
  ["no PEM certificate", '[smtp]\ntls = { cert = "a.key", key = "a.key" }', "5 smtp.tls.cert"],
  ["no PEM private key", '[kx]\ntls = { cert = "a.pem", key = "a.pem" }', "5 kx.tls.key"],
  [
    "does not match the certificate",
    '[smtp]\ntls = { cert = "a.pem", key = "b.key" }',
    "5 smtp.tls.key",
  ],
  ["contains no PEM certificate", '[outbound]\nca = "none.pem"', "5 outbound.ca"],
  ["no such file", '[kx.tls]\ncert = "a.pem"\nkey = "a.key"\nca = "x"', "7 kx.tls.ca"],
])("says that %s: %s", (words, sections, where) => {
  const faults = faultsOf(sections);
  expect(faults).toHaveLength(1);
  expect(faults[0]).toContain(`${where} `);
  expect(faults[0]).toContain(words);
});

it("says all of it at once", () => {
  expect(faultsOf('[smtp]\ntls = { cert = "x.pem", key = "y.key" }')).toHaveLength(2);
});
