/**
 * The conversation of A.3 of the thesis, byte for byte over a real socket: a scripted peer says
 * what the thesis prints for one side, a gateway process with a prepared log is the other one. What
 * the thesis leaves out is filled in: of update 43 it prints an excerpt only, so a real key stands
 * in its place, and tags are whatever their sender makes of them. In one thing we differ on
 * purpose: where the thesis lists `41-`, we ask for one number more, to see whose log it is, and in
 * windows of 1000.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { admit } from "../../src/admit.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import type { Fingerprint, Update, UpdateHash } from "../../src/update.js";
import { soon } from "../support/soon.js";
import { base, configFile, start } from "./stage.js";

const KEY = new URL("../fixtures/keys/role-F8D2585B8783D481.asc", import.meta.url);
const [KEY_43] = admit([readFileSync(KEY)]).updates;
if (KEY_43 === undefined) throw new Error("the fixture is no key");
const LINE_43 = `43 ${KEY_43.fingerprint} ${KEY_43.hash}`;

/** The thesis's own announcements, 43 excepted. */
const LINES = [
  "41 3E200377663F6B09E474FDAE801568FC 9b4f7cbf22b6def1f8d579b969fd4d58",
  "42 DCAF16D5BB56B970A8F9EC88E4CE6199D0980A99 762d242bf97d3e5e2f5a269e7b3c661d",
  LINE_43,
  "44 96A65F711C438423D9AE02FDA71197BA 4d85fbcf7c1360fc59c35f4b8513cf7e",
  "45 EFE396F418F58D65849428FC1438516892082481 59f02366fe4cb14d3af6cf4e01d2f998",
];
const LINE_190 = "190 97FC36318F175FBA6CF28FEF33F1B866BE769BDF 34d6e61ce50208d01723cfa61965b0e4";
const CURSOR = { number: 40, hash: "00000000000000000000000000000040" as UpdateHash };

const UPDATE = [LINE_43, ...encodeArmor(KEY_43.body).trimEnd().split("\n")];

/** An update of which only what is announced matters here. */
function update(line: string): Update {
  const [, fingerprint = "", hash = ""] = line.split(" ");
  return {
    fingerprint: fingerprint as Fingerprint,
    hash: hash as UpdateHash,
    digest: hash.repeat(2),
    body: new Uint8Array([0xc0]),
    selfSigned: undefined,
    packets: [],
  };
}

function filler(number: number): Update {
  return update(`${number} ${"AB".repeat(20)} ${number.toString(16).padStart(32, "0")}`);
}

/** A gateway whose log holds these updates, and whose one peer connects from 127.0.0.1. */
async function gatewayWith(updates: readonly Update[], cursor?: typeof CURSOR) {
  const config = `${base("pgp-public-keys@left.example.org")}
[kx]
listen = ["127.0.0.1:0"]
[[peer]]
name = "thesis"
kx = "127.0.0.1:1"
`;
  const file = configFile(config);
  const log = UpdateLog.open(join(dirname(file), "updates.db"));
  const origin = { neighbour: "elsewhere", transport: "kx" } as const;
  const receivedAt = Date.now();
  log.append(updates.map((one) => ({ update: one, origin, trail: [], receivedAt })));
  if (cursor !== undefined) log.cursors.set("thesis", cursor);
  log.close();
  return await start(file);
}

/** The wire as text: what is said is said exactly, what is heard must be heard exactly. */
class Wire {
  readonly #socket: Socket;
  #heard = "";

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.on("data", (bytes) => {
      this.#heard += bytes.toString("latin1");
    });
    onTestFinished(() => {
      this.#socket.destroy();
    });
  }

  say(...lines: readonly string[]): void {
    this.#socket.write(`${lines.join("\r\n")}\r\n.\r\n`, "latin1");
  }

  /** The next message is these lines after its tag, and nothing else; returns the tag. */
  async hear(...lines: readonly string[]): Promise<string> {
    const rest = `\r\n${lines.join("\r\n")}\r\n.\r\n`;
    await soon(() => this.#heard.length).toBeGreaterThan(rest.length);
    await soon(() => this.#heard.slice(4, 4 + rest.length)).toBe(rest);
    const tag = this.#heard.slice(0, 4);
    expect(tag).toMatch(/^[0-9A-Za-z]{4}$/);
    this.#heard = this.#heard.slice(4 + rest.length);
    return tag;
  }

  get unheard(): string {
    return this.#heard;
  }
}

describe("A.3 of the thesis", () => {
  it("as the left server, which lacks update 43 of the right one", async () => {
    const known = LINES.filter((line) => line !== LINE_43).map(update);
    const fillers = Array.from({ length: 185 }, (_, index) => filler(1000 + index));
    const gateway = await gatewayWith([...known, ...fillers, update(LINE_190)], CURSOR);
    const right = new Wire(gateway.port("kx"));
    right.say("0001", "HELO", "1.0");
    await right.hear("HELO", "1.0");
    await right.hear("IHAVE", "NOTIFY", LINE_190);
    right.say("0002", "IHAVE", "NOTIFY", LINES[4] ?? "");
    const list = await right.hear("LIST", "40-1039");
    right.say("0003", "IHAVE", list, ...LINES);
    const get = await right.hear("GETUPDATE", "43");
    right.say("0004", "UPDATE", get, ...UPDATE);
    const accepted = await gateway.event("accepted");
    expect(accepted).toMatchObject({ seq: 191, hash: KEY_43.hash, neighbour: "thesis" });
    const status = await gateway.status();
    expect(status.neighbours).toMatchObject([{ peer: { cursor: 45, newest: 45, missing: 0 } }]);
    expect(right.unheard).toBe("");
  });

  it("as the right server, which is asked for what the left one lacks", async () => {
    const before = Array.from({ length: 40 }, (_, index) => filler(index));
    const after = LINES.map((line) => (line === LINE_43 ? KEY_43 : update(line)));
    const gateway = await gatewayWith([...before, ...after]);
    const left = new Wire(gateway.port("kx"));
    await left.hear("HELO", "1.0");
    left.say("100a", "HELO", "1.0");
    await left.hear("IHAVE", "NOTIFY", LINES[4] ?? "");
    left.say("100b", "IHAVE", "NOTIFY", LINE_190);
    const list = await left.hear("LIST", "0-190");
    left.say("100e", "IHAVE", list);
    left.say("100c", "LIST", "41-");
    await left.hear("IHAVE", "100c", ...LINES);
    left.say("100d", "GETUPDATE", "43");
    await left.hear("UPDATE", "100d", ...UPDATE);
    expect(left.unheard).toBe("");
  });
});
