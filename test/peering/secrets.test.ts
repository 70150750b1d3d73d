/**
 * Secret keys by KX: refused, and not a byte of them on disk, in a report or at another peer
 * (faults row 14; by mail it is `test/ingress/secrets.test.ts`). The same search finds a public key
 * that came the same way.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { generateKey } from "openpgp";
import { expect, onTestFinished, test } from "vitest";
import { UpdateLog } from "../../src/log/update-log.js";
import { Exchange } from "../../src/peering/exchange.js";
import { walk } from "../mail/oracles/packets.js";
import { armored } from "../mail/oracles/raw-mail.js";
import { checked } from "../support/reported.js";
import { scratch } from "../support/scratch.js";
import { made } from "../torture/material.js";
import { withStores } from "./stores.js";

const SECRET_TAGS = [5, 7];

/** What is left anywhere of an UPDATE with this armor that one of two peers delivers. */
function leftOf(armor: string, announced: { hash: string; fingerprint: string }): string {
  const directory = scratch();
  const log = UpdateLog.open(join(directory, "updates.db"));
  onTestFinished(() => log.close());
  const said: string[] = [];
  const clock = { now: () => 1e12, monotonic: () => 0, random: () => 0.5 };
  const diagnostics = checked((...event) => said.push(JSON.stringify(event)));
  const exchange = new Exchange(
    { log, clock, diagnostics },
    { peers: ["giver", "taker"], observing: false },
  );
  const take = (actions: ReturnType<Exchange["grew"]>) => {
    for (const action of withStores(exchange, log, actions, 0)) {
      if (action.type === "send") said.push(Buffer.from(action.bytes).toString("latin1"));
    }
  };
  const tell = (id: number, text: string) =>
    take(exchange.received(id, Buffer.from(text.replaceAll("|", "\r\n"), "latin1"), 0));
  const line = `1 ${announced.fingerprint} ${announced.hash}`;
  take(exchange.opened(1, "giver", false, 0));
  take(exchange.opened(2, "taker", false, 0));
  tell(2, "a000|HELO|1.0|.|a001|IHAVE|NOTIFY|.|");
  tell(1, `a000|HELO|1.0|.|a001|IHAVE|NOTIFY|${line}|.|`);
  const listed = /\r\n?(.{4})\r\nLIST\r\n/.exec(`\r\n${said.join("")}`)?.[1];
  if (listed !== undefined) tell(1, `a002|IHAVE|${listed}|${line}|.|`);
  const asked = /(.{4})\r\nGETUPDATE\r\n1\r\n/.exec(said.join(""))?.[1] ?? "";
  expect(asked).not.toBe("");
  tell(1, `a003|UPDATE|${asked}|${line}|${armor.replaceAll(/\r?\n/g, "|")}.|`);
  tell(2, "a002|LIST|-|.|a003|GETUPDATE|1|.|");
  const files = readdirSync(directory).map((name) => readFileSync(join(directory, name), "latin1"));
  return [...files, ...said].join("\n");
}

test("a secret key in either armor is refused, and nothing of it is left", async () => {
  const { privateKey } = await generateKey({
    userIDs: [{ name: "Test", email: "test@site.example" }],
    format: "object",
  });
  const packets = privateKey.write();
  const { hash, fingerprint } = made(1, 1).update;
  const needles = (walk(packets) ?? [])
    .filter(({ tag }) => SECRET_TAGS.includes(tag))
    .flatMap(({ body }) => {
      const piece = Buffer.from(body).subarray(-26, -2);
      return [piece.toString("latin1"), piece.toString("hex"), piece.toString("base64")];
    });
  for (const armor of [privateKey.armor(), armored([packets])]) {
    const lines = armor.split(/\r?\n/).filter((line) => line.length === 60 || line.length === 64);
    const left = leftOf(armor, { hash, fingerprint });
    expect(left).toContain("update-wrong");
    expect([...needles, ...lines].filter((needle) => left.includes(needle))).toEqual([]);
  }
});

test("the search finds a public key", () => {
  const { update, armor } = made(1, 1);
  const left = leftOf(armor, update);
  expect(left).toContain("accepted");
  expect(left).toContain(Buffer.from(update.body).subarray(20, 60).toString("latin1"));
});
