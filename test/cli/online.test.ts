/** The mail server in front: its SIZE against ours, as it announces it and as it may be missing. */
import { type AddressInfo, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { probeFront } from "../../src/cli/online.js";

const MAX = 32 * 1024 ** 2;

/** A server that answers EHLO with these lines. */
async function front(...lines: string[]): Promise<{ host: string; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write("220 mx.example.org ESMTP\r\n");
    socket.on("data", (bytes) => {
      if (/^EHLO/.test(String(bytes))) socket.write(lines.map((line) => `${line}\r\n`).join(""));
      else socket.end("221 bye\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

test.each([
  ["250 SIZE 10240000", false, /up to 10240000 bytes, smtp.max_size is 33554432/],
  ["250 SIZE 33554432", true, /up to 33554432/],
  ["250 size 50000000", true, /up to 50000000/],
  ["250 SIZE", true, /announces no size limit/],
  ["250 SIZE 0", true, /announces no size limit/],
  ["250 8BITMIME", true, /announces no size limit/],
  ["550 5.7.1 no", false, /./],
])("EHLO answered by %s", async (line, ok, words) => {
  const lines = line.startsWith("250") ? ["250-mx.example.org", line] : [line];
  const finding = await probeFront(await front(...lines), MAX);
  expect(finding).toMatchObject({ ok, words: expect.stringMatching(words) });
  if (!ok) expect(finding.remedy).not.toBe("");
});

test("nobody there", async () => {
  expect(await probeFront({ host: "127.0.0.1", port: 1 }, MAX)).toMatchObject({ ok: false });
});
