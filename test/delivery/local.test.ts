/**
 * Delivery to the keyserver beside us, through the door and a real log: files by rename, programs
 * by their exit codes, HKP by its answers. Real keyservers are in test/interop.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { admit, updateOf } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { LOCAL_LANE, LocalDoor } from "../../src/delivery/local-door.js";
import { answerOf, heldOf } from "../../src/delivery/local-hkp.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, readPackets, TAG } from "../../src/openpgp/packet.js";
import { Recorder } from "../ingress/door.js";
import { bytes, keyArmor, keyNames } from "../mail/fixtures.js";
import { hockeypuckStore, nameOf } from "../mail/oracles/stores.js";
import { claim } from "../openpgp/material.js";
import { Signer } from "../openpgp/signer.js";

const SITE = "pgp-public-keys@kx.example.org";
const updates = admit(keyNames.map((name) => bytes(keyArmor(name)))).updates;

interface Beside {
  readonly directory: string;
  readonly log: UpdateLog;
  readonly diagnostics: Recorder;
  readonly door: LocalDoor;
  add(n: number, trail?: readonly string[]): void;
}

/** A door of [local] with `lines`, stopped when the running test is finished. */
function localDoor(lines: (directory: string) => string, retry = "20ms"): Beside {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-local-"));
  const local = `[local]\nretry = "${retry}"\n${lines(directory)}`;
  const text = `[site]\naddress = "${SITE}"\n[log]\n${local}\n`;
  const config = parseConfig(text, "test.toml", directory, {});
  if (config.local === undefined) throw new Error("no local section");
  const log = UpdateLog.open(config.log.path);
  const diagnostics = new Recorder();
  const door = new LocalDoor(config, config.local, log, systemClock, diagnostics);
  door.start();
  onTestFinished(async () => {
    await door.stop();
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    directory,
    log,
    diagnostics,
    door,
    add(n, trail = []) {
      const update = updates[n];
      if (update === undefined) throw new Error("no such update");
      const origin = { neighbour: "new", transport: "kx" } as const;
      log.append([{ update, origin, trail, receivedAt: Date.now() }]);
    },
  };
}

async function until(look: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!look()) {
    if (performance.now() > deadline) throw new Error("not within ten seconds");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Fingerprints of the keys in a mail as it was left or piped. */
function keysOf(mail: Buffer): string[] {
  expect(mail.includes("\r")).toBe(false);
  expect(mail.toString("latin1")).toMatch(
    new RegExp(`^From ${SITE} (Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \\d]\\d \\d\\d:`),
  );
  const { fields, bodyStart } = readHead(mail);
  const read = recognise(fields, [mail.subarray(bodyStart)]);
  if (read.command === "reply") throw new Error("a reply");
  expect(read.trail.at(-1)).toBe(SITE);
  return admit(read.armor).updates.map(({ fingerprint }) => fingerprint);
}

describe("files", () => {
  test.each([
    ["pksd", /^pks-mail\.[0-9a-f]{32}-\d+$/],
    ["sks", /^msg-[0-9a-f]{32}-\d+\.ready$/],
  ])("of %s hold one mail each, once, and nothing else is seen", async (type, name) => {
    const { directory, add, door, diagnostics } = localDoor(() => {
      return `type = "${type}"\ndirectory = "spool"\naddress = "pks@ks.example.org"`;
    });
    const spool = join(directory, "spool");
    mkdirSync(spool);
    const seen = new Set<string>();
    add(0);
    add(1, ["PKS@ks.example.org"]);
    add(2);
    await until(() => {
      for (const file of readdirSync(spool)) seen.add(file);
      return door.status().backlog === 0;
    });
    const files = readdirSync(spool);
    expect([...seen].filter((file) => !file.startsWith(".")).sort()).toEqual(files.sort());
    for (const file of files) expect(file).toMatch(name);
    const keys = files.flatMap((file) => keysOf(readFileSync(join(spool, file))));
    expect([...new Set(keys)].sort()).toEqual(
      [updates[0]?.fingerprint, updates[2]?.fingerprint].sort(),
    );
    expect(diagnostics.all("sent")).toMatchObject([
      { neighbour: LOCAL_LANE },
      { neighbour: LOCAL_LANE },
    ]);
  });

  test("wait for their directory, and the server is told of each", async () => {
    const { directory, add, door, diagnostics } = localDoor((path) => {
      const script = `require("fs").appendFileSync("${path}/told", process.argv[1] + "\\n")`;
      const notify = [process.execPath, "-e", script, "mail {}"];
      return `type = "pksd"\ndirectory = "spool"\nnotify = ${JSON.stringify(notify)}`;
    });
    const spool = join(directory, "spool");
    add(0);
    await until(() => diagnostics.all("stalled").length > 1);
    expect(door.status()).toMatchObject({ backlog: 1, lastError: /ENOENT/ });
    mkdirSync(spool);
    await until(() => door.status().backlog === 0);
    const told = readFileSync(join(directory, "told"), "utf8").trim().split("\n");
    expect(told.sort()).toEqual(readdirSync(spool).map((name) => `mail ${join(spool, name)}`));
  });

  test("are not doubled by a notice that fails, and wait for it", async () => {
    const { directory, add, door, diagnostics } = localDoor((path) => {
      const notify = ["test", "-e", `${path}/pksd-is-up`];
      return `type = "pksd"\ndirectory = "spool"\nnotify = ${JSON.stringify(notify)}`;
    });
    mkdirSync(join(directory, "spool"));
    add(0);
    await until(() => diagnostics.all("stalled").length > 2);
    expect(readdirSync(join(directory, "spool"))).toHaveLength(1);
    expect(door.status().lastError).toBe("test exited with 1");
    writeFileSync(join(directory, "pksd-is-up"), "");
    await until(() => door.status().backlog === 0);
  });
});

describe("a program", () => {
  /** A shell script that reads its mail into a file and ends as the file `code` says. */
  function command(script: string) {
    return localDoor((path) => {
      writeFileSync(join(path, "take.sh"), `cd ${path}; ${script}\n`);
      return `type = "command"\ncommand = ["/bin/sh", "${join(path, "take.sh")}"]`;
    });
  }

  test("gets each mail on its standard input", async () => {
    const { directory, add, door } = command("cat > mail.$$");
    add(0);
    add(1);
    await until(() => door.status().backlog === 0);
    const mails = readdirSync(directory).filter((name) => name.startsWith("mail."));
    const keys = mails.flatMap((name) => keysOf(readFileSync(join(directory, name))));
    expect(keys.sort()).toEqual([updates[0]?.fingerprint, updates[1]?.fingerprint].sort());
  });

  test.each(["exit 75", "exit 1", "kill -9 $$"])("is tried again after %s", async (end) => {
    const { directory, add, door, diagnostics } = command(
      `test -e ok && exit 0; cat >/dev/null; echo not now >&2; ${end}`,
    );
    add(0);
    await until(() => diagnostics.all("stalled").length > 1);
    expect(door.status()).toMatchObject({ backlog: 1, lastError: /not now/ });
    writeFileSync(join(directory, "ok"), "");
    await until(() => door.status().backlog === 0);
    expect(diagnostics.all("undelivered")).toEqual([]);
  });

  test("that says 65 refuses that update, not those after it", async () => {
    const { add, door, log, diagnostics } = command("echo bad key >&2; exit 65");
    add(0);
    add(1);
    await until(() => door.status().backlog === 0);
    expect(log.exceptions.list(LOCAL_LANE, "refused", 9)).toMatchObject([
      { site: LOCAL_LANE, code: 65, text: "/bin/sh exited with 65: bad key" },
      { site: LOCAL_LANE, code: 65 },
    ]);
    expect(diagnostics.all("sent")).toEqual([]);
  });

  test("that is missing, or reads nothing, stops nobody", async () => {
    const missing = localDoor(() => 'type = "command"\ncommand = ["/nowhere/program"]');
    missing.add(0);
    await until(() => missing.diagnostics.all("stalled").length > 0);
    expect(missing.door.status().lastError).toContain("ENOENT");
    const deaf = command("exit 0");
    deaf.add(0);
    await until(() => deaf.door.status().backlog === 0);
  });

  test("is ended when we go down, and the update kept", async () => {
    const { add, door, directory } = command("touch started; exec sleep 60");
    add(0);
    await until(() => existsSync(join(directory, "started")));
    await door.stop(50);
    expect(door.status()).toMatchObject({ backlog: 1, attempt: 0 });
  });
});

describe("HKP", () => {
  interface Posted {
    readonly path: string | undefined;
    readonly form: URLSearchParams;
    readonly headers: IncomingMessage["headers"];
  }

  async function keyserver(
    answer: (response: ServerResponse, count: number) => void,
    lookup: (response: ServerResponse) => void = (response) => response.writeHead(404).end(),
  ): Promise<{ readonly url: string; readonly posted: Posted[]; readonly asked: string[] }> {
    const posted: Posted[] = [];
    const asked: string[] = [];
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      request.on("end", () => {
        const form = new URLSearchParams(text);
        if (request.method === "GET") {
          asked.push(request.url ?? "");
          lookup(response);
          return;
        }
        posted.push({ path: request.url, form, headers: request.headers });
        answer(response, posted.length);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, posted, asked };
  }

  test("posts each update with the trail", async () => {
    const { url, posted } = await keyserver((response) => response.end('{"inserted":[{}]}'));
    const { add, door } = localDoor(() => `type = "hkp"\nurl = "${url}/"`);
    add(0, ["a@b.example"]);
    add(1);
    await until(() => door.status().backlog === 0);
    const [first] = posted;
    expect(first?.path).toBe("/pks/add");
    // onak takes no other, and none with a charset.
    expect(first?.headers["content-type"]).toBe("application/x-www-form-urlencoded");
    expect(first?.headers["pks-sender"]).toBe(SITE);
    expect(first?.headers["pks-from"]).toBeUndefined();
    expect(first?.headers["pks-recipients"]).toBe(`mailto:a@b.example, mailto:${SITE}`);
    const keys = posted.map(({ form }) => admit([Buffer.from(form.get("keytext") ?? "")]));
    expect(keys.flatMap((key) => key.updates.map(({ hash }) => hash))).toEqual([
      updates[0]?.hash,
      updates[1]?.hash,
    ]);
  });

  test("says its own HKP address, and no longer trail than others read", async () => {
    const { url, posted } = await keyserver((response) => response.end('{"updated":[{}]}'));
    const { add, door } = localDoor(
      () => `type = "hkp"\nurl = "${url}"\n[hkp]\nlisten = ["127.0.0.1:11372"]`,
    );
    add(
      0,
      Array.from({ length: 200 }, (_, n) => `pgp-public-keys@keys-${n}.of.somewhere.example.net`),
    );
    await until(() => door.status().backlog === 0);
    expect(posted[0]?.headers["pks-from"]).toBe("hkp://kx.example.org:11372");
    const recipients = String(posted[0]?.headers["pks-recipients"]);
    expect(recipients).toMatch(new RegExp(`keys-199[^,]*, mailto:${SITE}$`));
    expect(recipients.length).toBeLessThan(6000);
  });

  test("an error is never sent: tried again until it is taken", async () => {
    const answers = [
      (response: ServerResponse) => response.destroy(),
      (response: ServerResponse) => response.writeHead(503).end("busy"),
      (response: ServerResponse) => response.writeHead(404).end("no such page"),
      (response: ServerResponse) => response.writeHead(302, { Location: "/" }).end(),
      (response: ServerResponse) => response.end("<html>Welcome to the captive portal</html>"),
      (response: ServerResponse) => response.end('{"status": "ok"}'),
      (response: ServerResponse) => response.end('{"updated":["x"]}'),
    ];
    const { url, posted } = await keyserver((response, count) => answers[count - 1]?.(response));
    const { add, door, diagnostics } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
    add(0);
    await until(() => door.status().backlog === 0);
    expect(posted).toHaveLength(answers.length);
    expect(diagnostics.all("sent")).toHaveLength(1);
    expect(diagnostics.all("undelivered")).toEqual([]);
  });

  test("nobody there, and a request broken off when we go down", async () => {
    const { url } = await keyserver(() => {});
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const nobody = localDoor(() => `type = "hkp"\nurl = "http://127.0.0.1:${port}"`);
    nobody.add(0);
    await until(() => nobody.diagnostics.all("stalled").length > 0);
    expect(nobody.door.status().lastError).toContain("ECONNREFUSED");
    const silent = localDoor(() => `type = "hkp"\nurl = "${url}"`);
    silent.add(0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await silent.door.stop(10);
    expect(silent.door.status()).toMatchObject({ backlog: 1, attempt: 0 });
  });

  describe("an update that Hockeypuck ignored", () => {
    const ignoring = (response: ServerResponse) => response.end('{"ignored":["rsa4096/ab"]}');
    const delivered = async (lookup: (response: ServerResponse) => void) => {
      const { url, asked } = await keyserver(ignoring, lookup);
      const { add, door, diagnostics } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
      add(0);
      await until(() => door.status().backlog === 0);
      const search = `search=0x${updates[0]?.fingerprint}`;
      expect(asked).toEqual([`/pks/lookup?op=get&options=mr&${search}`]);
      return [diagnostics.all("sent").length, diagnostics.all("undelivered")] as const;
    };

    test("is sent when it serves all of it", async () => {
      const armor = keyArmor(keyNames[0] ?? "");
      expect(await delivered((response) => response.end(armor))).toEqual([1, []]);
    });

    test("is refused when it does not, and the lane goes on", async () => {
      const other = keyArmor(keyNames[1] ?? "");
      const [sent, undelivered] = await delivered((response) => response.end(other));
      expect(sent).toBe(0);
      expect(undelivered).toMatchObject([
        { code: 200, words: /ignored, and it does not serve \d+ of \d+ packets$/ },
      ]);
    });

    test.each([
      ["no armor", "<html>"],
      ["a damaged packet", encodeArmor(Buffer.of(0x99, 1))],
    ])("is refused when it serves %s", async (_, text) => {
      const [sent, undelivered] = await delivered((response) => response.end(text));
      expect(sent).toBe(0);
      expect(undelivered).toMatchObject([{ words: /ignored, and it does not serve/ }]);
    });

    test("is refused when it serves no such key", async () => {
      const [sent, undelivered] = await delivered((response) => response.writeHead(404).end());
      expect(sent).toBe(0);
      expect(undelivered).toMatchObject([{ words: /does not serve the key \(404\)$/ }]);
    });

    test("goes once more with the self-signatures that it serves, and is sent then", async () => {
      const ann = new Signer(1);
      const [name, other] = [ann.userId("Ann"), ann.userId("Ann at work")];
      const at = 1_700_000_000;
      const own = [ann.over(name, { at }), ann.over(other, { at })] as const;
      const theirs = [2, 3, 4].map((n) => claim(0x10, at + n, `${n}`.repeat(16)));
      const [onName, onOther, later] = theirs as [Packet, Packet, Packet];
      // A keyserver that has the key, beside a gateway whose log is new.
      const store = hockeypuckStore();
      store.take(ann.key(name, own[0], other, own[1]));
      const held = () => {
        const packets = [...store.held.values()].flatMap((names) =>
          [...names].map((text): Packet => {
            const [tag = "", hex = ""] = text.split(" ");
            return { tag: Number(tag), body: Buffer.from(hex, "hex") };
          }),
        );
        return encodePackets(packets);
      };
      const { url, posted, asked } = await keyserver(
        (response) => {
          const before = Buffer.from(held());
          const [block] = readArmor(Buffer.from(posted.at(-1)?.form.get("keytext") ?? ""));
          if (block === undefined || block instanceof Error) throw new Error("no armor");
          store.take(block.data);
          const isTaken = Buffer.compare(before, held()) !== 0;
          response.end(`{"${isTaken ? "updated" : "ignored"}":["(4)eddsa/ab"]}`);
        },
        (response) => response.end(encodeArmor(held())),
      );
      const { log, door, diagnostics } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
      const append = (...packets: Packet[]) => {
        const [key] = readKeys(ann.key(...packets));
        if (key === undefined || key instanceof Error) throw new Error("no key");
        const origin = { neighbour: "new", transport: "mail" } as const;
        const update = updateOf(key);
        log.append([{ update, origin, trail: [], receivedAt: Date.now() }]);
      };
      append(name, onName);
      await until(() => door.status().backlog === 0);
      expect(posted).toHaveLength(2);
      // Of this one a part is taken at once: what was thrown away is seen all the same.
      append(name, own[0], later, other, onOther);
      await until(() => door.status().backlog === 0);
      expect(posted).toHaveLength(4);
      expect(asked).toHaveLength(2);
      const names = [...store.held.values()].flatMap((all) => [...all]);
      for (const one of theirs) expect(names).toContain(nameOf(one));
      expect(diagnostics.all("sent")).toHaveLength(2);
      expect(diagnostics.all("undelivered")).toEqual([]);
    });

    test("never holds the lane, however many there are in a row", async () => {
      const { url } = await keyserver(
        (response, count) => response.end(count > 8 ? '{"updated":[{}]}' : '{"ignored":[{}]}'),
        (response) => response.writeHead(404).end(),
      );
      const { add, door, diagnostics } = localDoor(() => `type = "hkp"\nurl = "${url}"`, "1h");
      for (let n = 0; n < 9; n += 1) add(n);
      await until(() => door.status().backlog === 0);
      expect(diagnostics.all("undelivered")).toHaveLength(8);
      expect(diagnostics.all("sent")).toHaveLength(1);
    });

    test("waits when nobody can be asked", async () => {
      let count = 0;
      const armor = keyArmor(keyNames[0] ?? "");
      const { url, asked } = await keyserver(ignoring, (response) => {
        count += 1;
        if (count === 1) response.destroy();
        else response.end(armor);
      });
      const { add, door, diagnostics } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
      add(0);
      await until(() => door.status().backlog === 0);
      expect(asked).toHaveLength(2);
      expect(diagnostics.all("undelivered")).toEqual([]);
    });

    test("counts as sent by its revocation alone, which is all that shows of a revoked key", () => {
      const packets = readPackets(updates[0]?.body ?? new Uint8Array());
      const [primary, userId, ...more] = packets as [Packet, Packet, Packet];
      const revocation = { tag: TAG.signature, body: Buffer.from("a revocation") };
      const sent = encodePackets([primary, revocation, userId, ...more]);
      const shown = (...served: Packet[]) => heldOf(sent, served, "200 {}").kind;
      expect(shown(revocation)).toBe("delivered");
      expect(shown(primary, revocation, userId, ...more)).toBe("delivered");
      expect(shown({ ...revocation, body: Buffer.from("another") })).toBe("refused");
      expect(shown(primary, userId, ...more)).toBe("refused");
      expect(shown()).toBe("refused");
    });
  });

  test("a key above the largest mail goes in one piece: that limit is about mails", async () => {
    const { url, posted } = await keyserver((response) => response.end('{"updated":[{}]}'));
    const { log, door } = localDoor(() => `type = "hkp"\nurl = "${url}"\nmax_mail = "16KiB"`);
    const [update] = updates;
    if (update === undefined) throw new Error("no update");
    const filler = (n: number) => ({ tag: TAG.signature, body: Buffer.alloc(1000, 4 + n) });
    const more = Array.from({ length: 200 }, (_, n) => filler(n));
    const [key] = readKeys(encodePackets([...readPackets(update.body), ...more]));
    if (key === undefined || key instanceof Error) throw new Error("no key");
    const origin = { neighbour: "new", transport: "kx" } as const;
    log.append([{ update: updateOf(key), origin, trail: [], receivedAt: Date.now() }]);
    await until(() => door.status().backlog === 0);
    expect(posted).toHaveLength(1);
    expect(posted[0]?.form.get("keytext")?.length).toBeGreaterThan(200_000);
  });

  const SKS_ADDED =
    "<html><body>Key block added to key server database.\n  New public keys added: " +
    "<br>1 key(s) added successfully.<br></body></html>";

  test.each([
    [200, '{"inserted":[{"version":4,"fingerprint":"ab"}]}', "delivered"],
    [200, '{"inserted":null,"updated":null,"ignored":["rsa4096/ab"]}', "ignored"],
    [200, '{"updated":["rsa4096/ab"],"ignored":["rsa4096/cd"]}', "delivered"],
    [200, '{"ignored":["rsa4096/ab"],"invalid":["rsa4096/ab"]}', "refused"],
    [200, '{"inserted":[{}],"invalid":[{}]}', "delivered"],
    [200, '{"invalid":[{"fingerprint":"ab","comment":"no self-signature"}]}', "refused"],
    [200, "{}", "refused"],
    [200, '{"error":"database is locked"}', "temporary"],
    [200, "[]", "temporary"],
    [200, "", "temporary"],
    [200, SKS_ADDED, "delivered"],
    [200, SKS_ADDED.replace("1 key", "0 key"), "temporary"],
    [200, "<html>Add failed: a packet of version 6 is not for us<br>", "refused"],
    [200, "<html>No OpenPGP packets found in input.\n", "refused"],
    [200, "<html>Key not found\n", "refused"],
    [200, "<HTML>Key block added to key server database.\n  New public keys added: 0", "delivered"],
    [200, "<HTML>Error: No keytext to add supplied.", "temporary"],
    [500, "<h1>Error handling request</h1>Error handling request. Exception raised.", "refused"],
    [500, "Internal Server Error", "temporary"],
    [400, "Bad Request", "refused"],
    [413, "Request Entity Too Large", "refused"],
    [422, "Unprocessable Entity", "refused"],
    [401, "Unauthorized", "temporary"],
    [404, "Not Found", "temporary"],
    [429, "Too Many Requests", "temporary"],
    [502, "Bad Gateway", "temporary"],
    [204, "", "temporary"],
  ])("status %i with %j is %s", (status, text, kind) => {
    expect(answerOf(status, text).kind).toBe(kind);
  });
});

test("observe mode delivers nothing and says what it would have", async () => {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-local-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "spool"));
  const local = '[local]\ntype = "sks"\ndirectory = "spool"';
  const text = `mode = "observe"\n[site]\naddress = "${SITE}"\n[log]\n${local}\n`;
  const config = parseConfig(text, "test.toml", directory, {});
  if (config.local === undefined) throw new Error("no local section");
  const log = UpdateLog.open(config.log.path);
  const diagnostics = new Recorder();
  const door = new LocalDoor(config, config.local, log, systemClock, diagnostics);
  door.start();
  const [update] = updates;
  if (update === undefined) throw new Error("no update");
  const origin = { neighbour: "new", transport: "kx" } as const;
  log.append([{ update, origin, trail: [], receivedAt: Date.now() }]);
  await until(() => door.status().backlog === 0);
  expect(diagnostics.all("would-send")).toMatchObject([{ neighbour: LOCAL_LANE }]);
  rmdirSync(join(directory, "spool"));
  await door.stop();
  log.close();
});
