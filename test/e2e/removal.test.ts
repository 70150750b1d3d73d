/**
 * Keys that are blocked or forgotten on a live gateway: by every way in and out, with updates of
 * them on their way to a site, over a kill -9; and what is left in the files.
 */
import { expect, it, onTestFinished } from "vitest";
import { LegacySite } from "../../src/demo/site.js";
import type { KxScript } from "../support/kx-script.js";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { configOf, opened, prepared } from "./all-ways.js";
import { made } from "./material.js";
import { FAR } from "./world.js";

/** The n-th variant of the key of a name: the same user id, another signature. */
const key = (name: string, n = 0) => made(name, 1, 100 + n);

/** Numbers that the peer is listed. */
async function listed(peer: KxScript): Promise<string[]> {
  const tag = peer.send("LIST", "0-");
  for (;;) {
    const { lines } = await peer.message("IHAVE");
    if (lines[0] === tag) return lines.slice(1).map((line) => line.split(" ")[0] ?? "");
  }
}

it("a blocked key stays out and in, a forgotten one is gone, and the others go on", async () => {
  const port = await freePort();
  const file = prepared(configOf(port));
  const ways = await opened(file);
  const { gateway } = ways;
  const [bad, gone, good] = ["bad", "gone", "good"].map((name) => key(name));
  if (!bad || !gone || !good) throw new Error("no keys");
  for (const one of [bad, gone, good]) expect(await ways.mail(one)).toMatch(/^250 /);
  await gateway.event("retry");
  await until(
    () => ways.local().length === 3,
    () => "all three at the keyserver beside us",
  );
  const three = await ways.peer();
  expect(await listed(three)).toEqual(["1", "2", "3"]);

  const blocked = await ways.kxgw("block", bad.fingerprint, "--reason", "asked by its owner");
  expect(blocked).toMatchObject({ code: 0, stdout: expect.stringContaining("1 update in") });
  expect(ways.files()).toContain("gone 1 <1@made.example>");
  const forgotten = await ways.remove("forget", gone);
  expect(forgotten).toMatchObject({ code: 0, text: expect.stringContaining("kxgw block") });
  expect(ways.files()).not.toContain("gone 1 <1@made.example>");
  expect(ways.files()).not.toContain(Buffer.from(gone.fingerprint, "hex").toString("latin1"));

  // Out by KX: neither is listed or served, and the third one is.
  expect(await listed(three)).toEqual(["3"]);
  for (const number of ["1", "2"]) {
    three.send("GETUPDATE", number);
    const { lines } = await three.message("ERROR");
    expect(lines.slice(1)).toEqual(["500", `${number} update not available`]);
  }
  three.send("GETUPDATE", "3");
  expect((await three.message("UPDATE")).lines[1]).toContain(good.hash);

  // In: refused everywhere, and not even fetched.
  expect(await ways.mail(key("bad", 1))).toMatch(
    /^550 5\.7\.1 Content declined by policy\. .*does not carry the key \w+/,
  );
  expect(await ways.post(key("bad", 2))).toMatch(/^422 This gateway does not carry the key \w+/);
  ways.spool(key("bad", 3));
  await until(
    () => ways.refused() === 1,
    () => "the file moved aside",
  );
  three.announce(1, key("bad", 4));
  three.announce(2, key("gone"));
  three.announce(3, key("good", 5));
  expect((await three.message("GETUPDATE")).lines).toEqual(["3"]);
  // What was forgotten is known: it does not come back as new.
  expect(await ways.mail(gone)).toMatch(/^250 2\.0\.0 Stored 0 new, 1 known/);
  expect(await ways.metric('kxgw_refused_total{reason="blocked"}')).toBe(4);

  // To the site to which all three were on their way only the third one goes.
  const far = new LegacySite(FAR);
  onTestFinished(() => far.stop());
  await far.start(port);
  await ways.retry("far");
  await gateway.event("sent", ({ neighbour }) => neighbour === "far");
  expect([...far.hashes()]).toEqual([[good.fingerprint, good.hash]]);
  const held = gateway.events.filter(({ event, neighbour }) => {
    return event === "withheld" && neighbour === "far";
  });
  expect(held.map(({ seq, reason }) => [seq, reason])).toEqual([
    [1, "blocked"],
    [2, "forgotten"],
  ]);
  const trace = await ways.trace(gone.fingerprint);
  expect(trace.text).toMatch(/^ {2}forgotten \d{4}-.*: asked by its owner$/m);
  expect(trace.text).toMatch(/^ {2}none +far: withheld: the update was forgotten/m);
  expect((await ways.trace("1")).text).toMatch(/^ {2}blocked +\d{4}-.*by its owner$/m);

  await gateway.end("SIGKILL");
  expect((await ways.remove("unblock", gone)).code).toBe(66);
  const after = await opened(file);
  expect(await after.mail(key("bad", 6))).toMatch(/^550 5\.7\.1 /);
  const peer = await after.peer();
  // The last number is always shown; it is what we greet with.
  expect(await listed(peer)).toEqual(["3"]);
  peer.announce(1, key("bad", 4));
  peer.announce(2, key("good", 5));
  expect((await peer.message("GETUPDATE")).lines).toEqual(["2"]);
  expect((await after.remove("unblock", bad)).code).toBe(0);
  // What was declined meanwhile is listed again, and fetched.
  expect((await peer.message("GETUPDATE")).lines).toEqual(["1"]);
  expect(await after.mail(key("bad", 7))).toMatch(/^250 /);
  expect(await listed(peer)).toEqual(["1", "3", "4"]);
  expect((await after.gateway.status()).keys).toMatchObject({ blocked: 0, forgotten: 1 });
});

it("a block that ends by its date, in or between runs, lets in what was declined", async () => {
  const file = prepared(configOf(await freePort()));
  const ways = await opened(file);
  const peer = await ways.peer();
  const [first, second] = [key("first"), key("second")];
  const inSeconds = (n: number) => new Date(Date.now() + 1000 * n).toISOString();
  const block = async (one: typeof first, until: string) => {
    const words = ["block", one.fingerprint, "--reason", "for now", "--until", until];
    expect((await ways.kxgw(...words)).code).toBe(0);
  };
  await block(first, inSeconds(4));
  peer.announce(1, first);
  peer.announce(2, key("other"));
  expect((await peer.message("GETUPDATE")).lines).toEqual(["2"]);
  await ways.gateway.event("block-ended", ({ fingerprint }) => fingerprint === first.fingerprint);
  expect((await peer.message("GETUPDATE")).lines).toEqual(["1"]);

  await ways.gateway.end();
  await block(second, inSeconds(4));
  expect((await ways.kxgw("block")).stdout).toContain(second.fingerprint);
  await until(async () => (await ways.kxgw("block")).stdout === "No key is blocked.\n", "its end");
  const after = await opened(file);
  await after.gateway.event("block-ended", ({ fingerprint }) => fingerprint === second.fingerprint);
});
