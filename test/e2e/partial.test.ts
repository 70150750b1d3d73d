/**
 * A partial gateway (thesis 2.3): of what is announced only the keys of its file are fetched, by
 * every other way the others are refused; and one that accepts no new keys, only what it knows.
 */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { quietFor, until } from "../support/until.js";
import { configOf, opened, prepared } from "./all-ways.js";
import { made } from "./material.js";
import { legacySite, logOf } from "./stage.js";
import { FAR } from "./world.js";

const [MINE, STRANGE, NAMELESS, LATER] = [1, 2, 3, 4].map((n) => made("partial", n));

it("carries the keys of its file, and fetches no other", async () => {
  const { site: far, port } = await legacySite(FAR);
  if (!MINE || !STRANGE || !NAMELESS || !LATER) throw new Error("no keys");
  const text = configOf(port, '[policy]\ncarry = "keys.txt"\n');
  const file = prepared(text, { "keys.txt": `${MINE.fingerprint.replace(/(.{4})/g, "$1 ")}\n` });
  const ways = await opened(file);
  const { gateway } = ways;

  expect(await ways.mail(STRANGE)).toMatch(/^550 5\.7\.1 .*This gateway carries only some keys/);
  expect(await ways.post(STRANGE)).toMatch(/^422 This gateway carries only some keys/);
  ways.spool(STRANGE);
  await gateway.event("mail-refused", ({ client }) => client === "spool");
  await until(
    () => ways.refused() === 1,
    () => "the file moved aside",
  );

  const three = await ways.peer();
  three.announce(1, STRANGE);
  three.announce(2, STRANGE);
  three.announce(3, MINE);
  const asked = await three.message("GETUPDATE");
  expect(asked.lines).toEqual(["3"]);
  const line = `3 ${MINE.fingerprint} ${MINE.hash}`;
  three.send("UPDATE", asked.tag, line, ...MINE.armor.trimEnd().split("\n"));
  await until(
    () => far.hashes().get(MINE.fingerprint) === MINE.hash,
    () => "the key of the file at the far site",
  );
  // Without a fingerprint it has to be looked at.
  three.listed = [...three.listed, `4 ${NAMELESS.hash}`];
  three.send("IHAVE", "NOTIFY", `4 ${NAMELESS.hash}`);
  const again = await three.message("GETUPDATE");
  expect(again.lines).toEqual(["4"]);
  three.send("UPDATE", again.tag, `4 ${NAMELESS.hash}`, ...NAMELESS.armor.trimEnd().split("\n"));
  await gateway.event("update-refused", ({ reason }) => reason === "policy-carry");
  expect((await logOf(file)).map(({ hash }) => hash)).toEqual([MINE.hash]);
  expect(await ways.metric('kxgw_refused_total{reason="policy-carry"}')).toBe(6);
  const status = (await gateway.status()) as { keys: object; neighbours: { peer?: object }[] };
  expect(status.keys).toMatchObject({ carried: 1, newKeys: true, blocked: 0 });
  // Every number is behind us, fetched or not.
  const peers = status.neighbours.flatMap(({ peer }) => peer ?? []);
  expect(peers).toEqual([expect.objectContaining({ cursor: 4, missing: 0 })]);

  const list = join(dirname(file), "keys.txt");
  writeFileSync(list, `${MINE.fingerprint}\nnonsense\n`);
  process.kill(gateway.pid, "SIGHUP");
  const { problem } = await gateway.event("reload-refused");
  expect(problem).toMatch(/keys\.txt:2:1: "nonsense" is not a fingerprint/);
  writeFileSync(list, `${MINE.fingerprint}\n${LATER.fingerprint}\n`);
  process.kill(gateway.pid, "SIGHUP");
  await gateway.event("reloaded");
  // Ports are free ones, so that they are others after the reload.
  await until(
    () => gateway.events.filter(({ event }) => event === "ready").length === 2,
    () => "the doors",
  );
  expect((await ways.kxgw("status")).stdout).toContain("keys      only 2 keys carried\n");
});

it("takes updates of the keys that it knows, and no new ones", async () => {
  const { port } = await legacySite(FAR);
  if (!MINE || !STRANGE || !LATER) throw new Error("no keys");
  const text = configOf(port, "[policy]\nnew_keys = false\n");
  const file = prepared(text.replace("new_keys = false", "new_keys = true"));
  const before = await opened(file);
  expect(await before.mail(MINE)).toMatch(/^250 /);
  await before.gateway.end();

  writeFileSync(file, text);
  const ways = await opened(file);
  expect(await ways.mail(STRANGE)).toMatch(/^550 5\.7\.1 .*This gateway accepts no new keys/);
  expect(await ways.mail(made("partial", 1, 50))).toMatch(/^250 /);
  const three = await ways.peer();
  three.announce(1, STRANGE);
  three.announce(2, made("partial", 1, 60));
  expect((await three.message("GETUPDATE")).lines).toEqual(["2"]);
  await quietFor(50, "the key that is not carried would be asked for");
  expect(three.inbox.filter(({ command }) => command === "GETUPDATE")).toEqual([]);
  expect((await ways.kxgw("status")).stdout).toContain("keys      no new keys accepted\n");
});
