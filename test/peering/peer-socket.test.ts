/** What is said on one connection, as it reaches the socket. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { PeerSocket } from "../../src/peering/peer-socket.js";

/** A line, and what the other end of it has read. */
async function openLine(flushed: (unsent: number) => void = () => {}) {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true });
  const [peer] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    for (const one of [socket, peer]) one.destroy();
    server.close();
  });
  const writes: number[] = [];
  const write = socket.write.bind(socket);
  Object.assign(socket, {
    write: (bytes: Uint8Array, done: () => void) => {
      writes.push(bytes.length);
      return write(bytes, done);
    },
  });
  return { line: new PeerSocket(1, "peer", socket, flushed), socket, peer, writes };
}

async function readAll(peer: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of peer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1");
}

test("what is said in one turn is one write, and nothing of it is lost at the end", async () => {
  const { line, peer, writes } = await openLine();
  for (let n = 0; n < 100; n++) line.write(Buffer.from(`${n} `));
  expect(writes).toEqual([]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(writes.length).toBe(1);
  line.write(Buffer.from("last"));
  line.end();
  const said = Array.from({ length: 100 }, (_, n) => `${n} `).join("");
  expect(await readAll(peer)).toBe(`${said}last`);
});

test("much of it is written in parts, so that a slow reader is seen to move", async () => {
  const flushed: number[] = [];
  const { line, peer, writes } = await openLine((unsent) => flushed.push(unsent));
  for (let n = 0; n < 10; n++) line.write(Buffer.alloc(30_000));
  line.write(Buffer.alloc(1_000_000));
  line.end();
  expect((await readAll(peer)).length).toBe(1_300_000);
  expect(Math.max(...writes)).toBeLessThanOrEqual(64 * 1024);
  expect(flushed.at(-1)).toBe(0);
});

test("a connection that is dropped with words unsaid does no harm", async () => {
  const { line, socket, peer } = await openLine();
  line.write(Buffer.from("never"));
  socket.destroy();
  expect(await readAll(peer)).toBe("");
  line.write(Buffer.from("late"));
  line.end();
});
