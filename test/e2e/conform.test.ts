/**
 * `kxgw conform` of the built program against a gateway of the built program, in both versions of
 * KX: what a user runs, and what CI runs against every change of the gateway.
 */
import { dirname } from "node:path";
import { expect, it } from "vitest";
import { fill } from "../conform/server.js";
import { base, configFile, kxgw, start } from "./stage.js";

it.each([
  ["1.1", "", /KX\/1\.1: \d+ rules, \d+ passed, 0 failed, [67] skipped\n$/],
  ["1.0", 'version = "1.0"', /KX\/1\.0: \d+ rules, \d+ passed, 0 failed, \d+ skipped\n$/],
])("a gateway of KX/%s keeps the rules", { timeout: 120_000 }, async (_, version, sums) => {
  const file = configFile(
    `${base("pgp-public-keys@kx.example.org")}[kx]\nlisten = ["127.0.0.1:0"]\n${version}\n` +
      '[[peer]]\nname = "tester"\nkx = "127.0.0.1:1"\n',
  );
  fill(dirname(file), 30);
  const gateway = await start(file);
  const { kx } = await gateway.event("ready");
  const { code, stdout, stderr } = await kxgw(["conform", String(kx)]);
  expect(stdout.split("\n").filter((line) => line.startsWith("FAIL"))).toEqual([]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(sums);
});
