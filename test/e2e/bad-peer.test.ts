/**
 * Bad input by KX against a live gateway, from peers on addresses of their own: a wrong body never
 * keeps the right one out, whatever is wrong with it; strangers hear nothing; lost framing ends one
 * connection and no more; what is known is not asked for.
 */
import { generateKey } from "openpgp";
import { expect, it } from "vitest";
import { KxScript } from "../support/kx-script.js";
import { SmtpClient } from "../support/smtp-client.js";
import { quietFor, until } from "../support/until.js";
import type { Made } from "./material.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, legacySite, logOf, start } from "./stage.js";
import { FAR } from "./world.js";

/** Peers by address: 127.0.0.3 is "three", 127.0.0.4 is "four". */
function config(farPort: number): string {
  return `${base(SITE)}[kx]
listen = ["127.0.0.1:0"]
[outbound]
relay = "smtp://127.0.0.1:${farPort}"
bounce = "pgp-bounces@kx.example.org"
[[peer]]
name = "old"
accept_from = ["127.0.0.1"]
[[peer]]
name = "far"
mail = "${FAR}"
[[peer]]
name = "three"
kx = "127.0.0.3:11373"
via = "kx"
[[peer]]
name = "four"
kx = "127.0.0.4:11373"
via = "kx"
`;
}

async function stage() {
  const { site: far, port } = await legacySite(FAR);
  const file = configFile(config(port));
  const gateway = await start(file);
  return { far, file, gateway, port: gateway.port("kx") };
}

const RIGHT = made("right", 0);
const OTHER = made("other", 1);
const { privateKey } = await generateKey({ userIDs: [{ name: "S" }], format: "armored" });

/** What a lying peer puts behind the announcement of the n-th right key, and why it is refused. */
const WRONG: readonly (readonly [string, (n: number) => string, string])[] = [
  ["another key", () => OTHER.armor, "hash-mismatch"],
  ["the same key, one octet shorter", (n) => made("right", n, 99).armor, "hash-mismatch"],
  ["two keys", (n) => `${made("right", n).armor}${OTHER.armor}`, "several-keys"],
  ["a wrong CRC", (n) => made("right", n).armor.replace(/\n=.{4}\n/, "\n=AAAA\n"), "bad-crc"],
  ["broken armor", (n) => made("right", n).armor.slice(0, 300), "bad-armor"],
  ["a secret key", () => privateKey.replace(/\r\n/g, "\n"), "secret-key"],
  ["nothing", () => "", "no-key"],
];

function updateLines(inReplyTo: string, number: number, name: Made, body: string): string[] {
  const line = `${number} ${name.fingerprint} ${name.hash}`;
  return [inReplyTo, line, ...body.replace(/\n$/, "").split("\n")];
}

it("a wrong body from one peer does not keep the right one of another out", async () => {
  const { far, file, gateway, port } = await stage();
  const three = await KxScript.greeted(port, "127.0.0.3");
  const four = await KxScript.greeted(port, "127.0.0.4");
  const expected: unknown[] = [];
  for (const [index, [name, wrongBody, reason]] of WRONG.entries()) {
    const number = index + 1;
    const right = made("right", number);
    three.announce(number, right);
    const asked = await three.message("GETUPDATE");
    expect([name, asked.lines]).toEqual([name, [String(number)]]);
    // The second announcer is an alternate while the first one is asked.
    four.announce(number + 100, right);
    await quietFor(50, "a second announcer would be asked at once");
    expect(four.inbox.filter(({ command }) => command === "GETUPDATE")).toEqual([]);

    three.send("UPDATE", ...updateLines(asked.tag, number, right, wrongBody(number)));
    const askedNext = await four.message("GETUPDATE");
    expect([name, askedNext.lines]).toEqual([name, [String(number + 100)]]);
    expect(far.received).toHaveLength(index);
    four.send("UPDATE", ...updateLines(askedNext.tag, number + 100, right, right.armor));
    await until(
      () => far.hashes().get(right.fingerprint) === right.hash,
      () => `${name}: the right update at the far site`,
    );
    expected.push(["three", right.hash, reason]);
  }
  const log = await logOf(file);
  expect(log.map(({ hash, origin }) => [hash, origin])).toEqual(
    WRONG.map((_, index) => [made("right", index + 1).hash, "four"]),
  );
  expect(three.isEnded).toBe(false);
  await gateway.end();
  const wrong = gateway.events.filter(({ event }) => event === "update-wrong");
  expect(wrong.map((one) => [one.neighbour, one.hash, one.reason])).toEqual(expected);
  expect(gateway.output).not.toContain(privateKey.split("\n")[4]);
});

it("an UPDATE that nobody asked for is dropped", async () => {
  const { file, port } = await stage();
  const three = await KxScript.greeted(port, "127.0.0.3");
  three.send("UPDATE", ...updateLines("zzzz", 1, RIGHT, RIGHT.armor));
  three.send("LIST", "-");
  const answer = await three.message("IHAVE");
  expect(answer.lines).toHaveLength(1);
  expect(await logOf(file)).toEqual([]);
});

it("an announcement of what is known causes no traffic", async () => {
  const { file, gateway, port, far } = await stage();
  const client = await SmtpClient.connect(gateway.port("smtp"));
  const three = await KxScript.greeted(port, "127.0.0.3");
  const four = await KxScript.greeted(port, "127.0.0.4");
  for (const { armor } of [RIGHT, OTHER]) {
    expect((await client.deliver(mailOf(armor), { from: OLD, to: SITE })).code).toBe(250);
  }
  await until(
    () => far.received.length === 2,
    () => "both mails",
  );
  // What the gateway says by itself is both announcements, to each of them.
  for (const peer of [three, four, three, four]) await peer.message("IHAVE");
  for (const peer of [three, four]) peer.announce(1, RIGHT);
  const before = [three.bytesIn, four.bytesIn];
  for (const peer of [three, four]) peer.announce(2, OTHER);
  for (const peer of [three, four, three]) peer.announce(2, OTHER);
  await quietFor(700, "an update that is not known would be asked for");
  expect([three.bytesIn, four.bytesIn]).toEqual(before);
  expect(far.received).toHaveLength(2);
  expect(await logOf(file)).toHaveLength(2);
  // An unknown one would be asked for within that time.
  three.announce(3, made("new", 1));
  expect((await three.message("GETUPDATE")).lines).toEqual(["3"]);
});

it("a stranger is closed before a byte is sent, and the operator hears of it", async () => {
  const { gateway, port } = await stage();
  const stranger = KxScript.connect(port, "127.0.0.9");
  stranger.send("HELO", "1.0");
  await stranger.end();
  expect(stranger.bytesIn).toBe(0);
  // Its network at least; how much of an address is shown is the operator's choice.
  expect((await gateway.event("peer-unknown")).address).toMatch(/^127\.0\.0\.(9$|0\/24$)/);
});

it("broken framing ends that connection with a word, and the peer may come back", async () => {
  const { gateway, port } = await stage();
  const four = await KxScript.greeted(port, "127.0.0.4");
  const three = await KxScript.greeted(port, "127.0.0.3");
  three.raw("GET / HTTP/1.1\r\nHost: kx\r\n\r\n");
  const error = await three.message("ERROR");
  expect(error.lines.slice(0, 2)).toEqual(["NOTIFY", "500"]);
  await three.end();
  expect(four.isEnded).toBe(false);
  await gateway.event("peer-complaint", ({ neighbour }) => neighbour === "three");
  const again = await KxScript.greeted(port, "127.0.0.3");
  again.send("LIST", "-");
  expect((await again.message("IHAVE")).lines).toHaveLength(1);
});

it("the first word must be HELO", async () => {
  const { port } = await stage();
  const three = KxScript.connect(port, "127.0.0.3");
  three.send("LIST", "-");
  const error = await three.message("ERROR");
  expect(error.lines[1]).toBe("551");
  await three.end();
});
