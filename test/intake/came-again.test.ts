/**
 * What comes again by mail, whole or in part known, reaches the sites that did not take the key;
 * and a trail counts only from a sender that its connection makes known.
 */
import { expect, onTestFinished, test } from "vitest";
import { admit } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { encodeKey, readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import type { Seq } from "../../src/update.js";
import { updates } from "../delivery/stage.js";
import { bytes, keyArmor, keyNames } from "../mail/fixtures.js";

function intake() {
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const keys = new KeyIntake({
    log,
    appends: new GroupCommit(log),
    clock: systemClock,
    diagnostics: { report: () => {} },
  });
  const take = (armor: Uint8Array, more: object = {}) => {
    const given = { armor: [armor], sender: undefined, trail: [], messageId: undefined };
    return keys.take({ ...given, bytes: armor.length, ...more });
  };
  return { log, take };
}

test("a key with some news is offered whole to a site that refused a part of it", async () => {
  const { log, take } = intake();
  const whole = updates.find(({ body }) => body.length > 8000);
  const [key] = whole === undefined ? [] : readKeys(whole.body);
  if (whole === undefined || key === undefined || key instanceof Error) throw new Error("no key");
  const { primary, userIds } = key as TransferableKey;
  const small = encodeKey({ ...(key as TransferableKey), primary, userIds, subkeys: [] });
  await take(bytes(encodeArmor(small)));
  const refused = { state: "refused", reason: "refused", code: 554, text: "no", at: 1 } as const;
  const about = { site: "far", seq: 1 as Seq, fingerprint: whole.fingerprint };
  log.exceptions.set({ ...about, ...refused });
  await take(bytes(encodeArmor(whole.body)));
  expect(log.newest()).toBe(2);
  expect(log.exceptions.get("far", 1 as Seq)?.state).toBe("waiting");
  const offered = log.exceptions.offerOf("far", 1 as Seq) ?? new Uint8Array(0);
  expect(admit([bytes(encodeArmor(offered))]).updates[0]?.hash).toBe(whole.hash);
});

test("a trail counts from a connection that is known, and is dropped from any other", async () => {
  const { log, take } = intake();
  const trail = ["pgp@far.example"];
  const [first, second, third] = keyNames.map((name) => bytes(keyArmor(name)));
  if (!first || !second || !third) throw new Error("no keys");
  const sender = { name: "old", mail: "pgp@old.example" };
  await take(first, { trail });
  await take(second, { trail, isKnown: true });
  await take(third, { trail, sender, isKnown: false });
  const trails = [1, 2, 3].map((seq) => log.trails.get(seq as Seq));
  expect(trails).toEqual([[], ["pgp@far.example"], ["pgp@old.example"]]);
});
