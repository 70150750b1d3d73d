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
  renameSync,
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
import { KeyCompletion } from "../../src/delivery/completion.js";
import { LOCAL_LANE, LocalDoor } from "../../src/delivery/local-door.js";
import { answerOf, heldOf } from "../../src/delivery/local-hkp.js";
import { OWN_FILES } from "../../src/delivery/local-spool.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import {
  encodePackets,
  type Packet,
  packetKey,
  readPackets,
  TAG,
} from "../../src/openpgp/packet.js";
import { Recorder } from "../ingress/door.js";
import { bytes, keyArmor, keyNames } from "../mail/fixtures.js";
import { hockeypuckStore, nameOf } from "../mail/oracles/stores.js";
import { claim } from "../openpgp/material.js";
import { Signer } from "../openpgp/signer.js";
import { SpoolCollector } from "../support/spool-collector.js";
import { until } from "../support/until.js";

const SITE = "pgp-public-keys@kx.example.org";
const updates = admit(keyNames.map((name) => bytes(keyArmor(name)))).updates;

interface Beside {
  readonly directory: string;
  readonly log: UpdateLog;
  readonly diagnostics: Recorder;
  readonly door: LocalDoor;
  add(n: number, trail?: readonly string[]): void;
  /** Appends a key, encoded. */
  append(packets: Uint8Array): void;
}

/** The page of SKS. */
const SKS_ADDED =
  "<html><body>Key block added to key server database.\n  New public keys added: " +
  "<br>1 key(s) added successfully.<br></body></html>";
/** A primary key of version 6. */
const V6 = Buffer.from([6, 0, 0, 0, 0, 27, 0, 0, 0, 32, ...new Uint8Array(32)]);

/** Short enough for a test, in the proportions of the real ones. */
const TIMES = { lookMs: 5, againMs: 100, takenMs: 300 };

/** A door of [local] with `lines`, stopped when the running test is finished. */
function localDoor(lines: (directory: string) => string, retry = "20ms"): Beside {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-local-"));
  const local = `[local]\nretry = "${retry}"\n${lines(directory)}`;
  const text = `[site]\naddress = "${SITE}"\n[log]\n${local}\n`;
  const config = parseConfig(text, "test.toml", directory, {});
  if (config.local === undefined) throw new Error("no local section");
  const log = UpdateLog.open(config.log.path);
  const diagnostics = new Recorder();
  const completion =
    config.local.type === "hkp" ? new KeyCompletion(config.local.url, log, systemClock) : undefined;
  const door = new LocalDoor(
    { log, clock: systemClock, diagnostics, completion },
    { config, local: config.local, times: TIMES },
  );
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
    append(packets) {
      const [key] = readKeys(packets);
      if (key === undefined || key instanceof Error) throw new Error("no key");
      const origin = { neighbour: "new", transport: "mail" } as const;
      const update = updateOf(key);
      log.append([{ update, origin, trail: [], receivedAt: Date.now() }]);
    },
  };
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

/** A keyserver that is stopped when the test is finished. */
function collector(spool: string, prefix: string): SpoolCollector {
  const keyserver = new SpoolCollector(spool, prefix);
  onTestFinished(() => keyserver.stop());
  return keyserver;
}

describe("files", () => {
  test.each([
    ["pksd" as const, "pks-mail.", /^pks-mail\.\d{12}-[0-9a-f]{32}-\d+$/],
    ["sks" as const, "msg-", /^msg-\d{12}-[0-9a-f]{32}-\d+\.ready$/],
  ])("of %s hold one mail each, once, in the order of the log", async (type, prefix, pattern) => {
    const { directory, add, door, diagnostics } = localDoor(() => {
      return `type = "${type}"\ndirectory = "spool"\naddress = "pks@ks.example.org"`;
    });
    const spool = join(directory, "spool");
    mkdirSync(spool);
    const keyserver = collector(spool, prefix);
    for (const n of [0, 1, 2, 3]) add(n, n === 1 ? ["PKS@ks.example.org"] : []);
    await until(() => readdirSync(spool).some((name) => name.startsWith(prefix)));
    expect(diagnostics.all("sent")).toEqual([]);
    keyserver.start();
    await until(() => door.status().backlog === 0);
    for (const { name } of keyserver.taken) {
      expect(name).toMatch(pattern);
      expect(name).toMatch(OWN_FILES[type]);
    }
    expect(keyserver.taken.map(({ name }) => name)).toEqual(
      keyserver.taken.map(({ name }) => name).toSorted(),
    );
    expect(keyserver.taken.flatMap(({ mail }) => keysOf(mail))).toEqual(
      [0, 2, 3].map((n) => updates[n]?.fingerprint),
    );
    expect(readdirSync(spool)).toEqual([]);
    expect(diagnostics.all("sent")).toMatchObject([
      { neighbour: LOCAL_LANE },
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
    const keyserver = collector(spool, "pks-mail.");
    add(0);
    await until(() => diagnostics.all("stalled").length > 1);
    expect(door.status()).toMatchObject({ backlog: 1, lastError: expect.stringMatching(/ENOENT/) });
    mkdirSync(spool);
    await until(() => existsSync(join(directory, "told")));
    keyserver.start();
    await until(() => door.status().backlog === 0);
    const told = readFileSync(join(directory, "told"), "utf8").trim().split("\n");
    expect(told).toContain(`mail ${join(spool, keyserver.taken[0]?.name ?? "")}`);
  });

  test("are not doubled by a notice that fails, and wait for it", async () => {
    const { directory, add, door, diagnostics } = localDoor((path) => {
      const notify = ["test", "-e", `${path}/pksd-is-up`];
      return `type = "pksd"\ndirectory = "spool"\nnotify = ${JSON.stringify(notify)}`;
    });
    const spool = join(directory, "spool");
    mkdirSync(spool);
    add(0);
    await until(() => diagnostics.all("stalled").length > 2);
    // Beside it there may be a file that is being written.
    const mails = readdirSync(spool).filter((name) => name.startsWith("pks-mail."));
    expect(mails).toHaveLength(1);
    expect(door.status().lastError).toBe("test exited with 1");
    const keyserver = collector(spool, "pks-mail.");
    keyserver.start();
    await until(() => keyserver.taken.length > 0);
    writeFileSync(join(directory, "pksd-is-up"), "");
    await until(() => door.status().backlog === 0);
  });

  test("are not sent while pksd is dead and pksdctl exits with 0", async () => {
    const { directory, add, door, diagnostics } = localDoor((path) => {
      const notify = ["/bin/sh", "-c", `echo "$0" >> ${path}/told`, "mail {}"];
      return `type = "pksd"\ndirectory = "spool"\nnotify = ${JSON.stringify(notify)}`;
    });
    const spool = join(directory, "spool");
    mkdirSync(spool);
    add(0);
    await until(() => diagnostics.all("stalled").length > 0);
    const path = expect.stringContaining(`${spool}/pks-mail.0000`);
    // Told at once, and again within the wait: twice, unless the machine is busy.
    const told = readFileSync(join(directory, "told"), "utf8").trim().split("\n");
    expect(told.length).toBeGreaterThanOrEqual(2);
    expect(new Set(told).size).toBe(1);
    expect(diagnostics.all("spool-waits")[0]).toMatchObject({ neighbour: LOCAL_LANE, path });
    expect(door.status().lastError).toMatch(
      /still there after .*: the keyserver has not taken it$/,
    );
    expect(diagnostics.all("sent")).toEqual([]);
    expect(readdirSync(spool).filter((name) => name.startsWith("pks-"))).toHaveLength(1);
    const keyserver = collector(spool, "pks-mail.");
    keyserver.start();
    await until(() => door.status().backlog === 0);
    expect(new Set(keyserver.taken.flatMap(({ mail }) => keysOf(mail)))).toEqual(
      new Set([updates[0]?.fingerprint]),
    );
    expect(diagnostics.all("sent")).toHaveLength(1);
  });

  test("hold several updates when the keyserver is behind", async () => {
    const { directory, log, door } = localDoor(() => 'type = "pksd"\ndirectory = "spool"');
    const spool = join(directory, "spool");
    mkdirSync(spool);
    const plain = updates.slice(0, 5);
    const origin = { neighbour: "new", transport: "kx" } as const;
    const receivedAt = Date.now() - 3_600_000;
    log.append(plain.map((update) => ({ update, origin, trail: [], receivedAt })));
    const keyserver = collector(spool, "pks-mail.");
    keyserver.start();
    await until(() => door.status().backlog === 0);
    expect(keyserver.taken[0]?.name).toMatch(OWN_FILES.pksd);
    expect(keyserver.taken.map(({ name }) => name.replace(/-[0-9a-f]{32}-/, " "))).toEqual([
      "pks-mail.000000000001 p5",
    ]);
    expect(keysOf(keyserver.taken[0]?.mail ?? Buffer.of())).toEqual(
      plain.map((one) => one.fingerprint),
    );
  });

  test("that SKS could not use are refused, and the next one goes on", async () => {
    const { directory, add, door, diagnostics } = localDoor(
      () => 'type = "sks"\ndirectory = "messages"',
    );
    const [messages, failed] = [join(directory, "messages"), join(directory, "failed_messages")];
    mkdirSync(messages);
    mkdirSync(failed);
    add(0);
    await until(() => readdirSync(messages).some((name) => name.startsWith("msg-")));
    const [name = ""] = readdirSync(messages);
    renameSync(join(messages, name), join(failed, name));
    const keyserver = collector(messages, "msg-");
    keyserver.start();
    add(1);
    await until(() => door.status().backlog === 0);
    expect(diagnostics.all("undelivered")).toMatchObject([
      {
        fingerprint: updates[0]?.fingerprint,
        words: expect.stringMatching(/could not use it and moved it to .*\/failed_/),
      },
    ]);
    expect(diagnostics.all("sent")).toMatchObject([{ fingerprint: updates[1]?.fingerprint }]);
  });

  test("that nobody takes do not keep the gateway from stopping", async () => {
    const { directory, add, door } = localDoor(() => 'type = "sks"\ndirectory = "spool"', "1h");
    const spool = join(directory, "spool");
    mkdirSync(spool);
    add(0);
    await until(() => readdirSync(spool).some((name) => name.startsWith("msg-")));
    const start = performance.now();
    await door.stop(60_000);
    expect(performance.now() - start).toBeLessThan(200);
    expect(door.status()).toMatchObject({ backlog: 1, attempt: 0 });
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
    expect(door.status()).toMatchObject({
      backlog: 1,
      lastError: expect.stringMatching(/not now/),
    });
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
        {
          code: 200,
          words: expect.stringMatching(/"ignored".*, and it does not serve \d+ of \d+ packets$/),
        },
      ]);
    });

    test.each([
      ["no armor", "<html>"],
      ["a damaged packet", encodeArmor(Buffer.of(0x99, 1))],
    ])("is refused when it serves %s", async (_, text) => {
      const [sent, undelivered] = await delivered((response) => response.end(text));
      expect(sent).toBe(0);
      expect(undelivered).toMatchObject([
        { words: expect.stringMatching(/"ignored".*, and it does not serve/) },
      ]);
    });

    test("is refused when it serves no such key", async () => {
      const [sent, undelivered] = await delivered((response) => response.writeHead(404).end());
      expect(sent).toBe(0);
      expect(undelivered).toMatchObject([
        { words: expect.stringMatching(/does not serve the key \(404\)$/) },
      ]);
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

    test("under a name of 2.4 goes once more as well", async () => {
      const ann = new Signer(1);
      const name = ann.userId("Ann");
      const own = ann.over(name, { at: 1_700_000_000 });
      const theirs = claim(0x10, 1_700_000_001, "2".repeat(16));
      const summary = (word: string) =>
        JSON.stringify({ [word]: [{ version: 4, fingerprint: ann.fingerprint }] });
      const { url, posted } = await keyserver(
        (response, count) => response.end(summary(count === 1 ? "invalid" : "updated")),
        (response) => response.end(encodeArmor(ann.key(name, own))),
      );
      const { door, diagnostics, append } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
      append(ann.key(name, theirs));
      await until(() => door.status().backlog === 0);
      const [block] = readArmor(Buffer.from(posted[1]?.form.get("keytext") ?? ""));
      if (block === undefined || block instanceof Error) throw new Error("no armor");
      const second = readPackets(block.data).map(packetKey);
      expect(second.sort()).toEqual([ann.primary, name, own, theirs].map(packetKey).sort());
      expect(diagnostics.all("sent")).toHaveLength(1);
    });

    test("because it knows a revocation is refused, since it takes nothing more", async () => {
      const ann = new Signer(1);
      const name = ann.userId("Ann");
      const revocation = ann.over(ann.primary, { at: 1_700_000_009, type: 0x20 });
      const { url } = await keyserver(ignoring, (response) =>
        response.end(encodeArmor(encodePackets([revocation]))),
      );
      const { door, diagnostics, append } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
      append(ann.key(name, ann.over(name, { at: 1_700_000_000 })));
      await until(() => door.status().backlog === 0);
      expect(diagnostics.all("undelivered")).toMatchObject([
        {
          code: 200,
          words: expect.stringMatching(
            /^200 .*, and it serves a revocation and nothing else of the key$/,
          ),
        },
      ]);
      append(ann.key(revocation, name));
      await until(() => door.status().backlog === 0);
      expect(diagnostics.all("sent")).toHaveLength(1);
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

  describe("an answer of SKS", () => {
    const ann = new Signer(1);
    const name = ann.userId("Ann");
    const own = ann.over(name, { at: 1_700_000_000 });
    const odd = ann.subkey(1, 8, 5);
    const binding = ann.over(odd, { at: 1_700_000_000 });

    test.each([
      ["sent when it serves the subkey", ann.key(name, own, odd, binding), 1],
      ["refused when it dropped it, whatever it said", ann.key(name, own), 0],
    ])("to a subkey of version 5 is looked up: %s", async (_, served, sent) => {
      const { url, posted, asked } = await keyserver(
        (response) => response.end(SKS_ADDED),
        (response) => response.end(encodeArmor(served)),
      );
      const { door, diagnostics, append } = localDoor(() => `type = "hkp"\nurl = "${url}"`);
      append(ann.key(odd, binding, name, own));
      await until(() => door.status().backlog === 0);
      // The user id was posted alone; its page is believed.
      expect(posted).toHaveLength(2);
      expect(asked).toHaveLength(1);
      expect(diagnostics.all("undelivered")).toHaveLength(1 - sent);
    });

    test("to a kind of key that it never takes is not waited for", async () => {
      const { url, posted } = await keyserver((response) => response.end(SKS_ADDED));
      const { door, diagnostics, append } = localDoor(
        () => `type = "hkp"\nurl = "${url}"\nkind = "sks"`,
      );
      append(encodePackets([{ tag: TAG.publicKey, body: V6 }, name]));
      await until(() => door.status().backlog === 0);
      expect(posted).toEqual([]);
      expect(diagnostics.all("undelivered")).toMatchObject([
        { words: 'not sent: a server of kind "sks" takes nothing of this update' },
      ]);
      expect(diagnostics.all("sent")).toEqual([]);
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

  test.each([
    [200, '{"inserted":[{"version":4,"fingerprint":"ab"}]}', "delivered"],
    [200, '{"inserted":null,"updated":null,"ignored":["rsa4096/ab"]}', "unclear"],
    [200, '{"updated":["rsa4096/ab"],"ignored":["rsa4096/cd"]}', "delivered"],
    [200, '{"ignored":["rsa4096/ab"],"invalid":["rsa4096/ab"]}', "unclear"],
    [200, '{"inserted":[{}],"invalid":[{}]}', "delivered"],
    [200, '{"invalid":[{"fingerprint":"ab","comment":"no self-signature"}]}', "unclear"],
    [200, "{}", "refused"],
    [200, '{"error":"database is locked"}', "temporary update"],
    [200, "[]", "temporary update"],
    [200, "", "temporary update"],
    [200, SKS_ADDED, "delivered"],
    [200, SKS_ADDED.replace("1 key", "0 key"), "temporary update"],
    [200, "<html>Add failed: a packet of version 6 is not for us<br>", "refused"],
    [200, "<html>No OpenPGP packets found in input.\n", "refused"],
    [200, "<html>Key not found\n", "refused"],
    [200, "<HTML>Key block added to key server database.\n  New public keys added: 0", "delivered"],
    [200, "<HTML>Error: No keytext to add supplied.", "temporary update"],
    [500, "<h1>Error handling request</h1>Error handling request. Exception raised.", "refused"],
    [500, "Internal Server Error", "temporary update"],
    [400, "Bad Request", "refused"],
    [413, "Request Entity Too Large", "refused"],
    [422, "Unprocessable Entity", "refused"],
    [401, "Unauthorized", "temporary neighbour"],
    [404, "Not Found", "temporary neighbour"],
    [302, "Found", "temporary neighbour"],
    [405, "Method Not Allowed", "temporary neighbour"],
    [409, "Conflict", "temporary update"],
    [503, "Service Unavailable", "temporary neighbour"],
    [429, "Too Many Requests", "temporary neighbour"],
    [502, "Bad Gateway", "temporary neighbour"],
    [204, "", "temporary update"],
  ])("status %i with %j is %s", (status, text, expected) => {
    const { kind, ...more } = answerOf(status, text);
    const about = "about" in more ? ` ${more.about}` : "";
    expect(`${kind}${about}`).toBe(expected);
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
  const settings = { config, local: config.local };
  const door = new LocalDoor({ log, clock: systemClock, diagnostics }, settings);
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
