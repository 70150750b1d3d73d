/** `check --online` and a server to be followed: it lets us in, refuses, or says nothing. */
import { type AddressInfo, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { probeRecon } from "../../src/cli/probe-recon.js";
import { modelServer } from "../recon/followed.js";
import type { Lies } from "../recon/model-server.js";

function settings(recon: number, http: number) {
  const server = { host: "127.0.0.1", port: recon };
  const rate = { count: 1, periodMs: 1 };
  const hkp = `http://127.0.0.1:${http}`;
  return { name: `127.0.0.1:${recon}`, server, hkp, pollMs: 1000, start: "now" as const, rate };
}

async function probed(lies: Lies = {}, keys = 0) {
  const server = await modelServer();
  server.lies = lies;
  for (let key = 0; key < keys; key++) server.tree.add(String(key).padStart(32, "0"));
  const [session, hashquery] = await probeRecon(settings(server.reconPort, server.httpPort));
  return { session, hashquery, server };
}

test("a server that lets us in is left at its first node", async () => {
  const { session, hashquery, server } = await probed({}, 200);
  expect(session).toMatchObject({ ok: true });
  expect(session?.words).toBe("lets itself be followed, 200 keys, filters yminsky.dedup");
  expect(hashquery).toMatchObject({ ok: true, words: "answers hashquery" });
  expect(server.sessions).toBe(1);
});

test.each([
  ["mismatched filters", /Its filters/],
  ["not in membership file", /membership file/],
  ["mismatched bitquantum", /parameters/],
  ["no", /log for the reason.*allowCIDRs/],
])("a refusal with the words %s", async (refusal, remedy) => {
  const { session } = await probed({ refusal });
  expect(session).toMatchObject({ ok: false, words: `refuses: ${refusal}` });
  expect(session?.remedy).toMatch(remedy);
});

test("a server that is at work is no fault", async () => {
  const { session } = await probed({ refusal: "sync not available, currently mutating" });
  expect(session).toMatchObject({ ok: true });
});

test("a server that closes the connection does not know us", async () => {
  const server = createServer((socket) => void socket.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const [session, hashquery] = await probeRecon(settings(port, port));
  expect(session?.words).toBe("it closed the connection before its configuration");
  expect(session?.remedy).toMatch(/membership file, or allowCIDRs/);
  expect(hashquery).toMatchObject({ ok: false });
});

test("nobody there", async () => {
  const [session, hashquery] = await probeRecon(settings(1, 1));
  expect(session).toMatchObject({ ok: false, words: expect.stringContaining("ECONNREFUSED") });
  expect(session?.remedy).toMatch(/Start the server/);
  expect(hashquery).toMatchObject({ ok: false });
});

test("another protocol on the port", async () => {
  const server = createServer((socket) => void socket.end("220 mx.example.org ESMTP\r\n"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const [session] = await probeRecon(settings(port, 1));
  expect(session?.words).toMatch(/^it sent a message of \d+ octets$/);
  expect(session?.remedy).toMatch(/recon port/);
});
