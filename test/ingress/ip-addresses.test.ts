/**
 * Who may write, by address, on real sockets of both families: a neighbour is known whatever the
 * spelling in `accept_from`, the family of the listener, or the spelling of a front server.
 */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { createTransport } from "nodemailer";
import { expect, test } from "vitest";
import { composeIncremental } from "../../src/mail/compose.js";
import { armoredKeys, SITE, startGateway } from "../admin/gateway.js";
import { scratch } from "../support/scratch.js";

const [KEY = ""] = armoredKeys();
const FROM = "pgp-public-keys@pks.example.net";

async function gateway(listen: string, acceptFrom: string, more = "") {
  return await startGateway(
    `[site]\naddress = "${SITE}"\n[log]\n[smtp]\nlisten = ["${listen}"${more}]\n` +
      `[hkp]\nlisten = ["${listen}"]\n` +
      `[[peer]]\nname = "old"\nmail = "${FROM}"\naccept_from = ["${acceptFrom}"]\n`,
  );
}

async function mail(host: string, port: number, localAddress: string): Promise<string> {
  const transport = createTransport({ host, port, localAddress });
  const parts = { to: SITE, from: FROM, site: FROM, trail: [], date: Date.now(), armor: KEY };
  const raw = Buffer.from(composeIncremental({ ...parts, messageId: "<1@pks.example.net>" }));
  try {
    return (await transport.sendMail({ raw, envelope: { from: FROM, to: SITE } })).response;
  } catch (error) {
    return error instanceof Error ? error.message : "";
  } finally {
    transport.close();
  }
}

async function post(host: string, port: number, localAddress: string): Promise<number> {
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  const given = { host, port, localAddress, headers, method: "POST", path: "/pks/add" };
  return await new Promise((resolve, reject) => {
    const sent = request(given, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on("error", reject);
    sent.end(new URLSearchParams({ keytext: KEY }).toString());
  });
}

test.each([
  ["[::1]:0", "::1", "::1", "0:0:0:0:0:0:0:1", true],
  ["[::1]:0", "::1", "::1", "0000::/127", true],
  ["[::1]:0", "::1", "::1", "::2", false],
  ["[::]:0", "127.0.0.1", "127.0.0.2", "127.0.0.2", true],
  ["[::]:0", "127.0.0.1", "127.0.0.2", "::FFFF:7F00:2", true],
  ["[::]:0", "127.0.0.1", "127.0.0.2", "::ffff:127.0.0.0/120", true],
  ["[::]:0", "127.0.0.1", "127.0.0.2", "::/0", false],
  ["127.0.0.1:0", "127.0.0.1", "127.0.0.2", "::ffff:127.0.0.2", true],
])("on %s, at %s, from %s, %s: %s", async (listen, host, from, acceptFrom, isKnown) => {
  const { gateway: running } = await gateway(listen, acceptFrom);
  const { smtp, hkp } = running.listening;
  expect(await mail(host, smtp[0]?.port ?? 0, from)).toMatch(isKnown ? /^250 / : /550 5\.7\.1/);
  expect(await post(host, hkp[0]?.port ?? 0, from)).toBe(isKnown ? 200 : 403);
});

test.each([
  ["IPV6:2001:DB8:0:0:0:0:0:9", /^250 /],
  ["IPV6:2001:db8::9", /^250 /],
  ["IPV6:2001:db8::a", /^550 5\.7\.1/],
])("a front server may say it as %s", async (said, expected) => {
  const path = `${scratch()}/lmtp.sock`;
  await gateway("127.0.0.1:0", "2001:0DB8::0009", `, "lmtp:${path}"`);
  const socket = connect(path);
  const raw = readFileSync("test/fixtures/composed-incremental.eml", "latin1");
  const lines = [
    ...["LHLO front.example", `XFORWARD ADDR=${said}`, `MAIL FROM:<${FROM}>`, `RCPT TO:<${SITE}>`],
    ...["DATA", `${raw.replace(/\r?\n/g, "\r\n")}\r\n.`],
  ];
  const answers = await new Promise<string[]>((resolve) => {
    const heard: string[] = [];
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (;;) {
        const [whole] = /^(?:\d{3}-.*\r\n)*\d{3} .*\r\n/.exec(text) ?? [];
        if (whole === undefined) return;
        text = text.slice(whole.length);
        heard.push(whole);
        const next = /^[45]/.test(whole) ? undefined : lines.shift();
        if (next === undefined) return resolve(heard);
        socket.write(`${next}\r\n`);
      }
    });
  });
  socket.destroy();
  expect(answers.at(-1)).toMatch(expected);
});
