/** What a user does: `gpg --send-keys` and `sq keyserver send` straight to the HKP listener. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "./daemon.js";
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

test("sq keyserver send to the gateway", async () => {
  const gateway = await stage.gateway("a", config(true));
  const keys = debianKeys(3, 10);
  for (const { armored } of keys) sqSend(gateway.port("hkp"), armored);
  expect(stage.logged("a").map(({ fingerprint }) => fingerprint)).toEqual(
    keys.map(({ fingerprint }) => fingerprint),
  );
  note("gpg", [{ from: "sq keyserver send", to: "gateway A", road: "HKP", what: "3 keys" }]);
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
  expect(() => sqSend(gateway.port("hkp"), key.armored)).toThrow();
});

/** Plain HTTP has to be allowed. */
function sqSend(port: number, armored: string): void {
  const args = ["keyserver", "-p", "insecure", "--server", `hkp://127.0.0.1:${port}`, "send"];
  run("sq", args, { input: armored });
}
