/** The entries of [[recon]]: defaults, and what is wrong with them. */
import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { ConfigFaults } from "../../src/errors.js";

const BASE = '[site]\naddress = "a@b.example"\n[log]\n';

function parsed(text: string) {
  return parseConfig(BASE + text, "kxgw.toml", "/etc/kxgw", {}).recon;
}

function faults(text: string): string[] {
  try {
    parsed(text);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    return error.faults.map(({ line, key, message }) => `${line}: ${key} ${message}`);
  }
}

test("has HKP on the next port, and follows what changes from now on", () => {
  expect(parsed('[[recon]]\nserver = "[2001:db8::1]:11370"\n')).toEqual([
    {
      ...{ name: "[2001:db8::1]:11370", hkp: "http://[2001:db8::1]:11371" },
      server: { host: "2001:db8::1", port: 11370 },
      ...{ pollMs: 2000, start: "now", rate: { count: 1000, periodMs: 10_000 } },
    },
  ]);
});

test("takes all keys", () => {
  const text =
    '[[recon]]\nserver = "ks.example.net:1"\nhkp = "https://ks.example.net"\npoll = "30s"';
  expect(parsed(`${text}\nstart = "all"\nrate = "5/1m"\n`)).toMatchObject([
    { hkp: "https://ks.example.net", pollMs: 30_000, start: "all", rate: { count: 5 } },
  ]);
});

test.each([
  ['server = "ks.example.net:0"', /^5: recon\[0\]\.server port 0 cannot be dialled/],
  ["", /recon\[0\]\.server .*/],
  ['server = "a.example:1"\npoll = "10ms"', /^6: recon\[0\]\.poll .*minimum of 1s/],
  ['server = "a.example:1"\nstart = "new"', /^6: recon\[0\]\.start .*now/],
  ['server = "a.example:1"\nhkp = "hkp://a"', /^6: recon\[0\]\.hkp .*is not an HTTP URL/],
  ['server = "a.example:1"\nport = 1', /^6: recon\[0\]\.port is not a known key/],
  [
    'server = "A.example:1"\n[[recon]]\nserver = "a.example:1"',
    /^7: recon\[1\]\.server is followed by another/,
  ],
])("%s is a fault", (text, words) => {
  expect(faults(`[[recon]]\n${text}\n`)).toEqual([expect.stringMatching(words)]);
});

test("a section in single brackets is told so", () => {
  expect(faults('[recon]\nserver = "a.example:1"\n')[0]).toContain("write [[recon]]");
});

test("an environment variable of it is told so", () => {
  const env = { KXGW_RECON__SERVER: "a.example:1" };
  expect(() => parseConfig(BASE, "kxgw.toml", "/etc/kxgw", env)).toThrow(ConfigFaults);
});
