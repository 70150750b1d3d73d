/**
 * What HKP clients send: Hockeypuck, pages in browsers, and the spellings of a request that HTTP
 * allows. curl, gpg and sq themselves are tried in `npm run test:system`.
 */
import { describe, expect, onTestFinished, test } from "vitest";
import { Refusal } from "../../src/errors.js";
import { readAddForm } from "../../src/ingress/hkp-form.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { encodePackets, TAG } from "../../src/openpgp/packet.js";
import { cpuTimer, stallMeter } from "../support/cpu.js";
import { fullLog } from "../support/full-log.js";
import { soon } from "../support/soon.js";
import { FORM, form, hkpDoor, KEY, OTHER, STRANGER } from "./hkp-door.js";

/** A request as these bytes, and its answer. */
async function spoken(text: string, settings = "open = true") {
  const { open, entries } = await hkpDoor(settings);
  const client = open();
  client.socket.write(text);
  return { answer: await client.closed, entries };
}

function request(line: string, headers: readonly string[] = [], body = form(KEY)): string {
  const head = [`Content-Type: ${FORM}`, `Content-Length: ${body.length}`, ...headers];
  return `${[line, "Host: ks.example", "Connection: close", ...head].join("\r\n")}\r\n\r\n${body}`;
}

describe("a request target", () => {
  test.each([
    "/pks/add",
    "/pks/add?options=mr",
    "/pks/add?",
    "/pks/%61dd",
    "/%70%6B%73/add",
    "//pks//add",
    "/pks/add/",
    "http://ks.example/pks/add",
    "HTTP://ks.example:11371/pks/add?options=mr",
  ])("%s is /pks/add", async (target) => {
    const { answer, entries } = await spoken(request(`POST ${target} HTTP/1.1`));
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(entries()).toHaveLength(1);
  });

  test.each([
    ["/pks/addd", 404],
    ["/pks/%2561dd", 404],
    ["/pks/%ff", 400],
    ["ftp://ks.example/pks/add", 400],
    ["http://[/pks/add", 400],
    ["*", 400],
  ])("%s is %i", async (target, status) => {
    const { answer, entries } = await spoken(request(`POST ${target} HTTP/1.1`));
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(entries()).toEqual([]);
  });
});

describe("a form", () => {
  const boundary = "----WebKitFormBoundary7MA4YWxk";
  const part = (name: string, value: string, more = "") =>
    `--${boundary}\r\nContent-Disposition: form-data; ${more}name="${name}"\r\n\r\n${value}\r\n`;
  const multipart = { "Content-Type": `multipart/form-data; boundary="${boundary}"` };

  test.each([
    ["of one field", part("keytext", KEY)],
    ["of an upload", part("options", "mr") + part("keytext", KEY, 'filename="a.asc"; ')],
    ["with a preamble", `This is a form.\r\n${part("keytext", KEY)}`],
  ])("of parts is read: %s", async (_, parts) => {
    const { post, entries } = await hkpDoor();
    const answer = await post(`${parts}--${boundary}--\r\n`, {}, multipart);
    expect([answer.status, entries().length]).toEqual([200, 1]);
  });

  test.each([
    ["without a keytext", `${part("options", "mr")}--${boundary}--\r\n`, multipart, 400],
    ["with two", `${part("keytext", KEY)}${part("keytext", OTHER)}`, multipart, 400],
    ["with many parts", part("x", "").repeat(50) + part("keytext", KEY), multipart, 400],
    ["without its boundary", part("keytext", KEY), { "Content-Type": "multipart/form-data" }, 400],
    ["with another boundary", part("keytext", KEY).replaceAll("7MA", "8MA"), multipart, 400],
    ["that is a key as it is", KEY, { "Content-Type": "application/pgp-keys" }, 400],
    ["that is text", form(KEY), { "Content-Type": "text/plain" }, 400],
  ])("%s is a bad request", async (_, body, headers, status) => {
    const { post, entries } = await hkpDoor();
    expect(await post(body, {}, headers)).toMatchObject({ status });
    expect(entries()).toEqual([]);
  });

  test("without a content type is read, in chunks as well, and over HTTP/1.0", async () => {
    const body = form(KEY);
    const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const head = "POST /pks/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    const requests = [
      `${head}Content-Length: ${body.length}\r\n\r\n${body}`,
      `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}`,
      request("POST /pks/add HTTP/1.0"),
    ];
    for (const text of requests) {
      const { answer, entries } = await spoken(text);
      expect([answer.slice(0, 12), entries().length]).toEqual(["HTTP/1.1 200", 1]);
    }
  });

  test("in chunks of one byte costs no more than its bytes", async () => {
    const { open, diagnostics } = await hkpDoor("open = true");
    const { socket, closed } = open();
    const before = process.memoryUsage.rss();
    let most = 0;
    const meter = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, 5);
    onTestFinished(() => clearInterval(meter));
    socket.write("POST /pks/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    socket.write(`Content-Type: ${FORM}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const some = "1\r\na\r\n".repeat(10_000);
    for (let n = 0; n < 40; n += 1) {
      if (!socket.write(some)) await new Promise((resolve) => socket.once("drain", resolve));
    }
    socket.write("0\r\n\r\n");
    expect(await closed).toMatch(/^HTTP\/1\.1 400 /);
    expect(diagnostics.all("mail-refused")).toMatchObject([{ reason: "bad-request" }]);
    // As buffers of their own, 400,000 bytes cost a hundred times as many.
    expect((most - before) / 2 ** 20).toBeLessThan(40);
  });
});

describe("what a form is made of", () => {
  test.each([
    ["keytext=a%41%4a+b%2B%", "aAJ b+%"],
    ["keytext=%zz%4", "%zz%4"],
    ["%6beytext=x&options=mr", "x"],
    ["&&a&keytext=x=y&", "x=y"],
  ])("%s is read as browsers write it", (body, expected) => {
    const { keytext } = readAddForm(FORM, Buffer.from(body));
    expect(Buffer.from(keytext).toString()).toBe(expected);
    expect(new URLSearchParams(body).get("keytext")).toBe(expected);
  });

  test.each([
    ["blanks", `keytext=${"a+".repeat(2_000_000)}`],
    ["escapes", `keytext=${"%41".repeat(1_390_000)}`],
    ["escapes that are none", `keytext=${"%".repeat(4_000_000)}`],
    ["empty fields", "&".repeat(4_000_000)],
    ["fields", "a=b&".repeat(1_000_000)],
    ["parts", "--b\r\n".repeat(800_000), "multipart/form-data; boundary=b"],
    [
      "heads of parts",
      `--b\r\n${"content-disposition:; ".repeat(200_000)}\r\n\r\n`,
      "multipart/form-data; boundary=b",
    ],
  ])("4 MiB of %s cost less than 100 ms", (_, body, type = FORM) => {
    const bytes = Buffer.from(body);
    const costs = [1, 2, 3].map(() => {
      const cpuMs = cpuTimer();
      try {
        readAddForm(type, bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal);
      }
      return cpuMs();
    });
    expect(Math.min(...costs)).toBeLessThan(100);
  });
});

describe("Expect: 100-continue", () => {
  const expecting = ["Expect: 100-continue"];
  const [head = "", body = ""] = [
    request("POST /pks/add HTTP/1.1", expecting).split("\r\n\r\n")[0],
    form(KEY),
  ];

  test("is answered 100 by a door that takes the body", async () => {
    const { open, entries } = await hkpDoor("open = true");
    const client = open();
    client.socket.write(`${head}\r\n\r\n`);
    await soon(client.heard).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    client.socket.write(body);
    expect(await client.closed).toContain("HTTP/1.1 200 OK");
    expect(entries()).toHaveLength(1);
  });

  test("is answered at once, and not 100, by one that does not", async () => {
    const { open } = await hkpDoor();
    const client = open();
    client.socket.write(`${head}\r\n\r\n`);
    expect(await client.closed).toMatch(/^HTTP\/1\.1 403 (?:.|\s)*not a neighbour/);
    expect(client.heard()).not.toContain("100 Continue");
  });
});

describe("a page of another site", () => {
  const origin = { Origin: "https://mail.example" };

  test("may post to the open door and read its answers", async () => {
    const { post } = await hkpDoor("open = true");
    const asked = { ...origin, "Access-Control-Request-Method": "POST" };
    const preflight = await post("", { method: "OPTIONS", from: STRANGER }, asked);
    expect(preflight).toMatchObject({
      status: 204,
      headers: {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": expect.stringContaining("POST"),
        "access-control-allow-headers": "Content-Type",
      },
    });
    for (const [body, status] of [[form(KEY), 200] as const, ["", 400] as const]) {
      const answer = await post(body, { from: STRANGER }, origin);
      expect(answer).toMatchObject({ status, headers: { "access-control-allow-origin": "*" } });
    }
  });

  test("hears nothing of that where only neighbours may post", async () => {
    const { post } = await hkpDoor();
    for (const method of ["OPTIONS", "POST"]) {
      const { status, headers } = await post("", { method, from: STRANGER }, origin);
      expect([method, status]).toEqual([method, method === "POST" ? 403 : 405]);
      expect(Object.keys(headers).filter((name) => name.startsWith("access-"))).toEqual([]);
    }
  });
});

describe("a neighbour that is a keyserver", () => {
  const SENDER = { "PKS-Sender": "pgp-public-keys@pks.example.net" };
  const decline = { judge: () => new Refusal("blocked", "The key is not carried here.") };

  test("hears of a key that is declined as of one that is known", async () => {
    const { post, entries, diagnostics } = await hkpDoor("", decline);
    const answer = await post(form(KEY), {}, SENDER);
    expect(answer.status).toBe(200);
    const fingerprint = expect.stringMatching(/^[0-9a-f]{40}$/);
    expect(JSON.parse(answer.body)).toEqual({
      ...{ inserted: [], updated: [], ignored: [{ version: 4, fingerprint }], invalid: [] },
    });
    expect((await post(`${form(KEY)}&options=mr`)).status).toBe(200);
    expect(entries()).toEqual([]);
    expect(diagnostics.all("mail-refused").map(({ reason }) => reason)).toEqual([
      ...["blocked", "blocked"],
    ]);
  });

  test("keeps nobody waiting with a large key that is declined", async () => {
    const { post } = await hkpDoor('max_size = "16MiB"', decline);
    const signatures = Array.from({ length: 100_000 }, (_, n) => {
      const body = Buffer.alloc(60, 4);
      // In no order, which costs most.
      body.writeUInt32BE(Math.imul(n, 0x9e3779b1) >>> 0, 14);
      return { tag: TAG.signature, body };
    });
    const [first] = readArmor(Buffer.from(KEY));
    if (first === undefined || first instanceof Refusal) throw new Error("the fixture is no key");
    const bytes = Buffer.concat([first.data, encodePackets(signatures)]);
    const body = Buffer.from(form(encodeArmor(bytes)));
    const meter = stallMeter();
    onTestFinished(() => meter.stop());
    const answer = await post(body, {}, SENDER);
    expect(JSON.parse(answer.body).ignored).toHaveLength(1);
    expect(meter.most()).toBeLessThan(100);
  });

  test("goes on after a key that is too large", async () => {
    const { post } = await hkpDoor('max_size = "1KiB"');
    expect(await post(form(KEY), {}, SENDER)).toMatchObject({ status: 200 });
    expect(await post(form(KEY))).toMatchObject({ status: 413 });
  });

  test("hears of a request that makes no sense, as anybody does", async () => {
    const { post } = await hkpDoor("", decline);
    expect(await post("options=mr", {}, SENDER)).toMatchObject({ status: 400 });
    expect(await post(form("hello"), {}, SENDER)).toMatchObject({ status: 422 });
  });

  test("is not believed at another address; a person hears why", async () => {
    const { post } = await hkpDoor("open = true", decline);
    const headers = { ...SENDER, "PKS-Recipients": "mailto:a@b.example" };
    const answer = await post(`${form(KEY)}&options=mr`, { from: STRANGER }, headers);
    expect(answer).toMatchObject({ status: 422, body: "The key is not carried here.\n" });
    expect(await post(form(KEY))).toMatchObject({ status: 422 });
  });

  test("is cut off, not answered, while the key cannot be stored", async () => {
    const { post, diagnostics } = await hkpDoor("", { wrap: fullLog });
    await expect(post(form(KEY), {}, SENDER)).rejects.toThrow(/socket hang up|ECONNRESET/);
    expect(diagnostics.all("mail-deferred")).toMatchObject([{ kind: "disk-full" }]);
    expect((await post(form(KEY))).status).toBe(503);
  });
});
