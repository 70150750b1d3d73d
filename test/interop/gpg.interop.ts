/** What a user does: `gpg --send-keys` straight to the gateway's HKP listener. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { debianKeys, Gpg } from "./keys.js";
import { note } from "./ledger.js";
import { Stage } from "./stage.js";

let stage: Stage;
let gpg: Gpg;
beforeEach(async () => {
  stage = await Stage.open();
  gpg = new Gpg();
});
afterEach(async () => {
  gpg.close();
  await stage.close();
});

const config = (open: boolean) => [
  '[site]\naddress = "pgp-public-keys@a.kx.example.org"',
  `[hkp]\nlisten = ["127.0.0.1:0"]\nopen = ${open}`,
];

test("gpg --send-keys to the gateway", async () => {
  const gateway = await stage.gateway("a", config(true));
  const keyserver = `hkp://127.0.0.1:${gateway.port("hkp")}`;
  const keys = debianKeys(5, 10);
  for (const { armored, fingerprint } of keys) {
    gpg.import(armored);
    gpg.send(fingerprint, keyserver);
  }
  expect(stage.logged("a").map(({ fingerprint }) => fingerprint)).toEqual(
    keys.map(({ fingerprint }) => fingerprint),
  );
  for (const { fingerprint } of keys) gpg.send(fingerprint, keyserver);
  expect(stage.logged("a")).toHaveLength(5);
  note("gpg", [
    { from: "gpg --send-keys", to: "gateway A", road: "HKP", what: "5 keys, and again" },
    { from: "gateway A", to: "its log", road: "", what: "5 updates" },
  ]);
});

test("gpg hears that it may not", async () => {
  const gateway = await stage.gateway("a", config(false));
  const [key] = debianKeys(1, 10);
  if (key === undefined) throw new Error("no key");
  gpg.import(key.armored);
  const keyserver = `hkp://127.0.0.1:${gateway.port("hkp")}`;
  expect(() => gpg.send(key.fingerprint, keyserver)).toThrow(/keyserver send failed/);
  expect(stage.logged("a")).toEqual([]);
  expect(await gateway.event("mail-refused")).toMatchObject({ reason: "unknown-sender" });
});
